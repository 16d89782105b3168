"""What a test is: a name that verification engineers know, one sentence, and the checks that it does, one per register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.errors import RegmodelError


class NotOffered(RegmodelError):
    """In the middle of a check it turns out that this device has not what the check is about, and need not have it."""


@dataclass(frozen=True)
class Check:
    """``steps`` on one register. ``about`` is its path; it passes if at least one bit of ``judged`` was compared."""

    about: str
    steps: Callable[[], Steps[None]]
    notes: tuple[str, ...] = ()
    anything: bool = False
    """It may pass if a bit of any register was compared."""


@dataclass(frozen=True)
class Skip:
    """A register on which a test is not done, and why."""

    about: str
    reason: str
    outcome: Outcome = Outcome.EXCLUDED


Checks: TypeAlias = Iterator[Check | Skip]


@dataclass(frozen=True)
class Test:
    name: str
    doc: str
    checks: Callable[[Bench], Checks]

    __test__ = False  # pytest's collector is not meant


def items(test: Test, bench: Bench) -> Checks:
    """The checks of ``test``, and what it is not done on.

    Who stands between the target and the device is the reason only where the test could be done without him: what it would be
    left out for anyway is what is said. So whatever is virtualised here can be judged, and has to pass, where nobody stands.
    """
    for each in (bench, bench.unhindered) if bench.abilities.virtualised else (bench,):
        each.ground.test = test.name
    there = list(test.checks(bench.unhindered)) if bench.abilities.virtualised else []
    judged = {item.about for item in there if isinstance(item, Check)}
    anyway = {item.about: item for item in there if isinstance(item, Skip) and item.about not in judged}
    for item in test.checks(bench):
        virtualised = isinstance(item, Skip) and item.outcome is Outcome.VIRTUALISED
        yield anyway.get(item.about, item) if virtualised else item


def closed(bench: Bench, test: str, place: Place) -> Skip | None:
    """Why ``test`` cannot be done on a place: others answer there, or somebody has excluded it. None if it can."""
    if who := bench.ground.virtual(place):
        return Skip(place.path, who, Outcome.VIRTUALISED)
    if why := bench.ground.untestable(test, place):
        return Skip(place.path, why)
    return None


def locked_out(bench: Bench, place: Place) -> Skip | None:
    """Why the test that runs could write nothing to a register: what opens its locks it must not write. None if it could."""
    mask, why = bench.locks.barred(place)
    return Skip(place.path, why) if mask and not place.writable & ~mask else None


def notes_on(bench: Bench, place: Place) -> tuple[str, ...]:
    """What the test that runs leaves of a register that it is done on, and why."""
    _, why = bench.locks.barred(place)
    return (*place.notes, *filter(None, (why,)))


def sweep(bench: Bench, test: str, prepare: Callable[[], Steps[None]]) -> Checks:
    """``prepare`` once, then read everything: every register, every word of memory."""
    first = True
    for place in bench.ground.places:
        if skip := closed(bench, test, place):
            yield skip
            continue

        def steps(place: Place = place, begin: bool = first) -> Steps[None]:
            if begin:
                yield from prepare()
            for offset, size in place.units:
                yield from bench.read_at(place.file, offset, size)

        first = False
        yield Check(place.path, steps)
