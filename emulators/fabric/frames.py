"""What of an Ethernet frame the fabric looks at: addresses, the VLAN tag, lengths, the multicast hash of Intel's NICs.

In here: constants and pure functions on one frame or one address. Nothing in here keeps state.

A frame is everything from the destination address to the last payload byte. It has no FCS; the length limits of NICs
(RLPML and its kin) count the FCS, so they are compared with ``len(frame) + FCS``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

from regmodel.errors import UsageError
from regmodel.function import Buffer

HEADER = 14
"""Octets of destination address, source address and type (IEEE 802.3-2018, 3.1.1)."""

TAG = 4
"""Octets of an IEEE 802.1Q tag: the type 0x8100 and the TCI."""

FCS = 4
"""Octets of the frame check sequence, which no frame in here has."""

SHORTEST = 60
"""The shortest frame on a wire, without FCS (IEEE 802.3-2018, 3.2.8 and 4A.4.2 ``minFrameSize``)."""

STANDARD = 1518
"""The longest untagged frame without jumbo support, FCS included (IEEE 802.3, 3.2.7); a tag adds ``TAG``."""

BROADCAST_ADDRESS = b"\xff" * 6

VLAN_TYPE = b"\x81\x00"
"""The type of a customer VLAN tag (IEEE 802.1Q-2018, table 9-1)."""

AddressHash = Callable[[bytes], int]
"""From the six bytes of an address to its place in a hash filter."""


class Kind(NamedTuple):
    """What sort of destination a frame has, as counters add it up. Compare by identity with the three below."""

    multicast: int
    broadcast: int


UNICAST, MULTICAST, BROADCAST = Kind(0, 0), Kind(1, 0), Kind(0, 1)


def padded(frame: Buffer) -> Buffer:
    """Zeros up to ``SHORTEST``; what has no whole header is no frame and stays as it is."""
    return frame if len(frame) >= SHORTEST or len(frame) < HEADER else bytes(frame).ljust(SHORTEST, b"\0")


def kind_of(target: bytes) -> Kind:
    """By the I/G bit (IEEE 802-2014, 8.2.2); broadcast is not counted as multicast."""
    if target == BROADCAST_ADDRESS:
        return BROADCAST
    return MULTICAST if target[0] & 1 else UNICAST


def seeded_mac(seed: str, last: int) -> bytes:
    """A locally administered address, the same in each run: 02, three octets from ``seed``, 0 and ``last``."""
    return bytes((0x02, *zlib.crc32(seed.encode()).to_bytes(4, "big")[:3], 0, last))


def mac_bytes(text: str) -> bytes:
    """The six bytes of an address written as ``02:00:00:00:00:01`` (or with dashes)."""
    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", text):
        raise UsageError(f"'{text}' is not a MAC address: write six bytes in hex, as in 02:00:00:00:00:01")
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


def mac_text(address: bytes) -> str:
    return address.hex(":")


def vlan_tag(vid: int, priority: int = 0) -> bytes:
    """The four bytes of a customer VLAN tag; ``vid`` has 12 bits, ``priority`` (PCP) three."""
    if not (0 <= vid <= 4095 and 0 <= priority <= 7):
        raise UsageError(f"VLAN {vid} priority {priority}: a VLAN is 0 to 4095, a priority 0 to 7")
    return VLAN_TYPE + (priority << 13 | vid).to_bytes(2, "big")


def insert_tag(frame: Buffer, tag: bytes) -> bytes:
    """A copy of ``frame`` with ``tag`` after the source address."""
    return b"".join((frame[:12], tag, frame[12:]))


def intel_hash(mo: int = 0) -> AddressHash:
    """The 12-bit hash of MTA and UTA: bits 47:36 of the address, or 46:35, 45:34, 43:32 by multicast offset ``mo``.

    Bit 47 is the most significant bit of the last byte. Source: 82576 datasheet, RCTL.MO and MTA; Linux
    igb/e1000_mac.c ``igb_hash_mc_addr``, igbvf/vf.c ``e1000_hash_mc_addr_vf``.
    """
    shift = (4, 3, 2, 0)[mo]

    def place(address: bytes) -> int:
        return (address[5] << 8 | address[4]) >> shift & 0xFFF

    return place
