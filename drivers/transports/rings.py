"""Where descriptors lie in a driver's memory, and which of their fields two devices wrote differently.

Learnt by watching: the driver places a ring by writing its base and length registers, which the description names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from regmodel.catalogue import Descriptor, Device, Ring
from regmodel.layout import Leaf, layout


@dataclass
class Placed:
    """One ring, as far as the driver has placed it: ``base`` is a bus address, ``length`` in bytes."""

    ring: Ring
    index: int
    low: int = 0
    high: int = 0
    length: int = 0

    @property
    def base(self) -> int:
        return self.high << 32 | self.low

    @property
    def format(self) -> Descriptor:
        """What the device writes; the first of several."""
        return (self.ring.device_writes or self.ring.formats)[0]

    @property
    def stride(self) -> int:
        return int(self.format.schema.sizeof())


@dataclass(frozen=True)
class Slot:
    """One descriptor: its bus address, its ring and its number in it."""

    address: int
    placed: Placed
    number: int

    @property
    def size(self) -> int:
        return self.placed.stride

    def __str__(self) -> str:
        return f"{self.placed.format.name} {self.number} of {self.placed.ring.name} ring {self.placed.index}"


class Rings:
    """The rings of ``device``, none of them placed yet."""

    def __init__(self, device: Device) -> None:
        self._placed: list[Placed] = []
        self._registers: dict[tuple[int, int], tuple[Placed, str]] = {}
        for ring in device.rings:
            if not all((ring.tail, ring.length, *ring.base)):
                continue  # placed by other means than registers
            bar, described = device.register_bar(ring.tail)
            count = len(described.entries[ring.tail].offsets)
            places = [len(described.entries[register].offsets) for register in (*ring.base, ring.length)]
            if ring.base[0] == ring.base[1] or min(places) < count:
                continue  # by registers that all queues share, behind one that selects the queue
            for i in range(count):
                placed = Placed(ring, i)
                self._placed.append(placed)
                for register, part in ((ring.base[0], "low"), (ring.base[1], "high"), (ring.length, "length")):
                    self._registers[bar, described.entries[register].offsets[i]] = placed, part

    def written(self, bar: int, offset: int, value: int) -> None:
        """The driver wrote a register."""
        found = self._registers.get((bar, offset))
        if found is not None:
            setattr(found[0], found[1], value)

    def slots(self, address: int, size: int) -> Iterator[Slot | None]:
        """The descriptors that ``size`` bytes from ``address`` touch; None where they are none."""
        for placed in self._placed:
            if placed.length and placed.base <= address and address + size <= placed.base + placed.length:
                stride = placed.stride
                for number in range((address - placed.base) // stride, (address + size - 1 - placed.base) // stride + 1):
                    yield Slot(placed.base + number * stride, placed, number)
                return
        yield None


def differing(slot: Slot, ours: bytes, theirs: bytes) -> dict[str, tuple[int, int]]:
    """The fields of one descriptor that differ, by ``format.leaf`` or ``format.leaf.field``: ours, theirs."""
    found: dict[str, tuple[int, int]] = {}
    name = slot.placed.format.name
    for leaf in layout(slot.placed.format.schema).leaves:
        mine, others = _number(leaf, ours), _number(leaf, theirs)
        if mine == others:
            continue
        if not leaf.fields:
            found[f"{name}.{leaf.path}"] = mine, others
        for f in leaf.fields:
            if f.of(mine) != f.of(others):
                found[f"{name}.{leaf.path}.{f.name or f.range}"] = f.of(mine), f.of(others)
    return found


def _number(leaf: Leaf, data: bytes) -> int:
    return int.from_bytes(data[leaf.offset : leaf.offset + leaf.size], "big" if leaf.big_endian else "little")
