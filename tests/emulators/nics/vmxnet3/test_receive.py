"""The receive queue, driven through the switch, registers and memory."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from emulators.fabric.offload import Gso, Offload, Partial
from regmodel.bars.vmxnet3 import Command
from regmodel.rings.vmxnet3 import RX_DESC
from regmodel.structures.vmxnet3 import Event, Feature, QueueError, RxMode
from tests.emulators.nics.vmxnet3.station import (
    BODIES,
    DATA,
    GROUPS,
    HEADS,
    MEMORY,
    PEER,
    RX_DONE,
    RX_RINGS,
    SHARED,
    RxDriver,
    Sizes,
    Station,
)  # fmt: skip
from tests.emulators.nics.vmxnet3.test_transmit import pseudo, reference_segments
from tests.support.thorough import THOROUGH

MISC = "devRead__misc__"
FILTER = "devRead__rxFilterConf__"
JUMBO = {f"{MISC}mtu": 9000}


def frame_to(station: Station, size: int = 60, number: int = 0) -> bytes:
    return station.mac + PEER + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(i & 0xFF for i in range(size - 18))


def ether(station: Station) -> Ether:
    return Ether(dst=station.mac.hex(":"), src=PEER.hex(":"))


@pytest.fixture
def s() -> Station:
    return Station().start()


def test_a_frame_arrives_is_completed_and_interrupts(s: Station) -> None:
    frame = frame_to(s, 200)
    s.arrive(frame)
    ((row, got),) = s.rx[0].take()
    assert got == frame and s.host.irqs == [0]
    assert (row.index.rxdIdx, row.index.rqID, row.index.cnc, row.what.type, row.what.fcs) == (0, 0, 1, 3, 1)


@pytest.mark.parametrize(("revision", "ring"), [(2, 0), (3, 2)])
def test_small_frames_go_to_the_data_ring_since_revision_3(revision: int, ring: int) -> None:
    s = Station().start(revision)
    frames = [frame_to(s, size) for size in (60, DATA, DATA + 1)]
    s.arrive(*frames)
    rows = s.rx[0].take()
    assert [frame for _, frame in rows] == frames
    assert [row.index.rqID for row, _ in rows] == [ring, ring, 0]
    assert [row.index.rxdIdx for row, _ in rows] == [0, 1, 2], "the descriptor is used up as well"


@pytest.mark.parametrize("count", [1, 2, 62, 63])
def test_a_burst_is_one_interrupt(count: int, s: Station) -> None:
    frames = [frame_to(s, number=i) for i in range(count)]
    s.arrive(*frames)
    assert [frame for _, frame in s.rx[0].take()] == frames and s.host.irqs == [0]


def test_generations_across_many_wraps(s: Station) -> None:
    for round_ in range(40):
        frames = [frame_to(s, random.Random(round_).randrange(60, 1500), i) for i in range(1 + round_ % 50)]
        s.arrive(*frames)
        assert [frame for _, frame in s.rx[0].take()] == frames


def test_long_frames_go_on_in_bodies_of_ring_2() -> None:
    s = Station().start(sizes=Sizes(), **JUMBO)
    frame = frame_to(s, 9000)
    s.arrive(frame)
    ((row, got),) = s.rx[0].take()
    assert got == frame and row.index.rqID == 1 and row.first is not None
    s.arrive(frame_to(s, 100), frame, frame_to(s, 3000))
    assert [len(frame) for _, frame in s.rx[0].take()] == [100, 9000, 3000]


def test_bodies_of_ring_1_come_first_and_are_skipped_when_not_needed() -> None:
    s = Station().start(**JUMBO)
    s.put(RX_RINGS, bytes(0x40000))
    s.rx = [RxDriver(s, 0, "HBB")]
    for size in (9000, 100, 2048, 2049, 6100, 60, 9000, 10_000, 200):
        frame = frame_to(s, min(size, 9018))
        s.arrive(frame)
        ((_row, got),) = s.rx[0].take()
        assert got == frame
    assert not s.host.diagnosed


def test_as_many_descriptors_as_the_driver_says() -> None:
    s = Station().start(**JUMBO, **{f"{MISC}maxNumRxSG": 2})
    s.arrive(frame_to(s, 2048 + 4096), frame_to(s, 2048 + 4097), frame_to(s, 300))
    assert [len(frame) for _, frame in s.rx[0].take()] == [6144, 300]
    assert s.host.diagnosed == {"rx-packet-fragments": 1}
    assert s.nic.receive[0].statistics.values["pktsRxError"] == 1


def test_frames_without_a_buffer_wait_for_one() -> None:
    s = Station().start()
    frames = [frame_to(s, number=i) for i in range(80)]
    s.arrive(*frames)
    first = s.rx[0].take()
    assert len(first) == 63
    s.host.clock.advance(100_000)
    s.settle()
    assert [frame for _, frame in first + s.rx[0].take()] == frames
    assert s.pool.lost.total() == 0


def test_a_doorbell_wakes_frames_that_wait() -> None:
    s = Station().start()
    s.arrive(*[frame_to(s, number=i) for i in range(70)])
    s.rx[0].take()
    s.write("rxprod", s.rx[0].fill[0])
    s.settle()
    assert len(s.rx[0].take()) == 7


def test_order_is_kept_while_frames_wait() -> None:
    s = Station().start()
    for i in range(100):
        s.arrive(frame_to(s, number=i))
    got = s.rx[0].take()
    for _ in range(5):
        s.host.clock.advance(5_000_000)
        s.settle()
        got += s.rx[0].take()
    assert [int.from_bytes(frame[14:18], "big") for _, frame in got] == list(range(100))


def test_a_driver_that_is_gone_is_not_waited_for_forever() -> None:
    s = Station().start()
    s.arrive(*[frame_to(s, number=i) for i in range(70)])
    for _ in range(200):
        s.host.clock.advance(1_000_000)
        s.settle()
    assert s.nic.receive[0].statistics.values["pktsRxOutOfBuf"] == 7
    assert s.host.clock._timers.next_due() is None


def test_too_much_does_not_wait() -> None:
    s = Station().start(**JUMBO)
    s.rx[0].take()
    sent = [frame_to(s, 9000, i) for i in range(100)]
    s.arrive(*sent)
    lost = s.nic.receive[0].statistics.values["pktsRxOutOfBuf"]
    assert lost == s.pool.lost.total() > 20


CASES: list[tuple[Packet, dict[str, int]]] = [
    (IP() / UDP(sport=1, dport=2) / Raw(b"x" * 40), {"v4": 1, "udp": 1, "ipc": 1, "tuc": 1}),
    (IP() / TCP() / Raw(b"x" * 40), {"v4": 1, "tcp": 1, "ipc": 1, "tuc": 1}),
    (IPv6() / UDP(sport=1, dport=2) / Raw(b"x" * 40), {"v6": 1, "udp": 1, "tuc": 1}),
    (IPv6() / TCP() / Raw(b"x" * 40), {"v6": 1, "tcp": 1, "tuc": 1}),
    (IP() / TCP(chksum=1) / Raw(b"x" * 40), {"v4": 1, "tcp": 1, "ipc": 1}),
    (IP(chksum=1) / TCP() / Raw(b"x" * 40), {"v4": 1, "tcp": 1, "tuc": 1}),
    (IP() / ICMP() / Raw(b"x" * 40), {"v4": 1, "ipc": 1}),
    (IP(frag=10) / Raw(b"x" * 40), {"v4": 1, "ipc": 1}),
    (IP() / UDP(chksum=0) / Raw(b"x" * 40), {"v4": 1, "udp": 1, "ipc": 1}),
]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_completions_say_of_checksums(case: int, tagged: bool) -> None:
    s = Station().start(**{f"{FILTER}vfTable": b"\xff" * 512})
    layers, expected = CASES[case]
    packet = ether(s) / Dot1Q(vlan=7) / layers if tagged else ether(s) / layers
    s.arrive(bytes(packet))
    ((row, got),) = s.rx[0].take()
    assert got == bytes(packet).ljust(60, b"\0")
    said = {name: row.what[name] for name in ("v4", "v6", "tcp", "udp", "ipc", "tuc")}
    assert said == dict.fromkeys(said, 0) | expected and row.index.cnc == 0 and row.data.ts == 0


def test_checksums_are_not_judged_for_who_does_not_want_it() -> None:
    s = Station().start(**{f"{MISC}uptFeatures": 0})
    s.arrive(bytes(ether(s) / IP() / TCP() / Raw(b"x" * 40)))
    ((row, _),) = s.rx[0].take()
    assert row.index.cnc == 1 and row.what.v4 == row.what.tcp == 1 and row.what.tuc == row.what.ipc == 0


@pytest.mark.parametrize("strip", [False, True])
def test_tags_are_stripped_for_who_wants_it(strip: bool) -> None:
    features = Feature.RXCSUM | (Feature.RXVLAN if strip else 0)
    s = Station().start(**{f"{MISC}uptFeatures": int(features), f"{FILTER}vfTable": b"\xff" * 512})
    frame = frame_to(s, 200)
    s.arrive(frame[:12] + bytes.fromhex("8100B064") + frame[12:], frame)
    (row, got), (plain, _) = s.rx[0].take()
    assert (row.data.ts, row.data.tci) == ((1, 0xB064) if strip else (0, 0)) and plain.data.ts == 0
    assert got == (frame if strip else frame[:12] + bytes.fromhex("8100B064") + frame[12:])
    s.put(SHARED + 8 + 16, int(Feature.RXCSUM).to_bytes(8, "little"))
    s.command(Command.UPDATE_FEATURE)
    s.arrive(frame[:12] + bytes.fromhex("8100B064") + frame[12:])
    ((row, _),) = s.rx[0].take()
    assert row.data.ts == 0


def tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + b"\x81\x00" + (0x2000 | vlan).to_bytes(2, "big") + frame[12:]


def test_vlans_are_filtered_by_the_table() -> None:
    table = bytearray(512)
    for vlan in (5, 4094):
        table[vlan >> 3] |= 1 << (vlan & 7)
    s = Station().start(**{f"{FILTER}vfTable": bytes(table)})
    frame = frame_to(s, 100)
    s.arrive(frame, *[tagged(frame, vlan) for vlan in (0, 4, 5, 6, 4094, 4095)])
    assert [got[14:16].hex() for _, got in s.rx[0].take()] == ["0000", "2000", "2005", "2ffe", "2fff"]
    s.put(SHARED + 136, b"\xff" * 512)
    s.arrive(tagged(frame, 6))
    assert not s.rx[0].take(), "the table is read when the driver says so"
    s.command(Command.UPDATE_VLAN_FILTERS)
    s.arrive(tagged(frame, 6))
    assert len(s.rx[0].take()) == 1


def set_mode(s: Station, mode: RxMode, groups: list[bytes] = []) -> None:  # noqa: B006
    s.put(GROUPS, b"".join(groups))
    s.put(SHARED + 120, int(mode).to_bytes(4, "little") + (6 * len(groups)).to_bytes(2, "little"))
    s.put(SHARED + 128, GROUPS.to_bytes(8, "little"))
    s.command(Command.UPDATE_RX_MODE)
    s.command(Command.UPDATE_MAC_FILTERS)


GROUP, OTHER = bytes.fromhex("01005e000001"), bytes.fromhex("01005e000002")


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (RxMode(0), ""), (RxMode.UCAST, "own"), (RxMode.BCAST, "all"), (RxMode.MCAST, "group"),
        (RxMode.ALL_MULTI, "group other"), (RxMode.UCAST | RxMode.PROMISC, "own stranger all group other tagged"),
        (RxMode.UCAST | RxMode.MCAST | RxMode.BCAST, "own all group"),
    ],
)  # fmt: skip
def test_modes(mode: RxMode, wanted: str, s: Station) -> None:
    set_mode(s, mode, [GROUP] if mode & RxMode.MCAST else [])
    frames = {"own": s.mac, "stranger": b"\x02\x77\x77\x77\x77\x77", "all": b"\xff" * 6, "group": GROUP, "other": OTHER}
    made = {name: target + PEER + b"\x88\xb5" + name.encode().ljust(100, b"\0") for name, target in frames.items()}
    made["tagged"] = tagged(made["own"][:14] + b"tagged".ljust(100, b"\0"), 99)
    s.arrive(*made.values())
    got = [frame for _, frame in s.rx[0].take()]
    assert got == [made[name] for name in wanted.split()]


def test_groups_are_taken_over_when_the_driver_says_so(s: Station) -> None:
    """Linux gives the table's memory back at once."""
    set_mode(s, RxMode.MCAST, [OTHER, GROUP])
    s.put(GROUPS, bytes(12))
    s.arrive(GROUP + PEER + bytes(60))
    assert len(s.rx[0].take()) == 1


def test_too_long_frames_are_not_for_us(s: Station) -> None:
    s.arrive(frame_to(s, 1514), tagged(frame_to(s, 1514), 0), frame_to(s, 1519))
    assert [len(frame) for _, frame in s.rx[0].take()] == [1514, 1518]


def test_the_mtu_is_that_of_the_activation_that_began_the_run() -> None:
    """DPDK's testpmd activates a device that is active: see tests/guest/test_vmxnet3_testpmd_peer.py."""
    s = Station().start(**{f"{MISC}mtu": 1400})
    s.share()
    assert s.command(Command.ACTIVATE_DEV) == 0
    s.arrive(frame_to(s, 1414), tagged(frame_to(s, 1414), 0), frame_to(s, 1419), frame_to(s, 1514))
    assert [len(frame) for _, frame in s.rx[0].take()] == [1414, 1418] and s.pool.dropped() == {"too_long": 2}
    s.command(Command.QUIESCE_DEV)
    s.start()
    s.arrive(frame_to(s, 1514))
    assert [len(frame) for _, frame in s.rx[0].take()] == [1514] and s.pool.dropped() == {"too_long": 2}


def rss(queues: int, **changes: Any) -> dict[str, Any]:
    """Microsoft's key, for the test vectors that go with it."""
    key = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
    return {"hashType": 0xF, "hashFunc": 1, "hashKeySize": 40, "indTableSize": 32, "hashKey": key,
            "indTable": bytes(i % queues for i in range(128)), **changes}  # fmt: skip


# Microsoft, "Verifying the RSS Hash Calculation": (destination, source, ports of both, hash by addresses, hash with ports).
VECTORS = [
    ("161.142.100.80", "66.9.149.187", 1766, 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", "199.92.111.2", 4739, 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", "24.19.198.95", 38024, 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230, 0x0F0C461C, 0xDDE51BBF),
]


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("protocol", [TCP, UDP, "other"])
@pytest.mark.parametrize("udp", [False, True])
def test_frames_are_spread_by_their_hash(vector: tuple[Any, ...], protocol: Any, udp: bool) -> None:
    to, source, dport, sport, plain, full = vector
    s = Station().start(queues=4, rss=rss(4), **{f"{MISC}uptFeatures": int(Feature.RSS | Feature.RXCSUM)})
    if udp:
        s.put(SHARED + 8 + 688 + 8, (0xF).to_bytes(4, "little"))
        s.command(Command.SET_RSS_FIELDS)
    v6 = ":" in to
    ip = IPv6(dst=to, src=source) if v6 else IP(dst=to, src=source)
    inside = Raw(b"data" * 10) if protocol == "other" else protocol(sport=sport, dport=dport) / Raw(b"data" * 10)
    s.arrive(bytes(ether(s) / ip / inside))
    with_ports = protocol is TCP or (protocol is UDP and udp)
    value = full if with_ports else plain
    kind = (4 if v6 else 2) if protocol is TCP else (6 if v6 else 5) if protocol is UDP and udp else (3 if v6 else 1)
    got = [(i, row) for i, rx in enumerate(s.rx) for row, _ in rx.take()]
    assert len(got) == 1 and got[0][0] == value % 32 % 4
    assert (got[0][1].rssHash, got[0][1].index.rssType) == (value, kind)
    assert s.host.irqs == [got[0][0]]


def test_the_table_may_change_while_frames_come() -> None:
    s = Station().start(queues=2, rss=rss(2, indTable=bytes(128)), **{f"{MISC}uptFeatures": int(Feature.RSS)})
    packet = bytes(ether(s) / IP() / UDP() / Raw(bytes(40)))
    s.arrive(packet)
    assert [len(rx.take()) for rx in s.rx] == [1, 0]
    from regmodel.structures.vmxnet3 import RSS_CONF
    from tests.emulators.nics.vmxnet3.station import RSS

    s.put(RSS, RSS_CONF.build(rss(2, indTable=b"\x01" * 128)))
    s.command(Command.UPDATE_RSSIDT)
    s.arrive(packet, frame_to(s))
    rows = [rx.take() for rx in s.rx]
    assert [len(row) for row in rows] == [0, 2] and rows[1][1][0].index.rssType == 0


def test_a_table_with_a_queue_that_there_is_not_is_refused_and_the_first_queue_serves() -> None:
    s = Station().start(queues=2, rss=rss(2), **{f"{MISC}uptFeatures": int(Feature.RSS)})
    from regmodel.structures.vmxnet3 import RSS_CONF
    from tests.emulators.nics.vmxnet3.station import RSS

    s.put(RSS, RSS_CONF.build(rss(2, indTable=b"\x02" * 128)))
    s.command(Command.UPDATE_RSSIDT)
    assert s.host.diagnosed == {"rss-configuration": 1}
    s.arrive(bytes(ether(s) / IP() / UDP() / Raw(bytes(40))))
    assert [len(rx.take()) for rx in s.rx] == [1, 0]


def large(s: Station, size: int, mss: int = 1448, v6: bool = False) -> Partial:
    ip = IPv6(src="fd00::1", dst="fd00::2") if v6 else IP(src="10.0.0.1", dst="10.0.0.2")
    packet = ether(s) / ip / TCP(flags="A") / Raw(bytes(i % 253 for i in range(size)))
    raw = pseudo(packet, length=True)
    l4 = len(raw) - size - 20
    gso = Gso.TCPV6 if v6 else Gso.TCPV4
    return Partial(raw, Offload(True, l4, 16, gso, False, mss, l4 + 20))


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("revision", [1, 2, 9])
def test_large_packets_are_told_of_since_revision_2(revision: int, v6: bool) -> None:
    s = Station().start(revision, **{f"{MISC}uptFeatures": int(Feature.LRO | Feature.RXCSUM), f"{MISC}maxNumRxSG": 18})
    packet = large(s, 20_000, 1428, v6)
    s.arrive(packet)
    ((row, got),) = s.rx[0].take()
    assert got == bytes(packet)
    assert row.what.tcp == row.what.tuc == 1 and row.what["v6" if v6 else "v4"] == 1
    assert row.first.what.type == (4 if revision > 1 else 3)
    if revision > 1:
        assert (row.first.segCnt, row.first.what.mss) == (15, 1428)
    values = s.nic.receive[0].statistics.values
    header = len(packet) - 20_000
    assert (values["LROPktsRxOK"], values["LROBytesRxOK"]) == (1, len(packet))
    assert (values["ucastPktsRxOK"], values["ucastBytesRxOK"]) == (15, 20_000 + 15 * header)


def test_a_large_packet_in_one_buffer_has_no_hash() -> None:
    features = int(Feature.LRO | Feature.RXCSUM | Feature.RSS)
    s = Station().start(queues=2, rss=rss(2), **{f"{MISC}uptFeatures": features})
    packet = large(s, 1800, mss=500)
    s.arrive(packet)
    ((row, got),) = [*s.rx[0].take(), *s.rx[1].take()]
    assert got == bytes(packet) and row.index.rssType == 0 and (row.first.segCnt, row.first.what.mss) == (4, 500)
    packet = large(s, 3000, mss=500)
    s.arrive(packet)
    ((row, got),) = [*s.rx[0].take(), *s.rx[1].take()]
    assert got == bytes(packet) and row.index.rssType == 2 and row.rssHash and row.first.segCnt == 6


@pytest.mark.parametrize("why", ["not wanted", "forbidden"])
def test_large_packets_are_cut_for_others(why: str) -> None:
    s = Station(lro="on" if why == "not wanted" else "off")
    s.start(**{f"{MISC}uptFeatures": int(Feature.RXCSUM | (Feature.LRO if why == "forbidden" else 0))})
    packet = large(s, 5000)
    s.arrive(packet)
    rows = s.rx[0].take()
    whole = Ether(bytes(packet))
    whole[TCP].chksum = None
    assert [frame for _, frame in rows] == reference_segments(whole, 1448)
    assert all(row.what.tuc and row.what.ipc and row.what.type == 3 for row, _ in rows)


def test_checksums_that_nobody_has_taken_yet_are_filled_in(s: Station) -> None:
    packet = ether(s) / IP() / UDP(sport=1, dport=2) / Raw(b"x" * 101)
    raw = pseudo(packet, length=True)
    s.arrive(Partial(raw, Offload(True, 34, 6)), frame_to(s))
    (row, got), _ = s.rx[0].take()
    assert got == bytes(packet) and row.what.tuc == row.what.ipc == row.what.udp == row.what.v4 == 1 and not row.index.cnc


def test_a_stripped_tag_of_a_large_packet() -> None:
    features = int(Feature.LRO | Feature.RXCSUM | Feature.RXVLAN)
    s = Station().start(**{f"{MISC}uptFeatures": features, f"{FILTER}vfTable": b"\xff" * 512})
    packet = large(s, 5000)
    with_tag = tagged(bytes(packet), 9)
    s.arrive(Partial(with_tag, packet.offload.shifted(4)))
    ((row, got),) = s.rx[0].take()
    assert got == bytes(packet) and row.data.tci == 0x2009 and row.first.segCnt == 4


@pytest.mark.parametrize(("what", "error", "kind"), [
    ("unreachable", QueueError.DESC_NOT_SPT, "rx-unreachable"), ("dtype", QueueError.DESC_NOT_SPT, "rx-descriptor"),
    ("small", QueueError.SMALL_BUF, "rx-descriptor"), ("completions", QueueError.DESC_NOT_SPT, "rx-unreachable"),
])  # fmt: skip
def test_a_buffer_that_cannot_be_stops_the_queue(what: str, error: QueueError, kind: str) -> None:
    s = Station().start(queues=2)
    buffer = {"len": 100 if what == "small" else 2048, "gen": 1, "dtype": int(what == "dtype")}
    address = MEMORY - 50 if what == "unreachable" else HEADS
    if what == "completions":
        s.nic.receive[0].completions.base = MEMORY
    else:
        s.put(RX_RINGS + 16, RX_DESC.build({"addr": address, "buffer": buffer, "ext1": 0}))
    s.arrive(frame_to(s, 300))
    s.arrive(frame_to(s, 300), frame_to(s, 300))
    assert s.host.diagnosed == {kind: 1}
    s.settle()
    assert s.shared.ecr == Event.RQERR and s.host.irqs[-1] == 2
    assert (s.queue_desc("rx").status.stopped, s.queue_desc("rx").status.error) == (1, error)
    assert s.queue_desc("rx", 1).status.stopped == 0
    assert s.pool.lost.total() >= 1
    s.command(Command.QUIESCE_DEV)
    s.start()
    s.arrive(frame_to(s))
    assert len(s.rx[0].take()) == 1


def test_statistics_are_written_when_asked_for(s: Station) -> None:
    s.arrive(frame_to(s, 100), b"\xff" * 6 + frame_to(s, 90)[6:])
    s.command(Command.GET_STATS)
    stats = s.queue_desc("rx").stats
    assert (stats.ucastPktsRxOK, stats.ucastBytesRxOK, stats.bcastPktsRxOK, stats.bcastBytesRxOK) == (1, 100, 1, 90)
    assert stats.mcastPktsRxOK == stats.LROPktsRxOK == stats.pktsRxOutOfBuf == stats.pktsRxError == 0


def test_nothing_is_written_beyond_the_rings(s: Station) -> None:
    before = s.get(RX_DONE + 16 * 96, 64)
    for _ in range(5):
        s.arrive(*[frame_to(s, 300) for _ in range(60)])
        s.rx[0].take()
    assert s.get(RX_DONE + 16 * 96, 64) == before and s.get(BODIES, 16) == bytes(16)


@settings(max_examples=40 * THOROUGH)
@given(
    st.lists(st.lists(st.integers(60, 9018), min_size=1, max_size=20), max_size=10),
    st.sampled_from(["H", "HB", "HBB", "HHB"]),
    st.sampled_from([32, 64]),
    st.sampled_from([0, 32, 64]),
    st.booleans(),
)
def test_any_run_of_frames_arrives_in_order(
    bursts: list[list[int]], pattern: str, one: int, two: int, impatient: bool
) -> None:
    """Ring layouts: sizes of both rings, bodies among heads, any fill; a driver that looks late. Nothing is lost but what is
    counted.
    """
    s = Station().start(sizes=Sizes(rx=(one, two), rx_done=one + two), activate=False, **JUMBO)
    s.put(RX_RINGS, bytes(0x40000))
    s.rx = [RxDriver(s, 0, pattern)]
    assert s.command(Command.ACTIVATE_DEV) == 0
    sent: list[bytes] = []
    got: list[bytes] = []
    for burst in bursts:
        frames = [frame_to(s, size, len(sent) + i) for i, size in enumerate(burst)]
        sent += frames
        s.arrive(*frames)
        if not impatient:
            got += [frame for _, frame in s.rx[0].take()]
    for _ in range(400):
        s.host.clock.advance(1_000_000)
        s.settle()
        got += [frame for _, frame in s.rx[0].take()]
    values = s.nic.receive[0].statistics.values
    lost = values["pktsRxOutOfBuf"] + values["pktsRxError"]
    assert len(sent) == len(got) + lost
    kept = iter(sent)
    assert all(frame in kept for frame in got), "what came, came in order"
    if two and pattern == "H" and not impatient:
        assert lost == 0 or max(map(sum, bursts)) > 100_000
