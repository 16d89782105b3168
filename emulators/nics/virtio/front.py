"""What the two interfaces of a virtio device have in common: how the device sees either of them.

In here: the contract of ``Modern`` (``modern``) and ``Legacy`` (``legacy``), and the device's own configuration, which both
show. A register belongs to an interface; what it sets going belongs to the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

from regmodel.bank import Bank, Cause, Path
from regmodel.bars.virtio import NO_VECTOR, VECTORS
from regmodel.function import ResetCause
from regmodel.structures.virtio_features import Feature

if TYPE_CHECKING:
    from emulators.nics.virtio.device import VirtioNet

QUEUE_CAUSE, CONFIG_CAUSE = 1, 2
"""Bits of the ISR status (VIRTIO 1.3, 4.1.4.5)."""


@dataclass
class Configuration:
    """The device's own configuration (VIRTIO 1.3, 5.1.4): ``speed`` in Mbit/s, ``mtu`` in octets; 0 is what is not offered."""

    mac: bytes = bytes(6)
    link_up: bool = True
    announce: bool = False
    max_virtqueue_pairs: int = 1
    mtu: int = 0
    speed: int = 0
    duplex: int = 0
    rss_max_key_size: int = 0
    rss_max_indirection_table_length: int = 0
    supported_hash_types: int = 0

    def save(self) -> dict[str, object]:
        return {**asdict(self), "mac": self.mac.hex()}

    @classmethod
    def loaded(cls, state: Mapping[str, Any]) -> Configuration:
        """What ``save`` gave. Raises KeyError, TypeError or ValueError."""
        values = {field.name: state[field.name] for field in fields(cls)}
        return cls(**{**values, "mac": bytes.fromhex(values["mac"])})


class Front(ABC):
    """One interface of ``device``: its register file, and what the driver said there. ``offered``: feature bits it shows."""

    modern: ClassVar[bool]
    bank: Bank
    offered: Feature

    def __init__(self, device: VirtioNet) -> None:
        self.device = device
        self.beyond: dict[int, int] = {}
        """What the driver accepted of words after the second, by their number; nothing of those is ever offered."""

    @abstractmethod
    def accepted(self) -> Feature:
        """What the driver has written."""

    @abstractmethod
    def reset(self, cause: ResetCause) -> None:
        """Registers as after ``cause``, and showing what the device is."""

    @abstractmethod
    def show_status(self, status: int) -> None:
        """The status of the device, as far as this interface has bits for it."""

    @abstractmethod
    def show_cause(self, causes: int) -> None:
        """The ISR status."""

    @abstractmethod
    def show_configuration(self, configuration: Configuration, generation: int) -> None: ...

    @abstractmethod
    def queue_was_reset(self, number: int) -> None:
        """The registers of one queue as after a reset."""

    @property
    @abstractmethod
    def config_vector(self) -> int:
        """The vector of configuration changes, ``NO_VECTOR`` for none."""

    @abstractmethod
    def queue_vector(self, number: int) -> int:
        """The vector of one queue, ``NO_VECTOR`` for none."""

    # -- what both do alike

    def _vector_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """A vector that there is not reads back as none (VIRTIO 1.3, 4.1.5.1.2.1)."""
        if new >= VECTORS and new != NO_VECTOR:
            self.device.host.diagnose("no-such-vector", register=str(path), vector=new)
            self.bank[path.name].value = NO_VECTOR

    def _cause_read(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self.device.causes_taken()


def by_queue(bank: Bank, name: str) -> list[int]:
    """The values of a banked register, by what selects it: the list itself, which stays the same."""
    return cast("list[int]", bank[name].store.values)
