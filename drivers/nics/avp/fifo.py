"""The guest's ends of a FIFO: it takes out what the host puts in, or puts in what the host takes out.

In here: slots and indices. Our own index is kept here and only told; the host's is loaded once for each look, and one that
cannot be is a ``RingError``.

Source: DPDK rte_avp_fifo.h ``avp_fifo_put``, ``avp_fifo_get``, ``avp_fifo_count``, ``avp_fifo_free_count``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.errors import RingError
from drivers.nics.avp.memory import SharedMemory
from regmodel.layout import layout
from regmodel.rings.avp import FIFO, HEAD, POINTER

_AT = layout(FIFO).offsets


class Fifo:
    """The queue at offset ``at`` of ``memory``, called ``name``."""

    OURS = THEIRS = ""

    def __init__(self, memory: SharedMemory, at: int, name: str) -> None:
        self._memory, self._at, self.name = memory, at, name
        self.slots = memory.load(at + _AT["len"])
        size = memory.load(at + _AT["elem_size"])
        if not self.slots or self.slots & self.slots - 1 or size != POINTER or at + HEAD + POINTER * self.slots > memory.size:
            raise RingError(f"queue {name} has {self.slots} slots of {size} bytes: the host has not set it up")
        self._mask = self.slots - 1
        self._own = memory.load(at + _AT[self.OURS]) & self._mask

    def _theirs(self) -> int:
        index = self._memory.load(self._at + _AT[self.THEIRS])
        if index > self._mask:
            raise RingError(f"the host says that slot {index} comes next in queue {self.name}, which has {self.slots}")
        return index

    def _slot(self, number: int) -> int:
        return self._at + HEAD + POINTER * (number & self._mask)

    def _advance(self, count: int) -> None:
        self._own = self._own + count & self._mask
        self._memory.store(self._at + _AT[self.OURS], self._own)


class Consumer(Fifo):
    """The host puts pointers in."""

    OURS, THEIRS = "read", "write"

    def count(self) -> int:
        """How many there are. Raises ``RingError``."""
        return self._theirs() - self._own & self._mask

    def take(self, count: int) -> list[int]:
        """The first ``count`` of those that there are."""
        found = [self._memory.load_pointer(self._slot(self._own + i)) for i in range(count)]
        self._advance(count)
        return found


class Producer(Fifo):
    """The host takes pointers out."""

    OURS, THEIRS = "write", "read"

    def space(self) -> int:
        """How many fit. Raises ``RingError``."""
        return self._theirs() - self._own - 1 & self._mask

    def put(self, pointers: Sequence[int]) -> None:
        """No more than there is space for; the host sees them all at once."""
        for i, pointer in enumerate(pointers):
            self._memory.store_pointer(self._slot(self._own + i), pointer)
        self._advance(len(pointers))
