"""How to bring registers into another state than their reset value, so that clearing and resetting can be seen."""

from __future__ import annotations

from collections.abc import Callable

from regmodel.access import OnWrite
from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import closed
from regmodel.conformance.places import Place
from regmodel.registers import Kind, Register


class Exciter:
    """How the bits behind a register can be made 1 (or 0), so that clearing them is seen."""

    def __init__(self, bench: Bench, place: Place) -> None:
        self.bench, self.place = bench, place
        self.same = [p for p in bench.ground.sharing(place) if p is not place]
        """Other registers over the same state."""
        self.owner = next((p for p in (place, *self.same) if p.name == place.owner), place)
        self.setter = next((p for p in (place, *self.same) if p.bits(OnWrite.STORE, OnWrite.ONE_SETS)), None)
        self.clearer = next((p for p in (place, *self.same) if p.bits(OnWrite.STORE, OnWrite.ONE_CLEARS)), None)

    @property
    def possible(self) -> bool:
        return self.bench.abilities.ports or self.setter is not None

    def ones(self) -> Steps[None]:
        """All bits 1, as far as something can set them; hardware last, because what sets some bits may clear others."""
        if self.setter is not None:
            yield from self.bench.write(self.setter, self._kept_open(self.setter, self.setter.full))
        if self.bench.abilities.ports:
            yield from self.bench.drive(self.owner, self.owner.full, self._hardware())

    def inverse(self) -> Steps[None]:
        """The opposite of the reset value, as far as something can set it."""
        if self.bench.abilities.ports:
            yield from self.bench.drive(self.owner, ~self.owner.reset & self.owner.full, self._hardware())
        elif self.setter is not None and not self.owner.reset:
            yield from self.bench.write(self.setter, self.setter.full)

    def zeros(self) -> Steps[None]:
        """All bits 0, likewise."""
        if self.bench.abilities.ports:
            yield from self.bench.drive(self.owner, 0, self._hardware())
        if self.clearer is not None:
            stores = self.clearer.bits(OnWrite.STORE)
            yield from self.bench.write(self.clearer, self._kept_open(self.clearer, self.clearer.full & ~stores))

    def _kept_open(self, view: Place, word: int) -> int:
        """``word`` for a register, without shutting a lock of this one that only a reset would open again."""
        for key in self.bench.locks.of(self.place):
            word = word if self.bench.locks.opening(key) else key.kept_open(view, word)
        return word

    def _hardware(self) -> int:
        """The bits of the state that are hardware's."""
        return sum(f.mask for f in self.owner.register.fields if f.access.hardware)


def unlocked_after(bench: Bench, place: Place, begin: Callable[[], Steps[None]]) -> Steps[None]:
    """``begin``, and the locks of a register are open: what it takes a reset to open, first."""
    yield from bench.unlock(place)
    yield from begin()
    yield from bench.unlock(place, reset=False)


def dirty(bench: Bench, test: str) -> Steps[None]:
    """Give all state another value than its reset value, as far as that can be done.

    Causes and masks first: while what acts on them is still as after reset, they stay as they were written. Keys last.
    """
    places = [p for p in bench.ground.places if isinstance(p.entry, Register) and not closed(bench, test, p)]
    yield from bench.unlock(*places)
    events = [p for p in places if p.register.of is None and p.entry.kind is Kind.PLAIN and not p.bits(OnWrite.STORE)]
    stored = [p for p in places if p.register.of is None and p.bits(OnWrite.STORE)]
    for place in bench.locks.in_order([*events, *stored]):
        if place.bits(OnWrite.STORE):
            yield from bench.write(place, ~place.reset)
        if bench.abilities.ports or not place.bits(OnWrite.STORE):
            yield from Exciter(bench, place).inverse()
    for place in bench.ground.windows():
        if place.writable and not closed(bench, test, place):
            for i, (offset, size) in enumerate(place.units):
                yield from bench.write_at(place.file, offset, size, (0xD1D1D1D1 + i) & (1 << 8 * size) - 1)
