"""The model of one VMXNET3: registers, and the run from ACTIVATE to the next stop.

In here: revision and capabilities, a run, statistics, link and error events, resets. Commands are in ``commands``, queues in
``transmit`` and ``receive``, the way to the latter in ``delivery``, vectors in ``interrupts``, what to receive in ``filters``,
the driver's configuration in ``shared``, images in ``state``.

Drivers do not wait for the result of GET_STATS: they read statistics right behind the register write, which QEMU's
vfio-user-pci posts (hw/vfio/pci.c ``vfio_bar_prepare``). So those in memory are kept fresh without being asked for.

Sources: ``regmodel.bars.vmxnet3``; Linux vmxnet3_drv.c ``vmxnet3_probe_device``, ``vmxnet3_activate_dev``,
``vmxnet3_process_events``; DPDK vmxnet3_ethdev.c; QEMU hw/net/vmxnet3.c ``vmxnet3_handle_command``, for revision 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from emulators.host import Host
from emulators.model import RingState
from emulators.nics.vmxnet3.commands import SCHEME, Commands
from emulators.nics.vmxnet3.delivery import Delivery
from emulators.nics.vmxnet3.filters import Filters, takes
from emulators.nics.vmxnet3.interrupts import Interrupts
from emulators.nics.vmxnet3.marks import Rss
from emulators.nics.vmxnet3.receive import ReceiveQueue
from emulators.nics.vmxnet3.shared import AT, RX_AT, TX_AT, Refused, RssConf, Shared, read_rss, read_shared
from emulators.nics.vmxnet3.state import VERSION, load, save
from emulators.nics.vmxnet3.steering import control, stats
from emulators.nics.vmxnet3.transmit import TransmitQueue
from emulators.state import take_on
from regmodel.bank import Bank, Cause, Path
from regmodel.catalogue import Device
from regmodel.errors import DmaFault
from regmodel.function import Buffer, ResetCause, Timer
from regmodel.structures.vmxnet3 import CoalesceMode, Event, Feature, InterruptType, MaskMode, QueueError, RssField

if TYPE_CHECKING:
    from emulators.nics.vmxnet3.card import Properties
    from emulators.standalone import StandaloneSlot

ACTIVATED, NOT_ACTIVATED = 0, 1
DEFAULT_FIELDS = RssField.TCPIP4 | RssField.TCPIP6
DCR_BITS = (
    "udp_rss", "geneve_checksum_offload", "geneve_tso", "vxlan_checksum_offload", "vxlan_tso",
    "geneve_outer_checksum_offload", "vxlan_outer_checksum_offload",
)  # fmt: skip
PUBLISHED = 5_000_000
"""ns from the first packet that a queue has counted to its statistics in memory."""


class Vmxnet3:
    """A ``Model``, and the ``Endpoint`` of its pool."""

    def __init__(self, device: Device, host: Host, slot: StandaloneSlot[Properties]) -> None:
        self.device, self.host, self.slot, self.properties = device, host, slot, slot.properties
        self.pt, self.vd = (Bank(device.bars[index], now=host.clock.now) for index in (0, 1))
        self.banks: Mapping[int, Bank] = {0: self.pt, 1: self.vd}
        self.interrupts = Interrupts(self.pt, self.vd, host)
        self.filters = Filters(slot.pool)
        self.transmit: list[TransmitQueue] = []
        self.receive: list[ReceiveQueue] = []
        self.conf: Shared | None = None
        self.rss: Rss | None = None
        self.rss_conf: RssConf | None = None
        self._publishing: Timer | None = None
        self.on_offer = self.properties.revision
        self.interrupt_type, self.mask_mode = InterruptType.AUTO, MaskMode.AUTO
        self.delivery = Delivery(self)
        self._events = self._tell
        self._defaults()
        self._listen()
        self.commands = Commands(self)
        self._power_on()
        slot.link.listen(self._link_changed)

    def _defaults(self) -> None:
        """What RESET_DEV forgets."""
        self.fields = DEFAULT_FIELDS
        self.scheme = CoalesceMode.DISABLED.to_bytes(4, "little").ljust(SCHEME, b"\0")
        self._told = 0

    def _power_on(self) -> None:
        """Registers that show what this NIC is."""
        self.revision = 1
        self.capabilities = 0
        self.vd["vrrs"].value = (1 << self.on_offer) - 1
        self._set_address(self.slot.mac or bytes(6))

    def _listen(self) -> None:
        hooks: dict[str, Callable[[Path, int, int, int, Cause], None]] = {
            "vrrs": self._revision_written, "dsal": self._shared_written, "dsah": self._shared_written,
            "mach": self._address_written, "ecr": self._events_written,
            "dcr": self._capabilities_written,
        }  # fmt: skip
        for name, hook in hooks.items():
            self.vd.on_write(name, hook)
        for prefix in ("", "lb_") if self.device.variant["large_bar"] else ("",):
            self.pt.on_write(f"{prefix}txprod", self._tx_doorbell)
            self.pt.on_write(f"{prefix}rxprod", self._rx_doorbell)
            self.pt.on_write(f"{prefix}rxprod2", self._rx_doorbell)

    # -- registers

    def _tx_doorbell(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if path.instance < len(self.transmit):
            queue = self.transmit[path.instance]
            if new >= queue.ring.size:
                self.host.diagnose("doorbell-beyond-ring", register=str(path), index=new, descriptors=queue.ring.size)
            queue.doorbell()

    def _rx_doorbell(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if path.instance < len(self.receive):
            self.receive[path.instance].doorbell()

    def _revision_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """VRRS: one bit, of those on offer."""
        if new & new - 1 or not new & self.vd["vrrs"].value:
            self.host.diagnose("revision-not-on-offer", written=new)
            return
        self.revision = new.bit_length()
        later = self.revision >= 7
        self.capabilities = 0
        self.vd["dcr"].value = self.offered() if later else 0
        self.vd["ptcr"].set(error=int(later))  # this is no pass-through

    def offered(self) -> int:
        """The bits of DCR."""
        fields = self.vd["dcr"].fields
        offered = sum(fields[name].mask for name in DCR_BITS)
        return offered | (fields["large_bar"].mask if self.device.variant["large_bar"] else 0)

    def _capabilities_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """DCR: what the driver wants; GET_DCR0_REG tells what it got."""
        if self.revision >= 7:
            self.capabilities = new & self.offered()

    def _shared_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Drivers write 0 when they leave (QEMU takes a low half of 0 for that)."""
        if not self.shared_at:
            self.stop()

    @property
    def shared_at(self) -> int:
        address: int = self.vd["dsah"].value << 32 | self.vd["dsal"].value
        return address

    def _address_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """MACL and MACH take effect when the second is written."""
        self.filters.address = self.vd["macl"].value.to_bytes(4, "little") + (new & 0xFFFF).to_bytes(2, "little")
        self.apply()

    def _set_address(self, address: bytes) -> None:
        self.filters.address = address
        self.vd["macl"].value = int.from_bytes(address[:4], "little")
        self.vd["mach"].value = int.from_bytes(address[4:], "little")

    def apply(self) -> None:
        shared = self.conf
        if shared is None:
            self.filters.apply(False)
        else:
            self.delivery.choose(shared.features)
            unfinished = takes(shared.features, self.properties.lro)
            self.filters.apply(True, shared.mtu, unfinished)

    def read_rss(self) -> None:
        """The RSS configuration, where the driver wants RSS and has queues for it."""
        self.rss_conf = None
        try:
            if self.conf is not None and self.conf.features & Feature.RSS and len(self.receive) > 1:
                self.rss_conf = read_rss(self.host.dma, self.conf.at, len(self.receive))
        finally:
            self.make_rss()

    def make_rss(self) -> None:
        self.rss = None if self.rss_conf is None else Rss(self.rss_conf, self.fields)

    # -- a run

    def activate(self) -> int:
        """ACTIVATE_DEV: 0, or 1 with a diagnosis when what the driver says makes no sense."""
        if self.conf is not None:
            return ACTIVATED
        p = self.properties
        try:
            shared = read_shared(self.host.dma, self.shared_at, self.revision, p.tx_queues, p.rx_queues, p.mtu)
            self._start(shared)
            self.filters.read_mode(self.host.dma, shared.at)
            self.filters.read_vlans(self.host.dma, shared.at)
            self.filters.read_groups(self.host.dma, shared.at)
            self.read_rss()
        except (Refused, DmaFault) as error:
            self.stop()
            refused = error if isinstance(error, Refused) else Refused("shared-unreachable", fault=str(error))
            self.host.diagnose(refused.kind, command="ACTIVATE_DEV", **refused.detail)
            return NOT_ACTIVATED
        self.apply()
        self._remark_vectors(shared)
        return ACTIVATED

    def _remark_vectors(self, shared: Shared) -> None:
        """A vector that there is not is never sent, and no error: where DPDK has no vector for a transmit queue, it puts the
        low octet of -ERANGE there (vmxnet3_ethdev.c ``vmxnet3_setup_driver_shared``, ``rte_intr_vec_list_index_get``), and
        polls. QEMU ends in ``vmxnet3_validate_interrupt_idx``.
        """
        highest, vectors = shared.highest_vector, self.interrupts.vectors
        if highest >= vectors:
            self.host.remark("shared-vector", vector=highest, vectors=vectors)

    def _start(self, shared: Shared) -> None:
        """Queues for ``shared``, and vectors. Raises ``DmaFault``."""
        self.conf = shared
        self.make_queues(shared)
        for queue in self.transmit:
            queue.open()
        self.write_status()
        self.interrupts.start(shared.auto_mask, shared.control, shared.moderated)

    def make_queues(self, shared: Shared) -> None:
        host, cause, lro = self.host, self._worked, self.revision >= 2
        queues = len(shared.rx)

        def stopped(event: Event) -> Callable[[QueueError], None]:
            return lambda error: self._queue_stopped(event)

        self.transmit = [TransmitQueue(host, n, conf, cause, stopped(Event.TQERR)) for n, conf in enumerate(shared.tx)]
        self.receive = [
            ReceiveQueue(host, n, conf, queues, shared.fragments, lro, cause, stopped(Event.RQERR))
            for n, conf in enumerate(shared.rx)
        ]

    def stop(self) -> None:
        """QUIESCE_DEV: queues and vectors rest, nothing is received."""
        for sender in self.transmit:
            sender.close()
        for receiver in self.receive:
            receiver.close()
        self.transmit, self.receive = [], []
        self.conf, self.rss, self.rss_conf = None, None, None
        self.interrupts.stop()
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        self.filters.clear()
        self.apply()

    def reset_device(self) -> None:
        """RESET_DEV: all but revision, capabilities and address."""
        self.stop()
        self._defaults()
        for name in ("dsal", "dsah", "ecr"):
            self.vd[name].value = 0
        for cell in self.pt.all("imr"):
            cell.value = 1
        self.interrupts.reset()

    def write_status(self) -> None:
        """GET_QUEUE_STATUS: whether each queue has stopped, and why. Raises ``DmaFault``."""
        places = [(q.error, q.conf.at + TX_AT["status.stopped"]) for q in self.transmit]
        places += [(q.error, q.conf.at + RX_AT["status.stopped"]) for q in self.receive]
        for error, at in places:
            status = int(error is not None).to_bytes(4, "little") + int(error or 0).to_bytes(4, "little")
            self.host.dma.write(at, status)

    def write_statistics(self) -> None:
        """GET_STATS. Raises ``DmaFault``."""
        for sender in self.transmit:
            self.host.dma.write(sender.conf.at + TX_AT["stats.TSOPktsTxOK"], sender.statistics.packed())
        for receiver in self.receive:
            self.host.dma.write(receiver.conf.at + RX_AT["stats.LROPktsRxOK"], receiver.statistics.packed())

    def _worked(self, vector: int, *, soon: bool = True) -> None:
        """A queue has done something that ``vector`` tells of, and has counted it; ``soon`` unless that can wait a little."""
        if soon:
            self.interrupts.cause(vector)
        else:
            self.interrupts.later(vector)
        if self._publishing is None:
            self._publishing = self.host.clock.call_at(self.host.clock.now() + PUBLISHED, self._publish)

    def _publish(self) -> None:
        """Statistics in memory are never much older than that: see the module."""
        self._publishing = None
        try:
            self.write_statistics()
        except DmaFault as fault:
            self.host.diagnose("shared-unreachable", fault=str(fault))

    # -- events

    def _link_changed(self, up: bool) -> None:
        self._event(Event.LINK)

    def _queue_stopped(self, event: Event) -> None:
        try:
            self.write_status()
        except DmaFault as fault:
            self.host.diagnose("shared-unreachable", fault=str(fault))
        self._event(event)

    def _event(self, event: Event) -> None:
        """Show it in ECR, and soon in memory, with the vector of events. A device at rest has none."""
        if self.conf is not None:
            self.vd["ecr"].value |= int(event)
            self.host.defer(self._events)

    def _tell(self) -> bool:
        if self.conf is not None and self._show_events():
            self.interrupts.cause(self.conf.event_vector)
        return False

    def _show_events(self) -> bool:
        """DriverShared.ecr is what ECR is."""
        assert self.conf is not None
        try:
            self.host.dma.write(self.conf.at + AT["ecr"], self.vd["ecr"].value.to_bytes(4, "little"))
        except DmaFault as fault:
            self.host.diagnose("shared-unreachable", fault=str(fault))
            return False
        return True

    def _events_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """The driver has seen some; the bank has cleared them."""
        if self.conf is not None:
            self._show_events()

    # -- the switch

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        """Frames that passed the pool's filters; how many found a place (see ``emulators.fabric.pool.Endpoint``)."""
        return 0 if self.conf is None else self.delivery.deliver(frames)

    # -- the user

    def control(self, words: Sequence[str]) -> object:
        """See ``steering``. Raises ``UsageError``."""
        return control(self, words)

    def offer(self, revision: int) -> None:
        """The newest revision that the next driver finds."""
        self.on_offer = revision
        self.vd["vrrs"].value = (1 << revision) - 1

    def rings(self) -> list[RingState]:
        """Where its command rings stand."""
        rings = [(f"transmit {queue.index}", queue.ring) for queue in self.transmit]
        rings += [(f"receive {queue.index}, ring {n}", ring) for queue in self.receive for n, ring in enumerate(queue.rings, 1)]
        waiting = [(name, ring, len(ring.entries(self.host.dma, ring.size)) // 2) for name, ring in rings if ring.size]
        return [RingState(name, ring.next, count, ring.size) for name, ring, count in waiting]

    def stats(self) -> Mapping[str, Any]:
        """Counters by queue."""
        return stats(self)

    # -- resets and state

    def reset(self, cause: ResetCause) -> None:
        """All of it, as after power-on."""
        self.pt.reset(cause)
        self.vd.reset(cause)
        self.reset_device()
        self._power_on()
        self.vd["dcr"].value = self.vd["ptcr"].value = 0

    def save(self) -> dict[str, object]:
        """A JSON-able image of registers and engine."""
        return save(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is not of this device."""
        take_on(state, self.device.name, VERSION, self.save, partial(load, self))
