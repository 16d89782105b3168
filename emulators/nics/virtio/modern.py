"""The modern interface: structures in BAR 4, and the window to them in configuration space.

In here: what a write to one of their registers means. Sources: VIRTIO 1.3, 4.1.4 and 4.1.5; QEMU hw/virtio/virtio-pci.c
``virtio_pci_common_write``, ``virtio_write_config``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulators.nics.virtio.front import Configuration, Front, by_queue
from emulators.nics.virtio.queue import Layout
from regmodel.bank import Bank, Cause, Path
from regmodel.bars.virtio import BAR4, QUEUES
from regmodel.devices.virtio_config import MODERN_BAR
from regmodel.function import ResetCause
from regmodel.structures.virtio_features import Feature

if TYPE_CHECKING:
    from emulators.nics.virtio.device import VirtioNet

WIDTHS = (1, 2, 4)
"""Octets of an access through the window (VIRTIO 1.3, 4.1.4.9)."""
WORDS = 2
"""Of 32 feature bits."""
MOST_BEYOND = 8
"""Feature words after those that are kept: one is enough to refuse them all."""


class CommonBank(Bank):
    """A bank that keeps in ``beyond`` what is not 0 of the feature words that there are no features for: by selection.

    A driver may say that it wants none of those (Linux has 128 bits of them); one that wants any gets no FEATURES_OK.
    """

    def __init__(self, *, now: Callable[[], int]) -> None:
        super().__init__(BAR4, now=now)
        self.beyond: dict[int, int] = {}
        self._word = BAR4.entries["driver_feature"].offsets[0]

    def write(self, offset: int, size: int, value: int) -> None:
        if offset == self._word and size == 4 and (select := self["driver_feature_select"].value) >= WORDS:
            if not value:
                self.beyond.pop(select, None)
            elif len(self.beyond) < MOST_BEYOND or select in self.beyond:
                self.beyond[select] = value
        super().write(offset, size, value)


class Modern(Front):
    """See the module."""

    modern = True

    def __init__(self, device: VirtioNet, offered: Feature) -> None:
        super().__init__(device)
        self.offered = offered
        self.bank = bank = CommonBank(now=device.host.clock.now)
        self.beyond = bank.beyond
        self._accepted = by_queue(bank, "driver_feature")
        self._vectors = by_queue(bank, "queue_msix_vector")
        self._status, self._config_vector = bank["device_status"], bank["config_msix_vector"]
        self._select = bank["queue_select"]
        bank.on_write("device_status", self._status_written)
        bank.on_write("config_msix_vector", self._vector_written)
        bank.on_write("queue_msix_vector", self._vector_written)
        bank.on_write("queue_size", self._size_written)
        bank.on_write("queue_enable", self._enable_written)
        bank.on_write("queue_reset", self._reset_written)
        bank.on_read("isr", self._cause_read)
        bank.on_write("notify", self._notified)
        bank.on_write("notify_data", self._notified_data)

    # -- what the device asks and shows

    def accepted(self) -> Feature:
        return Feature(self._accepted[1] << 32 | self._accepted[0])

    def reset(self, cause: ResetCause) -> None:
        bank, count = self.bank, self.device.queues
        bank.reset(cause)
        self.beyond.clear()
        by_queue(bank, "device_feature")[:] = [self.offered & 0xFFFFFFFF, self.offered >> 32]
        bank["num_queues"].value = count
        for n in range(QUEUES):
            by_queue(bank, "queue_size")[n] = self.device.queue_size if n < count else 0
            by_queue(bank, "queue_notify_off")[n] = by_queue(bank, "queue_notify_data")[n] = n if n < count else 0

    def show_status(self, status: int) -> None:
        self._status.value = status

    def show_cause(self, causes: int) -> None:
        self.bank["isr"].value = causes

    def show_configuration(self, configuration: Configuration, generation: int) -> None:
        bank = self.bank
        for cell, octet in zip(bank.all("mac"), configuration.mac, strict=True):
            cell.value = octet
        bank["net_status"].set(link_up=int(configuration.link_up), announce=int(configuration.announce))
        for name in ("max_virtqueue_pairs", "mtu", "speed", "duplex", "rss_max_key_size", "rss_max_indirection_table_length",
                     "supported_hash_types"):  # fmt: skip
            bank[name].value = getattr(configuration, name)
        bank["config_generation"].value = generation & 0xFF

    def queue_was_reset(self, number: int) -> None:
        for name in ("queue_msix_vector", "queue_enable", "queue_desc", "queue_driver", "queue_device", "queue_reset"):
            by_queue(self.bank, name)[number] = self.bank[name].reset_values[ResetCause.SOFTWARE][0]
        by_queue(self.bank, "queue_size")[number] = self.device.queue_size

    @property
    def config_vector(self) -> int:
        return self._config_vector.value

    def queue_vector(self, number: int) -> int:
        return self._vectors[number]

    # -- what the driver writes

    def _status_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.status_written(self, new)

    def _size_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Any size up to the device's with packed queues, a power of two with split ones (4.1.4.3.2)."""
        packed = Feature.RING_PACKED in self.device.features
        if not 0 < new <= self.device.queue_size or (new & (new - 1) and not packed):
            self.device.host.diagnose("queue-size-refused", queue=self._select.value, size=new)
            self.bank["queue_size"].value = old

    def _enable_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if old & 1 or not new & 1:
            return
        number, bank = self._select.value, self.bank
        if number >= self.device.queues:
            self.device.host.diagnose("no-such-queue", queue=number)
            bank["queue_enable"].value = 0
            return
        areas = (bank[name].value for name in ("queue_size", "queue_desc", "queue_driver", "queue_device"))
        self.device.enable_queue(number, Layout(*areas))

    def _reset_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """A reset is done at once, so that the register reads 0 again (4.1.4.3.1)."""
        if not new & 1:
            return
        number = self._select.value
        self.bank["queue_reset"].value = 0
        if Feature.RING_RESET not in self.device.features:
            self.device.host.diagnose("queue-reset-not-negotiated", queue=number)
        elif number < self.device.queues:
            self.device.reset_queue(number)

    def _notified(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.notify(path.instance)

    def _notified_data(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.notify_data(path.instance, new << 16 | path.instance)


class Window:
    """VIRTIO_PCI_CAP_PCI_CFG in the configuration space ``config``: reading or writing its data is an access to the BAR."""

    def __init__(self, config: Bank, front: Modern) -> None:
        self._config, self._front = config, front
        self._data = config["pci_cfg_data"]
        config.before_read("pci_cfg_data", self._read)
        config.on_write("pci_cfg_data", self._written)

    def _place(self) -> tuple[int, int] | None:
        """Where and how wide; None for what is no access (VIRTIO 1.3, 4.1.4.9.1: the driver must not do that)."""
        bar, offset, size = (self._config[f"pci_cfg_{name}"].value for name in ("bar", "offset", "size"))
        if not size:
            return None
        if bar != MODERN_BAR or size not in WIDTHS or offset % size or offset + size > self._front.bank.bar.size:
            self._front.device.host.diagnose("bad-window", bar=bar, offset=offset, size=size)
            return None
        return offset, size

    def _read(self, path: Path) -> None:
        place = self._place()
        if place is not None:
            self._data.value = self._front.bank.read(*place)

    def _written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        place = self._place()
        if place is not None:
            offset, width = place
            self._front.bank.write(offset, width, new & (1 << 8 * width) - 1)
