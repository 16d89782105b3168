"""Tests of what passes between a register block and its hardware: what it is told, and who wins in one clock.

What hardware is told is the write strobe of a register, the ones written to its pulses, the data of a doorbell, and reads
that clear. Who wins when both change a bit at once is ``Access.tie`` of the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from regmodel.access import OnWrite
from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed
from regmodel.conformance.csr_effects import beyond_bank
from regmodel.conformance.csr_odd import left_alone, legal
from regmodel.conformance.excite import Exciter, unlocked_after
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.registers import Kind

NOT_TOLD = "the target does not say what hardware is told"
NOT_CLOCKED = "hardware cannot act in the clock of an access on this target"
EACH = 2
"""How often each tie is tried: hardware stores values one time, and sets and clears bits the other."""


def _on_each(test: str, make: Callable[[Bench, Place], Check | Skip], able: str, unable: str) -> Callable[[Bench], Checks]:
    """One check per register, on a target that is ``able``, by the name of one of its abilities."""

    def checks(bench: Bench) -> Checks:
        for place in bench.ground.registers():
            if skip := closed(bench, test, place):
                yield skip
            elif not getattr(bench.abilities, able):
                yield Skip(place.path, unable, Outcome.NOT_APPLICABLE)
            else:
                yield make(bench, place)

    return checks


# -- what hardware is told


def _telling(bench: Bench, place: Place) -> Check | Skip:
    return Check(place.path, partial(_listen, bench, place), place.notes)


def _listen(bench: Bench, place: Place) -> Steps[None]:
    """Every access of one register is told, once; narrow ones by the policy; and nothing of any other register."""
    everybody = bench.ground.registers(place.file)
    yield from bench.unlock(place)
    for other in everybody:
        yield from bench.told(other, compare=False)
    yield from bench.read(place)
    yield from bench.told(place)
    pulses = place.bits(OnWrite.PULSE)
    alone = [1 << bit for bit in range(8 * place.size) if pulses >> bit & 1]
    for value in (place.full, 0, 0x5A5A5A5A5A5A5A5A, *alone):
        yield from bench.write(place, value)
        yield from bench.told(place)
        yield from bench.read(place)
        yield from bench.told(place)
    for mask, _ in bench.predictor.effects.get((place.file, place.name), ()):
        yield from bench.act(place, place.rest | mask)
        yield from bench.told(place)
    for size in sorted(s for s in bench.abilities.writes if s < place.size):
        for offset in range(place.offset, place.offset + place.size, size):
            if not left_alone(bench, place.file, offset, size):
                yield from bench.write_at(place.file, offset, size, legal(bench, place.file, offset, size, -1))
                yield from bench.told(place)
    for key in bench.locks.of(place):
        yield from bench.turn(key, key.value)
        yield from bench.write(place, key.within(place, place.full, key.value))
        yield from bench.told(place)
    if (beyond := beyond_bank(bench, place)) is not None:
        index, number = beyond
        yield from bench.write(index, number)
        yield from bench.write(place, place.full)
        yield from bench.told(place)
        yield from bench.write(index, index.reset)
    if place.stores:
        yield from bench.put_back(place)
        yield from bench.told(place)
    for other in everybody:
        yield from bench.told(other)


# -- ties


def _tying(bench: Bench, place: Place) -> Check | Skip:
    exciter = Exciter(bench, place)
    owner = exciter.owner
    hardware = sum(f.mask for f in owner.register.fields if f.access.hardware)
    if place.entry.kind not in (Kind.PLAIN, Kind.ALIAS) or not hardware:
        return Skip(place.path, "hardware changes nothing in it")
    if place.register.banked_by is not None:
        return Skip(place.path, "it is one of a bank")
    if place.size not in bench.abilities.sizes & bench.abilities.writes:
        return Skip(place.path, "an access of it takes more than one clock", Outcome.NOT_APPLICABLE)
    return Check(place.path, partial(_both, bench, place, exciter, hardware), place.notes, anything=True)


def _both(bench: Bench, place: Place, exciter: Exciter, hardware: int) -> Steps[None]:
    """Read and write in the clock in which hardware sets, clears and leaves bits, in both states of them."""
    owner = exciter.owner
    for begin in (exciter.zeros, exciter.ones):
        for value in (owner.full, 0, 0x5A5A5A5A5A5A5A5A & owner.full):
            for written in (None, 0, place.full) if place.writable else (None,):
                for _ in range(EACH):
                    yield from unlocked_after(bench, place, begin)
                    yield from bench.tie(place, written, owner, value, hardware)
                    yield from bench.observe(owner)
    yield from bench.drive(owner, owner.reset, hardware)
    yield from bench.put_back(place)


told = _on_each("csr_told", _telling, "tells", NOT_TOLD)
ties = _on_each("csr_ties", _tying, "clocked", NOT_CLOCKED)

TESTS = (
    Test("csr_told", "hardware is told of writes, pulses, data and reads that clear, once", told),
    Test("csr_ties", "when hardware acts in the clock of an access, the right one wins", ties),
)
