"""Tests of descriptor rings: packets through a queue, around its end, in pieces, thousands of them, stopped and started.

Where a ring is says the catalogue, how a queue is set going ``Conduct.traffic``. Descriptors are built and read with their
construct schema, at the speed of that: whatever the device uses, it is not this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from construct import Construct

from regmodel.catalogue import Ring
from regmodel.conduct import Traffic
from regmodel.conformance.accesses import CHECKS, Allocate, Heard, Inject, Load, Steps, Store, Wait, digest
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Skip, Test
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.conformance.mailbox import opened, why_not
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place

ENTRIES, ROOM = 64, 2048
"""Descriptors of a ring; bytes per buffer, of which packets that come in may use ``Traffic.room``."""
TRANSFERS, BURST = 4096, 32
LONG = 1514
"""Bytes of the longest frame that needs no asking."""
PATIENCE = 2.0
QUIET = 0.01
UNTOUCHED = 0xA5
"""What is in memory that nobody has written."""

Work = Callable[["Queue"], Steps[None]]


class Queue:
    """Queue ``number`` of a ring, and its memory. ``mac`` is the function's own address."""

    def __init__(self, live: Live, ring: Ring, traffic: Traffic, number: int = 0, mac: bytes = bytes(6)) -> None:
        self.live, self.ring, self.traffic, self.number, self.mac = live, ring, traffic, number, mac
        self.format = next(f.schema for f in ring.formats if f.name == traffic.format)
        self.written = next(f.schema for f in ring.device_writes if f.name == traffic.written)
        self.step = int(self.format.sizeof())
        self.base = self.buffers = 0
        self.next = 0
        """The slot that is used next."""

    # -- registers

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

    def head(self, why: str) -> Steps[None]:
        """All that was given is done: the head has come to where the tail is."""
        head = yield from self.live.get(self.ring.head, self.number)
        self.live.claim(head == self.next, f"{self.ring.head} is {head} after {why}, not {self.next}")

    # -- descriptors

    def slots(self, count: int) -> list[int]:
        """The next ones."""
        return [(self.next + i) % ENTRIES for i in range(count)]

    def descriptor(self, slot: int, length: int, whole: int, last: bool) -> bytes:
        """A descriptor of ``length`` bytes at the buffer of ``slot``."""
        t = self.traffic
        pairs = {**t.constant, t.address: self.buffers + slot * ROOM, t.length: length, t.whole: whole}
        return _build(self.format, tuple(sorted((pairs | dict.fromkeys(t.last, int(last))).items())))

    def move(self, count: int) -> Steps[None]:
        """Give the next descriptors to the device."""
        self.next = (self.next + count) % ENTRIES
        yield from self.live.put(self.ring.tail, self.next, self.number)

    def offer(self, packets: Sequence[Sequence[bytes]]) -> Steps[list[int]]:
        """Put packets, each in its pieces, into the next slots, and move the tail. The slots of their last pieces."""
        ends, slots = [], iter(self.slots(sum(map(len, packets))))
        for pieces in packets:
            whole, last = sum(map(len, pieces)), len(pieces) - 1
            for i, data in enumerate(pieces):
                slot = next(slots)
                yield Store(self.buffers + slot * ROOM, data)
                yield Store(self.base + slot * self.step, self.descriptor(slot, len(data), whole, i == last))
            ends.append(slot)
        yield from self.move(sum(map(len, packets)))
        return ends

    def free(self, count: int) -> Steps[None]:
        """Offer empty buffers."""
        for slot in self.slots(count):
            yield Store(self.base + slot * self.step, self.descriptor(slot, 0, 0, False))
            yield Store(self.buffers + slot * ROOM, bytes([UNTOUCHED]) * ROOM)
        yield from self.move(count)

    def look(self, slot: int) -> Steps[Any]:
        """A descriptor as the device has written it."""
        raw = yield Load(self.base + slot * self.step, self.step)
        return _parse(self.written, raw.to_bytes(self.step, "little"))

    def is_done(self, slot: int) -> Steps[bool]:
        return bool(_get((yield from self.look(slot)), self.traffic.done))

    def done(self, slot: int, seconds: float = PATIENCE) -> Steps[bool]:
        return (yield from self.live.until(lambda: self.is_done(slot), seconds))

    def content(self, slot: int, size: int) -> Steps[bytes]:
        raw = yield Load(self.buffers + slot * ROOM, size)
        return raw.to_bytes(size, "little")


def _put(values: dict[str, Any], path: str, value: int) -> None:
    *above, name = path.split(".")
    for part in above:
        values = values.setdefault(part, {})
    values[name] = value


@lru_cache(maxsize=4096)
def _build(schema: Construct, pairs: tuple[tuple[str, int], ...]) -> bytes:
    """What is not given is 0."""
    values: dict[str, Any] = {}
    for path, value in pairs:
        if path:
            _put(values, path, value)
    whole = {s.name: values.get(s.name, {} if getattr(s.subcon, "named", None) is not None else 0) for s in schema.subcons}
    return bytes(schema.build(whole))


@lru_cache(maxsize=4096)
def _parse(schema: Construct, data: bytes) -> Any:
    return schema.parse(data)


def _get(container: Any, path: str) -> int:
    for part in path.split("."):
        container = container[part]
    return int(container)


def frame(number: int, size: int = 60, source: bytes = bytes.fromhex("02005e10fffe")) -> bytes:
    """A broadcast frame of an experimental type (IEEE 802), which says everywhere which one it is."""
    head = b"\xff" * 6 + source + CHECKS + number.to_bytes(4, "big")
    return head + bytes((number * 7 + i) & 0xFF for i in range(size - len(head)))


# -- one queue


def queues(bench: Bench, *, first: bool = False) -> Iterator[tuple[Ring, Traffic, Place, Skip | None]]:
    """Every queue that traffic is described for (or the first of each ring), by its tail, and why nothing can go through it."""
    able = bench.abilities
    for traffic in bench.device.conduct.traffic:
        ring = next(r for r in bench.device.rings if r.name == traffic.ring)
        for place in [p for p in bench.ground.places if p.name == ring.tail]:
            if first and place.element:
                continue
            needs = (
                *(why_not(bench) if bench.device.mailboxes else ()),
                (able.interactive, "the target takes its accesses beforehand, and a ring has to be waited for"),
                (able.memory, "the target has no DMA memory"),
                (not place.element or not traffic.unreached, traffic.unreached),
                (able.wire or not traffic.inward, "no peer: nobody sends to this function"),
            )
            yield ring, traffic, place, next(not_applicable(f"{ring.name}[{place.element}]", *needs), None)


def _on_queues(work: Work, *, first: bool = False, inward: bool = False) -> Callable[[Bench], Checks]:
    """``work`` on every queue of every ring that traffic is described for; only on the first of each if ``first``, and only
    where packets come in if ``inward``.
    """

    def checks(bench: Bench) -> Checks:
        for ring, traffic, place, skip in queues(bench, first=first):
            if inward and not traffic.inward:
                continue
            if skip is not None:
                yield skip
                continue

            def steps(live_: Live, ring: Ring = ring, traffic: Traffic = traffic, n: int = place.element) -> Steps[None]:
                queue = yield from ready(live_, bench, ring, traffic, n)
                if queue is not None:
                    yield from work(queue)
                    yield from queue.stop()

            yield live(bench, f"{ring.name}[{place.element}]", steps)
        if not bench.device.conduct.traffic:
            yield Skip("rings", "the description tells of no traffic", Outcome.NOT_APPLICABLE)

    return checks


def ready(live_: Live, bench: Bench, ring: Ring, traffic: Traffic, number: int) -> Steps[Queue | None]:
    """A queue that runs; None when it does not, which has been noted."""
    mac = bytes.fromhex("02005e10fffd")
    if bench.device.mailboxes:
        box = yield from opened(live_, bench)
        if box is None:
            return None
        mac = box.address
    if bench.abilities.wire:
        yield Heard(0, 0)  # what was sent before is of no interest, and who listens is awake
    queue = Queue(live_, ring, traffic, number, mac)
    return queue if (yield from queue.start()) else None


def _frames(queue: Queue, sizes: Sequence[int], first: int = 0) -> list[bytes]:
    """One of each size: out with our own address, in with that of somebody else."""
    if queue.traffic.inward:
        return [frame(first + i, size) for i, size in enumerate(sizes)]
    return [frame(first + i, size, queue.mac) for i, size in enumerate(sizes)]


def carry(queue: Queue, frames: Sequence[bytes], pieces: int = 1) -> Steps[bool]:
    """Frames through the queue, one burst; each of ``pieces`` descriptors. All have to be done, whole and in order."""
    if queue.traffic.inward:
        slots = queue.slots(len(frames) * pieces)
        yield from queue.free(len(slots))
        for one in frames:
            yield Inject(one)
        return (yield from _arrived(queue, frames, slots, pieces))
    slots = queue.slots(len(frames) * pieces)
    ends = yield from queue.offer([_cut(one, pieces) for one in frames])
    for slot in ends:
        if not queue.live.claim((yield from queue.done(slot)), f"descriptor {slot} is not done"):
            return False
    if pieces > 1 and not (yield from _only_ends(queue, slots, ends)):
        return False
    return (yield from _left(queue, frames))


def _left(queue: Queue, frames: Sequence[bytes]) -> Steps[bool]:
    """What was offered is what somebody else has heard, where there is somebody."""
    if not queue.live.bench.abilities.wire:
        return True
    heard = yield Heard(len(frames), PATIENCE)
    said = f"what was heard on the wire is not what was sent: {len(frames)} frames of {[*map(len, frames[:3])]}... bytes"
    return queue.live.claim(heard == digest(frames), said)


def _only_ends(queue: Queue, slots: Sequence[int], ends: Sequence[int]) -> Steps[bool]:
    """Descriptors that did not ask for it have not been written back."""
    fine = True
    for slot in slots:
        if slot not in ends:
            done = yield from queue.is_done(slot)
            fine = queue.live.claim(not done, f"descriptor {slot} is done, which is not the last of its packet") and fine
    return fine


def _arrived(queue: Queue, frames: Sequence[bytes], slots: list[int], pieces: int) -> Steps[bool]:
    """What was sent is there, in pieces as large as a buffer."""
    t, fine = queue.traffic, True
    for i, one in enumerate(frames):
        for k, slot in enumerate(slots[i * pieces : (i + 1) * pieces]):
            if not queue.live.claim((yield from queue.done(slot)), f"descriptor {slot} is not done"):
                return False
            row, part = (yield from queue.look(slot)), one[k * t.room : (k + 1) * t.room]
            size, end = _get(row, t.got), bool(_get(row, t.end)) if t.end else k == pieces - 1
            got = yield from queue.content(slot, t.room + 1)
            what = f"descriptor {slot}, piece {k + 1} of a frame of {len(one)} bytes,"
            fine &= queue.live.claim(size == len(part), f"{what} has {size} bytes, not {len(part)}")
            fine &= queue.live.claim(got[: len(part)] == part, f"{what} is not what was sent")
            fine &= queue.live.claim(got[-1] == UNTOUCHED, f"{what} was written beyond the end of its buffer")
            fine &= queue.live.claim(end == (k == pieces - 1), f"{what} is {'' if end else 'not '}marked as the last")
            if not fine:
                return False
    return fine


def _cut(one: bytes, pieces: int) -> list[bytes]:
    size = -(-len(one) // pieces)
    return [one[i : i + size] for i in range(0, len(one), size)]


class _Counted:
    """The counters before, to see what was counted since."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.traffic = queue, queue.traffic
        self.before = [0, 0]

    def _read(self) -> Steps[list[int]]:
        found = []
        for name in (self.traffic.counter, self.traffic.octets):
            found.append((yield from self.queue.live.get(name)) if name else 0)
        return found

    def begin(self) -> Steps[None]:
        self.before = yield from self._read()

    def end(self, frames: int, octets: int) -> Steps[None]:
        after = yield from self._read()
        due = (frames, octets + self.traffic.overhead * frames)
        names, units = (self.traffic.counter, self.traffic.octets), ("packets", "octets")
        for name, unit, old, new, expected in zip(names, units, self.before, after, due, strict=True):
            counted = new - old & 0xFFFFFFFF
            said = f"{name} counted {counted} {unit}, not {expected}"
            self.queue.live.claim(not name or counted == expected, said)


# -- the tests


def _one(queue: Queue) -> Steps[None]:
    """One packet, and it is counted; nothing else moves."""
    counted = _Counted(queue)
    yield from counted.begin()
    yield from carry(queue, _frames(queue, [60]))
    yield from counted.end(1, 60)
    yield from queue.head("one descriptor")
    queue.live.claim(not (yield from queue.done(1, QUIET)), "a descriptor that was not offered is done")
    yield from carry(queue, _frames(queue, [LONG if not queue.traffic.inward else queue.traffic.room]))
    yield from queue.head("another one")


def _wrap(queue: Queue) -> Steps[None]:
    """One by one around the end of the ring, then in bursts across it, until it is full but for one."""
    number = 0
    for burst in (*[1] * (ENTRIES + 3), 7, 30, 37, ENTRIES - 1, ENTRIES - 1):
        sizes = [60 + (number + i) % 900 for i in range(burst)]
        if not (yield from carry(queue, _frames(queue, sizes, number))):
            return
        number += burst
        yield from queue.head(f"{number} descriptors")


def _many(queue: Queue) -> Steps[None]:
    """Thousands, in bursts that do not divide the ring."""
    counted = _Counted(queue)
    yield from counted.begin()
    number = octets = 0
    while number < TRANSFERS:
        burst = min(BURST - number // BURST % 3, TRANSFERS - number)
        sizes = [60 + (number + i) % 64 for i in range(burst)]
        if not (yield from carry(queue, _frames(queue, sizes, number))):
            return
        number, octets = number + burst, octets + sum(sizes)
    yield from counted.end(number, octets)
    yield from queue.head(f"{number} descriptors")


def _pieces(queue: Queue) -> Steps[None]:
    """Packets of several descriptors, some of them across the end of the ring."""
    counted, room = _Counted(queue), queue.traffic.room
    yield from counted.begin()
    sizes = (room + 1, room + 400, LONG) if queue.traffic.inward else (1000, 1001, 1002, LONG)
    frames = octets = 0
    for number in range(12):
        size, pieces = sizes[number % len(sizes)], 2 if queue.traffic.inward else (2, 3, 5, 11, 17)[number % 5]
        if not (yield from carry(queue, _frames(queue, [size, size], 2 * number), pieces)):
            return
        frames, octets = frames + 2, octets + 2 * size
        yield from queue.head(f"{frames} packets of several descriptors")
    yield from counted.end(frames, octets)


def _stop_and_go(queue: Queue) -> Steps[None]:
    """A stopped queue does nothing, and starts from the beginning of its ring."""
    for round_ in range(3):
        if not (yield from carry(queue, _frames(queue, [60, 61, 62], 4 * round_))):
            return
        yield from queue.stop()
        slot = queue.next
        if queue.traffic.inward:
            yield from queue.free(1)
            yield Inject(frame(99))
        else:
            yield from queue.offer([_frames(queue, [60], 99)])
        queue.live.claim(not (yield from queue.done(slot, QUIET)), "a stopped queue worked off a descriptor")
        if not queue.traffic.inward:
            yield from _left(queue, [])
        if not (yield from queue.start()):
            return
        yield from queue.head("a new start")
    yield from carry(queue, _frames(queue, [60], 7))
    yield from queue.head("one descriptor after a new start")


def _overrun(queue: Queue) -> Steps[None]:
    """Packets for which there is no descriptor are dropped, counted, and do not come later."""
    live, room, surplus = queue.live, 5, 3
    slots, frames = queue.slots(room), _frames(queue, [60 + i for i in range(room + surplus)])
    if queue.traffic.dropped:
        yield from live.get(queue.traffic.dropped, queue.number)
    yield from queue.free(room)
    for one in frames:
        yield Inject(one)
    if not (yield from _arrived(queue, frames[:room], slots, 1)):
        return
    counted = 0

    def all_counted() -> Steps[bool]:
        nonlocal counted
        counted += yield from live.get(queue.traffic.dropped, queue.number)
        return counted >= surplus

    if queue.traffic.dropped:
        yield from live.until(all_counted, PATIENCE)
        live.claim(counted == surplus, f"{queue.traffic.dropped} counted {counted} packets, not {surplus}")
    else:
        yield Wait(QUIET)
    yield from queue.head("more packets than descriptors")
    yield from carry(queue, _frames(queue, [60, 61], 50))


TESTS = (
    Test("ring_one_packet", "one packet goes through, is done and counted", _on_queues(_one)),
    Test("ring_wrap", "the ring has no end", _on_queues(_wrap)),
    Test("ring_4096_transfers", "4096 packets in bursts", _on_queues(_many, first=True)),
    Test("ring_pieces", "packets of several descriptors", _on_queues(_pieces)),
    Test("ring_overrun", "packets without a descriptor are dropped and counted", _on_queues(_overrun, inward=True)),
    Test("ring_stop_restart", "a stopped queue rests, a started one begins anew", _on_queues(_stop_and_go)),
)
