"""What the receive parser of the NIC finds in a frame: packet type, checksum verdicts, where to split, what to hash.

In here: functions from the bytes of a frame to fields of an advanced receive descriptor's write-back. No rings, no
registers. Parsing trusts nothing: a frame may be cut, or lie about its lengths; then it has no such header.

Source: 82576 datasheet, chapter 7.1 (packet type, extended status and errors, header splitting, receive checksum offload).
RXCSUM and RFCTL are the PF's: IPOFLD, TUOFLD and CRCOFLD are set, as stock igb leaves them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from struct import Struct
from struct import error as StructError
from typing import NamedTuple, TypeAlias

from emulators.fabric.checksums import crc32c, residue, swap16
from emulators.nics.igb.words import mask
from regmodel.function import Buffer
from regmodel.rings.igb import RX_WRITEBACK

IPV4, IPV4_OPTIONS, IPV6, IPV6_EXTENDED, TCP, UDP, SCTP = (
    mask(RX_WRITEBACK, "pkt_info", name) for name in ("ipv4", "ipv4_ex", "ipv6", "ipv6_ex", "tcp", "udp", "sctp")
)
"""Packet type, in place in the first word of the write-back."""

Found: TypeAlias = tuple[int, int]
"""Packet type, checksum verdicts."""

UDPCS, L4CS, IPCS, L4E, IPE = (mask(RX_WRITEBACK, "status_error", name) for name in ("udpcs", "l4cs", "ipcs", "l4e", "ipe"))
"""Status: which checksums were looked at. Errors: which of them were wrong. In place in the second word."""

IP_TYPE, IPV6_TYPE, VLAN_TYPE = 0x0800, 0x86DD, 0x8100
_TCP, _UDP, _IN_IPV4, _SCTP = 6, 17, 41, 132
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options: 8 * (length + 1) bytes
_FRAGMENT = 44
_ETHER = 14

_TYPE = Struct(">H")
_PLAIN = Struct(">12xIHQQ6xH").unpack_from
"""Of a frame that may be plain: Ethernet type, IPv4 version, IHL and TOS; length; the rest up to the checksum; addresses; and
the UDP checksum. The IPv4 header checksum is right when these, its 16-bit words several at a time, are 0 modulo 0xFFFF."""
_PLAIN_FRONT = IP_TYPE << 8 | 0x45  # above the TOS
_PLAIN_MIDDLE = 0x3FFF << 32 | 0xFF << 16  # what is not 0 in a fragment; the protocol
_V4 = Struct(">BxHxxHxB")
_V6 = Struct(">B3xHB")


NOTHING_FOUND: Found = (0, 0)
_PLAIN_UDP = (IPV4 | UDP, IPCS | IPE), (IPV4 | UDP, IPCS)
"""By whether the IPv4 header checksum is right; there is no UDP checksum."""
_PLAIN_UDP_SUMMED, _PLAIN_TCP = (
    {(ip, l4): (IPV4 | kind, IPCS | looked | (not ip) * IPE | (not l4) * L4E) for ip in (False, True) for l4 in (False, True)}
    for kind, looked in ((UDP, L4CS | UDPCS), (TCP, L4CS))
)
"""By whether the checksums of IPv4 and of L4 are right."""


class Header(NamedTuple):
    """What is known of a frame: ``kind`` (packet type bits), where IP and L4 begin, where the IP packet ends, in bytes.

    ``l4`` is 0 when there is no L4 header to be found: no IP, a fragment, cut short. ``inner`` is the offset of an IPv6
    header within IPv4, else 0.
    """

    kind: int = 0
    ip: int = 0
    l4: int = 0
    end: int = 0
    protocol: int = 0
    inner: int = 0


NOTHING = Header()


def examine(frame: Buffer) -> Found:
    """Packet type and checksum verdicts of ``frame``, both in place for the write-back."""
    return examine_all((frame,))[0][0]


def examine_all(frames: Sequence[Buffer]) -> tuple[list[Found], bool]:
    """The same for each of a burst; and whether all of them are plain: UDP or TCP over IPv4 without tag, options, fragments.

    What is plain is looked at here, the rest is parsed step by step. UDP without checksums is often a run of frames that
    begin alike: they need no identification (RFC 6864, 4.1).
    """
    try:
        rows = list(map(_PLAIN, frames))
    except StructError:  # one is too short to be plain
        return [_examine(frame, parse(frame)) for frame in frames], False
    found: list[Found] = []
    plain = True
    same, same_end, same_found = None, 0, NOTHING_FOUND
    for frame, row in zip(frames, rows, strict=True):
        if row == same and len(frame) >= same_end:
            found.append(same_found)
            continue
        front, total, middle, addresses, checksum = row
        if front >> 8 == _PLAIN_FRONT and len(frame) >= total + 14:
            good = (front + total + middle + addresses) % 0xFFFF == IP_TYPE  # which is no part of the IP header
            protocol = middle & _PLAIN_MIDDLE
            if protocol == _UDP << 16 and total >= 28:
                if checksum:
                    found.append(_PLAIN_UDP_SUMMED[good, _l4_good(frame, total, _UDP)])
                else:
                    same, same_end, same_found = row, total + 14, _PLAIN_UDP[good]
                    found.append(same_found)
                continue
            if protocol == _TCP << 16 and total >= 40:
                found.append(_PLAIN_TCP[good, _l4_good(frame, total, _TCP)])
                continue
        found.append(_examine(frame, parse(frame)))
        plain = False
    return found, plain


def _l4_good(frame: Buffer, total: int, protocol: int) -> bool:
    """The L4 checksum of a plain frame with ``total`` octets of IPv4: segment and addresses lie side by side."""
    return (residue(frame[26 : total + 14]) + swap16(protocol + total - 20)) % 0xFFFF == 0


def _examine(frame: Buffer, header: Header) -> Found:
    """The same for all that is not plain TCP or UDP over IPv4."""
    kind, ip = header.kind, header.ip
    status = 0
    if kind & (IPV4 | IPV4_OPTIONS):
        size = 4 * (frame[ip] & 15)
        status = IPCS if residue(frame[ip : ip + size]) == 0 else IPCS | IPE
    if not header.l4:
        return kind, status
    segment = frame[header.l4 : header.end]
    if kind & SCTP:
        good = crc32c(bytes(segment[:8]) + bytes(4) + segment[12:]) == int.from_bytes(segment[8:12], "little")
        return kind, status | L4CS | (0 if good else L4E)
    if kind & UDP and segment[6] == 0 == segment[7]:
        return kind, status
    addresses = frame[ip + 12 : ip + 20] if kind & (IPV4 | IPV4_OPTIONS) else frame[ip + 8 : ip + 40]
    total = residue(addresses) + residue(segment) + swap16(header.protocol) + swap16(len(segment) & 0xFFFF)
    status |= L4CS | (UDPCS if kind & UDP else 0)
    return kind, status if total % 0xFFFF == 0 else status | L4E


def parse(frame: Buffer) -> Header:
    """Find the headers of ``frame``, behind one VLAN tag or none."""
    if len(frame) < _ETHER:
        return NOTHING
    at, (ethertype,) = _ETHER, _TYPE.unpack_from(frame, 12)
    if ethertype == VLAN_TYPE and len(frame) >= 18:
        at, (ethertype,) = 18, _TYPE.unpack_from(frame, 16)
    if ethertype == IP_TYPE:
        return _parse_v4(frame, at)
    if ethertype == IPV6_TYPE:
        return _parse_v6(frame, at)
    return NOTHING


def _parse_v4(frame: Buffer, at: int) -> Header:
    if len(frame) < at + 20:
        return NOTHING
    first, total, fragment, protocol = _V4.unpack_from(frame, at)
    size, end = 4 * (first & 15), at + total
    if first >> 4 != 4 or size < 20 or len(frame) < at + size:
        return NOTHING
    kind = IPV4 if size == 20 else IPV4_OPTIONS
    if fragment & 0x3FFF or end > len(frame) or total < size:
        return Header(kind, at, 0, min(end, len(frame)), protocol)
    if protocol == _IN_IPV4:
        within = _parse_v6(frame[:end], at + size)
        return Header(kind | within.kind, at, 0, end, protocol, within.ip)
    return _with_l4(frame, kind, at, at + size, end, protocol)


def _parse_v6(frame: Buffer, at: int) -> Header:
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return NOTHING
    _, length, protocol = _V6.unpack_from(frame, at)
    end, l4, extended = at + 40 + length, at + 40, False
    if end > len(frame):
        return Header(IPV6, at, 0, len(frame), protocol)
    while protocol in _EXTENSIONS and l4 + 8 <= end:
        protocol, l4, extended = frame[l4], l4 + 8 * (frame[l4 + 1] + 1), True
    kind = IPV6_EXTENDED if extended or protocol == _FRAGMENT else IPV6
    return _with_l4(frame, kind, at, l4, end, protocol)


def _with_l4(frame: Buffer, kind: int, ip: int, l4: int, end: int, protocol: int) -> Header:
    bit, size = {_TCP: (TCP, 20), _UDP: (UDP, 8), _SCTP: (SCTP, 12)}.get(protocol, (0, 0))
    if not bit or end - l4 < size:
        return Header(kind, ip, 0, end, protocol)
    return Header(kind | bit, ip, l4, end, protocol)


def split_at(frame: Buffer, types: Collection[str]) -> int:
    """How long the header is that is to be split off, 0 for none: ``types`` are the fields of PSRTYPE that are set.

    The longest header wins that the parser finds and PSRTYPE allows.
    """
    found = parse(frame)
    if not found.kind:
        return 0
    if found.inner:
        within = _parse_v6(frame[: found.end], found.inner)
        return _behind(frame, within, "ipv4_ipv6", types) or (found.inner if "ipv4" in types else 0)
    return _behind(frame, found, "ipv4" if found.kind & (IPV4 | IPV4_OPTIONS) else "ipv6", types)


def _behind(frame: Buffer, header: Header, ip: str, types: Collection[str]) -> int:
    if header.kind & TCP and f"{ip}_tcp" in types:
        size = 4 * (frame[header.l4 + 12] >> 4)
        if size >= 20 and header.l4 + size <= header.end:
            return header.l4 + size
    if header.kind & UDP and f"{ip}_udp" in types:
        return header.l4 + 8
    return _ip_end(frame, header) if ip in types else 0


def _ip_end(frame: Buffer, header: Header) -> int:
    """Where the IP header ends, options and extension headers included."""
    if header.kind & (IPV4 | IPV4_OPTIONS):
        return header.ip + 4 * (frame[header.ip] & 15)
    return header.l4 or header.ip + 40
