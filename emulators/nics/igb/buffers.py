"""How a received frame is laid into the buffers of descriptors: SRRCTL.DESCTYPE, header split and replication.

In here: from a frame to one ``Piece`` per descriptor. No memory of the guest and no ring: ``receive`` stores pieces.

Source: 82576 datasheet, chapter 7.1: the table of header split cases; HDR_LEN, SPH, HBO, PKT_LEN of the write-back.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import NamedTuple

from emulators.nics.igb.headers import split_at
from emulators.nics.igb.words import mask, place
from regmodel.function import Buffer
from regmodel.rings.igb import RX_WRITEBACK


class DescType(IntEnum):
    """SRRCTL.DESCTYPE; 6 and 7 are reserved."""

    LEGACY = 0
    ONE_BUFFER = 1
    SPLIT = 2
    REPLICATE = 3
    REPLICATE_LARGE = 4
    SPLIT_ALWAYS = 5


_HDR_LEN, _SPH = place(RX_WRITEBACK, "hdr_info", "hdr_len"), mask(RX_WRITEBACK, "hdr_info", "sph")
_HBO = mask(RX_WRITEBACK, "status_error", "hbo")


class Piece(NamedTuple):
    """What one descriptor takes: bytes for its header buffer and its packet buffer, bits of its two words."""

    header: Buffer
    data: Buffer
    low: int = 0
    status: int = 0


def lay_out(frame: Buffer, kind: int, size: int, header_size: int, types: Collection[str]) -> list[Piece]:
    """The pieces of ``frame``, one per descriptor, for DESCTYPE ``kind`` and buffers of ``size`` and ``header_size`` bytes.

    ``types`` are the names of the fields of PSRTYPE that are set. Here: reserved kinds work as ``ONE_BUFFER``.
    """
    header, data, low, status = _divide(frame, kind, header_size, types)
    pieces = [Piece(header, data[:size], low, status)]
    pieces += [Piece(b"", data[at : at + size]) for at in range(size, len(data), size)]
    return pieces


def _divide(frame: Buffer, kind: int, room: int, types: Collection[str]) -> tuple[Buffer, Buffer, int, int]:
    """What goes to the first header buffer of ``room`` bytes, what goes to packet buffers, and how that is reported."""
    if kind in (DescType.SPLIT_ALWAYS, DescType.REPLICATE_LARGE) and len(frame) <= room:
        return frame, b"", len(frame) << _HDR_LEN.shift, 0
    if kind not in (DescType.SPLIT, DescType.SPLIT_ALWAYS, DescType.REPLICATE, DescType.REPLICATE_LARGE):
        return b"", frame, 0, 0
    at = min(split_at(frame, types), _HDR_LEN.ones)
    fits = at <= room
    status = 0 if fits else _HBO
    low = at << _HDR_LEN.shift | _SPH if at else 0
    if kind == DescType.SPLIT:
        return (frame[:at], frame[at:], low, status) if fits else (b"", frame, low, status)
    taken = at if at and fits else room
    low = low or min(taken, len(frame)) << _HDR_LEN.shift
    rest = frame[taken:] if kind == DescType.SPLIT_ALWAYS else frame
    return frame[:taken], rest, low, status
