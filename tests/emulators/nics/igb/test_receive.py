"""The receive queue, driven through registers and memory."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from emulators.nics.igb.receive import PACKET_BUFFER
from emulators.nics.igb.rss import TCP_V4, TCP_V6, UDP_V4, V4, V6, Rss
from regmodel.function import ResetCause
from tests.emulators.nics.igb.station import ENABLE, MEMORY, Station

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ONE_BUFFER, SPLIT, REPLICATE, REPLICATE_LARGE, SPLIT_ALWAYS = (kind << 25 for kind in range(1, 6))
DROP_EN = 1 << 31


def frame_of(size: int, seed: int = 0) -> bytes:
    return bytes(ETHER)[:12] + b"\x88\xb5" + bytes((i * 7 + seed) & 0xFF for i in range(size - 14))


@pytest.fixture
def vf() -> Station:
    return Station().start()


def test_a_frame_lands_in_a_buffer_and_interrupts(vf: Station) -> None:
    frame = bytes(ETHER / IP() / TCP() / Raw(b"hello"))
    assert vf.deliver(frame) == 1
    ((row, _, data),) = vf.take()
    assert data == frame and vf.host.irqs == [1] and vf.read("rdh") == 1
    status = row.status_error
    assert (status.dd, status.eop, status.ipcs, status.l4cs, status.lb, status.vp) == (1, 1, 1, 1, 0, 0)
    assert row.pkt_info.ipv4 and row.pkt_info.tcp and row.rss == 0


def test_frames_of_the_port_itself_say_so(vf: Station) -> None:
    vf.deliver(frame_of(60), loopback=True)
    ((row, _, _),) = vf.take()
    assert row.status_error.lb == 1


@pytest.mark.parametrize("count", [1, 62, 63])
def test_a_burst_is_one_interrupt(vf: Station, count: int) -> None:
    frames = [frame_of(60 + i, i) for i in range(count)]
    assert vf.deliver(*frames) == count
    assert [data for _, _, data in vf.take()] == frames and vf.host.irqs == [1]


def test_the_ring_wraps(vf: Station) -> None:
    for round_ in range(20):
        frames = [frame_of(60, 10 * round_ + i) for i in range(10)]
        assert vf.deliver(*frames) == 10
        assert [data for _, _, data in vf.take()] == frames
        vf.give(10)


def test_a_long_frame_takes_several_descriptors(vf: Station) -> None:
    frame = frame_of(5000)
    vf.deliver(frame, frame_of(60))
    rows = vf.take()
    assert [row.length for row, _, _ in rows] == [2048, 2048, 904, 60]
    assert [row.status_error.eop for row, _, _ in rows] == [0, 0, 1, 1]
    assert b"".join(data for _, _, data in rows[:3]) == frame


def test_buffer_size_without_bsizepacket_is_that_of_rctl() -> None:
    vf = Station().start(srrctl=ONE_BUFFER)
    vf.deliver(frame_of(3000))
    assert [row.length for row, _, _ in vf.take()] == [2048, 952]


def test_a_frame_that_finds_too_few_descriptors_goes_whole_or_not_at_all() -> None:
    vf = Station(rx=8).start(srrctl=ONE_BUFFER | 2 | DROP_EN)
    assert vf.deliver(frame_of(9000), frame_of(9000)) == 1
    assert len(vf.take()) == 5
    assert vf.read("rqdpc") == 1 and vf.read("rqdpc") == 0


def test_with_drop_enable_surplus_frames_are_dropped_and_counted() -> None:
    vf = Station(rx=8).start(srrctl=ONE_BUFFER | 2 | DROP_EN)
    frames = [frame_of(60, i) for i in range(10)]
    assert vf.deliver(*frames) == 7
    assert [data for _, _, data in vf.take()] == frames[:7] and vf.read("rqdpc") == 3


def test_the_pf_may_make_queues_drop() -> None:
    vf = Station(rx=8).start()
    vf.vf.queue_drop_enable = True
    assert vf.deliver(*[frame_of(60)] * 10) == 7 and vf.read("rqdpc") == 3


def test_rqdpc_does_not_wrap() -> None:
    vf = Station(rx=8).start(srrctl=ONE_BUFFER | 2 | DROP_EN)
    for _ in range(50):
        vf.deliver(*[frame_of(60)] * 100)
    assert vf.read("rqdpc") == 0xFFF


def test_otherwise_they_wait_in_order_until_descriptors_come() -> None:
    vf = Station(rx=8).start()
    frames = [frame_of(60, i) for i in range(20)]
    assert vf.deliver(*frames[:15]) == 15 and vf.deliver(*frames[15:]) == 5
    seen = []
    for _ in range(4):
        rows = vf.take()
        seen += [data for _, _, data in rows]
        vf.give(len(rows))
    assert seen == frames and vf.read("vfgprc") == 20


def test_the_packet_buffer_is_bounded() -> None:
    vf = Station(rx=8).start()
    assert vf.deliver(*[frame_of(1500)] * 100) == 7 + PACKET_BUFFER // 1500
    assert vf.read("rqdpc") == 0


def test_a_frame_that_no_ring_of_this_length_holds_does_not_wait() -> None:
    vf = Station(rx=8).start(srrctl=ONE_BUFFER | 1)
    assert vf.deliver(frame_of(9000), frame_of(60)) == 1
    assert vf.host.diagnosed == {"rx-frame-exceeds-ring": 1}
    assert [data for _, _, data in vf.take()] == [frame_of(60)] and vf.read("vfgprc") == 1


def test_what_waits_survives_save_and_load_but_no_reset() -> None:
    vf = Station(rx=8).start()
    frames = [frame_of(60, i) for i in range(9)]
    vf.deliver(*frames)
    other = Station(rx=8).start()
    other.memory[:] = vf.memory
    other.vf.load(vf.vf.save())
    other.rx_tail, other.rx_next = vf.rx_tail, 0
    other.take()
    other.give(7)
    assert [data for _, _, data in other.take()] == frames[7:]
    vf.vf.reset(ResetCause.FLR)
    vf.start()
    assert vf.take() == []


def test_a_disabled_queue_takes_nothing(vf: Station) -> None:
    vf.write("rxdctl", 0)
    assert vf.deliver(frame_of(60)) == 0 and vf.take() == []


def test_enabling_puts_the_head_to_zero(vf: Station) -> None:
    vf.deliver(frame_of(60))
    vf.write("rdh", 9)
    assert vf.read("rdh") == 1
    vf.write("rxdctl", 0)
    assert vf.read("rdh") == 1
    vf.write("rxdctl", ENABLE)
    assert vf.read("rdh") == 0


def test_rings_of_no_descriptors_take_nothing() -> None:
    vf = Station()
    vf.start_rx(ONE_BUFFER | 2 | DROP_EN, fill=False)
    assert vf.deliver(frame_of(60)) == 0
    vf.write("rdt", 64)
    assert vf.host.diagnosed["rx-tail-beyond-ring"] == 1 and vf.deliver(frame_of(60)) == 0
    vf.write("rdlen", 0)
    vf.write("rdt", 1)
    assert vf.host.diagnosed["rx-tail-beyond-ring"] == 2 and vf.deliver(frame_of(60)) == 0


def test_a_buffer_nowhere_halts_the_queue_until_it_is_enabled_anew(vf: Station) -> None:
    vf.memory[0x9010:0x9018] = (MEMORY - 10).to_bytes(8, "little")
    vf.deliver(frame_of(60), frame_of(60), frame_of(60))
    assert vf.host.diagnosed == {"rx-unreachable": 1} and vf.deliver(frame_of(60)) == 0
    vf.write("rxdctl", 0)
    vf.start_rx()
    assert vf.deliver(frame_of(60, 5)) == 1
    assert [data for _, _, data in vf.take()] == [frame_of(60, 5)]


def test_a_ring_above_4_gib(vf: Station) -> None:
    vf.host.dma.map(5 << 32, 0x10000, vf.host.memory)
    vf.write("rdbah", 5)
    assert vf.deliver(frame_of(60), frame_of(5000)) == 2
    assert b"".join(data for _, _, data in vf.take()) == frame_of(60) + frame_of(5000)


def test_without_bus_master_nothing_lands(vf: Station) -> None:
    vf.host.dma.enabled = False
    assert vf.deliver(frame_of(60)) == 0 and vf.host.diagnosed == {"rx-unreachable": 1} and vf.host.irqs == []


# -- tags

TAGGED = bytes(ETHER / Dot1Q(vlan=0x123, prio=5) / IP() / UDP() / Raw(b"x" * 30))


@pytest.mark.parametrize(("silicon", "loopback", "vlan"), [
    ("82576", False, 0xA123), ("82576", True, 0xA123), ("I350", False, 0xA123), ("I350", True, 0x23A1),
])  # fmt: skip
def test_stripped_tags_and_their_byte_order(silicon: str, loopback: bool, vlan: int) -> None:
    vf = Station(silicon).start()
    vf.pool.strip_vlan = True
    vf.deliver(TAGGED, loopback=loopback)
    ((row, _, data),) = vf.take()
    assert row.status_error.vp and row.vlan == vlan and data == TAGGED[:12] + TAGGED[16:]
    assert row.status_error.l4cs and not row.status_error.l4e


def test_tags_stay_where_the_pf_does_not_strip_them(vf: Station) -> None:
    vf.pool.strip_vlan_replicated = True
    multicast = b"\x01" + TAGGED[1:]
    vf.deliver(TAGGED, multicast)
    (one, _, data), (two, _, stripped) = vf.take()
    assert not one.status_error.vp and one.vlan == 0 and data == TAGGED
    assert two.status_error.vp and two.vlan == 0xA123 and len(stripped) == len(TAGGED) - 4


@pytest.mark.parametrize("srrctl", [ONE_BUFFER | 2, SPLIT_ALWAYS | 0x200 | 2, 2])
@pytest.mark.parametrize("ethertype", [b"\x08\x00", b"\x81\x01", b"\x88\xa8", b"\x00\x2e"])
def test_only_what_is_a_tag_is_stripped(srrctl: int, ethertype: bytes) -> None:
    vf = Station().start(srrctl=srrctl)
    vf.pool.strip_vlan = vf.pool.strip_vlan_replicated = True
    frame = frame_of(300)
    frame = frame[:12] + ethertype + frame[14:]
    vf.deliver(frame)
    if srrctl >> 25:
        ((row, header, data),) = vf.take()
        assert not row.status_error.vp and row.vlan == 0 and header + data == frame
    else:
        assert vf.memory[0x9008] | vf.memory[0x9009] << 8 == 300 and not vf.memory[0x900C] & 8


# -- header split

UDP4 = bytes(ETHER / IP() / UDP() / Raw(bytes(range(200))))


def split(kind: int, frame: bytes, header_units: int = 2, size: int = 2) -> list[tuple[int, int, int, bytes, bytes]]:
    """(SPH, HDR_LEN, HBO, header bytes in the buffer, packet bytes) of each descriptor."""
    vf = Station().start(srrctl=kind | header_units << 8 | size)
    vf.write("psrtype", 0x7FFFF)
    vf.deliver(frame)
    return [(r.hdr_info.sph, r.hdr_info.hdr_len, r.status_error.hbo, h, d) for r, h, d in vf.take()]


@pytest.mark.parametrize(("kind", "frame", "units", "expected"), [
    (SPLIT, UDP4, 2, (1, 42, 0, UDP4[:42], UDP4[42:])),
    (SPLIT, UDP4, 0, (1, 42, 1, b"", UDP4)),
    (SPLIT, frame_of(300), 2, (0, 0, 0, b"", frame_of(300))),
    (SPLIT_ALWAYS, UDP4, 2, (1, 42, 0, UDP4[:42], UDP4[42:])),
    (SPLIT_ALWAYS, UDP4[:100], 2, (0, 100, 0, UDP4[:100], b"")),
    (SPLIT_ALWAYS, frame_of(300), 2, (0, 128, 0, frame_of(300)[:128], frame_of(300)[128:])),
    (REPLICATE, UDP4, 2, (1, 42, 0, UDP4[:42], UDP4)),
    (REPLICATE, frame_of(300), 2, (0, 128, 0, frame_of(300)[:128], frame_of(300))),
    (REPLICATE_LARGE, UDP4[:100], 2, (0, 100, 0, UDP4[:100], b"")),
    (REPLICATE_LARGE, UDP4, 2, (1, 42, 0, UDP4[:42], UDP4)),
])  # fmt: skip
def test_header_split(kind: int, frame: bytes, units: int, expected: tuple[object, ...]) -> None:
    (row,) = split(kind, frame, units)
    sph, length, hbo, header, data = row
    assert (sph, length, hbo, header if not hbo else b"", data) == expected


def test_a_header_longer_than_its_buffer_when_splitting_always() -> None:
    options = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
    frame = bytes(ETHER / IP() / TCP(options=options) / Raw(b"x" * 50))
    vf = Station().start(srrctl=SPLIT_ALWAYS | 1 << 8 | 2)
    vf.write("psrtype", 0x7FFFF)
    vf.deliver(frame)
    ((row, _, data),) = vf.take()
    assert (row.hdr_info.sph, row.hdr_info.hdr_len, row.status_error.hbo) == (1, 66, 1)
    assert data == frame[64:]


def test_jumbo_frames_as_igbvf_receives_them() -> None:
    """SRRCTL as igbvf_setup_srrctl writes it for MTU 9000: split always, header 128, packet buffers of 2 KiB."""
    frame = bytes(ETHER / IP() / TCP() / Raw(bytes(i & 0xFF for i in range(8946))))
    rows = split(SPLIT_ALWAYS, frame)
    assert rows[0][3] == frame[:54] and [len(row[4]) for row in rows] == [2048, 2048, 2048, 2048, 754]
    assert rows[0][3] + b"".join(row[4] for row in rows) == frame


def test_legacy_descriptors() -> None:
    vf = Station().start(srrctl=2)
    frame = bytes(ETHER / IP() / TCP() / Raw(b"x" * 50))
    vf.deliver(frame[:-1] + b"y")
    row = bytes(vf.memory[0x9000:0x9010])
    address, length, status, errors = int.from_bytes(row[:8], "little"), row[8] | row[9] << 8, row[12], row[13]
    assert vf.memory[address : address + length] == frame[:-1] + b"y"
    assert (status, errors) == (0x63, 0x20)


# -- queues and hashes

# The verification suite of "Scalable Networking: RSS" (Microsoft), IPv4 part.
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
VECTORS = [
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51CCC178, 0x323E8FC2),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xC626B0EA, 0xD718262A),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5C2B394A, 0xD2D0A5DE),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_toeplitz(vector: tuple[str, int, str, int, int, int]) -> None:
    source, sport, destination, dport, with_ports, without = vector
    rss = Rss(KEY, [0] * 128, frozenset({TCP_V4, V4}))
    ip = IP(src=source, dst=destination)
    assert rss.hash(bytes(ETHER / ip / TCP(sport=sport, dport=dport))) == (TCP_V4, with_ports)
    assert rss.hash(bytes(ETHER / ip / UDP(sport=sport, dport=dport))) == (V4, without)
    assert rss.hash(bytes(ETHER / IPv6() / TCP())) == (0, 0)
    udp = Rss(KEY, [0] * 128, frozenset({UDP_V4}))
    assert udp.hash(bytes(ETHER / ip / UDP(sport=sport, dport=dport))) == (UDP_V4, with_ports)
    assert udp.hash(bytes(ETHER / ip / TCP(sport=sport, dport=dport))) == (0, 0)


def test_toeplitz_of_ipv6() -> None:
    rss = Rss(KEY, [0] * 128)
    ip = IPv6(src="3ffe:2501:200:1fff::7", dst="3ffe:2501:200:3::1")
    assert rss.hash(bytes(ETHER / ip / TCP(sport=2794, dport=1766))) == (TCP_V6, 0x40207D3D)
    assert rss.hash(bytes(ETHER / ip / UDP(sport=2794, dport=1766))) == (V6, 0x2CC18CD5)


def test_rss_spreads_over_both_queues_and_reports_the_hash() -> None:
    vf = Station().start()
    vf.write("rdlen", 16 * 64, 1)
    vf.write("rdbal", 0xB000, 1)
    vf.write("srrctl", ONE_BUFFER | 2, 1)
    vf.write("rxdctl", ENABLE, 1)
    vf.write("rdt", 63, 1)
    for i in range(64):
        vf.memory[0xB000 + 16 * i : 0xB008 + 16 * i] = (0xC0000).to_bytes(8, "little")
    frames = [bytes(ETHER / IP() / TCP(sport=port)) for port in range(40)]
    vf.vf.rss = Rss(KEY, [0, 1] * 64)
    assert vf.deliver(*frames) == 40
    assert vf.read("rdh", 0) + vf.read("rdh", 1) == 40 and vf.read("rdh", 0) > 5 and vf.read("rdh", 1) > 5
    row = vf.take()[0][0]
    assert row.rss and row.pkt_info.rss_type == TCP_V4
    vf.vf.rss = None
    before = vf.read("rdh", 0)
    vf.deliver(*frames[:10])
    assert vf.read("rdh", 0) == before + 10


# -- counters and resets


def test_counters(vf: Station) -> None:
    broadcast, multicast = b"\xff" * 6 + frame_of(60)[6:], b"\x01" + frame_of(60)[1:]
    vf.deliver(frame_of(60), broadcast, multicast)
    vf.deliver(multicast, loopback=True)
    names = ("vfgprc", "vfgorc", "vfmprc", "vfgprlbc", "vfgorlbc")
    assert [vf.read(name) for name in names] == [4, 256, 2, 1, 64]


def test_receiving_does_not_depend_on_the_transmit_queue(vf: Station) -> None:
    vf.write("txdctl", 0)
    assert vf.deliver(frame_of(60)) == 1
    vf.write("tdbah", 0xDEAD)
    vf.write("txdctl", ENABLE)
    vf.data(frame_of(60))
    vf.ring()
    assert vf.host.diagnosed == {"tx-descriptor-unreachable": 1}
    assert vf.deliver(frame_of(60)) == 1 and len(vf.take()) == 2


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("event", ["reset", "stop", "moved"])
@pytest.mark.parametrize("size", [60, 3000])
def test_events_while_a_frame_waits_for_memory(step: int, event: str, size: int) -> None:
    from tests.emulators.nics.igb.test_transmit import slow

    vf = Station().start()
    memory = slow(vf)
    events = {
        "reset": lambda: vf.vf.reset(ResetCause.SOFTWARE),
        "stop": lambda: vf.write("rxdctl", 0),
        "moved": lambda: vf.write("rdlen", 128),
    }
    memory.during = [lambda: None] * step + [events[event]]
    vf.deliver(frame_of(size), frame_of(size))
    if not memory.during and event == "reset":
        assert vf.read("rdh") == 0
    memory.during = []
    vf.write("rxdctl", 0)
    vf.start()
    vf.rx_next = 0
    assert vf.deliver(frame_of(60, 3)) == 1
    assert vf.take()[0][2] == frame_of(60, 3)
