"""``Virtqueue``: what split and packed virtqueues have in common for a driver, and what the queues of packets see of them.

In here: tokens (who a buffer belongs to), the accounting of descriptors, and the interface. How a descriptor looks, and how
both sides tell each other of it, is in ``split`` and ``packed``. A *piece* is a stretch of memory that one descriptor names.

Source: VIRTIO 1.3, 2.6 (virtqueues).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.mempool import NONE, Indices
from drivers.transports import DmaBuffer, Transport

Column: TypeAlias = NDArray[Any]
Piece: TypeAlias = tuple[int, int, bool]
"""Bus address, bytes, and whether the device writes it."""


class Virtqueue(ABC):
    """``size`` descriptors, of which ``free`` are the driver's. ``areas`` are the bus addresses of descriptor, driver and
    device area. ``always``: the device is notified of all that is published, whether it wants to be or not, which it has to
    bear (VIRTIO 1.3, 2.7.10 and 2.8.10); its wishes are not looked at.

    A buffer is one descriptor, or a chain; it carries a ``token``, an index that comes back with it. ``add`` and
    ``add_chain`` prepare, ``publish`` makes all that was prepared the device's, ``take`` brings back what it has used.
    """

    size: int
    areas: tuple[int, int, int]

    def __init__(self, transport: Transport, size: int, octets: int, *, always: bool) -> None:
        self.size = self.free = size
        self._always = always
        self._memory: DmaBuffer = transport.alloc(octets)
        self._tokens: Indices = np.full(size, NONE, np.intp)
        """By the number that the device hands back."""
        self._chains: dict[int, list[int]] = {}
        """The same, for buffers of several descriptors: what is to be given back."""

    # -- for the queues of packets

    @abstractmethod
    def add(self, addresses: Column, lengths: Column | int, tokens: Indices, *, written: bool) -> None:
        """One descriptor for each address, of which there are ``free`` at least. ``written``: by the device."""

    @abstractmethod
    def add_chain(self, pieces: Sequence[Piece], token: int) -> None:
        """One buffer of several pieces, those that the device reads first."""

    @abstractmethod
    def publish(self) -> bool:
        """The device has what was added; True when it wants to be notified."""

    @abstractmethod
    def take(self, most: int) -> tuple[Indices, Column]:
        """Up to ``most`` buffers that were used: their tokens, and how many bytes the device wrote to each.

        Raises ``RingError`` for what the device was not given.
        """

    @abstractmethod
    def pending(self) -> bool:
        """The device has used a buffer that was not taken yet."""

    @abstractmethod
    def ask_interrupt(self, wanted: bool) -> None:
        """Whether the device shall interrupt when it uses the next buffer."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Where the driver is, as a notification with data tells it: the upper 16 bits of the word (VIRTIO 1.3, 2.9)."""

    def outstanding(self) -> Indices:
        """The tokens of all buffers that the device has, for the time when it has them no more."""
        held: Indices = self._tokens[self._tokens != NONE]
        return held

    def release(self) -> None:
        """Give the memory back: the device does not touch it any more."""
        self._forget()
        self._memory.free()

    @abstractmethod
    def _forget(self) -> None:
        """Let go of all arrays that look into the memory."""
