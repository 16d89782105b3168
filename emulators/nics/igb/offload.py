"""What the transmit path of the NIC does to the bytes of a packet: checksums, segmentation, the VLAN tag, padding.

In here: functions from bytes and the values of a context descriptor to bytes. No rings, no registers, no memory of
the guest. How sums are taken and packets are cut is the same for all NICs: ``emulators.fabric``.

Source: 82576 datasheet, chapter 7.2 (segmentation, checksum offload).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from emulators.fabric import segmentation
from emulators.fabric.checksums import crc32c, ones_sum
from emulators.fabric.segmentation import Headers
from regmodel.function import Buffer

SHORTEST = 60
"""Octets without FCS of the shortest frame on a wire."""

_U16 = Struct(">H")
_VLAN_TYPE = b"\x81\x00"


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

    The L4 checksum field holds the sum of the pseudo header *without* the length. Raises ``OffloadError``.
    """
    l4, end = context.l4, context.l4_at + context.l4len
    if l4 not in (L4.TCP, L4.UDP) or context.mss == 0:
        raise OffloadError("tx-segmentation-undefined")
    if context.l4len < HEADER[l4] or context.iplen < (20 if context.ipv4 else 40) or end > len(packet):
        raise OffloadError("tx-segmentation-header-outside")
    headers = Headers(context.maclen, context.l4_at, end, context.ipv4, l4 is L4.TCP)
    return segmentation.segment(packet, headers, context.mss, insert=insert_l4)


def insert_tag(frame: Buffer, tci: int) -> bytes:
    """An 802.1Q tag (VET 0x8100) behind the addresses."""
    return b"".join((frame[:12], _VLAN_TYPE, _U16.pack(tci), frame[12:]))


def pad(frame: Buffer) -> Buffer:
    """TCTL.PSP: short frames are padded with zeros."""
    return frame if len(frame) >= SHORTEST else bytes(frame).ljust(SHORTEST, b"\0")
