"""Interrupts of one client: eventfds that came with SET_IRQS, as ``Trigger`` objects for the function.

What each combination of flags means is section "VFIO_USER_DEVICE_SET_IRQS" of the specification; what QEMU sends of it:
eventfds with TRIGGER to arm, the same without descriptors or NONE with TRIGGER to disarm, NONE with UNMASK after INTx.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from emulators.vfio_user.observer import Observer
from emulators.vfio_user.refused import Refused
from regmodel.function import Function, Irq, Trigger
from regmodel.structures import vfio
from regmodel.structures.vfio import IrqInfoFlags, IrqSetFlags

# plain numbers: the complement of an IntFlag has no bits but the named ones
_DATA = int(IrqSetFlags.DATA_NONE | IrqSetFlags.DATA_BOOL | IrqSetFlags.DATA_EVENTFD)
_ACTION = int(IrqSetFlags.MASK | IrqSetFlags.UNMASK | IrqSetFlags.TRIGGER)


class EventfdTrigger:
    """A ``Trigger`` that adds 1 to an eventfd. Owns the descriptor; does nothing once it is closed."""

    __slots__ = ("_irqs", "fd", "irq", "vector")

    def __init__(self, irqs: Irqs, irq: Irq, vector: int, fd: int) -> None:
        self._irqs, self.irq, self.vector, self.fd = irqs, irq, vector, fd

    def __call__(self) -> None:
        if self.fd < 0:
            return
        try:  # noqa: SIM105 (half the cost of suppress)
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:
            pass  # the counter is full: the client has been told often enough
        observer = self._irqs.observer
        if observer is not None:
            observer.irq_fired(self.irq, self.vector)

    def close(self) -> None:
        """Give the descriptor back. A number that is used again must not be written to by an old trigger."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class Irqs:
    """All vectors of a function as one client has armed them."""

    def __init__(self, function: Function, observer: Observer | None) -> None:
        self.observer = observer
        self._function = function
        self._counts = dict(function.irqs())
        self._armed: dict[tuple[Irq, int], EventfdTrigger] = {}
        self._intx_masked = False

    def info(self, body: memoryview) -> bytes:
        """GET_IRQ_INFO. Only INTx can be masked by message, and masks itself when it fires."""
        if len(body) < vfio.IRQ_INFO.size:
            raise Refused(errno.EINVAL, "short GET_IRQ_INFO")
        argsz, _, index, _ = vfio.IRQ_INFO.unpack_from(body)
        if argsz < vfio.IRQ_INFO.size or index >= vfio.NUM_IRQS:
            raise Refused(errno.EINVAL, f"GET_IRQ_INFO of index {index}, argsz {argsz}")
        flags = IrqInfoFlags.EVENTFD
        if index == Irq.INTX:
            flags |= IrqInfoFlags.MASKABLE | IrqInfoFlags.AUTOMASKED
        return vfio.IRQ_INFO.pack(vfio.IRQ_INFO.size, flags, index, self._counts.get(Irq(index), 0))

    def set(self, body: memoryview, fds: list[int]) -> bytes:
        """SET_IRQS. Takes what it keeps out of ``fds``. Raises ``Refused`` with nothing changed."""
        irq, flags, start, count = self._parse(body, fds)
        if not count:
            self._disarm(irq, 0, self._counts.get(irq, 0))
        elif flags & IrqSetFlags.DATA_EVENTFD:
            if flags & _ACTION != IrqSetFlags.TRIGGER:
                raise Refused(errno.ENOTSUP, "SET_IRQS: descriptors for mask or unmask events")
            if fds:
                self._arm(irq, start, fds)
            else:
                self._disarm(irq, start, count)
        else:
            chosen = body[vfio.IRQ_SET.size :] if flags & IrqSetFlags.DATA_BOOL else b"\1" * count
            for vector, wanted in enumerate(chosen, start):
                if wanted:
                    self._act(irq, vector, IrqSetFlags(flags & _ACTION))
        return b""

    def image(self, fds: list[int]) -> dict[str, object]:
        """All vectors that are armed, for another process; their descriptors are added to ``fds`` and stay ours."""
        armed = []
        for (irq, vector), trigger in sorted(self._armed.items()):
            armed.append([int(irq), vector, len(fds)])
            fds.append(trigger.fd)
        return {"armed": armed, "intx_masked": self._intx_masked}

    def adopt(self, armed: Sequence[Sequence[int]], intx_masked: bool, fds: Sequence[int]) -> None:
        """Take on the vectors of ``image``; ``fds`` stay the caller's. Raises ``Refused``."""
        for number, vector, which in armed:
            irq = Irq(number)
            if vector >= self._counts.get(irq, 0):
                raise Refused(errno.EINVAL, f"{irq.name} has no vector {vector}")
            self._arm(irq, vector, [os.dup(fds[which])])
            if irq is Irq.INTX and intx_masked:
                self._act(irq, vector, IrqSetFlags.MASK)

    def close(self) -> None:
        """Disarm everything and give all descriptors back."""
        with ExitStack() as all_of_them:  # one that fails does not keep the others
            for irq in {irq for irq, _ in self._armed}:
                all_of_them.callback(self._disarm, irq, 0, self._counts[irq])

    # -- inside

    def _parse(self, body: memoryview, fds: list[int]) -> tuple[Irq, IrqSetFlags, int, int]:
        if len(body) < vfio.IRQ_SET.size:
            raise Refused(errno.EINVAL, "short SET_IRQS")
        argsz, number, index, start, count = vfio.IRQ_SET.unpack_from(body)
        if argsz < vfio.IRQ_SET.size or index >= vfio.NUM_IRQS:
            raise Refused(errno.EINVAL, f"SET_IRQS of index {index}, argsz {argsz}")
        if number & ~(_DATA | _ACTION) or (number & _DATA).bit_count() != 1 or (number & _ACTION).bit_count() != 1:
            raise Refused(errno.EINVAL, f"SET_IRQS with flags {number:#x}")
        irq, flags = Irq(index), IrqSetFlags(number)
        data = flags & _DATA
        if start + count > self._counts.get(irq, 0):
            raise Refused(errno.EINVAL, f"{irq.name} has no vectors {start} to {start + count - 1}")
        if not count and (start or number != IrqSetFlags.DATA_NONE | IrqSetFlags.TRIGGER):
            raise Refused(errno.EINVAL, "SET_IRQS of no vectors")
        if len(body) - vfio.IRQ_SET.size != (count if data == IrqSetFlags.DATA_BOOL else 0):
            raise Refused(errno.EINVAL, f"SET_IRQS of {count} vectors with {len(body) - vfio.IRQ_SET.size} bytes of data")
        if len(fds) not in ((0, count) if data == IrqSetFlags.DATA_EVENTFD else (0,)):
            raise Refused(errno.EINVAL, f"SET_IRQS of {count} vectors with {len(fds)} descriptors")
        if flags & (IrqSetFlags.MASK | IrqSetFlags.UNMASK) and irq is not Irq.INTX:
            raise Refused(errno.EINVAL, f"{irq.name} cannot be masked by message")
        return irq, flags, start, count

    def _arm(self, irq: Irq, start: int, fds: list[int]) -> None:
        for fd in fds:
            _require_eventfd(fd)
        triggers = [EventfdTrigger(self, irq, start + i, fd) for i, fd in enumerate(fds)]
        fds.clear()
        old = [self._armed.get((irq, trigger.vector)) for trigger in triggers]
        for trigger in triggers:
            self._armed[irq, trigger.vector] = trigger
        if irq is Irq.INTX:
            self._intx_masked = False
        try:
            self._function.set_irqs(irq, start, triggers)
        finally:
            _close(old)
        if self.observer is not None:
            self.observer.irqs_armed(irq, start, len(triggers), True)

    def _disarm(self, irq: Irq, start: int, count: int) -> None:
        old = [self._armed.pop((irq, vector), None) for vector in range(start, start + count)]
        nothing: Sequence[Trigger | None] = [None] * count
        try:
            if count:
                self._function.set_irqs(irq, start, nothing)
        finally:
            _close(old)
        if self.observer is not None and any(old):
            self.observer.irqs_armed(irq, start, count, False)

    def _act(self, irq: Irq, vector: int, action: IrqSetFlags) -> None:
        trigger = self._armed.get((irq, vector))
        if action == IrqSetFlags.TRIGGER:
            if trigger is not None:
                trigger()
        elif action == IrqSetFlags.MASK:
            self._intx_masked = True
            self._function.set_irqs(irq, vector, [None])
        else:
            if self._intx_masked and trigger is not None:
                self._function.set_irqs(irq, vector, [trigger])
            self._intx_masked = False
            self._function.unmask_irq(irq)


def _require_eventfd(fd: int) -> None:
    """Anything else could block us, or do something when written to."""
    try:
        name = str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:  # no /proc: take the client's word
        name = "anon_inode:[eventfd]"
    if name != "anon_inode:[eventfd]":
        raise Refused(errno.EINVAL, f"SET_IRQS with a descriptor that is no eventfd ({name})")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if not flags & os.O_NONBLOCK:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)


def _close(triggers: Sequence[EventfdTrigger | None]) -> None:
    for trigger in triggers:
        if trigger is not None:
            trigger.close()
