"""``Avp``: one port.

In here: finding the host's queues, configuring, starting and stopping, the host's migrations, and what ``EthDev`` asks for.

The host cannot be told what to receive: the driver filters by MAC address itself, and all multicast is received. Its address
is the host's to choose. Statistics are the driver's.

A host takes the device away and brings it back, arranged otherwise, by an interrupt (``watch``, or ``intr_wait``): queues rest
in between, and bursts move nothing.

Source: DPDK avp_ethdev.c ``eth_avp_dev_init``, ``avp_dev_create``, ``avp_dev_configure``, ``avp_dev_start``,
``avp_dev_interrupt_handler``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from drivers.errors import DeviceGone, DriverError
from drivers.ethdev import Descriptors, EthDev, Event, Info, Link, RxOffload, Stats, TxOffload
from drivers.nics.avp.fifo import Consumer, Producer
from drivers.nics.avp.memory import MEMORY_BAR, SharedMemory, Tables
from drivers.nics.avp.queues import HostBuffers, ReceiveQueue, TransmitQueue
from drivers.nics.avp.requests import Requests
from drivers.registers.avp import Avp as Registers
from drivers.transports import Transport
from regmodel.bars.avp import MIGRATION
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.mailboxes.avp import DRIVER_TYPES, PATIENCE
from regmodel.rings.avp import HEAD, POINTER
from regmodel.structures.avp import GUEST_VERSION, MAX_QUEUES

HEADER = 14
LEAST_ROOM = 64
"""Bytes of a receive buffer (AVP_MIN_RX_BUFSIZE)."""
SPEED = 10_000
"""Mbit/s: what DPDK's driver says, for want of anything that the host would say."""
ALL, NONE = 0xFFFF_FFFF, 0
_DETACHED, _ATTACHED, _ERROR = (MIGRATION[name] for name in ("DETACHED", "ATTACHED", "ERROR"))


class Avp(EthDev):
    """An AVP port. ``patience``: seconds that the host is given to answer a request, more than 0. Raises ``UsageError``."""

    driver = "avp"

    def __init__(self, transport: Transport, device: Device, *, patience: float = PATIENCE) -> None:
        super().__init__(transport, device)
        if not 0 < patience < math.inf:
            raise UsageError(f"{transport.name}: a patience of {patience:g} s: give a number of seconds above 0")
        self.patience = patience
        self.registers = Registers(device, transport)
        status = self.registers.migration_status.read()
        if status == ALL:
            raise DeviceGone(f"{transport.name}: all registers read ones")
        if status == _DETACHED:
            self.registers.migration_ack.write(_DETACHED)
            raise UsageError(f"{transport.name}: a live migration is under way: try again when it is over")
        self._memory = SharedMemory(transport.bar(MEMORY_BAR))
        self._detached = False
        self._up = False
        self._receivers: list[ReceiveQueue] = []
        self._senders: list[TransmitQueue] = []
        self._counted = Stats()
        self._filtered = 0
        self._waits = False
        self.migrations = 0
        """How often the device was brought back."""
        self._find()
        self.registers.interrupt_mask.write(ALL)

    def _find(self) -> None:
        """avp_ethdev.c ``avp_dev_create``."""
        self._tables = Tables.read(self.transport)
        self.requests = Requests(self.transport, self._memory, self._tables, self.patience)

    # -- what it is

    def info(self) -> Info:
        info = self._tables.info
        vlan = bool(info["features"] & 1)
        descriptors = Descriptors(1, 1024, 1)
        return Info(
            driver=self.driver,
            device=self.device.name,
            max_rx_queues=min(info["max_rx_queues"], MAX_QUEUES),
            max_tx_queues=min(info["max_tx_queues"], MAX_QUEUES),
            rx_descriptors=descriptors,
            tx_descriptors=descriptors,
            max_mtu=info["max_rx_pkt_len"] - HEADER,
            min_rx_room=LEAST_ROOM,
            rx_offloads=RxOffload.SCATTER | (RxOffload.VLAN_STRIP if vlan else RxOffload.NONE),
            tx_offloads=TxOffload.MULTI_SEGS | (TxOffload.VLAN_INSERT if vlan else TxOffload.NONE),
        )

    @property
    def mac_addr(self) -> bytes:
        return self._tables.mac

    # -- up and down

    def _reset(self) -> None:
        """What the last user left is let go of; a port that was never configured is shut down all the same."""
        if not self._detached:
            self.requests.ask("shutdown_device")
        self._up = False

    def _restore(self) -> None:
        """What was asked for is told when the port starts."""

    def _start(self) -> None:
        """avp_ethdev.c ``avp_dev_configure``, ``avp_dev_start``."""
        if self._detached:
            raise UsageError(f"{self.transport.name}: the device is being migrated: call watch() until it is back")
        self._tell_configuration(up=False)
        self.requests.ask("change_mtu", new_mtu=self.settings.mtu)
        self._make_queues()
        self.requests.ask("cfg_network_if", if_up=1)
        self._up = True

    def _tell_configuration(self, *, up: bool) -> None:
        info, s = self._tables.info, self.settings
        release, major, minor = GUEST_VERSION
        strip = s.vlan_strip and bool(info["features"] & 1)
        self.requests.ask("cfg_device", config={
            "device_id": info["device_id"], "driver_type": {"type": DRIVER_TYPES["DPDK"]},
            "driver_version": {"release": release, "major": major, "minor": minor},
            "features": {"vlan_offload": int(strip)},
            "num_tx_queues": max(s.tx_queues, 1), "num_rx_queues": self._host_queues(), "if_up": int(up),
        })  # fmt: skip

    def _host_queues(self) -> int:
        """Receive queues of the host, which may insist on more than we have (``_avp_set_queue_counts``)."""
        return max(self._tables.info["min_rx_queues"], self.settings.rx_queues)

    def _fifo_at(self, role: str, number: int) -> int:
        info = self._tables.info
        physical = info[f"{role}_phys"] + number * info[f"{role}_size"]
        return self._tables.offset(physical, HEAD + POINTER, f"queue {role}{number}")

    def _buffers(self) -> HostBuffers:
        info = self._tables.info
        at = self._tables.offset(info["mbuf_phys"], info["mbuf_size"], "buffers")
        return HostBuffers(self._memory, at, info["mbuf_va"], info["mbuf_size"])

    def _ends(self, number: int) -> tuple[Producer, Consumer]:
        """Of transmit queue ``number``."""
        tx, alloc = (self._fifo_at(role, number) for role in ("tx", "alloc"))
        return Producer(self._memory, tx, f"tx{number}"), Consumer(self._memory, alloc, f"alloc{number}")

    def _pairs(self, queue: int) -> list[tuple[Consumer, Producer]]:
        """The host's receive queues that our ``queue`` serves (``_avp_set_rx_queue_mappings``)."""
        ours, theirs = self.settings.rx_queues, self._host_queues()
        each, more = divmod(theirs, ours)
        first = queue * each + min(queue, more)
        numbers, memory, at = range(first, first + each + (queue < more)), self._memory, self._fifo_at
        return [(Consumer(memory, at("rx", n), f"rx{n}"), Producer(memory, at("free", n), f"free{n}")) for n in numbers]

    def _make_queues(self) -> None:
        buffers, longest = self._buffers(), self._tables.info["max_rx_pkt_len"]
        self._senders = [
            TransmitQueue(buffers, self._tx_setups[q].pool, *self._ends(q), self._is_detached)
            for q in range(self.settings.tx_queues)
        ]
        self._receivers = [
            ReceiveQueue(buffers, self._rx_setups[q].pool, self._pairs(q), longest, self._wanted, self._is_detached)
            for q in range(self.settings.rx_queues)
        ]
        self._rx, self._tx = tuple(self._receivers), tuple(self._senders)

    def _is_detached(self) -> bool:
        return self._detached

    def _wanted(self, target: bytes) -> bool:
        """avp_ethdev.c ``_avp_mac_filter``."""
        return target == self._tables.mac or bool(target[0] & 1) or self.settings.promiscuous

    def _stop(self) -> None:
        """avp_ethdev.c ``avp_dev_stop``."""
        try:
            if not self._detached:
                self.requests.ask("cfg_network_if", if_up=0)
        finally:
            self._release()

    def _abandon(self) -> None:
        self._release()

    def _release(self) -> None:
        """Count what queues counted, and let go of them. No buffer of a pool is with the device: all is copied."""
        self._counted = self._sum()
        self._filtered += sum(q.filtered for q in self._receivers)
        self._up = False
        self._receivers, self._senders = [], []
        self._rx, self._tx = (), ()

    def _close(self) -> None:
        """avp_ethdev.c ``avp_dev_close``."""
        self.registers.interrupt_mask.write(NONE)
        if self._waits:
            self.transport.disable_irqs()
        if not self._detached:
            with contextlib.suppress(DriverError):  # a host that does not answer is not our business any more
                self.requests.ask("shutdown_device")

    # -- filters and modes

    def _promiscuous(self, on: bool) -> None:
        """The filter is ours."""

    def _allmulticast(self, on: bool) -> None:
        """All multicast is received in any case."""

    def _mc_addr_list(self, addresses: Sequence[bytes]) -> None:
        """All multicast is received in any case."""

    def _vlan_strip(self, on: bool) -> None:
        if not self._tables.info["features"] & 1:
            raise self._cannot("strip VLAN tags: its host does not offer it")
        if self._up and on != self.settings.vlan_strip:
            raise UsageError(f"{self.device.name} is told of its offloads when it starts: stop() first")

    def _mtu(self, mtu: int) -> None:
        if not self._detached:
            self.requests.ask("change_mtu", new_mtu=mtu)

    # -- link, events, statistics

    def _link(self) -> Link:
        """There is no register for it: a port that was started is up."""
        if self.registers.migration_status.read() == ALL:
            raise DeviceGone(f"{self.transport.name}: all registers read ones")
        return Link(self._up, SPEED if self._up else 0)

    def _watch(self) -> Event:
        """avp_ethdev.c ``avp_dev_interrupt_handler``. Raises what goes wrong, after the host has been told."""
        causes = self.registers.interrupt_status.fields()
        if not causes["migration"]:
            return Event.NONE
        status = self.registers.migration_status.read()
        try:
            if status == _DETACHED:
                self._detach()
            elif status == _ATTACHED:
                self._attach()
        except BaseException:
            self.registers.migration_ack.write(_ERROR)
            raise
        self.registers.migration_ack.write(status if status in (_DETACHED, _ATTACHED) else _ERROR)
        return Event.NONE

    def _detach(self) -> None:
        """avp_ethdev.c ``avp_dev_detach``. Nobody is in the middle of a burst: this is the thread that makes them."""
        if not self._detached:
            self.requests.ask("shutdown_device")
            self._detached = True

    def _attach(self) -> None:
        """avp_ethdev.c ``avp_dev_attach``."""
        if not self._detached:
            return
        self._find()
        if self._up:
            self._tell_configuration(up=True)
            self._move_queues()
        self.migrations += 1
        self._detached = False

    def _move_queues(self) -> None:
        """The same queues, where the host has them now."""
        buffers = self._buffers()
        for number, sender in enumerate(self._senders):
            sender.buffers = buffers
            sender.tx, sender.alloc = self._ends(number)
        for number, receiver in enumerate(self._receivers):
            receiver.move(buffers, self._pairs(number))

    def _sum(self) -> Stats:
        c, rx, tx = self._counted, self._receivers, self._senders
        return Stats(
            ipackets=c.ipackets + sum(q.packets for q in rx),
            opackets=c.opackets + sum(q.packets for q in tx),
            ibytes=c.ibytes + sum(q.octets for q in rx),
            obytes=c.obytes + sum(q.octets for q in tx),
            ierrors=c.ierrors + sum(q.errors for q in rx),
            oerrors=c.oerrors + sum(q.errors for q in tx),
            rx_nombuf=c.rx_nombuf + sum(q.no_buffers for q in rx),
        )

    def _stats(self) -> Stats:
        return self._sum()

    def _xstats(self) -> dict[str, int]:
        filtered = self._filtered + sum(q.filtered for q in self._receivers)
        return {"rx_filtered": filtered, "migrations": self.migrations}

    # -- interrupts: there is one, and it is for migrations

    def _intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        if not self._waits:
            self.transport.enable_irqs(1)
            self._waits = True
        return (), self._watch() if self.transport.wait_irq(timeout) else Event.NONE
