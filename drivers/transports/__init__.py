"""The seam below a driver: how it reaches configuration space, registers, DMA memory and interrupts of one PCI function.

Nothing in here does any work. A driver is given a ``Transport`` and sees nothing else of the world: no file, no socket, no
wall clock. What stands behind it may be a model in this process, a vfio-user server, Linux VFIO, or a recording of one of
these. The set of methods follows DPDK's ``rte_pci`` and ``rte_vfio`` and tinygrad's ``PCIDevice``.

Two rules make recordings and comparisons possible and cost a live device nothing:

- memory is *handed over*: ``sync_for_device`` after the driver wrote what the device may read, ``sync_for_cpu`` before it
  reads what the device may have written (the terms of Linux' DMA API). Rings are handed over once per burst; packet buffers
  only where ``Transport.coherent`` is False, so that a burst makes no call per packet elsewhere.
- time passes by ``sleep`` and ``wait_irq`` only, and is told by ``now``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from regmodel.function import Irq


class Words(Protocol):
    """A BAR as words of one width. Item ``i`` lies ``i`` words from its start; one item access is one bus access.

    As of any such sequence, and with nothing touched: ``IndexError`` beyond the end, ``ValueError`` for what does not fit.
    """

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...

    def __len__(self) -> int: ...


class MappedBar(Protocol):
    """One BAR, mapped. Values are little-endian as on the bus and unsigned; offsets are in bytes.

    ``read`` and ``write`` of what the BAR cannot take (unaligned, beyond its end, of another width) raise ``UsageError`` and
    touch nothing.
    """

    index: int
    size: int
    u8: Words
    u16: Words
    u32: Words
    u64: Words

    def read(self, offset: int, size: int) -> int:
        """One access of 1, 2, 4 or 8 bytes."""

    def write(self, offset: int, size: int, value: int) -> None:
        """One access of 1, 2, 4 or 8 bytes."""


class DmaBuffer(Protocol):
    """Memory that driver and device share. ``iova`` is what the device calls it; both views cover ``size`` bytes."""

    iova: int
    size: int
    view: memoryview

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        """The driver has written these bytes (all, when ``size`` is None); from here the device may read them."""

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        """The driver is about to read these bytes; a device that lives in this thread gets its turn first."""

    def free(self) -> None:
        """Take it back from the device. The views must not be used any more."""


class Virtualised(Enum):
    """What somebody between driver and device answers in its stead, so that the device itself is not seen."""

    CONFIG = "configuration space, but for what is passed through"
    BARS = "the BAR registers of configuration space"
    COMMAND = "the command register"
    MSI = "the MSI and MSI-X capabilities"
    MSIX_TABLE = "the MSI-X table and pending bits"


class Transport(Protocol):
    """One open PCI function. A context manager: leaving it closes it.

    Raises (all are in ``drivers.errors``): ``DeviceGone`` when the other side has hung up, ``UsageError`` for what the
    function does not have.
    """

    name: str
    """As the user wrote it: ``vfio:0000:00:02.0``."""
    virtualised: frozenset[Virtualised]
    coherent: bool
    """Packet buffers need no hand-over."""

    def config_read(self, offset: int, size: int) -> int:
        """One access of 1, 2 or 4 bytes to configuration space."""

    def config_write(self, offset: int, size: int, value: int) -> None:
        """One access of 1, 2 or 4 bytes to configuration space."""

    def bar(self, index: int) -> MappedBar:
        """BAR ``index``; the same object each time."""

    def alloc(self, size: int) -> DmaBuffer:
        """Zeroed memory of at least ``size`` bytes, page-aligned on both sides and contiguous for the device.

        The same sequence of calls gives the same addresses on every transport.
        """

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        """How many vectors of this kind the function has."""

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        """Have vectors 0 to ``count - 1`` delivered to ``wait_irq``; what was enabled before is replaced."""

    def disable_irqs(self) -> None:
        """No vector is delivered any more; what was not waited for is forgotten."""

    def wait_irq(self, timeout: float) -> Sequence[int]:
        """The vectors that have fired since the last call, in order of number; waits up to ``timeout`` seconds for one.

        Several messages of one vector are one. An empty result means that time was up.
        """

    def reset(self) -> None:
        """Reset the function (function level reset where it has one). Interrupts and bus mastering are off afterwards."""

    def now(self) -> float:
        """Seconds, monotonic, from an arbitrary origin."""

    def sleep(self, seconds: float) -> None:
        """Let time pass, for the device too."""

    def close(self) -> None:
        """Stop bus mastering, free all memory and let go of the function. Harmless the second time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
