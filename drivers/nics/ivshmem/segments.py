"""The guest's side of DPDK's IVSHMEM library: find metadata in the devices, merge segments, make rings and pools of them.

Nothing is asked of whoever wants to use what is shared: ``attach`` looks at all devices, as EAL does when it starts. The
limits, the merging and the refusals are the original's. Where it would fail in ``mmap``, what is wrong has a name here.

Source: DPDK 16.07 lib/librte_eal/linuxapp/eal/eal_ivshmem.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Protocol

from drivers.nics.ivshmem.errors import (
    BadMagic,
    MempoolDamaged,
    MetadataTruncated,
    NothingThere,
    SegmentOutside,
    SegmentsOverlap,
    TooManySegments,
)
from drivers.nics.ivshmem.mempool import HEADER, Mempool
from drivers.nics.ivshmem.ring import Ring
from drivers.nics.ivshmem.space import Memzone, Space, text
from regmodel.structures.ivshmem import (
    DEVICES,
    MAGIC,
    MEMPOOL,
    MEMPOOL_PREFIX,
    MEMSEGS,
    METADATA,
    PAGE,
    RING_PREFIX,
    metadata_room,
)


class Shown(Protocol):
    """A device as far as it matters here."""

    @property
    def memory(self) -> memoryview:
        """BAR 2, in place."""

    @property
    def bus_address(self) -> int:
        """Where the guest's platform has put BAR 2."""


class Where(IntFlag):
    """In which of its three addresses a segment meets another."""

    PHYS = 1
    VIRT = 2
    IOREMAP = 4
    FULL = 7


@dataclass(frozen=True)
class Segment:
    """A stretch of ``device``'s BAR 2 from ``offset`` on, and what it is called elsewhere. All is in bytes."""

    device: int
    offset: int
    addr: int
    phys_addr: int
    ioremap_addr: int
    len: int

    def _pairs(self, other: Segment) -> tuple[tuple[Where, int, int], ...]:
        return (
            (Where.VIRT, self.addr, other.addr),
            (Where.PHYS, self.phys_addr, other.phys_addr),
            (Where.IOREMAP, self.ioremap_addr, other.ioremap_addr),
        )

    def overlaps(self, other: Segment) -> Where:
        return _sum(where for where, ours, theirs in self._pairs(other)
                    if ours < theirs + other.len and theirs < ours + self.len)  # fmt: skip

    def adjoins(self, other: Segment) -> Where:
        return _sum(where for where, ours, theirs in self._pairs(other)
                    if ours == theirs + other.len or theirs == ours + self.len)  # fmt: skip

    def merged(self, other: Segment) -> Segment:
        """Both as one: the lowest start, the highest end."""
        start = min(self.addr, other.addr)
        return Segment(
            self.device, min(self.offset, other.offset), start, min(self.phys_addr, other.phys_addr),
            min(self.ioremap_addr, other.ioremap_addr), max(self.addr + self.len, other.addr + other.len) - start,
        )  # fmt: skip


def _sum(places: object) -> Where:
    total = Where(0)
    for place in places:  # type: ignore[attr-defined]
        total |= place
    return total


@dataclass(frozen=True)
class Found:
    """The metadata of one device: its name, and memory zones with their offsets."""

    name: str
    entries: tuple[tuple[Memzone, int], ...]


def read(memory: memoryview) -> Found:
    """The metadata of a device. Raises ``MetadataTruncated``, ``BadMagic``, ``SegmentOutside``."""
    at = len(memory) - metadata_room()
    if at < 0:
        text_ = f"BAR 2 has {len(memory):#x} bytes, of which metadata would take the last {metadata_room():#x}"
        raise MetadataTruncated(f"{text_}: take the device away, or give it more memory")
    metadata = METADATA.parse(bytes(memory[at:]))
    if metadata.magic_number != MAGIC:
        raise BadMagic(f"BAR 2 has {metadata.magic_number:#x} at {at:#x}, metadata of DPDK have the magic number {MAGIC:#x}")
    entries = []
    for entry in metadata.entry:
        mz = entry.mz
        if mz.len == 0:
            break
        zone = Memzone(
            text(mz.name), mz.addr, mz.phys_addr, mz.len, mz.hugepage_sz, mz.ioremap_addr, mz.socket_id, mz.flags, mz.memseg_id
        )
        entries.append((zone, entry.offset))
        room = f"{zone.len:#x} bytes at offset {entry.offset:#x} of {len(memory):#x}"
        if entry.offset + zone.len > len(memory) or not zone.addr or zone.end > 1 << 64:
            raise SegmentOutside(f"memory zone {zone.name!r} of {text(metadata.name)!r} is outside of BAR 2: {room}")
        if zone.addr % PAGE != entry.offset % PAGE or zone.phys_addr < zone.addr % PAGE:
            raise SegmentOutside(f"memory zone {zone.name!r} of {text(metadata.name)!r} does not lie in whole pages: {room}")
    return Found(text(metadata.name), tuple(entries))


def merge(segments: Sequence[Segment]) -> list[Segment]:
    """Those that meet in all their addresses become one (cleanup_segments).

    Raises ``SegmentsOverlap`` for those that overlap in some of them only. Neighbours in some of them may stay.
    """
    left = sorted(segments, key=lambda s: s.phys_addr)
    while (pair := _meeting(left)) is not None:
        first, second = pair
        left[first] = left[first].merged(left[second])
        del left[second]
    return left


def _meeting(segments: Sequence[Segment]) -> tuple[int, int] | None:
    for i, one in enumerate(segments):
        for j in range(i + 1, len(segments)):
            other = segments[j]
            overlap = one.overlaps(other)
            if overlap == Where.FULL or one.adjoins(other) == Where.FULL:
                return i, j
            if overlap:
                how = f"{one.addr:#x}+{one.len:#x} and {other.addr:#x}+{other.len:#x} overlap in {overlap.name}"
                raise SegmentsOverlap(f"two segments meet in some of their addresses only: {how}")
    return None


class Shared:
    """All that a guest finds: memory zones, rings and pools by name, and the ``segments`` that hold them.

    ``metadata`` are the names of what was found; ``ignored`` counts DPDK devices beyond the fourth, ``strangers`` says of each
    device without metadata, by its number, why it was left alone.
    """

    def __init__(self) -> None:
        self.space = Space()
        self.metadata: list[str] = []
        self.segments: list[Segment] = []
        self.memzones: dict[str, Memzone] = {}
        self.ignored = 0
        self.strangers: dict[int, str] = {}

    def view(self, name: str) -> memoryview:
        """The memory of a memory zone. Raises ``NothingThere``."""
        zone = self._zone(name)
        return self.space.view(zone.addr, zone.len)

    def ring(self, name: str) -> Ring:
        """The ring in memory zone ``RG_name`` (rte_ring_lookup). Raises ``NothingThere``, ``RingDamaged``."""
        zone = self._zone(RING_PREFIX + name)
        return Ring(self.space, zone.addr, zone.len)

    def mempool(self, name: str) -> Mempool:
        """The pool in memory zone ``MP_name``. Raises ``NothingThere``, ``MempoolDamaged``, ``RingDamaged``."""
        zone = self._zone(MEMPOOL_PREFIX + name)
        if zone.len < HEADER:
            raise MempoolDamaged(f"memory zone {zone.name!r} has {zone.len} bytes, a pool takes {HEADER}")
        return Mempool(self.space, zone.addr)

    @property
    def rings(self) -> list[str]:
        """Names of all rings, by the names of their memory zones; those of pools are among them."""
        return [name.removeprefix(RING_PREFIX) for name in self.memzones if name.startswith(RING_PREFIX)]

    @property
    def mempools(self) -> list[str]:
        """Names of all pools: of memory zones which say the same of themselves, for their objects are called alike."""
        named = [(n.removeprefix(MEMPOOL_PREFIX), z) for n, z in self.memzones.items() if n.startswith(MEMPOOL_PREFIX)]
        return [n for n, z in named if z.len >= HEADER and text(MEMPOOL.parse(bytes(self.view(z.name)[:HEADER])).name) == n]

    def _zone(self, name: str) -> Memzone:
        if name not in self.memzones:
            known = [", ".join(self.memzones) or "none", *(f"device {number}: {why}" for number, why in self.strangers.items())]
            raise NothingThere(f"no memory zone is named {name!r}; there are {'; '.join(known)}")
        return self.memzones[name]


def attach(devices: Sequence[Shown]) -> Shared:
    """What DPDK has put into these devices; devices of others are left alone.

    Raises ``MetadataTruncated``, ``SegmentOutside``, ``SegmentsOverlap``, ``TooManySegments``.
    """
    shared, raw, taken = Shared(), list[Segment](), 0
    zones: list[tuple[Memzone, Segment]] = []
    for number, device in enumerate(devices):
        try:
            found = read(device.memory)
        except BadMagic as why:
            shared.strangers[number] = str(why)
            continue
        if taken == DEVICES:
            shared.ignored += 1
            continue
        taken += 1
        shared.metadata.append(found.name)
        for zone, offset in found.entries:
            segment = _whole_pages(zone, offset, number, device.bus_address)
            raw.append(segment)
            zones.append((replace(zone, ioremap_addr=segment.ioremap_addr + zone.addr % PAGE), segment))
    if len(raw) > MEMSEGS:
        raise TooManySegments(f"the devices have {len(raw)} segments, a guest has at most {MEMSEGS}")
    shared.segments = merge(raw)
    for segment in shared.segments:
        memory = devices[segment.device].memory
        if segment.offset + segment.len > len(memory):
            raise SegmentOutside(f"a segment of {segment.len:#x} bytes at {segment.offset:#x} is outside of BAR 2")
        shared.space.place(segment.addr, memory[segment.offset : segment.offset + segment.len])
    shared.memzones = {zone.name: zone for zone, _ in zones}
    return shared


def _whole_pages(zone: Memzone, offset: int, device: int, bus_address: int) -> Segment:
    """A memory zone, widened to pages (map_all_segments)."""
    more = zone.addr % PAGE
    return Segment(
        device, offset - more, zone.addr - more, zone.phys_addr - more, bus_address + offset - more,
        -(-(zone.len + more) // PAGE) * PAGE,
    )  # fmt: skip
