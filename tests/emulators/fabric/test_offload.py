"""Partial frames: what they are when they are finished, with scapy as the judge, and who gets which from the switch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from emulators.fabric.checksums import ones_sum, residue, residues
from emulators.fabric.counters import Drop
from emulators.fabric.offload import SEGMENTS, Gso, Offload, Partial, Takes, find_headers, finish, sound, wire_size
from emulators.fabric.switch import Switch
from emulators.fabric.vlans import VlanSlot
from regmodel.function import Buffer

A, B, C = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
ETHER = Ether(src=A, dst=B)
LINKS = [ETHER, ETHER / Dot1Q(vlan=5, prio=3), ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=5)]
IPS = [
    IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE, tos=2),
    IP(src="10.0.0.1", dst="10.0.0.2", id=7, options=[IPOption_NOP()] * 8),
    IPv6(src="fd00::1", dst="fd00::2", tc=2),
    IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(),
]
OPTIONS = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
L4S = [TCP(sport=1, dport=2, seq=0xFFFFFF00, flags="FPACUE", urgptr=9, options=OPTIONS), TCP(flags="A"), UDP(sport=1, dport=2)]


def built(packet: Packet) -> Packet:
    """With all fields as they are on a wire."""
    return Ether(bytes(packet))


def l4_at(packet: Packet) -> int:
    l4 = packet[TCP] if TCP in packet else packet[UDP]
    return len(packet) - len(l4)


def partial(packet: Packet, size: int = 0, **changed: Any) -> Partial:
    """``packet`` as a stack hands it to a NIC that fills in checksums, and segments if there is a ``size``."""
    whole = built(packet)
    at, tcp, ipv4 = l4_at(whole), TCP in whole, IP in whole
    place = 16 if tcp else 6
    frame = bytearray(bytes(whole))
    addresses = bytes(whole[IP])[12:20] if ipv4 else bytes(whole[IPv6])[8:40]
    pseudo = addresses + bytes([0, 6 if tcp else 17]) + (len(frame) - at).to_bytes(4, "big")
    frame[at + place : at + place + 2] = ones_sum(pseudo).to_bytes(2, "big")
    gso = (Gso.TCPV4 if ipv4 else Gso.TCPV6) if tcp else Gso.UDP_L4
    offload = Offload(True, at, place, gso if size else Gso.NONE, False, size)
    return Partial(frame, offload._replace(**changed))


def expected(packet: Packet, size: int) -> list[bytes]:
    """The segments as scapy builds them: by fields, and with all sums its own."""
    whole = built(packet)
    payload = bytes(whole[Raw].load) if Raw in whole else b""
    pieces = [payload[at : at + size] for at in range(0, max(len(payload), 1), size)]
    frames = []
    for number, piece in enumerate(pieces):
        segment = whole.copy()
        for layer in segment.iterpayloads():
            for name in ("len", "plen", "chksum"):
                if name in layer.fields:
                    layer.delfieldval(name)  # and what scapy keeps of the octets
        if IP in segment:
            segment[IP].id = (whole[IP].id + number) & 0xFFFF
        if TCP in segment:
            segment[TCP].seq = (whole[TCP].seq + number * size) & 0xFFFFFFFF
            lost = ("" if number == 0 else "C") + ("" if number == len(pieces) - 1 else "FP")
            segment[TCP].flags = "".join(flag for flag in str(whole[TCP].flags) if flag not in lost)
        (segment[TCP] if TCP in segment else segment[UDP]).remove_payload()
        frames.append(bytes(segment / Raw(piece)))
    return frames


@given(st.binary(max_size=9000), st.integers(1, 2000))
def test_sums_of_pieces_are_those_of_each_piece(data: bytes, size: int) -> None:
    assert residues(data, size) == [residue(data[at : at + size]) for at in range(0, max(len(data), 1), size)]


@pytest.mark.parametrize("link", LINKS, ids=["untagged", "tagged", "two tags"])
@pytest.mark.parametrize("ip", IPS, ids=["v4", "v4 options", "v6", "v6 extensions"])
@pytest.mark.parametrize("l4", L4S, ids=["tcp options", "tcp", "udp"])
def test_checksums_and_segments_are_those_of_scapy(link: Packet, ip: Packet, l4: Packet) -> None:
    for length, size in ((0, 1448), (1447, 1448), (1449, 1448), (3 * 1448, 1448), (3001, 1000), (2221, 555), (3011, 602)):
        packet = link / ip / l4 / Raw(bytes(i * 31 & 0xFF for i in range(length)))
        assert finish(partial(packet)) == [bytes(built(packet))]
        frame = partial(packet, size)
        assert sound(frame)
        assert finish(frame) == expected(packet, size)
        assert wire_size(frame) == max(map(len, finish(frame)))


@given(
    link=st.sampled_from(LINKS),
    ip=st.sampled_from(IPS),
    flags=st.integers(0, 255),
    payload=st.binary(max_size=300),
    size=st.integers(1, 120),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    tcp=st.booleans(),
)
def test_any_packet(link: Packet, ip: Packet, flags: int, payload: bytes, size: int, ports: tuple[int, int], tcp: bool) -> None:
    names = {"sport": ports[0], "dport": ports[1]}
    packet = link / ip / (TCP(**names, seq=flags << 24, flags=flags) if tcp else UDP(**names)) / Raw(payload)
    assert finish(partial(packet, size)) == expected(packet, size)


def test_first_and_last_segments_have_the_flags_of_their_place() -> None:
    packet = ETHER / IPS[0] / TCP(flags="FPACE") / Raw(bytes(3000))
    flags = [str(Ether(frame)[TCP].flags) for frame in finish(partial(packet, 1000, ecn=True))]
    assert flags == ["AEC", "AE", "FPAE"]


def test_a_udp_checksum_of_zero_is_stored_as_ffff() -> None:
    head = ETHER / IPS[0] / UDP(sport=1, dport=2)
    rest = bytes(built(head / Raw(bytes(2))))[40:42]  # what is missing to a sum of 0xFFFF
    packet = head / Raw(rest)
    for frame in (*finish(partial(packet)), *finish(partial(packet, 2))):
        assert frame[40:] == b"\xff\xff" + rest


def test_what_is_only_verified_is_finished_already() -> None:
    raw = bytes(ETHER / IPS[0] / L4S[0])
    frame = Partial(raw, Offload(valid=True))
    assert finish(frame) == [raw]
    assert type(finish(frame)[0]) is bytes
    assert frame.offload.needs == Takes.CSUM


GOOD = ETHER / IPS[0] / L4S[0] / Raw(bytes(4000))
WRONG: list[tuple[str, Partial]] = [
    ("sum outside", partial(GOOD, csum_start=5000)),
    ("sum straddles the end", partial(GOOD, csum_start=4065, csum_offset=0)),
    ("sum in the addresses", partial(GOOD, csum_start=0)),
    ("segments of nothing", partial(GOOD, 1, gso_size=0)),
    ("too many segments", partial(ETHER / IPS[0] / L4S[0] / Raw(bytes(SEGMENTS * 2 + 1)), 2)),
    ("no checksum", partial(GOOD, 1000, needs_csum=False)),
    ("sum elsewhere", partial(GOOD, 1000, csum_start=38)),
    ("wrong IP version", partial(GOOD, 1000, gso=Gso.TCPV6)),
    ("wrong protocol", partial(GOOD, 1000, gso=Gso.UDP_L4)),
    ("IPv4 for IPv6", partial(ETHER / IPS[2] / L4S[0] / Raw(bytes(4000)), 1000, gso=Gso.TCPV4)),
    ("UFO", partial(ETHER / IPS[0] / L4S[2] / Raw(bytes(4000)), 1000, gso=Gso.UDP)),
    ("fragment", partial(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / L4S[0] / Raw(bytes(4000)), 1000)),
    ("short TCP header", partial(ETHER / IPS[0] / TCP(dataofs=4) / Raw(bytes(4000)), 1000)),
    ("TCP header outside", Partial(bytes(built(GOOD))[:60], Offload(True, 34, 16, Gso.TCPV4, False, 1000))),
    ("no IP header", Partial(bytes(built(GOOD))[:14], Offload(True, 34, 16, Gso.TCPV4, False, 1000))),
    ("endless tags", Partial(bytes(12) + b"\x81\x00\x00\x05" * 20, Offload(True, 34, 16, Gso.TCPV4, False, 1000))),
]  # fmt: skip


@pytest.mark.parametrize("frame", [frame for _, frame in WRONG], ids=[name for name, _ in WRONG])
def test_what_cannot_be_done_is_not_sound_and_comes_to_nothing(frame: Partial) -> None:
    assert not sound(frame)
    assert finish(frame) == []


offloads = st.builds(
    Offload, st.booleans(), st.integers(0, 200), st.integers(0, 40), st.sampled_from(Gso), st.booleans(), st.integers(0, 3000)
)


@given(offloads, st.sampled_from([partial(GOOD, 1000), partial(LINKS[2] / IPS[3] / L4S[2] / Raw(bytes(99)))]), st.data())
def test_no_lie_does_harm(offload: Offload, frame: Partial, data: st.DataObject) -> None:
    octets = bytearray(frame)
    for at in data.draw(st.lists(st.integers(12, 90), max_size=6)):
        octets[at] = data.draw(st.integers(0, 255))
    lie = Partial(octets[: data.draw(st.integers(0, 5000))], offload)
    frames = finish(lie)
    assert sound(lie) == bool(frames)
    if frames:
        assert max(map(len, frames)) <= max(wire_size(lie), len(lie) * (not offload.gso))
        headers = find_headers(lie)
        if offload.gso and headers is not None:
            assert b"".join(frame[headers.end :] for frame in frames) == lie[headers.end :]


# -- through the switch


class Taker:
    """An endpoint, or a back end, that keeps what it gets."""

    spec = "taker"

    def __init__(self, takes: Takes = Takes.NONE) -> None:
        self.takes, self.got = takes, list[Buffer]()

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        self.got += frames
        return len(frames)

    def send(self, frames: Sequence[Buffer]) -> int:
        return self.deliver(frames, loopback=False)

    def open(self, loop: object, wire: object) -> None: ...

    def close(self) -> None: ...

    def counters(self) -> dict[str, int]:
        return {}


def port(*takes: Takes, wire: Takes = Takes.NONE) -> tuple[Switch, list[Taker], Taker]:
    """A port whose pools take what is given, in order; pool 0 is where frames come in."""
    switch, backend = Switch("port0"), Taker(wire)
    switch.loopback = switch.replication = True
    takers = [Taker(t) for t in takes]
    for number, taker in enumerate(takers):
        pool = switch.add_pool(f"vf{number}")
        pool.endpoint, pool.takes = taker, taker.takes
        pool.transmit_enable = pool.receive_enable = pool.accept_broadcast = pool.accept_untagged = True
        pool.macs |= {bytes([2, 0, 0, 0, 0, number + 1])}
    switch.uplink.backend = backend
    return switch, takers, backend


BROADCAST = Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / IPS[0] / L4S[0] / Raw(bytes(range(256)) * 20)


def test_everybody_gets_what_he_takes() -> None:
    tso = Takes.CSUM | Takes.TSO4
    switch, (_, whole, summed, nothing), backend = port(Takes.NONE, tso, Takes.CSUM, Takes.NONE)
    frame, plain = partial(BROADCAST, 1448), bytes(built(BROADCAST))[:60]
    segments = expected(BROADCAST, 1448)
    switch.pools[0].transmit([plain, frame, memoryview(plain)])
    assert whole.got == [plain, frame, plain]
    assert whole.got[1] is frame
    for taker in (summed, nothing, backend):
        assert taker.got == [plain, *segments, plain]
        assert not any(isinstance(got, Partial) for got in taker.got)
    counts = switch.pools[0]
    assert (counts.tx.frames, counts.tx.octets) == (3, len(frame) + 120)
    assert counts.copies == 3 + 3 * (2 + len(segments))
    assert (switch.pools[1].rx.frames, switch.pools[1].rx.octets) == (3, len(frame) + 120)
    assert (switch.pools[3].rx.frames, switch.pools[3].rx.octets) == (2 + len(segments), sum(map(len, segments)) + 120)
    assert switch.uplink.tx.frames == 2 + len(segments)
    assert switch.pools[3].rx_loopback.frames == 2 + len(segments)


@pytest.mark.parametrize("needed", [Takes.CSUM, Takes.TSO4, Takes.ECN])
def test_each_kind_has_to_be_taken(needed: Takes) -> None:
    frame = partial(BROADCAST, 1448, ecn=True)
    for takes, passes in ((Takes.ALL, True), (Takes.ALL & ~needed, False)):
        switch, takers, _ = port(Takes.NONE, takes)
        switch.pools[0].transmit([frame])
        assert (takers[1].got == [frame]) is passes


@pytest.mark.parametrize(
    ("ip", "l4", "needed"),
    [(IPS[2], L4S[0], Takes.TSO6), (IPS[0], L4S[2], Takes.USO), (IPS[3], L4S[2], Takes.USO)],
    ids=["tcp", "udp v4", "udp v6"],
)
def test_each_kind_of_segments_is_asked_for(ip: Packet, l4: Packet, needed: Takes) -> None:
    assert partial(ETHER / ip / l4 / Raw(bytes(3000)), 1000).offload.needs == Takes.CSUM | needed


def test_length_limits_are_those_of_the_segments() -> None:
    switch, (_, whole, nothing), _ = port(Takes.NONE, Takes.ALL, Takes.NONE)
    fits = partial(BROADCAST, 1500 - 20 - 32)
    long = partial(BROADCAST, 1500 - 20 - 32 + 1)
    switch.pools[0].transmit([fits])
    assert [len(whole.got), len(nothing.got)] == [1, 4]
    switch.pools[0].transmit([long])
    assert [len(whole.got), len(nothing.got)] == [1, 5]  # the last segment is short enough
    assert switch.pools[1].lost[Drop.TOO_LONG] == 1
    assert switch.pools[2].lost[Drop.TOO_LONG] == 3


def test_a_lie_is_refused_and_the_rest_of_its_burst_is_not() -> None:
    switch, takers, _ = port(Takes.NONE, Takes.ALL)
    good, lie = partial(BROADCAST, 1448), partial(BROADCAST, 1448, csum_start=38)
    switch.pools[0].transmit([lie, good, lie])
    assert takers[1].got == [good]
    assert switch.pools[0].dropped() == {"offload": 2}


def test_a_port_vlan_shifts_what_is_left_to_be_done() -> None:
    switch, takers, backend = port(Takes.NONE, Takes.ALL)
    switch.pools[0].set_port_vlan(5)
    switch.pools[0].transmit([partial(BROADCAST, 1000)])
    tagged = Ether(src=A, dst=BROADCAST.dst) / Dot1Q(vlan=5) / BROADCAST[IP]
    assert backend.got == expected(tagged, 1000)
    assert isinstance(takers[1].got[0], Partial)
    assert takers[1].got[0].offload == partial(tagged, 1000).offload
    assert finish(takers[1].got[0]) == backend.got


def test_from_the_wire_segments_are_padded_and_partial_frames_are_not() -> None:
    switch, takers, _ = port(Takes.ALL, Takes.NONE)
    short = partial(Ether(src=C, dst="ff:ff:ff:ff:ff:ff") / IPS[0] / TCP(flags="A") / Raw(bytes(101)), 100)
    ack = partial(Ether(src=C, dst="ff:ff:ff:ff:ff:ff") / IPS[0] / TCP(flags="A"))
    switch.uplink.receive([short, ack])
    assert takers[0].got == [short, ack]
    assert [len(frame) for frame in takers[1].got] == [154, 60, 60]


def test_what_the_port_wants_is_what_all_its_receivers_take() -> None:
    switch, _, _ = port(Takes.ALL, Takes.CSUM | Takes.TSO4)
    assert switch.uplink.wanted == Takes.CSUM | Takes.TSO4
    switch.pools[1].takes = Takes.NONE
    assert switch.uplink.wanted == Takes.NONE
    switch.pools[1].receive_enable = False
    assert switch.uplink.wanted == Takes.ALL
    switch.reset()
    assert switch.uplink.wanted == Takes.NONE


settings = st.fixed_dictionaries({
    "takes": st.lists(st.sampled_from([Takes.NONE, Takes.CSUM, Takes.CSUM | Takes.TSO4, Takes.ALL]), min_size=3, max_size=3),
    "wire": st.sampled_from([Takes.NONE, Takes.ALL]),
    "limits": st.lists(st.sampled_from([None, 600, 9728]), min_size=3, max_size=3),
    "link": st.booleans(),
    "slots": st.sampled_from([0, 7]),
})  # fmt: skip
palette = [
    *(partial(Ether(src=A, dst=to) / ip / l4 / Raw(bytes(1600)), size)
      for to in (A, B, "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:99") for ip in IPS[::2] for l4 in L4S[1:] for size in (0, 500)),
    partial(GOOD, 1000, csum_start=38), bytes(60), bytes(13), b"\xff" * 12 + b"\x08\x00" + bytes(900),
    partial(LINKS[1] / IPS[0] / L4S[0] / Raw(bytes(2000)), 700),
]  # fmt: skip


def _counted(ports: list[Any]) -> None:
    for one in ports:
        assert 0 <= one.entered.frames - sum(one.refused.values()) <= one.copies
    lost = sum(one.lost[Drop.TOO_LONG] + one.lost[Drop.LINK_DOWN] for one in ports)
    assert sum(one.copies for one in ports) == sum(one.left.frames for one in ports) + lost


@given(settings, st.lists(st.sampled_from(palette), max_size=12), st.booleans())
def test_all_counters_add_up_and_all_get_the_same_octets(setup: dict[str, Any], frames: list[Buffer], outside: bool) -> None:
    switch, takers, backend = port(*setup["takes"], wire=setup["wire"])
    switch.link.set_admin(setup["link"])
    switch.vlans[1] = VlanSlot(5, setup["slots"], True)
    for pool, limit in zip(switch.pools, setup["limits"], strict=True):
        pool.max_frame = limit
    if outside:
        switch.uplink.receive(frames)
    else:
        switch.pools[0].transmit(frames)
    _counted([*switch.pools, switch.uplink])
    for place, taker in zip([*switch.pools, switch.uplink], [*takers, backend], strict=True):
        assert place.left.frames == len(taker.got)
        assert place.left.octets == sum(map(len, taker.got))
        for frame in taker.got:
            if isinstance(frame, Partial):
                assert not frame.offload.needs & ~taker.takes
