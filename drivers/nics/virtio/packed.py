"""The packed virtqueue: one ring of descriptors that both sides write, each marking what is the other's by a wrap counter.

In here: the ring, and the two structures by which each side says when it wants to be told. The device hands back the
identifier of a buffer, one descriptor for each, in whatever order it likes; it then skips as many places as the buffer had.

Sources: VIRTIO 1.3, 2.8 (packed virtqueues), 2.8.7 and 2.8.10 (suppression); linux/virtio_ring.h; DPDK
drivers/net/virtio/virtqueue.h.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.errors import RingError
from drivers.mempool import NONE, Indices
from drivers.nics.virtio.virtqueue import Column, Piece, Virtqueue
from drivers.transports import Transport
from regmodel.layout import layout
from regmodel.rings.virtio import PACKED_DESCRIPTOR

DESC = layout(PACKED_DESCRIPTOR).size
NEXT, WRITE, AVAIL, USED = (layout(PACKED_DESCRIPTOR).field("flags", name).mask for name in ("next", "write", "avail", "used"))
ENABLE, DISABLE, AT = 0, 1, 2
"""The flags of an event suppression structure (VIRTIO 1.3, 2.8.10)."""
WRAP_BIT = 0x8000
"""Of an offset into the ring, in an event suppression structure or a notification: the wrap counter."""


class PackedQueue(Virtqueue):
    """``event_idx`` was negotiated: a structure may name the descriptor at which its side wants to be told. ``always`` as in
    ``Virtqueue``.
    """

    def __init__(self, transport: Transport, size: int, *, event_idx: bool, always: bool = False) -> None:
        super().__init__(transport, size, DESC * size + 8, always=always)
        base, view = self._memory.iova, self._memory.view
        self.areas = base, base + DESC * size, base + DESC * size + 4
        self._event_idx = event_idx
        ring = np.frombuffer(view, layout(PACKED_DESCRIPTOR).dtype, size)
        self._address, self._length, self._id, self._flags = (ring[name] for name in ("addr", "len", "id", "flags"))
        self._words = view[: len(view) // 2 * 2].cast("H")
        self._ours, self._theirs = DESC * size // 2, DESC * size // 2 + 2
        """Indices of the driver's and the device's event suppression structure: offset, then flags."""
        self._stack: Indices = np.arange(size - 1, -1, -1, dtype=np.intp)
        self._ids = size
        self._next, self._wrap = 0, True
        self._told = 0, True
        self._used, self._used_wrap = 0, True
        self.ask_interrupt(False)

    # -- to the device

    def add(self, addresses: Column, lengths: Column | int, tokens: Indices, *, written: bool) -> None:
        n, at = len(tokens), self._next
        self.free -= n
        self._ids -= n
        ids = self._stack[self._ids : self._ids + n]
        self._tokens[ids] = tokens
        given = np.broadcast_to(np.asarray(lengths), n)
        straight = min(n, self.size - at)
        for start, part in ((at, slice(0, straight)), (0, slice(straight, n))):
            end = start + part.stop - part.start
            if end > start:
                self._address[start:end] = addresses[part]
                self._length[start:end] = given[part]
                self._id[start:end] = ids[part]
                self._flags[start:end] = self._available(written)  # last: from here on they are the device's
                self._advance(end - start)

    def _available(self, written: bool) -> int:
        return (AVAIL if self._wrap else USED) | (WRITE if written else 0)

    def _advance(self, count: int) -> None:
        self._next += count
        if self._next >= self.size:
            self._next -= self.size
            self._wrap = not self._wrap

    def add_chain(self, pieces: Sequence[Piece], token: int) -> None:
        n = len(pieces)
        self.free -= n
        self._ids -= 1
        number = int(self._stack[self._ids])
        self._tokens[number] = token
        if n > 1:
            self._chains[number] = [0] * n
        first, flags = self._next, 0
        for place, (address, length, written) in enumerate(pieces):
            at = self._next
            self._address[at], self._length[at], self._id[at] = address, length, number
            value = self._available(written) | (NEXT if place < n - 1 else 0)
            if place:
                self._flags[at] = value
            else:
                flags = value
            self._advance(1)
        self._flags[first] = flags  # that makes the chain the device's

    def publish(self) -> bool:
        (old, old_wrap), self._told = self._told, (self._next, self._wrap)
        if (old, old_wrap) == self._told:
            return False
        self._hand_over(old, self._next)
        if self._always:
            return True
        self._memory.sync_for_cpu(DESC * self.size + 4, 4)
        flags = self._words[self._theirs + 1] & 3
        if flags != AT or not self._event_idx:
            return flags != DISABLE
        offset = self._words[self._theirs]
        event = offset & ~WRAP_BIT
        if bool(offset & WRAP_BIT) != self._wrap:
            event -= self.size
        new = self._next
        if old_wrap != self._wrap:
            old -= self.size
        return new - event - 1 & 0xFFFF < new - old & 0xFFFF

    def _hand_over(self, old: int, new: int) -> None:
        """Descriptors from ``old`` to ``new`` and no others: the device may just be writing those that it has. A chain begins
        before the ring's end, so what is behind that goes first.
        """
        if new <= old:
            self._memory.sync_for_device(0, DESC * new)
            new = self.size
        self._memory.sync_for_device(DESC * old, DESC * (new - old))

    @property
    def position(self) -> int:
        return self._told[0] | (WRAP_BIT if self._told[1] else 0)

    # -- from the device

    def take(self, most: int) -> tuple[Indices, Column]:
        self._memory.sync_for_cpu(0, DESC * self.size)
        if self._chains:
            return self._walk(most)
        tokens, lengths = self._piece(most)
        if self._used == 0 and len(tokens) and len(tokens) < most:
            more, their_lengths = self._piece(most - len(tokens))
            tokens, lengths = np.concatenate((tokens, more)), np.concatenate((lengths, their_lengths))
        return tokens, lengths

    def _piece(self, most: int) -> tuple[Indices, Column]:
        """Buffers of one descriptor each, up to the end of the ring."""
        at = self._used
        most = min(most, self.size - at, self.size - self.free)
        flags = self._flags[at : at + most] & (AVAIL | USED)
        pending = (flags != ((AVAIL | USED) if self._used_wrap else 0)).tobytes()
        n = pending.find(1)
        if n < 0:
            n = most
        ids, lengths = self._id[at : at + n].astype(np.intp), self._length[at : at + n].copy()
        tokens = self._tokens_of(ids)
        self._stack[self._ids : self._ids + n] = ids
        self._ids += n
        self._skip(n)
        return tokens, lengths

    def _walk(self, most: int) -> tuple[Indices, Column]:
        """Buffers of any number of descriptors, one after the other."""
        taken: list[int] = []
        lengths: list[int] = []
        while len(taken) < most and self.free < self.size:
            at = self._used
            if not self._is_used(at):
                break
            number = np.array([self._id[at]], np.intp)
            lengths.append(int(self._length[at]))
            taken += self._tokens_of(number).tolist()
            self._stack[self._ids] = number[0]
            self._ids += 1
            self._skip(len(self._chains.pop(int(number[0]), (0,))))
        return np.array(taken, np.intp), np.array(lengths, np.uint32)

    def _tokens_of(self, ids: Indices) -> Indices:
        """Whose they are, which is forgotten. Raises ``RingError``."""
        if len(ids) and (ids.max() >= self.size or (self._tokens[ids] == NONE).any()):
            raise RingError(f"the device says that it has used {ids.tolist()}, which it has not got all of; reset()")
        tokens = self._tokens[ids]
        self._tokens[ids] = NONE
        return tokens

    def _skip(self, count: int) -> None:
        self.free += count
        self._used += count
        if self._used >= self.size:
            self._used -= self.size
            self._used_wrap = not self._used_wrap

    def pending(self) -> bool:
        self._memory.sync_for_cpu(DESC * self._used, DESC)
        return self.free < self.size and self._is_used(self._used)

    def _is_used(self, at: int) -> bool:
        return bool(int(self._flags[at]) & (AVAIL | USED) == ((AVAIL | USED) if self._used_wrap else 0))

    def ask_interrupt(self, wanted: bool) -> None:
        words = self._words
        if wanted and self._event_idx:
            words[self._ours] = self._used | (WRAP_BIT if self._used_wrap else 0)
            words[self._ours + 1] = AT
        else:
            words[self._ours + 1] = ENABLE if wanted else DISABLE
        self._memory.sync_for_device(DESC * self.size, 4)

    def _forget(self) -> None:
        self._address = self._length = self._id = self._flags = np.zeros(0, np.uint64)
        self._words = memoryview(b"")
