"""What is known of a device under test at each moment: the oracle's bits, and which of them can be relied on.

The oracle works out what every bit must be. A real device is not met freshly out of the box, though, and hardware writes
to some of its bits by itself. So each bit of state is *known* or not: a reset or a write makes it known, reading an unknown
one teaches its value, and what hardware may change at any moment (*restless* bits) is never relied on, unless the judge is
the hardware. Only known bits are compared; the others are, in the judge's words, volatile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

from regmodel.access import Access, OnRead, OnWrite
from regmodel.bits import Field
from regmodel.conduct import Conduct, Effect, Same, base_of, find_field, knows
from regmodel.conformance.oracle import Bit, Met, Oracle, Place
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Register, Window

_LEAVES = OnRead.NOTHING  # members of an enumeration are found through its metaclass, which takes a while


class Meeting:
    """What one access meets, and what it does there; of registers this is worked out once."""

    def __init__(
        self, met: list[Met], places: list[Place], entries: Mapping[str, Entry], keys: Iterable[tuple[Bit, list[Bit]]] = ()
    ) -> None:
        self.bits, self.places, self.keys = met, places, tuple(keys)
        self.owners = {bit.owner for _, bit, _ in met}
        self.memory = any(isinstance(place.entry, Window) for place in places)
        registers = [(place, place.entry) for place in places if isinstance(place.entry, Register)]
        owners = [entries[name] for name in self.owners]
        self.selectors = [e.banked_by[0] for e in owners if isinstance(e, Register) and e.banked_by is not None]
        """The registers that say which instances of banks are met."""
        self.acting = [(p.name, p.element) for p, e in registers if any(f.access.onread is not _LEAVES for f in e.fields)]
        """The registers that reading changes."""
        self.pulses = [(p, mask) for p, e in registers if (mask := _pulses(e))]

    @cached_property
    def readable(self) -> list[tuple[int, Bit]]:
        return [(at, bit) for at, bit, access in self.bits if access.readable]

    @cached_property
    def seen(self) -> frozenset[Bit]:
        """The readable ones."""
        return frozenset(bit for _, bit in self.readable)

    @cached_property
    def changed(self) -> list[Bit]:
        """Those that reading gives a value."""
        return [bit for _, bit, access in self.bits if access.onread is not _LEAVES]

    @cached_property
    def determined(self) -> frozenset[Bit]:
        """Those that any write gives a value."""
        return frozenset(bit for _, bit, access in self.bits if _determines(access, 0) and _determines(access, 1))

    @cached_property
    def undetermined(self) -> list[tuple[int, int, Bit]]:
        """Those that a write of 0, or of 1, gives a value: where in the access, which of the two, and the bit."""
        both = [(at, value, bit) for at, bit, access in self.bits for value in (0, 1) if _determines(access, value)]
        return [one for one in both if one[2] not in self.determined]


NOTHING = Meeting([], [], {})
"""There may be megabytes of it."""


@dataclass(slots=True)
class Expected:
    """The answer to one read: ``value`` under the bits of ``care``; the others may read anything."""

    value: int
    care: int
    met: Meeting
    unknown: int

    def differs(self, got: int) -> int:
        """The bits in which ``got`` is wrong."""
        return (got ^ self.value) & self.care


class Memory:
    """Which bits of a window are known: none but those that were learned, or all since a reset but those that were not."""

    def __init__(self) -> None:
        self._known = False
        self._others: set[Bit] = set()

    def all(self, *, known: bool) -> None:
        self._known, self._others = known, set()

    def knows(self, bit: Bit) -> bool:
        return self._known != (bit in self._others)

    def learn(self, bit: Bit) -> None:
        if not self._known:
            self._others.add(bit)


class File:
    """One register file: its oracle, and what is known of it."""

    def __init__(self, bar: Bar, quiet: Iterable[str], running: Iterable[str], alone: bool, widest: int) -> None:
        """``alone``: hardware is the judge itself, so that nothing changes unless it says so. ``widest``: as of the oracle."""
        self.bar, self.oracle = bar, Oracle(bar, widest)
        self._meetings: dict[tuple[int, int], Meeting] = {}
        self._states: dict[str, frozenset[Bit]] = {}
        self.unknown: set[Bit] = set()
        """Of registers; of windows see ``memory``."""
        self.learned: set[Bit] = set()
        """The known bits of registers that an answer of the device made known."""
        self.running = self.bits_of(running)
        self.alone = alone
        self.restless = self.running | (set() if alone else self._hardware() - self.bits_of(quiet))
        self.memory = {name: Memory() for name, entry in bar.entries.items() if isinstance(entry, Window)}
        moving = {name for name in self.memory if bar.entries[name].access.hardware} - {*quiet} if not alone else set()
        self._restless_memory = moving | {name for name in running if name in self.memory}
        self.driven: set[Bit] = set()
        """Restless bits that the judge itself has stored, as hardware: known until somebody says otherwise."""
        self.acted: Counter[tuple[str, int]] = Counter()
        """How often a read of (register, element) had a side effect, until ``telling`` takes it."""
        self.pulsed: dict[tuple[str, int], int] = {}
        """The ones written to pulses of (register, element), likewise."""
        self.fixed = self._never_change()
        self._reach: dict[ResetCause, set[Bit]] = {}
        self.forget()

    def bits_of(self, names: Iterable[str]) -> set[Bit]:
        """Of registers and fields."""
        found: set[Bit] = set()
        for name in names:
            if knows(self.bar.entries, name) and isinstance(self.bar.entries[base_of(name)], Register):
                register, element, mask = find_field(self.bar.entries, name)
                found |= {b for b in self._state_of(register) if mask >> b.number & 1 and element in (None, b.element)}
        return found

    def _state_of(self, name: str) -> frozenset[Bit]:
        """All bits of state of a register; a window has too many to be listed."""
        if name not in self._states:
            self._states[name] = frozenset(self._list_state(name))
        return self._states[name]

    def _list_state(self, name: str) -> Iterator[Bit]:
        entry = self.bar.entries[name]
        if not isinstance(entry, Register):
            return
        owner = entry.of or name
        instances = entry.banked_by[1] if entry.banked_by else 1
        for element in range(len(entry.offsets)):
            for instance in range(instances):
                for number in range(8 * entry.size):
                    yield Bit(owner, element, instance, number)

    def _hardware(self) -> set[Bit]:
        """The bits that their owner's description lets hardware write."""
        found: set[Bit] = set()
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Register) and entry.of is None:
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
            if name in self.memory:
                self.memory[name].all(known=False)
                self.driven = {bit for bit in self.driven if bit.owner != name}
            else:
                self.unknown |= self._state_of(name) - self.fixed
                self.driven -= self._state_of(name)

    def known(self, bit: Bit) -> bool:
        if bit.owner in self.memory:
            return self.memory[bit.owner].knows(bit) and (bit.owner not in self._restless_memory or bit in self.driven)
        return bit not in self.unknown and (bit not in self.restless or bit in self.driven)

    def predicted(self, bit: Bit) -> bool:
        """The oracle has what was last given to it, and without an answer of the device; hardware may have changed it."""
        return bit not in self.unknown and bit not in self.learned

    def predict(self, offset: int, size: int, mask: int) -> int | None:
        """The bits under ``mask`` of an access to registers, if they are known without an answer of the device."""
        met = self._meeting(offset, size)
        selects = [bit for select in met.selectors for bit in self._state_of(select)]
        bits = [(at, bit) for at, bit, _ in met.bits if mask >> at & 1]
        if not bits or not all(self.known(bit) and self.predicted(bit) for bit in (*selects, *(bit for _, bit in bits))):
            return None
        return sum(self.oracle.bits.get(bit, 0) << at for at, bit in bits)

    def moves(self, bit: Bit) -> bool:
        """Hardware may change it at any moment."""
        return bit in self.restless or bit.owner in self._restless_memory

    def _learn(self, bit: Bit) -> None:
        if bit.owner in self.memory:
            self.memory[bit.owner].learn(bit)
        else:
            self.unknown.discard(bit)
            self.learned.discard(bit)

    def _meeting(self, offset: int, size: int) -> Meeting:
        found = self._meetings.get((offset, size))
        if found is None:
            places = self.oracle.places(offset, size)
            oracle = self.oracle
            found = NOTHING
            if places:
                found = Meeting(oracle.met(offset, size), places, self.bar.entries, oracle.keys(offset, size))
            if self.oracle.always(offset, size):
                self._meetings[offset, size] = found
        return found

    def _selected(self, met: Meeting) -> bool:
        """Whether it is known which instances of banks an access meets."""
        return not met.selectors or all(self.known(bit) for select in met.selectors for bit in self._state_of(select))

    # -- accesses

    def expect(self, offset: int, size: int) -> Expected:
        """A read, as the oracle does it; ``took`` has to be told the answer."""
        met = self._meeting(offset, size)
        for register in met.acting:
            self.acted[register] += 1
        unknown = self._unknown(met)
        return Expected(self.oracle.read(offset, size), (1 << 8 * size) - 1 & ~unknown, met, unknown)

    def _unknown(self, met: Meeting) -> int:
        """The bits of an access that may read anything."""
        sure = self._selected(met)
        if sure and not met.memory and met.seen.isdisjoint(self.unknown) and met.seen.isdisjoint(self.restless):
            return 0
        return sum(1 << at for at, bit in met.readable if not (sure and self.known(bit)))

    def took(self, expected: Expected, got: int) -> None:
        """The device answered ``got``: what was unknown is known now, as far as it can be."""
        for bit in expected.met.changed:
            self._learn(bit)
        if not expected.unknown:
            return
        for at, bit, access in expected.met.bits:
            if expected.unknown >> at & 1 and access.onread is _LEAVES and not self.moves(bit):
                self.oracle.bits[bit] = got >> at & 1
                self._learn(bit)
                if bit.owner not in self.memory:
                    self.learned.add(bit)

    def write(self, offset: int, size: int, value: int) -> list[Place]:
        """A write: what it determines is known, but for what is locked, or may be. Returns what it met."""
        met = self._meeting(offset, size)
        sure = self._selected(met)
        unsure = {bit for bit, key in met.keys if not all(self.known(b) for b in key)}
        self.oracle.write(offset, size, value)
        left = unsure | self.oracle.locked
        acting = value & ~sum(1 << at for at, bit, _ in met.bits if bit in self.oracle.locked) if left else value
        for place, mask in met.pulses:
            shift = 8 * (offset - place.at)
            ones = (acting << shift if shift >= 0 else acting >> -shift) & mask
            self.pulsed[place.name, place.element] = self.pulsed.get((place.name, place.element), 0) | ones
        if not sure:
            self.forget(met.owners)
            return met.places
        if met.memory:
            for bit in met.determined:
                self._learn(bit)
        else:
            determined = met.determined - left if left else met.determined
            self.unknown -= determined
            self.learned -= determined
        for at, which, bit in met.undetermined:
            if value >> at & 1 == which and bit not in left:
                self._learn(bit)
        self.unknown |= unsure - self.fixed
        self.driven -= unsure
        return met.places

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
                self._learn(bit)
                self.driven.add(bit)

    def follow(self, other: File, pairs: Iterable[tuple[Bit, Bit]]) -> None:
        """Bits of this file are those of another one, and known as far as these are."""
        for mine, theirs in pairs:
            self.oracle.bits[mine] = other.oracle.bits.get(theirs, 0)
            (self.unknown.add if theirs in other.unknown else self.unknown.discard)(mine)
            (self.learned.add if theirs in other.learned else self.learned.discard)(mine)

    def reset(self, cause: ResetCause) -> None:
        """What ``cause`` reaches is known, and restless again."""
        self.oracle.reset(cause)
        reached = self._reached(cause)
        self.unknown -= reached
        self.learned -= reached
        self.driven -= reached
        for name, memory in self.memory.items():
            entry = self.bar.entries[name]
            if isinstance(entry, Window) and cause not in entry.survives:
                memory.all(known=True)
                self.driven = {bit for bit in self.driven if bit.owner != name}
        if not self.alone:
            self.driven.clear()  # hardware has its say again

    def _reached(self, cause: ResetCause) -> set[Bit]:
        """All bits of registers that a reset gives their reset value, worked out once."""
        if cause in self._reach:
            return self._reach[cause]
        found = self._reach[cause] = set()
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Register) and entry.of is None:
                mask = sum(f.mask for f in entry.fields if cause not in f.survives)
                found |= {bit for bit in self._state_of(name) if mask >> bit.number & 1}
        return found


def _pulses(register: Register) -> int:
    """The bits that act and read 0."""
    return sum(f.mask for f in register.fields if f.access.onwrite is OnWrite.PULSE)


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


def _alike(one: Entry, other: Entry) -> list[tuple[Field, Field]]:
    """The fields of two registers that have the same names."""
    assert isinstance(one, Register) and isinstance(other, Register)
    return [(field, other.named[name]) for name, field in one.named.items() if name in other.named]


class Predictor:
    """All register files of a function: BARs by index, configuration space as 7."""

    def __init__(self, files: Mapping[int, Bar], conduct: Conduct, alone: bool, widest: int) -> None:
        self.touched = () if alone else conduct.touched
        quiet, running = conduct.quiet, conduct.free_running
        self.files = {index: File(bar, quiet, running, alone, widest) for index, bar in files.items()}
        self.effects: dict[tuple[int, str], list[tuple[int, Effect]]] = {}
        for effect in conduct.effects:
            for index, bar in files.items():
                if knows(bar.entries, effect.field):
                    register, _, mask = find_field(bar.entries, effect.field)
                    self.effects.setdefault((index, register), []).append((mask, effect))
        self._same: dict[tuple[int, str], tuple[int, list[tuple[Bit, Bit]]]] = {}
        for same in conduct.same:
            self._join(same)

    def _join(self, same: Same) -> None:
        """Note which bits of either register are which of the other, where both are reached."""
        one, other = same.registers
        for (a, mine), (b, theirs) in permutations(self.files.items(), 2):
            if not (knows(mine.bar.entries, one) and knows(theirs.bar.entries, other)):
                continue
            pairs = [
                (Bit(one, 0, 0, here.lsb + n), Bit(other, 0, 0, there.lsb + n))
                for here, there in _alike(mine.bar.entries[one], theirs.bar.entries[other]) for n in range(here.width)
            ]  # fmt: skip
            if pairs:
                self._same[a, one] = b, [(there, here) for here, there in pairs]
                self._same[b, other] = a, pairs

    def write(self, file: int, offset: int, size: int, value: int) -> list[Effect]:
        """A write, and what it sets going (which has happened, as far as is known)."""
        happened: list[Effect] = []
        for place in self.files[file].write(offset, size, value):
            if (file, place.name) in self._same:
                other, pairs = self._same[file, place.name]
                self.files[other].follow(self.files[file], pairs)
            if effects := self.effects.get((file, place.name)):
                shift = 8 * (offset - place.at)
                written = value << shift if shift >= 0 else value >> -shift
                happened += [effect for mask, effect in effects if written & mask]
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
                if name in file.memory:
                    file.forget([name])
                elif base_of(name) in file.bar.entries:
                    bits = file.bits_of([name])
                    file.unknown |= bits - file.fixed
                    file.driven -= bits
