"""Packets both ways: simple and chained, tagged, in several queues; buffers that go round and round."""

from __future__ import annotations

import random
from itertools import chain

import pytest

from regmodel.structures.avp import MAX_PACKET
from tests.emulators.nics.avp.station import PEER, Station, flow, frame, tagged


@pytest.mark.parametrize("size", [60, 64, 1514, 2048])
def test_simple_packets(size: int) -> None:
    station = Station().start()
    sent = [frame(n, size) for n in range(5)]
    station.send(*sent)
    assert station.wire() == sent
    came = [frame(n, size, to=station.mac) for n in range(5)]
    station.arrive(*came)
    assert station.frames() == came


@pytest.mark.parametrize("size", [2049, 4096, 4097, 9000, MAX_PACKET])
def test_chained_packets(size: int) -> None:
    """A buffer holds 2048 octets; five of them hold the longest packet."""
    station = Station().start()
    sent = [frame(1, size), frame(2, 60), frame(3, size)]
    station.send(*sent)
    assert station.wire() == sent
    came = [frame(1, size, to=station.mac), frame(2, 60, to=station.mac)]
    station.arrive(*came)
    got = station.receive()
    assert [found for found, _ in got] == came
    assert [row.nb_segs for _, row in got] == [-(-size // 2048), 1]


def test_longer_packets_are_not_delivered() -> None:
    station = Station(max_rx_pkt_len="1600").start()
    station.arrive(frame(1, 1600, to=station.mac), frame(2, 1601, to=station.mac), frame(3, 1605, to=station.mac))
    assert [len(found) for found in station.frames()] == [1600]
    assert station.nic.stats()["receive"][0]["too_long"] == 1, "with a tag it might have been right, says the switch"


def test_short_packets_are_padded_and_scraps_dropped() -> None:
    station = Station().start()
    station.send(frame(1, 20), frame(2, 13 + 5)[:13])
    assert station.wire() == [frame(1, 20).ljust(60, b"\0")]
    assert station.host.diagnosed == {"packet-too-short": 1}
    assert station.count(station.fifo("alloc")) == 511, "their buffers are used again all the same"


def test_buffers_go_round() -> None:
    """Several times as many packets as there are slots, in bursts that wrap at every place."""
    station = Station(queue_size="16").start()
    dice, number = random.Random(1), 0
    for _ in range(120):
        burst = [frame(number + i, dice.choice((60, 2048, 3000, 9000))) for i in range(dice.randrange(1, 4))]
        number += len(burst)
        station.send(*burst)
        assert station.wire() == burst
        back = [frame(number + i, dice.choice((60, 2048, 3000, 9000)), to=station.mac) for i in range(dice.randrange(1, 16))]
        station.arrive(*back)
        assert station.frames() == back
    station.settle()
    assert station.nic.buffers.left == station.nic.buffers.count - 15


def test_a_full_queue_counts_what_it_drops() -> None:
    station = Station(queue_size="16").start()
    station.arrive(*(frame(n, to=station.mac) for n in range(20)))
    assert station.frames() == [frame(n, to=station.mac) for n in range(15)]
    assert sum(station.nic.slot.pool.lost.values()) == 5
    station.arrive(frame(99, to=station.mac))
    assert station.frames() == [frame(99, to=station.mac)]


def test_nothing_comes_while_the_port_is_down() -> None:
    station = Station().probe()
    station.configure()
    station.arrive(frame(1, to=station.mac))
    station.link(True)
    station.arrive(frame(2, to=station.mac))
    station.link(False)
    station.arrive(frame(3, to=station.mac))
    assert station.frames() == [frame(2, to=station.mac)]


def test_what_is_sent_when_the_port_goes_down_goes_out() -> None:
    station = Station().start()
    pointers = station.fill([frame(7)])
    station.link(False)
    station.add(station.fifo("tx"), pointers[0])
    station.settle()
    assert station.wire() == [frame(7)]


def test_eight_queues() -> None:
    station = Station().start(8)
    flows = [flow(n, to=station.mac) for n in range(64)]
    station.arrive(*flows)
    by_queue = [[found for found, _ in station.receive(n)] for n in range(8)]
    assert all(by_queue) and sorted(chain(*by_queue)) == sorted(flows)
    station.arrive(*flows)
    assert [[found for found, _ in station.receive(n)] for n in range(8)] == by_queue, "a flow stays where it is"
    for n in range(8):
        station.send(frame(n), queue=n)
    assert station.wire() == [frame(n) for n in range(8)]


def test_more_receive_queues_than_transmit_queues() -> None:
    station = Station().start(1, rx=3)
    station.queues = 3
    station.arrive(*(flow(n, to=station.mac) for n in range(32)))
    assert len(station.frames()) == 32


@pytest.mark.parametrize("vlan", [False, True])
def test_tags(vlan: bool) -> None:
    station = Station().start(vlan=vlan)
    plain = [frame(n, to=station.mac) for n in range(3)]
    station.arrive(plain[0], tagged(plain[1], 0x6005), plain[2])
    got = [(found, row.ol_flags.rx_vlan_pkt, row.vlan_tci) for found, row in station.receive()]
    if vlan:
        assert got == [(plain[0], 0, 0), (plain[1], 1, 0x6005), (plain[2], 0, 0)]
    else:
        assert got == [(plain[0], 0, 0), (tagged(plain[1], 0x6005), 0, 0), (plain[2], 0, 0)]


def test_tags_of_chained_packets() -> None:
    station = Station().start(vlan=True)
    long = frame(1, 5000, to=station.mac)
    station.arrive(tagged(frame(0, to=station.mac), 3), tagged(long, 0xE007), frame(2, 3000, to=station.mac))
    got = [(found, row.ol_flags.rx_vlan_pkt, row.vlan_tci) for found, row in station.receive()]
    assert got[1:] == [(long, 1, 0xE007), (frame(2, 3000, to=station.mac), 0, 0)]


def test_tags_are_put_in_and_flags_do_not_stay() -> None:
    """DPDK sets the flag of a descriptor and never clears one: the host has to."""
    station = Station(queue_size="16").start()
    station.send(frame(1), frame(2, 5000), vlan=0x2064)
    assert station.wire() == [tagged(frame(1), 0x2064), tagged(frame(2, 5000), 0x2064)]
    for n in range(40):
        station.send(frame(n))
    assert station.wire() == [frame(n) for n in range(40)]


def test_promiscuity_is_the_drivers() -> None:
    stranger = frame(1, to=b"\x02\x00\x00\x00\x00\x77")
    flooded, quiet = Station().start(), Station(flood="off").start()
    for station in (flooded, quiet):
        station.arrive(stranger, frame(2, to=station.mac), frame(3, to=b"\xff" * 6), frame(4, to=b"\x01\x00\x5e\x00\x00\x01"))
    assert [found[17] for found in flooded.frames()] == [1, 2, 3, 4]
    assert [found[17] for found in quiet.frames()] == [2, 3, 4]


def test_two_ports_of_a_card_reach_each_other() -> None:
    station = Station().start()
    other = station.card.slots[2]
    assert other.mac not in (None, station.mac, PEER)
    station.send(frame(1, to=other.mac or b""))
    assert station.nic.slot.pool.tx.frames == 1
