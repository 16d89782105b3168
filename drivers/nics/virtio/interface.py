"""The two ways to talk to a virtio device over PCI, as one: ``Modern`` structures in memory, and ``Legacy`` port I/O.

In here: features, status, queues, vectors and device configuration, by register. What is said is in ``device``. Which
registers there are comes from the description; a modern driver finds them by capabilities, which must agree.

Sources: VIRTIO 1.3, 4.1 (virtio over PCI) and 4.1.4.10 (legacy); Linux drivers/virtio/virtio_pci_modern_dev.c and
virtio_pci_legacy_dev.c; DPDK drivers/net/virtio/virtio_pci.c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from drivers.errors import NotSupported, ResetStuck, UnsupportedReply
from drivers.nics.virtio.virtqueue import Virtqueue
from drivers.registers.virtio_net import VirtioNet
from drivers.registers.virtio_net_legacy import VirtioNetLegacy
from drivers.transports import Transport
from drivers.transports.capabilities import COMMAND, every
from regmodel.bars.virtio import CONFIG_MSIX, CONFIG_NO_MSIX, NO_VECTOR
from regmodel.catalogue import Device
from regmodel.structures.virtio_features import Feature

IO_SPACE = 1
"""Of the command register: decode port I/O (PCI 3.0, 6.2.2)."""
VENDOR = 0x09
"""The number of a vendor-specific capability (PCI Code and ID Assignment)."""
STRUCTURES = {1: "device_feature_select", 2: "notify", 3: "isr", 4: "mac"}
"""By the type in a capability (VIRTIO 1.3, 4.1.4): the first register of that structure, as the description has it."""
COMMON, NOTIFY = 1, 2
RESET_TIME = 1.0
"""Seconds for a status of 0 to read back (virtio_pci_modern.c ``vp_reset`` waits for ever)."""


@dataclass(frozen=True)
class Configuration:
    """The device's own configuration (VIRTIO 1.3, 5.1.4), as far as its features say that it is there."""

    mac: bytes
    link_up: bool
    pairs: int
    mtu: int
    speed: int
    full_duplex: bool


class Interface(ABC):
    """``features`` are those that were accepted. A notification is ``ring[queue](position)``."""

    modern: bool
    msix_on = False
    """MSI-X is enabled, which moves the configuration of legacy devices."""

    def __init__(self, transport: Transport, device: Device) -> None:
        self.transport = transport
        self.features = Feature(0)

    @abstractmethod
    def offered(self) -> Feature:
        """What the device offers."""

    @abstractmethod
    def accept(self, features: Feature) -> None:
        """Between DRIVER and DRIVER_OK. Raises ``UnsupportedReply`` where the device does not agree."""

    @abstractmethod
    def status(self) -> int:
        """The device status. Raises ``DeviceGone``."""

    @abstractmethod
    def set_status(self, status: int) -> None:
        """Bits of VIRTIO 1.3, 2.1; 0 resets the device."""

    def reset(self) -> None:
        """Until the device has forgotten everything."""
        self.set_status(0)
        end = self.transport.now() + RESET_TIME
        while self.status():
            if self.transport.now() >= end:
                raise ResetStuck(f"{self.transport.name}: the device status has not become 0 within {RESET_TIME:g} s")
            self.transport.sleep(1e-3)

    @abstractmethod
    def queue_size(self, queue: int) -> int:
        """Descriptors that a queue has at most; 0 where there is none."""

    @abstractmethod
    def enable(self, queue: int, ring: Virtqueue) -> Callable[[int], None]:
        """The queue is ``ring``; how to notify the device, given the ring's ``position``."""

    @abstractmethod
    def route(self, queue: int | None, vector: int) -> None:
        """The vector of a queue, or of the configuration (None). Raises ``NotSupported`` when the device refuses it."""

    @abstractmethod
    def isr(self) -> int:
        """Why it interrupted, where that is by INTx: bit 0 a queue, bit 1 the configuration. Reading clears it."""

    @abstractmethod
    def configuration(self, offered: Feature) -> Configuration:
        """All of it at one moment."""

    def link_up(self) -> bool:
        """The status field alone, which is there with STATUS."""
        return bool(self._status_word() & 1)

    @abstractmethod
    def _status_word(self) -> int: ...

    def set_mac(self, mac: bytes) -> None:
        """Where there is no control queue to do it with."""
        raise NotSupported("a modern device changes its address by its control queue, which this one does not offer")


class Modern(Interface):
    """VIRTIO 1.3, 4.1.4: structures that capabilities lead to."""

    modern = True

    def __init__(self, transport: Transport, device: Device) -> None:
        super().__init__(transport, device)
        self.registers = VirtioNet(device, transport)
        structures = find_structures(transport)
        for kind, register in STRUCTURES.items():
            bar, described = device.register_bar(register)
            at = described.entries[register].offsets[0]
            if kind not in structures:
                raise NotSupported(f"{transport.name} has no virtio capability of type {kind}: it is no modern device")
            if structures[kind][:2] != (bar, at):
                found = "BAR {} at {:#x}".format(*structures[kind])
                text = f"{transport.name}: the virtio structure of type {kind} is in {found}, and {device.name} has it in"
                raise NotSupported(f"{text} BAR {bar} at {at:#x}: describe that device")
        at = structures[NOTIFY][2]
        self._multiplier = transport.config_read(at + 16, 4)
        self._bar, self._doorbells = transport.bar(structures[NOTIFY][0]), structures[NOTIFY][1]
        self._common = transport.bar(structures[COMMON][0])

    def offered(self) -> Feature:
        low, high = (word.read() for word in self.registers.device_feature)
        return Feature(high << 32 | low)

    def accept(self, features: Feature) -> None:
        for i, word in enumerate(self.registers.driver_feature):
            word.write(int(features) >> 32 * i & 0xFFFF_FFFF)
        self.features = features
        r = self.registers.device_status
        with r.modify() as draft:
            draft.features_ok = 1
        if not r.features_ok:
            raise UnsupportedReply(f"{self.transport.name}: the device does not agree to features {int(features):#x}")

    def status(self) -> int:
        return self.registers.device_status.read()

    def set_status(self, status: int) -> None:
        self.registers.device_status.write(status)

    def queue_size(self, queue: int) -> int:
        if queue >= self.registers.num_queues.read():
            return 0
        return self.registers.queue_size[queue].read()

    def enable(self, queue: int, ring: Virtqueue) -> Callable[[int], None]:
        r = self.registers
        r.queue_size[queue].write(ring.size)
        places = (word[queue].offset for word in (r.queue_desc, r.queue_driver, r.queue_device))
        for at, address in zip(places, ring.areas, strict=True):  # 64-bit fields take 32-bit accesses (VIRTIO 1.3, 4.1.3.1)
            self._common.write(at, 4, address & 0xFFFF_FFFF)
            self._common.write(at + 4, 4, address >> 32)
        doorbell = self._doorbells + r.queue_notify_off[queue].read() * self._multiplier
        r.queue_enable[queue].write(enable=1)
        if self.features & Feature.NOTIFICATION_DATA:
            words = self._bar.u32
            return lambda position: words.__setitem__(doorbell // 4, position << 16 | queue)
        halves = self._bar.u16
        return lambda _: halves.__setitem__(doorbell // 2, queue)

    def route(self, queue: int | None, vector: int) -> None:
        r = self.registers
        word = r.config_msix_vector if queue is None else r.queue_msix_vector[queue]
        word.write(vector)
        if word.read() != vector:
            raise NotSupported(f"{self.transport.name}: the device has no resources for interrupt vector {vector}")

    def isr(self) -> int:
        return self.registers.isr.read()

    def configuration(self, offered: Feature) -> Configuration:
        r = self.registers
        while True:  # VIRTIO 1.3, 2.5.1: what is read between two equal generations belongs together
            before = r.config_generation.read()
            found = Configuration(
                mac=bytes(r.mac[i].read() for i in range(6)) if offered & Feature.MAC else b"",
                link_up=bool(r.net_status.link_up) if offered & Feature.STATUS else True,
                pairs=r.max_virtqueue_pairs.read() if offered & (Feature.MQ | Feature.RSS) else 1,
                mtu=r.mtu.read() if offered & Feature.MTU else 0,
                speed=r.speed.read() if offered & Feature.SPEED_DUPLEX else 0xFFFF_FFFF,
                full_duplex=r.duplex.read() != 0 if offered & Feature.SPEED_DUPLEX else True,
            )
            if r.config_generation.read() == before:
                return found

    def _status_word(self) -> int:
        return self.registers.net_status.read()


class Legacy(Interface):
    """VIRTIO 1.3, 4.1.4.10: registers in port I/O. Its rings are split, of the size that the device wants, below 16 TiB."""

    modern = False

    def __init__(self, transport: Transport, device: Device) -> None:
        super().__init__(transport, device)
        transport.config_write(COMMAND, 2, transport.config_read(COMMAND, 2) | IO_SPACE)
        self.registers = VirtioNetLegacy(device, transport)
        self._bar = transport.bar(device.register_bar("host_features")[0])

    def offered(self) -> Feature:
        return Feature(self.registers.host_features.read())

    def accept(self, features: Feature) -> None:
        self.registers.guest_features.write(int(features))
        self.features = features

    def status(self) -> int:
        return self.registers.status.read()

    def set_status(self, status: int) -> None:
        self.registers.status.write(status)

    def queue_size(self, queue: int) -> int:
        # the control queue's number may be behind what the description of a smaller device has
        return self.registers.queue_num[queue].read() if queue < len(self.registers.queue_num) else 0

    def enable(self, queue: int, ring: Virtqueue) -> Callable[[int], None]:
        self.registers.queue_pfn[queue].write(ring.areas[0] >> 12)
        store = self.registers.queue_notify.store
        return lambda _: store(queue)

    def route(self, queue: int | None, vector: int) -> None:
        r = self.registers
        word = r.config_vector if queue is None else r.queue_vector[queue]
        word.write(vector)
        if word.read() != vector:
            raise NotSupported(f"{self.transport.name}: the device has no resources for interrupt vector {vector}")

    def isr(self) -> int:
        return self.registers.isr_status.read()

    def _at(self, offset: int) -> int:
        """Where a register of the configuration is now."""
        return offset if self.msix_on else offset - CONFIG_MSIX + CONFIG_NO_MSIX

    def configuration(self, offered: Feature) -> Configuration:
        r = self.registers
        pairs = self._bar.read(self._at(r.legacy_max_virtqueue_pairs.offset), 2) if offered & Feature.MQ else 1
        return Configuration(
            mac=bytes(self._bar.read(self._at(word.offset), 1) for word in r.legacy_mac) if offered & Feature.MAC else b"",
            link_up=bool(self._status_word() & 1) if offered & Feature.STATUS else True,
            pairs=pairs,
            mtu=self._bar.read(self._at(r.legacy_mtu.offset), 2) if offered & Feature.MTU else 0,
            speed=0xFFFF_FFFF,
            full_duplex=True,
        )

    def _status_word(self) -> int:
        return self._bar.read(self._at(self.registers.legacy_net_status.offset), 2)

    def set_mac(self, mac: bytes) -> None:
        """VIRTIO 1.3, 5.1.4.3: a legacy driver writes it into the configuration."""
        for word, octet in zip(self.registers.legacy_mac, mac, strict=True):
            self._bar.write(self._at(word.offset), 1, octet)


def find_structures(transport: Transport) -> dict[int, tuple[int, int, int]]:
    """By type: BAR, offset in it, and the capability's own offset. The first of each type counts (VIRTIO 1.3, 4.1.4.1)."""
    found: dict[int, tuple[int, int, int]] = {}
    for at in every(transport, VENDOR):
        kind = transport.config_read(at + 3, 1)
        bar, offset = transport.config_read(at + 4, 1), transport.config_read(at + 8, 4)
        if bar < 6:  # others are reserved, and to be ignored
            found.setdefault(kind, (bar, offset, at))
    return found


def open_interface(transport: Transport, device: Device, *, legacy: bool) -> Interface:
    """Modern where the device has it, unless ``legacy`` is asked for. Raises ``NotSupported``."""
    if not legacy and find_structures(transport):
        return Modern(transport, device)
    return Legacy(transport, device)


__all__ = ["NO_VECTOR", "Configuration", "Interface", "Legacy", "Modern", "find_structures", "open_interface"]
