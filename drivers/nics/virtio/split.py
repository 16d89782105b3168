"""The split virtqueue: a table of descriptors, a ring of those that are available, a ring of those that were used.

In here: the three areas and how each side tells the other how far it is. One allocation holds all three as the legacy
interface wants them, the used ring on a page of its own; the modern one takes any addresses, these too.

Sources: VIRTIO 1.3, 2.7 (split virtqueues), 2.7.7 and 2.7.10 (suppression of interrupts and notifications), 2.7.2 (legacy
layout); linux/virtio_ring.h; DPDK drivers/net/virtio/virtqueue.h.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.errors import RingError
from drivers.mempool import NONE, Indices
from drivers.nics.virtio.virtqueue import Column, Piece, Virtqueue
from drivers.transports import Transport
from regmodel.layout import layout
from regmodel.rings.virtio import SPLIT_DESCRIPTOR, USED_ELEMENT

PAGE = 4096
"""Bytes to which the legacy interface aligns the used ring (VIRTIO 1.3, 4.1.5.1.3.1)."""
DESC, ELEM = layout(SPLIT_DESCRIPTOR).size, layout(USED_ELEMENT).size
NEXT, WRITE = (layout(SPLIT_DESCRIPTOR).field("flags", name).mask for name in ("next", "write"))
NO_INTERRUPT = NO_NOTIFY = 1
"""The only flag of the available and of the used ring."""
WRAP = 0xFFFF


class SplitQueue(Virtqueue):
    """``event_idx`` was negotiated: each side says at which buffer it wants to be told. ``always`` as in ``Virtqueue``."""

    def __init__(self, transport: Transport, size: int, *, event_idx: bool, always: bool = False) -> None:
        avail = DESC * size
        used = -(-(avail + 6 + 2 * size) // PAGE) * PAGE
        super().__init__(transport, size, used + 6 + ELEM * size, always=always)
        base, view = self._memory.iova, self._memory.view
        self.areas = base, base + avail, base + used
        self._event_idx = event_idx
        self._owned = used
        """Octets of the areas that the driver writes; behind them is what the device does."""
        self._used = used + 2, 2 + ELEM * size
        """Offset and octets of what was used: the ring without the device's wish to be told, which is on both sides of it."""
        self._wish = (used + 4 + ELEM * size if event_idx else used), 2
        table = np.frombuffer(view, layout(SPLIT_DESCRIPTOR).dtype, size)
        self._address, self._length, self._flags, self._next = (table[name] for name in ("addr", "len", "flags", "next"))
        self._ring: Column = np.frombuffer(view, np.uint16, size, avail + 4)
        elements = np.frombuffer(view, layout(USED_ELEMENT).dtype, size, used + 4)
        self._used_id, self._used_length = elements["id"], elements["len"]
        self._words = view[: len(view) // 2 * 2].cast("H")
        """For what is told to the other side, each with one access; indices into it follow."""
        self._avail_flags, self._avail_idx, self._used_event = avail // 2, avail // 2 + 1, avail // 2 + 2 + size
        self._used_flags, self._used_idx = used // 2, used // 2 + 1
        self._avail_event = used // 2 + 2 + ELEM // 2 * size
        self._stack: Indices = np.arange(size - 1, -1, -1, dtype=np.intp)
        self._added = self._told = self._taken = 0
        """Counts of buffers, of which the rings have the low 16 bits."""
        self.ask_interrupt(False)

    # -- to the device

    def add(self, addresses: Column, lengths: Column | int, tokens: Indices, *, written: bool) -> None:
        n = len(tokens)
        self.free -= n
        heads = self._stack[self.free : self.free + n]
        self._address[heads] = addresses
        self._length[heads] = lengths
        self._flags[heads] = WRITE if written else 0
        self._tokens[heads] = tokens
        at = self._added % self.size
        straight = min(n, self.size - at)
        self._ring[at : at + straight] = heads[:straight]
        self._ring[: n - straight] = heads[straight:]
        self._added += n

    def add_chain(self, pieces: Sequence[Piece], token: int) -> None:
        n = len(pieces)
        self.free -= n
        chain = self._stack[self.free : self.free + n].tolist()
        for place, (index, (address, length, written)) in enumerate(zip(chain, pieces, strict=True)):
            self._address[index], self._length[index] = address, length
            self._flags[index] = (WRITE if written else 0) | (NEXT if place < n - 1 else 0)
            self._next[index] = chain[place + 1] if place < n - 1 else 0
        head = chain[0]
        self._tokens[head] = token
        if n > 1:
            self._chains[head] = chain
        self._ring[self._added % self.size] = head
        self._added += 1

    def publish(self) -> bool:
        old, self._told = self._told, self._added
        if old == self._told:
            return False
        words = self._words
        words[self._avail_idx] = self._told & WRAP
        self._memory.sync_for_device(0, self._owned)
        if self._always:
            return True
        self._memory.sync_for_cpu(*self._wish)
        if self._event_idx:  # linux/virtio_ring.h vring_need_event
            return self._told - words[self._avail_event] - 1 & WRAP < self._told - old & WRAP
        return not words[self._used_flags] & NO_NOTIFY

    @property
    def position(self) -> int:
        return self._told & WRAP

    # -- from the device

    def take(self, most: int) -> tuple[Indices, Column]:
        self._memory.sync_for_cpu(*self._used)
        there = self._words[self._used_idx] - self._taken & WRAP
        if there > self._told - self._taken:
            text = f"used.idx is {self._words[self._used_idx]}, {there} further than the driver is, and the device has"
            raise RingError(f"{text} {self._told - self._taken} buffers; reset()")
        n = min(there, most)
        if not n:
            return self._tokens[:0], self._used_length[:0]
        at = self._taken % self.size
        straight = min(n, self.size - at)
        heads, lengths = self._used_id[at : at + straight].astype(np.intp), self._used_length[at : at + straight].copy()
        if straight < n:
            heads = np.concatenate((heads, self._used_id[: n - straight].astype(np.intp)))
            lengths = np.concatenate((lengths, self._used_length[: n - straight]))
        if heads.max() >= self.size or (self._tokens[heads] == NONE).any():
            raise RingError(f"the device says that it has used {heads.tolist()}, which it has not got all of; reset()")
        tokens = self._tokens[heads]
        self._taken += n
        self._give_back(heads)
        return tokens, lengths

    def _give_back(self, heads: Indices) -> None:
        """Their descriptors are free again."""
        self._tokens[heads] = NONE
        if self._chains:
            given = [index for head in heads.tolist() for index in self._chains.pop(head, (head,))]
            heads = np.array(given, np.intp)
        self._stack[self.free : self.free + len(heads)] = heads
        self.free += len(heads)

    def pending(self) -> bool:
        self._memory.sync_for_cpu(*self._used)
        return self._words[self._used_idx] != self._taken & WRAP

    def ask_interrupt(self, wanted: bool) -> None:
        if self._event_idx:  # there is no "never": the furthest is a round of 65536 buffers away
            self._words[self._used_event] = (self._taken if wanted else self._taken - 1) & WRAP
        else:
            self._words[self._avail_flags] = 0 if wanted else NO_INTERRUPT
        self._memory.sync_for_device(0, self._owned)

    def _forget(self) -> None:
        none = np.zeros(0, np.uint64)
        self._address = self._length = self._flags = self._next = self._ring = self._used_id = self._used_length = none
        self._words = memoryview(b"")
