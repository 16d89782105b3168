"""The receive parser against packets that scapy built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

from emulators.nics.igb.headers import _examine, examine, examine_all, parse, split_at
from regmodel.rings.igb import RX_WRITEBACK

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4, V6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")
ALL = frozenset(["ipv4", "ipv4_tcp", "ipv4_udp", "ipv4_ipv6", "ipv4_ipv6_tcp", "ipv4_ipv6_udp", "ipv6", "ipv6_tcp", "ipv6_udp"])

LAYERS = {
    "ARP": (ETHER / ARP(), set(), set()),
    "TCP": (ETHER / V4 / TCP() / Raw(b"odd"), {"ipv4", "tcp"}, {"ipcs", "l4cs"}),
    "UDP": (ETHER / V4 / UDP() / Raw(b"even"), {"ipv4", "udp"}, {"ipcs", "l4cs", "udpcs"}),
    "big UDP": (ETHER / V4 / UDP() / Raw(bytes(range(251)) * 30), {"ipv4", "udp"}, {"ipcs", "l4cs", "udpcs"}),
    "UDP without": (ETHER / V4 / UDP(chksum=0) / Raw(b"even"), {"ipv4", "udp"}, {"ipcs"}),
    "UDP padded": (ETHER / V4 / UDP() / Raw(b"a"), {"ipv4", "udp"}, {"ipcs", "l4cs", "udpcs"}),
    "SCTP": (ETHER / V4 / SCTP() / SCTPChunkData(data=b"x" * 9), {"ipv4", "sctp"}, {"ipcs", "l4cs"}),
    "options": (ETHER / IP(options=[IPOption_Router_Alert()]) / TCP(), {"ipv4_ex", "tcp"}, {"ipcs", "l4cs"}),
    "fragment": (ETHER / IP(flags="MF") / UDP() / Raw(b"x" * 40), {"ipv4"}, {"ipcs"}),
    "later fragment": (ETHER / IP(frag=5, proto=6) / Raw(b"x" * 40), {"ipv4"}, {"ipcs"}),
    "ICMP": (ETHER / IP(proto=1) / Raw(b"x" * 40), {"ipv4"}, {"ipcs"}),
    "TCP6": (ETHER / V6 / TCP() / Raw(b"odd"), {"ipv6", "tcp"}, {"l4cs"}),
    "UDP6": (ETHER / V6 / UDP() / Raw(b"even"), {"ipv6", "udp"}, {"l4cs", "udpcs"}),
    "extended": (ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(), {"ipv6_ex", "tcp"}, {"l4cs"}),
    "fragment6": (ETHER / V6 / IPv6ExtHdrFragment(m=1) / Raw(b"x" * 40), {"ipv6_ex"}, set()),
    "6in4": (ETHER / IP(proto=41) / V6 / TCP(), {"ipv4", "ipv6", "tcp"}, {"ipcs"}),
}


def names(packet: Packet | bytes) -> tuple[set[str], set[str]]:
    """What ``examine`` says, spelled by the description: packet type, status."""
    low, status = examine(bytes(packet).ljust(60, b"\0"))
    row = RX_WRITEBACK.parse(low.to_bytes(8, "little") + status.to_bytes(8, "little"))
    return {n for n, v in row.pkt_info.items() if v and n != "_io"}, {
        n for n, v in row.status_error.items() if v and n != "_io"
    }


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("tagged", [False, True], ids=["untagged", "tagged"])
def test_type_and_verdict_of_good_packets(name: str, tagged: bool) -> None:
    packet, kind, status = LAYERS[name]
    if tagged:
        packet = ETHER / Dot1Q(vlan=5) / packet[1]
    assert names(packet) == (kind, status)


@pytest.mark.parametrize("name", [name for name in LAYERS if LAYERS[name][2]])
def test_each_checksum_that_is_checked_is_found_wrong(name: str) -> None:
    packet, kind, status = LAYERS[name]
    frame = bytearray(bytes(packet))
    if "l4cs" in status:
        frame[-1 if len(frame) > 60 else len(bytes(packet)) - 1] ^= 0x40
        assert names(frame) == (kind, status | {"l4e"})
        frame = bytearray(bytes(packet))
    if "ipcs" in status:
        frame[22] ^= 1  # time to live: no other checksum covers it
        assert names(frame) == (kind, status | {"ipe"})


@pytest.mark.parametrize("name", ["TCP", "UDP", "big UDP"])
def test_corruption_anywhere_is_found(name: str) -> None:
    packet, _, _ = LAYERS[name]
    for at in range(26, len(bytes(packet)), 7):
        frame = bytearray(bytes(packet))
        frame[at] ^= 0x10
        assert names(frame)[1] & {"ipe", "l4e"}, at


@pytest.mark.parametrize(("name", "kind", "status"), [("TCP", {"ipv4"}, {"ipcs"}), ("TCP6", {"ipv6"}, set())])
def test_a_packet_longer_than_its_frame_has_no_l4(name: str, kind: set[str], status: set[str]) -> None:
    frame = bytes(LAYERS[name][0] / Raw(bytes(100)))[:-1]
    assert names(frame) == (kind, status)


SPLITS = {
    "TCP": (ETHER / V4 / TCP(options=[("MSS", 9)]) / b"x", ALL, 14 + 20 + 24),
    "TCP without": (ETHER / V4 / TCP() / b"x", ALL - {"ipv4_tcp"}, 34),
    "TCP not at all": (ETHER / V4 / TCP() / b"x", frozenset({"ipv6_tcp"}), 0),
    "UDP": (ETHER / V4 / UDP() / b"x", ALL, 42),
    "UDP6": (ETHER / V6 / UDP() / b"x", ALL, 62),
    "extended": (ETHER / V6 / IPv6ExtHdrHopByHop() / TCP() / b"x", ALL, 14 + 40 + 8 + 20),
    "SCTP": (ETHER / V4 / SCTP() / b"x", ALL, 34),
    "fragment": (ETHER / IP(flags="MF") / UDP() / b"x", ALL, 34),
    "6in4": (ETHER / IP(proto=41) / V6 / UDP() / b"x", ALL, 82),
    "6in4 outer": (ETHER / IP(proto=41) / V6 / UDP() / b"x", frozenset({"ipv4"}), 34),
    "tagged": (ETHER / Dot1Q() / V4 / UDP() / b"x", ALL, 46),
    "ARP": (ETHER / ARP(), ALL, 0),
}


@pytest.mark.parametrize("name", SPLITS)
def test_where_the_header_ends(name: str) -> None:
    packet, types, expected = SPLITS[name]
    assert split_at(bytes(packet), types) == expected


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x08\x00", b"\x86\xdd", b"\x81\x00\0\0\x08\x00"]), st.integers(0, 255))
def test_any_bytes_are_parsed(data: bytes, ethertype: bytes, first: int) -> None:
    frame = bytes(12) + ethertype + bytes([first]) + data
    low, status = examine(frame)
    assert low >> 16 == 0 and status >> 32 == 0
    assert 0 <= split_at(frame, ALL) <= len(frame)


@given(st.sampled_from(sorted(LAYERS)), st.data())
def test_any_cut_packet_is_parsed(name: str, data: st.DataObject) -> None:
    frame = bytearray(bytes(LAYERS[name][0]))
    for _ in range(data.draw(st.integers(0, 3))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    examine(frame)
    assert 0 <= split_at(frame, ALL) <= len(frame)


CHANGES = st.tuples(st.sampled_from(sorted(LAYERS)), st.integers(12, 60), st.integers(0, 255), st.integers(0, 8))


@given(st.lists(CHANGES, max_size=6))
def test_a_burst_is_examined_as_its_frames_are(rows: list[tuple[str, int, int, int]]) -> None:
    """One by one, and by the parser that knows no short cuts; each frame also a second time, and a third time cut short."""
    frames = []
    for name, at, value, cut in rows:
        frame = bytearray(bytes(LAYERS[name][0]).ljust(60, b"\0"))
        frame[at % len(frame)] = value
        frames += [bytes(frame), bytes(frame), bytes(frame[: len(frame) - cut])]
    found, plain = examine_all(frames)
    assert found == [examine(frame) for frame in frames] == [_examine(frame, parse(frame)) for frame in frames]
    assert not plain or all(frame[12:14] == b"\x08\x00" for frame in frames)


def test_a_frame_that_begins_like_the_last_one_and_is_cut_short() -> None:
    frame = bytes(LAYERS["UDP without"][0])
    assert examine_all([frame, frame]) == ([examine(frame)] * 2, True)
    assert examine_all([frame, frame, frame[:-1]]) == ([examine(frame), examine(frame), examine(frame[:-1])], False)
    assert examine(frame) != examine(frame[:-1])
