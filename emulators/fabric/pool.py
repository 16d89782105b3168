"""A pool of the switch: the queues of one VF, or of the PF, with the filters that the PF programs for it.

In here: the settings of one pool and its door to the switch. The order in which settings decide is in ``resolve``.

All settings are plain attributes with immutable values. An assignment takes effect with the next burst: it empties the
switch's cache of resolved destinations. In brackets: the name of the bit or register in the 82576 datasheet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from emulators.fabric.counters import Drop, PortCounters, Traffic
from emulators.fabric.frames import FCS, STANDARD, TAG, vlan_tag
from emulators.fabric.offload import Takes
from regmodel.function import Buffer

if TYPE_CHECKING:
    from emulators.fabric.resolve import Verdict
    from emulators.fabric.switch import Switch


class Endpoint(Protocol):
    """The receive side of a model."""

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        """Take frames that passed the pool's filters, valid during the call only; say how many found buffers.

        ``loopback``: they come from a pool of the same port. Must not transmit before it returns: defer that.
        """


class VlanInsert(Enum):
    """Who decides on the tag of a transmitted frame (82576 datasheet, VMVIR[n].VLANA)."""

    DESCRIPTOR = 0  # the model inserts what the descriptor asks for
    DEFAULT = 1  # the switch inserts the port VLAN; the model ignores the descriptor
    NEVER = 2  # nobody: the model ignores the descriptor


class Configured:
    """Tells ``_changed`` of every assignment to one of its ``SETTINGS``."""

    SETTINGS: frozenset[str] = frozenset()

    def _changed(self) -> None:
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in self.SETTINGS:
            self._changed()


SpoofListener = Callable[["Pool", Drop], None]


class Pool(Configured, PortCounters):
    """One port of the switch with an endpoint behind it. Made by ``Switch.add_pool``.

    It counts what its endpoint transmits as ``tx`` and what it receives as ``rx``; ``tx_loopback`` and ``rx_loopback``
    are the parts that stay within the port: frames that went to one pool or several, and copies that came from one.
    """

    macs: frozenset[bytes]  # exact filters, unicast or multicast, and what MAC anti-spoof allows [RAL/RAH.POOLSEL]
    accept_broadcast: bool  # [VMOLR.BAM]
    accept_untagged: bool  # while the port filters VLANs [VMOLR.AUPE]
    multicast_hash: bool  # accept what hits the port's multicast hash filter [VMOLR.ROMPE]
    multicast_promiscuous: bool  # [VMOLR.MPME]
    unicast_hash: bool  # accept what hits the port's unicast hash filter [VMOLR.ROPE]
    unicast_promiscuous: bool  # 82576 and I350 have none [X540: VMOLR.UPE]
    max_frame: int | None  # octets with FCS [VMOLR.RLPML]; None: no long packets, 1518 or 1522 tagged [VMOLR.LPE = 0]
    strip_vlan: bool  # what the model does to received tags [VMOLR.STRVLAN, I350: DVMOLR.STRVLAN]
    mac_anti_spoof: bool  # [DTXSWC.MACAS]
    vlan_anti_spoof: bool  # [DTXSWC.VLANAS]
    local_loopback: bool  # its own frames may come back to it [DTXSWC.LLE]
    transmit_enable: bool  # [VFTE]
    receive_enable: bool  # [VFRE]
    vlan_insert: VlanInsert  # [VMVIR.VLANA]
    port_vlan: bytes | None  # the tag to insert: see set_port_vlan [VMVIR.Port VLAN ID]
    takes: Takes  # partial frames that its endpoint takes unfinished; no register says so

    SETTINGS = frozenset(__annotations__)

    def __init__(self, switch: Switch, name: str, index: int) -> None:
        super().__init__()
        self.switch = switch
        self.name = name
        self.index = index
        self.endpoint: Endpoint | None = None
        self.on_spoof: SpoofListener | None = None
        self.tx, self.rx = self.entered, self.left
        self.tx_loopback, self.rx_loopback = Traffic(), Traffic()
        self.cache: dict[bytes, Verdict] = {}
        self.reset()

    def reset(self) -> None:
        """All settings as after power-on; endpoint, listeners and counters stay."""
        self.macs = frozenset()
        self.accept_broadcast = self.accept_untagged = False
        self.multicast_hash = self.multicast_promiscuous = False
        self.unicast_hash = self.unicast_promiscuous = False
        self.max_frame = None
        self.strip_vlan = False
        self.mac_anti_spoof = self.vlan_anti_spoof = self.local_loopback = False
        self.transmit_enable = self.receive_enable = False
        self.takes = Takes.NONE
        self.set_port_vlan(None)

    def set_port_vlan(self, vid: int | None, priority: int = 0) -> None:
        """Insert this tag into every transmitted frame, or leave it to descriptors (None). Receive filters are set apart."""
        self.port_vlan = None if vid is None else vlan_tag(vid, priority)
        self.vlan_insert = VlanInsert.DESCRIPTOR if vid is None else VlanInsert.DEFAULT

    @property
    def strip_vlan_replicated(self) -> bool:
        """What the model does to the tags of received multicast and broadcast frames."""
        port = self.switch.strip_replicated
        return self.strip_vlan if port is None else port

    def longest(self, tagged: bool) -> int:
        """Octets, without FCS, of the longest frame that this pool receives."""
        own = (STANDARD + TAG * tagged) if self.max_frame is None else self.max_frame
        return min(own, self.switch.max_frame) - FCS

    def shorter(self, frames: Sequence[Buffer], tagged: bool) -> Sequence[Buffer]:
        """Those of ``frames`` that are not too long for this pool; counts the others."""
        limit = self.longest(tagged)
        kept = [frame for frame in frames if len(frame) <= limit]
        if len(kept) == len(frames):
            return frames
        self.lost[Drop.TOO_LONG] += len(frames) - len(kept)
        return kept

    def transmit(self, frames: Sequence[Buffer]) -> None:
        """Switch a burst of the endpoint: checksummed, segmented, with the descriptor's tag in place."""
        self.switch.transmit(self, frames)

    send = transmit  # a pool is the ``Packets`` of its model's host (regmodel.function)

    def clear_counters(self) -> None:
        super().clear_counters()
        self.tx_loopback.clear()
        self.rx_loopback.clear()

    def as_dict(self) -> dict[str, Any]:
        loopback = {"tx": self.tx_loopback.as_dict(), "rx": self.rx_loopback.as_dict()}
        return {"tx": self.tx.as_dict(), "rx": self.rx.as_dict(), "loopback": loopback, "dropped": self.dropped()}

    def _changed(self) -> None:
        self.switch.invalidate()
