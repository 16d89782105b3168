"""``VirtioNet``: a virtio network device as a port. Negotiation, queues as a whole, what is asked by command, link.

In here: the order of things, as ``drivers.ethdev`` asks for them. How registers are reached is in ``interface``, how commands
travel in ``control``, how packets do in ``receive`` and ``transmit``.

A device that was reset knows nothing: no feature, no queue, no filter, and it lets every packet in. So each bring-up begins
with a reset, and buffers are given when filters hold. Until ``start`` the control queue alone runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from drivers.errors import NotSupported, UnsupportedReply
from drivers.ethdev import Descriptors, EthDev, Event, Info, Link, RxOffload, Stats, TxOffload
from drivers.nics.virtio import control, header
from drivers.nics.virtio.interface import Configuration, Interface, open_interface
from drivers.nics.virtio.interrupts import Interrupts
from drivers.nics.virtio.packed import PackedQueue
from drivers.nics.virtio.receive import ReceiveQueue
from drivers.nics.virtio.split import SplitQueue
from drivers.nics.virtio.transmit import TransmitQueue
from drivers.nics.virtio.virtqueue import Virtqueue
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.function import Irq
from regmodel.structures.virtio_features import Feature

ACKNOWLEDGE, DRIVER, DRIVER_OK, NEEDS_RESET, FAILED = 0x01, 0x02, 0x04, 0x40, 0x80
"""The device status (VIRTIO 1.3, 2.1)."""
BASE = (
    Feature.MAC | Feature.STATUS | Feature.MTU | Feature.MRG_RXBUF | Feature.CTRL_VQ | Feature.CTRL_RX | Feature.CTRL_MAC_ADDR
    | Feature.ANY_LAYOUT | Feature.VERSION_1 | Feature.ACCESS_PLATFORM | Feature.ORDER_PLATFORM | Feature.SPEED_DUPLEX
)  # fmt: skip
"""Accepted wherever offered."""
CHECKSUMS = TxOffload.TCP_CKSUM | TxOffload.UDP_CKSUM
MAX_MTU = 0xFFFF - 18
"""Where the device does not say one: what a length of 16 bits leaves for the packet."""
OVERHEAD = 18
"""Octets of an Ethernet header and a VLAN tag."""
ADDRESSES = 64
"""Entries of both address tables together, as QEMU has them (hw/net/virtio-net.c ``MAC_TABLE_ENTRIES``)."""
UNKNOWN_SPEED = 0xFFFF_FFFF


class VirtioNet(EthDev):
    """A virtio network device, legacy, transitional or modern.

    ``packed``, ``event_idx``, ``notification_data``: use them where they are offered. ``legacy``: talk to a transitional
    device by port I/O. ``always_notify``: without regard to what the device asks for, so that two in lock-step, which look at
    their rings each in its own time, are both told. ``irq``: interrupt by message or by pin; None: as the device can. ``mac``
    is the address to use where the device has none.
    """

    driver = "virtio-net"

    def __init__(
        self, transport: Transport, device: Device, *, packed: bool = True, event_idx: bool = True,
        notification_data: bool = True, legacy: bool = False, always_notify: bool = False, irq: Irq | None = None,
        mac: bytes | None = None,
    ) -> None:  # fmt: skip
        super().__init__(transport, device)
        self._wanted = Feature(0)
        for wanted, features in ((packed, Feature.RING_PACKED), (event_idx, Feature.EVENT_IDX),
                                 (notification_data, Feature.NOTIFICATION_DATA)):  # fmt: skip
            self._wanted |= features if wanted else 0
        self._always_notify = always_notify
        self.link_changes = 0
        self._was_up, self._told_changes = False, 0
        self._irq, self._random = irq, mac
        self._interrupts: Interrupts | None = None
        self._receivers: list[ReceiveQueue] = []
        self._senders: list[TransmitQueue] = []
        self._control: control.Control | None = None
        self._totals = Stats()  # of queues that are no more
        self._commands = [0, 0]
        self._broken = False
        self.interface: Interface = open_interface(transport, device, legacy=legacy)
        self._offered = self._hello()
        self._config: Configuration = self.interface.configuration(self._offered)
        self._sizes = [self.interface.queue_size(queue) for queue in range(2)]
        if not all(self._sizes):
            raise UnsupportedReply(f"{transport.name}: the device has no queues for packets")
        self._interrupt_counts = [0] * (self._pairs + 1)
        self._mac = self._config.mac
        self._reset()
        self._told_changes = self.link_changes

    # -- what it is

    @property
    def features(self) -> Feature:
        """What was negotiated."""
        return self.interface.features

    @property
    def _pairs(self) -> int:
        return max(1, min(self._config.pairs, self.device.variant["pairs"])) if self._has(Feature.MQ | Feature.CTRL_VQ) else 1

    def _has(self, features: Feature) -> bool:
        """The device offers all of these."""
        return bool(self._offered & features == features)

    def info(self) -> Info:
        rx = RxOffload.SCATTER if self._has(Feature.MRG_RXBUF) else RxOffload.NONE
        rx |= RxOffload.CHECKSUM if self._has(Feature.GUEST_CSUM) else RxOffload.NONE
        rx |= RxOffload.VLAN_FILTER if self._has(Feature.CTRL_VQ | Feature.CTRL_VLAN) else RxOffload.NONE
        tx = TxOffload.VLAN_INSERT | TxOffload.MULTI_SEGS
        tx |= CHECKSUMS if self._has(Feature.CSUM) else TxOffload.NONE
        tx |= TxOffload.TCP_TSO if self._has(Feature.CSUM | Feature.HOST_TSO4 | Feature.HOST_TSO6) else TxOffload.NONE
        return Info(
            driver=self.driver,
            device=self.device.name,
            max_rx_queues=self._pairs,
            max_tx_queues=self._pairs,
            rx_descriptors=Descriptors(2, self._sizes[0], 1),
            tx_descriptors=Descriptors(4, self._sizes[1], 1),
            max_mtu=min(self._config.mtu or MAX_MTU, MAX_MTU),
            min_rx_room=1536,
            max_mac_addrs=1 + ADDRESSES,
            max_mc_addrs=ADDRESSES,
            rx_offloads=rx,
            tx_offloads=tx,
            tso_max_mss=0xFFFF,
            tso_max_header=256,
            rx_interrupts=bool(self.transport.irq_vectors(Irq.MSIX) > 1 or self.transport.irq_vectors(Irq.INTX)),
        )

    @property
    def mac_addr(self) -> bytes:
        return self._mac

    # -- from reset to DRIVER_OK

    @property
    def reset_needed(self) -> bool:
        return self._broken

    def _hello(self) -> Feature:
        """VIRTIO 1.3, 3.1.1, steps 1 to 4: what the device offers. Raises ``DeviceGone``."""
        self.interface.reset()
        self.interface.set_status(ACKNOWLEDGE)
        self.interface.set_status(ACKNOWLEDGE | DRIVER)
        offered = self.interface.offered()
        if self.interface.modern and not offered & Feature.VERSION_1:
            raise UnsupportedReply(f"{self.transport.name}: a modern device that does not offer VERSION_1")
        return offered

    def _accepted(self, pairs: int) -> Feature:
        """What is accepted of what is offered, for the offloads that were asked for."""
        s = self.settings
        wanted = BASE | self._wanted
        if s.rx_offloads & RxOffload.CHECKSUM:
            wanted |= Feature.GUEST_CSUM
        if s.rx_offloads & RxOffload.VLAN_FILTER or s.vlans or not pairs:
            wanted |= Feature.CTRL_VLAN
        if s.tx_offloads & (CHECKSUMS | TxOffload.TCP_TSO):
            wanted |= Feature.CSUM
        if s.tx_offloads & TxOffload.TCP_TSO:
            wanted |= Feature.HOST_TSO4 | Feature.HOST_TSO6
        if pairs > 1:
            wanted |= Feature.MQ
        if not self._offered & Feature.CTRL_VQ:  # all of these are done by command (VIRTIO 1.3, 5.1.3.1)
            wanted &= ~(Feature.CTRL_RX | Feature.CTRL_VLAN | Feature.CTRL_MAC_ADDR | Feature.MQ)
        return self._offered & wanted

    def _bring_up(self, rx_queues: int, tx_queues: int) -> None:
        """VIRTIO 1.3, 3.1.1, whole: with so many queues, which have no buffers yet, and the filters of a quiet port."""
        pairs = max(rx_queues, tx_queues)
        if pairs > 1 and rx_queues != tx_queues:
            raise NotSupported(f"{self.device.name} has queue pairs: configure as many receive as transmit queues")
        self._offered = self._hello()
        self.interface.accept(self._accepted(pairs))
        self._broken = False
        self._config = self.interface.configuration(self._offered)
        self._mac = self._config.mac or self._random_mac()
        try:
            notify = self._make_queues(rx_queues, tx_queues)
            self.interface.set_status(self.interface.status() | DRIVER_OK)
        except BaseException:
            self.interface.set_status(FAILED)
            raise
        for sender, tell in zip(self._senders, notify, strict=True):
            sender.run(tell)
        if pairs > 1:
            self._command("mq_vq_pairs_set", virtqueue_pairs=pairs)
        if self.features & Feature.CTRL_RX:
            self._command("rx_promisc", on=0)
            self._command("rx_allmulti", on=0)
        if not self._config.mac and self.features & Feature.CTRL_MAC_ADDR:
            self._command("mac_addr_set", mac=self._mac)

    def _make_queues(self, rx_queues: int, tx_queues: int) -> list[Callable[[int], None]]:
        """Receive queues, transmit queues, and the control queue behind all that the device could have."""
        f, transport = self.features, self.transport
        inline = bool(f & (Feature.VERSION_1 | Feature.ANY_LAYOUT))
        merges = bool(f & Feature.MRG_RXBUF)
        size = header.LONG if f & (Feature.VERSION_1 | Feature.MRG_RXBUF) else header.SHORT
        self._notify_receivers, senders = list[Callable[[int], None]](), list[Callable[[int], None]]()
        for q in range(rx_queues):
            setup = self._rx_setups[q]
            if setup.pool.available < setup.descriptors:
                there = f"the pool has {setup.pool.available} free buffers and receive queue {q} takes {setup.descriptors}"
                raise UsageError(f"{there}: make it larger")
            ring = self._ring(2 * q, setup.descriptors)
            self._receivers.append(ReceiveQueue(transport, q, ring, setup, size, inline=inline, merges=merges))
            self._notify_receivers.append(self.interface.enable(2 * q, ring))
        for q in range(tx_queues):
            ring, setup = self._ring(2 * q + 1, self._tx_setups[q].descriptors), self._tx_setups[q]
            self._senders.append(TransmitQueue(transport, q, ring, setup, size, inline=inline))
            senders.append(self.interface.enable(2 * q + 1, ring))
        if f & Feature.CTRL_VQ:
            number = 2 * self._config.pairs if f & Feature.MQ else 2
            ring = self._ring(number, control.DESCRIPTORS)
            tell = self.interface.enable(number, ring)
            self._control = control.Control(transport, ring, tell, self.device.mailboxes[0])
        return senders

    def _ring(self, queue: int, descriptors: int) -> Virtqueue:
        """A ring for so many descriptors: a legacy device says its size, a split one's is a power of two."""
        f, most = self.features, self.interface.queue_size(queue)
        if not most:
            raise UnsupportedReply(f"{self.transport.name}: the device has no queue {queue}")
        wishes = {"event_idx": bool(f & Feature.EVENT_IDX), "always": self._always_notify}
        if f & Feature.RING_PACKED:
            return PackedQueue(self.transport, min(descriptors, most), **wishes)
        size = min(1 << (descriptors - 1).bit_length(), most) if self.interface.modern else most
        return SplitQueue(self.transport, size, **wishes)

    def _random_mac(self) -> bytes:
        """The device has no address: locally administered, the same for as long as we live."""
        if self._random is None:
            self._random = bytes((os.urandom(1)[0] & 0xFC | 0x02, *os.urandom(5)))
        return self._random

    def _reset(self) -> None:
        self._abandon()
        self._bring_up(0, 0)
        self._link()

    # -- up and down

    def _start(self) -> None:
        """The device forgets what it knew: filters before buffers, so that no packet comes that was not asked for."""
        self._check_room(self.settings.mtu)
        self._abandon()
        try:
            self._bring_up(self.settings.rx_queues, self.settings.tx_queues)
            self._restore()
            for receiver, tell in zip(self._receivers, self._notify_receivers, strict=True):
                receiver.fill(tell)
        except BaseException:
            self._abandon()
            raise
        self._interrupts = None
        self._rx, self._tx = tuple(self._receivers), tuple(self._senders)
        self._link()

    def _check_room(self, mtu: int) -> None:
        """Where buffers are not merged, each holds a whole packet."""
        if self._has(Feature.MRG_RXBUF):
            return
        for setup in self._rx_setups.values():
            if setup.pool.room < mtu + OVERHEAD:
                text = f"{self.device.name} does not merge buffers: an MTU of {mtu} takes some of {mtu + OVERHEAD} bytes"
                raise UsageError(f"{text}, not {setup.pool.room}")

    def _stop(self) -> None:
        try:
            if self._interrupts is not None:
                self._interrupts.disarm()
        finally:
            self._reset()

    def _abandon(self) -> None:
        """A reset alone makes the device let go of queues (VIRTIO 1.3, 2.4)."""
        try:
            self.interface.reset()
        finally:
            self._release()

    def _release(self) -> None:
        """What belongs to a negotiation goes with it; the device has been reset."""
        if self._interrupts is not None:
            self._interrupts.forget()
            self._interrupts = None
        self._rx, self._tx = (), ()
        self._totals = self._stats()
        for receiver in self._receivers:
            receiver.release()
        for sender in self._senders:
            sender.release()
        self._receivers, self._senders = [], []
        if self._control is not None:
            self._commands = [self._commands[0] + self._control.sent, self._commands[1] + self._control.refused]
            self._control.release()
            self._control = None

    def _close(self) -> None:
        """Leave the device as a reset leaves it: nobody shall find it running."""
        self._abandon()

    # -- what is asked by command

    def _command(self, name: str, tail: bytes = b"", **arguments: Any) -> None:
        if self._control is None:
            raise NotSupported(f"{self.device.name}: this device offers no control queue")
        self._control.say(name, tail, **arguments)

    def _needs(self, feature: Feature, what: str) -> None:
        if not self.features & feature:
            raise NotSupported(f"{self.device.name}: {what} takes {feature.name}, which this device does not offer")

    def _mac_addr_set(self, address: bytes) -> None:
        """Linux virtio_net.c ``virtnet_set_mac_address``."""
        if self.features & Feature.CTRL_MAC_ADDR:
            self._command("mac_addr_set", mac=address)
        else:
            self.interface.set_mac(address)
        self._mac = address

    def _mac_addr_add(self, address: bytes) -> None:
        self._tables([*self.settings.more_macs, address], self.settings.mc_addrs)

    def _mac_addr_clear(self) -> None:
        self._tables([], self.settings.mc_addrs)

    def _mc_addr_list(self, addresses: Sequence[bytes]) -> None:
        self._tables(self.settings.more_macs, addresses)

    def _tables(self, unicast: Sequence[bytes], multicast: Sequence[bytes]) -> None:
        """Both tables at once; of more than it has room for, a device lets in all (virtio_net.c ``virtnet_set_rx_mode``)."""
        self._needs(Feature.CTRL_RX, "a table of addresses")
        first, second = list(dict.fromkeys(unicast)), list(dict.fromkeys(multicast))
        tail = b"".join(first) + len(second).to_bytes(4, "little") + b"".join(second)
        self._command("mac_table_set", tail, entries=len(first))

    def _promiscuous(self, on: bool) -> None:
        self._needs(Feature.CTRL_RX, "promiscuous mode")
        self._command("rx_promisc", on=int(on))

    def _allmulticast(self, on: bool) -> None:
        self._needs(Feature.CTRL_RX, "receiving all multicast")
        self._command("rx_allmulti", on=int(on))

    def _vlan_filter(self, vid: int, on: bool) -> None:
        if not self._has(Feature.CTRL_VQ | Feature.CTRL_VLAN):
            raise NotSupported(f"{self.device.name}: filtering VLANs takes CTRL_VLAN, which this device does not offer")
        if not self.features & Feature.CTRL_VLAN:
            raise NotSupported(f"{self.device.name} runs without VLAN filter: configure it with RxOffload.VLAN_FILTER")
        self._command("vlan_add" if on else "vlan_del", vid=vid)

    def _mtu(self, mtu: int) -> None:
        """The device need not know: it says what it can do at most, and its buffers are merged."""
        self._check_room(mtu)

    # -- link, statistics

    def _link(self) -> Link:
        """Linux virtio_net.c ``virtnet_config_changed_work``, ``virtnet_update_settings``."""
        self._look()
        up = not self._broken and (self.interface.link_up() if self._has(Feature.STATUS) else True)
        if up != self._was_up:
            self._was_up = up
            self.link_changes += 1
        speed = 0 if self._config.speed == UNKNOWN_SPEED else self._config.speed
        return Link(up, speed if up else 0, self._config.full_duplex, self.link_changes)

    def _look(self) -> None:
        """Whether the device has given up. Raises ``DeviceGone``."""
        if self.interface.status() & NEEDS_RESET:
            self._broken = True

    def _watch(self) -> Event:
        self._link()
        event = Event.RESET if self._broken else Event.NONE
        if self.link_changes != self._told_changes:
            self._told_changes = self.link_changes
            self._config = self.interface.configuration(self._offered)
            event |= Event.LINK
        return event

    def _stats(self) -> Stats:
        """The driver's own counts: the device has none."""
        total = Stats(**vars(self._totals))
        for receiver in self._receivers:
            total.ipackets += receiver.packets
            total.ibytes += receiver.octets
            total.ierrors += receiver.errors
            total.rx_nombuf += receiver.no_buffers
        for sender in self._senders:
            total.opackets += sender.packets
            total.obytes += sender.octets
        return total

    def _xstats(self) -> dict[str, int]:
        sent, refused = self._commands
        if self._control is not None:
            sent, refused = sent + self._control.sent, refused + self._control.refused
        return {
            **{f"rx_q{r.index}_packets": r.packets for r in self._receivers},
            **{f"rx_q{r.index}_bytes": r.octets for r in self._receivers},
            **{f"tx_q{s.index}_packets": s.packets for s in self._senders},
            **{f"tx_q{s.index}_bytes": s.octets for s in self._senders},
            **{f"interrupts_rx_q{q}": count for q, count in enumerate(self._interrupt_counts[:-1])},
            "interrupts_configuration": self._interrupt_counts[-1],
            "link_changes": self.link_changes,
            "commands_sent": sent,
            "commands_refused": refused,
        }

    # -- interrupts

    def _armed(self) -> Interrupts:
        if self._interrupts is None:
            counts = self._interrupt_counts
            self._interrupts = Interrupts(self.interface, self.transport, self._receivers, counts, self._irq)
        if not self._interrupts.armed:
            self._interrupts.arm()
        return self._interrupts

    def _rx_intr(self, queue: int, on: bool) -> None:
        interrupts = self._armed()
        (interrupts.enable if on else interrupts.disable)(queue)

    def _intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        queues, changed = self._armed().wait(timeout)
        return queues, self._watch() if changed else Event.NONE
