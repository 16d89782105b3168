"""Sums over octets that NICs compute: the ones' complement sum of the internet protocols, and SCTP's CRC.

In here: pure functions from octets to numbers. Where in a frame the octets stand is the caller's business.

Ones' complement sums are taken as one big integer modulo 0xFFFF (2**16 is 1 there), which for the frames of a LAN is faster
than any loop and, below a kilobyte, than numpy. Sources: RFC 1071, RFC 9260 appendix A.
"""

from __future__ import annotations

from functools import cache

from regmodel.function import Buffer

_LARGE = 1024  # octets from which numpy is faster


def residue(data: Buffer) -> int:
    """``data`` as little-endian 16-bit words (an odd last byte is padded), summed modulo 0xFFFF."""
    if len(data) < _LARGE:
        return int.from_bytes(data, "little") % 0xFFFF
    import numpy as np

    whole = len(data) & ~3
    words = np.frombuffer(data, "<u4", whole >> 2)
    return (int(np.add.reduce(words, dtype=np.uint64)) + int.from_bytes(data[whole:], "little")) % 0xFFFF


def residues(data: Buffer, size: int) -> list[int]:
    """``residue`` of each piece of ``size`` octets of ``data``; the last one may be shorter. At least one, of nothing."""
    whole = len(data) // size
    if whole < 2 or size & 3:
        return [residue(data[at : at + size]) for at in range(0, max(len(data), 1), size)]
    import numpy as np

    rows = np.frombuffer(data, "<u4", whole * size >> 2).reshape(whole, size >> 2)
    found: list[int] = (np.add.reduce(rows, axis=1, dtype=np.uint64) % 0xFFFF).tolist()
    return found if whole * size == len(data) else [*found, residue(data[whole * size :])]


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
