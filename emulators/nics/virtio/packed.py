"""The packed virtqueue: one ring of descriptors, which driver and device both write, and two words that suppress notifications.

In here: the format and its indexes; the contract is in ``queue``. The specification gives each side a place and a wrap counter
that flips at the end of the ring. Both in one are an index modulo twice the size: the place is the index modulo the size, the
wrap counter is 1 on the first, third, ... way around.

    descriptor:        addr[63:0] | len[31:0], id[47:32], flags[63:48]
    driver, device:    off_wrap (place[14:0], wrap[15]), flags[1:0]       16 bits each

A descriptor is available when its AVAIL bit is the driver's wrap counter and its USED bit is not. Source: VIRTIO 1.3, 2.8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
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
from regmodel.function import Dma, Host
from regmodel.structures.virtio_features import Feature

_AVAIL, _USED = 1 << 7, 1 << 15
_OWN = _AVAIL | _USED
_ENABLE, _DISABLE, _DESC = 0, 1, 2  # flags of the event suppression areas: VIRTIO 1.3, 2.8.10
_LENGTH = 0xFFFF_FFFF
_ID, _FLAGS = 32, 48
_KIND = NEXT | WRITE | INDIRECT


class PackedQueue(Queue):
    """See the module. ``taken`` and ``used`` are the device's indexes, modulo twice the size, which may be any number."""

    def __init__(self, dma: Dma, layout: Layout, features: Feature, host: Host | Unheard, name: str) -> None:
        super().__init__(dma, layout, features, host, name)
        self.lap = 2 * self.size
        self.used = 0
        self._signalled = 0  # ``used`` when the driver was last asked whether it wants an interrupt

    # -- buffers

    def _ring(self, place: int, count: int, code: str) -> memoryview:
        return self.words(self.layout.desc + DESCRIPTOR * place, DESCRIPTOR * count, code)

    def _mark(self, index: int) -> int:
        """What AVAIL and USED of a descriptor are when it is available at ``index``."""
        return _AVAIL if index < self.size else _USED

    def _room(self) -> int:
        """Places of the ring that the device does not hold."""
        return self.size - (self.taken - self.used) % self.lap

    def take_plain(self, most: int, *, writable: bool) -> Plain | None:
        kind = WRITE if writable else 0
        addresses: list[int] = []
        seconds: list[int] = []
        index, most = self.taken, 0 if self.closed else min(most, self._room())
        while most:  # up to the end of the ring, and from its start
            place = index % self.size
            count = min(most, self.size - place)
            ready = self._ready(index, count, kind)
            if ready is None:
                return None
            words = self._ring(place, ready, "Q").tolist() if ready else []
            addresses += words[0::2]
            seconds += words[1::2]
            index, most = (index + ready) % self.lap, most - ready if ready == count else 0
        lengths = [word & _LENGTH for word in seconds]
        heads = [word >> _ID & 0xFFFF for word in seconds]
        if not all(lengths) or max(addresses, default=0) >= HIGH or (not heads and not self._room()):
            return None
        if (tell := self.host.on_descriptor) is not None:
            for at, address, second in zip(range(self.taken, self.taken + len(heads)), addresses, seconds, strict=True):
                tell("fetch", self.name, at % self.size, "packed_desc", pair(address, second))
        self.taken = index
        return Plain(heads, addresses, lengths)

    def _ready(self, index: int, count: int, kind: int) -> int | None:
        """How many of ``count`` descriptors are available; None when one of these is of another kind.

        Nothing else of a descriptor may be looked at before this.
        """
        flags, mark = self._ring(index % self.size, count, "H")[7::8].tolist(), self._mark(index)
        ready = next((n for n, flag in enumerate(flags) if flag & _OWN != mark), count)
        return None if [flag for flag in flags[:ready] if flag & _KIND != kind] else ready

    def take(self, most: int) -> list[Chain]:
        chains: list[Chain] = []
        if self.closed:
            return chains
        flags = self._ring(0, self.size, "H")  # a copy, where it must be one, that is older than the next
        if flags[8 * (self.taken % self.size) + 7] & _OWN != self._mark(self.taken):
            return chains
        words = self._ring(0, self.size, "Q")
        index, room = self.taken, self._room()
        while len(chains) < most:
            flag = flags[8 * (index % self.size) + 7]
            if flag & _OWN != self._mark(index):
                break
            try:
                chain = self._chain(flags, words, index, room)
            except QueueError:
                if not chains:
                    raise
                break
            chains.append(chain)
            index, room = (index + chain.slots) % self.lap, room - chain.slots
        self.taken = index
        return chains

    def _chain(self, flags: memoryview, words: memoryview, index: int, room: int) -> Chain:
        """The chain whose first descriptor is available at ``index``. Its id is that of its last descriptor."""
        readable: list[Part] = []
        writable: list[Part] = []
        tell = self.host.on_descriptor
        for slots in range(1, room + 1):
            place = index % self.size
            if flags[8 * place + 7] & _OWN != self._mark(index):
                raise QueueError("chain-not-available", place=place)
            address, word = words[2 * place], words[2 * place + 1]
            if tell is not None:
                tell("fetch", self.name, place, "packed_desc", pair(address, word))
            length, head, flag = word & _LENGTH, word >> _ID & 0xFFFF, word >> _FLAGS
            if flag & INDIRECT:
                if slots > 1:
                    raise QueueError("indirect-with-next", place=place)
                self._indirect(address, length, flag, readable, writable)
                return Chain(head, readable, writable, slots)
            self.add_part(readable, writable, address, length, flag)
            if not flag & NEXT:
                return Chain(head, readable, writable, slots)
            index = (index + 1) % self.lap
        raise QueueError("ring-overrun" if room < self.size else "descriptor-loop", room=room, size=self.size)

    def _indirect(self, address: int, length: int, flag: int, readable: list[Part], writable: list[Part]) -> None:
        """The entries of an indirect table, which follow one another (VIRTIO 1.3, 2.8.7)."""
        table = self.indirect_table(address, length, flag).tolist()
        tell = self.host.on_descriptor
        for at, (part, word) in enumerate(zip(table[0::2], table[1::2], strict=True)):
            if tell is not None:
                tell("fetch", self.table_name, at, "packed_desc", pair(part, word))
            if word >> _FLAGS & INDIRECT:
                raise QueueError("indirect-nested", address=address)
            self.add_part(readable, writable, part, word & _LENGTH, word >> _FLAGS)

    def untake(self, chains: Sequence[Chain]) -> None:
        self.untake_plain(sum(chain.slots for chain in chains))

    def untake_plain(self, count: int) -> None:
        self.taken = (self.taken - count) % self.lap

    def _give(self, heads: Sequence[int], written: Sequence[int], slots: Sequence[int]) -> None:
        """Each buffer takes one descriptor, and as many places as it came with. The first one is written last."""
        if self.in_order and not any(written):
            rows = [(self.used, heads[-1], 0)]
        else:
            places = accumulate(slots[:-1], initial=self.used)
            rows = [(index % self.lap, head, length) for index, head, length in zip(places, heads, written, strict=True)]
        desc, size, tell = self.layout.desc, self.size, self.host.on_descriptor
        try:
            view = self.dma.view(desc, DESCRIPTOR * size, write=True)
            ring = None if view is None else view.cast("Q")
            for index, head, length in reversed(rows):
                word = length | head << _ID | ((_OWN if index < size else 0) | (WRITE if length else 0)) << _FLAGS
                if ring is not None:
                    ring[2 * (index % size) + 1] = word
                elif not self.closed:
                    self.dma.write(desc + DESCRIPTOR * (index % size) + 8, word.to_bytes(8, "little"))
                if tell is not None:  # the address is left as it is, whatever that is by now
                    tell("write-back", self.name, index % size, "packed_desc", pair(0, word))
        except DmaFault as fault:
            raise QueueError("ring-unreachable", fault=str(fault)) from None
        self.used = (self.used + sum(slots)) % self.lap

    # -- notifications

    def _index(self, off_wrap: int) -> int:
        """The index of a place and its wrap counter."""
        place = off_wrap & 0x7FFF
        if place >= self.size:
            raise QueueError("place-beyond-ring", place=place, size=self.size)
        return place if off_wrap >> 15 else place + self.size

    def should_interrupt(self) -> bool:
        old, self._signalled = self._signalled, self.used
        if self.closed or old == self.used:
            return False
        fence()
        wish = self.words(self.layout.driver, 4, "I")[0]  # both words at once: one is about the other
        flags = wish >> 16 & 3
        if flags == _DESC and self.event_index:
            return crossed(self._index(wish & 0xFFFF), self.used, old, self.lap)
        return bool(flags != _DISABLE)

    def _end(self) -> int:
        for index in range(self.taken, self.taken + self._room()):
            if self._ring(index % self.size, 1, "H")[7] & _OWN != self._mark(index % self.lap):
                return index % self.lap
        return (self.taken + self._room()) % self.lap

    def _ask(self, end: int) -> None:
        if self.event_index:
            self.store(self.layout.device, end % self.size | (end < self.size) << 15)
            self.store(self.layout.device + 2, _DESC)
        elif not self.listening:
            self.store(self.layout.device + 2, _ENABLE)

    def quiet(self) -> None:
        if self.listening and not self.closed:
            self.listening = False
            self.store(self.layout.device + 2, _DISABLE)

    def check_notification(self, data: int) -> None:
        """Doorbells may be late by any way around the ring, so that only places that there are not can be told."""
        self._index(data >> 16 & 0xFFFF)

    # -- state

    def save(self) -> dict[str, object]:
        return {"taken": self.taken, "used": self.used, "signalled": self._signalled, "listening": self.listening}

    def load(self, state: Mapping[str, Any]) -> None:
        self.taken, self.used, self._signalled = (int(state[name]) % self.lap for name in ("taken", "used", "signalled"))
        self.listening = bool(state["listening"])
