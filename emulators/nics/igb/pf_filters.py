"""The filter tables as the stock PF driver manages them: which receive address register and which VLAN slot serves whom.

In here: the driver's bookkeeping over ``pf_registers``, its limits and its quirks, which VFs can see: 13 extra unicast
filters beside seven VFs on an 82576, 31 VLANs per port, the slot of VLAN 0. Not in here: messages and their answers.

Source: Linux igb/igb_main.c and igb/e1000_mac.c, by the function named in each place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulators.nics.igb.pf_registers import VLVF_ENABLE, VLVF_POOLS, VLVF_POOLS_SHIFT, VLVF_SLOTS, VLVF_VID, PfRegisters

PF_FILTERS_RESERVED = 3
"""Receive addresses that the driver keeps for itself beside its own (igb.h ``IGB_PF_MAC_FILTERS_RESERVED``)."""

ZERO = bytes(6)


def is_valid(address: bytes) -> bool:
    """Neither multicast nor all zeros (etherdevice.h ``is_valid_ether_addr``)."""
    return address != ZERO and not address[0] & 1


@dataclass
class MacEntry:
    """One entry of the driver's table, which mirrors one receive address register (``struct igb_mac_addr``)."""

    address: bytes = ZERO
    pool: int | None = None
    in_use: bool = False
    default: bool = False


@dataclass
class VfFilter:
    """One of the extra unicast filters that VFs share (``struct vf_mac_filter``); ``vf`` None: free."""

    vf: int | None = None
    address: bytes = ZERO


class MacTable:
    """All receive addresses: the PF's first, filters from there, the VFs' own from the end down."""

    def __init__(self, registers: PfRegisters, vfs: int, pf_pool: int | None, pf_address: bytes) -> None:
        self.registers, self.vfs, self.pf_pool, self.pf_address = registers, vfs, pf_pool, pf_address
        size = registers.silicon.receive_addresses
        self.entries = [MacEntry() for _ in range(size)]
        self.vf_filters = [VfFilter() for _ in range(size - (1 + PF_FILTERS_RESERVED + vfs))]

    def flush(self) -> None:
        """Empty the table, the VFs' own addresses included, and put the PF's back (``igb_flush_mac_table``,
        ``igb_set_default_mac_filter``). Extra filters stay taken: the driver forgets to free them."""
        self.entries = [MacEntry() for _ in self.entries]
        self._set(0, MacEntry(self.pf_address, self.pf_pool, in_use=True, default=True))
        for index in range(1, len(self.entries)):
            self._write(index)

    def set_vf(self, vf: int, address: bytes) -> None:
        """The VF's own address (``igb_set_vf_mac``); zero leaves it without one."""
        self._set(len(self.entries) - (vf + 1), MacEntry(address, vf, in_use=True))

    def add_vf_filter(self, vf: int, address: bytes) -> bool:
        """One more unicast address for a VF; False when there is no room (``igb_set_vf_mac_filter``, ADD)."""
        free = next((f for f in self.vf_filters if f.vf is None), None)
        if free is None:
            return False
        free.vf, free.address = vf, address
        return self._add(address, vf)

    def clear_vf_filters(self, vf: int) -> None:
        """Take back all extra addresses of a VF (``igb_set_vf_mac_filter``, CLR)."""
        for entry in self.vf_filters:
            if entry.vf == vf:
                entry.vf = None
                self._delete(entry.address, vf)

    def _add(self, address: bytes, pool: int) -> bool:
        """``igb_add_mac_filter``: an entry with the same address is taken over, whoever had it."""
        for index in range(len(self.entries) - self.vfs):
            entry = self.entries[index]
            if not entry.in_use or entry.address == address:
                self._set(index, MacEntry(address, pool, in_use=True, default=entry.default))
                return True
        return False

    def _delete(self, address: bytes, pool: int) -> None:
        """``igb_del_mac_filter``: the PF's default entry goes back to the PF."""
        for index in range(len(self.entries) - self.vfs):
            entry = self.entries[index]
            if entry.in_use and entry.pool == pool and entry.address == address:
                self._set(index, MacEntry(address, self.pf_pool, True, True) if entry.default else MacEntry())
                return

    def _set(self, index: int, entry: MacEntry) -> None:
        self.entries[index] = entry
        self._write(index)

    def _write(self, index: int) -> None:
        entry = self.entries[index]
        self.registers.write_receive_address(index, entry.address, entry.pool if entry.in_use else None)

    def save(self) -> dict[str, Any]:
        return {
            "entries": [[e.address.hex(), e.pool, e.in_use, e.default] for e in self.entries],
            "vf_filters": [[f.vf, f.address.hex()] for f in self.vf_filters],
        }

    def load(self, image: Mapping[str, Any]) -> None:
        """Take on saved bookkeeping; the registers are loaded apart."""
        entries = [MacEntry(bytes.fromhex(a), pool, in_use, default) for a, pool, in_use, default in image["entries"]]
        filters = [VfFilter(vf, bytes.fromhex(a)) for vf, a in image["vf_filters"]]
        if len(entries) != len(self.entries) or len(filters) != len(self.vf_filters):
            raise ValueError("the MAC table of another card")
        self.entries, self.vf_filters = entries, filters


class VlanTables:
    """VFTA and VLVF. The PF is in VLAN 0 and in no other, as with its interface up and no VLAN device on it."""

    def __init__(self, registers: PfRegisters, pf_pool: int | None) -> None:
        self.registers, self.pf_pool = registers, pf_pool
        self.pf_vlans = frozenset({0} if pf_pool is not None else ())

    def restore(self) -> None:
        """After a reset of the PF: its own VLANs only (``igb_restore_vlan``)."""
        self.registers.vfta = set()
        if self.pf_pool is None:
            self.registers.vfta = {0}
        else:
            self.set(0, self.pf_pool, True)

    def set(self, vid: int, pool: int, on: bool) -> bool:
        """Enter or leave a VLAN; False when no slot is left (``igb_vfta_set``).

        Leaving needs a slot too, even of a VLAN that nobody is in: with all slots taken by others it fails.
        """
        slot = self._find(vid)
        if slot is None:
            return False
        r = self.registers
        bit = 1 << (VLVF_POOLS_SHIFT + pool)
        if on:
            bits = r.vlvf(slot) | bit
            r.write_vlvf(slot, bits | vid | VLVF_ENABLE)
            r.vfta = r.vfta | {vid}
            return True
        bits = r.vlvf(slot) & ~bit
        if bits & VLVF_POOLS:
            r.write_vlvf(slot, bits | vid | VLVF_ENABLE)
        else:
            r.vfta = r.vfta - {vid}
            r.write_vlvf(slot, 0)
        return True

    def set_vf(self, vid: int, vf: int, on: bool) -> bool:
        """The same for a VF, with the PF kept in the VLANs that are its own (``igb_set_vf_vlan``)."""
        if on and vid in self.pf_vlans and self.pf_pool is not None and not self.set(vid, self.pf_pool, True):
            return False
        return self.set(vid, vf, on)

    def clear_vf(self, vf: int) -> None:
        """Out of all VLANs (``igb_clear_vf_vfta``). A slot with only the PF left is freed; VFTA goes on admitting it."""
        r = self.registers
        bit = 1 << (VLVF_POOLS_SHIFT + vf)
        pf_bit = 1 << (VLVF_POOLS_SHIFT + self.pf_pool) if self.pf_pool is not None else 0
        for slot in reversed(range(VLVF_SLOTS)):
            value = r.vlvf(slot)
            if not value & bit:
                continue
            value ^= bit
            if value & VLVF_POOLS & ~pf_bit:
                r.write_vlvf(slot, value)
                continue
            if not value & pf_bit:
                r.vfta = r.vfta - {value & VLVF_VID}
            r.write_vlvf(slot, 0)

    def of(self, pool: int) -> list[int]:
        """The VLANs that a pool is in, in order."""
        bit = 1 << (VLVF_POOLS_SHIFT + pool)
        return sorted({v & VLVF_VID for v in self.registers.state.vlvf if v & bit and v & VLVF_ENABLE})

    def _find(self, vid: int) -> int | None:
        """The slot of ``vid``, or a free one: 0 is VLAN 0's, others from the last one down (``igb_find_vlvf_slot``)."""
        if vid == 0:
            return 0
        free = None
        for slot in range(VLVF_SLOTS - 1, 0, -1):
            held = self.registers.vlvf(slot) & VLVF_VID
            if held == vid:
                return slot
            if free is None and held == 0:
                free = slot
        return free
