"""A slow and obvious switch, to judge the fast one: every frame is decided anew, pool by pool, nothing is remembered.

It shares no code with ``emulators.fabric`` beyond reading its settings, and is written from the receiver's side: each pool
is asked whether it wants the frame, where the real one narrows down a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch


def place(address: bytes) -> int:
    """The 12 most significant bits of the address, the last byte being the most significant."""
    return int.from_bytes(address, "little") >> 36


def vlan_of(frame: bytes) -> int | None:
    return (frame[14] << 8 | frame[15]) % 4096 if frame[12:14].hex() == "8100" else None


@dataclass
class Fate:
    """What has to happen to one frame: copies by pool index, a copy for the wire, or a reason."""

    pools: dict[int, bytes] = field(default_factory=dict)
    wire: bytes | None = None
    refused: str | None = None
    too_long: set[int] = field(default_factory=set)


def wants(switch: Switch, pool: Pool, target: bytes, exact_anywhere: bool) -> bool:
    """By address only."""
    several = switch.replication
    if target == b"\xff\xff\xff\xff\xff\xff":
        return several and pool.accept_broadcast
    if target in pool.macs:
        return True
    if target[0] % 2 == 1:
        hit = place(target) in switch.multicast_hashes and not exact_anywhere
        return several and ((hit and pool.multicast_hash) or pool.multicast_promiscuous)
    hit = place(target) in switch.unicast_hashes and not exact_anywhere
    return (hit and pool.unicast_hash) or pool.unicast_promiscuous


def in_vlan(switch: Switch, pool: Pool, vid: int | None) -> bool:
    if vid is None:
        return pool.accept_untagged
    return member(switch, pool, vid)


def member(switch: Switch, pool: Pool, vid: int) -> bool:
    slots = [switch.vlans[index] for index in range(len(switch.vlans))]
    return any(slot.enabled and slot.vid == vid and slot.pools & (1 << pool.index) for slot in slots)


def fate(switch: Switch, source: Pool | None, frame: bytes) -> Fate:
    """Decide one frame from ``source``, or from the wire (None)."""
    if len(frame) < 14 or (vlan_of(frame + bytes(2)) is not None and len(frame) < 16):
        return Fate(refused="runt")
    if source is None and not switch.link.up:
        return Fate(refused="link_down")
    if source is not None:
        if not source.transmit_enable:
            return Fate(refused="disabled")
        if source.port_vlan:
            frame = frame[:12] + source.port_vlan + frame[12:]
        if source.mac_anti_spoof and frame[6:12] not in source.macs:
            return Fate(refused="mac_spoof")
        vid = vlan_of(frame)
        if source.vlan_anti_spoof and vid is not None and not member(switch, source, vid):
            return Fate(refused="vlan_spoof")
    target, vid = frame[:6], vlan_of(frame)
    exact_anywhere = any(target in pool.macs for pool in switch.pools)
    let_in = not switch.vlan_filter or vid is None or switch.vlan_ids is None or vid in switch.vlan_ids

    local = source is None or switch.loopback
    wanting = [p for p in switch.pools if local and (p is not source or p.local_loopback)]
    wanting = [p for p in wanting if wants(switch, p, target, exact_anywhere)]
    chosen = [p for p in wanting if let_in and (not switch.vlan_filter or in_vlan(switch, p, vid))]
    group = target[0] % 2 == 1
    if source is None and let_in and not chosen and switch.default_pool and (not group or not switch.replication):
        chosen = [switch.default_pool]

    result = Fate()
    for pool in chosen:
        if pool.receive_enable:
            own = pool.max_frame if pool.max_frame is not None else 1518 if vid is None else 1522
            if len(frame) + 4 > own or len(frame) + 4 > switch.max_frame:
                result.too_long.add(pool.index)
            else:
                result.pools[pool.index] = frame
    if source is not None and not (switch.loopback and let_in and not group and exact_anywhere):
        result.wire = frame
    if not result.pools and not result.too_long and result.wire is None:
        if not let_in and local:
            result.refused = "vlan"
        elif chosen:
            result.refused = "disabled"
        else:
            result.refused = "vlan" if wanting else "filtered"
    return result
