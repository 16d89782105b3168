"""Packets between two drivers on two NICs of one card: content, sizes, chains, rings that wrap, what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ethdev import RxOffload
from drivers.mempool import Mempool, PacketType, RxFlag, names
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.test_packets import put_cut
from tests.drivers.nics.vmxnet3.bench import Bench, Bouncing, Side, frame
from tests.support.afterwards import closed_afterwards
from tests.support.thorough import THOROUGH

JUMBO: dict[str, Any] = {"mtu": 9000, "rx_offloads": RxOffload.SCATTER}


def pair(bench: Bench, **options: Any) -> tuple[Side, Side]:
    return bench.side(0, **options), bench.side(1, **options)


def packets_to(b: Side, a: Side, *sizes: int) -> list[bytes]:
    return [frame(b.port.mac_addr, a.port.mac_addr, size, i) for i, size in enumerate(sizes)]


def missing(side: Side) -> int:
    """Buffers that the pool misses."""
    return side.pool.count - side.pool.available


@pytest.mark.parametrize("revision", range(1, 10))
def test_both_ways_at_every_revision(bench: Bench, revision: int) -> None:
    a, b = pair(bench, driver={"revision": revision})
    assert a.port.agreed.revision == revision  # type: ignore[attr-defined]
    for sender, receiver in ((a, b), (b, a)):
        packets = packets_to(receiver, sender, *range(60, 80))
        assert sender.send(*packets) == 20
        assert receiver.receive() == packets
    assert missing(a) == missing(b) == 63
    for side in (a, b):
        side.port.close()
        assert missing(side) == 0


@pytest.mark.parametrize("burst", [1, 7, 20])
def test_rings_wrap(bench: Bench, burst: int) -> None:
    """Each ring has its own generation: transmit and receive rings change theirs at 64, completions of packets at 96."""
    a, b = pair(bench)
    for number in range(0, 600, burst):
        packets = [frame(b.port.mac_addr, a.port.mac_addr, 60 + (number + i) % 500, number + i) for i in range(burst)]
        assert a.send(*packets) == burst
        assert b.receive() == packets
    a.settle()
    assert (missing(a), missing(b)) == (63, 63)
    assert a.port.stats().opackets == b.port.stats().ipackets == len(range(0, 600, burst)) * burst


def test_all_sizes(bench: Bench) -> None:
    """60 to 9014 octets in buffers of 2 KiB, every size once; what does not fit into one goes on in the second ring."""
    a, b = pair(bench, buffers=1024, rings=64, **JUMBO)
    body = bytes(i * 7 & 0xFF for i in range(2 * 9018))
    head = b.port.mac_addr + a.port.mac_addr + b"\x88\xb5"
    sizes = range(60, 9015)
    for start in range(0, len(sizes), 8):
        packets = [head + body[start : start + size - 14] for size in sizes[start : start + 8]]
        assert a.send(*packets) == len(packets)
        assert b.receive() == packets
    assert missing(a) == missing(b) == 126


@settings(max_examples=25 * THOROUGH)
@given(data=st.data())
def test_any_mixture(data: st.DataObject) -> None:
    """Chains cut anywhere, plain packets between them, bursts of any length: what was sent arrives, in order."""
    bouncing = data.draw(st.booleans())
    bench = closed_afterwards(Bench(transport=Bouncing) if bouncing else Bench())
    a = bench.side(0, buffers=512, rings=32, **JUMBO)
    b = bench.side(1, buffers=1024, rings=256, **JUMBO)  # room for all that is sent between two looks
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
    assert (missing(a), missing(b)) == (62, 510)


def test_short_packets_come_by_the_data_ring(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1, driver={"rx_data": 128})
    for number in range(20):
        packets = packets_to(b, a, 60, 127, 128, 129, 1500, 100, 64 + number)
        a.send(*packets)
        assert b.receive() == packets
    assert missing(b) == 63


def test_more_than_the_ring_takes(bench: Bench) -> None:
    """A full ring takes no more, and goes on when the device has been."""
    a, b = bench.side(0, rings=32), bench.side(1, rings=64)
    packets = packets_to(b, a, *[60] * 40)
    todo = np.array([a.pool.put(p) for p in packets], np.intp)
    assert a.port.tx_burst(0, todo) == 31
    assert a.port.tx_burst(0, todo[31:]) == 9  # reclaiming gave the device its turn
    assert b.receive() == packets
    a.settle()
    assert missing(a) == 31


def test_a_pool_that_runs_dry(bench: Bench) -> None:
    """The driver keeps packets in the ring rather than descriptors without a buffer."""
    a, b = bench.side(0), bench.side(1, buffers=64, rings=32)
    b.pool.alloc(b.pool.available)
    a.send(*packets_to(b, a, *[60] * 8))
    assert b.receive() == []
    assert b.port.stats().rx_nombuf >= 1
    b.pool.give(np.arange(20, 24))
    assert len(b.receive()) == 8


def test_without_descriptors_packets_wait_and_then_are_missed(bench: Bench) -> None:
    a, b = pair(bench, rings=32)
    for _ in range(3):
        a.send(*packets_to(b, a, *[60] * 16))
    assert len(b.receive()) == 31
    b.port.transport.sleep(0.01)
    assert len(b.receive()) == 48 - 31, "they found fresh buffers"
    for _ in range(3):
        a.send(*packets_to(b, a, *[60] * 16))
    b.port.transport.sleep(1.0)
    assert len(b.receive()) == 31
    assert b.port.stats().imissed == 48 - 31


def test_a_frame_that_does_not_fit_and_may_not_be_scattered(bench: Bench) -> None:
    """It costs nobody anything: the next one arrives."""
    a, b = bench.side(0, **JUMBO), bench.side(1)
    a.send(*packets_to(b, a, 3000, 100))
    assert b.receive() == packets_to(b, a, 3000, 100)[1:]
    assert missing(b) == 63
    port = bench.open(1)
    pool = Mempool(port.transport, 256)
    port.configure(mtu=9000)
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    with pytest.raises(UsageError, match=r"an MTU of 9000 needs buffers of 9022 bytes, .* configure with RxOffload.SCATTER"):
        port.start()
    assert pool.available == 256


def test_statistics(bench: Bench) -> None:
    a, b = pair(bench)
    group = b"\x01\0\x5e\0\0\1"
    b.port.mc_addr_list_set([group])
    a.send(*packets_to(b, a, *[100] * 5), frame(b"\xff" * 6, a.port.mac_addr, 60), frame(group, a.port.mac_addr, 70))
    b.receive()
    sent, got = a.port.stats(), b.port.stats()
    assert (sent.opackets, sent.obytes, sent.ipackets) == (7, 630, 0)
    assert (got.ipackets, got.ibytes, got.opackets) == (7, 630, 0)
    counted = b.port.xstats()
    assert [counted[f"rx_q0_{kind}PktsRxOK"] for kind in ("ucast", "mcast", "bcast")] == [5, 1, 1]
    b.port.stats_reset()
    b.port.xstats_reset()
    assert b.port.stats().ipackets == 0 and b.port.xstats()["rx_q0_ucastPktsRxOK"] == 0
    a.port.stop()
    a.port.start()
    a.send(*packets_to(b, a, 60))
    b.receive()
    assert b.port.stats().ipackets == 1
    assert a.port.stats().opackets == 8, "they begin anew with each start, and the sums do not"


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
        assert names(PacketType, int(b.pool.packet_type[i])) == names(PacketType, kind), packet.summary()
        assert names(RxFlag, int(b.pool.rx_flags[i])) == names(RxFlag, flags), packet.summary()
        b.pool.free(b.out[:1])


@pytest.mark.parametrize(("size", "buffers", "text"), [(3000, 17, "16 buffers of 1"), (40, 2, "16 buffers")])
def test_packets_that_no_ring_takes(bench: Bench, size: int, buffers: int, text: str) -> None:
    """A chain longer than the device takes, and a buffer without content: said at once, not tried for ever."""
    a = bench.side(0)
    packet = a.pool.put(bytes(size)) if buffers == 2 else a.pool.put(bytes(2048 * buffers))
    if buffers == 2:
        a.pool.chain([packet, empty := int(a.pool.alloc(1)[0])])
        a.pool.length[empty] = 0
    with pytest.raises(UsageError, match=text):
        a.port.tx_burst(0, np.array([packet], np.intp))
    a.pool.free(np.array([packet], np.intp))
    assert missing(a) == 63


def test_an_empty_packet_is_no_packet_of_16_kib(bench: Bench) -> None:
    """A length of 0 would mean 16384 to the device, and send what lies behind the buffer."""
    a, b = pair(bench)
    packets = np.array([a.pool.put(each) for each in packets_to(b, a, 60, 60)], np.intp)
    a.pool.length[packets[1]] = 0
    with pytest.raises(UsageError, match="has 0 bytes in 1 buffers"):
        a.port.tx_burst(0, packets)
    assert b.receive() == [] and bench.wire.frames == []
