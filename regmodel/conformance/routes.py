"""Tests of the causes that are no software's: a packet sent, a packet received, a message of the peer, each with the vector
that it was given, and with none.

Which field of an interrupt block gives which cause its vector says ``Conduct.interrupts``; where there is no such block, a
queue knows how it is given its own. The causes are provoked as in ``rings`` and ``mailbox``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from regmodel.conduct import Interrupts, Route, Traffic
from regmodel.conformance.accesses import Fired, Listen, Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Skip, Test
from regmodel.conformance.interrupts import NEVER, SOON, Block, bits, block_of, checked
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.conformance.mailbox import opened, why_not
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.rings import Lane, carry, lanes, make, ready

VECTORS = 2
"""How many are tried: a device for one pair of queues has one for each at least."""

Provoke = Callable[[], Steps[bool]]
"""Make the cause occur once. False when that did not work, which has been noted."""
Prepare = Callable[[Live], Steps[Provoke | None]]


def routes(bench: Bench) -> Checks:
    """Every cause with every vector, then without."""
    what, vectors = block_of(bench)
    if what is None:
        yield from not_applicable("routes", (False, "the description tells of no interrupt block"))
        return
    for route in what.routes:
        about = f"bar0.{route.vector}"
        prepare = _of_queue(bench, route) if route.ring else _of_mailbox(bench)
        if isinstance(prepare, Skip):
            yield Skip(about, prepare.reason, prepare.outcome)
        elif not bench.abilities.interrupts:
            yield Skip(about, "the target delivers no interrupts", Outcome.NOT_APPLICABLE)
        else:
            yield checked(bench, about, what, vectors, partial(_route, route=route, prepare=prepare))


def _of_queue(bench: Bench, route: Route) -> Prepare | Skip:
    for lane in lanes(bench):
        if (lane.way.ring, lane.number) == (route.ring, route.queue):
            return lane.skip or partial(_packets, bench=bench, lane=lane)
    return Skip(route.ring, "the description tells of no traffic through that queue", Outcome.NOT_APPLICABLE)


def _packets(live: Live, *, bench: Bench, lane: Lane) -> Steps[Provoke | None]:
    queue = yield from ready(live, bench, lane)
    if queue is None:
        return None
    return lambda: carry(queue, make(queue, [60], 1))


def _of_mailbox(bench: Bench) -> Prepare | Skip:
    missing: Iterator[Skip] = not_applicable("mailbox", *why_not(bench))
    for skip in missing:
        return skip

    def prepare(live: Live) -> Steps[Provoke | None]:
        box = yield from opened(live, bench)
        if box is None:
            return None
        first = next(e for group in box.talk.exchanges.values() for e in group if e.reply)
        return lambda: box.ask(first)

    return prepare


def _route(block: Block, *, route: Route, prepare: Prepare) -> Steps[None]:
    live, what = block.live, block.what
    provoke = yield from prepare(live)
    if provoke is None:
        return
    yield from block.read(what.cause)
    yield from block.write(what.auto_clear, block.all)
    yield from block.write(what.mask, block.all)
    for vector in range(block.vectors):
        yield from _give(live, route, vector, 1)
        if not (yield from provoke()):
            return
        block.happens(1 << vector)
        yield from block.fires(f"{route.vector} is {vector}")
    yield from block.read(what.cause)
    yield from _give(live, route, 0, 0)
    yield from provoke()
    yield from block.fires(f"{route.valid} is 0")
    yield from block.read(what.cause)
    yield from _masked(block, what, route, provoke)


def _masked(block: Block, what: Interrupts, route: Route, provoke: Provoke) -> Steps[None]:
    """While its vector is masked, the cause waits; its message masks it again where it is told to."""
    last = 1 << block.vectors - 1
    yield from _give(block.live, route, block.vectors - 1, 1)
    yield from block.write(what.mask_clear, last)
    yield from block.write(what.auto_mask, last)
    yield from provoke()
    block.happens(last)
    yield from block.fires("its vector is masked")
    yield from block.write(what.mask, last)
    yield from block.fires("its vector is unmasked")
    yield from block.read(what.mask)
    yield from provoke()
    block.happens(last)
    yield from block.fires("its message has masked its vector")
    yield from block.read(what.cause)


def _give(live: Live, route: Route, vector: int, valid: int) -> Steps[None]:
    yield from live.change(route.vector, vector)
    yield from live.change(route.valid, valid)


# -- queues that have their vector themselves


def queue_vectors(bench: Bench) -> Checks:
    """A queue fires the vector that it was given, while that is wanted."""
    own = [lane for lane in lanes(bench) if not isinstance(lane.way, Traffic)]
    for lane in own:
        missing = not_applicable(lane.about, (bench.abilities.interrupts, "the target delivers no interrupts"))
        yield lane.skip or next(missing, None) or live(bench, lane.about, partial(_own_vectors, bench=bench, lane=lane))
    if not own:
        yield Skip("rings", "no queue is given a vector without an interrupt block", Outcome.NOT_APPLICABLE)


def _own_vectors(live_: Live, *, bench: Bench, lane: Lane) -> Steps[None]:
    number = 0
    for vector in range(VECTORS):
        yield Listen(VECTORS)
        queue = yield from ready(live_, bench, lane, vector)
        if queue is None:
            break
        for wanted in (True, False, True):
            yield from queue.wanted(wanted)
            if wanted and number % 3 and queue.pends:
                yield from _fires(live_, 1 << vector, f"vector {vector}, wanted again")
            yield from carry(queue, make(queue, [60], number))
            yield from _fires(live_, wanted << vector, f"vector {vector}, {'' if wanted else 'not '}wanted, one packet")
            number += 1
        yield from queue.stop()
    yield Listen(0)


def _fires(live_: Live, due: int, why: str) -> Steps[None]:
    got = (yield from live_.fired(SOON)) if due else (yield Fired(NEVER))
    live_.claim(got == due, f"{why}: vectors {bits(got)} fired, not {bits(due)}")


TESTS = (
    Test("irq_routes", "packets and messages raise the vector that they were given", routes),
    Test("irq_queues", "a queue fires its vector, while that is wanted", queue_vectors),
)
