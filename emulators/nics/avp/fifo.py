"""The host's ends of a FIFO. The guest's end is not to be trusted: what it writes is looked at once, and checked.

In here: slots and indices. What the pointers mean does not enter.

The host keeps its own index to itself and only tells it; of the guest's it reads the word that is the guest's. Whoever else
changes the head (its length, our index) changes nothing here.

Source: DPDK rte_avp_fifo.h ``avp_fifo_put``, ``avp_fifo_get``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy
from numpy.typing import NDArray

from regmodel.rings.avp import HEAD, POINTER

Pointers: TypeAlias = NDArray[numpy.uint64]
WRITE, READ, LEN, ELEM_SIZE = range(4)
"""Words of the head."""


class Broken(Exception):
    """The guest has put something into shared memory that makes no sense. ``kind`` names it, ``detail`` says what."""

    def __init__(self, kind: str, **detail: object) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


class Glance:
    """Words of 32 bits in live memory, each row of which is a view (with steps, or without), and whether any has changed.

    An idle port does nothing else, 160 times a second and with cold caches. So it is done without numpy, of which an indexed
    comparison took 10 us where this takes 0.4 us, and far more cache.
    """

    def __init__(self, *rows: memoryview) -> None:
        self._rows = list(rows)
        self.look()

    def look(self) -> None:
        """From here on what counts as changed is what differs from now."""
        self._last = [memoryview(row.tobytes()).cast("I") for row in self._rows]

    def changed(self) -> bool:
        """Since the last look."""
        return self._rows != self._last


class Fifo:
    """``slots`` pointers at offset ``at`` of ``memory``."""

    def __init__(self, memory: memoryview, at: int, slots: int) -> None:
        self.at, self.slots = at, slots
        self._mask = slots - 1
        self._head = memory[at : at + HEAD].cast("I")
        self._slots = numpy.frombuffer(memory, numpy.uint64, slots, at + HEAD)
        self._steps = numpy.arange(slots)
        self.own = 0
        """The host's index: what it reads or writes next."""
        self.seen = 0
        """Where the guest's index was when it was last looked at."""

    def clear(self) -> None:
        """Empty, as it was made."""
        self.own = self.seen = 0
        head = self._head
        head[LEN], head[ELEM_SIZE] = self.slots, POINTER
        head[WRITE] = head[READ] = 0

    def standing(self) -> tuple[int, int]:
        """The first slot that is filled, and how many are, by what memory says now; nothing is judged."""
        read, write = self._head[READ], self._head[WRITE]
        return read, (write - read) & self._mask

    def _guests(self, word: int) -> int:
        """The guest's index, read once. Raises ``Broken``."""
        index = self._head[word]
        if index >= self.slots:
            raise Broken("fifo-index", index=index, slots=self.slots)
        return index

    def load(self, state: Sequence[int]) -> None:
        """Both indices, of a queue that stands in memory already. Raises ``ValueError``."""
        own, seen = (int(index) for index in state)
        if not (0 <= own < self.slots and 0 <= seen < self.slots):
            raise ValueError(f"a queue of {self.slots} slots has none with the numbers {own} and {seen}")
        self.own, self.seen = own, seen


class Consumer(Fifo):
    """The host takes out what the guest puts in."""

    def waiting(self) -> int:
        """How many pointers there are. Raises ``Broken``."""
        self.seen = self._guests(WRITE)
        return self.seen - self.own & self._mask

    def look(self, count: int) -> Pointers:
        """A copy of the first ``count`` of those that wait."""
        at = self.own
        if at + count <= self.slots:
            return self._slots[at : at + count].copy()
        found: Pointers = self._slots[at + self._steps[:count] & self._mask]
        return found

    def done(self, count: int) -> None:
        """``count`` of them are done with; the guest may use their slots."""
        self.own = self.own + count & self._mask
        self._head[READ] = self.own


class Producer(Fifo):
    """The host puts in what the guest takes out."""

    def space(self) -> int:
        """How many pointers fit. Raises ``Broken``, also when the guest has taken more than there was."""
        index = self._guests(READ)
        held = self.own - index & self._mask
        if held > self.own - self.seen & self._mask:
            raise Broken("fifo-read-beyond-write", read=index, write=self.own)
        self.seen = index
        return self._mask - held

    def held(self) -> list[int]:
        """Slots that the guest has not taken yet. Raises ``Broken``."""
        self.space()
        count = self.own - self.seen & self._mask
        return [self.seen + step & self._mask for step in range(count)]

    def put(self, pointers: Pointers) -> None:
        """``pointers``, no more than there is space for; the guest sees them all at once."""
        at, count = self.own, len(pointers)
        if at + count <= self.slots:
            self._slots[at : at + count] = pointers
        else:
            self._slots[at + self._steps[:count] & self._mask] = pointers
        self.own = at + count & self._mask
        self._head[WRITE] = self.own
