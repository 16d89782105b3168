"""What a VF may ask of the stock PF driver, and what it gets: addresses, multicast, VLANs, frame length, promiscuity.

In here: what the driver knows of each VF, the messages after the gate, and the settings that they and the host share. Not
in here: how messages arrive and when they are refused unread (``pf``), or where filters are kept (``pf_filters``).

Each method names the function of igb/igb_main.c whose behaviour it has, quirks that a VF can see included.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from emulators.fabric.frames import mac_text
from emulators.nics.igb import pf_registers as reg
from emulators.nics.igb.pf_filters import ZERO, MacTable, VlanTables, is_valid
from emulators.nics.igb.pf_registers import PfRegisters

# The first word of a message (igb/e1000_mbx.h): type, what it says besides, and what a reply adds
TYPE = 0xFFFF
INFO_SHIFT, INFO = 16, 0xFF << 16
ACK, NACK, CTS = 1 << 31, 1 << 30, 1 << 29
RESET, SET_MAC_ADDR, SET_MULTICAST, SET_VLAN, SET_LPE, SET_PROMISC = 1, 2, 3, 4, 5, 6
MAC_FILTER_CLR, MAC_FILTER_ADD = 1 << INFO_SHIFT, 2 << INFO_SHIFT
PROMISC_MULTICAST = 2 << INFO_SHIFT

MULTICAST_HASHES = 30
"""How many a VF may have (igb.h ``IGB_MAX_VF_MC_ENTRIES``); a message with more makes it multicast-promiscuous."""

MAX_JUMBO = 0x2600
"""Octets, FCS included (e1000_defines.h ``MAX_JUMBO_FRAME_SIZE``)."""

PF_MAX_FRAME = 1536
"""Octets: what the PF's own pool receives at MTU 1500 (igb.h ``IGB_MAX_FRAME_BUILD_SKB``)."""

log = logging.getLogger("regmodel.igb.pf")


@dataclass
class VfData:
    """What the driver knows of one VF (``struct vf_data_storage``)."""

    mac: bytes = ZERO
    given_mac: bytes = ZERO  # ours: the address that a VF without one gets at reset; zero as stock
    clear_to_send: bool = False
    multicast_promiscuous: bool = False
    pf_set_mac: bool = False
    trusted: bool = False
    spoof_check: bool = True
    link_state: str = "auto"  # auto, enable, disable
    hash_count: int = 0  # as the message said, up to 255
    hashes: list[int] = field(default_factory=list)
    port_vlan: int = 0
    port_qos: int = 0
    last_nack: int = 0  # ns


class VfSettings:
    """All VFs of one port. ``own`` is the number of the PF's pool, or None."""

    def __init__(self, name: str, registers: PfRegisters, vfs: int, own: int | None, mac: bytes) -> None:
        self.name, self.registers, self.own = name, registers, own
        self.macs = MacTable(registers, vfs, own, mac)
        self.vlans = VlanTables(registers, own)
        self.vfs = [VfData() for _ in range(vfs)]
        self._handlers = {
            SET_MAC_ADDR: self._set_mac,
            SET_MULTICAST: self._set_multicast,
            SET_VLAN: self._set_vlan,
            SET_LPE: self._set_lpe,
            SET_PROMISC: self._set_promisc,
        }

    def answer(self, vf: int, words: Sequence[int]) -> int:
        """The reply to a message of a VF that is clear to send (the end of ``igb_rcv_msg_from_vf``): it echoes."""
        first = words[0]
        handler = self._handlers.get(first & TYPE)
        if handler is None:
            log.info("%s: VF %d sent an unknown message %#010x", self.name, vf, first)
            return first | CTS | NACK
        done = handler(vf, words)
        if first & TYPE == SET_PROMISC:
            first &= ~PROMISC_MULTICAST  # the driver takes out what it has granted
        return first | CTS | (ACK if done else NACK)

    def reset(self, vf: int, now: int) -> None:
        """``igb_vf_reset``, at ``now`` (ns): back to the defaults, except for what the host has set. LPE stays."""
        data = self.vfs[vf]
        data.clear_to_send = data.multicast_promiscuous = False
        data.last_nack = now
        self.vlans.clear_vf(vf)
        self.vlans.set_vf(data.port_vlan, vf, True)
        self.set_vmvir(vf, data.port_vlan | data.port_qos << 13)
        self.set_vmolr(vf, untagged=not data.port_vlan)
        self.registers.set_strip(vf, bool(data.port_vlan))
        data.hash_count = 0
        self.set_rx_mode()

    def set_vmolr(self, pool: int, *, untagged: bool) -> None:
        """``igb_set_vmolr``."""
        value = self.registers.vmolr(pool)
        value = value | reg.AUPE if untagged else value & ~reg.AUPE
        self.registers.write_vmolr(pool, value | reg.BAM)

    def set_vmvir(self, pool: int, tag: int) -> None:
        """``igb_set_vmvir``: ``tag`` is VID and priority as in a TCI; 0 means no port VLAN."""
        self.registers.write_vmvir(pool, tag | reg.VMVIR_DEFAULT if tag else 0)

    # -- messages: True is ACK, False is NACK

    def _set_mac(self, vf: int, words: Sequence[int]) -> bool:
        """``igb_set_vf_mac_addr``, and for extra filters ``igb_set_vf_mac_filter``.

        The clearing of filters is refused as well when the words hold no valid address, and ``igbvf`` sends zeros:
        so with a stock pair of drivers extra filters are never taken back.
        """
        data, info = self.vfs[vf], words[0] & INFO
        address = words[1].to_bytes(4, "little") + (words[2] & 0xFFFF).to_bytes(2, "little")
        if data.pf_set_mac and not data.trusted:
            log.warning("%s: VF %d may not change the address that the host set", self.name, vf)
            return False
        if not is_valid(address):
            return False
        if info == 0:
            self.set_vf_mac(vf, address)
            return True
        if info == MAC_FILTER_CLR:
            self.macs.clear_vf_filters(vf)
            return True
        if info == MAC_FILTER_ADD:
            done = self.macs.add_vf_filter(vf, address)
            if not done:
                log.warning("%s: no room for %s as a filter of VF %d", self.name, mac_text(address), vf)
            return done
        return False

    def set_vf_mac(self, vf: int, address: bytes) -> None:
        """``igb_set_vf_mac``."""
        self.vfs[vf].mac = address
        self.macs.set_vf(vf, address)

    def _set_multicast(self, vf: int, words: Sequence[int]) -> bool:
        """``igb_set_vf_multicasts``: the new list replaces the old one. More than 30: all multicast."""
        data = self.vfs[vf]
        count = (words[0] & INFO) >> INFO_SHIFT
        halves = [half for word in words[1:] for half in (word & 0xFFFF, word >> 16)]
        data.hash_count = count
        kept = halves[: min(count, MULTICAST_HASHES)]
        data.hashes[: len(kept)] = kept
        self.set_rx_mode()
        return True

    def set_rx_mode(self) -> None:
        """``igbset_rx_mode`` and ``igb_restore_vf_multicasts``: the hash filter anew from all VFs' lists.

        The PF's interface has no multicast addresses of its own.
        """
        r = self.registers
        hashes: set[int] = set()
        if self.own is not None:
            r.write_vmolr(self.own, (r.vmolr(self.own) & ~reg.RLPML) | PF_MAX_FRAME | reg.LPE)
        for vf, data in enumerate(self.vfs):
            value = r.vmolr(vf) & ~(reg.ROMPE | reg.MPME)
            if data.hash_count > MULTICAST_HASHES or data.multicast_promiscuous:
                value |= reg.MPME
            elif data.hash_count:
                value |= reg.ROMPE
                hashes |= self._hashes(data)
            r.write_vmolr(vf, value)
        r.write_mta(hashes)

    @staticmethod
    def _hashes(data: VfData) -> set[int]:
        """The places in the filter; it has 4096, and higher bits of a hash are not looked at (``igb_mta_set``)."""
        return {value & 0xFFF for value in data.hashes[: data.hash_count]}

    def _set_vlan(self, vf: int, words: Sequence[int]) -> bool:
        """``igb_set_vf_vlan_msg``: refused under a port VLAN, and when all slots are taken."""
        data, add, vid = self.vfs[vf], bool(words[0] & INFO), words[1] & reg.VLVF_VID
        if data.port_vlan:
            log.warning("%s: VF %d may not change the VLAN that the host set", self.name, vf)
            return False
        if not vid and not add:
            return True
        if not self.vlans.set_vf(vid, vf, add):
            return False
        self.registers.set_strip(vf, bool(vid))
        return True

    def _set_lpe(self, vf: int, words: Sequence[int]) -> bool:
        """``igb_set_vf_rlpml``: always granted. The length is compared as a signed number and then or-ed into VMOLR,
        so that a "negative" one sets any bits there: the stock driver trusts its VFs with this."""
        size = words[1] - (1 << 32) if words[1] >> 31 else words[1]
        size = min(size, MAX_JUMBO)
        value = self.registers.vmolr(vf) & ~reg.RLPML
        self.registers.write_vmolr(vf, (value | size | reg.LPE) & reg.WORD)
        return True

    def _set_promisc(self, vf: int, words: Sequence[int]) -> bool:
        """``igb_set_vf_promisc``: multicast is granted, anything else that was asked for is refused."""
        data, r = self.vfs[vf], self.registers
        value = r.vmolr(vf) & ~(reg.ROPE | reg.ROMPE | reg.MPME)
        data.multicast_promiscuous = bool(words[0] & PROMISC_MULTICAST)
        if data.multicast_promiscuous or data.hash_count > MULTICAST_HASHES:
            value |= reg.MPME
        elif data.hash_count:
            value |= reg.ROMPE
            r.write_mta(r.state.mta | self._hashes(data))
        r.write_vmolr(vf, value)
        return not words[0] & INFO & ~PROMISC_MULTICAST
