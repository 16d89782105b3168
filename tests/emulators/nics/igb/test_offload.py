"""The transmit offloads against scapy, which others wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw
from scapy.utils import checksum

from emulators.fabric.checksums import crc32c, ones_sum
from emulators.nics.igb.offload import (
    L4,
    Context,
    OffloadError,
    insert_ip_checksum,
    insert_l4_checksum,
    insert_tag,
    legacy_checksum,
    pad,
    segment,
)

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4, V6 = IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE), IPv6(src="fd00::1", dst="fd00::2")


def pseudo_sum(packet: Packet, length: int) -> int:
    """What a driver seeds the L4 checksum with: the ones' complement sum of the pseudo header."""
    ip = packet[IP] if IP in packet else packet[IPv6]
    data = bytes(ip)[12:20] if IP in packet else bytes(ip)[8:40]
    protocol = ip.proto if IP in packet else ip.nh
    return ones_sum(data + protocol.to_bytes(2, "big") + length.to_bytes(4, "big"))


def context_of(packet: Packet, mss: int = 0) -> Context:
    ipv4 = IP in packet
    l4 = L4.TCP if TCP in packet else L4.SCTP if SCTP in packet else L4.UDP
    l4len = {L4.TCP: 4 * (packet[TCP].dataofs or 5) if TCP in packet else 0, L4.UDP: 8, L4.SCTP: 12}[l4]
    maclen = 18 if Dot1Q in packet else 14
    return Context(maclen=maclen, iplen=20 if ipv4 else 40, l4len=l4len, mss=mss, ipv4=ipv4, l4=l4)


def seeded(packet: Packet, length: int) -> bytearray:
    """The packet as a driver hands it over: IPv4 checksum anything, L4 checksum the seed."""
    finished = Ether(bytes(packet))
    seed = pseudo_sum(finished, length)
    context = context_of(finished)
    frame = bytearray(bytes(finished))
    if context.ipv4:
        frame[context.maclen + 10 : context.maclen + 12] = b"\xde\xad"
    if context.l4 is not L4.SCTP:
        at = context.l4_at + (16 if context.l4 is L4.TCP else 6)
        frame[at : at + 2] = seed.to_bytes(2, "big")
    return frame


@given(st.binary(max_size=3000))
def test_ones_sum_agrees_with_scapy(data: bytes) -> None:
    expected = checksum(data) ^ 0xFFFF
    assert ones_sum(data) == expected or {ones_sum(data), expected} == {0, 0xFFFF}
    assert (ones_sum(data) == 0) == (not any(data))


def test_crc32c_of_the_standard_check_string() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("l4", [TCP(sport=1, dport=2), UDP(sport=1, dport=2)], ids=["tcp", "udp"])
@pytest.mark.parametrize("size", [0, 1, 7, 100, 1459, 8900])
def test_checksums_are_those_of_scapy(ip: Packet, l4: Packet, size: int) -> None:
    packet = ETHER / ip / l4 / Raw(bytes(i * 7 & 0xFF for i in range(size)))
    frame = seeded(packet, len(l4) + size)
    context = context_of(packet)
    insert_ip_checksum(frame, context)
    insert_l4_checksum(frame, context)
    assert bytes(frame) == bytes(packet)


def test_checksum_behind_a_tag_that_software_put_in() -> None:
    packet = ETHER / Dot1Q(vlan=5) / V4 / UDP(sport=1, dport=2) / Raw(b"abc")
    frame = seeded(packet, 11)
    insert_ip_checksum(frame, context_of(packet))
    insert_l4_checksum(frame, context_of(packet))
    assert bytes(frame) == bytes(packet)


def test_a_udp_checksum_of_zero_is_sent_as_ffff() -> None:
    for low in range(0x10000):
        payload = low.to_bytes(2, "big")
        frame = bytearray(bytes(14 + 20 + 6)) + (0).to_bytes(2, "big") + payload
        frame[38:40] = (10).to_bytes(2, "big")
        if ones_sum(frame[34:]) == 0xFFFF:
            insert_l4_checksum(frame, Context(maclen=14, iplen=20, ipv4=True, l4=L4.UDP))
            assert frame[40:42] == b"\xff\xff"
            return
    raise AssertionError("no payload sums to FFFF")


def test_sctp_crc_is_that_of_scapy() -> None:
    packet = ETHER / V4 / SCTP(sport=1, dport=2) / SCTPChunkData(data=b"x" * 33)
    frame = bytearray(bytes(packet))
    frame[42:46] = b"\x01\x02\x03\x04"
    insert_l4_checksum(frame, context_of(packet))
    assert bytes(frame) == bytes(packet)


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("size", [1, 1000, 1448, 1449, 5 * 1448, 20_001])
def test_tcp_segments_are_what_scapy_would_have_built(ip: Packet, size: int) -> None:
    tcp = TCP(sport=1, dport=2, seq=0xFFFFFF00, flags="FPACU", options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)])
    payload = bytes(i * 31 & 0xFF for i in range(size))
    packet = Ether(bytes(ETHER / ip / tcp / Raw(payload)))
    context = context_of(packet, mss=1448)
    frames = segment(seeded(packet, 0), context)
    pieces = [payload[i : i + 1448] for i in range(0, size, 1448)]
    assert len(frames) == len(pieces)
    for number, (frame, piece) in enumerate(zip(frames, pieces, strict=True)):
        expected_ip = ip.copy()
        if context.ipv4:
            expected_ip.id = (0xFFFE + number) & 0xFFFF
        segment_tcp = tcp.copy()
        segment_tcp.seq = (0xFFFFFF00 + 1448 * number) & 0xFFFFFFFF
        if len(pieces) > 1:
            segment_tcp.flags = "ACU" if number == 0 else "FPAU" if number == len(pieces) - 1 else "AU"
        assert frame == bytes(ETHER / expected_ip / segment_tcp / Raw(piece))


@pytest.mark.parametrize("ip", [V4, V6], ids=["ipv4", "ipv6"])
def test_udp_segments_are_datagrams_of_their_own(ip: Packet) -> None:
    payload = bytes(i & 0xFF for i in range(3001))
    packet = Ether(bytes(ETHER / ip / UDP(sport=5, dport=6) / Raw(payload)))
    for number, frame in enumerate(segment(seeded(packet, 0), context_of(packet, mss=1000))):
        expected_ip = ip.copy()
        if IP in packet:
            expected_ip.id = (0xFFFE + number) & 0xFFFF
        assert frame == bytes(ETHER / expected_ip / UDP(sport=5, dport=6) / Raw(payload[1000 * number : 1000 * number + 1000]))


def test_a_single_segment_keeps_its_flags() -> None:
    packet = Ether(bytes(ETHER / V4 / TCP(flags="FPA") / Raw(b"x")))
    (frame,) = segment(seeded(packet, 0), context_of(packet, mss=100))
    assert Ether(frame)[TCP].flags == "FPA"


def test_segmentation_of_headers_alone_sends_them_once() -> None:
    packet = Ether(bytes(ETHER / V4 / TCP()))
    assert len(segment(seeded(packet, 0), context_of(packet, mss=100))) == 1


@pytest.mark.parametrize(
    ("context", "kind"),
    [
        (Context(maclen=14, iplen=20, l4len=20, mss=0, ipv4=True, l4=L4.TCP), "tx-segmentation-undefined"),
        (Context(maclen=14, iplen=20, l4len=20, mss=9, ipv4=True, l4=L4.SCTP), "tx-segmentation-undefined"),
        (Context(maclen=14, iplen=20, l4len=16, mss=9, ipv4=True, l4=L4.TCP), "tx-segmentation-header-outside"),
        (Context(maclen=14, iplen=20, l4len=20, mss=9, ipv4=False, l4=L4.TCP), "tx-segmentation-header-outside"),
        (Context(maclen=127, iplen=511, l4len=255, mss=9, ipv4=True, l4=L4.TCP), "tx-segmentation-header-outside"),
    ],
)
def test_impossible_segmentation_is_named(context: Context, kind: str) -> None:
    with pytest.raises(OffloadError) as caught:
        segment(bytes(100), context)
    assert caught.value.kind == kind


@given(
    st.binary(max_size=200),
    st.builds(
        Context,
        maclen=st.integers(0, 127),
        iplen=st.integers(0, 511),
        l4len=st.integers(0, 255),
        mss=st.integers(0, 0xFFFF),
        ipv4=st.booleans(),
        l4=st.sampled_from(L4),
    ),
)
def test_no_context_makes_an_offload_write_outside_of_the_packet(data: bytes, context: Context) -> None:
    for offload in (insert_ip_checksum, insert_l4_checksum):
        frame = bytearray(data)
        try:
            offload(frame, context)
        except OffloadError:
            assert bytes(frame) == data
        assert len(frame) == len(data)


@given(st.binary(max_size=100), st.integers(0, 255), st.integers(0, 255))
def test_legacy_checksum_stays_inside(data: bytes, start: int, at: int) -> None:
    frame = bytearray(data)
    legacy_checksum(frame, start, at)
    assert len(frame) == len(data)


def test_tag_and_padding() -> None:
    packet = ETHER / UDP()
    frame = bytes(packet)
    tagged = insert_tag(memoryview(frame), 0x6005)
    assert Ether(tagged)[Dot1Q].vlan == 5 and Ether(tagged)[Dot1Q].prio == 3
    assert tagged[:12] + tagged[16:] == frame
    assert pad(frame) == frame.ljust(60, b"\0") and pad(bytes(60)) == bytes(60)
