"""Memory is handed over as the transport's contract says: rings once per burst, packets only where they have to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.mempool import TxFlag
from tests.drivers.nics.igbvf.bench import Bench, Bouncing, frame


@pytest.fixture
def bouncing() -> Iterator[Bench]:
    made = Bench(transport=Bouncing)
    yield made
    made.close()


@settings(max_examples=15)
@given(bursts=st.lists(st.lists(st.integers(60, 9014), min_size=1, max_size=7), min_size=1, max_size=6))
def test_nothing_is_forgotten(bursts: list[list[int]]) -> None:
    """Driver and device have copies of their own; chains, contexts and rings that wrap arrive all the same."""
    bench = Bench(transport=Bouncing)
    a, b = bench.side(0, mtu=9000, rings=64), bench.side(1, mtu=9000, rings=64)
    for side in (a, b):
        side.port.vlan_filter(9)
    for number, sizes in enumerate(bursts):
        packets = [frame(b.port.mac_addr, a.port.mac_addr, size, number) for size in sizes]
        todo = np.array([a.pool.put(packet) for packet in packets], np.intp)
        a.pool.tx_flags[todo[::2]] |= TxFlag.VLAN
        a.pool.vlan[todo] = 9
        assert a.send_packets(todo) == len(packets)
        assert b.receive() == packets
    a.settle()
    assert a.pool.available == b.pool.available == 512 - 64
    bench.close()


def test_rings_once_per_burst_and_no_packets_where_memory_is_coherent(bouncing: Bench) -> None:
    a, b = bouncing.side(0), bouncing.side(1)
    a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 60)] * 16)  # away from the beginning of the ring
    b.receive()
    for side in (a, b):
        side.pool.free(side.pool.alloc(1))
    transport_a, transport_b = bouncing.transports
    assert isinstance(transport_a, Bouncing) and isinstance(transport_b, Bouncing)
    todo = np.array([a.pool.put(frame(b.port.mac_addr, a.port.mac_addr, 60, i)) for i in range(16)], np.intp)
    for coherent in (False, True):
        transport_a.log.clear()
        transport_b.log.clear()
        sender, receiver = a.port._senders[0], b.port._receivers[0]
        sender._coherent = receiver._coherent = coherent
        a.port.tx_burst(0, todo[:8])
        todo = todo[8:]
        b.port.rx_burst(0, b.out)
        ring_a, ring_b = sender._memory.iova, receiver._memory.iova
        assert [row for row in transport_a.log if row[1] == ring_a] == [("device", ring_a)]
        assert [row for row in transport_b.log if row[1] == ring_b] == [("cpu", ring_b), ("device", ring_b)]
        packets = [row for row in transport_a.log + transport_b.log if row[1] not in (ring_a, ring_b)]
        pools = [("device", a.pool.memory.iova)] * 8 + [("cpu", b.pool.memory.iova)] * 8
        assert packets == ([] if coherent else pools)


def test_one_store_of_each_tail_per_burst(bench: Bench) -> None:
    """A burst of whatever makes one bus access, a look at an empty ring none."""
    a, b = bench.side(0), bench.side(1)
    stores: list[str] = []
    for side, name in ((a, "tdt"), (b, "rdt")):
        queue = side.port._senders[0] if name == "tdt" else side.port._receivers[0]
        store = queue._store_tail

        def told(value: int, name: str = name, store: object = store) -> None:
            stores.append(name)
            store(value)  # type: ignore[operator]

        queue._store_tail = told
    for _ in range(5):  # wraps the ring of 64
        todo = np.array([a.pool.put(frame(b.port.mac_addr, a.port.mac_addr, 60)) for i in range(20)], np.intp)
        stores.clear()
        assert a.port.tx_burst(0, todo) == 20
        assert b.port.rx_burst(0, b.out) == 20
        assert b.port.rx_burst(0, b.out[20:]) == 0
        assert stores == ["tdt", "rdt"]
        b.pool.free(b.out[:20])
        a.settle()


def test_one_report_per_burst(bench: Bench) -> None:
    """Only the last descriptor of a burst is written back (RS), whether its packets are plain or not."""
    a, b = bench.side(0), bench.side(1)
    reports = np.frombuffer(a.port._senders[0]._memory.view, np.uint32)[3::4]
    for start, size in ((0, 60), (4, 3000)):  # a packet of 3000 octets has two descriptors
        todo = np.array([a.pool.put(frame(b.port.mac_addr, a.port.mac_addr, size)) for _ in range(4)], np.intp)
        assert a.port.tx_burst(0, todo) == 4
        given = range(start, a.port._senders[0]._tail)
        b.receive()
        assert [i for i in given if reports[i] & 1] == [given[-1]]
