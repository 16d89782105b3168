"""The model of one AVP port: registers, tables, requests, and what runs between configuration and shutdown.

In here: what each request does, the one poll that stands for doorbells, interrupts, resets, state. Queues are in ``transmit``
and ``receive``, the request channel in ``requests``, what stands where in ``arrangement``, live migration in ``migration``.

Nothing tells the host that the guest has done something, so it looks: without pause while there is work, less and less often
while there is none (``Host.poll``). It begins with the first sign of a driver, which has to read BAR 5 before all else.

Sources: ``regmodel.bars.avp``; DPDK avp_ethdev.c, of which this is the counterpart.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulators.fabric.frames import FCS, HEADER, TAG
from emulators.host import Host
from emulators.model import RingState
from emulators.nics.avp.arrangement import Arrangement
from emulators.nics.avp.buffers import Buffers
from emulators.nics.avp.fifo import WRITE, Fifo, Glance
from emulators.nics.avp.migration import Migration
from emulators.nics.avp.packing import pack, unpack_bytes
from emulators.nics.avp.receive import ReceiveQueue
from emulators.nics.avp.requests import BODY, Config, Denied, Requests
from emulators.nics.avp.spread import spread
from emulators.nics.avp.steering import control, stats
from emulators.nics.avp.transmit import TransmitQueue
from emulators.pci.shared import SharedBank, SharedMemory
from emulators.state import take_on
from regmodel.bank import Bank, Cause, Path
from regmodel.bars.avp import MEMORY_SIZE
from regmodel.catalogue import Device
from regmodel.function import Buffer, ResetCause, Timer
from regmodel.mailboxes.avp import DRIVER_TYPES
from regmodel.structures.avp import MAX_QUEUES, make_version, strip_minor

if TYPE_CHECKING:
    from emulators.nics.avp.card import Properties
    from emulators.standalone import StandaloneSlot

VERSION = 1
MTU_LEAST = 68
"""Octets (RFC 791, the smallest that every IPv4 host forwards)."""
VLAN_OFFLOAD = 1
_U4 = 4


class Avp:
    """A ``Model``, and the ``Endpoint`` of its pool."""

    def __init__(self, device: Device, host: Host, slot: StandaloneSlot[Properties]) -> None:
        self.device, self.host, self.slot, self.properties = device, host, slot, slot.properties
        self.memory: SharedMemory = host.shared_memory(2, MEMORY_SIZE)
        self.shared: Mapping[int, SharedMemory] = {2: self.memory}
        now = host.clock.now
        self.registers = Bank(device.bars[0], now=now)
        self.tables = {index: Bank(device.bars[index], now=now) for index in (4, 5)}
        self.banks: Mapping[int, Bank] = {
            0: self.registers, 2: SharedBank(device.bars[2], self.memory, now=now), **self.tables,
        }  # fmt: skip
        self.migration = Migration(self)
        self.transmit: list[TransmitQueue] = []
        self.receive: list[ReceiveQueue] = []
        self.config: Config | None = None
        self.up = False
        self._poll: Timer | None = None
        self._program_pool()
        self.arrange(0)
        self.requests.open()
        self._forget()
        self.registers.on_write("interrupt_mask", self._mask_written)
        self.registers.on_read("interrupt_status", self._status_read)
        self.tables[5].on_read("device_info", self._information_read)

    def _program_pool(self) -> None:
        """The driver has no way to say what it wants: it filters by itself."""
        pool, p = self.slot.pool, self.properties
        pool.macs = frozenset({self.mac})
        pool.accept_broadcast = pool.accept_untagged = pool.multicast_promiscuous = True
        pool.unicast_promiscuous = p.flood
        pool.max_frame = p.max_rx_pkt_len + TAG * p.vlan + FCS
        pool.transmit_enable = pool.receive_enable = True

    @property
    def mac(self) -> bytes:
        """The one address, which nobody can change."""
        return self.slot.mac or bytes(6)

    def arrange(self, generation: int) -> None:
        """Arrange shared memory as ``generation`` does, and say so in the tables; nothing in the memory is changed."""
        self.arrangement = a = Arrangement(self.properties, generation)
        view = self.memory.view
        self.buffers = Buffers(view, a)
        self.requests = Requests(self.host, view, a, {
            "change_mtu": self._change_mtu, "cfg_network_if": self._start_or_stop, "cfg_device": self._configure,
            "shutdown_device": self._shut_down,
        })  # fmt: skip
        self.requests.on_message = self._message
        self.transmit, self.receive = [], []
        self._watch()
        self._write_tables()

    def _write_tables(self) -> None:
        a = self.arrangement
        identity = int.from_bytes(self.mac, "big") << 16 | a.generation & 0xFFFF
        for index, table in ((4, a.memmap()), (5, a.device_info(f"avp-{self.slot.name}", self.mac, identity))):
            self.tables[index].memory[: len(table)] = table
        self.device_id = identity

    def _message(self, sender: str, words: list[int]) -> None:
        observer = self.slot.card.on_mailbox
        if observer is not None:
            observer(self.slot.name, sender, words)

    # -- registers

    def interrupt(self) -> None:
        """The migration status has changed: tell the driver, if it listens."""
        self.registers["interrupt_status"].set(migration=1)
        self._signal(self.listening)

    @property
    def listening(self) -> bool:
        """Whether a driver lets the migration interrupt through."""
        mask: int = self.registers["interrupt_status"].fields["migration"].mask
        return bool(self.registers["interrupt_mask"].value & mask)

    def _signal(self, wanted: bool) -> None:
        asserted = wanted and bool(self.registers["interrupt_status"].value)
        if not self.host.messages():
            self.host.line(asserted)
        elif asserted:
            self.host.irq(0)

    def _mask_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._wake()
        self._signal(self.listening)

    def _status_read(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Reading has cleared it."""
        self.host.line(False)

    def _information_read(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._wake()

    # -- the poll

    def _wake(self) -> None:
        """Somebody drives this port: look at the queues from now on."""
        if self._poll is None:
            self._poll = self.host.poll(self.burst, self._quiet)

    def _watch(self) -> None:
        """Which words tell that the guest has done something: its indices of all queues that the host reads."""
        words, a = self.memory.view.cast("I"), self.arrangement
        step = a.pitch // _U4

        def row(at: int, count: int) -> memoryview:
            return words[at // _U4 + WRITE :][: step * count : step]

        tx, free = row(a.fifo("tx", 0), len(self.transmit)), row(a.fifo("free", 0), len(self.receive))
        self._glance = Glance(row(a.req, 1), tx, free)
        self._left = True

    def _quiet(self) -> bool:
        """Nothing was left, and nothing has come."""
        return not self._left and not self._glance.changed()

    def burst(self) -> bool:
        """Look at all queues once; whether there was anything to do."""
        if self._quiet():
            return False
        self._glance.look()
        worked = self.requests.burst()
        for sender in self.transmit:
            worked |= sender.burst(self.slot.pool.transmit)
        for receiver in self.receive:
            worked |= receiver.reclaim()
        self._left = worked
        return worked

    # -- requests

    def _configure(self, request: bytes) -> None:
        """cfg_device: queues are made anew, and empty buffers put into them. Raises ``Denied``."""
        c, p = Config.parse(request), self.properties
        if strip_minor(c.driver_version) < strip_minor(make_version(*p.version)):
            raise Denied(errno.EPROTONOSUPPORT, "driver-too-old", driver=c.driver_version, host=make_version(*p.version))
        if c.device_id != self.device_id:
            raise Denied(errno.ENODEV, "another-device", named=c.device_id, this=self.device_id)
        if c.features & ~(VLAN_OFFLOAD * p.vlan):
            raise Denied(errno.EINVAL, "feature-not-offered", features=c.features)
        if c.driver_type not in DRIVER_TYPES.values():
            raise Denied(errno.EINVAL, "driver-type-unknown", type=c.driver_type)
        if not 1 <= c.tx_queues <= p.tx_queues or not p.min_rx_queues <= c.rx_queues <= p.rx_queues:
            raise Denied(errno.EINVAL, "queues-not-offered", tx=c.tx_queues, rx=c.rx_queues)
        self.migration.gather()
        self.buffers = Buffers(self.memory.view, self.arrangement)
        self._make_queues(c)
        share = self.buffers.count // 2 // c.tx_queues
        for sender in self.transmit:
            sender.open(share)
        for receiver in self.receive:
            receiver.open()
        self._watch()
        self.up = c.up
        if self.migration.holds:
            self.host.defer(self.migration.catch_up)

    def _make_queues(self, config: Config) -> None:
        self.config = config
        common = (self.memory.view, self.arrangement, self.buffers)
        self.transmit = [TransmitQueue(self.host, n, *common) for n in range(config.tx_queues)]
        self.receive = [ReceiveQueue(self.host, n, *common) for n in range(config.rx_queues)]

    def _start_or_stop(self, request: bytes) -> None:
        """cfg_network_if: packets may come, or no longer. Raises ``Denied``."""
        if self.config is None:
            raise Denied(errno.EINVAL, "not-configured")
        self.up = bool(request[BODY])

    def _shut_down(self, request: bytes) -> None:
        """shutdown_device: nothing comes any more. What the guest still sends is taken: its senders may not know yet. The next
        driver finds the MTU as after a reset; but who is asked to let go comes back, and does not say it again.
        """
        self.up = False
        if not self.migration.under_way:
            self.config = None
            self.longest = self.properties.max_rx_pkt_len

    def _change_mtu(self, request: bytes) -> None:
        """change_mtu: deliver packets up to this size. Raises ``Denied``."""
        mtu = int.from_bytes(request[BODY : BODY + 4], "little")
        most = self.properties.max_rx_pkt_len - HEADER
        if not MTU_LEAST <= mtu <= most:
            raise Denied(errno.EINVAL, "mtu", mtu=mtu, most=most)
        self.longest = mtu + HEADER

    # -- the switch

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        """Frames that passed the pool's filters; how many found a place (see ``emulators.fabric.pool.Endpoint``)."""
        if self.migration.holds:
            return self.migration.hold(frames)
        return self.put(frames) if self.up else 0

    def put(self, frames: Sequence[Buffer]) -> int:
        """Give each receive queue its share."""
        if self.config is None or not self.receive:
            return 0
        if len(self.receive) == 1:
            return self.give(0, frames)
        return sum(self.give(number, share) for number, share in self.shares(frames).items())

    def shares(self, frames: Iterable[Buffer]) -> dict[int, list[Buffer]]:
        """By number of a receive queue, what goes there, in order. There are some."""
        count = len(self.receive)
        if count == 1:
            return {0: list(frames)}
        shares: dict[int, list[Buffer]] = {}
        for frame in frames:
            shares.setdefault(zlib.crc32(spread(frame)) % count, []).append(frame)
        return shares

    def give(self, number: int, frames: Sequence[Buffer]) -> int:
        """Put ``frames`` into receive queue ``number``; see ``ReceiveQueue.deliver``. It is configured."""
        assert self.config is not None
        return self.receive[number].deliver(frames, bool(self.config.features & VLAN_OFFLOAD), self.longest)

    # -- the user

    def control(self, words: Sequence[str]) -> object:
        """See ``steering``. Raises ``UsageError``."""
        return control(self, words)

    def rings(self) -> list[RingState]:
        """Where its queues stand."""
        named: list[tuple[str, Fifo]] = [(f"tx {n}", queue.tx) for n, queue in enumerate(self.transmit)]
        named += [(f"rx {n}", queue.rx) for n, queue in enumerate(self.receive)]
        return [RingState(name, *fifo.standing(), fifo.slots) for name, fifo in named]

    def stats(self) -> Mapping[str, Any]:
        """Counters by queue."""
        return stats(self)

    # -- a move to another process (``emulators.handover``)

    def detach(self, done: Callable[[str], None]) -> None:
        """Have the driver let go; ``done("")`` when it has, ``done(why)`` when it will not."""
        self.migration.detach(done)

    def attach(self) -> None:
        """This process has the device now, or has it still: arrange it, and have the driver take it up again."""
        self.migration.attach()

    # -- resets and state

    def _forget(self) -> None:
        """What the last driver said."""
        self.config, self.up = None, False
        self.transmit, self.receive = [], []
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        self._watch()
        self.longest = self.properties.max_rx_pkt_len

    def reset(self, cause: ResetCause) -> None:
        """As after power-on; the memory stays arranged as it is, for BARs 4 and 5 say so."""
        self.registers.reset(cause)
        self.host.line(False)
        self.requests.open()
        self._forget()
        self.migration.driver_gone()

    def save(self) -> dict[str, object]:
        """A JSON-able image of registers, queues and shared memory."""
        return {**self.save_all_but_memory(), "memory": pack(self.memory.view)}

    def save_all_but_memory(self) -> dict[str, object]:
        """The same where the memory itself is handed over."""
        config = None if self.config is None else vars(self.config)
        return {
            "version": VERSION,
            "device": self.device.name,
            "registers": self.registers.save(),
            "generation": self.arrangement.generation,
            "config": config,
            "up": self.up,
            "awake": self._poll is not None,
            "longest": self.longest,
            "requests": self.requests.save(),
            "buffers": self.buffers.save(),
            "transmit": [queue.save() for queue in self.transmit],
            "receive": [queue.save() for queue in self.receive],
            "migration": self.migration.save(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is not of this device."""
        save = self.save if "memory" in state else self.save_all_but_memory
        take_on(state, self.device.name, VERSION, save, self._take)

    def _take(self, state: Mapping[str, Any]) -> None:
        memory = unpack_bytes(state["memory"], MEMORY_SIZE) if "memory" in state else None
        self._forget()
        self.registers.load(state["registers"])
        self.arrange(int(state["generation"]))
        if memory is not None:
            self.memory.write(0, memory)
        self.requests.load(state["requests"])
        self.buffers.load(state["buffers"])
        if state["config"] is not None:
            self._make_queues(Config(**state["config"]))
            if not (len(self.transmit) <= MAX_QUEUES and len(self.receive) <= MAX_QUEUES):
                raise ValueError("more queues than there can be")
        for sender, image in zip(self.transmit, state["transmit"], strict=True):
            sender.load(image)
        for receiver, image in zip(self.receive, state["receive"], strict=True):
            receiver.load(image)
        self._watch()
        self.up = bool(state["up"])
        self.longest = int(state["longest"])
        self.migration.load(state["migration"])
        if state["awake"]:
            self._wake()

