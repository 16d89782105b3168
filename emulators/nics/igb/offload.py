"""What the transmit path of the NIC does to the bytes of a packet: checksums, segmentation, the VLAN tag, padding.

In here: functions from bytes and the values of a context descriptor to bytes. No rings, no registers, no memory of
the guest. Ones' complement sums are taken as one big integer modulo 0xFFFF (2**16 is 1 there), which for the frames of
a LAN is faster than any loop and, below a kilobyte, than numpy.

Sources: 82576 datasheet, chapter 7.2 (segmentation, checksum offload); RFC 1071, RFC 9260 appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from struct import Struct

from regmodel.function import Buffer

SHORTEST = 60
"""Octets without FCS of the shortest frame on a wire."""

_LARGE = 1024  # bytes from which numpy is faster
_U16, _U32 = Struct(">H"), Struct(">I")
_VLAN_TYPE = b"\x81\x00"

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))
FIRST_FLAGS, MIDDLE_FLAGS, LAST_FLAGS = 0xFF6, 0xF76, 0xF7F
"""TCP flags that survive in the first, the middle and the last segment: the power-on values of DTXTCPFLGL and DTXTCPFLGH,
which stock igb leaves alone."""


class L4(IntEnum):
    """TUCMD.L4T of a context descriptor: what stands behind the IP header (82576 datasheet, context descriptor)."""

    UDP = 0
    TCP = 1
    SCTP = 2
    RESERVED = 3


CHECKSUM_AT = {L4.UDP: 6, L4.TCP: 16, L4.SCTP: 8}
"""Where the checksum stands in the L4 header, in bytes."""
HEADER = {L4.UDP: 8, L4.TCP: 20, L4.SCTP: 12}
"""Bytes of the shortest L4 header."""


class OffloadError(Exception):
    """A descriptor asks for what its packet cannot give. ``kind`` names the diagnosis."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Context:
    """The values of one advanced context descriptor. Lengths and ``mss`` in bytes; ``vlan`` is the whole TCI."""

    vlan: int = 0
    maclen: int = 0
    iplen: int = 0
    l4len: int = 0
    mss: int = 0
    ipv4: bool = False
    l4: L4 = L4.UDP

    @property
    def l4_at(self) -> int:
        """Offset of the L4 header."""
        return self.maclen + self.iplen


def residue(data: Buffer) -> int:
    """``data`` as little-endian 16-bit words (an odd last byte is padded), summed modulo 0xFFFF."""
    if len(data) < _LARGE:
        return int.from_bytes(data, "little") % 0xFFFF
    import numpy as np

    whole = len(data) & ~3
    words = np.frombuffer(data, "<u4", whole >> 2)
    return (int(np.add.reduce(words, dtype=np.uint64)) + int.from_bytes(data[whole:], "little")) % 0xFFFF


def swap16(value: int) -> int:
    """The two bytes of ``value`` exchanged."""
    return value >> 8 | (value & 0xFF) << 8


def fold(total: int) -> int:
    """The ones' complement sum, 1 to 0xFFFF, of 16-bit words whose plain sum is ``total``; 0 only for 0."""
    return (total - 1) % 0xFFFF + 1 if total else 0


def ones_sum(data: Buffer) -> int:
    """The ones' complement sum of big-endian 16-bit words (RFC 1071), not inverted; 0 only when all of ``data`` is 0."""
    return swap16(residue(data)) or (0xFFFF if any(data) else 0)


@cache
def _crc32c_table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


def crc32c(data: Buffer) -> int:
    """The CRC of SCTP (RFC 9260 appendix A)."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def insert_ip_checksum(frame: bytearray, context: Context) -> None:
    """POPTS.IXSM. The field is taken as 0 whatever it holds. Raises ``OffloadError``."""
    if not context.ipv4:
        return
    start, end = context.maclen, context.l4_at
    if context.iplen < 20 or end > len(frame):
        raise OffloadError("tx-ip-header-outside")
    frame[start + 10 : start + 12] = b"\0\0"
    _U16.pack_into(frame, start + 10, ones_sum(memoryview(frame)[start:end]) ^ 0xFFFF)


def insert_l4_checksum(frame: bytearray, context: Context) -> None:
    """POPTS.TXSM. TCP and UDP start from what their checksum field holds: the pseudo header's sum. Raises ``OffloadError``."""
    l4, start = context.l4, context.l4_at
    if l4 is L4.RESERVED:
        raise OffloadError("tx-l4-type-reserved")
    at = start + CHECKSUM_AT[l4]
    if start + HEADER[l4] > len(frame):
        raise OffloadError("tx-l4-header-outside")
    if l4 is L4.SCTP:
        frame[at : at + 4] = bytes(4)
        frame[at : at + 4] = crc32c(memoryview(frame)[start:]).to_bytes(4, "little")
        return
    checksum = ones_sum(memoryview(frame)[start:]) ^ 0xFFFF
    _U16.pack_into(frame, at, 0xFFFF if checksum == 0 and l4 is L4.UDP else checksum)


def legacy_checksum(frame: bytearray, start: int, at: int) -> None:
    """CMD.IC of a legacy descriptor: the sum from CSS to the end, stored at CSO (82576 datasheet, legacy descriptor)."""
    if start >= len(frame) or at + 2 > len(frame):
        return  # nowhere to take it from, or nowhere to put it
    _U16.pack_into(frame, at, ones_sum(memoryview(frame)[start:]) ^ 0xFFFF)


def segment(packet: Buffer, context: Context, insert_l4: bool = True) -> list[bytes]:
    """DCMD.TSE: cut ``packet`` (headers and payload) into frames of at most ``mss`` bytes of payload each.

    Every frame gets the headers with lengths, IPv4 identification and checksums, TCP sequence number and flags of its
    own. The L4 checksum field holds the sum of the pseudo header *without* the length. Raises ``OffloadError``.
    """
    l4, ip, l4_at = context.l4, context.maclen, context.l4_at
    end = l4_at + context.l4len
    if l4 not in (L4.TCP, L4.UDP) or context.mss == 0:
        raise OffloadError("tx-segmentation-undefined")
    if context.l4len < HEADER[l4] or context.iplen < (20 if context.ipv4 else 40) or end > len(packet):
        raise OffloadError("tx-segmentation-header-outside")
    header, payload = bytearray(packet[:end]), memoryview(packet)[end:]
    identification = _U16.unpack_from(header, ip + 4)[0]
    sequence = _U32.unpack_from(header, l4_at + 4)[0] if l4 is L4.TCP else 0
    seed = _U16.unpack_from(header, l4_at + CHECKSUM_AT[l4])[0]
    flags = _U16.unpack_from(header, l4_at + 12)[0] if l4 is L4.TCP else 0
    frames = []
    last = max(len(payload) - 1, 0) // context.mss
    for number in range(last + 1):
        piece = payload[number * context.mss : (number + 1) * context.mss]
        if context.ipv4:
            _U16.pack_into(header, ip + 2, (end - ip + len(piece)) & 0xFFFF)
            _U16.pack_into(header, ip + 4, (identification + number) & 0xFFFF)
            insert_ip_checksum(header, context)
        else:
            _U16.pack_into(header, ip + 4, (end - ip - 40 + len(piece)) & 0xFFFF)
        if l4 is L4.TCP:
            _U32.pack_into(header, l4_at + 4, (sequence + number * context.mss) & 0xFFFFFFFF)
            _U16.pack_into(header, l4_at + 12, flags & _surviving(number, last))
        else:
            _U16.pack_into(header, l4_at + 4, (context.l4len + len(piece)) & 0xFFFF)
        _U16.pack_into(header, l4_at + CHECKSUM_AT[l4], seed)
        if insert_l4:
            length = context.l4len + len(piece)
            total = ones_sum(memoryview(header)[l4_at:]) + swap16_sum(piece, context.l4len) + length
            checksum = fold(total) ^ 0xFFFF
            _U16.pack_into(header, l4_at + CHECKSUM_AT[l4], 0xFFFF if checksum == 0 and l4 is L4.UDP else checksum)
        frames.append(bytes(header) + piece)
    return frames


def swap16_sum(piece: Buffer, before: int) -> int:
    """The big-endian sum of ``piece`` that stands ``before`` bytes behind an even offset."""
    total = residue(piece)
    return total if before & 1 else swap16(total)


def _surviving(number: int, last: int) -> int:
    """The mask over data offset and flags of segment ``number``; a packet of one segment keeps its flags."""
    if last == 0:
        return 0xFFFF
    flags = FIRST_FLAGS if number == 0 else LAST_FLAGS if number == last else MIDDLE_FLAGS
    return 0xF000 | flags


def insert_tag(frame: Buffer, tci: int) -> bytes:
    """An 802.1Q tag (VET 0x8100) behind the addresses."""
    return b"".join((frame[:12], _VLAN_TYPE, _U16.pack(tci), frame[12:]))


def pad(frame: Buffer) -> Buffer:
    """TCTL.PSP: short frames are padded with zeros."""
    return frame if len(frame) >= SHORTEST else bytes(frame).ljust(SHORTEST, b"\0")
