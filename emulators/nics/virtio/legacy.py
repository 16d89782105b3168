"""The legacy interface: registers in port I/O, as before VIRTIO 1.0.

In here: what a write to one of them means, and how the file looks while MSI-X is off. A queue has one size, which the device
says, and one address, in pages. Nothing can be refused: what was accepted without having been offered is diagnosed and
disregarded. There is no DEVICE_NEEDS_RESET either; a device whose queue breaks stands still until a reset.

Sources: VIRTIO 1.3, 4.1.4.10 and 4.1.5.1.3.1; QEMU hw/virtio/virtio-pci.c ``virtio_ioport_write``, ``virtio_pci_config_read``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulators.nics.virtio.front import Configuration, Front, by_queue
from emulators.nics.virtio.queue import legacy_layout
from regmodel.bank import Bank, Cause, Path
from regmodel.bars.virtio import BAR0, QUEUES
from regmodel.function import ResetCause
from regmodel.structures.virtio_features import Feature

if TYPE_CHECKING:
    from emulators.nics.virtio.device import VirtioNet


class MovedBank(Bank):
    """A bank whose ``bar.moved`` holds while ``when()`` does. Records and coverage tell the described offsets."""

    def __init__(self, when: Callable[[], bool], *, now: Callable[[], int]) -> None:
        super().__init__(BAR0, now=now)
        assert BAR0.moved is not None
        self._moved, self._when = BAR0.moved, when

    def read(self, offset: int, size: int) -> int:
        return super().read(self._described(offset), size)

    def write(self, offset: int, size: int, value: int) -> None:
        super().write(self._described(offset), size, value)

    def _described(self, offset: int) -> int:
        return offset + self._moved.gone if offset >= self._moved.first and self._when() else offset


class Legacy(Front):
    """See the module."""

    modern = False

    def __init__(self, device: VirtioNet, offered: Feature) -> None:
        super().__init__(device)
        self.offered = offered
        self.bank = bank = MovedBank(lambda: not device.msix_enabled, now=device.host.clock.now)
        self._vectors = by_queue(bank, "queue_vector")
        self._status, self._config_vector, self._accepted = bank["status"], bank["config_vector"], bank["guest_features"]
        self._status_bits = sum(field.mask for field in self._status.fields.values())
        self._select = bank["queue_sel"]
        bank.on_write("guest_features", self._features_written)
        bank.on_write("status", self._status_written)
        bank.on_write("config_vector", self._vector_written)
        bank.on_write("queue_vector", self._vector_written)
        bank.on_write("queue_pfn", self._page_written)
        bank.on_read("isr_status", self._cause_read)
        bank.on_write("queue_notify", self._notified)
        bank.on_write("legacy_mac", self._mac_written)

    # -- what the device asks and shows

    def accepted(self) -> Feature:
        return Feature(self._accepted.value) & self.offered

    def reset(self, cause: ResetCause) -> None:
        self.bank.reset(cause)
        self.bank["host_features"].value = int(self.offered)
        for n in range(QUEUES):
            by_queue(self.bank, "queue_num")[n] = self.device.queue_size if n < self.device.queues else 0

    def show_status(self, status: int) -> None:
        self._status.value = status & self._status_bits

    def show_cause(self, causes: int) -> None:
        self.bank["isr_status"].value = causes

    def show_configuration(self, configuration: Configuration, generation: int) -> None:
        bank = self.bank
        for cell, octet in zip(bank.all("legacy_mac"), configuration.mac, strict=True):
            cell.value = octet
        bank["legacy_net_status"].set(link_up=int(configuration.link_up), announce=int(configuration.announce))
        bank["legacy_max_virtqueue_pairs"].value = configuration.max_virtqueue_pairs
        bank["legacy_mtu"].value = configuration.mtu

    def queue_was_reset(self, number: int) -> None:
        by_queue(self.bank, "queue_pfn")[number] = 0

    @property
    def config_vector(self) -> int:
        return self._config_vector.value

    def queue_vector(self, number: int) -> int:
        return self._vectors[number]

    # -- what the driver writes

    def _features_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if self.device.driver_ready:  # the register holds what is written, its queues work by what was negotiated
            self.device.host.diagnose("features-after-driver-ok", features=new)
            return
        if new & ~self.offered:
            self.device.host.diagnose("feature-not-offered", features=new & ~self.offered)
        self.device.negotiated(self, self.accepted())

    def _status_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.status_written(self, new)

    def _page_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """A page number sets the queue up, 0 takes it down."""
        number = self._select.value
        if number >= self.device.queues:
            return
        if new:
            self.device.enable_queue(number, legacy_layout(new, self.device.queue_size))
        else:
            self.device.reset_queue(number)

    def _notified(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.notify(new)

    def _mac_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """The way to set the address before there was a command for it (VIRTIO 1.3, 5.1.4.3)."""
        self.device.mac_written(bytes(cell.value for cell in self.bank.all("legacy_mac")))
