"""Where a frame goes: the order in which a port's filters decide, once per combination of addresses and VLAN.

In here: one pure function of the switch's settings and a frame's first bytes, and its result. ``switch`` calls it when
its cache does not know the answer; it never looks past the tag.

The order is that of the 82576 datasheet, sections 7.10.3.3 to 7.10.3.6 (replication on and off, transmit switching), as
QEMU hw/net/igb_core.c ``igb_receive_assign`` and ``igb_tx_pkt_switch`` also have it. Beyond QEMU, which lacks them: the
unicast hash by ROPE, multicast promiscuous, replication off, local loopback enable and the anti-spoof checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulators.fabric.counters import Drop
from emulators.fabric.frames import BROADCAST, HEADER, UNICAST, VLAN_TYPE, Kind, kind_of

if TYPE_CHECKING:
    from emulators.fabric.pool import Pool
    from emulators.fabric.switch import Switch

KEY = HEADER
"""The leading octets that decide for an untagged frame."""

TAGGED_KEY = HEADER + 2
"""The same with the TCI of a tagged one."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What happens to a frame. ``Switch`` keeps one object per content, so that frames are grouped by identity."""

    pools: tuple[Pool, ...] = ()
    uplink: bool = False
    insert: bytes | None = None  # the tag to put in first
    limit: int = 0  # no pool finds a frame of up to this length too long, the inserted tag included
    tagged: bool = False  # at the destination
    kind: Kind = UNICAST
    refused: Drop | None = None  # with a reason there is no destination


def resolve(switch: Switch, source: Pool | None, head: bytes) -> Verdict:
    """The verdict on a frame that starts with ``head``, from pool ``source`` or from the wire (None)."""
    if len(head) < KEY or (head[12:14] == VLAN_TYPE and len(head) < TAGGED_KEY):
        return Verdict(refused=Drop.RUNT)
    target = head[:6]
    kind = kind_of(target)
    vid = int.from_bytes(head[14:16], "big") & 0xFFF if head[12:14] == VLAN_TYPE else None
    insert = None
    if source is None:
        if not switch.link.up:
            return Verdict(kind=kind, refused=Drop.LINK_DOWN)
    else:
        if not source.transmit_enable:
            return Verdict(kind=kind, refused=Drop.DISABLED)
        insert = source.port_vlan
        if insert is not None:
            vid = int.from_bytes(insert[2:4], "big") & 0xFFF
        spoof = _spoof(switch, source, head[6:12], vid)
        if spoof is not None:
            return Verdict(kind=kind, refused=spoof)

    pools, refused = _pools(switch, source, target, kind, vid)
    uplink = source is not None and not _stays(switch, target, kind, vid)
    if not pools and not uplink:
        return Verdict(kind=kind, refused=refused)
    tagged = vid is not None
    limit = min((pool.longest(tagged) for pool in pools), default=0)
    return Verdict(pools, uplink, insert, limit, tagged, kind)


def _spoof(switch: Switch, source: Pool, address: bytes, vid: int | None) -> Drop | None:
    """The transmit checks. An untagged frame has no VLAN to lie about."""
    if source.mac_anti_spoof and address not in source.macs:
        return Drop.MAC_SPOOF
    if source.vlan_anti_spoof and vid is not None and not switch.vlans.members(vid) >> source.index & 1:
        return Drop.VLAN_SPOOF
    return None


def _admitted(switch: Switch, vid: int | None) -> bool:
    """The port's own VLAN filter, before any pool's [RCTL.VFE, VFTA]."""
    return not switch.vlan_filter or vid is None or switch.vlan_ids is None or vid in switch.vlan_ids


def _stays(switch: Switch, target: bytes, kind: Kind, vid: int | None) -> bool:
    """A transmitted unicast frame does not go to the wire when an exact filter of any pool has its address.

    Not even if that pool is not in its VLAN, may not receive, or is the sender: the exact match alone decides.
    """
    return switch.loopback and kind is UNICAST and _admitted(switch, vid) and any(target in p.macs for p in switch.pools)


def _pools(switch: Switch, source: Pool | None, target: bytes, kind: Kind, vid: int | None) -> tuple[tuple[Pool, ...], Drop]:
    """The pools that receive the frame, and the reason in case there are none."""
    if source is not None and not switch.loopback:
        return (), Drop.FILTERED
    if not _admitted(switch, vid):
        return (), Drop.VLAN
    pools = _by_address(switch, target, kind)
    if source is not None and not source.local_loopback:
        pools = [pool for pool in pools if pool is not source]
    refused = Drop.VLAN if pools else Drop.FILTERED

    if switch.vlan_filter:
        if vid is None:
            pools = [pool for pool in pools if pool.accept_untagged]
        else:
            members = switch.vlans.members(vid)
            pools = [pool for pool in pools if members >> pool.index & 1]
    if not pools and source is None and switch.default_pool is not None and (kind is UNICAST or not switch.replication):
        pools = [switch.default_pool]
    if pools:
        refused = Drop.DISABLED
    return tuple(pool for pool in pools if pool.receive_enable), refused


def _by_address(switch: Switch, target: bytes, kind: Kind) -> list[Pool]:
    """The candidates by destination address alone: exact filters, broadcast, hash filters, promiscuous."""
    if kind is BROADCAST:
        return [pool for pool in switch.pools if pool.accept_broadcast and switch.replication]
    pools = [pool for pool in switch.pools if target in pool.macs]
    hashes = switch.unicast_hashes if kind is UNICAST else switch.multicast_hashes
    if not pools and hashes and switch.address_hash(target) in hashes:
        if kind is UNICAST:
            pools = [pool for pool in switch.pools if pool.unicast_hash]
        elif switch.replication:
            pools = [pool for pool in switch.pools if pool.multicast_hash]
    if kind is UNICAST:
        promiscuous = [pool for pool in switch.pools if pool.unicast_promiscuous and pool not in pools]
    else:
        promiscuous = [pool for pool in switch.pools if pool.multicast_promiscuous and switch.replication and pool not in pools]
    return sorted(pools + promiscuous, key=lambda pool: pool.index)
