"""Packets between two drivers on two ports of one card: content, sizes, chains, tags, queues, filters, migrations."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from drivers.mempool import RxFlag, TxFlag
from regmodel.errors import UsageError
from regmodel.structures.avp import MAX_PACKET
from tests.drivers.nics.avp.bench import Bench, Side, frame

STRANGER = b"\x02\x00\x00\x00\x00\x77"


def to(receiver: Side, sender: Side, *sizes: int) -> list[bytes]:
    return [frame(receiver.port.mac_addr, sender.port.mac_addr, size, i) for i, size in enumerate(sizes)]


def test_both_ways(bench: Bench) -> None:
    a, b = bench.pair()
    for sender, receiver in ((a, b), (b, a)):
        packets = to(receiver, sender, *range(60, 80))
        assert sender.send(*packets) == 20
        assert receiver.receive() == packets
    assert a.pool.available == b.pool.available == 512, "all was copied"
    assert a.port.stats().opackets == b.port.stats().ipackets == 20


@pytest.mark.parametrize("size", [2048, 2049, 9000, MAX_PACKET])
def test_chained_packets(bench: Bench, size: int) -> None:
    a, b = bench.pair(mtu=MAX_PACKET - 14)
    packets = to(b, a, size, 60, size)
    assert a.send(*packets) == 3
    assert b.receive() == packets


def test_what_does_not_fit_is_not_taken(bench: Bench) -> None:
    a, _ = bench.pair()
    assert a.send(bytes(5 * 2048 + 1)) == 0 and a.port.stats().oerrors == 1


def test_queues_wrap(bench: Bench) -> None:
    a, b = bench.pair()
    for number in range(0, 1200, 60):
        packets = to(b, a, *range(60 + number % 500, 60 + number % 500 + 60))
        assert a.send(*packets) == 60
        assert b.receive() == packets


def test_tags(bench: Bench) -> None:
    a, b = bench.pair(vlan=True)
    (plain,) = to(b, a, 100)
    packet = a.pool.put(plain)
    a.pool.tx_flags[packet] |= TxFlag.VLAN
    a.pool.vlan[packet] = 0x6123
    assert a.port.tx_burst(0, np.array([packet], np.intp)) == 1
    b.port.transport.sleep(0.01)
    assert b.port.rx_burst(0, b.out) == 1
    got = int(b.out[0])
    assert (b.pool.content(got), int(b.pool.vlan[got])) == (plain, 0x6123)
    assert b.pool.rx_flags[got] == RxFlag.VLAN_STRIPPED
    assert a.send(plain) == 1 and b.receive() == [plain], "and no tag the next time"


def test_promiscuous(bench: Bench) -> None:
    """The host delivers everything; the driver lets through what is for it."""
    a, b = bench.pair()
    strange = frame(STRANGER, a.port.mac_addr, 80, 1)
    multicast = frame(b"\x01\x00\x5e\x00\x00\x01", a.port.mac_addr, 80, 2)
    a.send(strange, multicast)
    assert b.receive() == [multicast]
    assert b.port.xstats()["rx_filtered"] == 1
    b.port.promiscuous_set(True)
    a.send(strange)
    assert b.receive() == [strange]


def test_eight_queues(bench: Bench) -> None:
    from tests.emulators.nics.avp.station import flow

    a, b = bench.pair(queues=8)
    flows = [flow(n, to=b.port.mac_addr) for n in range(48)]
    for n, packet in enumerate(flows):
        a.send(packet, queue=n % 8)
    by_queue = [b.receive(n) for n in range(8)]
    assert sorted(chain(*by_queue)) == sorted(flows)
    assert sum(map(bool, by_queue)) >= 6


def test_a_host_that_wants_more_receive_queues_than_we_have() -> None:
    from tests.emulators.nics.avp.station import flow

    bench = Bench(min_rx_queues="3")
    a, b = bench.pair()
    flows = [flow(n, to=b.port.mac_addr) for n in range(30)]
    a.send(*flows)
    got: list[bytes] = []
    for _ in range(6):
        got += b.receive()
    assert sorted(got) == sorted(flows)
    bench.close()


def test_stop_and_start(bench: Bench) -> None:
    a, b = bench.pair()
    for _ in range(3):
        packets = to(b, a, 60, 70)
        a.send(*packets)
        assert b.receive() == packets
        b.port.stop()
        a.send(*packets)
        assert not b.port.link_get().up
        b.port.start()
        assert b.receive() == [] and b.port.link_get().up
    assert b.port.stats().ipackets == 6


def test_the_address_stays(bench: Bench) -> None:
    a, _ = bench.pair()
    with pytest.raises(Exception, match="cannot change its address"):
        a.port.mac_addr_set(b"\x02\x00\x00\x00\x00\x01")
    assert a.port.info().max_mac_addrs == 1


def test_migration_loses_nothing(bench: Bench) -> None:
    """What was sent before goes out, what was not read comes, though all of it stands elsewhere afterwards."""
    a, b = bench.pair(queues=2, mtu=3000)
    first, second, third = to(b, a, 60, 61, 62), to(b, a, 2500, 64), to(b, a, 70)
    a.send(*first)
    bench.card.control(["nic", "1", "migrate"])
    assert b.port.watch() is not None
    assert b.port.rx_burst(0, b.out) == 0, "the device is away"
    a.send(*second)
    b.port.transport.sleep(0.15)  # BAR 2 is not mapped: another access might be under way for 0.1 s
    b.port.watch()
    assert b.port.migrations == 1
    a.send(*third)
    got = [b.receive(queue) for queue in (0, 1)]
    assert sorted(chain(*got)) == sorted(first + second + third)
    assert bench.model(1).arrangement.generation == 1
    (back,) = to(a, b, 90)
    b.send(back)
    assert [*a.receive(0), *a.receive(1)] == [back]
    assert bench.model(1).migration.problem == ""


def test_migration_is_told_by_an_interrupt(bench: Bench) -> None:
    a, _ = bench.pair()
    assert a.port.intr_wait(0.01) == ((), a.port.watch())
    bench.card.control(["nic", "0", "migrate"])
    for _ in range(2):
        a.port.intr_wait(0.1)
    assert a.port.migrations == 1


def test_no_new_driver_while_a_migration_is_under_way(bench: Bench) -> None:
    a, _ = bench.pair()
    bench.card.control(["nic", "0", "migrate"])
    assert a.port.transport.now() >= 0
    with pytest.raises(UsageError, match="migration is under way"):
        bench.open(0)
