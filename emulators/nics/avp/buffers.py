"""The buffers of shared memory: which of them the guest has, for what, and what their descriptors say.

In here: the host's books and the descriptors. Queues are in ``transmit`` and ``receive``.

Every buffer is the host's or lent to one queue, and the host's own books say which; descriptors, which the guest may write,
are copied before they are looked at. So a guest can lose buffers, but not take those of another queue.

Sources: DPDK avp_ethdev.c ``avp_dev_copy_to_buffers``, ``avp_dev_translate_buffer``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from emulators.nics.avp.arrangement import Arrangement
from emulators.nics.avp.fifo import Broken, Pointers
from emulators.nics.avp.packing import pack, unpack
from regmodel.layout import layout
from regmodel.rings.avp import DESC

DESCRIPTOR = layout(DESC).dtype
OURS = -1
"""The owner of a buffer that is not lent."""
NONE = -1
Indices = NDArray[numpy.int64]


class Buffers:
    """All buffers of ``arrangement`` in ``memory`` (all of BAR 2). Owners are numbers that the queues choose."""

    def __init__(self, memory: memoryview, arrangement: Arrangement) -> None:
        a = arrangement
        self.memory, self.count, self.stride, self.data_at = memory, a.count, a.stride, a.data_at
        self.room = a.properties.mbuf_size
        self.at, self.address = a.buffers, a.mbuf_va
        self.table: NDArray[Any] = numpy.ndarray((a.count,), DESCRIPTOR, memory, a.buffers, (a.stride,))
        self.owner = numpy.full(a.count, OURS, numpy.int16)
        self.follows = numpy.full(a.count, NONE, numpy.int32)
        """The next buffer of the packet that the host has put into this one."""
        self._free = numpy.arange(a.count - 1, -1, -1, dtype=numpy.int64)
        self._left = a.count
        self._marks = numpy.zeros(a.count, numpy.int64)

    @property
    def left(self) -> int:
        """Buffers that are the host's."""
        return self._left

    def take(self, count: int, owner: int) -> Indices:
        """Lend ``count`` buffers, no more than are ``left``, to ``owner``."""
        self._left -= count
        found = self._free[self._left : self._left + count].copy()
        self.owner[found] = owner
        return found

    def give_back(self, found: Indices | Sequence[int]) -> None:
        """They are the host's again."""
        self.owner[found] = OURS
        self._free[self._left : self._left + len(found)] = found
        self._left += len(found)

    def addresses(self, found: Indices) -> Pointers:
        """What queues call them."""
        return (found * self.stride).astype(numpy.uint64) + numpy.uint64(self.address)

    def find(self, pointers: Pointers, owner: int) -> Indices:
        """The buffers that the guest names, each once, all lent to ``owner``. Raises ``Broken``."""
        behind = pointers - numpy.uint64(self.address)  # wraps where an address is too low
        numbers = behind // numpy.uint64(self.stride)
        known = (numbers < self.count) & (numbers * numpy.uint64(self.stride) == behind)
        if not known.all():
            raise Broken("buffer-unknown", address=int(pointers[~known][0]))
        found: Indices = numbers.astype(numpy.int64)
        if not (self.owner[found] == owner).all():
            raise Broken("buffer-not-lent", address=int(pointers[self.owner[found] != owner][0]))
        order = numpy.arange(len(found))
        self._marks[found] = order
        if not (self._marks[found] == order).all():
            raise Broken("buffer-twice", address=int(pointers[self._marks[found] != order][0]))
        return found

    def starts(self, found: Indices, rows: NDArray[Any]) -> NDArray[numpy.int64]:
        """Offsets in BAR 2 of the data that descriptors ``rows`` of buffers ``found`` name. Raises ``Broken``."""
        begin = rows["data"] - self.addresses(found)
        length = rows["data_len"].astype(numpy.uint64)
        last = numpy.uint64(self.data_at + self.room) - length
        inside = (length <= self.room) & (begin >= self.data_at) & (begin <= last)
        if not inside.all():
            bad = int(numpy.flatnonzero(~inside)[0])
            raise Broken("segment-outside", data=int(rows["data"][bad]), octets=int(length[bad]))
        starts: NDArray[numpy.int64] = begin.astype(numpy.int64) + (found * self.stride + self.at)
        return starts

    def empty(self, found: Indices) -> None:
        """Descriptors of empty buffers, as a driver expects them: it sets flags, and clears none."""
        rows = numpy.zeros(len(found), DESCRIPTOR)
        rows["data"] = self.addresses(found) + numpy.uint64(self.data_at)
        rows["nb_segs"] = 1
        self.table[found] = rows

    def save(self) -> dict[str, object]:
        return {"owner": pack(self.owner), "follows": pack(self.follows)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``ValueError``."""
        self.owner[:] = unpack(state["owner"], self.owner.dtype, self.count)
        self.follows[:] = unpack(state["follows"], self.follows.dtype, self.count)
        if self.follows.max(initial=NONE) >= self.count or self.follows.min(initial=NONE) < NONE:
            raise ValueError("a chain of buffers leads nowhere")
        free = numpy.flatnonzero(self.owner == OURS)
        self._left = len(free)
        self._free[: self._left] = free
