"""The frames that modes make and answer with, as scapy reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from drivers.pmd import frames

OWN, PEER = bytes.fromhex("020000000001"), bytes.fromhex("0200000000aa")
OWN_TEXT, PEER_TEXT = OWN.hex(":"), PEER.hex(":")


def good(packet: Ether) -> None:
    """Building it anew, checksums left out, gives the same bytes: all of them were right."""
    again = Ether(bytes(packet))
    for layer in (IP, UDP, ICMP):
        if layer in again and (layer is not UDP or again[UDP].chksum):
            del again[layer].chksum
    assert bytes(again) == bytes(packet)


@given(size=st.integers(60, 9000), flow=st.integers(0, 0xFFFF))
def test_udp_frames_are_right(size: int, flow: int) -> None:
    frame = Ether(frames.udp(PEER, OWN, size, flow))
    assert len(frame) == size and frame.dst == PEER_TEXT and frame.src == OWN_TEXT
    assert frame[UDP].dport == 9 and frame[UDP].len == size - 34
    good(frame)


def test_each_flow_has_an_address_of_its_own() -> None:
    table = frames.table(PEER, OWN, 64, 300)
    assert table.shape == (300, 64)
    assert len({Ether(row.tobytes())[IP].dst for row in table}) == 300


@given(payload=st.binary(max_size=1400), ident=st.integers(0, 0xFFFF), sequence=st.integers(0, 0xFFFF))
def test_an_echo_request_is_answered(payload: bytes, ident: int, sequence: int) -> None:
    request = Ether(dst=OWN_TEXT, src=PEER_TEXT) / IP(src="192.0.2.1", dst="192.0.2.9")
    request /= ICMP(type=8, id=ident, seq=sequence) / payload
    answer = frames.answer(bytes(request).ljust(60, b"\0"), OWN)
    assert answer is not None and len(answer) >= 60
    reply = Ether(answer)
    assert (reply.dst, reply.src) == (PEER_TEXT, OWN_TEXT)
    assert (reply[IP].src, reply[IP].dst) == ("192.0.2.9", "192.0.2.1")
    assert (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq) == (0, ident, sequence)
    assert bytes(reply[ICMP].payload)[: len(payload)] == payload
    good(reply)


def test_an_arp_request_is_answered_for_any_address() -> None:
    request = Ether(dst="ff:ff:ff:ff:ff:ff", src=PEER_TEXT) / ARP(op=1, hwsrc=PEER_TEXT, psrc="192.0.2.1", pdst="192.0.2.77")
    answer = frames.answer(bytes(request), OWN)
    assert answer is not None and len(answer) == 60
    reply = Ether(answer)
    assert (reply.dst, reply[ARP].op) == (PEER_TEXT, 2)
    assert (reply[ARP].hwsrc, reply[ARP].psrc) == (OWN_TEXT, "192.0.2.77")
    assert (reply[ARP].hwdst, reply[ARP].pdst) == (PEER_TEXT, "192.0.2.1")


ECHO = bytes(Ether(dst=OWN_TEXT, src=PEER_TEXT) / IP(src="192.0.2.1", dst="192.0.2.9") / ICMP(type=8) / (b"x" * 40))


@pytest.mark.parametrize(
    "frame",
    [
        Ether(dst=OWN_TEXT) / ARP(op=2),
        Ether(dst=OWN_TEXT) / IP(dst="192.0.2.9") / UDP(),
        Ether(dst=OWN_TEXT) / IP(dst="192.0.2.9") / ICMP(type=0),
        Ether(dst=OWN_TEXT) / IP(dst="192.0.2.9", flags="MF") / ICMP(type=8),
        Ether(dst=OWN_TEXT) / Dot1Q(vlan=3) / IP() / ICMP(type=8),
    ],
    ids=["arp reply", "udp", "echo reply", "fragment", "tagged"],
)
def test_what_is_no_request_gets_no_answer(frame: Ether) -> None:
    assert frames.answer(bytes(frame).ljust(60, b"\0"), OWN) is None


@given(cut=st.integers(0, len(ECHO) - 1))
def test_a_cut_request_gets_no_answer(cut: int) -> None:
    assert frames.answer(ECHO[:cut], OWN) is None


@given(data=st.binary(max_size=80))
def test_the_checksum_sums_up(data: bytes) -> None:
    """RFC 1071: data of even length followed by its checksum has the checksum 0."""
    data += b"\0" * (len(data) & 1)
    assert frames.checksum(data + frames.checksum(data).to_bytes(2, "big")) == 0
