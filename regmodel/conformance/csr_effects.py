"""Tests of what reading and writing do beside fetching and storing, of resets, and of memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

from regmodel.access import OnRead, OnWrite
from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed, locked_out, sweep
from regmodel.conformance.csr_locks import locking, turnable
from regmodel.conformance.excite import Exciter, dirty, unlocked_after
from regmodel.conformance.places import Place
from regmodel.function import ResetCause
from regmodel.registers import Kind

CHANGING = (
    OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS, OnWrite.ONE_SETS, OnWrite.ONE_TOGGLES, OnWrite.ONCE, OnWrite.PULSE,
)  # fmt: skip


def side_effects(bench: Bench) -> Checks:
    """Registers whose reading or writing does more than fetch or store."""
    for place in bench.ground.registers():
        changing, reading = place.bits(*CHANGING), place.bits(OnRead.CLEAR, OnRead.SET)
        acting = [(m, e) for m, e in bench.predictor.effects.get((place.file, place.name), ())]
        if skip := closed(bench, "csr_side_effects", place) or locked_out(bench, place):
            yield skip
        elif place.register.banked_by is not None:
            yield Check(place.path, partial(_in_turn, partial(_banked, bench, place), partial(locking, bench, place)))
        elif bench.ground.doorbell(place):
            yield Check(place.path, partial(_event, bench, place))
        elif not (changing or reading or acting) and turnable(bench, place):
            yield Check(place.path, partial(locking, bench, place))
        elif not (changing or reading or acting):
            yield Skip(place.path, "accesses of it have no side effects")
        elif (reading or place.bits(OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS)) and not Exciter(bench, place).possible:
            yield Skip(place.path, "only hardware sets its bits, and the target has no hardware-side ports")
        else:
            yield Check(place.path, partial(_in_turn, partial(_provoke, bench, place), partial(locking, bench, place)))


def _in_turn(*parts: Callable[[], Steps[None]]) -> Steps[None]:
    for part in parts:
        yield from part()


def _provoke(bench: Bench, place: Place) -> Steps[None]:
    """Every way in which a side effect could be missing, in both states of the bits, seen through every view of them."""
    yield from bench.unlock(place)
    exciter = Exciter(bench, place)
    views = (place, *(p for p in exciter.same if p.register.of is None or p.entry.kind is Kind.ALIAS))

    def look() -> Steps[None]:
        for view in views:
            yield from bench.read(view)

    yield from exciter.ones()
    yield from look()
    yield from look()
    for value in (0, place.full):
        for begin in (exciter.ones, exciter.zeros):
            yield from unlocked_after(bench, place, begin)
            yield from bench.write(place, value)
            yield from look()
    interesting = place.bits(*CHANGING) | place.bits(OnRead.CLEAR, OnRead.SET)
    for bit in range(8 * place.size):
        if interesting >> bit & 1:
            for begin in (exciter.ones, exciter.zeros):
                yield from unlocked_after(bench, place, begin)
                yield from bench.write(place, 1 << bit)
                yield from look()
                yield from bench.write(place, 1 << bit)
                yield from look()
    for mask, effect in bench.predictor.effects.get((place.file, place.name), ()):
        if effect.resets is None:
            yield from bench.act(place, place.rest | mask)
            yield from bench.read(place)
    if bench.abilities.resets and place.bits(OnWrite.ONCE):
        for value, opens in product((0, place.full), (False, True) if bench.locks.of(place) else (False,)):
            yield from bench.start()
            if opens:
                yield from bench.unlock(place)
            yield from bench.write(place, value)
            yield from bench.write(place, ~value)
            yield from bench.read(place)
    yield from exciter.zeros()
    yield from bench.start()


def _event(bench: Bench, place: Place) -> Steps[None]:
    """A doorbell stores nothing; a command reads as the device leaves it, never as it was written."""
    for value in (place.full, 0, 0x5A5A5A5A5A5A5A5A):
        yield from bench.write(place, value)
        yield from bench.read(place)


def _banked(bench: Bench, place: Place) -> Steps[None]:
    """Each instance keeps its own value; beyond the last there is none."""
    assert place.register.banked_by is not None
    select, count = place.register.banked_by
    index = next(p for p in bench.ground.registers(place.file) if p.name == select)
    beyond = [count] if beyond_bank(bench, place) is not None else []
    yield from bench.unlock(place)
    for flip in (0, -1):
        for i in (*range(count), *beyond):
            yield from bench.write(index, i)
            yield from bench.unlock(place, reset=False)
            yield from bench.write(place, (0x1111111111111111 * (i + 1)) ^ flip)
        for i in (*range(count), *beyond):
            yield from bench.write(index, i)
            yield from bench.read(place)
    yield from bench.write(index, index.reset)


def beyond_bank(bench: Bench, place: Place) -> tuple[Place, int] | None:
    """What selects an instance of a banked register, and a number of none that it can hold; None if there is no such."""
    if place.register.banked_by is None:
        return None
    select, count = place.register.banked_by
    index = next(p for p in bench.ground.registers(place.file) if p.name == select)
    return (index, count) if count <= index.writable and index.legal(count) == count else None


# -- reset domains


def reset_domains(bench: Bench) -> Checks:
    """Each reset reaches what it should, and nothing else."""
    for cause in ResetCause:
        if cause in bench.abilities.resets:
            yield from sweep(bench, "reset_domains", partial(_dirty_and, bench, partial(bench.reset, cause)))
    for (file, name), effects in bench.predictor.effects.items():
        for mask, effect in effects:
            if effect.resets is not None:
                place = next(p for p in bench.ground.registers(file) if p.name == name)
                if skip := closed(bench, "reset_domains", place):
                    yield skip
                    continue
                act = partial(bench.act, place, place.rest | mask)
                yield from sweep(bench, "reset_domains", partial(_dirty_and, bench, act))


def _dirty_and(bench: Bench, then: Callable[[], Steps[None]]) -> Steps[None]:
    yield from bench.start()
    yield from dirty(bench, "reset_domains")
    yield from then()


# -- memory


def mem_walk(bench: Bench) -> Checks:
    """Every word of a window holds its own value, every byte can be written alone, every bit goes both ways."""
    for place in bench.ground.windows():
        if skip := closed(bench, "mem_walk", place):
            yield skip
        elif not place.writable:
            yield Skip(place.path, "it cannot be written")
        else:
            yield Check(place.path, partial(_walk, bench, place))


def _walk(bench: Bench, place: Place) -> Steps[None]:
    """By words; by bytes where it is no whole number of aligned words. Every bit of one word; every byte of some alone."""
    unit = place.units[0][1]
    places = [at for at, _ in place.units]
    full = (1 << 8 * unit) - 1
    for flip in (0, full):
        for i, at in enumerate(places):
            yield from bench.write_at(place.file, at, unit, ((i + 1) * 0x9E3779B1 & full) ^ flip)
        for at in places:
            yield from bench.read_at(place.file, at, unit)
    for bit in range(8 * unit):
        yield from bench.write_at(place.file, place.offset, unit, 1 << bit)
        yield from bench.read_at(place.file, place.offset, unit)
    if unit == 4 and 1 in bench.abilities.writes:
        for at in places[:4]:
            for byte in range(4):
                yield from bench.write_at(place.file, at + byte, 1, 0xA0 + byte)
                yield from bench.read_at(place.file, at, 4)
    for at in places:
        yield from bench.write_at(place.file, at, unit, 0)


TESTS = (
    Test("csr_side_effects", "clearing, setting, pulses, write-once bits and locks do what they should, once", side_effects),
    Test("reset_domains", "each reset reaches what it should and leaves the rest", reset_domains),
    Test("mem_walk", "windows are memory", mem_walk),
)
