"""The seam: what stands between a device model and everything that drives or carries it.

Three small Protocols and their few value types; nothing in here does any work.

- ``Function`` is what a PCI front end drives: the vfio-user server, the in-process transport, a pytest fixture. Python
  models implement it (``emulators.pci``), and so can a simulation of RTL.
- ``Host`` is what a model is given: DMA, interrupts, a clock, packets, a poll and a place to complain. A model never
  sees a socket or a wall clock. Front ends that are not PCI (VMBus, XenStore) drive models through the same ``Host``.
- ``State`` is how a model is saved and loaded.

The division follows rust-vmm's ``vfio_user::ServerBackend`` and SimBricks' ``nicbm.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol, TypeAlias, runtime_checkable

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes of a packet or of memory. A ``memoryview`` handed to a callee is valid during the call only: who keeps it, copies."""

Trigger: TypeAlias = Callable[[], None]
"""Fires one interrupt vector once: an eventfd write on a socket, a plain call in a test."""


OnDescriptor: TypeAlias = Callable[[str, str, int, str, bytes], None]
"""Told of one descriptor: ``fetch`` or ``write-back``, the ring, the place in it, the name of the format, all of its bytes."""


class Irq(IntEnum):
    """Interrupt indexes of a PCI function, numbered as VFIO numbers them (linux/vfio.h, ``VFIO_PCI_*_IRQ_INDEX``)."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERR = 3
    REQ = 4


class ResetCause(Enum):
    """Why a device is reset. A description says per field which causes reset it (its *reset domain*)."""

    POWER_ON = "power-on"
    BUS = "bus"  # conventional reset, the secondary bus, VFIO's DEVICE_RESET
    FLR = "flr"  # function level reset, also D3hot to D0 of a function without No_Soft_Reset
    SOFTWARE = "software"  # the device's own reset bit


class RegionKind(Enum):
    MEMORY = "memory"
    IO = "io"
    ROM = "rom"
    CONFIG = "config"


class Memory(Protocol):
    """Bytes that somebody owns and lends: guest RAM behind one DMA map, a BAR that may be mapped."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def view(self) -> memoryview | None:
        """The bytes in place, or None where they can be reached by ``read`` and ``write`` only."""

    def read(self, offset: int, size: int) -> Buffer:
        """``size`` bytes from ``offset``. May suspend the caller's burst (message DMA), never a register access."""

    def write(self, offset: int, data: Buffer) -> None:
        """Store ``data`` at ``offset``."""


@dataclass(frozen=True)
class Region:
    """One region of a function: a BAR (0 to 5), the expansion ROM (6) or configuration space (7).

    ``mappable`` are the (offset, size) areas, in bytes and page-aligned, that the device *offers* to be mapped; the
    object that owns the bytes and its ``fd`` is ``backing``. Any mappable area makes QEMU wait for every write of the
    whole device, so it is offered only where the description says so.
    """

    index: int
    kind: RegionKind
    size: int
    writable: bool = True
    mappable: tuple[tuple[int, int], ...] = ()
    backing: Memory | None = None
    fd: int | None = None


CONFIG_REGION = 7
ROM_REGION = 6


@runtime_checkable
class Function(Protocol):
    """One PCI function, as a front end drives it. All calls return at once; none waits for DMA."""

    name: str

    def regions(self) -> Sequence[Region]:
        """All regions with a size, in order of their index."""

    def irqs(self) -> Mapping[Irq, int]:
        """How many vectors each interrupt index has; absent means none."""

    def config_read(self, offset: int, size: int) -> bytes:
        """``size`` bytes (1 to 4096) of configuration space. Bytes that no capability claims read 0."""

    def config_write(self, offset: int, data: bytes) -> None:
        """Store into configuration space, under its access rules (sizing, read-only, write-1-to-clear)."""

    def region_read(self, index: int, offset: int, size: int) -> int:
        """One access of 1, 2, 4 or 8 bytes, little-endian, with its side effects."""

    def region_write(self, index: int, offset: int, size: int, value: int) -> None:
        """One access of 1, 2, 4 or 8 bytes, little-endian, with its side effects."""

    def set_irqs(self, irq: Irq, start: int, triggers: Sequence[Trigger | None]) -> None:
        """From vector ``start``, deliver through ``triggers``; None disarms a vector. What was pending fires when armed."""

    def unmask_irq(self, irq: Irq) -> None:
        """The peer took the last INTx and listens again: fire at once if the line is still asserted."""

    def dma_map(self, iova: int, size: int, memory: Memory, *, read: bool, write: bool) -> None:
        """Make ``memory`` (of ``size`` bytes) reachable at ``iova``, for reads and/or writes by the device."""

    def dma_unmap(self, iova: int, size: int) -> None:
        """Take back exactly one former map. No reference to it is kept after the return."""

    def reset(self, cause: ResetCause) -> None:
        """Reset configuration space, registers and model."""


class Dma(Protocol):
    """The model's way to host memory. Addresses are bus addresses in bytes; a buffer may span several maps.

    Raises ``regmodel.errors.DmaFault`` for what the platform refuses, with nothing transferred.
    """

    def read(self, iova: int, size: int) -> Buffer:
        """``size`` bytes; a view in place where one map holds them all, else a copy."""

    def write(self, iova: int, data: Buffer) -> None:
        """Store ``data``."""

    def gather(self, addresses: Sequence[int], sizes: Sequence[int]) -> list[Buffer]:
        """``read`` of each address with its size, in order: the buffers of a burst. At a fault nothing is returned."""

    def scatter(self, addresses: Sequence[int], data: Sequence[Buffer]) -> None:
        """``write`` of each, in order. At a fault those before it are stored."""

    def view(self, iova: int, size: int, *, write: bool = False) -> memoryview | None:
        """The bytes in place if one directly reachable map holds them all, else None: then use ``read`` and ``write``.

        A view must not outlive the burst that asked for it: the next message may unmap it.
        """


class Timer(Protocol):
    def cancel(self) -> None:
        """Never fire; harmless when it has fired."""


class Clock(Protocol):
    """Time as the device sees it, in nanoseconds, monotonic, from an arbitrary origin."""

    def now(self) -> int: ...

    def call_at(self, when: int, action: Callable[[], None]) -> Timer:
        """Run ``action`` once ``now() >= when``, between bursts."""


class Packets(Protocol):
    """The wire side of a model: frames from destination address to the last payload byte, without FCS."""

    def send(self, frames: Sequence[Buffer]) -> None:
        """Hand a burst to the fabric. The frames are valid during the call only."""


class Host(Protocol):
    """All that a model may reach."""

    dma: Dma
    clock: Clock
    packets: Packets
    on_descriptor: OnDescriptor | None
    """While somebody traces: told each descriptor that the model takes from a ring, and each that it gives back. None, as it
    is otherwise, must cost no more than to be looked at: once a burst where bursts are plain, once a packet elsewhere.
    """

    def irq(self, vector: int) -> None:
        """Signal message-signalled vector ``vector`` once."""

    def defer(self, burst: Callable[[], bool]) -> None:
        """Run ``burst`` soon, outside of any register access; again as long as it returns True (work is left).

        This is what a doorbell does. A burst takes at most 64 descriptors per call, so that the sockets are looked at
        between. Deferring a burst that is already waiting does nothing.
        """

    def poll(self, burst: Callable[[], bool], quiet: Callable[[], bool] | None = None) -> Timer:
        """Run ``burst`` over and over at an adaptive rate, for devices without doorbells; faster while it returns True.

        ``quiet`` may be asked in its place: whether it would find nothing, which must take no time, wait for nothing and not
        fail.
        """

    def diagnose(self, kind: str, **detail: object) -> None:
        """Count and log that the guest did something which silicon would not accept: a named device error."""


class State(Protocol):
    """A model that can be saved and loaded."""

    def save(self) -> dict[str, object]:
        """A JSON-able, versioned image of all state."""

    def load(self, state: Mapping[str, object]) -> None:
        """Take on a saved state. Raises ``StateError`` and changes nothing when it is not ours."""
