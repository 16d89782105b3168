"""Interrupts: eventfds that the server writes to (DEVICE_SET_IRQS), waited for together with the socket.

MSI and MSI-X are enabled in configuration space too, as whoever owns the bus does it: a server may look there. INTx masks
itself when it fires; it is unmasked at the next wait, when the driver has seen to the cause of the last one.

Source of the combinations of flags: section "VFIO_USER_DEVICE_SET_IRQS"; the words in configuration space: PCI Express Base
Specification 5.0, §7.7.1.2 (Message Control of MSI) and §7.7.2.2 (of MSI-X).
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from contextlib import suppress

from drivers.transports.capabilities import MSIX, Config, find
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.stream import close_all
from regmodel.function import Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import IrqSetFlags
from regmodel.structures.vfio_user import MAX_MSG_FDS, Command

_MSI = 0x05
_MESSAGE_CONTROL = 2
_MSIX_ENABLE, _MSIX_FUNCTION_MASK = 1 << 15, 1 << 14
_MSI_ENABLE, _MSI_MULTIPLE, _MSI_MULTIPLE_AT = 1 << 0, 7 << 4, 4
_ARM = IrqSetFlags.DATA_EVENTFD | IrqSetFlags.TRIGGER
_DISARM = IrqSetFlags.DATA_NONE | IrqSetFlags.TRIGGER
_UNMASK = IrqSetFlags.DATA_NONE | IrqSetFlags.UNMASK


class Interrupts:
    """The vectors of one function. ``max_fds`` is how many descriptors the server takes with one message."""

    def __init__(self, channel: Channel, config: Config, max_fds: int) -> None:
        self._channel, self._config = channel, config
        self._at_once = min(max_fds, MAX_MSG_FDS)
        self._irq: Irq | None = None
        self._vectors: dict[int, int] = {}  # by eventfd
        self._masked = False
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)

    @property
    def can_be_armed(self) -> bool:
        """The server takes descriptors at all."""
        return self._at_once > 0

    def enable(self, irq: Irq, count: int) -> None:
        """Arm vectors 0 to ``count - 1``; ``disable`` comes first."""
        self._irq = irq
        for vector in range(count):
            fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._vectors[fd] = vector
            self._epoll.register(fd, select.EPOLLIN)
        fds = list(self._vectors)
        for start in range(0, count, self._at_once):
            self._set(_ARM, start, fds[start : start + self._at_once])
        self._configure(count)

    def disable(self) -> None:
        """Disarm all; what has fired is forgotten."""
        if self._irq is None:
            return
        try:
            if not self._channel.is_over:
                self._configure(0)
                self._set(_DISARM, 0, ())
        finally:
            for fd in self._vectors:
                self._epoll.unregister(fd)
            close_all(list(self._vectors))
            self._vectors, self._irq, self._masked = {}, None, False

    def wait(self, timeout: float) -> Sequence[int]:
        """The vectors that have fired; waits up to ``timeout`` seconds for one, and answers the server meanwhile."""
        self._channel.check()
        deadline = time.monotonic() + timeout
        if self._masked:
            self._masked = False
            self._set(_UNMASK, 0, (), 1)
        fired: set[int] = set()
        socket = self._channel.fileno()
        while not fired:
            events = self._epoll.poll(max(deadline - time.monotonic(), 0.0))
            for fd, _ in events:
                if fd == socket:
                    self._channel.serve()
                    continue
                with suppress(BlockingIOError):
                    os.eventfd_read(fd)
                    fired.add(self._vectors[fd])
            if time.monotonic() >= deadline:
                break
        self._masked = bool(fired) and self._irq is Irq.INTX
        return sorted(fired)

    def close(self) -> None:
        """Disarm, and give all descriptors back."""
        try:
            self.disable()
        finally:
            self._epoll.close()

    # -- inside

    def _set(self, flags: IrqSetFlags, start: int, fds: Sequence[int], count: int = 0) -> None:
        assert self._irq is not None
        request = vfio.IRQ_SET.pack(vfio.IRQ_SET.size, flags, self._irq, start, len(fds) or count)
        self._channel.call(Command.DEVICE_SET_IRQS, request, f"SET_IRQS of {self._irq.name}", fds)

    def _configure(self, count: int) -> None:
        """Enable bits in configuration space: for ``count`` vectors, or off."""
        capability = {Irq.MSIX: MSIX, Irq.MSI: _MSI}.get(self._irq) if self._irq is not None else None
        at = find(self._config, capability) if capability is not None else None
        if at is None:
            return
        control = self._config.config_read(at + _MESSAGE_CONTROL, 2)
        if self._irq is Irq.MSIX:
            control &= ~(_MSIX_ENABLE | _MSIX_FUNCTION_MASK)
            control |= _MSIX_ENABLE if count else 0
        else:
            control &= ~(_MSI_ENABLE | _MSI_MULTIPLE)
            control |= _MSI_ENABLE | (count - 1).bit_length() << _MSI_MULTIPLE_AT if count else 0
        self._config.config_write(at + _MESSAGE_CONTROL, 2, control)
