"""Tests of descriptor rings: packets through a queue, around its end, in pieces, thousands of them, stopped and started.

How a queue is set going and packets travel through it says ``Conduct.traffic``; what a ring is like is known by its ``Queue``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from regmodel.conduct import Generations, Traffic, Virtqueue, Way
from regmodel.conformance.accesses import Heard, Inject, Steps, digest
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Skip, Test
from regmodel.conformance.generations import Generational
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.conformance.mailbox import opened, why_not
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.queues import PATIENCE, QUIET, UNTOUCHED, InPlace, Queue, frame
from regmodel.conformance.virtqueues import virtqueue

TRANSFERS, BURST = 4096, 32
LONG = 1514
"""Bytes of the longest frame that needs no asking."""
OWN = bytes.fromhex("02005e10fffd")
"""Where packets come from whose function has no address of its own."""

Work = Callable[[Queue], Steps[None]]


# -- one queue


class Lane(NamedTuple):
    """One queue that packets go through, and why nothing can."""

    way: Way
    number: int
    about: str
    skip: Skip | None

    def queue(self, live_: Live, mac: bytes) -> Queue:
        """It, on a working device."""
        if isinstance(self.way, Virtqueue):
            return virtqueue(live_, self.way, mac)
        ring = next(r for r in live_.bench.device.rings if r.name == self.way.ring)
        if isinstance(self.way, Generations):
            return Generational(live_, self.way, ring, mac)
        return InPlace(live_, self.way, ring, self.number, mac)


def lanes(bench: Bench, *, first: bool = False) -> Iterator[Lane]:
    """Every queue that traffic is described for (or the first of each ring)."""
    able, unreached = bench.abilities, ""
    for way in bench.device.conduct.traffic:
        for number in _numbers(bench, way):
            if first and isinstance(way, Traffic) and number:
                continue
            if isinstance(way, Traffic):
                unreached = way.unreached
            about = f"{way.ring}[{number}]"
            needs = (
                *(why_not(bench) if bench.device.conduct.talk else ()),
                (able.interactive, "the target takes its accesses beforehand, and a ring has to be waited for"),
                (able.memory, "the target has no DMA memory"),
                (not (number and unreached), unreached),
                (able.wire or not way.inward, "no peer: nobody sends to this function"),
            )
            yield Lane(way, number, about, next(not_applicable(about, *needs), None))


def _numbers(bench: Bench, way: Way) -> Sequence[int]:
    """The queues of a kind."""
    if not isinstance(way, Traffic):
        return (way.number if isinstance(way, Virtqueue) else 0,)
    tail = next(r.tail for r in bench.device.rings if r.name == way.ring)
    return [place.element for place in bench.ground.places if place.name == tail]


def _on_queues(work: Work, *, first: bool = False, inward: bool = False) -> Callable[[Bench], Checks]:
    """``work`` on every queue that traffic is described for; only on the first of each ring if ``first``, and only where
    packets come in if ``inward``.
    """

    def checks(bench: Bench) -> Checks:
        for lane in lanes(bench, first=first):
            if inward and not lane.way.inward:
                continue
            yield lane.skip or live(bench, lane.about, partial(_through, lane=lane, bench=bench, work=work))
        if not bench.device.conduct.traffic:
            yield Skip("rings", "the description tells of no traffic", Outcome.NOT_APPLICABLE)

    return checks


def _through(live_: Live, *, lane: Lane, bench: Bench, work: Work) -> Steps[None]:
    queue = yield from ready(live_, bench, lane)
    if queue is not None:
        yield from work(queue)
        yield from queue.stop()


def ready(live_: Live, bench: Bench, lane: Lane, vector: int | None = None) -> Steps[Queue | None]:
    """A queue that runs, with its vector; None when it does not, which has been noted."""
    mac = OWN
    if bench.device.conduct.talk:
        box = yield from opened(live_, bench)
        if box is None:
            return None
        mac = box.address
    if bench.abilities.wire:
        yield Heard(0, 0)  # what was sent before is of no interest, and who listens is awake
    queue = lane.queue(live_, mac)
    queue.vector = vector
    return queue if (yield from queue.start()) else None


def make(queue: Queue, sizes: Sequence[int], first: int = 0) -> list[bytes]:
    """One of each size: out with our own address, in with that of somebody else."""
    if queue.inward:
        return [frame(first + i, size) for i, size in enumerate(sizes)]
    return [frame(first + i, size, queue.mac) for i, size in enumerate(sizes)]


def carry(queue: Queue, frames: Sequence[bytes], pieces: int = 1) -> Steps[bool]:
    """Frames through the queue, one burst; each of ``pieces`` descriptors. All have to be done, whole and in order."""
    if queue.inward:
        slots = queue.slots(len(frames) * pieces)
        yield from queue.free(len(slots), pieces)
        for one in frames:
            yield Inject(one)
        return (yield from _arrived(queue, frames, slots, pieces))
    slots = queue.slots(len(frames) * pieces)
    ends = yield from queue.offer([_cut(one, pieces) for one in frames])
    for slot in ends:
        if not queue.live.claim((yield from queue.done(slot)), f"descriptor {slot} is not done"):
            return False
    if pieces > 1 and queue.apart and not (yield from _only_ends(queue, slots, ends)):
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
    for i, one in enumerate(frames):
        mine = slots[i * pieces : (i + 1) * pieces]
        for slot in mine:
            if not queue.live.claim((yield from queue.done(slot)), f"descriptor {slot} is not done"):
                return False
        for k, (piece, part) in enumerate(zip((yield from queue.received(mine)), queue.cut(one, pieces), strict=True)):
            what = f"descriptor {mine[k]}, piece {k + 1} of a frame of {len(one)} bytes,"
            said = f"{what} is {'' if piece.last else 'not '}marked as the last"
            fine = queue.live.claim(piece.size == len(part), f"{what} has {piece.size} bytes, not {len(part)}")
            fine &= queue.live.claim(piece.data[: len(part)] == part, f"{what} is not what was sent")
            fine &= queue.live.claim(piece.beyond == UNTOUCHED, f"{what} was written beyond the end of its buffer")
            fine &= queue.live.claim(piece.last == (k == pieces - 1), said)
            if not fine:
                return False
    return True


def _cut(one: bytes, pieces: int) -> list[bytes]:
    size = -(-len(one) // pieces)
    return [one[i : i + size] for i in range(0, len(one), size)]


class _Counted:
    """The counters before, to see what was counted since."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.before: tuple[int, int] | None = None

    def begin(self) -> Steps[None]:
        self.before = yield from self.queue.counted()

    def end(self, frames: int, octets: int) -> Steps[None]:
        after = yield from self.queue.counted()
        if after is None or self.before is None:
            return
        for unit, old, new, due in zip(("packets", "octets"), self.before, after, (frames, octets), strict=True):
            counted = new - old & 0xFFFFFFFF
            self.queue.live.claim(counted == due, f"{counted} {unit} are counted, not {due}")


# -- the tests


def _one(queue: Queue) -> Steps[None]:
    """One packet, and it is counted; nothing else moves."""
    counted = _Counted(queue)
    yield from counted.begin()
    yield from carry(queue, make(queue, [60]))
    yield from counted.end(1, 60)
    yield from queue.settled("one descriptor")
    queue.live.claim(not (yield from queue.taken(1)), "a descriptor that was not offered is done")
    yield from carry(queue, make(queue, [LONG if not queue.inward else queue.room]))
    yield from queue.settled("another one")


def _wrap(queue: Queue) -> Steps[None]:
    """One by one around the end of the ring, then in bursts across it, until it is full but for one."""
    number = 0
    for burst in (*[1] * (queue.entries + 3), 7, 30, 37, queue.entries - 1, queue.entries - 1):
        sizes = [60 + (number + i) % 900 for i in range(burst)]
        if not (yield from carry(queue, make(queue, sizes, number))):
            return
        number += burst
        yield from queue.settled(f"{number} descriptors")


def _many(queue: Queue) -> Steps[None]:
    """Thousands, in bursts that do not divide the ring."""
    counted = _Counted(queue)
    yield from counted.begin()
    number = octets = 0
    while number < TRANSFERS:
        burst = min(BURST - number // BURST % 3, TRANSFERS - number)
        sizes = [60 + (number + i) % 64 for i in range(burst)]
        if not (yield from carry(queue, make(queue, sizes, number))):
            return
        number, octets = number + burst, octets + sum(sizes)
    yield from counted.end(number, octets)
    yield from queue.settled(f"{number} descriptors")


def _pieces(queue: Queue) -> Steps[None]:
    """Packets of several descriptors, some of them across the end of the ring."""
    counted, room = _Counted(queue), queue.room
    yield from counted.begin()
    sizes = (room + 1, room + 400, LONG) if queue.inward else (1000, 1001, 1002, LONG)
    frames = octets = 0
    for number in range(12):
        size, pieces = sizes[number % len(sizes)], 2 if queue.inward else (2, 3, 5, 11, queue.most)[number % 5]
        if not (yield from carry(queue, make(queue, [size, size], 2 * number), pieces)):
            return
        frames, octets = frames + 2, octets + 2 * size
        yield from queue.settled(f"{frames} packets of several descriptors")
    yield from counted.end(frames, octets)


def _stop_and_go(queue: Queue) -> Steps[None]:
    """A stopped queue does nothing, and starts from the beginning of its ring."""
    for round_ in range(3):
        if not (yield from carry(queue, make(queue, [60, 61, 62], 4 * round_))):
            return
        yield from queue.stop()
        slot = queue.next
        if queue.inward:
            yield from queue.free(1)
            yield Inject(frame(99))
            yield from queue.live.caught_up()  # it comes while the queue rests, and not after the new start
        else:
            yield from queue.offer([make(queue, [60], 99)])
        queue.live.claim(not (yield from queue.taken(slot)), "a stopped queue worked off a descriptor")
        if not queue.inward:
            yield from _left(queue, [])
        if not (yield from queue.start()):
            return
        yield from queue.settled("a new start")
    yield from carry(queue, make(queue, [60], 7))
    yield from queue.settled("one descriptor after a new start")


def _overrun(queue: Queue) -> Steps[None]:
    """Packets for which there is no descriptor are dropped, counted, and do not come later; or all wait for one."""
    room, surplus = 5, 3
    slots, frames = queue.slots(room), make(queue, [60 + i for i in range(room + surplus)])
    if queue.dropped:
        yield from queue.overlooked()
    yield from queue.free(room)
    for one in frames:
        yield Inject(one)
    if not (yield from _arrived(queue, frames[:room], slots, 1)):
        return
    if queue.dropped:
        yield from _all_dropped(queue, surplus)
    else:
        yield from queue.live.caught_up()  # all have come before there is room for more
    yield from queue.settled("more packets than descriptors")
    if queue.keeps:
        slots = queue.slots(surplus)
        yield from queue.free(surplus)
        if (yield from queue.done(slots[0], QUIET)):
            yield from _arrived(queue, frames[room:], slots, 1)
            yield from carry(queue, make(queue, [60, 61], 50))
        else:
            more = make(queue, [60, 61, 62], 50)
            for one in more:
                yield Inject(one)
            yield from _arrived(queue, more, slots, 1)
    else:
        yield from carry(queue, make(queue, [60, 61], 50))


def _all_dropped(queue: Queue, surplus: int) -> Steps[None]:
    counted = 0

    def all_counted() -> Steps[bool]:
        nonlocal counted
        counted += yield from queue.overlooked()
        return counted >= surplus

    yield from queue.live.until(all_counted, PATIENCE)
    queue.live.claim(counted == surplus, f"{queue.dropped} counted {counted} packets, not {surplus}")


TESTS = (
    Test("ring_one_packet", "one packet goes through, is done and counted", _on_queues(_one)),
    Test("ring_wrap", "the ring has no end", _on_queues(_wrap)),
    Test("ring_4096_transfers", "4096 packets in bursts", _on_queues(_many, first=True)),
    Test("ring_pieces", "packets of several descriptors", _on_queues(_pieces)),
    Test("ring_overrun", "packets without a descriptor are dropped and counted", _on_queues(_overrun, inward=True)),
    Test("ring_stop_restart", "a stopped queue rests, a started one begins anew", _on_queues(_stop_and_go)),
)
