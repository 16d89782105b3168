"""Tests of every register by itself and beside its neighbours, named as UVM and OpenTitan name them.

Nothing in here knows a device. What is written depends on the description alone; what is read is compared by the bench.
"""

from __future__ import annotations

from collections.abc import Callable

from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed, locked_out, notes_on, sweep
from regmodel.conformance.excite import dirty
from regmodel.conformance.places import Place
from regmodel.registers import Kind

PATTERNS = (0x5A5A5A5A5A5A5A5A, 0xA5A5A5A5A5A5A5A5, 0, 0xFFFFFFFFFFFFFFFF)
"""As Linux' own register test writes them (igb_ethtool.c, ``reg_pattern_test``)."""


def hw_reset(bench: Bench) -> Checks:
    """Dirty what can be dirtied, reset, and read everything."""

    def prepare() -> Steps[None]:
        yield from dirty(bench, "csr_hw_reset")
        yield from bench.start()

    return sweep(bench, "csr_hw_reset", prepare)


def _on_each(
    test: str, exercise: Callable[[Bench, Place], Steps[None]], *, read_only: bool
) -> Callable[[Bench], Checks]:
    """``exercise`` on every register, each put back afterwards; on those that software cannot change if ``read_only``."""

    def checks(bench: Bench) -> Checks:
        for place in bench.ground.registers():
            if skip := closed(bench, test, place) or locked_out(bench, place):
                yield skip
            elif place.held and not place.writable:
                yield Skip(place.path, "; ".join(place.notes))
            elif not place.writable and not read_only:
                yield Skip(place.path, "no bit of it can be written; csr_rw sees to that")
            else:

                def steps(place: Place = place) -> Steps[None]:
                    yield from exercise(bench, place)
                    yield from bench.put_back(place)

                yield Check(place.path, steps, notes_on(bench, place))

    return checks


def _patterns(bench: Bench, place: Place) -> Steps[None]:
    for pattern in PATTERNS:
        yield from bench.write_unlocked(place, pattern)
        yield from bench.read(place)


def _each_bit(bench: Bench, place: Place) -> Steps[None]:
    """A one through zeros, then a zero through ones."""
    for ground in (0, place.full):
        for bit in range(8 * place.size):
            yield from bench.write_unlocked(place, ground ^ 1 << bit)
            yield from bench.read(place)


def unlike(index: int, size: int) -> int:
    """A value for the ``index``-th register which no other one gets, with bits set in all bytes."""
    word = (index + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return word >> 64 - 8 * size


def aliasing(bench: Bench) -> Checks:
    """Give every register a value of its own, upwards and downwards in address (keys last), and read all of them."""
    places = [p for p in bench.ground.registers() if not closed(bench, "csr_aliasing", p)]
    stored = [p for p in places if p.writable and p.stores and p.entry.kind is Kind.PLAIN]

    number = {place.path: index for index, place in enumerate(stored)}

    def fill(order: list[Place], flip: int) -> Steps[None]:
        yield from bench.unlock(*order)
        for place in bench.locks.in_order(order):
            yield from bench.write(place, unlike(number[place.path], place.size) ^ flip)

    yield from sweep(bench, "csr_aliasing", lambda: fill(stored, 0))
    yield from sweep(bench, "csr_aliasing", lambda: fill(stored[::-1], -1))


TESTS = (
    Test("csr_hw_reset", "after a reset every register reads its reset value", hw_reset),
    Test("csr_rw", "patterns are stored where bits store, and nowhere else", _on_each("csr_rw", _patterns, read_only=True)),
    Test("csr_bit_bash", "each bit by itself does what its access says", _on_each("csr_bit_bash", _each_bit, read_only=False)),
    Test("csr_aliasing", "writing one register changes no other", aliasing),
)
