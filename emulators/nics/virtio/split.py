"""The split virtqueue: a descriptor table, the available ring that the driver writes, the used ring that the device writes.

In here: the format and its indexes; the contract is in ``queue``. All indexes run freely modulo 2**16; a place in a ring is
an index modulo the size, which is a power of two.

    driver area:  flags, idx, ring[size], used_event          16 bits each
    device area:  flags, idx, {id, len}[size], avail_event    16 bits each, but id and len of 32

Source: VIRTIO 1.3, 2.7.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from emulators.nics.virtio.queue import (
    DESCRIPTOR,
    HIGH,
    INDIRECT,
    NEXT,
    WRITE,
    Chain,
    Layout,
    Part,
    Plain,
    Queue,
    QueueError,
    Unheard,
    crossed,
    fence,
    pair,
)
from regmodel.errors import DmaFault
from regmodel.function import Dma, Host, OnDescriptor
from regmodel.structures.virtio_features import Feature

_NO_INTERRUPT = _NO_NOTIFY = 1  # flags of the driver and of the device area
_WRAP = 0x10000
_LENGTH = 0xFFFF_FFFF
_FLAGS = 32  # in the second word of a descriptor: length[31:0], flags[47:32], next[63:48]
_NEXT = 48
_PLAIN_MASK = (NEXT | WRITE | INDIRECT) << _FLAGS


class SplitQueue(Queue):
    """See the module. ``taken`` and ``used`` are the device's indexes into the available and the used ring."""

    def __init__(self, dma: Dma, layout: Layout, features: Feature, host: Host | Unheard, name: str) -> None:
        super().__init__(dma, layout, features, host, name)
        self.used, self.lap = 0, _WRAP
        self._signalled = 0  # ``used`` when the driver was last asked whether it wants an interrupt
        self._available = layout.driver + 2
        self._used_event = layout.driver + 4 + 2 * self.size
        self._avail_event = layout.device + 4 + 8 * self.size

    # -- buffers

    def _heads(self, most: int) -> list[int]:
        """The heads of up to ``most`` chains that the driver made available."""
        if self.closed:
            return []
        index = self.words(self._available, 2, "H")[0]
        count = (index - self.taken) % _WRAP
        if not count:
            return []
        if count > self.size:
            raise QueueError("avail-index-jumps", index=index, taken=self.taken, size=self.size)
        count, start, ring = min(count, most), self.taken % self.size, self.layout.driver + 4
        straight = min(count, self.size - start)
        heads: list[int] = self.words(ring + 2 * start, 2 * straight, "H").tolist()
        if straight < count:
            heads += self.words(ring, 2 * (count - straight), "H").tolist()
        return heads

    def take_plain(self, most: int, *, writable: bool) -> Plain | None:
        heads = self._heads(most)
        if not heads:
            return Plain((), (), ())
        if max(heads) >= self.size:
            return None
        table = self.words(self.layout.desc, DESCRIPTOR * self.size, "Q")
        words = [table[2 * head + 1] for head in heads]
        wanted = WRITE << _FLAGS if writable else 0
        if [word for word in words if word & _PLAIN_MASK != wanted or not word & _LENGTH]:
            return None
        addresses = [table[2 * head] for head in heads]
        if max(addresses) >= HIGH:
            return None
        self.taken = (self.taken + len(heads)) % _WRAP
        if (tell := self.host.on_descriptor) is not None:
            for head, address, word in zip(heads, addresses, words, strict=True):
                tell("fetch", self.name, head, "split_desc", pair(address, word))
        return Plain(heads, addresses, [word & _LENGTH for word in words])

    def take(self, most: int) -> list[Chain]:
        heads = self._heads(most)
        chains: list[Chain] = []
        if heads:
            table = self.words(self.layout.desc, DESCRIPTOR * self.size, "Q")
            for head in heads:
                try:
                    chains.append(self._chain(table, head))
                except QueueError:
                    if not chains:
                        raise
                    break
            self.taken = (self.taken + len(chains)) % _WRAP
        return chains

    def _chain(self, table: memoryview, head: int) -> Chain:
        """The chain that begins at ``head``; a last descriptor may be an indirect one."""
        if head >= self.size:
            raise QueueError("head-beyond-table", head=head, size=self.size)
        readable: list[Part] = []
        writable: list[Part] = []
        tell = self.host.on_descriptor
        rest = self._follow(table, self.size, head, readable, writable, tell, self.name)
        slots = len(readable) + len(writable)
        if rest is not None:
            slots += 1
            entries = self.indirect_table(*rest)
            if self._follow(entries, len(entries) // 2, 0, readable, writable, tell, self.table_name) is not None:
                raise QueueError("indirect-nested", head=head)
        return Chain(head, readable, writable, slots)

    def _follow(
        self, table: memoryview, size: int, index: int, readable: list[Part], writable: list[Part],
        tell: OnDescriptor | None, name: str,
    ) -> tuple[int, int, int] | None:  # fmt: skip
        """Collect parts from entry ``index`` on; the address, length and flags of an indirect descriptor if one ends it."""
        for _ in range(size):
            address, word = table[2 * index], table[2 * index + 1]
            if tell is not None:
                tell("fetch", name, index, "split_desc", pair(address, word))
            length, flags = word & _LENGTH, word >> _FLAGS & 0xFFFF
            if flags & INDIRECT:
                return address, length, flags
            self.add_part(readable, writable, address, length, flags)
            if not flags & NEXT:
                return None
            index = word >> _NEXT
            if index >= size:
                raise QueueError("next-beyond-table", next=index, size=size)
        raise QueueError("descriptor-loop", size=size)

    def untake(self, chains: Sequence[Chain]) -> None:
        self.untake_plain(len(chains))

    def untake_plain(self, count: int) -> None:
        self.taken = (self.taken - count) % _WRAP

    def _give(self, heads: Sequence[int], written: Sequence[int], slots: Sequence[int]) -> None:
        if self.in_order and not any(written):
            elements = array("Q", heads[-1:])
        else:
            elements = array("Q", [head | length << 32 for head, length in zip(heads, written, strict=True)])
        start, size = self.used % self.size, self.size
        device = self.layout.device
        used = (self.used + len(heads)) % _WRAP
        try:
            view = self.dma.view(device, 4 + 8 * size, write=True)
        except DmaFault as fault:
            raise QueueError("ring-unreachable", fault=str(fault)) from None
        straight = size - start
        if view is None:
            self.store_all(device + 4 + 8 * start, elements[:straight].tobytes())
            if straight < len(elements):
                self.store_all(device + 4, elements[straight:].tobytes())
            if not self.closed:
                self.store(device + 2, used)
        else:
            ring = view[4:].cast("Q")
            ring[start : start + len(elements)] = elements[:straight]
            if straight < len(elements):
                ring[: len(elements) - straight] = elements[straight:]
            view.cast("H")[1] = used
        self.used = used
        if (tell := self.host.on_descriptor) is not None:
            for at, element in enumerate(elements, start):
                tell("write-back", self.name, at % size, "used_elem", element.to_bytes(8, "little"))

    # -- notifications

    def should_interrupt(self) -> bool:
        old, self._signalled = self._signalled, self.used
        if self.closed or old == self.used:
            return False
        fence()
        if self.event_index:
            return crossed(self.words(self._used_event, 2, "H")[0], self.used, old, _WRAP)
        return not self.words(self.layout.driver, 2, "H")[0] & _NO_INTERRUPT

    def _end(self) -> int:
        return int(self.words(self._available, 2, "H")[0])

    def _ask(self, end: int) -> None:
        if self.event_index:
            self.store(self._avail_event, end)
        elif not self.listening:
            self.store(self.layout.device, 0)

    def quiet(self) -> None:
        """With an event index nothing has to be said: what the driver makes available from here on has passed it."""
        if self.listening and not self.closed:
            self.listening = False
            if not self.event_index:
                self.store(self.layout.device, _NO_NOTIFY)

    def check_notification(self, data: int) -> None:
        """Doorbells may be late, never early: what they announce is at most a ring ahead of what was taken."""
        index = data >> 16 & 0xFFFF
        if self.size < (index - self.taken) % _WRAP < _WRAP // 2:
            raise QueueError("notification-beyond-ring", index=index, taken=self.taken, size=self.size)

    # -- state

    def save(self) -> dict[str, object]:
        return {"taken": self.taken, "used": self.used, "signalled": self._signalled, "listening": self.listening}

    def load(self, state: Mapping[str, Any]) -> None:
        self.taken, self.used, self._signalled = (int(state[name]) % _WRAP for name in ("taken", "used", "signalled"))
        self.listening = bool(state["listening"])
