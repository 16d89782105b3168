"""What a port of the switch counts, and the reasons for which a frame is dropped.

In here: the counters and the rule by which they add up. Who counts when is in ``switch``; what a NIC's registers make
of it (widths, FCS octets, clear on read) is the model's.

A port is a pool or the uplink. A frame *enters* the switch at one port; there it is *refused* as a whole, or it is
switched, which makes one or more copies; each copy is *lost* on the way to its port, or *leaves* through it:

- per port: ``entered.frames`` = all of ``refused`` + frames switched, and frames switched <= ``copies``;
- over all ports: the sum of ``copies`` = the sum of ``left.frames`` + ``lost`` of the kinds ``ON_THE_WAY``.

A partial frame (``offload``) enters as the one frame that it is. To those who take it as it is it leaves as one, to all
others as the segments that it is cut into: ``copies`` and ``left`` count what really goes out, at each port.

What left was handed to an endpoint or a back end; the rest of ``lost`` says how much of that it could not take.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from emulators.fabric.frames import UNICAST, Kind


class Drop(Enum):
    """Why a frame was refused, or a copy of it lost."""

    # refused, at the port where it came in
    DISABLED = "disabled"  # the pool may not transmit, or none of those that would accept it may receive
    RUNT = "runt"  # too short to have a type, or a tag without its TCI
    MAC_SPOOF = "mac_spoof"  # the source address is none of the pool's
    VLAN_SPOOF = "vlan_spoof"  # the pool is no member of the VLAN
    VLAN = "vlan"  # those that would accept the address are no members of the VLAN
    FILTERED = "filtered"  # nobody accepts the address
    OFFLOAD = "offload"  # it asks for a checksum or for segments that its headers do not allow
    # lost, at the port where it should have gone out
    TOO_LONG = "too_long"  # longer than the pool receives
    LINK_DOWN = "link_down"  # the uplink has no link (refused, if it came in without one)
    NO_BUFFERS = "no_buffers"  # the endpoint had no descriptors for it, or the pool has no endpoint
    QUEUE_FULL = "queue_full"  # the back end took no more


ON_THE_WAY = (Drop.TOO_LONG, Drop.LINK_DOWN)
"""Kinds of loss that happen before a copy counts as having left."""


SPOOFS = (Drop.MAC_SPOOF, Drop.VLAN_SPOOF)


class Traffic:
    """Frames and their octets, without FCS. ``multicast`` does not include ``broadcast``. ``copies`` were made of them."""

    __slots__ = ("broadcast", "copies", "frames", "multicast", "octets")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.frames = self.octets = self.multicast = self.broadcast = self.copies = 0

    def count(self, frames: int, octets: int, kind: Kind) -> None:
        self.frames += frames
        self.octets += octets
        if kind is not UNICAST:
            self.multicast += frames * kind.multicast
            self.broadcast += frames * kind.broadcast

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("frames", "octets", "multicast", "broadcast")}


class PortCounters:
    """All that one port counts; see the module for how it adds up."""

    def __init__(self) -> None:
        self.entered = Traffic()
        self.refused: Counter[Drop] = Counter()
        self.left = Traffic()
        self.lost: Counter[Drop] = Counter()

    def clear_counters(self) -> None:
        self.entered.clear()
        self.left.clear()
        self.refused.clear()
        self.lost.clear()

    @property
    def copies(self) -> int:
        """Copies of the frames that entered, wherever they went."""
        return self.entered.copies

    def dropped(self) -> dict[str, int]:
        """Drops of both kinds by their reason; one that never happened is absent."""
        return {reason.value: count for reason, count in (self.refused + self.lost).items()}
