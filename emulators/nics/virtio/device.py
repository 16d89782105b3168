"""The model of a virtio network device: status, negotiation, queues and interrupts, behind one or two interfaces.

In here: what holds whichever interface the driver uses and whatever the format of its queues is. Registers are in ``modern``
and ``legacy``, queues in ``split`` and ``packed``, frames in ``transmit`` and ``receive``, commands in ``control``, what a
user may choose in ``card``.

A driver resets the device, negotiates features, sets up queues, and says DRIVER_OK; from then on queues work, until a reset, or
until one of them breaks a rule. Then the device needs a reset: all its queues stop and it says so (VIRTIO 1.3, 2.1.2).

Sources: VIRTIO 1.3, 2.1 to 2.3, 3.1, 4.1.5, 5.1; QEMU hw/virtio/virtio.c and hw/net/virtio-net.c, an independent reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from emulators.host import Host
from emulators.model import RingState
from emulators.nics.virtio.card import Properties, without_basis
from emulators.nics.virtio.control import ControlQueue
from emulators.nics.virtio.filters import Filters
from emulators.nics.virtio.front import CONFIG_CAUSE, QUEUE_CAUSE, Configuration, Front
from emulators.nics.virtio.header import takes
from emulators.nics.virtio.legacy import Legacy
from emulators.nics.virtio.modern import Modern, Window
from emulators.nics.virtio.queue import Layout, Queue, QueueError, open_queue
from emulators.nics.virtio.receive import ReceiveQueue, Receiver
from emulators.nics.virtio.rss import ALL_TYPES, Automatic, Rss
from emulators.nics.virtio.state import VERSION, load, save
from emulators.nics.virtio.transmit import TransmitQueue
from emulators.pci.function import PciFunction
from emulators.pci.msix import Msix
from emulators.standalone import StandaloneSlot
from emulators.state import take_on
from regmodel.bank import Bank
from regmodel.bars.virtio import NO_VECTOR
from regmodel.catalogue import Device
from regmodel.devices.virtio_config import MODERN_BAR
from regmodel.errors import UsageError
from regmodel.function import Buffer, ResetCause
from regmodel.structures.virtio_features import Feature
from regmodel.structures.virtio_net import RSS_KEY, RSS_TABLE

DRIVER_OK, FEATURES_OK, NEEDS_RESET = 4, 8, 0x40
"""Bits of the device status (VIRTIO 1.3, 2.1)."""
GUEST_OFFLOADS = (
    Feature.GUEST_CSUM | Feature.GUEST_TSO4 | Feature.GUEST_TSO6 | Feature.GUEST_ECN | Feature.GUEST_USO4 | Feature.GUEST_USO6
)
"""What CTRL_GUEST_OFFLOADS may change."""


class Engine(Protocol):
    """What works on one queue."""

    queue: Queue

    def notify(self) -> None: ...

    def close(self) -> None: ...

    def counters(self) -> dict[str, int]: ...


def _names(features: Feature) -> list[str]:
    return [f.name.lower() for f in Feature if f in features and f.name]


class VirtioNet:
    """A ``Model``, the ``Endpoint`` of its pool, and the ``Owner`` of its queues: ``queues`` of ``queue_size`` descriptors."""

    def __init__(self, device: Device, host: Host, slot: StandaloneSlot[Properties]) -> None:
        self.device, self.host, self.slot, self.pool = device, host, slot, slot.pool
        self.properties = properties = slot.properties
        self.queue_size, self.pairs_most = properties.queue_size, properties.queue_pairs
        has_control = Feature.CTRL_VQ in properties.features
        self.queues = 2 * self.pairs_most + has_control
        self._msix: Msix | None = None
        own = Feature.MAC if slot.mac is not None else Feature(0)
        self.fronts: list[Front] = []
        if device.variant["modern"]:
            self.fronts.append(Modern(self, properties.offered(modern=True) | own))
        if device.variant["legacy"]:
            self.fronts.append(Legacy(self, properties.offered(modern=False) | own))
        self.banks: Mapping[int, Bank] = {MODERN_BAR if front.modern else 0: front.bank for front in self.fronts}
        self.front = self.fronts[0]
        self.filters = Filters(self.pool)
        self.receiver = Receiver()
        self.engines: dict[int, Engine] = {}
        self.layouts: dict[int, Layout] = {}
        self.status = self.causes = self.generation = 0
        self.rss: Rss | None = None
        self._forget()
        self._show(ResetCause.POWER_ON)
        slot.link.listen(self._link_changed)

    def wire(self, function: PciFunction) -> None:
        """Told once, when its function stands: where interrupts go is said in configuration space."""
        self._msix = function.msix
        for front in self.fronts:
            if isinstance(front, Modern):
                self._window = Window(function.config, front)

    @property
    def msix_enabled(self) -> bool:
        return self._msix is not None and self._msix.enabled

    # -- the interfaces

    @property
    def working(self) -> bool:
        """The driver is ready, and the device has not met what it cannot go on from."""
        return self.driver_ready and not self.is_broken

    @property
    def driver_ready(self) -> bool:
        """The driver said DRIVER_OK."""
        return bool(self.status & DRIVER_OK)

    def status_written(self, front: Front, status: int) -> None:
        """The driver wrote the device status: 0 is a reset, other values say how far it is. ``NEEDS_RESET`` is not its own."""
        status &= ~NEEDS_RESET
        if not status:
            self.reset(ResetCause.SOFTWARE)
            return
        if not self.status:
            self.front = front
        if front.modern and (fallen := self.status & ~status & (FEATURES_OK | DRIVER_OK)):
            self.host.diagnose("status-bit-cleared", status=status)  # nothing but a reset does that (VIRTIO 1.3, 2.1.1)
            status |= fallen
        status |= self.status & NEEDS_RESET
        fresh = status & ~self.status
        if fresh & FEATURES_OK and front.modern and not self._agree(front):
            status &= ~FEATURES_OK
        if fresh & DRIVER_OK and front.modern and not status & FEATURES_OK:
            self.host.diagnose("driver-ok-without-features-ok", status=status)
            status &= ~DRIVER_OK
        self._set_status(status)
        if fresh & status & DRIVER_OK:
            self.start()

    def _set_status(self, status: int) -> None:
        """There is one, whichever interface shows it (VIRTIO 1.3, 2.1; QEMU's ``vdev->status``, read by both)."""
        self.status = status
        for front in self.fronts:
            front.show_status(status)

    def _agree(self, front: Front) -> bool:
        """Whether the device can work with what the driver accepted; if so, that is what was negotiated."""
        accepted = front.accepted()
        if excess := accepted & ~front.offered:
            self.host.diagnose("feature-not-offered", features=int(excess))
        elif front.beyond:
            word, features = next(iter(front.beyond.items()))
            self.host.diagnose("feature-not-offered", features=features, word=word)
        elif Feature.VERSION_1 not in accepted:
            self.host.diagnose("features-without-version-1", features=int(accepted))
        elif lacking := without_basis(accepted):
            self.host.diagnose("feature-without-basis", features=int(lacking))
        else:
            self.negotiated(front, accepted)
            return True
        return False

    def negotiated(self, front: Front, features: Feature) -> None:
        """From now on the device and its driver are bound by ``features``."""
        self.front, self.features = front, features
        self.offloads = features & GUEST_OFFLOADS
        self.filters.reset(self.slot.mac, filter_vlans=Feature.CTRL_VLAN in features, mtu=self.mtu_negotiated)

    # -- queues

    @property
    def pairs_negotiated(self) -> int:
        """Queue pairs that the driver may use: one, unless it knows of more (VIRTIO 1.3, 5.1.2)."""
        return self.pairs_most if self.features & (Feature.MQ | Feature.RSS) else 1

    @property
    def mtu_negotiated(self) -> int | None:
        """Octets; None while the driver has not accepted F_MTU."""
        return self.configuration.mtu if Feature.MTU in self.features else None

    def control_number(self) -> int:
        """The number of the control queue: behind the last pair; -1 for none."""
        return 2 * self.pairs_negotiated if Feature.CTRL_VQ in self.features else -1

    def enable_queue(self, number: int, layout: Layout) -> None:
        """The driver said where a queue is. It works once the driver is ready."""
        self._close(number)
        self.layouts[number] = layout
        if self.working:
            self._open(number)

    def reset_queue(self, number: int) -> None:
        """Forget one queue."""
        self._close(number)
        self.layouts.pop(number, None)
        for front in self.fronts:
            front.queue_was_reset(number)

    def notify(self, number: int) -> None:
        """A doorbell."""
        engine = self.engines.get(number)
        if engine is not None and (number >> 1 < self.pairs or number == self.control_number()):
            engine.notify()
        elif not self.status & DRIVER_OK:
            self.host.diagnose("notification-before-driver-ok", queue=number)

    def notify_data(self, number: int, data: int) -> None:
        """The upper half of a doorbell with NOTIFICATION_DATA; ``data`` is all of it."""
        engine = self.engines.get(number)
        if engine is not None and Feature.NOTIFICATION_DATA in self.features:
            try:
                engine.queue.check_notification(data)
            except QueueError as error:
                self.broken(number, error)

    def start(self) -> None:
        """The driver is ready: all queues that it has set up work, unless something broke or one of them cannot."""
        for number in sorted(self.layouts):
            if self.working:
                self._open(number)
        if self.working:
            self.pool.takes = takes(self.offloads)
            self.pool.receive_enable = True

    def stop(self) -> None:
        """No queue works; what the driver said of them stays."""
        self.pool.receive_enable = False
        for number in list(self.engines):
            self._close(number)

    def _open(self, number: int) -> None:
        layout, features = self.layouts[number], self.features
        if number >= 2 * self.pairs_negotiated and number != self.control_number():
            self.host.diagnose("queue-without-purpose", queue=number)
            return
        try:
            _check_alignment(layout, packed=Feature.RING_PACKED in features)
            queue = open_queue(self.host.dma, layout, features, self.host, self._name(number))
        except QueueError as error:
            self.broken(number, error)
            return
        if number == self.control_number():
            self.engines[number] = ControlQueue(self, number, queue)
        elif number & 1:
            self.engines[number] = sender = TransmitQueue(self, number, queue, features)
            sender.steering = self._automatic
        else:
            self.engines[number] = receiver = ReceiveQueue(self, number, queue, features)
            receiver.hashing = self._hashing
            self.receiver.queues[number >> 1] = receiver

    def _close(self, number: int) -> None:
        engine = self.engines.pop(number, None)
        if engine is not None:
            engine.close()
            if isinstance(engine, ReceiveQueue):
                self.receiver.queues[number >> 1] = None

    # -- what commands of the control queue do

    def use_pairs(self, pairs: int) -> None:
        """Automatic receive steering over so many pairs. What HASH_CONFIG asked for goes on being reported."""
        if self.rss is not None and self.rss.table:
            self.rss = None
        self._steer(pairs, Automatic(pairs))

    def use_rss(self, rss: Rss, pairs: int) -> None:
        """The hash chooses the receive queue; the driver transmits by ``pairs`` queues."""
        self.rss = rss
        self._steer(pairs, rss)

    def report_hash(self, rss: Rss) -> None:
        """HASH_CONFIG: what is hashed is told, and chooses nothing."""
        self.rss = rss
        self._apply_hashing()

    def set_offloads(self, offloads: Feature) -> None:
        """What the driver takes unfinished from now on."""
        self.offloads = offloads
        self.pool.takes = takes(offloads)

    def set_mac(self, mac: bytes) -> None:
        """Be this address."""
        self.filters.set_mac(mac)
        self.configuration.mac = mac
        self._configuration_changed(told=False)

    def mac_written(self, mac: bytes) -> None:
        """A legacy driver wrote to the configuration; not with a command that does the same (QEMU: virtio_net_set_config)."""
        if Feature.CTRL_MAC_ADDR not in self.features:
            self.filters.set_mac(mac)
            self.configuration.mac = mac
        self.front.show_configuration(self.configuration, self.generation)

    def announced(self) -> None:
        """The driver saw that it should announce itself."""
        self.configuration.announce = False
        self._configuration_changed(told=False)

    def _steer(self, pairs: int, steering: Automatic | Rss) -> None:
        self.pairs, self.receiver.steering = pairs, steering
        self._apply_hashing()
        for number, engine in self.engines.items():
            if isinstance(engine, TransmitQueue):
                engine.steering = self._automatic
                if number >> 1 < pairs:
                    engine.look()  # what was made available while the queue was not in use

    @property
    def _automatic(self) -> Automatic | None:
        steering = self.receiver.steering
        return steering if isinstance(steering, Automatic) else None

    @property
    def _hashing(self) -> Rss | None:
        return self.rss if Feature.HASH_REPORT in self.features else None

    def _apply_hashing(self) -> None:
        for queue in self.receiver.queues:
            if queue is not None:
                queue.hashing = self._hashing

    # -- interrupts

    def interrupt(self, queue: int) -> None:
        """A used buffer notification."""
        if self.msix_enabled:
            vector = self.front.queue_vector(queue)
            if vector != NO_VECTOR:
                self.host.irq(vector)
        else:
            self._cause(QUEUE_CAUSE)

    def causes_taken(self) -> None:
        """The driver has read the ISR status, which clears it."""
        self.causes = 0
        for front in self.fronts:
            front.show_cause(0)
        self.host.line(False)

    def _cause(self, cause: int) -> None:
        self.causes |= cause
        for front in self.fronts:
            front.show_cause(self.causes)
        if not self.msix_enabled:
            self.host.line(True)

    def _configuration_changed(self, *, told: bool = True) -> None:
        """Show the configuration; the driver is ``told`` of what it did not ask for itself."""
        self.generation += 1
        for front in self.fronts:
            front.show_configuration(self.configuration, self.generation)
        if told and self.status & DRIVER_OK:
            self._cause(CONFIG_CAUSE)
            if self.msix_enabled and self.front.config_vector != NO_VECTOR:
                self.host.irq(self.front.config_vector)

    def _link_changed(self, up: bool) -> None:
        self.configuration.link_up = up
        self._configuration_changed(told=Feature.STATUS in self.features)

    def broken(self, queue: int, error: QueueError) -> None:
        """A queue broke a rule: all stop until a reset. A modern driver is told that the device needs one."""
        self.host.diagnose(error.kind, queue=queue, **{k: v for k, v in error.detail.items() if k != "queue"})
        self.is_broken = True
        self.stop()
        if self.front.modern and not self.status & NEEDS_RESET:
            self._set_status(self.status | NEEDS_RESET)
            self._configuration_changed()

    # -- frames

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        """Frames that passed the pool's filters (see ``emulators.fabric.pool.Endpoint``)."""
        wanted = self.filters.wanted(frames)
        return self.receiver.deliver(wanted) + len(frames) - len(wanted)

    # -- words of ``regmodel ctl``

    def control(self, words: Sequence[str]) -> object:
        """``announce``: ask the driver to announce itself. ``needs-reset``: stop, as after an error. Raises ``UsageError``."""
        if list(words) == ["announce"]:
            if Feature.GUEST_ANNOUNCE not in self.features:
                raise UsageError("the driver has not accepted guest_announce")
            self.configuration.announce = True
            self._configuration_changed()
        elif list(words) == ["needs-reset"]:
            self.broken(-1, QueueError("asked-for"))
        else:
            raise UsageError(f"{' '.join(words)!r}: a virtio NIC knows 'announce' and 'needs-reset'")
        return None

    def _name(self, number: int) -> str:
        """What a queue is called by whoever looks at it."""
        kind = "control" if number == self.control_number() else ("receive", "transmit")[number & 1]
        return f"{kind} {number >> 1}"

    def rings(self) -> list[RingState]:
        """Where its queues stand; one that cannot be read is left out."""
        found = []
        for number, engine in sorted(self.engines.items()):
            with suppress(QueueError):
                found.append(RingState(self._name(number), *engine.queue.standing(), engine.queue.size))
        return found

    def stats(self) -> Mapping[str, Any]:
        """What was negotiated, what the driver has chosen since, and the queues: their sizes and counters."""
        queues = {str(n): {**engine.counters(), "size": engine.queue.size} for n, engine in sorted(self.engines.items())}
        rss = None if self.rss is None else {"key": self.rss.key.hex(), "table": list(self.rss.table), "types": self.rss.types}
        return {
            "status": self.status, "features": _names(self.features), "offloads": _names(self.offloads), "pairs": self.pairs,
            "rss": rss, "queues": queues,
        }  # fmt: skip

    # -- resets and state

    def reset(self, cause: ResetCause) -> None:
        """Everything but what the device is."""
        self.stop()
        self._forget()
        self._show(cause)
        self.host.line(False)

    def _forget(self) -> None:
        """As if no driver had been there."""
        properties = self.properties
        self.status = self.causes = 0
        self.is_broken = False
        """Since a queue broke a rule, until a reset; a legacy driver cannot read it (QEMU's ``vdev->broken``)."""
        self.features = self.offloads = Feature(0)
        self.front = self.fronts[0]
        self.layouts.clear()
        self.pairs, self.rss = 1, None
        self.receiver.queues = [None] * self.pairs_most
        self.receiver.steering = Automatic()
        self.filters.reset(self.slot.mac)
        self.pool.transmit_enable, self.pool.receive_enable = True, False
        self.configuration = Configuration(
            mac=self.slot.mac or bytes(6), link_up=self.slot.link.up, max_virtqueue_pairs=self.pairs_most,
            mtu=properties.mtu or 0,
        )  # fmt: skip
        if Feature.SPEED_DUPLEX in properties.features:
            self.configuration.speed = 0xFFFFFFFF if properties.speed is None else properties.speed
            self.configuration.duplex = 0xFF if properties.duplex is None else properties.duplex
        if properties.features & (Feature.RSS | Feature.HASH_REPORT):
            self.configuration.rss_max_key_size, self.configuration.supported_hash_types = RSS_KEY, ALL_TYPES
            self.configuration.rss_max_indirection_table_length = RSS_TABLE if Feature.RSS in properties.features else 1

    def _show(self, cause: ResetCause) -> None:
        for front in self.fronts:
            front.reset(cause)
            front.show_configuration(self.configuration, self.generation)

    def save(self) -> dict[str, object]:
        """A JSON-able image."""
        return save(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a saved image. Raises ``StateError`` and changes nothing when it is not of this device."""
        take_on(state, self.device.name, VERSION, self.save, partial(load, self))


def _check_alignment(layout: Layout, *, packed: bool) -> None:
    """VIRTIO 1.3, 2.7 and 2.8.10. Raises ``QueueError``."""
    for name, address, octets in (
        ("desc", layout.desc, 16), ("driver", layout.driver, 4 if packed else 2), ("device", layout.device, 4),
    ):  # fmt: skip
        if address % octets:
            raise QueueError("queue-misaligned", area=name, address=address)
