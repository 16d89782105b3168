"""The PF's registers that steer the L2 switch, as far as the stock PF driver programs them.

In here: their bits, and what each means in terms of the fabric. A write of a register takes effect in the switch at
once. Not in here: who writes what when, which is the driver's part (``pf``).

Sources: 82576 datasheet, 8.10 (RAL/RAH, MTA, VFTA), 8.14 (VT_CTL, VFRE, VFTE, VMOLR, VLVF, DTXSWC, RPLOLR, VMVIR);
I350 datasheet, 8.10 and 8.14 (TXSWC, DVMOLR); Linux igb/e1000_82575.h and e1000_regs.h for the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch
from emulators.fabric.vlans import VlanSlot

# VMOLR[n]; bits that no pool of the fabric has (RSSE, STRCRC) are kept and mean nothing here
RLPML = 0x0000_3FFF
LPE = 1 << 16
AUPE = 1 << 24
ROMPE = 1 << 25
ROPE = 1 << 26
BAM = 1 << 27
MPME = 1 << 28
STRVLAN = 1 << 30  # in DVMOLR[n] on the I350

# VLVF[n]
VLVF_SLOTS = 32
VLVF_VID = 0xFFF
VLVF_POOLS_SHIFT = 12
VLVF_POOLS = 0xFF << VLVF_POOLS_SHIFT
VLVF_ENABLE = 1 << 31

# VMVIR[n]
VMVIR_DEFAULT = 1 << 30

# DTXSWC (82576), TXSWC (I350)
VLAN_SPOOF_SHIFT = 8
SPOOF_ALL = 0xFFFF
LOOPBACK_ENABLE = 1 << 31

WORD = 0xFFFF_FFFF


@dataclass(frozen=True)
class Silicon:
    """What differs between the two kinds of silicon as the PF driver sees them.

    ``receive_addresses`` is the number of RAL/RAH pairs (igb/e1000_82575.h ``E1000_RAR_ENTRIES_*``);
    ``replication_strips``: RPLOLR exists and decides on the tags of multicast and broadcast for all pools at once
    (igb_main.c ``igb_vmm_control``); ``strip_apart``: STRVLAN stands in DVMOLR (``igb_set_vf_vlan_strip``).
    """

    name: str
    receive_addresses: int
    replication_strips: bool
    strip_apart: bool


I82576 = Silicon("82576", 24, True, False)
I350 = Silicon("I350", 32, False, True)


@dataclass
class ReceiveAddress:
    """One RAL/RAH pair: an address and the pools (a bit mask) that receive it, if it is valid."""

    address: bytes = bytes(6)
    pools: int = 0
    valid: bool = False


@dataclass
class State:
    """All of the registers, JSON-able by ``asdict`` but for the bytes of addresses."""

    vmolr: list[int]
    dvmolr: list[int]
    vmvir: list[int]
    vlvf: list[int] = field(default_factory=lambda: [0] * VLVF_SLOTS)
    vfta: set[int] = field(default_factory=set)
    mta: set[int] = field(default_factory=set)
    dtxswc: int = 0
    vfre: int = 0
    vfte: int = 0


class PfRegisters:
    """The registers of one port. ``pools`` are the VFs' in order; ``pf_pool`` is the PF's own, or None."""

    def __init__(self, silicon: Silicon, switch: Switch, vf_pools: list[Pool], pf_pool: Pool | None) -> None:
        self.silicon, self.switch, self.pf_pool = silicon, switch, pf_pool
        self.pools = [*vf_pools, *([pf_pool] if pf_pool else [])]
        self.held = 0  # pools that may neither receive nor transmit, whatever VFRE and VFTE say
        self.reset()

    def reset(self) -> None:
        """CTRL.RST of the PF: filters empty, every pool closed."""
        self._hardware_reset()
        self.receive_addresses = [ReceiveAddress() for _ in range(self.silicon.receive_addresses)]
        count = len(self.pools)
        self.state = State([0] * count, [0] * count, [0] * count)
        self.vfta = set()

    def _hardware_reset(self) -> None:
        self.switch.reset()
        if self.pf_pool is not None:  # VFRE and VFTE do not close the PF's own queues
            self.pf_pool.receive_enable = self.pf_pool.transmit_enable = True

    # -- per pool

    def vmolr(self, pool: int) -> int:
        return self.state.vmolr[pool]

    def write_vmolr(self, pool: int, value: int) -> None:
        self.state.vmolr[pool] = value & WORD
        to = self.pools[pool]
        to.max_frame = value & RLPML if value & LPE else None
        to.accept_untagged = bool(value & AUPE)
        to.accept_broadcast = bool(value & BAM)
        to.multicast_hash = bool(value & ROMPE)
        to.multicast_promiscuous = bool(value & MPME)
        to.unicast_hash = bool(value & ROPE)
        if not self.silicon.strip_apart:
            to.strip_vlan = bool(value & STRVLAN)

    def set_strip(self, pool: int, enable: bool) -> None:
        """STRVLAN, in whichever register this silicon has it."""
        words = self.state.dvmolr if self.silicon.strip_apart else self.state.vmolr
        words[pool] = words[pool] | STRVLAN if enable else words[pool] & ~STRVLAN
        self.pools[pool].strip_vlan = enable

    def write_vmvir(self, pool: int, value: int) -> None:
        """The port VLAN: VID and priority in the low 16 bits, used when the action says so."""
        self.state.vmvir[pool] = value
        if value & VMVIR_DEFAULT:
            self.pools[pool].set_port_vlan(value & VLVF_VID, value >> 13 & 7)
        else:
            self.pools[pool].set_port_vlan(None)

    def enable(self, *, receive: int, transmit: int) -> None:
        """VFRE and VFTE: one bit per VF."""
        self.state.vfre, self.state.vfte = receive, transmit
        self._open()

    def hold(self, held: int) -> None:
        """Close the pools in the mask ``held`` whatever VFRE and VFTE say, open the others as those say."""
        self.held = held
        self._open()

    def _open(self) -> None:
        for index, pool in enumerate(self.pools):
            if pool is not self.pf_pool:
                pool.receive_enable = bool((self.state.vfre & ~self.held) >> index & 1)
                pool.transmit_enable = bool((self.state.vfte & ~self.held) >> index & 1)

    # -- addresses

    def write_receive_address(self, index: int, address: bytes, pool: int | None) -> None:
        """RAL/RAH: ``address`` for ``pool`` (None: no pool). As the driver does, only a valid unicast one is enabled."""
        valid = pool is not None and any(address) and not address[0] & 1
        self.receive_addresses[index] = ReceiveAddress(address, 0 if pool is None else 1 << pool, valid)
        self._spread_addresses()

    def _spread_addresses(self) -> None:
        for number, pool in enumerate(self.pools):
            macs = frozenset(e.address for e in self.receive_addresses if e.valid and e.pools >> number & 1)
            if macs != pool.macs:
                pool.macs = macs

    def write_mta(self, hashes: Iterable[int]) -> None:
        """All of the multicast hash filter: the 12-bit places that are set."""
        self.state.mta = set(hashes)
        self.switch.multicast_hashes = frozenset(self.state.mta)

    # -- VLANs

    def vlvf(self, slot: int) -> int:
        return self.state.vlvf[slot]

    def write_vlvf(self, slot: int, value: int) -> None:
        self.state.vlvf[slot] = value
        pools = (value & VLVF_POOLS) >> VLVF_POOLS_SHIFT
        self.switch.vlans[slot] = VlanSlot(value & VLVF_VID, pools, bool(value & VLVF_ENABLE))

    @property
    def vfta(self) -> set[int]:
        """The VLANs that the port lets in; assign to change."""
        return self.state.vfta

    @vfta.setter
    def vfta(self, vids: Iterable[int]) -> None:
        self.state.vfta = set(vids)
        self.switch.vlan_ids = frozenset(self.state.vfta)

    # -- port

    def write_dtxswc(self, value: int) -> None:
        """Anti-spoof per pool and the loopback of the switch."""
        self.state.dtxswc = value
        for index, pool in enumerate(self.pools):
            pool.mac_anti_spoof = bool(value >> index & 1)
            pool.vlan_anti_spoof = bool(value >> (VLAN_SPOOF_SHIFT + index) & 1)
        self.switch.loopback = bool(value & LOOPBACK_ENABLE)

    def open_port(self) -> None:
        """What the driver sets once: VLAN filter, replication, the default pool, RPLOLR where there is one."""
        self.switch.vlan_filter = True  # RCTL.VFE
        self.switch.replication = True  # VT_CTL.Rpl_En
        self.switch.default_pool = self.pf_pool  # VT_CTL.DEF_PL, or Dis_Def_Pool
        self.switch.strip_replicated = True if self.silicon.replication_strips else None

    # -- state

    def save(self) -> dict[str, Any]:
        image = asdict(self.state)
        image["vfta"], image["mta"] = sorted(self.state.vfta), sorted(self.state.mta)
        image["addresses"] = [[e.address.hex(), e.pools, e.valid] for e in self.receive_addresses]
        image["held"] = self.held
        return image

    def load(self, image: Mapping[str, Any]) -> None:
        """Write all registers as they were saved; raises KeyError, TypeError or ValueError for a damaged image."""
        entries = [ReceiveAddress(bytes.fromhex(a), int(pools), bool(valid)) for a, pools, valid in image["addresses"]]
        words = {n: [int(v) for v in image[n]] for n in ("vmolr", "dvmolr", "vmvir", "vlvf")}
        sets = {n: {int(v) for v in image[n]} for n in ("vfta", "mta")}
        single = {n: int(image[n]) for n in ("dtxswc", "vfre", "vfte", "held")}
        count = len(self.pools)
        if len(entries) != len(self.receive_addresses) or [len(w) for w in words.values()] != [count] * 3 + [VLVF_SLOTS]:
            raise ValueError("registers of another card")
        self.reset()
        self.open_port()
        self.receive_addresses = entries
        self._spread_addresses()
        for pool in range(count):
            self.write_vmolr(pool, words["vmolr"][pool])
            if self.silicon.strip_apart:
                self.set_strip(pool, bool(words["dvmolr"][pool] & STRVLAN))
            self.write_vmvir(pool, words["vmvir"][pool])
        for slot, value in enumerate(words["vlvf"]):
            self.write_vlvf(slot, value)
        self.vfta = sets["vfta"]
        self.write_mta(sets["mta"])
        self.write_dtxswc(single["dtxswc"])
        self.held = single["held"]
        self.enable(receive=single["vfre"], transmit=single["vfte"])
