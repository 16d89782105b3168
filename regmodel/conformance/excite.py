"""How to bring registers into another state than their reset value, so that clearing and resetting can be seen."""

from __future__ import annotations

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
        owner = place.register.of or place.name
        self.same = [
            p
            for p in bench.ground.registers(place.file)
            if (p.register.of or p.name) == owner and p.element == place.element and p is not place
        ]
        """Other registers over the same state."""
        self.owner = next((p for p in (place, *self.same) if p.name == owner), place)
        self.setter = next((p for p in (place, *self.same) if p.bits(OnWrite.STORE, OnWrite.ONE_SETS)), None)
        self.clearer = next((p for p in (place, *self.same) if p.bits(OnWrite.STORE, OnWrite.ONE_CLEARS)), None)

    @property
    def possible(self) -> bool:
        return self.bench.abilities.ports or self.setter is not None

    def ones(self) -> Steps[None]:
        """All bits 1, as far as something can set them."""
        if self.bench.abilities.ports:
            yield from self.bench.drive(self.owner, self.owner.full, self._hardware())
        if self.setter is not None:
            yield from self.bench.write(self.setter, self.setter.full)

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
            yield from self.bench.write(self.clearer, self.clearer.full & ~stores)

    def _hardware(self) -> int:
        """The bits of the state that are hardware's."""
        return sum(f.mask for f in self.owner.register.fields if f.access.hardware)


def dirty(bench: Bench, test: str) -> Steps[None]:
    """Give all state another value than its reset value, as far as that can be done.

    Causes and masks first: while what acts on them is still as after reset, they stay as they were written.
    """
    places = [p for p in bench.ground.places if isinstance(p.entry, Register) and not closed(bench, test, p)]
    for place in places:
        if place.register.of is None and place.entry.kind is Kind.PLAIN and not place.bits(OnWrite.STORE):
            yield from Exciter(bench, place).inverse()
    for place in places:
        if place.bits(OnWrite.STORE) and place.register.of is None:
            yield from bench.write(place, ~place.reset)
            if bench.abilities.ports:
                yield from Exciter(bench, place).inverse()
    for place in bench.ground.windows():
        if place.writable and not closed(bench, test, place):
            for i, (offset, size) in enumerate(place.units):
                yield from bench.write_at(place.file, offset, size, (0xD1D1D1D1 + i) & (1 << 8 * size) - 1)
