"""The DMA map: against a plain list of bytes for random maps, and each fault by name."""

from __future__ import annotations

import time
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.dma import BytesMemory, DmaMap, DmaMapError, Ranges
from regmodel.errors import DmaFault


class Indirect(BytesMemory):
    """Memory without bytes in place."""

    @property
    def view(self):
        return None

    def read(self, offset, size):
        assert offset >= 0 and offset + size <= self.size
        return bytes(self.content[offset : offset + size])

    def write(self, offset, data):
        assert offset >= 0 and offset + len(data) <= self.size
        self.content[offset : offset + len(data)] = data


@pytest.fixture
def dma():
    dma = DmaMap()
    dma.enabled = True
    return dma


def test_off_until_bus_mastering_is_enabled():
    dma = DmaMap()
    dma.map(0, 16, BytesMemory(16))
    for access in (lambda: dma.view(0, 4), lambda: dma.read(0, 4), lambda: dma.write(0, b"1234")):
        dma.enabled = False
        with pytest.raises(DmaFault, match="bus mastering is off"):
            access()
        dma.enabled = True
        access()
        dma.enabled = False
        with pytest.raises(DmaFault, match="bus mastering is off"):
            access()


def test_views_are_in_place(dma):
    memory = BytesMemory(64)
    dma.map(0x1000, 64, memory)
    dma.view(0x1010, 4, write=True)[:] = b"abcd"
    assert memory.content[16:20] == b"abcd"
    assert dma.read(0x1010, 4).obj is memory.content


def test_permissions_are_those_of_each_map(dma):
    dma.map(0, 16, BytesMemory(16), read=True, write=False)
    dma.map(16, 16, BytesMemory(16), read=False, write=True)
    assert dma.read(0, 16) == bytes(16)
    dma.write(16, b"x")
    with pytest.raises(DmaFault, match="may not be written"):
        dma.write(0, b"x")
    with pytest.raises(DmaFault, match="may not be read"):
        dma.view(16, 1)
    with pytest.raises(TypeError):
        dma.view(0, 4)[0] = 1


def test_no_hit_is_remembered_beyond_its_map(dma):
    dma.map(0, 16, BytesMemory(16))
    dma.write(0, b"x")
    assert dma.read(0, 1) == b"x"
    dma.unmap(0, 16)
    dma.map(0, 16, BytesMemory(16), write=False)
    assert dma.read(0, 1) == b"\0"
    with pytest.raises(DmaFault):
        dma.write(0, b"x")
    dma.clear()
    with pytest.raises(DmaFault):
        dma.read(0, 1)


def test_no_reference_is_kept(dma):
    import sys

    memory = BytesMemory(16)
    references = sys.getrefcount(memory), sys.getrefcount(memory.content)
    dma.map(0, 16, memory)
    dma.read(0, 4), dma.write(0, b"x")
    dma.unmap(0, 16)
    assert (sys.getrefcount(memory), sys.getrefcount(memory.content)) == references


def test_an_access_that_faults_transfers_nothing(dma):
    memory = BytesMemory(16)
    dma.map(0, 16, memory)
    with pytest.raises(DmaFault, match="nothing is mapped at 0x10") as fault:
        dma.write(12, b"12345678")
    assert (fault.value.iova, fault.value.size) == (12, 8)
    assert memory.content == bytes(16)


@pytest.mark.parametrize("address", [-1, -(2**64), 2**64, 2**64 - 1, 15])
def test_addresses_outside(dma, address):
    dma.map(0, 16, BytesMemory(16))
    for access in (lambda: dma.view(address, 2), lambda: dma.read(address, 2), lambda: dma.write(address, b"xy")):
        with pytest.raises(DmaFault):
            if access() is None:  # view: not in one map; read and write have the last word
                raise DmaFault(address, 2, "spans")


@pytest.mark.parametrize(
    ("start", "size", "code"),
    [(0, 0, "range"), (-16, 16, "range"), (2**64 - 8, 16, "range"), (8, 16, "overlap"), (16, 1, "overlap"), (0, 64, "overlap")],
)
def test_bad_maps(start, size, code):
    ranges = Ranges()
    ranges.add(16, 16, None)
    with pytest.raises(DmaMapError) as error:
        ranges.add(start, size, None)
    assert error.value.code == code and len(ranges) == 1


MAPS = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 24), st.booleans(), st.booleans(), st.booleans()), max_size=12)
ACCESSES = st.lists(st.tuples(st.integers(-2, 140), st.integers(0, 40), st.booleans()), max_size=20)


@settings(max_examples=200)
@given(MAPS, ACCESSES, st.lists(st.integers(0, 11), max_size=4))
def test_like_a_plain_array(maps, accesses, gone):
    """Every access behaves as on 160 cells, each with its own permissions and owner."""
    dma, cells, held = DmaMap(), {}, []
    dma.enabled = True
    for start, size, direct, read, write in maps:
        memory = (BytesMemory if direct else Indirect)(bytearray((start + i) % 251 for i in range(size)))
        try:
            dma.map(start, size, memory, read=read, write=write)
        except DmaMapError:
            assert any(address in cells for address in range(start, start + size))
            continue
        assert not any(address in cells for address in range(start, start + size))
        cells.update({start + i: (memory, i, read, write) for i in range(size)})
        held.append((start, size))
    for index in gone:
        if index < len(held) and held[index]:
            start, size = held[index]
            dma.unmap(start, size)
            for address in range(start, start + size):
                del cells[address]
            held[index] = None
    for start, size, is_write in accesses:
        covered = [cells.get(address) for address in range(start, start + size)]
        allowed = all(cell and cell[3 if is_write else 2] for cell in covered)
        if not size:
            continue
        try:
            if is_write:
                dma.write(start, bytes(range(100, 100 + size)))
            else:
                assert bytes(dma.read(start, size)) == bytes(m.content[i] for m, i, _, _ in covered)
            assert allowed
        except DmaFault:
            assert not allowed
        if is_write and allowed:
            assert [m.content[i] for m, i, _, _ in covered] == list(range(100, 100 + size))


def test_gather_and_scatter_are_read_and_write(dma):
    """Over two maps in place, a seam between maps, and memory without bytes in place."""
    for start, memory in ((0, BytesMemory(64)), (64, BytesMemory(64)), (128, Indirect(64))):
        dma.map(start, 64, memory)
    places = [(0, 8), (70, 3), (60, 8), (130, 4), (8, 0), (9, 5)]
    pieces = [bytes(range(16 * n, 16 * n + size)) for n, (_, size) in enumerate(places)]
    dma.scatter([at for at, _ in places], pieces)
    assert [bytes(piece) for piece in dma.gather(*zip(*places, strict=True))] == pieces
    assert [bytes(dma.read(*place)) for place in places] == pieces


def test_a_fault_ends_gather_and_scatter(dma):
    dma.map(0, 64, BytesMemory(64))
    with pytest.raises(DmaFault, match="nothing is mapped at 0x40"):
        dma.gather([0, 60, 0], [4, 8, 4])
    with pytest.raises(DmaFault, match="nothing is mapped at 0x40"):
        dma.scatter([0, 60, 8], [b"abcd", bytes(8), b"abcd"])
    assert bytes(dma.read(0, 12)) == b"abcd" + bytes(8)


def test_no_range_is_remembered_after_its_unmap(dma):
    """Neither for single accesses nor for those of a burst."""
    accesses = (
        lambda: dma.read(0, 4),
        lambda: dma.write(0, b"abcd"),
        lambda: dma.view(0, 4, write=True),
        lambda: dma.gather([0, 8], [4, 4]),
        lambda: dma.scatter([0, 8], [b"abcd", b"efgh"]),
    )
    for access in accesses:
        dma.map(0, 64, BytesMemory(64))
        access()
        dma.unmap(0, 64)
        with pytest.raises(DmaFault, match="nothing is mapped"):
            access()


def test_speed(dma):
    """What the data path counts on, in slices of a memoryview: some 2 for the last range, 7 with a search of thousands."""
    dma.map(0, 1 << 20, BytesMemory(1 << 20))
    pages = [(1 << 30) + 8192 * page for page in range(4096)]
    for page in pages:
        dma.map(page, 4096, BytesMemory(8))
    plain = memoryview(bytearray(1 << 20))
    actions = (
        lambda: plain[0x1000 : 0x1000 + 1500],
        lambda: dma.view(0x1000, 1500),
        lambda: (plain[0x1000:0x1040], plain[8192:8196]),
        lambda: (dma.view(0x1000, 64), dma.view(pages[-1], 4)),
    )
    rounds = [[timeit.timeit(action, number=50, timer=time.thread_time) for action in actions] for _ in range(800)]
    one, near, two, away = map(min, zip(*rounds, strict=True))  # each in its best moment, and all in the same ones
    assert near < 5 * one
    assert away < 20 * two


@given(st.sets(st.integers(0, 30)), st.integers(-1, 33), st.integers(0, 35))
def test_ranges_are_taken_out_whole_or_not_at_all(places, start, size):
    """Ranges of three addresses at multiples of four: what lies within goes, unless an edge of the range cuts one."""
    ranges: Ranges[int] = Ranges()
    for place in places:
        ranges.add(4 * place, 3, place)
    inside = [p for p in sorted(places) if start <= 4 * p and 4 * p + 3 <= start + size]
    cut = any(4 * p < edge < 4 * p + 3 for p in places for edge in (start, start + size))
    if cut or not inside:
        with pytest.raises(DmaMapError) as raised:
            ranges.take(start, size)
        assert raised.value.code == ("cut" if cut else "absent")
        assert len(ranges) == len(places)
    else:
        assert [thing for _, _, thing in ranges.take(start, size)] == inside
        assert [thing for _, _, thing in ranges] == sorted(places - set(inside))
