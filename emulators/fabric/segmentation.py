"""A large TCP or UDP packet cut into frames, each with headers of its own.

In here: one function from octets to octets, for NICs that segment by descriptor and for the switch that finishes frames
which somebody left unfinished. Where the headers stand, the caller knows. Sources: 82576 datasheet, 7.2.4 (TCP/UDP
segmentation); Linux net/ipv4/tcp_offload.c ``tcp_gso_segment``, udp_offload.c ``__udp_gso_segment``, af_inet.c
``inet_gso_segment``, which agree.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from emulators.fabric.checksums import fold, ones_sum, residues, swap16
from regmodel.function import Buffer

_U16, _U32 = Struct(">H"), Struct(">I")

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))
FIRST_FLAGS, MIDDLE_FLAGS, LAST_FLAGS = 0xFFF & ~(FIN | PSH), 0xFFF & ~(FIN | PSH | CWR), 0xFFF & ~CWR
"""TCP flags that survive in the first, the middle and the last segment: the power-on values of the 82576's DTXTCPFLGL and
DTXTCPFLGH, which stock igb leaves alone."""

TCP_CHECKSUM, UDP_CHECKSUM = 16, 6
"""Where the checksum stands in the header, in octets."""


class Headers(NamedTuple):
    """Where the IP header, the TCP or UDP header and the payload begin, in octets; and which ones they are."""

    ip: int
    l4: int
    end: int
    ipv4: bool
    tcp: bool


def segment(packet: Buffer, headers: Headers, size: int, *, seed: int | None = None, insert: bool = True) -> list[bytes]:
    """Frames of at most ``size`` octets of payload each; one, when that holds all of it.

    Every frame gets the headers with lengths, IPv4 identification and header checksum, TCP sequence number and flags of
    its own. ``seed``: the sum of the pseudo header *without* the length; by default the TCP or UDP checksum field holds
    it. ``insert``: fill in that checksum; else the field is left as it is.
    """
    ip, l4, end, ipv4, tcp = headers
    header, payload = bytearray(packet[:end]), memoryview(packet)[end:]
    at = l4 + (TCP_CHECKSUM if tcp else UDP_CHECKSUM)
    field = _U16.unpack_from(header, at)[0]
    identification = _U16.unpack_from(header, ip + 4)[0]
    sequence, flags = (_U32.unpack_from(header, l4 + 4)[0], _U16.unpack_from(header, l4 + 12)[0]) if tcp else (0, 0)
    _blank(header, headers)
    before_payload = end - l4
    ip_sum = ones_sum(header[ip:l4]) if ipv4 else 0
    l4_sum = ones_sum(header[l4:]) + (field if seed is None else seed)
    sums = residues(payload, size) if insert else [0] * (max(len(payload) - 1, 0) // size + 1)
    frames, last = [], len(sums) - 1
    for number, total in enumerate(sums):
        piece = payload[number * size : (number + 1) * size]
        length = before_payload + len(piece)
        if ipv4:
            ip_length, marked = l4 - ip + length & 0xFFFF, identification + number & 0xFFFF
            _U16.pack_into(header, ip + 2, ip_length)
            _U16.pack_into(header, ip + 4, marked)
            _U16.pack_into(header, ip + 10, fold(ip_sum + ip_length + marked) ^ 0xFFFF)
        else:
            _U16.pack_into(header, ip + 4, l4 - ip - 40 + length & 0xFFFF)
        total = (total if before_payload & 1 else swap16(total)) + l4_sum + length
        if tcp:
            place, kept = sequence + number * size & 0xFFFFFFFF, flags & _surviving(number, last)
            _U32.pack_into(header, l4 + 4, place)
            _U16.pack_into(header, l4 + 12, kept)
            total += (place >> 16) + (place & 0xFFFF) + kept
        else:
            _U16.pack_into(header, l4 + 4, length & 0xFFFF)
            total += length & 0xFFFF
        checksum = fold(total) ^ 0xFFFF
        _U16.pack_into(header, at, (checksum if tcp else checksum or 0xFFFF) if insert else field)
        frames.append(b"".join((header, piece)))
    return frames


def _blank(header: bytearray, headers: Headers) -> None:
    """Zeros where each segment gets a value of its own."""
    ip, l4, _, ipv4, tcp = headers
    if ipv4:
        header[ip + 2 : ip + 6] = bytes(4)
        header[ip + 10 : ip + 12] = bytes(2)
    if tcp:
        header[l4 + 4 : l4 + 8] = bytes(4)
        header[l4 + 12 : l4 + 14] = bytes(2)
        header[l4 + TCP_CHECKSUM : l4 + TCP_CHECKSUM + 2] = bytes(2)
    else:
        header[l4 + 4 : l4 + 8] = bytes(4)  # length and checksum


def _surviving(number: int, last: int) -> int:
    """The mask over data offset and flags of segment ``number``; a packet of one segment keeps its flags."""
    if last == 0:
        return 0xFFFF
    flags = FIRST_FLAGS if number == 0 else LAST_FLAGS if number == last else MIDDLE_FLAGS
    return 0xF000 | flags
