"""Which frames a VMXNET3 wants: modes, addresses, VLANs, as the driver says them in DriverShared.

In here: the settings, and how the switch is told. Addresses and modes become settings of the pool, so the switch filters by
them; the VLAN table is the NIC's own and is asked for each tagged frame.

Sources: vmxnet3_defs.h VMXNET3_RXM_*, struct Vmxnet3_RxFilterConf; Linux vmxnet3_drv.c ``vmxnet3_set_mc``; QEMU
hw/net/vmxnet3.c ``vmxnet3_rx_filter_may_indicate``. What is longer than the MTU allows: docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emulators.fabric.frames import FCS, HEADER, TAG, VLAN_TYPE
from emulators.fabric.offload import Takes
from emulators.fabric.pool import Pool
from emulators.nics.vmxnet3.shared import AT, Refused
from regmodel.function import Buffer, Dma
from regmodel.structures.vmxnet3 import VLANS, Feature, RxMode

_FILTER = "devRead.rxFilterConf."
_ADDRESS = 6
_ALL_ONES = VLANS - 1


class Filters:
    """``dirty`` tables are read from memory only when the driver says so, since it takes them back afterwards."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.address = bytes(_ADDRESS)
        self.clear()

    def clear(self) -> None:
        """As long as the device rests: nothing is wanted."""
        self.mode = RxMode(0)
        self._everything = False
        self.groups: frozenset[bytes] = frozenset()
        self.vlans = bytes(VLANS // 8)

    def read_mode(self, dma: Dma, shared: int) -> None:
        """UPDATE_RX_MODE. Raises ``DmaFault``."""
        word = int.from_bytes(dma.read(shared + AT[f"{_FILTER}rxMode"], 4), "little")
        self.mode = RxMode(word & sum(RxMode))

    def read_groups(self, dma: Dma, shared: int) -> None:
        """UPDATE_MAC_FILTERS. Raises ``DmaFault``, ``Refused``."""
        length = int.from_bytes(dma.read(shared + AT[f"{_FILTER}mfTableLen"], 2), "little")
        table = int.from_bytes(dma.read(shared + AT[f"{_FILTER}mfTablePA"], 8), "little")
        if length % _ADDRESS:
            raise Refused("multicast-table", address=table, bytes=length)
        data = bytes(dma.read(table, length)) if length else b""
        self.groups = frozenset(data[at : at + _ADDRESS] for at in range(0, length, _ADDRESS))

    def read_vlans(self, dma: Dma, shared: int) -> None:
        """UPDATE_VLAN_FILTERS. Raises ``DmaFault``."""
        self.vlans = bytes(dma.read(shared + AT[f"{_FILTER}vfTable"], VLANS // 8))

    def wanted(self, frames: Sequence[Buffer]) -> Sequence[Buffer]:
        """Those that pass the VLAN filter. Untagged ones and those of VLAN 0 and 4095 do."""
        if self._everything:
            return frames
        kept = [frame for frame in frames if frame[12:14] != VLAN_TYPE or len(frame) < HEADER + TAG or self._member(frame)]
        return frames if len(kept) == len(frames) else kept

    def _member(self, frame: Buffer) -> bool:
        vlan = (frame[14] << 8 | frame[15]) & _ALL_ONES
        return vlan in (0, _ALL_ONES) or bool(self.vlans[vlan >> 3] >> (vlan & 7) & 1)

    def apply(self, running: bool, mtu: int = 0, takes: Takes = Takes.NONE) -> None:
        """Tell the switch. ``mtu`` in bytes, without Ethernet header; ``takes`` are frames that we take unfinished."""
        pool, mode = self.pool, self.mode
        self._everything = everything = bool(mode & RxMode.PROMISC)
        wanted = {self.address} if mode & RxMode.UCAST else set()
        pool.macs = frozenset(wanted | self.groups if mode & RxMode.MCAST else wanted)
        pool.unicast_promiscuous = everything
        pool.multicast_promiscuous = everything or bool(mode & RxMode.ALL_MULTI)
        pool.accept_broadcast = everything or bool(mode & RxMode.BCAST)
        pool.accept_untagged = True
        pool.max_frame = mtu + HEADER + TAG + FCS if running else None
        pool.takes = takes
        pool.transmit_enable = pool.receive_enable = running

    def save(self) -> dict[str, object]:
        return {
            "address": self.address.hex(),
            "mode": int(self.mode),
            "groups": sorted(group.hex() for group in self.groups),
            "vlans": self.vlans.hex(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.address, self.mode = bytes.fromhex(state["address"]), RxMode(state["mode"])
        self.groups = frozenset(map(bytes.fromhex, state["groups"]))
        self.vlans = bytes.fromhex(state["vlans"])


def takes(features: Feature, lro: bool) -> Takes:
    """What a driver with these ``features`` takes unfinished."""
    if features & Feature.LRO and lro:
        return Takes.CSUM | Takes.TSO4 | Takes.TSO6 | Takes.ECN
    return Takes.CSUM if features & Feature.RXCSUM else Takes.NONE
