"""Buffers: who has them, chains, and what is told when they are given back twice."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.mempool import HEADROOM, NONE, Mempool, TxFlag
from drivers.transports import Transport
from regmodel.errors import UsageError


class Memory:
    """A ``DmaBuffer`` that says what was handed over."""

    def __init__(self, iova: int, size: int) -> None:
        self.iova, self.size, self.view = iova, size, memoryview(bytearray(size))
        self.handed: list[tuple[str, int, int | None]] = []

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        self.handed.append(("device", offset, size))

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        self.handed.append(("cpu", offset, size))

    def free(self) -> None:
        self.handed.append(("free", 0, None))


class Allocator:
    coherent = True

    def alloc(self, size: int) -> Memory:
        return Memory(0x1000_0000, size)


def pool_of(count: int = 8, room: int = 64) -> Mempool:
    return Mempool(cast(Transport, Allocator()), count, room)


def test_buffers_lie_side_by_side() -> None:
    pool = pool_of(4, 128)
    assert pool.iova.tolist() == [0x1000_0000 + HEADROOM + (HEADROOM + 128) * i for i in range(4)]
    pool.data[2][:3] = b"abc"
    start = int(pool.iova[2]) - 0x1000_0000
    assert bytes(pool.octets[2, :3]) == b"abc" == bytes(pool.memory.view[start : start + 3])
    pool.heads[2] = 0xEE
    assert bytes(pool.memory.view[start - HEADROOM : start + 3]) == b"\xee" * HEADROOM + b"abc"
    assert len(pool.data[1]) == 128 and not pool.octets[1].any()


def test_alloc_is_all_or_nothing() -> None:
    pool = pool_of(8)
    mine = pool.alloc(6)
    assert len(set(mine.tolist())) == 6 and pool.available == 2
    assert len(pool.alloc(3)) == 0 and pool.available == 2
    pool.free(mine)
    assert pool.available == 8
    assert len(pool.alloc(0)) == 0


def test_what_was_allocated_stays_what_it_is() -> None:
    """An array from ``alloc`` is the caller's: later calls of the pool do not change it."""
    pool = pool_of(8)
    mine = pool.alloc(4)
    before = mine.tolist()
    pool.free(pool.alloc(2))
    pool.give(pool.take(4).copy())
    assert mine.tolist() == before


def test_freed_twice() -> None:
    pool = pool_of(8)
    mine = pool.alloc(2)
    pool.free(mine)
    with pytest.raises(UsageError, match="freed or sent twice"):
        pool.free(mine)
    assert pool.available == 8


@given(content=st.binary(min_size=0, max_size=400))
def test_put_and_content(content: bytes) -> None:
    pool = pool_of(8)
    packet = pool.put(content)
    assert pool.content(packet) == content and pool.packet_length(packet) == len(content)
    assert pool.available == 8 - max(1, -(-len(content) // 64))
    pool.free(np.array([packet], np.intp))
    assert pool.available == 8 and not pool.tx_flags.any()


def test_put_into_an_empty_pool() -> None:
    pool = pool_of(2)
    assert pool.put(bytes(129)) == NONE
    assert pool.available == 2


def test_free_follows_chains_among_others() -> None:
    pool = pool_of(8)
    packets = np.array([pool.put(bytes(size)) for size in (10, 130, 10)], np.intp)
    assert pool.available == 3 and len(pool.chain_of(int(packets[1]))) == 3
    pool.free(packets)
    assert pool.available == 8 and sorted(pool.alloc(8).tolist()) == list(range(8))


def test_a_chain_in_a_circle() -> None:
    pool = pool_of(4)
    a, b = pool.alloc(2).tolist()
    pool.chain([a, b, a])
    with pytest.raises(UsageError, match="has no end"):
        pool.content(a)


def test_hand_over_covers_what_is_in_the_buffers() -> None:
    pool = pool_of(4, 128)
    first, second = pool.put(bytes(60)), pool.put(bytes(100))
    pool.sync_for_device(np.array([first, second], np.intp))
    pool.sync_for_cpu(np.array([second], np.intp))
    pool.sync_for_cpu(np.array([first], np.intp), ahead=12)
    memory = cast(Any, pool.memory)
    one, other = ((HEADROOM + 128) * i + HEADROOM for i in (first, second))
    assert memory.handed == [("device", one, 60), ("device", other, 100), ("cpu", other, 100), ("cpu", one - 12, 72)]
    pool.close()
    assert memory.handed[-1] == ("free", 0, None)


@pytest.mark.parametrize(("count", "room"), [(0, 2048), (4, 32), (4, 100), (4, 1 << 16)])
def test_sizes_that_no_pool_has(count: int, room: int) -> None:
    with pytest.raises(UsageError, match="a pool has 1 or more buffers of 64 to 65472 bytes"):
        pool_of(count, room)


def test_fresh_buffers_ask_for_nothing() -> None:
    pool = pool_of(4)
    packet = pool.put(b"x")
    pool.tx_flags[packet] |= TxFlag.VLAN | TxFlag.IP_CKSUM
    pool.free(np.array([packet], np.intp))
    assert not pool.tx_flags.any()
