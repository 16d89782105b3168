"""One function that a running guest image reaches, with the methods of a driver's transport (``drivers.transports``).

So what was written for a device runs on one of QEMU's own, or on ours behind QEMU's PCI, with no operating system between.
May not enter: how a request gets there (``live``), what the suite asks (``firmware_target``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self

from emulators.qemu.errors import GuestDied, GuestError
from emulators.qemu.live import Live
from firmware.format import Flag, Op, Space, Status
from firmware.vectors import BUS_MASTER, SETTLE_US, Found, Result, Vector
from regmodel.conformance.accesses import TargetGone
from regmodel.conformance.places import DECODING
from regmodel.errors import UsageError
from regmodel.function import Irq, ResetCause

_PAGE: Final = 4096
_STATUS, _COMMAND, _CAPABILITIES = 0x06, 0x04, 0x34
_CAP_MSI, _CAP_EXPRESS, _CAP_MSIX = 0x05, 0x10, 0x11
_ENABLED = {_CAP_MSI: 0x0001, _CAP_MSIX: 0x8000}  # in the word behind the header
_MESSAGES = {Irq.MSI: Space.MSI, Irq.MSIX: Space.MSIX}
_NAP = 50e-6


class Words(Protocol):
    """What a driver expects of a BAR, seen as words."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...

    def __len__(self) -> int: ...


class LiveWords:
    """A BAR as words of one width."""

    def __init__(self, bar: LiveBar, width: int) -> None:
        self._bar, self._width = bar, width

    def __len__(self) -> int:
        return self._bar.size // self._width

    def __getitem__(self, index: int) -> int:
        return self._bar.read(index * self._width, self._width)

    def __setitem__(self, index: int, value: int) -> None:
        self._bar.write(index * self._width, self._width, value)


class LiveBar:
    """One BAR; each access is one request. Unaligned accesses and those beyond its end raise ``UsageError``."""

    def __init__(self, owner: Reached, index: int, size: int) -> None:
        self._owner, self.index, self.size = owner, index, size
        self.u8: Words
        self.u16: Words
        self.u32: Words
        self.u64: Words
        self.u8, self.u16, self.u32, self.u64 = (LiveWords(self, width) for width in (1, 2, 4, 8))

    def read(self, offset: int, size: int) -> int:
        _check(f"BAR {self.index}", self.size, offset, size)
        return self._owner.read(self.index, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        _check(f"BAR {self.index}", self.size, offset, size, value)
        self._owner.write(self.index, offset, size, value)


class LiveBuffer:
    """A piece of the guest's memory, which the host sees as well. The guest has no IOMMU: ``iova`` is its address."""

    def __init__(self, owner: Reached, iova: int, view: memoryview) -> None:
        self._owner, self.iova, self.size, self.view = owner, iova, len(view), view

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        """Nothing to do: there is one memory."""

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        """There is one memory; but writes to registers may still be under way."""
        self._owner.settle()

    def free(self) -> None:
        self._owner.take_back(self)


class Reached:
    """One function that the image reaches, with the face of a driver's transport.

    ``settle_us``: how long it is left alone after a reset. ``virtualised`` are what somebody answers in its stead, as
    ``drivers.transports`` calls it: for who opens this to say. What fails raises ``TargetGone`` (nobody there),
    ``GuestError`` (an exception in the guest, or no answer) or ``UsageError`` (there is no such thing).
    """

    coherent = True

    def __init__(
        self, live: Live, target: int, *, name: str = "firmware", virtualised: frozenset[Any] = frozenset(),
        settle_us: int = SETTLE_US,
    ) -> None:  # fmt: skip
        self.name, self.virtualised, self._settle_us = name, virtualised, settle_us
        self._live, self._target = live, target
        self._located: Found | None = None
        self._bars: dict[int, LiveBar] = {}
        self._buffers: dict[int, LiveBuffer] = {}  # by address
        self._counts = live.machine.guest.words("irq_counts")
        self._irqs: tuple[int, int] = (0, 0)  # first counter, how many
        self._seen: list[int] = []
        self.enable(DECODING)

    @property
    def found(self) -> Found:
        """The function as the image found it."""
        if self._located is None:
            bdf = self._do(Vector(Op.LOCATE, target=self._target)).value
            self._located = next(one for one in self._live.machine.functions() if one.bdf == bdf)
        return self._located

    # -- accesses

    def read(self, space: int, offset: int, size: int) -> int:
        """One read access to a BAR or another ``Space``, as it is given."""
        return self._do(Vector(Op.READ, Space(space), size, Flag(0), self._target, 0, offset)).value

    def write(self, space: int, offset: int, size: int, value: int) -> None:
        """One write access to a BAR or another ``Space``, as it is given. It is posted: what comes after it comes after it."""
        self._live.post(Vector(Op.WRITE, Space(space), size, Flag(0), self._target, 0, offset, 0, value))

    def config_read(self, offset: int, size: int) -> int:
        _check("configuration space", _PAGE, offset, size, widths=(1, 2, 4))
        return self.read(Space.CONFIG, offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        _check("configuration space", _PAGE, offset, size, value, widths=(1, 2, 4))
        self.write(Space.CONFIG, offset, size, value)

    def bar(self, index: int) -> LiveBar:
        if index not in self._bars:
            if index not in self.found.bars:
                raise UsageError(f"{self.name} has no BAR {index}")
            self._bars[index] = LiveBar(self, index, self.found.bars[index].size)
        return self._bars[index]

    def _do(self, vector: Vector) -> Result:
        try:
            result = self._live.ask(vector)
            self.settle()
        except GuestDied as error:
            raise TargetGone(str(error)) from error
        self._judge(vector, result)
        return result

    def settle(self) -> None:
        """All writes are done. Raises for the first one that failed what it would have raised."""
        try:
            failed = self._live.flush()
        except GuestDied as error:
            raise TargetGone(str(error)) from error
        for vector, result in failed:
            self._judge(vector, result)

    def _judge(self, vector: Vector, result: Result) -> None:
        match result.status:
            case Status.OK:
                return
            case Status.GONE | Status.NO_DEVICE:
                raise TargetGone(f"{self.name} is not there: {vector}")
            case Status.REFUSED:
                raise UsageError(f"{self.name} has nothing that could take it: {vector}")
        raise GuestError(f"{vector}: {result}")

    # -- memory

    def alloc(self, size: int) -> LiveBuffer:
        """The lowest hole that is large enough, from where all transports begin."""
        if size < 1:
            raise UsageError(f"{size} bytes of DMA memory cannot be allocated")
        self.enable(DECODING | BUS_MASTER)
        size = -(-size // _PAGE) * _PAGE
        iova = self._live.take(size)
        view = self._live.machine.memory[iova : iova + size]
        view[:] = bytes(size)
        self._buffers[iova] = buffer = LiveBuffer(self, iova, view)
        return buffer

    def take_back(self, buffer: LiveBuffer) -> None:
        """Free one buffer. Raises ``UsageError`` when that was done before."""
        if self._buffers.get(buffer.iova) is not buffer:
            raise UsageError(f"the DMA memory at {buffer.iova:#x} is not allocated")
        del self._buffers[buffer.iova]
        self._live.give_back(buffer.iova)

    # -- interrupts

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        """Messages: INTx would need the board's routing, which the image does not know."""
        if irq is Irq.MSIX and (at := self._capability(_CAP_MSIX)):
            return (self.config_read(at + 2, 2) & 0x7FF) + 1
        return int(irq is Irq.MSI and self._capability(_CAP_MSI) != 0)

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        if not 1 <= count <= self.irq_vectors(irq):
            raise UsageError(f"{self.name} has {self.irq_vectors(irq)} {irq.name} vectors: {count} cannot be enabled")
        self.enable(DECODING | BUS_MASTER)  # a message is a write to memory
        first = self._do(Vector(Op.IRQS, _MESSAGES[irq], target=self._target, number=count)).value
        self._irqs, self._seen = (first, count), [int(n) for n in self._counts[first : first + count]]

    def disable_irqs(self) -> None:
        if self._irqs[1]:
            for kind, enable in _ENABLED.items():
                if at := self._capability(kind):
                    self.config_write(at + 2, 2, self.config_read(at + 2, 2) & ~enable)
        self._irqs, self._seen = (0, 0), []

    def wait_irq(self, timeout: float) -> Sequence[int]:
        """The counters are read where the guest's handler counts them; it is not asked."""
        self.settle()
        first, count = self._irqs
        end = time.monotonic() + timeout
        while True:
            now = [int(n) for n in self._counts[first : first + count]]
            fired = [i for i in range(count) if now[i] != self._seen[i]]
            if fired or time.monotonic() >= end:
                self._seen = now
                return fired
            time.sleep(_NAP)

    # -- time and the end

    def reset_by(self, cause: ResetCause) -> None:
        """A function level reset, or of the bus behind the bridge above; decoding is put back on afterwards."""
        kind = {ResetCause.FLR: Op.FLR, ResetCause.BUS: Op.BUS_RESET}.get(cause)
        if kind is None:
            raise UsageError(f"firmware cannot do this: a reset ({cause.value})")
        self._do(Vector(kind, target=self._target, limit=self._settle_us))
        self.enable(DECODING)

    def enable(self, command: int) -> None:
        """Place the BARs, and set bits 2:0 of the command register to ``command``."""
        self._do(Vector(Op.ENABLE, target=self._target, value=command))

    def reset(self) -> None:
        """The strongest that it has; interrupts and bus mastering are off afterwards."""
        self.disable_irqs()
        express = self._capability(_CAP_EXPRESS)
        flr = express and self.config_read(express + 4, 4) >> 28 & 1
        self.reset_by(ResetCause.FLR if flr else ResetCause.BUS)
        self._master_off()

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.settle()
        time.sleep(seconds)

    def close(self) -> None:
        """Bus mastering off. The machine belongs to whoever made it."""
        if self._live.machine.alive:
            self.disable_irqs()
            self._master_off()
            self.settle()
        for buffer in list(self._buffers.values()):
            buffer.free()

    def _master_off(self) -> None:
        command = self.config_read(_COMMAND, 2)
        self.config_write(_COMMAND, 2, command & ~BUS_MASTER)

    def _capability(self, wanted: int) -> int:
        """Where a capability is in configuration space, or 0."""
        at = self.config_read(_CAPABILITIES, 1) & 0xFC if self.config_read(_STATUS, 2) & 0x10 else 0
        for _ in range(48):
            if not at or self.config_read(at, 1) == wanted:
                return at
            at = self.config_read(at + 1, 1) & 0xFC
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, TargetGone | GuestError):
            self.close()


def _check(where: str, end: int, offset: int, size: int, value: int = 0, widths: Sequence[int] = (1, 2, 4, 8)) -> None:
    """Raises ``UsageError`` unless it is one access, naturally aligned and inside."""
    if size not in widths:
        raise UsageError(f"{where}: an access has {', '.join(map(str, widths))} bytes, not {size}")
    if offset % size:
        raise UsageError(f"{where}: {size} bytes at {offset:#x} are not aligned")
    if not 0 <= offset <= end - size:
        raise UsageError(f"{where} has {end:#x} bytes: there is nothing at {offset:#x}")
    if not 0 <= value < 1 << 8 * size:
        raise UsageError(f"{where}: {value:#x} is no unsigned number of {size} bytes")
