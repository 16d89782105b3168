"""The device of these tests: a BAR of plain registers, an optional ROM, I/O BAR and shared BAR, every interrupt index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emulators.dma import DmaMap
from regmodel.function import Irq, Memory, Region, RegionKind, ResetCause, Trigger

BAR_SIZE = 0x1000


class TestDevice:
    """A ``Function`` that remembers what was done to it."""

    __test__ = False

    def __init__(self, name: str = "testdev", more: Sequence[Region] = (), irqs: Mapping[Irq, int] | None = None) -> None:
        self.name = name
        self.bar = bytearray(BAR_SIZE)
        self.config = bytearray(4096)
        self.dma = DmaMap()
        self.dma.enabled = True
        self.log: list[tuple[object, ...]] = []
        self.triggers: dict[tuple[Irq, int], Trigger | None] = {}
        self.fail: Exception | None = None
        self.on_read = None
        self._irqs = dict(irqs if irqs is not None else {Irq.INTX: 1, Irq.MSI: 8, Irq.MSIX: 32, Irq.ERR: 1, Irq.REQ: 1})
        self._regions = sorted(
            (Region(0, RegionKind.MEMORY, BAR_SIZE), *more, Region(7, RegionKind.CONFIG, 4096)), key=lambda r: r.index
        )

    def regions(self) -> Sequence[Region]:
        return self._regions

    def irqs(self) -> Mapping[Irq, int]:
        return self._irqs

    def config_read(self, offset: int, size: int) -> bytes:
        return bytes(self.config[offset : offset + size])

    def config_write(self, offset: int, data: bytes) -> None:
        self.config[offset : offset + len(data)] = data

    def region_read(self, index: int, offset: int, size: int) -> int:
        if self.fail:
            raise self.fail
        if self.on_read:
            return self.on_read(offset)
        self.log.append(("read", index, offset, size))
        return int.from_bytes(self.bar[offset : offset + size], "little")

    def region_write(self, index: int, offset: int, size: int, value: int) -> None:
        if self.fail:
            raise self.fail
        self.log.append(("write", index, offset, size, value))
        self.bar[offset : offset + size] = value.to_bytes(size, "little")

    def set_irqs(self, irq: Irq, start: int, triggers: Sequence[Trigger | None]) -> None:
        for vector, trigger in enumerate(triggers, start):
            self.triggers[irq, vector] = trigger

    def unmask_irq(self, irq: Irq) -> None:
        self.log.append(("unmask", irq))

    def dma_map(self, iova: int, size: int, memory: Memory, *, read: bool, write: bool) -> None:
        self.dma.map(iova, size, memory, read=read, write=write)

    def dma_unmap(self, iova: int, size: int) -> None:
        self.dma.unmap(iova, size)

    def reset(self, cause: ResetCause) -> None:
        self.log.append(("reset", cause))

    def armed(self) -> list[tuple[Irq, int]]:
        return sorted(key for key, trigger in self.triggers.items() if trigger)
