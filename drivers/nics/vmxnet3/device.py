"""``VmxNet3``: a VMXNET3 as a port. Commands, filters, link, and the queues as a whole.

In here: the order of things, as ``drivers.ethdev`` asks for them. What the memory says that driver and device share is in
``shared``, what both agree on beforehand in ``handshake``, how packets travel in ``receive`` and ``transmit``.

The device is told little by registers: it is shown a structure in memory and then commanded to look at it. All of that is
valid from ACTIVATE_DEV to RESET_DEV, so a port that is not started just keeps what it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drivers.errors import RingError, UnsupportedReply
from drivers.ethdev import Descriptors, EthDev, Event, Info, Link, RxOffload, Settings, Stats, TxOffload
from drivers.nics.vmxnet3.handshake import agree
from drivers.nics.vmxnet3.interrupts import Interrupts
from drivers.nics.vmxnet3.receive import ReceiveQueue
from drivers.nics.vmxnet3.shared import MOST_GROUPS, Shared
from drivers.nics.vmxnet3.statistics import Statistics
from drivers.nics.vmxnet3.transmit import TransmitQueue
from drivers.registers.vmxnet3 import Vmxnet3
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.rings.vmxnet3 import DATA_STEP, RING_SIZE_STEP, RX_DATA_MOST, RX_RING_MOST, TX_RING_MOST
from regmodel.structures.vmxnet3 import MTU_LEAST, MTU_MOST, MTU_MOST_V6, QueueError
from regmodel.structures.vmxnet3 import Event as Cause

OVERHEAD = 14 + 2 * 4
"""Octets of a frame beside its MTU: the Ethernet header and two tags. There is no FCS."""
LEAST_ROOM = 128
"""Bytes of a receive buffer (vmxnet3_defs.h ``VMXNET3_MIN_T0_BUF_SIZE``)."""
GIGABITS = 10_000
"""GET_LINK of revision 9 tells speeds below this number in Gbit/s."""
RX_OFFLOADS = (
    RxOffload.CHECKSUM
    | RxOffload.VLAN_STRIP
    | RxOffload.VLAN_FILTER
    | RxOffload.SCATTER
    | RxOffload.RSS_HASH
    | RxOffload.PACKET_TYPE
)
TX_OFFLOADS = (
    TxOffload.VLAN_INSERT | TxOffload.UDP_CKSUM | TxOffload.TCP_CKSUM | TxOffload.TCP_TSO | TxOffload.MULTI_SEGS
)
"""There is no checksum of the IP header but with TSO."""


class VmxNet3(EthDev):
    """A VMXNET3.

    ``revision`` is the newest one to agree on. ``rx_data``: short packets go into a data ring of pieces of so many bytes
    (revision 3; 0: they do not), which costs this driver a copy and is there for the device's sake.
    """

    driver = "vmxnet3"

    def __init__(self, transport: Transport, device: Device, *, revision: int | None = None, rx_data: int = 0) -> None:
        super().__init__(transport, device)
        if not 0 <= rx_data <= RX_DATA_MOST or rx_data % DATA_STEP:
            raise UsageError(f"pieces of a data ring have 0 to {RX_DATA_MOST} bytes, in {DATA_STEP}, not {rx_data}")
        self.registers = Vmxnet3(device, transport)
        self.agreed = agree(self.registers, device, transport, revision)
        self._rx_data = rx_data if self.agreed.revision >= 3 else 0
        self._shared = Shared(transport, self.agreed.tx_queues, self.agreed.rx_queues)
        self.statistics = Statistics(self.agreed.rx_queues, self.agreed.tx_queues)
        self._receivers: list[ReceiveQueue] = []
        self._senders: list[TransmitQueue] = []
        self._interrupts: Interrupts | None = None
        self._interrupt_counts = [0] * (self.agreed.rx_queues + 1)
        self._rx_totals = [0, 0]  # errors and lack of buffers in queues that are no more
        self._active = False
        self.link_changes = 0
        self._was_up, self._told_changes = False, 0
        self._reset()
        low, high = self.registers.macl.read(), self.registers.mach.read()
        self._mac = low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")
        self._link()
        self._told_changes = self.link_changes

    # -- what it is

    def info(self) -> Info:
        agreed = self.agreed
        return Info(
            driver=self.driver,
            device=self.device.name,
            max_rx_queues=agreed.rx_queues,
            max_tx_queues=agreed.tx_queues,
            rx_descriptors=Descriptors(RING_SIZE_STEP, RX_RING_MOST, RING_SIZE_STEP),
            tx_descriptors=Descriptors(RING_SIZE_STEP, TX_RING_MOST, RING_SIZE_STEP),
            min_mtu=MTU_LEAST,
            max_mtu=MTU_MOST_V6 if agreed.revision >= 6 else MTU_MOST,
            min_rx_room=LEAST_ROOM,
            max_mc_addrs=MOST_GROUPS,
            rx_offloads=RX_OFFLOADS,
            tx_offloads=TX_OFFLOADS,
            tso_max_mss=(1 << 14) - 1,
            tso_max_header=(1 << 10) - 1,
            rx_interrupts=agreed.vectors >= agreed.rx_queues + 2,
        )

    @property
    def mac_addr(self) -> bytes:
        return self._mac

    # -- up and down

    def _reset(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_reset_work``: the revisions that were agreed on survive, and so does the address."""
        self.registers.cmd.write(command="QUIESCE_DEV")
        self.registers.cmd.write(command="RESET_DEV")
        self._active = False

    def _restore(self) -> None:
        """What was asked for is told when the port starts; only the address stands in a register."""
        if self.settings.mac is not None:
            self._mac_addr_set(self.settings.mac)

    def _start(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_activate_dev``, DPDK vmxnet3_ethdev.c ``vmxnet3_dev_start``."""
        self._reset()
        s, shared = self.settings, self._shared
        self._check_room(s)
        shared.begin(s, automatic=self.agreed.automatic)
        try:
            self._make_queues(s)
            shared.hand_over()
            self._activate()
        except BaseException:
            self._abandon()
            raise
        counts = self._interrupt_counts
        self._interrupts = Interrupts(
            self.registers, self.transport, shared, s.rx_queues, self.agreed.automatic, counts
        )
        self._rx, self._tx = tuple(self._receivers), tuple(self._senders)

    def _check_room(self, s: Settings) -> None:
        """Of a frame that does not fit into a buffer the device would drop all, unless it may scatter it."""
        rooms = [setup.pool.room for setup in self._rx_setups.values()]
        if rooms and s.mtu + OVERHEAD > min(rooms) and RxOffload.SCATTER not in s.rx_offloads:
            text = f"an MTU of {s.mtu} needs buffers of {s.mtu + OVERHEAD} bytes, and the pool's have {min(rooms)}"
            raise UsageError(f"{text}: make them larger, or configure with RxOffload.SCATTER")

    def _make_queues(self, s: Settings) -> None:
        doors = self.agreed.doorbells
        for q in range(s.tx_queues):
            sender = TransmitQueue(doors[0][q].store, self.transport, q, self._tx_setups[q], self._shared.tx[q])
            self._senders.append(sender)
        for q in range(s.rx_queues):
            receiver = ReceiveQueue(
                (doors[1][q].store, doors[2][q].store), self.transport, q, s.rx_queues, self._rx_setups[q], s.rx_offloads,
                self._shared.rx[q], self._rx_data,
            )  # fmt: skip
            self._receivers.append(receiver)
            receiver.fill()

    def _activate(self) -> None:
        """The address is written afterwards: QEMU's model goes back to its permanent one (``vmxnet3_activate_device``)."""
        registers, s = self.registers, self.settings
        registers.dsal.write(self._shared.root.iova & 0xFFFF_FFFF)
        registers.dsah.write(self._shared.root.iova >> 32)
        if answer := registers.cmd.execute(command="ACTIVATE_DEV"):
            text = f"ACTIVATE_DEV is answered with {answer:#x}: the device does not like what DriverShared says; see its log"
            raise UnsupportedReply(f"{self.transport.name}: {text}")
        self._active = True
        self._write_mac(self._mac)
        if self.agreed.revision >= 7:
            self._shared.buffer_sizes(min(setup.pool.room for setup in self._rx_setups.values()) if s.rx_queues else 0)
            registers.cmd.write(command="SET_RING_BUFFER_SIZE")
        for receiver in self._receivers:
            receiver.begin()
        registers.cmd.write(command="UPDATE_RX_MODE")
        registers.cmd.write(command="UPDATE_VLAN_FILTERS")
        registers.cmd.write(command="UPDATE_MAC_FILTERS")
        self._link()

    def _stop(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_close``. The device rests before memory goes."""
        try:
            if self._interrupts is not None:
                self._interrupts.disarm()
            self._count()
            self._reset()
        except BaseException:
            self._abandon()
            raise
        self._release()

    def _abandon(self) -> None:
        """A reset needs nobody to answer."""
        try:
            if self._interrupts is not None:
                self._interrupts.forget()
            self._reset()
        finally:
            self._active = False
            self._release()

    def _release(self) -> None:
        self._interrupts = None
        self._rx, self._tx = (), ()
        self.statistics.save()
        for receiver in self._receivers:
            self._rx_totals[0] += receiver.errors
            self._rx_totals[1] += receiver.no_buffers
            receiver.release()
        for sender in self._senders:
            sender.release()
        self._receivers, self._senders = [], []

    def _close(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_remove_device``: nobody shall find it talking, nor where its memory was."""
        self._reset()
        self.registers.dsal.write(0)
        self.registers.dsah.write(0)
        self._shared.release()

    # -- filters and modes: said in memory, and by a command while the device is active

    def _tell(self, command: str) -> None:
        if self._active:
            self.registers.cmd.write(command=command)  # type: ignore[arg-type, unused-ignore]

    def _promiscuous(self, on: bool) -> None:
        self._shared.modes(replace(self.settings, promiscuous=on))
        self._tell("UPDATE_RX_MODE")

    def _allmulticast(self, on: bool) -> None:
        self._shared.modes(replace(self.settings, allmulticast=on))
        self._tell("UPDATE_RX_MODE")

    def _mc_addr_list(self, addresses: Sequence[bytes]) -> None:
        if len(addresses) > MOST_GROUPS:
            raise UsageError(f"{self.device.name} filters {MOST_GROUPS} multicast addresses, not {len(addresses)}")
        self._shared.groups(addresses)
        self._shared.modes(replace(self.settings, mc_addrs=list(addresses)))
        self._tell("UPDATE_MAC_FILTERS")
        self._tell("UPDATE_RX_MODE")

    def _mac_addr_set(self, address: bytes) -> None:
        self._write_mac(address)
        self._mac = address

    def _write_mac(self, address: bytes) -> None:
        """vmxnet3_drv.c ``vmxnet3_write_mac_addr``."""
        self.registers.macl.write(int.from_bytes(address[:4], "little"))
        self.registers.mach.write(int.from_bytes(address[4:], "little"))

    def _vlan_filter(self, vid: int, on: bool) -> None:
        joined = self.settings.vlans | {vid} if on else self.settings.vlans - {vid}
        self._shared.vlans(replace(self.settings, vlans=joined))
        self._tell("UPDATE_VLAN_FILTERS")

    def _vlan_strip(self, on: bool) -> None:
        self._shared.features(replace(self.settings, vlan_strip=on))
        self._tell("UPDATE_FEATURE")

    def _mtu(self, mtu: int) -> None:
        """DPDK vmxnet3_ethdev.c ``vmxnet3_dev_mtu_set``: buffers may have to be others."""
        if self._active and mtu != self.settings.mtu:
            raise UsageError(f"{self.device.name} changes its MTU while it is stopped: stop() first")

    # -- link, events, statistics

    def _link(self) -> Link:
        """vmxnet3_drv.c ``vmxnet3_check_link``."""
        self.registers.vrrs.read()  # raises DeviceGone
        answer = self.registers.cmd.execute(command="GET_LINK")
        up, speed = bool(answer & 1), answer >> 16
        if self.agreed.revision >= 9 and speed < GIGABITS:
            speed *= 1000
        if up != self._was_up:
            self._was_up = up
            self.link_changes += 1
        return Link(up, speed if up else 0, True, self.link_changes)

    def _watch(self) -> Event:
        """vmxnet3_drv.c ``vmxnet3_process_events``. A link that changed twice meanwhile has changed, too."""
        if self._active and (causes := self._shared.events):
            self.registers.ecr.write(causes)
            if causes & (Cause.RQERR | Cause.TQERR):
                self._judge_queues()
        self._link()
        event = Event.NONE
        if self.link_changes != self._told_changes:
            self._told_changes = self.link_changes
            event |= Event.LINK
        return event

    def _judge_queues(self) -> None:
        """Raises ``RingError`` for a queue that the device has stopped."""
        self.registers.cmd.execute(command="GET_QUEUE_STATUS")  # a read behind it: the write may be posted
        for what, queues in (("transmit", self._shared.tx), ("receive", self._shared.rx)):
            for q, area in enumerate(queues):
                area.sync_for_cpu()
                if area["status.stopped"]:
                    error = area["status.error"]
                    why = QueueError(error).name if error in list(QueueError) else f"{error:#x}"
                    raise RingError(f"the device has stopped {what} queue {q}: {why}; reset()")

    def _count(self) -> None:
        """The device writes its counters into memory."""
        if self._active:
            self.registers.cmd.execute(command="GET_STATS")  # a read behind it: the write may be posted
            self.statistics.update(self._shared.rx, self._shared.tx)

    def _stats(self) -> Stats:
        self._count()
        total = self.statistics.total
        return Stats(
            ipackets=total("ucastPktsRxOK", "mcastPktsRxOK", "bcastPktsRxOK"),
            opackets=total("ucastPktsTxOK", "mcastPktsTxOK", "bcastPktsTxOK"),
            ibytes=total("ucastBytesRxOK", "mcastBytesRxOK", "bcastBytesRxOK"),
            obytes=total("ucastBytesTxOK", "mcastBytesTxOK", "bcastBytesTxOK"),
            imissed=total("pktsRxOutOfBuf"),
            ierrors=total("pktsRxError"),
            oerrors=total("pktsTxError", "pktsTxDiscard"),
            rx_nombuf=self._rx_totals[1] + sum(q.no_buffers for q in self._receivers),
        )

    def _xstats(self) -> dict[str, int]:
        """The device's counters by queue, under their names in upt1_defs.h, and what the driver counts."""
        self._count()
        counted = {f"{way}_q{q}_{name}": value for way, queues in (("rx", self.statistics.rx), ("tx", self.statistics.tx))
                   for q, queue in enumerate(queues) for name, value in queue.items()}  # fmt: skip
        return counted | {
            "rx_damaged": self._rx_totals[0] + sum(q.errors for q in self._receivers),
            **{f"interrupts_rx_q{q}": count for q, count in enumerate(self._interrupt_counts[:-1])},
            "interrupts_events": self._interrupt_counts[-1],
            "link_changes": self.link_changes,
        }

    # -- interrupts

    def _armed(self) -> Interrupts:
        assert self._interrupts is not None  # the port is started
        if not self.info().rx_interrupts:
            raise self._cannot(f"interrupt: {self.transport.name} has {self.agreed.vectors} MSI-X vectors")
        if not self._interrupts.armed:
            self._interrupts.arm()
        return self._interrupts

    def _rx_intr(self, queue: int, on: bool) -> None:
        interrupts = self._armed()
        (interrupts.enable if on else interrupts.disable)(queue)

    def _intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        interrupts, event = self._armed(), Event.NONE
        queues = []
        for vector in interrupts.wait(timeout):
            if vector == interrupts.events:
                event |= self._watch()
                interrupts.judge(vector, self.link_changes)
                interrupts.enable(vector)
            else:
                interrupts.judge(vector, self._receivers[vector].taken)
                queues.append(vector)
        return queues, event
