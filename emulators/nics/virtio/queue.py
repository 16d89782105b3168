"""A virtqueue as its device sees it: what both formats share, and what they look like to those who use them.

In here: chains, errors, and the contract of ``SplitQueue`` (``split``) and ``PackedQueue`` (``packed``). What is in a
buffer does not enter: ``transmit`` and ``receive`` know frames, the control queue knows commands.

A device takes chains of buffers, works on them, and gives them back. Two ways lead through a queue: ``take_plain`` for what
fast drivers do, one descriptor per buffer; ``take`` for every chain there can be. Nothing of guest memory is kept between
bursts but indexes: rings are viewed in place, each word that the driver may be changing is loaded once.

A driver can write anything into its rings. Whatever contradicts the specification raises ``QueueError`` with a name of its
own, and never a loop, an exception of another kind, or an access outside of what the platform maps.

Source: VIRTIO 1.3, 2.6 to 2.9.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from struct import Struct
from threading import Lock
from typing import Any, NamedTuple, Protocol

from emulators.fabric.pool import Pool
from regmodel.errors import DmaFault
from regmodel.function import Buffer, Dma, Host, OnDescriptor
from regmodel.structures.virtio_features import Feature

if sys.byteorder != "little":  # rings are little-endian, legacy ones have the byte order of the guest, which is an x86
    raise ImportError("the queues of this package run on little-endian hosts only")

NEXT, WRITE, INDIRECT = 1, 2, 4
"""Descriptor flags of both formats: VIRTIO 1.3, 2.7.5 and 2.8.1."""
DESCRIPTOR = 16
"""Bytes of a descriptor, in both formats."""
LONGEST_INDIRECT = 1024
"""Here: most entries of an indirect table, whatever the size of the queue. The specification allows as many as the queue has;
Linux makes up to 19 on smaller ones too (virtio_ring.c ``virtqueue_add_split``)."""
ADDRESS_END = 1 << 64
HIGH = ADDRESS_END - (1 << 32)
"""A buffer from here on may run over the last address."""

Part = tuple[int, int]
"""The address and the length, in bytes, of one piece of a buffer."""

PATIENCE = 16
"""How often ``listen`` looks again while the driver goes on: it cannot for long, it has a ring to fill."""


class Chain(NamedTuple):
    """One buffer that the driver made available: ``readable`` parts come before ``writable`` ones.

    ``head`` names it when it is given back: the index of its first descriptor (split) or its buffer id (packed). ``slots``
    are the places of the ring that it takes.
    """

    head: int
    readable: list[Part]
    writable: list[Part]
    slots: int = 1


class Plain(NamedTuple):
    """Several buffers of one descriptor each, all readable or all writable, by column."""

    heads: Sequence[int]
    addresses: Sequence[int]
    lengths: Sequence[int]


class QueueError(Exception):
    """The driver broke a rule, so that the device needs a reset. ``kind`` names the diagnosis, ``detail`` its particulars."""

    def __init__(self, kind: str, **detail: object) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


class Owner(Protocol):
    """The device, as its queues see it. Queues have numbers: receive 0, transmit 1, receive 2, ..."""

    @property
    def host(self) -> Host: ...

    @property
    def pool(self) -> Pool: ...

    def interrupt(self, queue: int) -> None:
        """Send a used buffer notification."""

    def broken(self, queue: int, error: QueueError) -> None:
        """Diagnose ``error`` once, set DEVICE_NEEDS_RESET and close all queues."""


class Unheard:
    """In place of a host at which somebody may look."""

    on_descriptor: OnDescriptor | None = None


class Layout(NamedTuple):
    """Where a queue is: its ``size`` in descriptors, and the addresses of its three areas (VIRTIO 1.3, 2.6)."""

    size: int
    desc: int
    driver: int
    device: int


def legacy_layout(page: int, size: int) -> Layout:
    """The areas of a legacy queue from its page frame number: the used ring begins on the next page (VIRTIO 1.3, 2.7.2)."""
    desc = page << 12
    driver = desc + DESCRIPTOR * size
    return Layout(size, desc, driver, driver + 6 + 2 * size + 0xFFF & ~0xFFF)


class Queue(ABC):
    """One virtqueue, from the moment it is enabled until it is reset. ``closed``: it does nothing any more."""

    used: int
    """How far the device has given buffers back, in units of the format."""
    lap: int
    """Where ``taken`` and ``used`` begin again."""

    def __init__(self, dma: Dma, layout: Layout, features: Feature, host: Host | Unheard, name: str) -> None:
        self.dma, self.layout, self.size = dma, layout, layout.size
        self.host, self.name = host, name
        self.table_name = f"{name}, indirect"
        self.indirect = Feature.INDIRECT_DESC in features
        self.event_index = Feature.EVENT_IDX in features
        self.in_order = Feature.IN_ORDER in features
        self.taken = 0
        """How far the device is in what the driver made available, in units of the format."""
        self.closed = False
        self.listening = True
        """Doorbells are asked for, as a driver takes them to be before the device has said anything."""

    def close(self) -> None:
        """At a reset of the queue or of the device, and when either is broken. A burst that is suspended leaves no trace."""
        self.closed = True

    # -- buffers

    @abstractmethod
    def take(self, most: int) -> list[Chain]:
        """Up to ``most`` chains, in the order in which the driver made them available.

        A chain that breaks a rule ends the list; it raises ``QueueError`` when it comes first.
        """

    @abstractmethod
    def take_plain(self, most: int, *, writable: bool) -> Plain | None:
        """The same where none of them is more than one descriptor, all of one direction; else None, with nothing taken."""

    @abstractmethod
    def untake(self, chains: Sequence[Chain]) -> None:
        """The chains that were taken last are as if they had not been."""

    @abstractmethod
    def untake_plain(self, count: int) -> None:
        """The same for the last ``count`` buffers of one descriptor each."""

    @abstractmethod
    def _give(self, heads: Sequence[int], written: Sequence[int], slots: Sequence[int]) -> None:
        """Hand buffers back, all of them visible at once. With IN_ORDER, several without data by the name of the last."""

    def give(self, done: Sequence[tuple[Chain, int]]) -> None:
        """Hand chains back, each with the octets that were written to it. Raises ``QueueError``."""
        if done and not self.closed:
            chains = [chain for chain, _ in done]
            self._give([chain.head for chain in chains], [written for _, written in done], [chain.slots for chain in chains])

    def give_plain(self, heads: Sequence[int], written: Sequence[int]) -> None:
        """The same for buffers of one descriptor each."""
        if heads and not self.closed:
            self._give(heads, written, (1,) * len(heads))

    # -- notifications

    @abstractmethod
    def should_interrupt(self) -> bool:
        """Whether the driver wants to be told of what was given back since it was asked last. Raises ``QueueError``."""

    def listen(self) -> bool:
        """Ask for a doorbell when more is made available than is now; True when there is something to take already.

        What the driver does meanwhile may go unannounced, so that this looks again. Raises ``QueueError``.
        """
        if self.closed:
            return False
        end = self._end()
        for _ in range(PATIENCE):
            self._ask(end)
            self.listening = True
            fence()
            before, end = end, self._end()
            if end == before:
                break
        return end != self.taken

    @abstractmethod
    def _end(self) -> int:
        """Where in the ring the driver has made nothing available yet."""

    def standing(self) -> tuple[int, int]:
        """Where the device is, and how much from there on is its own; reads memory only. Raises ``QueueError``."""
        return self.used % self.size, (self._end() - self.used) % self.lap

    @abstractmethod
    def _ask(self, end: int) -> None:
        """For a doorbell when it goes on from there."""

    @abstractmethod
    def quiet(self) -> None:
        """Ask for no doorbells: the ring will be looked at without."""

    @abstractmethod
    def check_notification(self, data: int) -> None:
        """What a doorbell with NOTIFICATION_DATA says about the ring (VIRTIO 1.3, 2.9). Raises ``QueueError``."""

    # -- state

    @abstractmethod
    def save(self) -> dict[str, object]:
        """Indexes; JSON-able."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """What ``save`` gave. Raises KeyError, TypeError or ValueError for anything else."""

    # -- memory

    def words(self, address: int, size: int, code: str) -> memoryview:
        """``size`` bytes as words of ``code``; in place where that can be. An index into it is one load."""
        try:
            return memoryview(self.dma.read(address, size)).cast(code)  # type: ignore[call-overload,no-any-return]
        except DmaFault as fault:
            raise QueueError("ring-unreachable", fault=str(fault)) from None

    def store(self, address: int, word: int) -> None:
        """Store 16 bits, once."""
        try:
            view = self.dma.view(address, 2, write=True)
            if view is None:
                self.dma.write(address, word.to_bytes(2, "little"))
            else:
                view.cast("H")[0] = word
        except DmaFault as fault:
            raise QueueError("ring-unreachable", fault=str(fault)) from None

    def store_all(self, address: int, data: Buffer) -> None:
        """Store bytes that the driver does not look at yet."""
        try:
            self.dma.write(address, data)
        except DmaFault as fault:
            raise QueueError("ring-unreachable", fault=str(fault)) from None

    # -- chains, as both formats have them

    def add_part(self, readable: list[Part], writable: list[Part], address: int, length: int, flags: int) -> None:
        """One more descriptor of a chain. Raises ``QueueError``."""
        if not length:
            raise QueueError("zero-length-buffer", address=address)
        if address + length > ADDRESS_END:
            raise QueueError("buffer-beyond-address-space", address=address, length=length)
        if flags & WRITE:
            writable.append((address, length))
        elif writable:
            raise QueueError("readable-after-writable", address=address)
        else:
            readable.append((address, length))

    def indirect_table(self, address: int, length: int, flags: int) -> memoryview:
        """The table of an indirect descriptor as 64-bit words, two per entry. Raises ``QueueError``."""
        if not self.indirect:
            raise QueueError("indirect-not-negotiated", address=address)
        if flags & NEXT:
            raise QueueError("indirect-with-next", address=address)
        if not length or length % DESCRIPTOR:
            raise QueueError("indirect-table-size", address=address, length=length)
        if length > DESCRIPTOR * LONGEST_INDIRECT:
            raise QueueError("indirect-table-too-long", address=address, length=length)
        try:
            return memoryview(self.dma.read(address, length)).cast("Q")
        except DmaFault as fault:
            raise QueueError("indirect-table-unreachable", fault=str(fault)) from None


pair = Struct("<QQ").pack
"""A descriptor from its two words."""
_FENCE = Lock()


def fence() -> None:
    """Stores before it are seen by others before loads after it are done.

    An x86 may load before an older store is visible (Intel SDM volume 3, 8.2.3.4), and both sides of a queue store their
    index and then look whether the other one wants to know. Python has no fence; taking a lock is an atomic instruction.
    """
    _FENCE.acquire()
    _FENCE.release()


def crossed(event: int, new: int, old: int, modulus: int) -> bool:
    """Whether an index that went from ``old`` to ``new`` went past ``event`` (VIRTIO 1.3, 2.7.10, ``vring_need_event``)."""
    return (new - event - 1) % modulus < (new - old) % modulus


def open_queue(dma: Dma, layout: Layout, features: Feature, host: Host | Unheard | None = None, name: str = "") -> Queue:
    """The queue at ``layout`` in the format that was negotiated; whoever traces at ``host`` is told of it as ``name``."""
    from emulators.nics.virtio.packed import PackedQueue
    from emulators.nics.virtio.split import SplitQueue

    kind = PackedQueue if Feature.RING_PACKED in features else SplitQueue
    return kind(dma, layout, features, host or Unheard(), name)
