"""``rte_ring`` of DPDK 16.07 in shared memory: create, attach, enqueue, dequeue.

Several producers, or several consumers, agree by an atomic compare-and-set, which Python has not: libatomic's is called for
rings that want it. Each other access is one load or store of an aligned word, in program order; that is the order in which
x86 shows them to others (elsewhere barriers would have to be added).

Source: DPDK 16.07 lib/librte_ring/rte_ring.h ``__rte_ring_mp_do_enqueue``, ``__rte_ring_sp_do_enqueue`` and their opposites.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from drivers.errors import NotSupported
from drivers.nics.ivshmem.errors import BadMemzone, RingDamaged
from drivers.nics.ivshmem.space import Memzone, Space, text
from regmodel.layout import layout
from regmodel.structures.ivshmem import CACHE_LINE, NAME, RING, RING_MOST, RING_PREFIX, RingFlag

_AT: Final = layout(RING).offsets
HEADER: Final = layout(RING).size
POINTER = 8
NO_FLAGS: Final = RingFlag(0)
PATIENCE = 1.0
"""Seconds that another producer or consumer may take between its two steps: then it has died there. See ``Ring.patience``."""
PAUSE = 20e-6
"""Seconds of each look whether it has: a thread of ours that is there cannot go on while this one looks (the original yields
for the same reason, ``RTE_RING_PAUSE_REP``)."""
_M32 = 0xFFFF_FFFF


def memsize(count: int) -> int:
    """Bytes of a ring of ``count`` entries, of which one stays empty. Raises ``BadMemzone``."""
    if not 1 <= count <= RING_MOST or count & (count - 1):
        raise BadMemzone(f"a ring has a power of two of entries, at most {RING_MOST:#x}, not {count}")
    return -(-(HEADER + POINTER * count) // CACHE_LINE) * CACHE_LINE


class Ring:
    """The ring at ``addr`` of ``space``, within ``room`` bytes. Raises ``RingDamaged`` when it cannot be one."""

    def __init__(self, space: Space, addr: int, room: int | None = None) -> None:
        self._space, self.addr = space, addr
        self._room = room
        self.patience = PATIENCE
        self._seen = -1
        self.quota_exceeded = False
        """The last enqueue went above the watermark (EDQUOT, RTE_RING_QUOT_EXCEED)."""
        self._bind()

    @classmethod
    def create(cls, space: Space, zone: Memzone, count: int, flags: RingFlag = NO_FLAGS) -> Ring:
        """A new ring of ``count`` entries in ``zone``, whose name begins with ``RG_``."""
        if memsize(count) > zone.len:
            raise BadMemzone(f"{zone.name} has {zone.len} bytes: a ring of {count} entries takes {memsize(count)}")
        side = {"size": count, "mask": count - 1, "head": 0, "tail": 0}
        view = space.view(zone.addr, memsize(count))
        view[:HEADER] = RING.build(
            {
                "name": zone.name.removeprefix(RING_PREFIX).encode()[: NAME - 1].ljust(NAME, b"\0"),
                "flags": int(flags),
                "memzone": 0,  # in memory of the host alone; nobody may follow it
                "prod": {**side, "watermark": count, "sp_enqueue": int(RingFlag.SP_ENQ in flags)},
                "cons": {**side, "sc_dequeue": int(RingFlag.SC_DEQ in flags)},
            }
        )
        return cls(space, zone.addr, zone.len)

    def _bind(self) -> None:
        """Take views of the memory where it is now, and what never changes of it."""
        self._seen = self._space.generation
        header = self._space.view(self.addr, HEADER)
        found = RING.parse(bytes(header))
        self.name, self.flags = text(found.name), RingFlag(found.flags & 3)
        self.size = int(found.prod.size)
        self._mask = self.size - 1
        self._several = not found.prod.sp_enqueue, not found.cons.sc_dequeue
        sizes = {(found.prod.size, found.prod.mask), (found.cons.size, found.cons.mask)}
        if sizes != {(self.size, self._mask)} or not 1 <= self.size <= RING_MOST or self.size & self._mask:
            raise RingDamaged(f"ring {self.name!r}: sizes and masks are {sorted(sizes)}, which is no power of two less one")
        if self._room is not None and HEADER + POINTER * self.size > self._room:
            raise RingDamaged(f"ring {self.name!r}: {self.size} entries do not fit into its {self._room} bytes")
        self._entries = self._space.view(self.addr + HEADER, POINTER * self.size).cast("Q")
        self._words: Any = header.cast("I")

    def _load(self, path: str) -> int:
        return int(self._words[_AT[path] // 4])

    def _store(self, path: str, value: int) -> None:
        self._words[_AT[path] // 4] = value & _M32

    # -- how full it is

    def __len__(self) -> int:
        """Pointers in it (rte_ring_count)."""
        self._look()
        return (self._load("prod.tail") - self._load("cons.tail")) & self._mask

    @property
    def free(self) -> int:
        """Pointers that it has room for (rte_ring_free_count)."""
        self._look()
        return (self._load("cons.tail") - self._load("prod.tail") - 1) & self._mask

    @property
    def watermark(self) -> int:
        self._look()
        return self._load("prod.watermark")

    @watermark.setter
    def watermark(self, count: int) -> None:
        """Warn from so many entries on; 0 is never (rte_ring_set_water_mark)."""
        self._look()
        if not 0 <= count < self.size:
            raise BadMemzone(f"a watermark is less than the {self.size} entries of the ring, not {count}")
        self._store("prod.watermark", count or self.size)

    def _look(self) -> None:
        if self._seen != self._space.generation:
            self._bind()

    # -- in and out

    def enqueue_bulk(self, pointers: Sequence[int]) -> bool:
        """All or nothing; False when there is no room (ENOBUFS). Raises ``RingDamaged``."""
        return self._enqueue(pointers, len(pointers)) == len(pointers)

    def enqueue_burst(self, pointers: Sequence[int]) -> int:
        """As many as there is room for; how many that were. Raises ``RingDamaged``."""
        return self._enqueue(pointers, 1)

    def dequeue_bulk(self, count: int) -> list[int]:
        """Exactly ``count``, or none when there are fewer (ENOENT). Raises ``RingDamaged``."""
        return self._dequeue(count, count)

    def dequeue_burst(self, most: int) -> list[int]:
        """As many as there are, at most ``most``. Raises ``RingDamaged``."""
        return self._dequeue(most, 1)

    def _enqueue(self, pointers: Sequence[int], least: int) -> int:
        self._look()
        head, n, free = self._claim("prod", len(pointers), least, self._several[0])
        if n:
            self._copy_in(head, pointers[:n])
            self.quota_exceeded = self.size - free + n > self._load("prod.watermark")
            self._publish("prod", head, n, self._several[0])
        return n

    def _dequeue(self, most: int, least: int) -> list[int]:
        self._look()
        head, n, _ = self._claim("cons", most, least, self._several[1])
        if not n:
            return []
        found = [self._entries[(head + i) & self._mask] for i in range(n)]
        self._publish("cons", head, n, self._several[1])
        return found

    def _copy_in(self, head: int, pointers: Sequence[int]) -> None:
        entries, mask = self._entries, self._mask
        for i, pointer in enumerate(pointers):
            entries[(head + i) & mask] = pointer

    def _claim(self, side: str, most: int, least: int, several: bool) -> tuple[int, int, int]:
        """Move the head by what there is room for (or by what there is): the old head, by how many, of how many."""
        while True:
            head = self._load(f"{side}.head")
            other = self._load("cons.tail" if side == "prod" else "prod.tail")
            available = (other - head + (self._mask if side == "prod" else 0)) & _M32
            if available > self._mask:
                if several and self._load(f"{side}.head") != head:
                    continue  # others were faster, on both sides
                raise RingDamaged(f"ring {self.name!r}: {side}.head is {head:#x} while the other side is at {other:#x}")
            n = min(most, available)
            if n < least or not n:
                return head, 0, available
            if not several:
                self._store(f"{side}.head", head + n)
                return head, n, available
            if compare_and_set(self._words, _AT[f"{side}.head"] // 4, head, (head + n) & _M32):
                return head, n, available

    def _publish(self, side: str, head: int, n: int, several: bool) -> None:
        """What was claimed is done; those who claimed before come first. Raises ``RingDamaged`` when they never do."""
        deadline = 0.0
        while several and self._load(f"{side}.tail") != head:
            now = time.monotonic()
            deadline = deadline or now + self.patience
            if now > deadline:
                raise RingDamaged(f"ring {self.name!r}: somebody has claimed {side} entries before us and never finished")
            time.sleep(PAUSE)
        self._store(f"{side}.tail", head + n)


@cache
def _library() -> Any:
    try:
        # not CDLL, which lets other threads run as soon as the entries are claimed, all of whom then wait for this one
        return ctypes.PyDLL("libatomic.so.1").__getattr__("__atomic_compare_exchange_4")
    except (OSError, AttributeError):
        text = "rings with several producers or consumers need libatomic: install libatomic1, or create them with RingFlag"
        raise NotSupported(text) from None


def compare_and_set(words: memoryview, index: int, old: int, new: int) -> bool:
    """Atomically: when word ``index`` is ``old``, make it ``new``. Raises ``NotSupported`` without libatomic."""
    word = ctypes.c_uint32.from_buffer(words, 4 * index)
    try:
        sequentially = 5  # __ATOMIC_SEQ_CST
        return bool(
            _library()(ctypes.byref(word), ctypes.byref(ctypes.c_uint32(old)), ctypes.c_uint32(new), sequentially, sequentially)
            & 0xFF
        )
    finally:
        del word
