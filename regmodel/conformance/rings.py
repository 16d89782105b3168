"""Tests of descriptor rings: packets through a queue, around its end, in pieces, thousands of them, stopped and started.

Where a ring is says the catalogue, how a queue is set going ``Conduct.traffic``. Descriptors are built and read with their
construct schema, at the speed of that: whatever the device uses, it is not this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from construct import Construct

from regmodel.catalogue import Ring
from regmodel.conduct import Traffic
from regmodel.conformance.accesses import Allocate, Fired, Inject, Listen, Load, Steps, Store, Wait
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Test
from regmodel.conformance.interrupts import Block
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.conformance.mailbox import opened

ENTRIES, ROOM, SMALL = 64, 2048, 1024
"""Descriptors of a ring; bytes per buffer; bytes that a piece of a packet may have in the test of pieces."""
TRANSFERS, BURST = 4096, 32
PATIENCE = 2.0
QUIET = 0.02

Work = Callable[["Queue"], Steps[None]]


class Queue:
    """Queue ``number`` of a ring, and its memory."""

    def __init__(self, live: Live, ring: Ring, traffic: Traffic, number: int = 0) -> None:
        self.live, self.ring, self.traffic, self.number = live, ring, traffic, number
        self.format = next(f.schema for f in ring.formats if f.name == traffic.format)
        self.written = next(f.schema for f in ring.device_writes if f.name == traffic.written)
        self.step = int(self.format.sizeof())
        self.base = self.buffers = 0
        self.next = 0
        """The slot that is used next."""

    def start(self) -> Steps[bool]:
        """Memory, registers, enable; the queue says that it runs."""
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

    # -- descriptors

    def descriptor(self, slot: int, length: int, whole: int, last: bool) -> bytes:
        """A descriptor of ``length`` bytes at the buffer of ``slot``."""
        t = self.traffic
        values: dict[str, Any] = {}
        pairs = {**t.constant, t.address: self.buffers + slot * ROOM, t.length: length, t.whole: whole, t.last: int(last)}
        for path, value in pairs.items():
            if path:
                _put(values, path, value)
        return _build(self.format, values)

    def offer(self, pieces: list[tuple[bytes, bool]]) -> Steps[list[int]]:
        """Put pieces of packets (data, last) into the next slots, and move the tail. The slots."""
        slots: list[int] = []
        whole = sum(len(data) for data, _ in pieces) if len(pieces) > 1 and not any(last for _, last in pieces[:-1]) else 0
        for data, last in pieces:
            slot = (self.next + len(slots)) % ENTRIES
            yield Store(self.buffers + slot * ROOM, data)
            yield Store(self.base + slot * self.step, self.descriptor(slot, len(data), whole or len(data), last))
            slots.append(slot)
        yield from self.move(len(slots))
        return slots

    def move(self, count: int) -> Steps[None]:
        self.next = (self.next + count) % ENTRIES
        yield from self.live.put(self.ring.tail, self.next, self.number)

    def free(self, count: int) -> Steps[None]:
        """Offer empty buffers."""
        for i in range(count):
            slot = (self.next + i) % ENTRIES
            yield Store(self.base + slot * self.step, self.descriptor(slot, 0, 0, False))
        yield from self.move(count)

    def look(self, slot: int) -> Steps[Any]:
        """A descriptor as the device has written it."""
        raw = yield Load(self.base + slot * self.step, self.step)
        return self.written.parse(raw.to_bytes(self.step, "little"))

    def done(self, slot: int, seconds: float = PATIENCE) -> Steps[bool]:
        def is_done() -> Steps[bool]:
            return bool(_get((yield from self.look(slot)), self.traffic.done))

        return (yield from self.live.until(is_done, seconds))

    def content(self, slot: int, size: int) -> Steps[bytes]:
        raw = yield Load(self.buffers + slot * ROOM, size)
        return raw.to_bytes(size, "little")


def _put(values: dict[str, Any], path: str, value: int) -> None:
    *above, name = path.split(".")
    for part in above:
        values = values.setdefault(part, {})
    values[name] = value


def _build(schema: Construct, values: Mapping[str, Any]) -> bytes:
    """What is not given is 0."""
    whole = {s.name: values.get(s.name, {} if getattr(s.subcon, "named", None) is not None else 0) for s in schema.subcons}
    return bytes(schema.build(whole))


def _get(container: Any, path: str) -> int:
    for part in path.split("."):
        container = container[part]
    return int(container)


def frame(number: int, size: int = 60) -> bytes:
    """A broadcast frame of an experimental type, which says everywhere which one it is."""
    head = b"\xff" * 6 + bytes.fromhex("02005e10fffe") + bytes.fromhex("88b5")
    return head + bytes((number * 7 + i) & 0xFF for i in range(size - len(head)))


# -- one queue


def _on_queues(work: Work, *, first: bool = False) -> Callable[[Bench], Checks]:
    """``work`` on every queue of every ring that traffic is described for; only on the first queue if ``first``."""

    def checks(bench: Bench) -> Checks:
        able = bench.abilities
        for traffic in bench.device.conduct.traffic:
            ring = next(r for r in bench.device.rings if r.name == traffic.ring)
            queues = [p for p in bench.ground.places if p.name == ring.tail]
            for place in queues[:1] if first or traffic.inward else queues:
                about = f"{ring.name}[{place.element}]"
                missing = list(
                    not_applicable(
                        about,
                        (able.memory, "the target has no DMA memory"),
                        (able.peer or not bench.device.mailboxes, "nobody lets the queues run: no PF driver"),
                        (able.wire or not traffic.inward, "nobody can put frames on the wire of this target"),
                    )
                )
                yield from missing
                if missing:
                    continue

                def steps(live_: Live, ring: Ring = ring, traffic: Traffic = traffic, n: int = place.element) -> Steps[None]:
                    if (yield from opened(live_, bench)):
                        queue = Queue(live_, ring, traffic, n)
                        if (yield from queue.start()):
                            yield from work(queue)
                            yield from queue.stop()

                yield live(bench, about, steps)
        if not bench.device.conduct.traffic:
            yield from not_applicable("rings", (False, "the description tells of no traffic"))

    return checks


def _carry(queue: Queue, frames: list[bytes], pieces: int = 1) -> Steps[bool]:
    """Frames through the queue, one burst; each of ``pieces`` descriptors. All have to be done, whole and in order."""
    fine = True
    if queue.traffic.inward:
        slots = [(queue.next + i) % ENTRIES for i in range(len(frames) * pieces)]
        yield from queue.free(len(slots))
        for one in frames:
            yield Inject(one)
    else:
        cut = [_cut(one, pieces) for one in frames]
        slots = []
        for parts in cut:
            slots += yield from queue.offer(parts)
    for slot in slots:
        fine = queue.live.claim((yield from queue.done(slot)), f"descriptor {slot} is not done") and fine
        if not fine:
            return False
    if queue.traffic.inward:
        for i, one in enumerate(frames):
            got = b""
            for slot in slots[i * pieces : (i + 1) * pieces]:
                size = _get((yield from queue.look(slot)), queue.traffic.got)
                got += yield from queue.content(slot, min(size, ROOM))
            fine = queue.live.claim(got == one, f"a frame of {len(one)} bytes arrived as another one of {len(got)}") and fine
    return fine


def _cut(one: bytes, pieces: int) -> list[tuple[bytes, bool]]:
    size = -(-len(one) // pieces)
    parts = [one[i : i + size] for i in range(0, len(one), size)]
    return [(part, i == len(parts) - 1) for i, part in enumerate(parts)]


def _count(queue: Queue) -> Steps[int]:
    return (yield from queue.live.get(queue.traffic.counter)) if queue.traffic.counter else 0


def _one(queue: Queue) -> Steps[None]:
    """One packet, and it is counted; nothing else moves."""
    before = yield from _count(queue)
    yield from _carry(queue, [frame(1)])
    if queue.traffic.counter:
        counted = (yield from _count(queue)) - before & 0xFFFFFFFF
        queue.live.claim(counted == 1, f"{queue.traffic.counter} counted {counted} packets, not 1")
    head = yield from queue.live.get(queue.ring.head, queue.number)
    queue.live.claim(head == 1, f"{queue.ring.head} is {head} after one descriptor")
    queue.live.claim(not (yield from queue.done(1, QUIET)), "a descriptor that was not offered is done")


def _wrap(queue: Queue) -> Steps[None]:
    """One by one around the end of the ring, twice."""
    for number in range(2 * ENTRIES + 3):
        if not (yield from _carry(queue, [frame(number, 60 + number)])):
            return
    head = yield from queue.live.get(queue.ring.head, queue.number)
    queue.live.claim(head == queue.next, f"{queue.ring.head} is {head} after the ring was passed, not {queue.next}")


def _many(queue: Queue) -> Steps[None]:
    """Thousands, in bursts that do not divide the ring."""
    before = yield from _count(queue)
    number = 0
    while number < TRANSFERS:
        burst = min(BURST - number // BURST % 3, TRANSFERS - number)
        if not (yield from _carry(queue, [frame(number + i, 60 + (number + i) % 200) for i in range(burst)])):
            return
        number += burst
    if queue.traffic.counter:
        counted = (yield from _count(queue)) - before & 0xFFFFFFFF
        queue.live.claim(counted == TRANSFERS, f"{queue.traffic.counter} counted {counted} packets, not {TRANSFERS}")


def _pieces(queue: Queue) -> Steps[None]:
    """Packets of several descriptors."""
    if queue.traffic.inward:
        for number, size in enumerate((SMALL + 1, 1400, 1514)):
            yield from _carry(queue, [frame(number, size)], pieces=2)
        return
    before = yield from _count(queue)
    for number, count in enumerate((2, 3, 5, 2)):
        yield from _carry(queue, [frame(number, 1000 + number)], pieces=count)
    if queue.traffic.counter:
        counted = (yield from _count(queue)) - before & 0xFFFFFFFF
        queue.live.claim(counted == 4, f"{queue.traffic.counter} counted {counted} packets of several descriptors, not 4")


def _stop_and_go(queue: Queue) -> Steps[None]:
    """A stopped queue does nothing, and starts from the beginning of its ring."""
    for round_ in range(3):
        if not (yield from _carry(queue, [frame(round_ * 4 + i) for i in range(3)])):
            return
        yield from queue.stop()
        slot = queue.next
        if queue.traffic.inward:
            yield from queue.free(1)
            yield Inject(frame(99))
        else:
            yield from queue.offer([(frame(99), True)])
        queue.live.claim(not (yield from queue.done(slot, QUIET)), "a stopped queue worked off a descriptor")
        if not (yield from queue.start()):
            return
    yield from _carry(queue, [frame(7)])


def _interrupt(queue: Queue) -> Steps[None]:
    """A packet raises the vector that its queue was given, each in turn; none, when it was given none."""
    live_, traffic = queue.live, queue.traffic
    what, vectors = live_.bench.device.conduct.interrupts, getattr(live_.bench.device, "msix_vectors", 0)
    if what is None or not traffic.route[0] or not live_.bench.abilities.interrupts:
        live_.claim(True, "")
        return
    block = Block(live_, what, vectors)
    yield from block.quiet()
    for vector in range(vectors):
        yield from live_.change(traffic.route[1], 1)
        yield from live_.change(traffic.route[0], vector)
        yield from block.unmask(block.all)
        yield from _carry(queue, [frame(vector)])
        yield from block.fires(1 << vector, f"a packet of a queue with vector {vector}")
        yield from block.causes()
    yield from live_.change(traffic.route[1], 0)
    yield from _carry(queue, [frame(0)])
    yield Wait(QUIET)
    live_.claim(not (yield Fired(0)), "a queue without a vector raised one")
    yield Listen(0)


TESTS = (
    Test("ring_one_packet", "one packet goes through, is done and counted", _on_queues(_one)),
    Test("ring_wrap", "the ring has no end", _on_queues(_wrap)),
    Test("ring_4096_transfers", "4096 packets in bursts", _on_queues(_many, first=True)),
    Test("ring_pieces", "packets of several descriptors", _on_queues(_pieces)),
    Test("ring_stop_restart", "a stopped queue rests, a started one begins anew", _on_queues(_stop_and_go)),
    Test("ring_interrupts", "packets raise the vector of their queue", _on_queues(_interrupt, first=True)),
)
