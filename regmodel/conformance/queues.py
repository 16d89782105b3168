"""What tests of rings need of a queue, whatever the ring is like; and the queue of descriptors that are written back in place.

A ``Queue`` counts in *slots*: where a descriptor stands that the judge has given. Tests of rings (``rings``) offer packets in
slots and ask which are done. How virtqueues do that is in ``virtqueues``, rings with completions in ``generations``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from regmodel.catalogue import Ring
from regmodel.conduct import Traffic
from regmodel.conformance.accesses import CHECKS, Allocate, Load, Steps, Store
from regmodel.conformance.live import Live
from regmodel.conformance.records import build, get

ENTRIES, ROOM = 64, 2048
"""Descriptors of a ring, where that is ours to say; bytes per buffer, of which packets that come in may use ``room``."""
PATIENCE = 2.0
"""Seconds in which what is offered is done."""
QUIET = 0.01
"""Seconds after which what was not done by itself is not."""
UNTOUCHED = 0xA5
"""What is in memory that nobody has written."""


class Piece(NamedTuple):
    """What the device has put into one buffer. ``beyond`` is the byte behind the end of the buffer that it was told of."""

    size: int
    last: bool
    data: bytes
    beyond: int


class Queue(ABC):
    """Queue ``number`` of a ring, and its memory. ``mac`` is the function's own address.

    ``room`` is what a first buffer holds of a packet that comes in (``inward``). ``apart``: the pieces of a packet that goes
    out are done one by one, so that it can be seen which of them asked for that.
    """

    entries = ENTRIES
    most = 17
    """Descriptors that a packet which goes out may take."""
    inward = False
    room = 0
    apart = False
    vector: int | None = None
    """The one that the queue is given when it is started; None for none."""
    pends = False
    """What is not ``wanted`` comes when it is."""
    keeps = False
    """Packets for which there is no descriptor may wait for one."""
    dropped = ""
    """What counts packets for which there was no descriptor; empty if nothing does."""

    def __init__(self, live: Live, number: int, mac: bytes) -> None:
        self.live, self.number, self.mac = live, number, mac
        self.buffers = 0
        self.next = 0
        """The slot that is used next."""

    def slots(self, count: int) -> list[int]:
        """The next ones."""
        return [(self.next + i) % self.entries for i in range(count)]

    def advance(self, count: int) -> None:
        self.next = (self.next + count) % self.entries

    def cut(self, frame: bytes, pieces: int) -> list[bytes]:
        """What of a frame that came in has to be in which buffer."""
        return [frame[i * self.room : (i + 1) * self.room] for i in range(pieces)]

    def done(self, slot: int, seconds: float = PATIENCE) -> Steps[bool]:
        return (yield from self.live.until(lambda: self.is_done(slot), seconds))

    def taken(self, slot: int) -> Steps[bool]:
        """A slot is done that has to be left alone."""
        return (yield from self.live.within(lambda: self.is_done(slot), QUIET))

    def content(self, slot: int, size: int) -> Steps[bytes]:
        raw = yield Load(self.buffers + slot * ROOM, size)
        return raw.to_bytes(size, "little")

    def counted(self) -> Steps[tuple[int, int] | None]:
        """Packets and octets, as the device counts them since some time; None if it does not."""
        return None
        yield

    def overlooked(self) -> Steps[int]:
        """Packets that were dropped since this was last asked; for those that count them only."""
        raise NotImplementedError
        yield

    @abstractmethod
    def start(self) -> Steps[bool]:
        """Memory, registers, enable; the queue begins at slot 0 and says that it runs."""

    @abstractmethod
    def stop(self) -> Steps[None]:
        """It rests."""

    @abstractmethod
    def offer(self, packets: Sequence[Sequence[bytes]]) -> Steps[list[int]]:
        """Put packets, each in its pieces, into the next slots, and tell the device. The slots by which they are done."""

    @abstractmethod
    def free(self, count: int, pieces: int = 1) -> Steps[None]:
        """Offer empty buffers, for packets of ``pieces``."""

    @abstractmethod
    def is_done(self, slot: int) -> Steps[bool]:
        """The device says that it has done with a slot."""

    @abstractmethod
    def received(self, slots: Sequence[int]) -> Steps[list[Piece]]:
        """The packet that came into these slots, all of which are done."""

    def wanted(self, wanted: bool) -> Steps[None]:
        """Whether the vector should fire; for queues only that are given theirs by ``vector``."""
        raise NotImplementedError
        yield

    @abstractmethod
    def settled(self, why: str) -> Steps[None]:
        """All that was given is done, and the device shows it."""


class InPlace(Queue):
    """Registers place the ring, and the device writes into the descriptors that it was given (``Traffic``)."""

    apart = True

    def __init__(self, live: Live, traffic: Traffic, ring: Ring, number: int, mac: bytes) -> None:
        super().__init__(live, number, mac)
        self.ring, self.traffic = ring, traffic
        self.inward, self.room, self.dropped = traffic.inward, traffic.room, traffic.dropped
        self.format = next(f.schema for f in ring.formats if f.name == traffic.format)
        self.written = next(f.schema for f in ring.device_writes if f.name == traffic.written)
        self.step = int(self.format.sizeof())
        self.base = 0

    # -- registers

    def start(self) -> Steps[bool]:
        if not self.base:
            self.base = yield Allocate(ENTRIES * self.step)
            self.buffers = yield Allocate(ENTRIES * ROOM)
        yield Store(self.base, bytes(ENTRIES * self.step))
        yield from self.stop()
        low, high = self.ring.base
        live, n = self.live, self.number
        yield from live.put(low, self.base & 0xFFFFFFFF, n)
        yield from live.put(high, self.base >> 32, n)
        yield from live.put(self.ring.length, ENTRIES * self.step, n)
        for name, value in self.traffic.setup.items():
            yield from live.change(name, value, n)
        yield from live.put(self.ring.head, 0, n)
        yield from live.put(self.ring.tail, 0, n)
        yield from live.change(self.traffic.enable, 1, n)
        self.next = 0
        return live.claim((yield from live.until(self._enabled, PATIENCE)), f"queue {n} does not show that it is enabled")

    def stop(self) -> Steps[None]:
        yield from self.live.change(self.traffic.enable, 0, self.number)

        def over() -> Steps[bool]:
            return not (yield from self._enabled())

        self.live.claim((yield from self.live.until(over, PATIENCE)), f"queue {self.number} does not stop")

    def _enabled(self) -> Steps[bool]:
        return bool((yield from self.live.field(self.traffic.enable, self.number)))

    def settled(self, why: str) -> Steps[None]:
        """The head has come to where the tail is."""
        head = yield from self.live.get(self.ring.head, self.number)
        self.live.claim(head == self.next, f"{self.ring.head} is {head} after {why}, not {self.next}")

    def counted(self) -> Steps[tuple[int, int] | None]:
        t, live = self.traffic, self.live
        if not t.counter:
            return None
        packets = yield from live.get(t.counter)
        octets = yield from live.get(t.octets)
        return packets, octets - t.overhead * packets

    def overlooked(self) -> Steps[int]:
        return (yield from self.live.get(self.traffic.dropped, self.number))

    # -- descriptors

    def _descriptor(self, slot: int, length: int, whole: int, last: bool) -> bytes:
        """Of ``length`` bytes at the buffer of ``slot``."""
        t = self.traffic
        values = {**t.constant, t.address: self.buffers + slot * ROOM, t.length: length, t.whole: whole}
        return build(self.format, values | dict.fromkeys(t.last, int(last)))

    def _move(self, count: int) -> Steps[None]:
        """Give the next descriptors to the device."""
        self.advance(count)
        yield from self.live.put(self.ring.tail, self.next, self.number)

    def offer(self, packets: Sequence[Sequence[bytes]]) -> Steps[list[int]]:
        ends, slots = [], iter(self.slots(sum(map(len, packets))))
        for pieces in packets:
            whole, last = sum(map(len, pieces)), len(pieces) - 1
            for i, data in enumerate(pieces):
                slot = next(slots)
                yield Store(self.buffers + slot * ROOM, data)
                yield Store(self.base + slot * self.step, self._descriptor(slot, len(data), whole, i == last))
            ends.append(slot)
        yield from self._move(sum(map(len, packets)))
        return ends

    def free(self, count: int, pieces: int = 1) -> Steps[None]:
        for slot in self.slots(count):
            yield Store(self.base + slot * self.step, self._descriptor(slot, 0, 0, False))
            yield Store(self.buffers + slot * ROOM, bytes([UNTOUCHED]) * ROOM)
        yield from self._move(count)

    def _look(self, slot: int) -> Steps[bytes]:
        """A descriptor as the device has written it."""
        raw = yield Load(self.base + slot * self.step, self.step)
        return raw.to_bytes(self.step, "little")

    def is_done(self, slot: int) -> Steps[bool]:
        return bool(get((yield from self._look(slot)), self.written, self.traffic.done))

    def received(self, slots: Sequence[int]) -> Steps[list[Piece]]:
        t, pieces = self.traffic, []
        for slot in slots:
            row, data = (yield from self._look(slot)), (yield from self.content(slot, self.room + 1))
            size = get(row, self.written, t.got)
            last = bool(get(row, self.written, t.end)) if t.end else slot == slots[-1]
            pieces.append(Piece(size, last, data[:size], data[-1]))
        return pieces


def frame(number: int, size: int = 60, source: bytes = bytes.fromhex("02005e10fffe")) -> bytes:
    """A broadcast frame of an experimental type (IEEE 802), which says everywhere which one it is."""
    head = b"\xff" * 6 + source + CHECKS + number.to_bytes(4, "big")
    return head + bytes((number * 7 + i) & 0xFF for i in range(size - len(head)))
