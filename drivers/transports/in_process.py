"""The transport to a device model in this process and this thread: straight onto ``regmodel.function.Function``.

Nothing in here knows which model that is. Driver and device take turns: the device has its turn when the driver hands memory
over (``sync_for_cpu``), reads a register, sleeps or waits, and at no other time. So a run with manual time is the same each
time, and a call which leaves the device nothing to do is cheap.

What a disabled or sleeping function answers is the function's business, as it is on a bus.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol, Self

from drivers.errors import NotSupported
from drivers.transports import MappedBar, Transport, Virtualised, Words
from drivers.transports.access import WIDTHS, check_bar, check_config
from drivers.transports.capabilities import bus_master_off, has_flr, msix_off
from drivers.transports.iova import IovaAllocator
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.function import CONFIG_REGION, Buffer, Function, Irq, Region, RegionKind, ResetCause

GROUP = "regmodel.functions"


class World(Protocol):
    """What the device lives in: its clock, and its share of this thread."""

    def turn(self) -> bool:
        """Let the device do what it can do now; True when that was anything."""

    def wait(self, seconds: float) -> None:
        """Let time pass until the device does something, at most ``seconds``."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def close(self) -> None:
        """The device is not needed any more."""


class _Lent:
    """A ``regmodel.function.Memory``: zeroed pages of this process."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.view = memoryview(mmap.mmap(-1, size))

    def read(self, offset: int, size: int) -> Buffer:
        return self.view[offset : offset + size]

    def write(self, offset: int, data: Buffer) -> None:
        self.view[offset : offset + len(data)] = data


class InProcessBuffer:
    """A ``DmaBuffer`` that the model sees in place."""

    def __init__(self, owner: InProcess, iova: int, memory: _Lent, turn: Callable[[], bool]) -> None:
        self.iova, self.size, self.view = iova, memory.size, memory.view
        self._owner, self._turn = owner, turn

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        """Nothing to do: the device has not had its turn since, and sees what is there when it has."""

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        """The device has its turn."""
        self._turn()

    def free(self) -> None:
        self._owner.take_back(self)


class InProcessWords:
    """A BAR as words of ``width`` bytes."""

    __slots__ = ("_count", "_index", "_limit", "_read", "_turn", "_width", "_write")

    def __init__(self, function: Function, turn: Callable[[], bool], index: int, size: int, width: int) -> None:
        self._read, self._write, self._turn = function.region_read, function.region_write, turn
        self._index, self._width, self._count, self._limit = index, width, size // width, 1 << 8 * width

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"BAR {self._index} has no word {index}")
        self._turn()
        return self._read(self._index, index * self._width, self._width)

    def __setitem__(self, index: int, value: int) -> None:
        if not 0 <= index < self._count:
            raise IndexError(f"BAR {self._index} has no word {index}")
        if not 0 <= value < self._limit:
            raise ValueError(f"{value:#x} is no unsigned number of {self._width} bytes")
        self._write(self._index, index * self._width, self._width, value)


class InProcessBar:
    """A ``MappedBar``: each access is one call of the function. ``view`` are its bytes where the function lends them all."""

    def __init__(self, function: Function, turn: Callable[[], bool], region: Region) -> None:
        self.index, self.size = index, size = region.index, region.size
        lent = region.backing if region.mappable == ((0, size),) else None
        self.view = lent.view if lent is not None else None
        self.u8: Words
        self.u16: Words
        self.u32: Words
        self.u64: Words
        self.u8, self.u16, self.u32, self.u64 = (InProcessWords(function, turn, index, size, width) for width in WIDTHS)
        self._function, self._turn = function, turn

    def read(self, offset: int, size: int) -> int:
        check_bar(self, offset, size)
        self._turn()
        return self._function.region_read(self.index, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        check_bar(self, offset, size, value)
        self._function.region_write(self.index, offset, size, value)


class InProcess(Transport):
    """``function`` in ``world``. ``release`` is called once, by ``close``."""

    virtualised: frozenset[Virtualised] = frozenset()
    coherent = True

    def __init__(
        self, function: Function, world: World, *, name: str = "inprocess", release: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._function, self._world, self._release = function, world, release
        self._regions = {region.index: region for region in function.regions()}
        self._turn = world.turn
        self._bars: dict[int, InProcessBar] = {}
        self._iova = IovaAllocator()
        self._buffers: dict[int, InProcessBuffer] = {}
        self._fired = 0
        self._irq: Irq | None = None
        self._open = True

    # -- configuration space and registers

    def config_read(self, offset: int, size: int) -> int:
        self._check_config(offset, size)
        self._turn()
        return int.from_bytes(self._function.config_read(offset, size), "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._check_config(offset, size, value)
        self._function.config_write(offset, value.to_bytes(size, "little"))

    def _check_config(self, offset: int, size: int, value: int = 0) -> None:
        self._check_open()
        check_config(self._regions[CONFIG_REGION].size, offset, size, value)

    def bar(self, index: int) -> MappedBar:
        self._check_open()
        if index not in self._bars:
            region = self._regions.get(index)
            if region is None or region.kind not in (RegionKind.MEMORY, RegionKind.IO):
                raise UsageError(f"{self.name} has no BAR {index}")
            self._bars[index] = InProcessBar(self._function, self._turn, region)
        return self._bars[index]

    # -- memory

    def alloc(self, size: int) -> InProcessBuffer:
        self._check_open()
        iova = self._iova.alloc(size)
        memory = _Lent(self._iova.round(size))
        self._function.dma_map(iova, memory.size, memory, read=True, write=True)
        self._buffers[iova] = buffer = InProcessBuffer(self, iova, memory, self._turn)
        return buffer

    def take_back(self, buffer: InProcessBuffer) -> None:
        """Free one buffer. Raises ``UsageError`` when that was done before."""
        if self._buffers.pop(buffer.iova, None) is not buffer:
            raise UsageError(f"the DMA memory at {buffer.iova:#x} is not allocated")
        self._function.dma_unmap(buffer.iova, buffer.size)
        self._iova.free(buffer.iova)

    # -- interrupts

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        self._check_open()
        return self._function.irqs().get(irq, 0)

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        if not 1 <= count <= self.irq_vectors(irq):
            raise UsageError(f"{self.name} has {self.irq_vectors(irq)} {irq.name} vectors: {count} cannot be enabled")
        self.disable_irqs()
        self._irq = irq
        self._function.set_irqs(irq, 0, [self._trigger(vector) for vector in range(count)])

    def _trigger(self, vector: int) -> Callable[[], None]:
        bit = 1 << vector

        def fire() -> None:
            self._fired |= bit

        return fire

    def disable_irqs(self) -> None:
        self._check_open()
        if self._irq is not None:
            self._function.set_irqs(self._irq, 0, [None] * self.irq_vectors(self._irq))
            if self._irq is Irq.MSIX:
                msix_off(self)
        self._irq, self._fired = None, 0

    def wait_irq(self, timeout: float) -> Sequence[int]:
        self._check_open()
        if self._irq is Irq.INTX:
            self._function.unmask_irq(Irq.INTX)  # what was told before has been seen to
        self._turn()
        deadline = self._world.now() + timeout
        while not self._fired and (left := deadline - self._world.now()) > 0:
            self._world.wait(left)
        fired, self._fired = self._fired, 0
        return [vector for vector in range(fired.bit_length()) if fired >> vector & 1]

    # -- time and the end

    def reset(self) -> None:
        self.disable_irqs()
        self._function.reset(ResetCause.FLR if has_flr(self) else ResetCause.BUS)
        bus_master_off(self)

    def now(self) -> float:
        return self._world.now()

    def sleep(self, seconds: float) -> None:
        self._turn()
        deadline = self._world.now() + seconds
        while (left := deadline - self._world.now()) > 0:
            self._world.wait(left)

    def close(self) -> None:
        if not self._open:
            return
        self.disable_irqs()
        bus_master_off(self)
        for buffer in list(self._buffers.values()):
            buffer.free()
        self._open = False
        if self._release is not None:
            self._release()

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self.name} has been closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_functions(device: Device, count: int = 1, **options: Any) -> list[InProcess]:
    """The first ``count`` functions of one new card of ``device``, in one world, which ends when the last is closed.

    ``options``: ``net`` (as ``regmodel serve --net``, one or a list by port), ``ports``, ``clock`` (``real`` or ``manual``),
    and those of the card. Raises ``UsageError``, and ``NotSupported`` when no device models are installed.
    """
    found: Any = None
    for ep in entry_points(group=GROUP, name="model"):
        found = ep.load()
    if found is None:
        raise NotSupported(f"no device models are installed (entry point 'model' of group {GROUP}): install all of regmodel")
    world = found(device, count, **options)
    users = count

    def release() -> None:
        nonlocal users
        users -= 1
        if not users:
            world.close()

    names = ["inprocess"] if count == 1 else [f"inprocess {function.name}" for function in world.functions]
    return [InProcess(f, world, name=name, release=release) for f, name in zip(world.functions, names, strict=True)]


def open(rest: str, device: Device, **options: Any) -> InProcess:
    """``inprocess``: a card of its own; ``options`` as for ``open_functions``. Raises ``UsageError``."""
    if rest:
        raise UsageError(f"inprocess takes nothing after its name, not {rest!r}; options go by name, as net")
    return open_functions(device, **options)[0]
