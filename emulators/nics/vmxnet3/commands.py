"""What a driver commands through CMD, and what each command answers.

In here: the register, and a method for each command that is more than a step of a run (those are in ``device``).

Commands read shared memory while the driver waits for their result, and drivers take tables back right afterwards. So they
are done in the register access itself, and memory that is reached by messages only is refused there (``shared-unreachable``).

Sources: as in ``device``; Linux vmxnet3_ethtool.c for those of a user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emulators.nics.vmxnet3.shared import AT, Refused
from regmodel.bank import Cause, Path
from regmodel.bars.vmxnet3 import Command
from regmodel.errors import DmaFault
from regmodel.structures.vmxnet3 import COALESCE_SCHEME, CoalesceMode, Feature, RssField

if TYPE_CHECKING:
    from emulators.nics.vmxnet3.device import Vmxnet3

FIXED_RINGS = 1
"""GET_ADAPTIVE_RING_INFO (QEMU hw/net/vmxnet3.c VMXNET3_DISABLE_ADAPTIVE_RING)."""
SUPPORTED_FIELDS = RssField.TCPIP4 | RssField.TCPIP6 | RssField.UDPIP4 | RssField.UDPIP6
SCHEME = COALESCE_SCHEME.sizeof()
_NUMBERED = {int(command): command for command in Command}
_GBIT, _IN_MBITS = 1000, 10_000


class Commands:
    """Those of ``model``."""

    def __init__(self, model: Vmxnet3) -> None:
        self.model, self.host, self._register = model, model.host, model.vd["cmd"]
        self._all = self._table()
        model.vd.on_write("cmd", self._written)

    def _written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """CMD: do it, and leave its result. What nobody knows is answered with 0, as by QEMU."""
        command, revision = _NUMBERED.get(new), self.model.revision
        if command is None or command.revision > revision:
            self.host.diagnose("unknown-command", command=new, revision=revision)
            self._register.value = 0
            return
        try:
            self._register.value = self._all[command]() or 0
        except Refused as refused:
            self._register.value = 0
            self.host.diagnose(refused.kind, command=command.name, **refused.detail)
        except DmaFault as fault:
            self._register.value = 0
            self.host.diagnose("shared-unreachable", command=command.name, fault=str(fault))

    def _table(self) -> dict[Command, Callable[[], int | None]]:
        def nothing() -> None:
            return None

        c, m, p = Command, self.model, self.model.properties
        return {
            c.ACTIVATE_DEV: m.activate, c.QUIESCE_DEV: m.stop, c.RESET_DEV: m.reset_device,
            c.UPDATE_RX_MODE: lambda: self._filter(m.filters.read_mode),
            c.UPDATE_MAC_FILTERS: lambda: self._filter(m.filters.read_groups),
            c.UPDATE_VLAN_FILTERS: lambda: self._filter(m.filters.read_vlans),
            c.UPDATE_RSSIDT: m.read_rss, c.UPDATE_FEATURE: self._update_features,
            c.UPDATE_IML: nothing, c.UPDATE_PMCFG: nothing, c.LOAD_PLUGIN: nothing, c.REGISTER_MEMREGS: nothing,
            c.SET_RING_BUFFER_SIZE: nothing,
            c.SET_COALESCE: self._set_coalesce, c.GET_COALESCE: self._get_coalesce,
            c.SET_RSS_FIELDS: self._set_fields, c.GET_RSS_FIELDS: lambda: int(m.fields),
            c.GET_QUEUE_STATUS: m.write_status, c.GET_STATS: m.write_statistics, c.GET_LINK: self._link,
            c.GET_PERM_MAC_LO: lambda: int.from_bytes((m.slot.mac or bytes(6))[:4], "little"),
            c.GET_PERM_MAC_HI: lambda: int.from_bytes((m.slot.mac or bytes(6))[4:], "little"),
            c.GET_DID_LO: lambda: m.device.identity.device, c.GET_DID_HI: lambda: m.device.identity.revision,
            c.GET_DEV_EXTRA_INFO: nothing,
            c.GET_CONF_INTR: lambda: m.interrupt_type | m.mask_mode << 2,
            c.GET_ADAPTIVE_RING_INFO: lambda: FIXED_RINGS,
            c.GET_TXDATA_DESC_SIZE: lambda: p.tx_data | (p.rx_data << 16 if m.revision >= 9 else 0),
            c.GET_MAX_QUEUES_CONF: lambda: p.tx_queues | p.rx_queues << 8,
            c.GET_MAX_CAPABILITIES: m.offered, c.GET_DCR0_REG: lambda: m.capabilities,
            c.GET_TSRING_DESC_SIZE: nothing,  # 0: there are no timestamp rings
            c.GET_DISABLED_OFFLOADS: lambda: (not p.tso) | (not p.lro) << 1,
        }  # fmt: skip

    def _link(self) -> int:
        """GET_LINK: the speed in Mbit/s. Drivers of revision 9 take less than 10000 for Gbit/s; the one of Linux 6.12 does not,
        so 10 Gbit/s is told as 10000.
        """
        speed = self.model.properties.speed
        if self.model.revision >= 9 and not _IN_MBITS <= speed <= 0xFFFF:
            speed //= _GBIT
        return min(speed, 0xFFFF) << 16 | int(self.model.slot.link.up)

    def _set_fields(self) -> None:
        """SET_RSS_FIELDS: what of it is supported; the driver asks what that was."""
        self.model.fields = RssField(self._argument(4) & SUPPORTED_FIELDS)
        self.model.make_rss()

    def _argument(self, size: int) -> int:
        """The command's argument in DriverShared."""
        return int.from_bytes(self.host.dma.read(self.model.shared_at + AT["cu.data"], size), "little")

    def _scheme_at(self) -> int:
        """Where cmdInfo places a CoalesceScheme. Raises ``Refused``."""
        argument = self._argument(16)
        length, at = argument >> 32 & 0xFFFF_FFFF, argument >> 64
        if length < SCHEME:
            raise Refused("coalesce-length", bytes=length)
        return at

    def _set_coalesce(self) -> None:
        """Taken and told again; interrupts come once per burst whatever it says."""
        scheme = bytes(self.host.dma.read(self._scheme_at(), SCHEME))
        if int.from_bytes(scheme[:4], "little") not in tuple(CoalesceMode):
            raise Refused("coalesce-mode", mode=int.from_bytes(scheme[:4], "little"))
        self.model.scheme = scheme

    def _get_coalesce(self) -> None:
        self.host.dma.write(self._scheme_at(), self.model.scheme)

    def _filter(self, read: Callable[[Any, int], None]) -> None:
        """Read one part of rxFilterConf and tell the switch."""
        model = self.model
        if model.conf is not None:
            read(self.host.dma, model.conf.at)
            model.apply()

    def _update_features(self) -> None:
        model = self.model
        if model.conf is not None:
            word = int.from_bytes(self.host.dma.read(model.conf.at + AT["devRead.misc.uptFeatures"], 8), "little")
            model.conf = replace(model.conf, features=Feature(word & sum(Feature)))
            model.apply()
            model.read_rss()
