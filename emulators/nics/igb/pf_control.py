"""What the host's administrator may say to a port: the words of ``ip link set PF vf N ...``, and of ``regmodel ctl``.

In here: parsing, validation and errors, as the stock driver's ``ndo_set_vf_*`` have them. What a setting does is the PF
driver's (``pf``); where ``ip link`` and ``igb`` would answer with an errno, this answers with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emulators.fabric.frames import mac_bytes, mac_text
from emulators.nics.igb.pf import PfDriver
from emulators.nics.igb.pf_filters import ZERO
from emulators.nics.igb.pf_registers import SPOOF_ALL, VLAN_SPOOF_SHIFT
from regmodel.errors import UsageError

VERBS = "vf N mac|vlan|spoofchk|trust|state VALUE, link up|down, pf-reset, stats"


class PfControl:
    """The control surface of one port."""

    def __init__(self, pf: PfDriver) -> None:
        self.pf = pf
        self._settings: dict[str, Callable[[int, Sequence[str]], None]] = {
            "mac": self._mac,
            "vlan": self._vlan,
            "spoofchk": self._spoofchk,
            "trust": self._trust,
            "state": self._state,
        }

    def __call__(self, verb: str, *words: str) -> object:
        """Carry out one command. ``vf N`` alone and ``stats`` answer with a JSON-able dictionary, all others with None.

        Raises ``UsageError`` and changes nothing when the words are wrong.
        """
        match verb, *words:
            case "vf", number:
                return self.show(self._vf(number))
            case "vf", number, setting, *values if setting in self._settings and values:
                self._settings[setting](self._vf(number), values)
                return None
            case "vf", _, setting, *_ if setting not in self._settings:
                raise UsageError(f"a VF has no setting {setting!r}: it has {', '.join(self._settings)}")
            case "link", ("up" | "down") as state:
                self.pf.switch.link.set_admin(state == "up")
                return None
            case ("pf-reset",):
                self.pf.reset()
                return None
            case ("stats",):
                return self.stats()
        raise UsageError(f"{' '.join((verb, *words))!r} is no command of a port: {VERBS}")

    def _vf(self, number: str) -> int:
        count = len(self.pf.vfs)
        if not str(number).isdecimal() or int(number) >= count:
            raise UsageError(f"there is no VF {number}: this port has VFs 0 to {count - 1}")
        return int(number)

    @staticmethod
    def _switch(values: Sequence[str], setting: str) -> bool:
        if len(values) != 1 or values[0] not in ("on", "off"):
            raise UsageError(f"{setting} is 'on' or 'off', not {' '.join(values)!r}")
        return values[0] == "on"

    def _mac(self, vf: int, values: Sequence[str]) -> None:
        """``igb_ndo_set_vf_mac``. It binds the VF to the address, in effect with the next reset of the VF; zero unbinds."""
        if len(values) != 1:
            raise UsageError("mac takes one address")
        address = mac_bytes(values[0])
        if address[0] & 1:
            raise UsageError(f"{values[0]} is a multicast address: a VF needs a unicast one (or 00:00:00:00:00:00 for none)")
        self.pf.vfs[vf].pf_set_mac = address != ZERO
        self.pf.settings.set_vf_mac(vf, address)

    def _vlan(self, vf: int, values: Sequence[str]) -> None:
        """``igb_ndo_set_vf_vlan``: ``vlan VID [qos PRIORITY] [proto 802.1Q]``; 0 is no port VLAN."""
        vid, *rest = values
        more = dict(zip(rest[::2], rest[1::2], strict=False))
        if len(rest) % 2 or not set(more) <= {"qos", "proto"}:
            raise UsageError(f"'vlan {' '.join(values)}': write vlan VID [qos PRIORITY] [proto 802.1Q]")
        qos = more.get("qos", "0")
        if more.get("proto", "802.1Q").lower() != "802.1q":
            raise UsageError(f"the card knows VLANs of proto 802.1Q only, not {more['proto']}")
        if not vid.isdecimal() or int(vid) > 4095:
            raise UsageError(f"a VLAN is 0 to 4095, not {vid}")
        if not qos.isdecimal() or int(qos) > 7:
            raise UsageError(f"a priority is 0 to 7, not {qos}")
        if not self.set_port_vlan(vf, int(vid), int(qos)):
            raise UsageError(f"no room for VLAN {vid}: all 32 VLAN filters of this port are taken")

    def set_port_vlan(self, vf: int, vid: int, qos: int) -> bool:
        """``igb_enable_port_vlan`` and ``igb_disable_port_vlan``, at once, under a running VF. False: no filter is left."""
        settings, data = self.pf.settings, self.pf.vfs[vf]
        enable = bool(vid or qos)
        if not settings.vlans.set_vf(vid, vf, True):
            return False
        settings.set_vmvir(vf, vid | qos << 13)
        settings.set_vmolr(vf, untagged=not vid)
        if (enable and vid != data.port_vlan) or (not enable and data.port_vlan):
            settings.vlans.set_vf(data.port_vlan, vf, False)
        data.port_vlan, data.port_qos = vid, qos
        settings.registers.set_strip(vf, enable)
        return True

    def _spoofchk(self, vf: int, values: Sequence[str]) -> None:
        """``igb_ndo_set_vf_spoofchk``: both checks, of addresses and of VLANs, at once."""
        on = self._switch(values, "spoofchk")
        both = 1 << vf | 1 << (vf + VLAN_SPOOF_SHIFT)
        value = self.pf.registers.state.dtxswc
        self.pf.registers.write_dtxswc(value | both if on else value & ~both)
        self.pf.vfs[vf].spoof_check = on

    def _trust(self, vf: int, values: Sequence[str]) -> None:
        """``igb_ndo_set_vf_trust``: a trusted VF may change an address that the host has set."""
        self.pf.vfs[vf].trusted = self._switch(values, "trust")

    def _state(self, vf: int, values: Sequence[str]) -> None:
        if len(values) != 1 or values[0] not in ("auto", "enable", "disable"):
            raise UsageError(f"state is 'auto', 'enable' or 'disable', not {' '.join(values)!r}")
        self.pf.set_link_state(vf, values[0])

    # -- what there is to see

    def show(self, vf: int) -> dict[str, Any]:
        """One VF: what ``ip link show`` tells (``igb_ndo_get_vf_config``), and what the VF has asked for."""
        pf, data = self.pf, self.pf.vfs[vf]
        pool = pf.registers.pools[vf]
        return {
            "mac": mac_text(data.mac),
            "vlan": data.port_vlan,
            "qos": data.port_qos,
            "spoofchk": data.spoof_check,
            "trust": data.trusted,
            "state": data.link_state,
            "clear to send": data.clear_to_send,
            "vlans": pf.settings.vlans.of(vf),
            "filters": sorted(mac_text(f.address) for f in pf.settings.macs.vf_filters if f.vf == vf),
            "multicast hashes": sorted(data.hashes[: data.hash_count]),
            "all multicast": pool.multicast_promiscuous,
            "max frame": pool.max_frame,
        }

    def stats(self) -> dict[str, Any]:
        """Everything that is counted on this port, and the state of each VF."""
        pf = self.pf
        return {
            **pf.switch.counters(),
            "mailbox": dict(vars(pf.counts)),
            "vfs": {str(vf): self.show(vf) for vf in range(len(pf.vfs))},
            "anti-spoof": f"{pf.registers.state.dtxswc & SPOOF_ALL:#06x}",
            "in reset": pf.in_reset,
        }
