"""Metadata files of a host: what DPDK's own test of its library asserts (app/test/test_ivshmem.c), order and offsets of pages,
and that what is published is found again, from both sides.
"""

from __future__ import annotations

import pytest

from drivers.nics.ivshmem import Host, Hugepages, Mempool, Ring, attach
from drivers.nics.ivshmem.errors import (
    AlreadyShared,
    BadMemzone,
    MetadataExists,
    MetadataFull,
    NoSuchMetadata,
    NothingThere,
    OutOfHugepages,
    SegmentOutside,
    SharedMemoryError,
    TooManyMetadata,
)
from drivers.nics.ivshmem.space import Memzone
from regmodel.structures.ivshmem import METADATA, metadata_room

PAGE = 4096


class Shown:
    """A device as ``attach`` sees it."""

    def __init__(self, size: int = 1 << 16, bus_address: int = 1 << 32) -> None:
        self.memory, self.bus_address = memoryview(bytearray(size)), bus_address


class TestTheOriginalsOwn:
    """app/test/test_ivshmem.c, function by function."""

    def test_create_metadata_config(self) -> None:
        """``test_ivshmem_create_metadata_config``."""
        built = METADATA.parse(Host(Hugepages(1)).create("metadata").build())
        assert built.magic_number == 0x0BADC0DE and built.name == b"metadata".ljust(32, b"\0")
        assert (built.entry[0].offset, built.entry[0].mz.addr, built.entry[0].mz.len) == (0, 0, 0)

    def test_too_many_metadata_configs(self) -> None:
        host = Host(Hugepages(1))
        for i in range(32):
            host.create(f"test_{i}")
        with pytest.raises(TooManyMetadata, match="at most 32"):
            host.create("test_32")

    def test_duplicate_metadata(self) -> None:
        host = Host(Hugepages(1))
        host.create("duplicate")
        with pytest.raises(MetadataExists):
            host.create("duplicate")

    def test_lots_of_memzones(self) -> None:
        pages = Hugepages(1)
        metadata = Host(pages).create("metadata")
        for i in range(128):
            metadata.add_memzone(pages.reserve(f"mz_{i}", 64))
        with pytest.raises(MetadataFull, match="128 entries"):
            metadata.add_memzone(pages.reserve("one too many", 64))
        assert len(metadata.zones) == 128

    def test_duplicate_memzone(self) -> None:
        pages = Hugepages(1)
        metadata, zone = Host(pages).create("metadata"), pages.reserve("mz", 64)
        metadata.add_memzone(zone)
        with pytest.raises(BadMemzone, match="is there already"):
            metadata.add_memzone(zone)

    def test_api(self) -> None:
        """``test_ivshmem_api_test``: what is none of the file's, none of the hugepages', and names of nothing."""
        pages, elsewhere = Hugepages(1), Hugepages(1, addr=1 << 40)
        host = Host(pages)
        metadata = host.create("metadata")
        with pytest.raises(NoSuchMetadata, match="there are metadata"):
            host.find("nonexistent")
        for wrong in (elsewhere.ring("ring", 1), elsewhere.ring("other", 2)):
            with pytest.raises(NothingThere):
                metadata.add_ring(wrong)
        with pytest.raises(NothingThere):
            metadata.add_mempool(Mempool.create(elsewhere, "mempool", 1, 1))
        metadata.add_memzone(pages.reserve("memzone", 64))
        metadata.add_ring(pages.ring("ring", 1))
        metadata.add_mempool(Mempool.create(pages, "mempool", 1, 1))
        assert [zone.name for zone in host.find("metadata").zones] == ["memzone", "RG_ring", "MP_mempool", "RG_MP_mempool",
                                                                       "MP_mempool_0"]  # fmt: skip
        assert len(host.dump("metadata").splitlines()) == 5 and "name:<RG_ring>" in host.dump("metadata")


@pytest.mark.parametrize("name", ["", "x" * 32])
def test_names_have_room_for_their_end(name: str) -> None:
    pages = Hugepages(1)
    with pytest.raises(BadMemzone):
        Host(pages).create(name)
    with pytest.raises(BadMemzone):
        pages.reserve(name, 64)


def test_empty_and_overlapping_memzones() -> None:
    pages = Hugepages(1)
    metadata, zone = Host(pages).create("m"), pages.reserve("a", 128)
    metadata.add_memzone(zone)
    with pytest.raises(BadMemzone, match="is empty"):
        metadata.add_memzone(Memzone("b", zone.addr + 4096, 0, 0, 2 << 20))
    with pytest.raises(BadMemzone, match="overlaps"):
        metadata.add_memzone(Memzone("b", zone.addr + 127, zone.phys_addr, 64, 2 << 20))
    assert metadata.zones == [zone]


def test_the_largest_pages_come_first() -> None:
    """Each size in order of physical addresses, only pages that are used, offsets within what is shown (build_config)."""
    small = Hugepages(4, PAGE, addr=0x10000000, phys_addr=0x1000)
    large = Hugepages(2, 4 * PAGE, addr=0x20000000, phys_addr=0x100000, space=small.space)
    metadata = Host(small, large).create("m")
    small.reserve("unused", PAGE)
    zones = [small.reserve("s", 64), small.reserve("across", PAGE + 64), large.reserve("l", 100)]
    for zone in reversed(zones):
        metadata.add_memzone(zone)
    assert metadata.pages == [(0x20000000, 4 * PAGE), (0x10001000, PAGE), (0x10002000, PAGE)]
    assert metadata.offsets == {"l": 0, "s": 4 * PAGE, "across": 4 * PAGE + 64}
    assert metadata.size == 1 << 16  # 24 KiB and 16 KiB, up to a power of two


def test_more_hugepages_than_a_file_knows() -> None:
    pages = Hugepages(4097, PAGE)
    metadata = Host(pages).create("m")
    with pytest.raises(OutOfHugepages, match="knows 4096"):
        metadata.add_memzone(pages.reserve("huge", 4097 * PAGE))
    assert metadata.zones == []


def published(size: int = 1 << 16) -> tuple[Hugepages, Shown, Mempool]:
    pages, device = Hugepages(8, PAGE), Shown(size)
    metadata = Host(pages).create("vm")
    pool = Mempool.create(pages, "pool", 16, 200)
    metadata.add_mempool(pool)
    metadata.add_ring(pages.ring("to guest", 16))
    metadata.add_ring(pages.ring("to host", 16))
    metadata.add_memzone(pages.reserve("plain", 3000))
    pages.view(pages.zones["plain"])[:5] = b"early"
    metadata.publish(device.memory)
    return pages, device, pool


def test_both_sides_use_what_is_published() -> None:
    pages, device, pool = published()
    guest = attach([device])
    assert guest.metadata == ["vm"] and guest.mempools == ["pool"]
    assert guest.rings == ["MP_pool", "to guest", "to host"]
    assert bytes(guest.view("plain")[:5]) == b"early"
    pages.view(pages.zones["plain"])[:5] = b"later"
    assert bytes(guest.view("plain")[:5]) == b"later"
    there, back = pages.space, guest.mempool("pool")
    to_guest, to_host = (Ring(there, pages.zones[f"RG_{name}"].addr) for name in ("to guest", "to host"))
    for turn in range(40):
        objects = pool.get(3)
        for pointer in objects:
            pool.view(pointer)[0] = turn
        assert to_guest.enqueue_bulk(objects)
        received = guest.ring("to guest").dequeue_burst(8)
        assert received == objects and {back.view(pointer)[0] for pointer in received} == {turn}
        back.put(received[:1])
        assert guest.ring("to host").enqueue_bulk(received[1:])
        pool.put(to_host.dequeue_burst(8))
        assert len(pool) == len(back) == 16


def test_the_memory_of_a_device() -> None:
    """Pages from its start, zeros, the metadata in its last pages."""
    _, device, _ = published(1 << 17)
    at = len(device.memory) - metadata_room()
    assert metadata_room() == 16384
    assert bytes(device.memory[at : at + 4]) == bytes.fromhex("dec0ad0b")
    assert not any(device.memory[8 * PAGE : at])
    parsed = METADATA.parse(bytes(device.memory[at:]))
    assert [bytes(e.mz.name).rstrip(b"\0") for e in parsed.entry[:7]] == [
        b"MP_pool", b"RG_MP_pool", b"MP_pool_0", b"RG_to guest", b"RG_to host", b"plain", b"",
    ]  # fmt: skip


def test_a_device_that_is_too_small() -> None:
    pages = Hugepages(8, PAGE)
    metadata = Host(pages).create("m")
    metadata.add_memzone(pages.reserve("a", 5 * PAGE))
    with pytest.raises(SegmentOutside, match="takes 0x10000 bytes"):
        metadata.publish(memoryview(bytearray(1 << 15)))
    assert not metadata.published


def test_a_page_has_one_place() -> None:
    pages = Hugepages(2, PAGE)
    host = Host(pages)
    first, second = host.create("a"), host.create("b")
    first.add_memzone(pages.reserve("x", 64))
    second.add_memzone(pages.reserve("y", 64))
    first.publish(Shown().memory)
    with pytest.raises(AlreadyShared, match="in another device already"):
        second.publish(Shown().memory)
    with pytest.raises(AlreadyShared):
        first.publish(Shown().memory)
    with pytest.raises(AlreadyShared):
        first.add_memzone(pages.reserve("z", 64))


def test_32_metadata_files_in_as_many_devices() -> None:
    """For eight guests of four devices each; a page size of its own for every other one."""
    space = Hugepages(1, PAGE).space
    sizes = [PAGE << number % 2 for number in range(32)]
    pages = [
        Hugepages(1, size, addr=(n + 1) << 32, phys_addr=(n + 1) << 24, space=space) for n, size in enumerate(sizes)
    ]  # fmt: skip
    host, devices = Host(*pages), [Shown(1 << 15, (n + 1) << 32) for n in range(32)]
    for number, each in enumerate(pages):
        metadata = host.create(f"m{number}")
        metadata.add_ring(each.ring(f"r{number}", 16))
        metadata.add_memzone(each.reserve(f"z{number}", 64))
        metadata.publish(devices[number].memory)
        each.view(each.zones[f"z{number}"])[:] = bytes([number]) * 64
    for first in range(0, 32, 4):
        mine = range(first, first + 4)
        found = attach([devices[number] for number in mine])
        assert found.metadata == [f"m{number}" for number in mine] and found.rings == [f"r{number}" for number in mine]
        for number in mine:
            assert bytes(found.view(f"z{number}")) == bytes([number]) * 64
            assert found.memzones[f"z{number}"].hugepage_sz == sizes[number]
            assert found.ring(f"r{number}").enqueue_bulk([number])
            assert Ring(space, pages[number].zones[f"RG_r{number}"].addr).dequeue_burst(4) == [number]


def test_every_error_is_one_line() -> None:
    for kind in SharedMemoryError.__subclasses__():
        assert kind.__doc__ and kind.__doc__.count("\n") == 0
