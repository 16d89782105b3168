"""Which received frames the driver wants: receive modes, MAC table, VLANs, as commands of the control queue set them.

In here: the settings, and how they are said to the switch's pool. A device starts promiscuous and goes on so until its driver
says otherwise, since a driver without CTRL_RX cannot. Filtering may be imperfect: a table that overflows lets all pass.

Sources: VIRTIO 1.3, 5.1.6.5.1 to 5.1.6.5.3; QEMU hw/net/virtio-net.c ``receive_filter``, ``virtio_net_handle_mac`` (what
happens beyond ``TABLE`` addresses, and that a promiscuous driver receives all VLANs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from emulators.fabric.frames import FCS, HEADER, TAG
from emulators.fabric.pool import Pool
from regmodel.function import Buffer

TABLE = 64
"""Addresses that the table holds, unicast and multicast together (QEMU: MAC_TABLE_ENTRIES)."""
LONGEST = 1 << 17
"""Octets of the longest frame that the pool lets pass without F_MTU: there is no limit but the buffers."""
_TAGGED = b"\x81\x00"


@dataclass(frozen=True)
class Modes:
    """VIRTIO_NET_CTRL_RX_*."""

    promisc: bool = True
    allmulti: bool = False
    alluni: bool = False
    nomulti: bool = False
    nouni: bool = False
    nobcast: bool = False


class Filters:
    """The filters of one NIC, whose ``pool`` they program. ``mac`` is its own address, None while it has none."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.modes = Modes()
        self.mac: bytes | None = None
        self.unicast: frozenset[bytes] = frozenset()
        self.multicast: frozenset[bytes] = frozenset()
        self.unicast_overflow = self.multicast_overflow = False
        self.vlans: frozenset[int] | None = None
        """Those that are received; None while VLANs are not filtered."""
        self.mtu: int | None = None
        """What is longer, Ethernet header and a tag left out, is not received (VIRTIO 1.3, 5.1.4.1); None: whatever fits."""

    def reset(self, mac: bytes | None, *, filter_vlans: bool = False, mtu: int | None = None) -> None:
        """As after a reset; with ``filter_vlans``, tagged frames are received by command only."""
        self.modes, self.mac, self.mtu = Modes(), mac, mtu
        self.unicast = self.multicast = frozenset()
        self.unicast_overflow = self.multicast_overflow = False
        self.vlans = frozenset() if filter_vlans else None
        self.apply()

    def set_mode(self, name: str, on: bool) -> None:
        """One of ``Modes``."""
        self.modes = replace(self.modes, **{name: on})
        self.apply()

    def set_mac(self, mac: bytes) -> None:
        self.mac = mac
        self.apply()

    def set_table(self, unicast: Sequence[bytes], multicast: Sequence[bytes]) -> None:
        """Replace both tables. One that does not fit is not kept: all of its kind pass."""
        self.unicast_overflow = len(unicast) > TABLE
        self.unicast = frozenset() if self.unicast_overflow else frozenset(unicast)
        self.multicast_overflow = len(self.unicast) + len(multicast) > TABLE
        self.multicast = frozenset() if self.multicast_overflow else frozenset(multicast)
        self.apply()

    def set_vlan(self, vid: int, on: bool) -> None:
        if self.vlans is not None:
            self.vlans = self.vlans | {vid} if on else self.vlans - {vid}

    def apply(self) -> None:
        """Tell the pool."""
        modes, pool = self.modes, self.pool
        unicast = self.unicast | {self.mac} if self.mac else self.unicast
        macs: frozenset[bytes] = frozenset()
        macs |= frozenset() if modes.nouni else unicast
        macs |= frozenset() if modes.nomulti else self.multicast
        pool.macs = macs
        pool.unicast_promiscuous = modes.promisc or (not modes.nouni and (modes.alluni or self.unicast_overflow))
        pool.multicast_promiscuous = modes.promisc or (not modes.nomulti and (modes.allmulti or self.multicast_overflow))
        pool.accept_broadcast = modes.promisc or not modes.nobcast
        pool.accept_untagged = True
        pool.max_frame = LONGEST if self.mtu is None else self.mtu + HEADER + TAG + FCS

    def wanted(self, frames: Sequence[Buffer]) -> Sequence[Buffer]:
        """Those of VLANs that are received, and those without a tag."""
        vlans = self.vlans
        if vlans is None or self.modes.promisc:
            return frames
        tagged = [bytes(frame[12:14]) == _TAGGED for frame in frames]
        if not any(tagged):
            return frames
        return [f for f, tag in zip(frames, tagged, strict=True) if not tag or (f[14] << 8 | f[15]) & 0xFFF in vlans]

    def save(self) -> dict[str, object]:
        return {
            "modes": asdict(self.modes),
            "mac": None if self.mac is None else self.mac.hex(),
            "unicast": sorted(mac.hex() for mac in self.unicast),
            "multicast": sorted(mac.hex() for mac in self.multicast),
            "overflow": [self.unicast_overflow, self.multicast_overflow],
            "vlans": None if self.vlans is None else sorted(self.vlans),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """What ``save`` gave; ``mtu`` is the device's to set before. Raises KeyError, TypeError or ValueError."""
        self.modes = Modes(**{field.name: bool(state["modes"][field.name]) for field in fields(Modes)})
        self.mac = None if state["mac"] is None else bytes.fromhex(state["mac"])
        self.unicast = frozenset(map(bytes.fromhex, state["unicast"]))
        self.multicast = frozenset(map(bytes.fromhex, state["multicast"]))
        self.unicast_overflow, self.multicast_overflow = map(bool, state["overflow"])
        self.vlans = None if state["vlans"] is None else frozenset(map(int, state["vlans"]))
        self.apply()
