"""A ring of 16-byte entries with generations, as the device walks it.

In here: where a ring is, which entries are the device's, how completions are stored, what is told of both while somebody
traces (``Host.on_descriptor``). What an entry means is its user's.

An entry belongs to the device once its generation bit is that of the ring, which flips at each wrap. It may become so
while it is looked at, so its words are read again after the bit was seen (QEMU hw/net/vmxnet3.c,
``vmxnet3_pop_next_tx_descr``). Words are 64 bits wide, in the byte order of the host, which is little-endian.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from regmodel.function import Dma, Host

if sys.byteorder != "little":  # the register file makes the same assumption
    raise ImportError("the descriptor engines of this package run on little-endian hosts only")

ENTRY = 16
_PAIR = Struct("<QQ").pack


class Ring:
    """``size`` entries from bus address ``base``; ``next`` is the one to look at, ``gen`` the generation that makes it ours."""

    __slots__ = ("base", "gen", "next", "size")

    def __init__(self, base: int, size: int) -> None:
        self.base, self.size, self.next, self.gen = base, size, 0, 1

    def advance(self, entries: int) -> None:
        """``entries``, at most ``size``, are done."""
        self.next += entries
        if self.next >= self.size:
            self.next -= self.size
            self.gen ^= 1

    def save(self) -> list[int]:
        return [self.base, self.size, self.next, self.gen]

    @classmethod
    def loaded(cls, state: Sequence[Any]) -> Ring:
        """Raises ValueError for what is no ring."""
        base, size, following, gen = map(int, state)
        ring = cls(base, size)
        if not (0 <= following < max(size, 1) and gen in (0, 1)):
            raise ValueError(f"a ring of {size} entries is not at {following}, generation {gen}")
        ring.next, ring.gen = following, gen
        return ring


class CommandRing(Ring):
    """A ring that the driver fills. ``bit``: the generation in the second word of an entry; ``seen``: what ``entries`` has said
    last.
    """

    __slots__ = ("bit", "seen")

    def __init__(self, base: int, size: int, bit: int = 0) -> None:
        super().__init__(base, size)
        self.bit = bit
        self.seen: Sequence[int] = ()

    def take(self, host: Host, entries: int, name: str, form: str) -> None:
        """The first ``entries`` of those that were seen last are done. The ring is called ``name``, a descriptor ``form``."""
        self.tell(host, entries, name, form)
        self.advance(entries)

    def tell(self, host: Host, entries: int, name: str, form: str) -> None:
        """Whoever traces learns of the first ``entries`` of those that were seen last."""
        if host.on_descriptor is not None:
            for i, words in enumerate(zip(self.seen[0 : 2 * entries : 2], self.seen[1 : 2 * entries : 2], strict=True)):
                host.on_descriptor("fetch", name, (self.next + i) % self.size, form, _PAIR(*words))

    def entries(self, dma: Dma, most: int) -> list[int]:
        """Both words of each of the next entries that are ours, ``most`` at most, across the end of the ring."""
        straight = min(most, self.size - self.next)
        words = self._ours(dma, self.base + ENTRY * self.next, straight, self.gen)
        if straight < most and len(words) == 2 * straight and self.next:
            words += self._ours(dma, self.base, min(most - straight, self.next), self.gen ^ 1)
        self.seen = words
        return words

    def _ours(self, dma: Dma, at: int, count: int, gen: int) -> list[int]:
        view = memoryview(dma.read(at, ENTRY * count)).cast("Q")
        bit, wanted, ours = self.bit, gen * self.bit, count
        for i, word in enumerate(view[1::2].tolist()):
            if word & bit != wanted:
                ours = i
                break
        if not ours:
            return []
        view = memoryview(dma.read(at, ENTRY * ours)).cast("Q")
        return view.tolist()


class CompletionRing(Ring):
    """A ring that the device fills; the generation is the highest bit of an entry."""

    __slots__ = ()

    def put(self, host: Host, low: Sequence[int], high: Sequence[int], name: str, form: str) -> None:
        """Store entries: first words, then second words, to which the generation is added. Raises ``DmaFault``.

        The ring is called ``name``, an entry ``form``.
        """
        done, count = 0, len(low)
        while done < count:
            n = min(count - done, self.size - self.next)
            part = slice(done, done + n)
            self._store(host.dma, low[part], high[part])
            if host.on_descriptor is not None:
                for at, (first, second) in enumerate(zip(low[part], high[part], strict=True), self.next):
                    host.on_descriptor("write-back", name, at, form, _PAIR(first, second | self.gen << 63))
            self.advance(n)
            done += n

    def _store(self, dma: Dma, low: Sequence[int], high: Sequence[int]) -> None:
        at, gen = self.base + ENTRY * self.next, self.gen << 63
        if gen:
            high = [word | gen for word in high]
        view = dma.view(at, ENTRY * len(low), write=True)
        if view is None:
            dma.write(at, b"".join(map(_PAIR, low, high)))
            return
        words = view.cast("Q")
        words[::2] = array("Q", low)
        words[1::2] = array("Q", high)  # a word at a time: the guest looks at them meanwhile


def command_ring(state: Mapping[str, Any] | Sequence[Any], bit: int) -> CommandRing:
    """A saved one."""
    plain = Ring.loaded(list(state))
    ring = CommandRing(plain.base, plain.size, bit)
    ring.next, ring.gen = plain.next, plain.gen
    return ring
