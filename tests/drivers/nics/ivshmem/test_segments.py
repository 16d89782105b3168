"""What a guest makes of metadata: limits and merging of the original, and metadata that lies."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.nics.ivshmem import Host, Hugepages, Mempool, attach
from drivers.nics.ivshmem.errors import (
    BadMagic,
    MempoolDamaged,
    MetadataTruncated,
    NothingThere,
    RingDamaged,
    SegmentOutside,
    SegmentsOverlap,
    SharedMemoryError,
    TooManySegments,
)
from drivers.nics.ivshmem.segments import Segment, merge, read
from drivers.nics.ivshmem.space import Memzone
from regmodel.layout import layout
from regmodel.structures.ivshmem import METADATA, metadata_room
from tests.drivers.nics.ivshmem.test_metadata import Shown, published
from tests.support.thorough import THOROUGH

PAGE = 4096
SOON = 0.001
"""Seconds to wait for a producer that never was."""
OFFSETS = layout(METADATA).offsets


def at(device: Shown, path: str) -> int:
    """Where a field of the metadata stands in a device's memory."""
    return len(device.memory) - metadata_room() + OFFSETS[path]


def spoil(device: Shown, path: str, value: int) -> None:
    struct.pack_into("<Q", device.memory, at(device, path), value & (1 << 64) - 1)


def shared(count: int, zones: int, *, first: int = 0, bus_address: int = 1 << 32) -> Shown:
    """A device with ``zones`` memory zones, each in a page of its own, with holes between them."""
    pages = Hugepages(2 * count, PAGE, addr=(1 << 40) + first * PAGE, phys_addr=(1 << 30) + first * PAGE)
    metadata = Host(pages).create(f"m{first}")
    for i in range(zones):
        metadata.add_memzone(pages.reserve(f"z{first + i}", 64, align=2 * PAGE))
    device = Shown(metadata.size, bus_address)
    metadata.publish(device.memory)
    return device


class TestLooking:
    def test_devices_of_others_are_left_alone(self) -> None:
        other, ours = Shown(), published()[1]
        found = attach([other, ours])
        assert found.metadata == ["vm"] and found.ignored == 0
        assert {segment.device for segment in found.segments} == {1}
        assert list(found.strangers) == [0] and "BAR 2 has 0x0 at" in found.strangers[0]
        assert attach([]).memzones == {} and attach([other]).segments == []

    @pytest.mark.parametrize("magic", [0, 0x0BADC0DF, 0xDEC0AD0B])
    def test_a_bad_magic_number(self, magic: int) -> None:
        _, device, _ = published()
        struct.pack_into("<I", device.memory, at(device, "magic_number"), magic)
        with pytest.raises(BadMagic, match=f"BAR 2 has {magic:#x} at .*, metadata of DPDK have the magic number 0xbadc0de"):
            read(device.memory)
        with pytest.raises(NothingThere, match=f"there are none; device 0: BAR 2 has {magic:#x} at"):
            attach([device]).ring("MP_pool")

    def test_metadata_that_do_not_fit(self) -> None:
        with pytest.raises(MetadataTruncated, match="BAR 2 has 0x2000 bytes"):
            attach([Shown(8192)])

    def test_metadata_cut_short(self) -> None:
        """The last entries are missing: an entry without length ends the table wherever it stands."""
        _, device, _ = published()
        spoil(device, "entry[2].mz.len", 0)
        assert list(attach([device]).memzones) == ["MP_pool", "RG_MP_pool"]

    def test_four_devices(self) -> None:
        devices = [shared(1, 1, first=10 * i, bus_address=(i + 1) << 32) for i in range(6)]
        found = attach(devices)
        assert found.metadata == ["m0", "m10", "m20", "m30"] and found.ignored == 2

    def test_256_segments(self) -> None:
        devices = [shared(128, 128, first=1000 * i, bus_address=(i + 1) << 32) for i in range(2)]
        assert len(attach(devices).segments) == 256
        with pytest.raises(TooManySegments, match="257 segments"):
            attach([*devices, shared(1, 1, first=5000, bus_address=9 << 32)])

    def test_where_the_guest_has_it(self) -> None:
        """ioremap_addr is the guest's to fill in."""
        pages, device, _ = published()
        found = attach([device])
        for name, zone in pages.zones.items():
            assert found.memzones[name].ioremap_addr == (1 << 32) + zone.addr - pages.addr
            assert found.memzones[name].phys_addr == zone.phys_addr


class TestMerging:
    """Three addresses: neighbours or overlapping in all, they are one; overlapping in some, an error; else they stay."""

    ONE = Segment(0, 0x0000, 0x10000, 0x50000, 0x90000, 0x2000)

    def other(self, virt: int, phys: int, io: int, length: int = 0x2000) -> Segment:
        one = self.ONE
        return Segment(0, one.offset + io, one.addr + virt, one.phys_addr + phys, one.ioremap_addr + io, length)

    def test_neighbours_in_all_addresses(self) -> None:
        for turn in ([self.ONE, self.other(0x2000, 0x2000, 0x2000)], [self.other(0x2000, 0x2000, 0x2000), self.ONE]):
            assert merge(turn) == [Segment(0, 0, 0x10000, 0x50000, 0x90000, 0x4000)]

    def test_overlapping_in_all_addresses(self) -> None:
        assert merge([self.ONE, self.other(0x1000, 0x1000, 0x1000)])[0].len == 0x3000
        assert merge([self.ONE, self.ONE]) == [self.ONE]

    @pytest.mark.parametrize("apart", range(1, 7))
    def test_overlapping_in_some(self, apart: int) -> None:
        virt, phys, io = (0x8000 if apart >> bit & 1 else 0x1000 for bit in range(3))
        with pytest.raises(SegmentsOverlap, match="in some of their addresses only"):
            merge([self.ONE, self.other(virt, phys, io)])

    @pytest.mark.parametrize("apart", range(1, 8))
    def test_neighbours_in_some_stay(self, apart: int) -> None:
        virt, phys, io = (0x8000 if apart >> bit & 1 else 0x2000 for bit in range(3))
        assert len(merge([self.ONE, self.other(virt, phys, io)])) == 2

    def test_a_chain_becomes_one(self) -> None:
        chain = [self.other(n, n, n) for n in (0x4000, 0, 0x6000, 0x2000)]
        assert merge(chain) == [Segment(0, 0, 0x10000, 0x50000, 0x90000, 0x8000)]

    def test_the_same_page_in_two_devices_is_an_error(self) -> None:
        """As in the original: their BARs are at two places, so that they overlap in two addresses of three."""
        devices = [shared(1, 1, bus_address=1 << 32), shared(1, 1, bus_address=2 << 32)]
        with pytest.raises(SegmentsOverlap, match=r"PHYS.VIRT"):
            attach(devices)


class TestLies:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("entry[0].offset", 1 << 16), ("entry[0].offset", (1 << 64) - PAGE), ("entry[0].mz.len", 1 << 17),
            ("entry[0].mz.len", (1 << 64) - 1), ("entry[0].mz.addr", 0), ("entry[0].mz.addr", (1 << 64) - 64),
            ("entry[0].offset", 64), ("entry[0].mz.addr", 0x7F0000000040), ("entry[5].offset", (1 << 16) - PAGE + 1),
        ],
    )  # fmt: skip
    def test_segments_outside(self, path: str, value: int) -> None:
        _, device, _ = published()
        spoil(device, path, value)
        with pytest.raises(SegmentOutside, match="memory zone"):
            attach([device])

    def test_names_without_an_end(self) -> None:
        _, device, _ = published()
        for path in ("name", "entry[5].mz.name"):
            device.memory[at(device, path) : at(device, path) + 32] = b"\xff" * 32
        assert len(attach([device]).memzones) == 6

    def test_what_is_not_there(self) -> None:
        found = attach([published()[1]])
        for look in (found.ring, found.mempool, found.view):
            with pytest.raises(NothingThere, match="no memory zone is named"):
                look("nonexistent")

    def test_a_memory_zone_that_is_named_like_a_ring(self) -> None:
        pages, device = Hugepages(1, PAGE), Shown()
        metadata = Host(pages).create("m")
        for name in ("RG_none", "MP_none", "MP_short"):
            metadata.add_memzone(pages.reserve(name, 192 if name != "MP_short" else 64))
        metadata.publish(device.memory)
        found = attach([device])
        assert found.mempools == [] and found.rings == ["none"]
        with pytest.raises(RingDamaged):
            found.ring("none")
        for name in ("none", "short"):
            with pytest.raises(MempoolDamaged):
                found.mempool(name)


VALUES = st.integers(0, (1 << 64) - 1)
LIKELY = VALUES | st.sampled_from([0, 1, PAGE, 1 << 15])


@settings(max_examples=100 * THOROUGH)
@given(
    st.lists(st.tuples(st.integers(0, 700), LIKELY), max_size=6),
    st.lists(st.tuples(st.integers(0, 8 * PAGE - 8), VALUES), max_size=6),
)
def test_whatever_the_memory_says(metadata: list[tuple[int, int]], memory: list[tuple[int, int]]) -> None:
    """Only errors of this library come out, and nothing outside of BAR 2 is touched."""
    _, device, _ = published()
    for offset, value in metadata:
        struct.pack_into("<Q", device.memory, at(device, "name") + offset, value)
    for offset, value in memory:
        struct.pack_into("<Q", device.memory, offset, value)
    try:
        found = attach([device])
        for name in found.rings:
            try:
                ring = found.ring(name)
                ring.patience = SOON
                ring.enqueue_burst([1, 2, 3])
                assert len(ring.dequeue_burst(100)) < ring.size
            except SharedMemoryError:
                continue
        for name in found.mempools:
            pool = found.mempool(name)
            pool.ring.patience = SOON
            for pointer in pool.get(2):
                pool.view(pointer)[:] = bytes(pool.elt_size)
    except SharedMemoryError as error:
        assert "\n" not in str(error)


def test_a_pool_and_its_chunks() -> None:
    """A pool beside zones of the same prefix: only the pool is one."""
    pages, device = Hugepages(4, PAGE), Shown()
    metadata = Host(pages).create("m")
    pool = Mempool.create(pages, "a", 4, 8)
    metadata.add_mempool(pool)
    metadata.publish(device.memory)
    found = attach([device])
    assert found.mempools == ["a"]
    assert isinstance(found.memzones["MP_a_0"], Memzone)
