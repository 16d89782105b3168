"""``rte_ring`` and ``rte_mempool`` in shared memory: the layout of 16.07, their rules, and memory that somebody has spoilt."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.nics.ivshmem import Hugepages, Mempool, Ring
from drivers.nics.ivshmem.errors import BadMemzone, MempoolDamaged, NothingThere, OutOfHugepages, RingDamaged
from drivers.nics.ivshmem.ring import PAUSE, compare_and_set, memsize
from regmodel.structures.ivshmem import MempoolFlag, RingFlag
from tests.support.thorough import THOROUGH

PAGE = 4096
ALONE = RingFlag.SP_ENQ | RingFlag.SC_DEQ


def ring(count: int = 8, flags: RingFlag = ALONE) -> tuple[Ring, memoryview]:
    """A ring and its memory as words of 32 bits."""
    pages = Hugepages(4, PAGE)
    made = pages.ring("r", count, flags)
    return made, pages.view(pages.zones["RG_r"]).cast("I")


def test_the_layout_of_16_07() -> None:
    """Offsets that gcc gives to the structure of rte_ring.h for x86-64."""
    made, words = ring(8, RingFlag.SC_DEQ)
    raw = words.cast("B")
    assert bytes(raw[:32]) == b"r".ljust(32, b"\0") and words[8] == 2
    assert list(words[16:22]) == [8, 0, 8, 7, 0, 0]  # prod at 64: watermark, sp_enqueue, size, mask, head, tail
    assert list(words[22:27]) == [1, 8, 7, 0, 0]  # cons at 88: sc_dequeue, size, mask, head, tail
    assert made.enqueue_bulk([0x1122334455667788])
    assert raw[128:136] == (0x1122334455667788).to_bytes(8, "little")
    assert list(words[20:22]) == [1, 1]
    assert memsize(8) == 192 and memsize(1) == 192 and memsize(1024) == 128 + 8192


@pytest.mark.parametrize("flags", [ALONE, RingFlag(0), RingFlag.SP_ENQ, RingFlag.SC_DEQ])
def test_bulk_is_all_or_nothing_and_burst_is_what_fits(flags: RingFlag) -> None:
    made, _ = ring(8, flags)
    assert made.enqueue_bulk([]) and made.dequeue_bulk(0) == [] and made.dequeue_burst(3) == []
    assert not made.enqueue_bulk(range(1, 9)) and len(made) == 0
    assert made.enqueue_bulk(range(1, 6)) and (len(made), made.free) == (5, 2)
    assert made.enqueue_burst([6, 7, 8]) == 2 and made.enqueue_burst([9]) == 0
    assert made.dequeue_bulk(8) == [] and made.dequeue_bulk(3) == [1, 2, 3]
    assert made.dequeue_burst(10) == [4, 5, 6, 7]


def test_a_watermark_warns() -> None:
    made, _ = ring(8)
    made.watermark = 4
    for expected in (False, False, False, True, True):
        assert made.enqueue_bulk([1]) and made.quota_exceeded is expected
    made.watermark = 0
    assert made.watermark == 8 and made.enqueue_burst([1, 2, 3]) == 2 and not made.quota_exceeded
    with pytest.raises(BadMemzone):
        made.watermark = 8


@settings(max_examples=60 * THOROUGH)
@given(
    st.sampled_from([1, 2, 4, 16]), st.sampled_from([0, 0xFFFF_FFFA, 0x7FFF_FFFE]),
    st.lists(st.tuples(st.sampled_from(["bulk", "burst", "out bulk", "out burst"]), st.integers(0, 18)), max_size=40),
)  # fmt: skip
def test_it_is_a_queue(count: int, start: int, steps: list[tuple[str, int]]) -> None:
    """Against a deque, also where indices wrap at 2^32."""
    made, words = ring(count)
    for at in (20, 21, 25, 26):
        words[at] = start
    model: deque[int] = deque()
    following = 1
    for what, n in steps:
        if "out" in what:
            taken = n if len(model) >= n else 0 if what == "out bulk" else len(model)
            found = (made.dequeue_bulk if what == "out bulk" else made.dequeue_burst)(n)
            assert found == [model.popleft() for _ in range(taken)]
        else:
            pointers = list(range(following, following + n))
            room = count - 1 - len(model)
            fits = n if n <= room else 0 if what == "bulk" else room
            if what == "bulk":
                assert made.enqueue_bulk(pointers) is (n <= room)
            else:
                assert made.enqueue_burst(pointers) == fits
            model += pointers[:fits]
            following += n
        assert len(made) == len(model) and made.free == count - 1 - len(model)


def test_several_producers_and_consumers() -> None:
    """Four threads in, two out; each thread by a view of its own, as processes have."""
    pages = Hugepages(4, PAGE)
    first = pages.ring("r", 64, RingFlag(0))
    got: list[int] = []
    done = threading.Event()

    def produce(base: int) -> None:
        mine, left = Ring(pages.space, first.addr), list(range(base, base + 300))
        while left:
            del left[: mine.enqueue_burst(left[:5])]

    def consume() -> None:
        mine = Ring(pages.space, first.addr)
        while not done.is_set() or len(mine):
            got.extend(mine.dequeue_burst(7))

    with ThreadPoolExecutor(6) as threads:
        producers = [threads.submit(produce, 1000 * i) for i in range(1, 5)]
        consumers = [threads.submit(consume) for _ in range(2)]
        for producer in as_completed(producers):
            producer.result()
        done.set()
        for consumer in consumers:
            consumer.result()
    assert sorted(got) == [1000 * i + n for i in range(1, 5) for n in range(300)]


def test_who_waits_lets_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that somebody else has claimed are not filled sooner for being looked at without pause, least of all by a thread
    of this process, which cannot go on meanwhile.
    """
    made, words = ring(8, RingFlag(0))
    looks = Counter[str]()
    load = made._load
    monkeypatch.setattr(made, "_load", lambda path: (looks.update([path]), load(path))[1])
    words[20] = 2  # somebody has claimed two entries ...
    with ThreadPoolExecutor(1) as threads:
        start = time.monotonic()
        threads.submit(lambda: (time.sleep(0.2), words.__setitem__(21, 2)))  # ... and fills them in a moment
        assert made.enqueue_bulk([1]) and words[21] == 3
    assert looks["prod.tail"] <= (time.monotonic() - start) / PAUSE + 2


def test_compare_and_set() -> None:
    _, words = ring()
    words[1] = 5
    assert compare_and_set(words, 1, 5, 6) and words[1] == 6
    assert not compare_and_set(words, 1, 5, 7) and words[1] == 6


class TestDamage:
    @pytest.mark.parametrize(("word", "value"), [(18, 7), (18, 16), (19, 8), (23, 4), (24, 3), (18, 0)])
    def test_sizes_that_contradict_each_other(self, word: int, value: int) -> None:
        made, words = ring(8)
        words[word] = value
        with pytest.raises(RingDamaged, match="no power of two less one"):
            Ring(made._space, made.addr)

    def test_a_ring_larger_than_its_memory_zone(self) -> None:
        made, words = ring(8)
        for word, value in ((18, 64), (19, 63), (23, 64), (24, 63)):
            words[word] = value
        with pytest.raises(RingDamaged, match="do not fit"):
            Ring(made._space, made.addr, 192)
        for word, value in ((18, 1 << 20), (19, (1 << 20) - 1), (23, 1 << 20), (24, (1 << 20) - 1)):
            words[word] = value
        with pytest.raises(NothingThere):
            Ring(made._space, made.addr)

    @pytest.mark.parametrize(("word", "enqueue"), [(20, True), (26, True), (21, False), (25, False)])
    @pytest.mark.parametrize("value", [100, 0x8000_0000, 0xFFFF_FF00])
    @pytest.mark.parametrize("flags", [ALONE, RingFlag(0)])
    def test_indices_out_of_range(self, word: int, enqueue: bool, value: int, flags: RingFlag) -> None:
        """Who relies on an index finds out; nothing was moved then."""
        made, words = ring(8, flags)
        made.enqueue_bulk([1, 2, 3])
        words[word] = value
        before = list(words)
        with pytest.raises(RingDamaged, match="while the other side is at"):
            made.enqueue_bulk([4]) if enqueue else made.dequeue_burst(8)
        assert list(words) == before

    def test_a_producer_that_died_between_its_steps(self) -> None:
        made, words = ring(8, RingFlag(0))
        made.patience = 0.02
        words[20] = 2  # it has claimed two entries
        with pytest.raises(RingDamaged, match="never finished"):
            made.enqueue_bulk([1])

    def test_sizes_that_cannot_be(self) -> None:
        pages = Hugepages(2, PAGE)
        for count in (0, 3, 1 << 29):
            with pytest.raises(BadMemzone, match="power of two"):
                pages.ring("x", count)
        with pytest.raises(OutOfHugepages):
            pages.ring("x", 2048)
        with pytest.raises(BadMemzone, match="bytes"):
            Ring.create(pages.space, pages.reserve("RG_y", 64), 64)


class TestMempool:
    def pool(self, **more: MempoolFlag) -> tuple[Hugepages, Mempool]:
        pages = Hugepages(8, PAGE)
        return pages, Mempool.create(pages, "p", 10, 100, **more)

    def test_layout_and_names(self) -> None:
        """Offsets that gcc gives to rte_mempool; the zones that rte_mempool_create makes."""
        pages, pool = self.pool()
        words = pages.view(pages.zones["MP_p"]).cast("I")
        assert list(pages.zones) == ["MP_p", "RG_MP_p", "MP_p_0"]
        assert words.cast("B").cast("Q")[4] == pages.zones["RG_MP_p"].addr  # pool_data at 32
        assert list(words[16:22]) == [10, 0, 104, 64, 24, 0]  # size at 64, cache, elt, header, trailer, private
        assert words[26] == 10 and (pool.elt_size, len(pool), pool.ring.size) == (104, 10, 16)
        first = pages.zones["MP_p_0"].addr + 64
        header = pages.space.view(first - 24, 24).cast("Q")
        assert list(header) == [first + 192 - 24, pool.addr, pages.zones["MP_p_0"].phys_addr + 64]

    @pytest.mark.parametrize("flags", [MempoolFlag(0), MempoolFlag.SP_PUT | MempoolFlag.SC_GET])
    def test_get_and_put(self, flags: MempoolFlag) -> None:
        _, pool = self.pool(flags=flags)
        taken = pool.get(10)
        assert len(set(taken)) == 10 and pool.get(1) == []
        for i, pointer in enumerate(taken):
            pool.view(pointer)[:] = bytes([i]) * 104
        assert [set(pool.view(pointer)) for pointer in taken] == [{i} for i in range(10)]
        pool.put(taken)
        assert len(pool) == 10

    def test_objects_that_are_not_its_own(self) -> None:
        pages, pool = self.pool()
        other = Mempool.create(pages, "q", 4, 16)
        for stranger in (other.get(1)[0], 0, 0x7F00_0000_0000, (1 << 64) - 8, pool.get(1)[0] + 8):
            with pytest.raises(MempoolDamaged):
                pool.put([stranger])
            with pytest.raises(MempoolDamaged):
                pool.view(stranger)

    def test_too_many_given_back(self) -> None:
        _, pool = self.pool()
        mine = pool.get(1)
        with pytest.raises(MempoolDamaged, match="given back twice"):
            for _ in range(10):
                pool.put(mine)

    def test_a_free_object_that_points_elsewhere(self) -> None:
        pages, pool = self.pool()
        pages.view(pages.zones["RG_MP_p"]).cast("Q")[16] = 0xDEAD_0000
        with pytest.raises(MempoolDamaged, match="0xdead0000"):
            pool.get(1)

    @pytest.mark.parametrize(("word", "value"), [(26, 11), (19, 0), (18, 0), (16, 9)])
    def test_sizes_that_cannot_be(self, word: int, value: int) -> None:
        pages, pool = self.pool()
        pages.view(pages.zones["MP_p"]).cast("I")[word] = value
        with pytest.raises(MempoolDamaged, match="cannot be"):
            Mempool(pages.space, pool.addr)

    def test_a_pool_without_a_ring(self) -> None:
        pages, pool = self.pool()
        pages.view(pages.zones["MP_p"]).cast("Q")[4] = 0x1234
        with pytest.raises(NothingThere):
            Mempool(pages.space, pool.addr)
