"""What is known of a device under test at each moment: the oracle's bits, and which of them can be relied on.

The oracle works out what every bit must be. A real device is not met freshly out of the box, though, and hardware writes
to some of its bits by itself. So each bit of state is *known* or not: a reset or a write makes it known, reading an unknown
one teaches its value, and what hardware may change at any moment (*restless* bits) is never relied on, unless the judge is
the hardware. Only known bits are compared; the others are, in the judge's words, volatile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from regmodel.access import Access, OnRead, OnWrite
from regmodel.conduct import Conduct, Effect, base_of, find_field
from regmodel.conformance.oracle import Bit, Oracle
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Register, Window


@dataclass(frozen=True, slots=True)
class Expected:
    """The answer to one read: ``value`` under the bits of ``care``; the others may read anything."""

    value: int
    care: int
    met: list[tuple[int, Bit, Access]]
    unknown: int

    def differs(self, got: int) -> int:
        """The bits in which ``got`` is wrong."""
        return (got ^ self.value) & self.care


class File:
    """One register file: its oracle, and what is known of it."""

    def __init__(self, bar: Bar, quiet: Iterable[str], running: Iterable[str], alone: bool) -> None:
        """``alone``: hardware is the judge itself, so that nothing changes unless it says so."""
        self.bar, self.oracle = bar, Oracle(bar)
        self.unknown: set[Bit] = set()
        self.running = self.bits_of(running)
        self.alone = alone
        self.restless = self.running | (set() if alone else self._hardware() - self.bits_of(quiet))
        self.driven: set[Bit] = set()
        """Restless bits that the judge itself has stored, as hardware: known until somebody says otherwise."""
        self.acted: Counter[tuple[str, int]] = Counter()
        """How often a read of (register, element) had a side effect, until ``telling`` takes it."""
        self.pulsed: dict[tuple[str, int], int] = {}
        """The ones written to pulses of (register, element), likewise."""
        self.fixed = self._never_change()
        self.forget()

    def bits_of(self, names: Iterable[str]) -> set[Bit]:
        found: set[Bit] = set()
        for name in names:
            if base_of(name) in self.bar.entries:
                register, element, mask = find_field(self.bar.entries, name)
                found |= {b for b in self._state_of(register) if mask >> b.number & 1 and element in (None, b.element)}
        return found

    def _state_of(self, name: str) -> Iterable[Bit]:
        """All bits of state of a register or window."""
        entry = self.bar.entries[name]
        owner = entry.of or name if isinstance(entry, Register) else name
        instances = entry.banked_by[1] if isinstance(entry, Register) and entry.banked_by else 1
        for element in range(len(entry.offsets)):
            for instance in range(instances):
                for number in range(8 * entry.size):
                    yield Bit(owner, element, instance, number)

    def _hardware(self) -> set[Bit]:
        """The bits that their owner's description lets hardware write."""
        found: set[Bit] = set()
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Window):
                found |= set(self._state_of(name)) if entry.access.hardware else set()
            elif entry.of is None:
                mask = sum(f.mask for f in entry.fields if f.access.hardware)
                found |= {bit for bit in self._state_of(name) if mask >> bit.number & 1}
        return found

    def _never_change(self) -> set[Bit]:
        """The bits that nobody and no reset changes: they are known without having been seen."""
        found: set[Bit] = set()
        for name, entry in self.bar.entries.items():
            if not isinstance(entry, Register) or entry.of is not None or len(set(entry.resets.values())) > 1:
                continue
            aliases = {n for n, e in self.bar.entries.items() if isinstance(e, Register) and e.of == name}
            for f in entry.fields if not aliases else ():
                if not (f.access.writable or f.access.hardware or f.access.onread is not OnRead.NOTHING):
                    found |= {bit for bit in self._state_of(name) if f.mask >> bit.number & 1}
        return found

    def forget(self, names: Iterable[str] | None = None) -> None:
        """Nothing is known of these registers any more (all, when None)."""
        for name in self.bar.entries if names is None else names:
            self.unknown |= set(self._state_of(name)) - self.fixed
            self.driven -= set(self._state_of(name))

    def known(self, bit: Bit) -> bool:
        return bit not in self.unknown and (bit not in self.restless or bit in self.driven)

    def _selected(self, met: list[tuple[int, Bit, Access]]) -> bool:
        """Whether it is known which instances of banks an access meets."""
        for owner in {bit.owner for _, bit, _ in met}:
            entry = self.bar.entries[owner]
            if isinstance(entry, Register) and entry.banked_by:
                select = entry.banked_by[0]
                if not all(self.known(bit) for bit in self._state_of(select)):
                    return False
        return True

    # -- accesses

    def expect(self, offset: int, size: int) -> Expected:
        """A read, as the oracle does it; ``took`` has to be told the answer."""
        met = self.oracle.met(offset, size)
        sure = self._selected(met)
        for place in self.oracle.places(offset, size):
            if isinstance(place.entry, Register) and any(f.access.onread is not OnRead.NOTHING for f in place.entry.fields):
                self.acted[place.name, place.element] += 1
        unknown = 0
        for at, bit, access in met:
            if access.readable and not (sure and self.known(bit)):
                unknown |= 1 << at
        return Expected(self.oracle.read(offset, size), (1 << 8 * size) - 1 & ~unknown, met, unknown)

    def took(self, expected: Expected, got: int) -> None:
        """The device answered ``got``: what was unknown is known now, as far as it can be."""
        for at, bit, access in expected.met:
            if access.onread is not OnRead.NOTHING:
                self.unknown.discard(bit)
            elif expected.unknown >> at & 1 and bit not in self.restless:
                self.oracle.bits[bit] = got >> at & 1
                self.unknown.discard(bit)

    def write(self, offset: int, size: int, value: int) -> None:
        """A write: what it determines is known."""
        met = self.oracle.met(offset, size)
        sure = self._selected(met)
        self.oracle.write(offset, size, value)
        for place in self.oracle.places(offset, size):
            shift = 8 * (offset - place.at)
            ones = (value << shift if shift >= 0 else value >> -shift) & _pulses(place.entry)
            self.pulsed[place.name, place.element] = self.pulsed.get((place.name, place.element), 0) | ones
        for at, bit, access in met:
            if not sure:
                self.forget([bit.owner])
            elif _determines(access, value >> at & 1):
                self.unknown.discard(bit)

    def telling(self, name: str, element: int) -> tuple[int, int, int]:
        """What hardware was told of a register since this was last asked, as ``accesses.telling`` takes it."""
        entry, events = self.bar.entries[name], self.oracle.events
        assert isinstance(entry, Register)
        mine = [e for e in events if (e.name, e.element) == (name, element)]
        self.oracle.events = [e for e in events if (e.name, e.element) != (name, element)]
        writes = len(mine) if any(f.access.writable for f in entry.fields) else 0
        ones = self.pulsed.pop((name, element), 0)
        if entry.kind in (Kind.DOORBELL, Kind.COMMAND):
            ones = 0
            for event in mine:
                ones |= event.new
        return writes, self.acted.pop((name, element), 0), ones

    def drive(self, offset: int, size: int, value: int, mask: int) -> None:
        """The judge stores bits as hardware does, and knows them."""
        for at, bit, _ in self.oracle.met(offset, size):
            if mask >> at & 1 and bit not in self.running:
                self.oracle.bits[bit] = value >> at & 1
                self.unknown.discard(bit)
                self.driven.add(bit)

    def reset(self, cause: ResetCause) -> None:
        """What ``cause`` reaches is known, and restless again."""
        self.oracle.reset(cause)
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Window):
                reached = set(self._state_of(name)) if cause not in entry.survives else set()
            elif entry.of is None:
                mask = sum(f.mask for f in entry.fields if cause not in f.survives)
                reached = {bit for bit in self._state_of(name) if mask >> bit.number & 1}
            else:
                continue
            self.unknown -= reached
            self.driven -= reached
        if not self.alone:
            self.driven.clear()  # hardware has its say again


def _pulses(entry: Entry) -> int:
    """The bits that act and read 0."""
    return sum(f.mask for f in entry.fields if f.access.onwrite is OnWrite.PULSE) if isinstance(entry, Register) else 0


def _determines(access: Access, written: int) -> bool:
    """Whether writing ``written`` leaves a value that does not depend on the one before."""
    match access.onwrite:
        case OnWrite.STORE | OnWrite.PULSE:
            return True
        case OnWrite.ONE_CLEARS | OnWrite.ONE_SETS:
            return bool(written)
        case OnWrite.ZERO_CLEARS:
            return not written
        case OnWrite.NOTHING | OnWrite.ONE_TOGGLES | OnWrite.ONCE:
            return False


class Predictor:
    """All register files of a function: BARs by index, configuration space as 7."""

    def __init__(self, files: Mapping[int, Bar], conduct: Conduct, alone: bool) -> None:
        self.touched = () if alone else conduct.touched
        self.files = {index: File(bar, conduct.quiet, conduct.free_running, alone) for index, bar in files.items()}
        self.effects: dict[tuple[int, str], list[tuple[int, Effect]]] = {}
        for effect in conduct.effects:
            for index, bar in files.items():
                if base_of(effect.field) in bar.entries:
                    register, _, mask = find_field(bar.entries, effect.field)
                    self.effects.setdefault((index, register), []).append((mask, effect))

    def write(self, file: int, offset: int, size: int, value: int) -> list[Effect]:
        """A write, and what it sets going (which has happened, as far as is known)."""
        self.files[file].write(offset, size, value)
        happened: list[Effect] = []
        for place in self.files[file].oracle.places(offset, size):
            shift = 8 * (offset - place.at)
            written = value << shift if shift >= 0 else value >> -shift
            happened += [effect for mask, effect in self.effects.get((file, place.name), ()) if written & mask]
        for effect in happened:
            if effect.resets is not None:
                self.reset(effect.resets)
            self.forget(effect.changes)
        return happened

    def reset(self, cause: ResetCause) -> None:
        for file in self.files.values():
            file.reset(cause)
        self.forget(touched.field for touched in self.touched if cause in touched.causes)

    @property
    def names(self) -> list[str]:
        """All registers of all files."""
        return [name for file in self.files.values() for name in file.bar.entries]

    def forget(self, names: Iterable[str]) -> None:
        """Nothing is known of these registers (or fields) any more."""
        names = tuple(names)
        for file in self.files.values():
            for name in names:
                if base_of(name) in file.bar.entries:
                    bits = file.bits_of([name])
                    file.unknown |= bits - file.fixed
                    file.driven -= bits
