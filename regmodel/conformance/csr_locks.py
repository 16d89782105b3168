"""What ``csr_side_effects`` does with a register that has locks: writes land while they are open, and do not while one is shut.

Everything else is as in all tests: what is read is compared with the prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from regmodel.access import OnRead, OnWrite
from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.excite import Exciter, unlocked_after
from regmodel.conformance.locks import Key
from regmodel.conformance.places import Place

WORDS = (0x5A5A5A5A5A5A5A5A, 0xA5A5A5A5A5A5A5A5)
NEIGHBOURS = 2
"""Instances of a bank in which a lock is shut one by one."""


def turnable(bench: Bench, place: Place) -> bool:
    """There is a lock that a test can shut."""
    return any(bench.turns(key, key.value) for key in bench.locks.of(place))


def locking(bench: Bench, place: Place) -> Steps[None]:
    """Each lock of a register: open with every other value of its key, shut, open again."""
    for key in bench.locks.of(place):
        if bench.turns(key, key.value):
            for value in (*key.others, key.value):
                if bench.turns(key, value):
                    yield from _with(bench, place, key, value)
            yield from _elsewhere(bench, place, key)
            yield from bench.unlock(place)
            yield from _write(bench, place, key)
            yield from bench.put_back(place)
            yield from bench.put_back(key.holder)


def _with(bench: Bench, place: Place, key: Key, value: int) -> Steps[None]:
    """Writes while the key holds ``value``, in whole and in part, to bits that are 1 as far as something can set them, and
    that have not been written before where that counts.
    """
    exciter, acting, once = Exciter(bench, place), bool(place.bits(*_ACTING)), bool(place.bits(OnWrite.ONCE))
    for word, excited in product(WORDS, (False, True) if acting and once else (acting,)):
        if once:
            yield from bench.start()
        if excited:
            yield from unlocked_after(bench, place, exciter.ones)
        else:
            yield from bench.unlock(place)
        yield from bench.turn(key, value)
        yield from _write(bench, place, key, word, value)
    if key.holder is place and value == key.value and key.mask & key.field.mask:
        yield from _write(bench, place, key)  # which would open it, if it did not lock itself
    for at in range(place.size) if 1 in bench.abilities.writes else ():
        byte = key.within(place, place.legal(WORDS[0]), value) >> 8 * at & 0xFF
        yield from bench.write_at(place.file, place.offset + at, 1, byte)
        yield from _look(bench, place)


_ACTING = (OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS, OnRead.CLEAR)


def _elsewhere(bench: Bench, place: Place, key: Key) -> Steps[None]:
    """The key of another element, or of another instance, is not the key to this one."""
    beside = [p for p in bench.ground.registers(place.file) if p.name == place.name and p.element != place.element][:1]
    for other in beside if place.register.is_array else ():
        for theirs in bench.locks.of(other):
            if theirs.holder is not key.holder and theirs.field is key.field:
                yield from bench.unlock(place, other)
                yield from bench.turn(theirs, theirs.value)
                yield from _write(bench, place, key)
                yield from bench.unlock(other)
    if key.holder.register.banked_by is not None:
        yield from _instances(bench, place, key, *key.holder.register.banked_by)


def _instances(bench: Bench, place: Place, key: Key, select: str, count: int) -> Steps[None]:
    """Shut one instance after the other, and write to all; then open them again."""
    index = next(p for p in bench.ground.registers(place.file) if p.name == select)
    instances = range(min(count, NEIGHBOURS))

    def each(does: Callable[[], Steps[None]]) -> Steps[None]:
        for i in instances:
            yield from bench.write(index, i)
            yield from does()

    for shut in instances:
        yield from bench.unlock(place)
        yield from each(lambda: bench.unlock(place, reset=False))
        yield from bench.write(index, shut)
        yield from bench.turn(key, key.value)
        yield from each(lambda: _write(bench, place, key))
    yield from bench.unlock(place)
    yield from each(lambda: bench.unlock(place, reset=False))
    yield from each(lambda: bench.write(place, place.reset))
    yield from bench.write(index, index.reset)


def _write(bench: Bench, place: Place, key: Key, word: int | None = None, value: int | None = None) -> Steps[None]:
    """Write ``word`` (or one word and its opposite) and look; the key keeps what it holds if it stands in the register."""
    held = key.others[0] if value is None else value
    for data in WORDS if word is None else (word,):
        yield from bench.write(place, key.within(place, data & place.full, held))
        yield from _look(bench, place)


def _look(bench: Bench, place: Place) -> Steps[None]:
    """Read all that shows the state, and see what it is where hardware does."""
    for view in bench.ground.sharing(place):
        yield from bench.read(view)
        if bench.abilities.ports and view.name == view.owner:
            yield from bench.observe(view)
