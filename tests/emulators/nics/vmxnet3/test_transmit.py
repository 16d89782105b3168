"""The transmit queue, driven through registers and memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from emulators.fabric.offload import Gso, Partial, Takes
from regmodel.bars.vmxnet3 import Command
from regmodel.structures.vmxnet3 import Event, QueueError
from tests.emulators.nics.vmxnet3.station import MEMORY, TX_RINGS, Sizes, Station
from tests.support.thorough import THOROUGH

FRAME = bytes.fromhex("020000000099 020000000001 0800") + bytes(46)
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:99")
NONE, ENCAP, CSUM, TSO = range(4)


@pytest.fixture
def s() -> Station:
    return Station().start()


def numbered(n: int, size: int = 60) -> bytes:
    return FRAME[:14] + n.to_bytes(4, "big") + bytes(size - 18)


def pseudo(packet: Packet, *, length: bool) -> bytes:
    """The packet as Linux hands it over: the sum of the pseudo header in the checksum field, for TSO without the length."""
    packet = Ether(bytes(packet))
    layer = packet[TCP] if TCP in packet else packet[UDP]
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    addresses = bytes(ip)[12:20] if IP in packet else bytes(ip)[8:40]
    words = addresses + bytes((0, 6 if TCP in packet else 17)) + (len(layer) if length else 0).to_bytes(4, "big")
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    layer.chksum = total
    if IP in packet and not length:
        packet[IP].chksum = 0
    return bytes(packet)


def finished(packet: Packet) -> bytes:
    """With right checksums."""
    raw = Ether(bytes(packet))
    for layer in (IP, TCP, UDP):
        if layer in raw:
            raw[layer].chksum = None
    return bytes(Ether(bytes(raw)))


def test_a_packet_leaves_is_completed_and_interrupts(s: Station) -> None:
    s.send(FRAME)
    assert s.wire() == [FRAME] and s.tx[0].done() == [0] and s.host.irqs == [0]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 150])
def test_a_burst_is_one_call_of_the_switch_and_one_interrupt(count: int) -> None:
    s = Station().start(sizes=Sizes(tx=256, tx_done=256))
    s.send(*[numbered(i) for i in range(count)])
    assert s.wire() == [numbered(i) for i in range(count)]
    assert s.neighbour.bursts == -(-count // 64)
    assert s.host.irqs == [0], "it masks itself until the driver has looked"
    assert s.tx[0].done() == list(range(count))


def test_generations_across_many_wraps() -> None:
    s = Station().start(sizes=Sizes(tx=32, tx_done=96))
    sent = 0
    for n in (1, 31, 7, 20, 30, 31, 31, 2, 31):
        frames = [numbered(sent + i) for i in range(n)]
        s.send(*frames)
        assert s.wire() == frames and s.tx[0].done() == [(sent + i) % 32 for i in range(n)]
        sent += n


def test_a_packet_of_several_descriptors_is_completed_by_its_last(s: Station) -> None:
    for _ in range(30):
        parts = [FRAME[:14], bytes(100), b"x" * 300]
        last = s.tx[0].add(parts)
        s.tx[0].ring()
        assert s.wire() == [b"".join(parts)] and s.tx[0].done() == [last]


def test_packets_that_nobody_wants_completed_are_not(s: Station) -> None:
    s.tx[0].add([FRAME], cq=0)
    s.tx[0].add([FRAME[:20], bytes(60)], cq=0)
    s.tx[0].ring()
    assert len(s.wire()) == 2 and not s.tx[0].done() and not s.host.irqs


def test_a_packet_whose_first_descriptor_is_not_given_yet_waits(s: Station) -> None:
    s.tx[0].add([FRAME[:20], bytes(60)], hold=True)
    s.tx[0].ring()
    assert not s.wire() and not s.host.diagnosed


def test_a_length_of_0_is_16384(s: Station) -> None:
    s.tx[0].add([bytes(16384)])
    s.tx[0].ring()
    assert s.tx[0].done() == [0]
    assert s.nic.transmit[0].statistics.values["ucastBytesTxOK"] == 16384


def test_short_packets_are_padded(s: Station) -> None:
    s.send(FRAME[:20])
    assert s.wire() == [FRAME[:20] + bytes(40)]


def test_a_tag_is_inserted(s: Station) -> None:
    s.send(FRAME, ti=1, tci=0xA005)
    assert s.wire() == [FRAME[:12] + bytes.fromhex("8100A005") + FRAME[12:]]


@pytest.mark.parametrize("takes", [Takes.NONE, Takes.ALL])
@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize(
    "layers", [IP() / UDP() / Raw(b"odd"), IP() / TCP() / Raw(b"x" * 100), IPv6() / UDP() / Raw(b"y" * 64)]
)
def test_checksums(layers: Packet, tagged: bool, takes: Takes) -> None:
    s = Station(takes=takes).start()
    packet = ETHER / layers
    raw = pseudo(packet, length=True)
    l4 = raw.index(bytes(Ether(bytes(packet))[TCP if TCP in packet else UDP])[:4])
    s.send(raw, om=CSUM, hlen=l4, msscof=l4 + (16 if TCP in packet else 6), **({"ti": 1, "tci": 5} if tagged else {}))
    (frame,) = s.wire()
    expected = finished(packet)
    expected = (expected[:12] + bytes.fromhex("81000005") + expected[12:] if tagged else expected).ljust(60, b"\0")
    if takes:
        assert isinstance(frame, Partial) and frame.offload.csum_start == l4 + 4 * tagged
        assert frame.offload.csum_offset == (16 if TCP in packet else 6)
    else:
        assert frame == expected


def reference_segments(packet: Packet, mss: int) -> list[bytes]:
    """What TCP segmentation makes of a packet, by scapy."""
    whole = Ether(bytes(packet))
    payload = bytes(whole[TCP].payload)
    out = []
    for i, at in enumerate(range(0, len(payload), mss)):
        one = Ether(bytes(packet))
        one[TCP].remove_payload()
        one = one / Raw(payload[at : at + mss])
        last = at + mss >= len(payload)
        flags = int(whole[TCP].flags)
        one[TCP].seq = whole[TCP].seq + at
        one[TCP].flags = flags & ~(0 if last else 0x09) & ~(0 if i == 0 else 0x80)
        one[TCP].chksum = None
        if IP in one:
            one[IP].id, one[IP].len, one[IP].chksum = whole[IP].id + i, None, None
        else:
            one[IPv6].plen = None
        out.append(bytes(Ether(bytes(one))))
    return out


@pytest.mark.parametrize("takes", [Takes.NONE, Takes.ALL])
@pytest.mark.parametrize("size", [1, 1000, 1460, 1461, 20_000])
@pytest.mark.parametrize("ip", [IP(src="10.0.0.1", dst="10.0.0.2", id=77), IPv6(src="fd00::1", dst="fd00::2")])
def test_segmentation(ip: Packet, size: int, takes: Takes) -> None:
    s = Station(takes=takes).start()
    packet = ETHER / ip / TCP(seq=1000, flags="PA", options=[("Timestamp", (1, 2))]) / Raw(bytes(i % 251 for i in range(size)))
    raw = pseudo(packet, length=False)
    header = len(raw) - size
    parts = [raw[:header]] + [raw[at : at + 4096] for at in range(header, len(raw), 4096)]
    s.tx[0].add(parts, om=TSO, hlen=header, msscof=1460)
    s.tx[0].ring()
    expected = [frame.ljust(60, b"\0") for frame in reference_segments(packet, 1460)]
    got = s.wire()
    if takes and size > 1460:
        (frame,) = got
        assert isinstance(frame, Partial) and frame.offload.gso is (Gso.TCPV4 if IP in packet else Gso.TCPV6)
        assert frame.offload.gso_size == 1460 and frame.offload.hdr_len == header
    elif not takes:
        assert got == expected
    stats = s.nic.transmit[0].statistics.values
    assert stats["TSOPktsTxOK"] == stats["ucastPktsTxOK"] == -(-size // 1460)
    assert stats["TSOBytesTxOK"] == size + header * -(-size // 1460)


@pytest.mark.parametrize(("revision", "mode"), [(4, {"om": ENCAP}), (9, {"om": TSO, "ext1": 1})])
@pytest.mark.parametrize("outer", [0, 1])
def test_segmentation_inside_of_vxlan(revision: int, mode: dict[str, int], outer: int) -> None:
    s = Station().start(revision)
    inner = ETHER / IP(id=5) / TCP(flags="A") / Raw(b"z" * 3000)
    raw_inner = pseudo(inner, length=False)
    front = ETHER / IP(src="1.1.1.1", dst="2.2.2.2", id=9) / UDP(sport=50000, dport=4789) / VXLAN(vni=3, flags=8)
    packet = Ether(bytes(front / Raw(raw_inner)))
    packet[UDP].chksum = 0
    raw = bytes(packet)
    header = len(raw) - 3000
    s.tx[0].add([raw[:header], raw[header:]], hlen=header, msscof=1400, oco=outer, **mode)
    s.tx[0].ring()
    frames = s.wire()
    assert [len(frame) - header for frame in frames] == [1400, 1400, 200]
    for i, (frame, expected) in enumerate(zip(frames, reference_segments(inner, 1400), strict=True)):
        one = Ether(bytes(frame))
        assert bytes(frame)[-len(expected) :] == expected
        assert one[IP].id == 9 + i and one[IP].len == len(frame) - 14 and one[UDP].len == len(frame) - 34
        right = Ether(bytes(front / Raw(expected)))
        assert one[UDP].chksum == (right[UDP].chksum if outer else 0)
        right[IP].id, right[IP].chksum = 9 + i, None
        assert one[IP].chksum == Ether(bytes(right))[IP].chksum


@pytest.mark.parametrize(("revision", "mode"), [(4, {"om": ENCAP}), (9, {"om": CSUM, "ext1": 1})])
def test_checksums_inside_of_vxlan(revision: int, mode: dict[str, int]) -> None:
    s = Station().start(revision)
    inner = ETHER / IP() / UDP(sport=1, dport=2) / Raw(b"w" * 33)
    front = ETHER / IP() / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(vni=3, flags=8)
    raw = bytes(front / Raw(pseudo(inner, length=True)))
    l4 = len(raw) - 33 - 8
    s.send(raw, hlen=l4 + 8, msscof=l4 + 6 if "ext1" in mode else 0, **mode)
    assert s.wire() == [bytes(front / Raw(finished(inner)))]


BROKEN = {
    "tx-runt": ([bytes(13)], {}),
    "tx-checksum-outside": ([FRAME], {"om": CSUM, "hlen": 34, "msscof": 60}),
    "tx-checksum-outside ": ([FRAME], {"om": CSUM, "hlen": 40, "msscof": 30}),
    "tx-no-ip": ([bytes(100)], {"om": TSO, "hlen": 54, "msscof": 100}),
    "tx-segmentation-headers": ([bytes(ETHER / IP() / UDP() / Raw(bytes(100)))], {"om": TSO, "hlen": 42, "msscof": 10}),
    "tx-segmentation-headers ": ([bytes(ETHER / IP() / TCP() / Raw(bytes(100)))], {"om": TSO, "hlen": 53, "msscof": 10}),
    "tx-segmentation-size": ([bytes(ETHER / IP() / TCP() / Raw(bytes(100)))], {"om": TSO, "hlen": 54, "msscof": 0}),
    "tx-segments-too-many": ([bytes(ETHER / IP() / TCP()), bytes(9000)], {"om": TSO, "hlen": 54, "msscof": 1}),
    "tx-tunnel-headers": ([bytes(ETHER / IP() / TCP() / Raw(bytes(100)))], {"om": ENCAP, "hlen": 54, "msscof": 10}),
    "tx-tunnel-headers ": ([bytes(ETHER / IP() / UDP(dport=9) / Raw(bytes(90)))], {"om": ENCAP, "hlen": 54, "msscof": 0}),
    "tx-no-ip ": ([bytes(ETHER / IP() / UDP(dport=4789) / Raw(bytes(20)))], {"om": ENCAP, "hlen": 54, "msscof": 0}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_packet_that_makes_no_sense_is_counted_and_completed(kind: str, s: Station) -> None:
    parts, first = BROKEN[kind]
    s.tx[0].add([FRAME])
    s.tx[0].add(parts, **first)
    s.tx[0].add([FRAME])
    s.tx[0].ring()
    assert s.wire() == [FRAME, FRAME] and len(s.tx[0].done()) == 3
    assert s.host.diagnosed == {kind.strip(): 1}
    assert s.nic.transmit[0].statistics.values["pktsTxError"] == 1


def stopped(s: Station, error: QueueError, kind: str) -> None:
    """The queue has stopped, says so everywhere, and others go on."""
    assert s.host.diagnosed == {kind: 1}
    assert s.shared.ecr == Event.TQERR == s.read("ecr") and s.host.irqs[-1] == s.queues
    s.command(Command.GET_QUEUE_STATUS)
    status = s.queue_desc("tx").status
    assert (status.stopped, status.error) == (1, error)
    s.wire()
    s.send(FRAME)
    assert not s.wire()
    s.tx[1].add([FRAME])
    s.tx[1].ring()
    assert s.wire() == [FRAME] and s.queue_desc("tx", 1).status.stopped == 0
    s.command(Command.QUIESCE_DEV)
    s.command(Command.RESET_DEV)
    s.start()
    s.send(FRAME)
    assert s.wire() == [FRAME], "a reset is all that it needs"


@pytest.mark.parametrize(("fault", "error", "kind"), [
    ("dtype", QueueError.DESC_NOT_SPT, "tx-descriptor-type"), ("17", QueueError.BIG_PKT, "tx-packet-descriptors"),
    ("25", QueueError.BIG_PKT, "tx-packet-descriptors"), ("end", QueueError.NOEOP, "tx-packet-without-end"),
    ("endless", QueueError.BIG_PKT, "tx-packet-descriptors"), ("address", QueueError.TXD_INVALID, "tx-buffer-unreachable"),
    ("edge", QueueError.TXD_INVALID, "tx-buffer-unreachable"),
])  # fmt: skip
def test_a_descriptor_that_cannot_be_stops_the_queue(fault: str, error: QueueError, kind: str) -> None:
    s = Station().start(queues=2)
    tx = s.tx[0]
    tx.add([FRAME])
    if fault == "dtype":
        tx.add([FRAME], dtype=1)
    elif fault == "17":
        tx.add([bytes(20)] * 17)
    elif fault == "25":
        tx.add([bytes(20)] * 25, om=TSO, hlen=54, msscof=100)
    elif fault == "end":
        tx.add([bytes(20)] * 3, eop=0)
    elif fault == "endless":
        tx.add([bytes(20)] * 62, eop=0)
    else:
        tx.place = lambda part: MEMORY - 10 if fault == "edge" else 1 << 40  # type: ignore[method-assign]
        tx.add([FRAME])
    told: list[int] = []
    s.host.on_descriptor = lambda op, ring, index, name, data: told.append(index)
    tx.ring()
    assert s.wire() == [FRAME] and tx.done() == [0], "what came before is done"
    stopped(s, error, kind)
    assert told[:2] == [0, 1], "whoever traces sees the one that it stops at"


def test_most_descriptors_of_a_packet(s: Station) -> None:
    s.tx[0].add([FRAME[:20]] * 16)
    packet = ETHER / IP() / TCP() / Raw(bytes(2300))
    raw = pseudo(packet, length=False)
    s.tx[0].add([raw[:54], *[raw[54 + 100 * i : 154 + 100 * i] for i in range(23)]], om=TSO, hlen=54, msscof=1460)
    s.tx[0].ring()
    assert [len(frame) for frame in s.wire()] == [320, 1514, 54 + 840] and not s.host.diagnosed


def test_completions_that_cannot_be_stored_stop_the_queue() -> None:
    s = Station().start(queues=2)
    s.nic.transmit[0].completions.base = MEMORY
    s.send(FRAME)
    assert s.nic.transmit[0].error is QueueError.TXD_INVALID and s.host.diagnosed == {"tx-completion-unreachable": 1}


def test_a_doorbell_beyond_the_ring_is_told(s: Station) -> None:
    s.tx[0].add([FRAME])
    s.write("txprod", 64)
    s.write("txprod", 0, 5)
    s.settle()
    assert s.host.diagnosed == {"doorbell-beyond-ring": 1} and s.wire() == [FRAME]


def test_doorbells_are_not_wanted_while_the_ring_is_busy() -> None:
    s = Station().start(sizes=Sizes(tx=256, tx_done=256))
    for i in range(100):
        s.tx[0].add([numbered(i)])
    s.write("txprod", s.tx[0].next)
    s.host.turn()
    assert s.queue_desc("tx").ctrl.txThreshold > 256
    s.tx[0].add([numbered(100)])
    s.settle()
    assert len(s.wire()) == 101, "seen without one"
    assert s.queue_desc("tx").ctrl.txThreshold == 1


def test_what_is_given_while_doorbells_are_asked_for_again_is_not_lost() -> None:
    """The driver may have read the old threshold; the ring is looked at once more after the new one is there."""
    for turns in range(12):
        s = Station().start(sizes=Sizes(tx=256, tx_done=256))
        for i in range(64):
            s.tx[0].add([numbered(i)])
        s.write("txprod", s.tx[0].next)
        for _ in range(turns):
            s.host.turn()
        asked = s.queue_desc("tx").ctrl.txThreshold == 1 and not s.host.deferred
        s.tx[0].add([numbered(64)])
        if asked:
            s.write("txprod", s.tx[0].next)
        s.settle()
        assert len(s.wire()) == 65


@pytest.mark.parametrize("how", ["quiesce", "reset"])
def test_a_burst_that_is_overtaken_by_a_stop_leaves_no_trace(how: str) -> None:
    s = Station().start()

    class Stops:
        def deliver(self, frames: object, *, loopback: bool) -> int:
            s.command(Command.QUIESCE_DEV if how == "quiesce" else Command.RESET_DEV)
            return 1

    s.peer.endpoint = Stops()
    s.tx[0].add([FRAME])
    s.write("txprod", 1)
    s.settle()
    assert not s.tx[0].done() and not s.host.irqs and not s.host.diagnosed


def test_statistics_are_written_when_asked_for(s: Station) -> None:
    s.send(FRAME, b"\xff" * 6 + FRAME[6:], b"\x01" + FRAME[1:], bytes(10))
    assert s.queue_desc("tx").stats.ucastPktsTxOK == 0
    s.command(Command.GET_STATS)
    stats = s.queue_desc("tx").stats
    assert (stats.ucastPktsTxOK, stats.ucastBytesTxOK, stats.bcastPktsTxOK, stats.bcastBytesTxOK) == (1, 60, 1, 60)
    assert (stats.mcastPktsTxOK, stats.mcastBytesTxOK, stats.pktsTxError) == (1, 60, 1)
    s.command(Command.QUIESCE_DEV)
    s.start()
    s.command(Command.GET_STATS)
    assert s.queue_desc("tx").stats.ucastPktsTxOK == 0


@settings(max_examples=40 * THOROUGH)
@given(
    st.lists(st.lists(st.lists(st.integers(1, 700), min_size=1, max_size=6), min_size=1, max_size=9), max_size=8),
    st.sampled_from([32, 64, 96]),
)
def test_any_run_of_packets_arrives_in_order_and_is_completed(bursts: list[list[list[int]]], size: int) -> None:
    """Ring layouts: packets of any number of descriptors, any fill, across wraps of both rings."""
    s = Station().start(sizes=Sizes(tx=size, tx_done=size + 32))
    number = 0
    for burst in bursts:
        expected, lasts, used = [], [], 0
        for lengths in burst:
            if used + len(lengths) >= size:
                break
            used += len(lengths)
            parts = [numbered(number, max(length, 18)) if i == 0 else bytes([number & 0xFF]) * length
                     for i, length in enumerate(lengths)]  # fmt: skip
            number += 1
            lasts.append(s.tx[0].add(parts))
            expected.append(b"".join(parts).ljust(60, b"\0"))
        s.tx[0].ring()
        assert s.wire() == [frame for frame in expected if len(frame) <= 9728 - 4] and s.tx[0].done() == lasts


def test_rings_that_are_no_view_in_place() -> None:
    """Memory in two maps that meet inside of a ring."""
    s = Station()
    s.host.dma.unmap(0, MEMORY)
    cut = TX_RINGS + 16 * 20 + 8
    whole = s.host.memory

    class Part:
        def __init__(self, start: int, size: int) -> None:
            self.start, self.size = start, size
            self.view = whole.view[start : start + size]

        def read(self, offset: int, size: int) -> memoryview:
            return self.view[offset : offset + size]

        def write(self, offset: int, data: bytes) -> None:
            self.view[offset : offset + len(data)] = data

    s.host.dma.map(0, cut, Part(0, cut))
    s.host.dma.map(cut, MEMORY - cut, Part(cut, MEMORY - cut))
    s.start()
    for _ in range(10):
        s.send(*[FRAME] * 30)
        assert len(s.wire()) == 30 == len(s.tx[0].done())
