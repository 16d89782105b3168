"""Packets between two drivers on two VFs of one card: content, sizes, chains, rings that wrap, offloads, what is counted."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import RingError
from drivers.mempool import Mempool, PacketType, RxFlag, names
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.bench import Bench, RxOffload, Side, frame
from tests.support.thorough import THOROUGH


def pair(bench: Bench, **options: object) -> tuple[Side, Side]:
    return bench.side(0, **options), bench.side(1, **options)


def free_of(side: Side) -> int:
    """Buffers that neither ring nor pool misses: all, less the receive ring's."""
    return side.pool.available


def test_both_ways(either: Bench) -> None:
    a, b = pair(either)
    for sender, receiver in ((a, b), (b, a)):
        packets = [frame(receiver.port.mac_addr, sender.port.mac_addr, 60 + i, i) for i in range(20)]
        assert sender.send(*packets) == 20
        assert receiver.receive() == packets
    assert free_of(a) == free_of(b) == 512 - 64


def test_all_sizes(bench: Bench) -> None:
    """60 to 9018 octets (the last four are the FCS) in buffers of 2 KiB, every size once; the rings wrap many times."""
    a, b = pair(bench, mtu=9000, buffers=1024, rings=64)
    to, sender = b.port.mac_addr, a.port.mac_addr
    sizes = range(60, 9018 - 4 + 1)
    body = bytes(i * 7 & 0xFF for i in range(2 * 9018))
    for start in range(0, len(sizes), 8):
        packets = [to + sender + b"\x88\xb5" + body[start : start + size - 14] for size in sizes[start : start + 8]]
        assert [len(packet) for packet in packets] == list(sizes[start : start + 8])
        assert a.send(*packets) == len(packets)
        assert b.receive() == packets
    assert free_of(a) == free_of(b) == 1024 - 64


@pytest.mark.parametrize("head", [1, 28, 63])
def test_a_head_that_a_reset_leaves_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch, head: int) -> None:
    """As on the VF of QEMU's igb."""
    leave_head(bench, monkeypatch, head)
    a, b = pair(bench)
    packets = [frame(b.port.mac_addr, a.port.mac_addr, 60 + i, i) for i in range(48)]
    for _ in range(3):
        assert a.send(*packets) == len(packets)
        assert b.receive() == packets
    b.port.watch()
    assert free_of(b) == 512 - 64


def test_a_head_beyond_the_ring(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_head(bench, monkeypatch, 64)
    with pytest.raises(RingError, match=r"RDH\[0\] is 64 after a reset, beyond a ring of 64 descriptors: configure a larger"):
        pair(bench)


def leave_head(bench: Bench, monkeypatch: pytest.MonkeyPatch, head: int) -> None:
    """RDH of VF 1 is ``head`` after each write that sets it back: to CTRL and, on our model, RXDCTL."""
    resets = (0, bench.bank(1)["rxdctl"].offset)
    write = bench.meddlers[1].region_write

    def meddle(index: int, offset: int, size: int, value: int) -> None:
        write(index, offset, size, value)
        if index == 0 and offset in resets:
            bench.bank(1)["rdh"].value = head

    monkeypatch.setattr(bench.meddlers[1], "region_write", meddle)


def test_short_frames_are_padded(bench: Bench) -> None:
    a, b = pair(bench)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 20))
    (got,) = b.receive()
    assert got == frame(b.port.mac_addr, a.port.mac_addr, 20).ljust(60, b"\0")


@settings(max_examples=25 * THOROUGH)
@given(data=st.data())
def test_any_mixture(data: st.DataObject) -> None:
    """Chains cut anywhere, plain packets between them, bursts of any length: what was sent arrives, in order."""
    with closing(Bench()) as bench:  # also where Hypothesis breaks an example off
        any_mixture(bench, data)


def any_mixture(bench: Bench, data: st.DataObject) -> None:
    a = bench.side(0, mtu=9000, buffers=512, rings=32)
    b = bench.side(1, mtu=9000, buffers=512, rings=256)  # room for all that is sent between two looks
    sent: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 6))):
        burst = []
        for _ in range(data.draw(st.integers(1, 6))):
            size = data.draw(st.sampled_from([60, 64, 1500, 2048, 2049, 4096, 9014]) | st.integers(60, 9014))
            packet = frame(b.port.mac_addr, a.port.mac_addr, size, len(sent))
            cuts = sorted(data.draw(st.sets(st.integers(1, size - 1), max_size=3)) | set(range(2000, size, 2000)))
            burst.append(put_cut(a, packet, cuts))
            sent.append(packet)
        todo = np.array(burst, np.intp)
        taken = a.send_packets(todo)
        for i in todo[taken:]:
            sent.remove(a.pool.content(int(i)))
        a.pool.free(todo[taken:])
        if data.draw(st.booleans()):
            assert b.receive() == sent
            sent = []
    assert b.receive() == sent
    a.settle()
    assert (free_of(a), free_of(b)) == (512 - 32, 512 - 256)


def put_cut(side: Side, packet: bytes, cuts: list[int]) -> int:
    """A chain of buffers, cut at these offsets."""
    pieces = [packet[i:j] for i, j in zip([0, *cuts], [*cuts, len(packet)], strict=True)]
    buffers = [side.pool.put(piece) for piece in pieces]
    side.pool.chain(buffers)
    return buffers[0]


def test_more_than_the_ring_takes(bench: Bench) -> None:
    """A full ring takes no more, and goes on when the device has been."""
    a, b = bench.side(0, rings=32), bench.side(1, rings=64)
    packets = [frame(b.port.mac_addr, a.port.mac_addr, 60, i) for i in range(40)]
    todo = np.array([a.pool.put(p) for p in packets], np.intp)
    assert a.port.tx_burst(0, todo) == 31
    assert a.port.tx_burst(0, todo[31:]) == 9  # reclaiming gave the device its turn
    assert b.receive() == packets
    a.settle()
    assert a.pool.available == 512 - 32


def test_a_pool_that_runs_dry(bench: Bench) -> None:
    """The driver keeps packets in the ring rather than descriptors without a buffer."""
    a, b = bench.side(0), bench.side(1, buffers=64, rings=32)
    b.pool.alloc(b.pool.available)
    packets = [frame(b.port.mac_addr, a.port.mac_addr, 60, i) for i in range(8)]
    a.send(*packets)
    assert b.receive() == []
    assert b.port.stats().rx_nombuf >= 1
    b.pool.give(np.arange(20, 24))
    assert len(b.receive()) == 8


def test_dropped_without_descriptors_is_missed(bench: Bench) -> None:
    a, b = pair(bench, rings=32)
    for seed in range(3):
        a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 60, seed + i) for i in range(16)])
    assert len(b.receive()) == 31
    assert b.port.stats().imissed == 48 - 31


def test_flags_of_loopback_and_wire(bench: Bench) -> None:
    a, b = pair(bench)
    packet = frame(b.port.mac_addr, a.port.mac_addr, 60)
    a.send(packet)
    bench.from_the_wire([packet])
    assert b.receive_with_flags() == [(packet, RxFlag.LOOPBACK), (packet, 0)]


def test_statistics(bench: Bench) -> None:
    a, b = pair(bench)
    a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 100)] * 5, frame(b"\xff" * 6, a.port.mac_addr, 60))
    b.receive()
    sent, got = a.port.stats(), b.port.stats()
    assert (sent.opackets, sent.obytes, sent.ipackets) == (6, 560, 0)
    assert (got.ipackets, got.ibytes, got.opackets) == (6, 560, 0)
    assert a.port.xstats()["tx_good_loopback_packets"] == 6
    b.port.stats_reset()
    b.port.xstats_reset()
    assert b.port.stats().ipackets == 0 and b.port.xstats()["rx_good_loopback_packets"] == 0
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60))
    b.receive()
    assert b.port.stats().ipackets == 1


@pytest.mark.parametrize("start", [0xFFFF_FFFE, 0xFFFF_FFF0])
def test_counters_wrap(bench: Bench, start: int) -> None:
    """32-bit counters that wrap go on growing, and what they said before the driver came does not count."""
    for vf in (0, 1):
        for name in ("vfgprc", "vfgorc", "vfgptc", "vfgotc", "vfgprlbc"):
            bench.bank(vf)[name].value = start
    a, b = pair(bench)
    total = 0
    for i in range(12):
        a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 60 + i)] * 4)
        b.receive()
        total += 4 * (60 + i)
        got = b.port.stats()
        assert (got.ipackets, got.ibytes) == (4 * (i + 1), total)
    assert bench.bank(1)["vfgprc"].value < start
    assert a.port.stats().opackets == 48 and b.port.xstats()["rx_good_loopback_packets"] == 48


def test_a_reset_that_moves_the_counters_is_no_traffic(bench: Bench) -> None:
    a, b = pair(bench)
    a.send(*[frame(b.port.mac_addr, a.port.mac_addr, 60)] * 3)
    b.receive()
    ask = b.port.mailbox.ask

    def reset_and_ask(name: str, *more: Any, **body: Any) -> Any:
        for counter in ("vfgprc", "vfgorc"):
            bench.bank(1)[counter].value = 0
        return ask(name, *more, **body)

    b.port.mailbox.ask = reset_and_ask  # type: ignore[method-assign]
    b.port.reset()
    got = b.port.stats()
    assert (got.ipackets, got.ibytes) == (3, 180)


def test_two_queues_of_an_82576(bench: Bench) -> None:
    """Both transmit queues send; a stock PF leaves RSS off, so that all is received by queue 0."""
    b = bench.side(1)
    port = bench.open(0)
    pool = Mempool(port.transport, 512)
    port.configure(2, 2)
    for queue in range(2):
        port.rx_queue_setup(queue, pool, 64)
        port.tx_queue_setup(queue, pool, 64)
    port.start()
    for queue in range(2):
        packet = pool.put(frame(b.port.mac_addr, port.mac_addr, 60, queue))
        assert port.tx_burst(queue, np.array([packet], np.intp)) == 1
        port.tx_done_cleanup(queue)
    assert b.receive() == [frame(b.port.mac_addr, port.mac_addr, 60, queue) for queue in range(2)]
    port.close()
    assert pool.available == 512


def test_packet_types_and_checksum_verdicts(bench: Bench) -> None:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    a, b = bench.side(0), bench.side(1, rx_offloads=RxOffload.PACKET_TYPE | RxOffload.CHECKSUM)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    good, bad = RxFlag.L4_CKSUM_GOOD, RxFlag.L4_CKSUM_BAD
    cases = [
        (ether / IP() / UDP() / (b"x" * 40), PacketType.IPV4 | PacketType.UDP, RxFlag.IP_CKSUM_GOOD | good),
        (ether / IP() / TCP() / (b"x" * 40), PacketType.IPV4 | PacketType.TCP, RxFlag.IP_CKSUM_GOOD | good),
        (ether / IP(chksum=1) / UDP() / (b"x" * 40), PacketType.IPV4 | PacketType.UDP, RxFlag.IP_CKSUM_BAD | good),
        (ether / IP() / TCP(chksum=1) / (b"x" * 40), PacketType.IPV4 | PacketType.TCP, RxFlag.IP_CKSUM_GOOD | bad),
        (ether / IPv6() / UDP() / (b"x" * 40), PacketType.IPV6 | PacketType.UDP, good),
        (ether / IPv6() / TCP(chksum=1) / (b"x" * 40), PacketType.IPV6 | PacketType.TCP, bad),
        (ether / (b"x" * 60), 0, 0),
    ]
    for packet, kind, flags in cases:
        a.send(bytes(packet))
        assert b.port.rx_burst(0, b.out) == 1
        i = int(b.out[0])
        assert b.pool.content(i) == bytes(packet)
        assert names(PacketType, int(b.pool.packet_type[i])) == names(PacketType, kind)
        assert names(RxFlag, int(b.pool.rx_flags[i])) == names(RxFlag, flags | RxFlag.LOOPBACK)
        b.pool.free(b.out[:1])


def test_freed_buffers_have_no_flags(bench: Bench) -> None:
    """A chain comes back from the device as single buffers, which the next packet does not inherit anything from."""
    a, b = pair(bench, mtu=9000)
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 6000))
    assert [len(p) for p in b.receive()] == [6000]
    a.settle()
    assert not a.pool.tx_flags.any() and not b.pool.tx_flags.any()


@pytest.mark.parametrize("rings", [32, 256])
def test_packets_that_no_ring_takes(bench: Bench, rings: int) -> None:
    """A chain longer than the ring, and one whose length no descriptor can tell: said at once, not tried for ever."""
    a = bench.side(0, rings=rings, buffers=512)
    packet = a.pool.put(bytes(2048 * (31 if rings == 32 else 129)))
    with pytest.raises(UsageError, match=rf"takes 262143 bytes in {rings - 2} buffers"):
        a.port.tx_burst(0, np.array([packet], np.intp))
    a.pool.free(np.array([packet], np.intp))
    assert a.pool.available == 512 - rings
