"""What tests of a working device share: accesses that are not predicted, claims, and waiting.

While interrupts, messages and packets move, hardware writes to registers; the oracle knows nothing of that. So these tests
say themselves what they expect, and afterwards nothing is known of the device until it has been reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from regmodel.conformance.accesses import ALIVE, ROUNDS, Fired, Now, Read, Steps, Wait, Write
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Skip
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.function import CONFIG_REGION
from regmodel.registers import Register

NAP = 0.001


class Live:
    """A working device. ``about`` is the register that findings are written under."""

    def __init__(self, bench: Bench, about: str) -> None:
        self.bench, self.about = bench, about

    def place(self, name: str, element: int = 0) -> Place:
        """A register by name. Raises KeyError."""
        for place in self.bench.ground.places:
            if place.name == name and place.element == element:
                return place
        raise KeyError(name)

    def get(self, name: str, element: int = 0) -> Steps[int]:
        """Read a register."""
        place = self.place(name, element)
        return (yield Read(place.file, place.offset, place.size))

    def field(self, name: str, element: int = 0) -> Steps[int]:
        """Read ``register.field``."""
        register, _, part = name.partition(".")
        value = yield from self.get(register, element)
        entry = self.place(register, element).entry
        assert isinstance(entry, Register)
        return entry.named[part].of(value)

    def put(self, name: str, value: int, element: int = 0) -> Steps[None]:
        """Write a register, or ``register.field`` with the other fields 0."""
        register, _, part = name.partition(".")
        place = self.place(register, element)
        if part:
            assert isinstance(place.entry, Register)
            value = place.entry.named[part].into(0, value)
        yield Write(place.file, place.offset, place.size, value)

    def change(self, name: str, value: int, element: int = 0) -> Steps[None]:
        """Write ``register.field`` and leave the other fields as they are."""
        register, _, part = name.partition(".")
        word = yield from self.get(register, element)
        entry = self.place(register, element).entry
        assert isinstance(entry, Register)
        yield from self.put(register, entry.named[part].into(word, value), element)

    def claim(self, truth: bool, otherwise: str) -> bool:
        """Something that has to be so; ``otherwise`` says what is instead."""
        self.bench.sheet.compared[self.about] |= 1
        if not truth:
            self.bench.complain(self.about, otherwise)
        return truth

    def until(self, look: Callable[[], Steps[bool]], seconds: float) -> Steps[bool]:
        """``look`` again and again until it is so, at most ``seconds`` in which the device does not stand still: ``ROUNDS``."""
        if (yield from self.within(look, seconds)):
            return True
        for _ in range(ROUNDS):
            yield from self._answered()
            yield Wait(NAP)
            if (yield from look()):
                return True
        return False

    def within(self, look: Callable[[], Steps[bool]], seconds: float) -> Steps[bool]:
        """The same by the clock alone: for what must not come."""
        began = yield Now()
        while not (yield from look()):
            if (yield Now()) - began > seconds * 1e6:
                return False
            yield Wait(NAP)
        return True

    def caught_up(self) -> Steps[None]:
        """What the device was told before, by whomever, has reached it, and it has done what it does about that."""
        for _ in range(ROUNDS):
            yield from self._answered()
            yield Wait(NAP)

    def fired(self, seconds: float) -> Steps[int]:
        """``Fired``, of which at least one has to come; waits as ``until`` does."""
        got = yield Fired(seconds)
        for _ in range(ROUNDS):
            if got:
                break
            yield from self._answered()
            got = yield Fired(NAP)
        return got

    def _answered(self) -> Steps[None]:
        """A round trip to the device, if its configuration space can be reached; else the naps have to do."""
        if CONFIG_REGION in self.bench.ground.files:
            yield ALIVE


def live(bench: Bench, about: str, work: Callable[[Live], Steps[None]]) -> Check:
    """A check on a working device, which is reset before and after."""

    def steps() -> Steps[None]:
        yield from bench.start()
        yield from work(Live(bench, about))
        yield from bench.start()

    return Check(about, steps)


def not_applicable(about: str, *needs: tuple[bool, str]) -> Iterator[Skip]:
    """The first of ``needs`` that is not met, as the reason to do nothing."""
    for met, why in needs:
        if not met:
            yield Skip(about, why, Outcome.NOT_APPLICABLE)
            return
