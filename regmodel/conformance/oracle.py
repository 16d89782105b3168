"""The oracle: what a described register file must answer, worked out one bit at a time.

It reads the description only, shares no code with the bank, and is told nothing but what happens on the bus (``read``,
``write``), inside of the device (``poke``) and to the whole (``reset``). It is slow and meant to be obvious: each rule
stands once, in words and in code. Where the words could be read in two ways, ``docs/decisions.md`` says which was taken.

The state is a dictionary of bits. A bit is known by the register that owns it, the element of an array, the instance of a
bank, and its number. Registers without a state of their own (aliases, doorbells) have no bits in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple, TypeAlias

from regmodel.access import Access, OnRead, OnWrite
from regmodel.bits import Lock
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Miss, Partial, Register, Wide, Window

# members of an enumeration are found through its metaclass, which takes a while
_NOTHING, _STORE, _PULSE, _LEAVES = OnWrite.NOTHING, OnWrite.STORE, OnWrite.PULSE, OnRead.NOTHING
_DOORBELL, _COMMAND = Kind.DOORBELL, Kind.COMMAND

Met: TypeAlias = tuple[int, "Bit", Access]
"""One bit of state that an access meets: its number in what meets it, the bit, and how it behaves there."""


class Bit(NamedTuple):
    """One bit of state. ``instance`` counts in a bank of registers, ``element`` in an array; ``number`` from the LSB."""

    owner: str
    element: int
    instance: int
    number: int


class Place(NamedTuple):
    """Where one register, array element or window stands; ``at`` is its first byte."""

    name: str
    element: int
    at: int
    entry: Entry


class Part(NamedTuple):
    """The run of bytes by which an access meets one place, or nothing (``place`` is None)."""

    place: Place | None
    first: int
    length: int


class Event(NamedTuple):
    """A write that the device is told of: the word before and after (64 bits for a pair), pulses as they were written."""

    name: str
    element: int
    old: int
    new: int


class Oracle:
    """What to expect of one ``Bar``. ``widest`` is the bus, in bytes: that much of a register is as good as all."""

    def __init__(self, bar: Bar, widest: int = 8) -> None:
        self.bar, self.widest = bar, widest
        self.bits: dict[Bit, int] = {}
        self.spent: set[Bit] = set()
        """Write-once bits that were written since the last reset that reaches them."""
        self.events: list[Event] = []
        """All events since the oracle was made; the reader may empty it."""
        places = [
            Place(name, element, at, entry)
            for name, entry in bar.entries.items()
            for element, at in enumerate(entry.offsets)
        ]
        self._windows = [place for place in places if isinstance(place.entry, Window)]
        self._places = {
            byte: place
            for place in places
            if isinstance(place.entry, Register)
            for byte in range(place.at, place.at + place.entry.size)
        }
        self._accesses = {name: _accesses(e) for name, e in bar.entries.items() if isinstance(e, Register)}
        self._locks = {n: found for n, e in bar.entries.items() if isinstance(e, Register) and (found := _locks(e))}
        self.locked: set[Bit] = set()
        """The bits that the last write met and left alone because their lock was shut."""
        self._homes = {place.at: _homes(place) for place in places if isinstance(place.entry, Register)}
        self._runs: dict[tuple[int, int, int], list[Met]] = {}
        self._met: dict[tuple[int, int], list[Met]] = {}
        self._found: dict[tuple[int, int], list[Part]] = {}
        """What accesses of registers met, found once: windows may have megabytes, of which nothing is kept."""
        self._resets: dict[ResetCause, dict[Bit, int]] = {}
        """What resets give to which bits of registers, found once."""
        self.reset(ResetCause.POWER_ON)

    # -- the bus -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """The answer to a read of ``size`` bytes, after which reading has had its side effects."""
        value = 0
        for place, first, length in self._parts(offset, size):
            if place is None:
                ones = self.bar.policy.unmapped is Miss.ONES
                value |= (1 << 8 * length) - 1 << 8 * (first - offset) if ones else 0
                continue
            shift = 8 * (place.at - offset)
            for number, home, access in self._run(place, 8 * (first - place.at), 8 * length):
                if access.readable:
                    value |= self.bits.get(home, 0) << shift + number
                if access.onread is not _LEAVES:
                    self.bits[home] = 1 if access.onread is OnRead.SET else 0
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """A write of ``size`` bytes."""
        self.locked.clear()
        for place, first, length in self._parts(offset, size):
            if place is not None:
                bits = value >> 8 * (first - offset) & (1 << 8 * length) - 1
                self._write_place(place, 8 * (first - place.at), 8 * length, bits)

    def _parts(self, offset: int, size: int) -> list[Part]:
        """What an access meets, lowest address first; one part that is nothing, if the policy lets it miss."""
        known = self._found.get((offset, size))
        if known is None:
            known = self._look(offset, size)
            if not _in_memory(known):
                self._found[offset, size] = known
        return known

    def _look(self, offset: int, size: int) -> list[Part]:
        nothing = [Part(None, offset, size)]
        policy = self.bar.policy
        if offset < 0 or offset + size > self.bar.size:
            return nothing
        if offset % size and policy.unaligned is Partial.IGNORE:
            return nothing
        parts: list[Part] = []
        first = offset
        for place, run in groupby(map(self._place_at, range(offset, offset + size))):
            parts.append(Part(place, first, len(list(run))))
            first += parts[-1].length
        if len(parts) > 1 and policy.wide is Wide.IGNORE:
            return nothing
        for part in parts:
            entry = part.place.entry if part.place is not None else None
            if isinstance(entry, Register) and part.length < min(entry.size, self.widest) and policy.partial is Partial.IGNORE:
                return nothing
        return parts

    def _write_place(self, place: Place, lowest: int, width: int, bits: int) -> None:
        """Write ``bits`` to ``width`` bits of one place from ``lowest`` on, and note what the device is told."""
        entry = place.entry
        if isinstance(entry, Window):  # nobody is told of memory
            for number, home, access in self._run(place, lowest, width):
                value = bits >> number - lowest & 1
                self.bits[home] = value if access.onwrite is _STORE else self._written(access, home, value)
            return
        whole = self._run(place, 0, 8 * entry.size)
        if not whole and entry.kind is not _DOORBELL:
            return  # beyond the last instance of a bank
        acts = entry.kind is _DOORBELL or entry.kind is _COMMAND  # and stores nothing
        old, new, end = 0, bits << lowest if acts else 0, lowest + width
        shut = self._shut(place)  # before any bit is written: the key may be among them
        for number, home, access in whole:
            was = now = self.bits.get(home, 0)
            old |= was << number
            if acts:
                continue
            if lowest <= number < end and number in shut:
                self.locked.add(home)
            elif lowest <= number < end:
                value = bits >> number - lowest & 1
                if access.onwrite is not _NOTHING:
                    now = self.bits[home] = value if access.onwrite is _STORE else self._written(access, home, value)
                if value and access.onwrite is _PULSE:
                    now = 1
            new |= now << number
        self._tell(place, entry, old, new)

    def _written(self, access: Access, home: Bit, value: int) -> int:
        """What a bit is after ``value`` was written to it."""
        old = self.bits.get(home, 0)
        match access.onwrite:
            case OnWrite.NOTHING:
                return old
            case OnWrite.STORE:
                return value
            case OnWrite.ONE_CLEARS:
                return 0 if value else old
            case OnWrite.ZERO_CLEARS:
                return old if value else 0
            case OnWrite.ONE_SETS:
                return 1 if value else old
            case OnWrite.ONE_TOGGLES:
                return 1 - old if value else old
            case OnWrite.PULSE:
                return 0
            case OnWrite.ONCE:
                first = home not in self.spent
                self.spent.add(home)
                return value if first else old

    def keys(self, offset: int, size: int) -> list[tuple[Bit, list[Bit]]]:
        """The bits of state that an access meets and that have a lock, each with the bits of its key."""
        return [
            (home, self._key(place, lock))
            for place, first, length in self._parts(offset, size)
            if place is not None and place.name in self._locks
            for lock, locked in self._locks[place.name].items()
            for number, home, _ in self._run(place, 8 * (first - place.at), 8 * length)
            if number in locked
        ]

    def _key(self, place: Place, lock: Lock) -> list[Bit]:
        """The bits that decide whether a lock of ``place`` is shut, from the least significant."""
        holder = self.bar.entries[lock.register]
        assert isinstance(holder, Register)
        element, key = place.element if holder.is_array else 0, holder.named[lock.field]
        homes = self._registers_homes(Place(lock.register, element, holder.offsets[element], holder))
        return [home for home in homes[key.lsb : key.lsb + key.width] if home is not None]

    def _shut(self, place: Place) -> set[int]:
        """The bits of a place, by number, that are locked as things are now."""
        found: set[int] = set()
        for lock, locked in self._locks[place.name].items() if place.name in self._locks else ():
            key = [self.bits.get(bit, 0) for bit in self._key(place, lock)]
            if key == [lock.value >> at & 1 for at in range(len(key))]:
                found |= locked
        return found

    def _tell(self, place: Place, entry: Register, old: int, new: int) -> None:
        """A pair is told of as one value, when its high half is written."""
        if entry.pair is not None:
            low_name, _ = entry.pair
            if place.name == low_name:
                return
            low = self.value(low_name, place.element)
            old, new = old << 32 | low, new << 32 | low
        self.events.append(Event(place.name, place.element, old, new))

    # -- the device --------------------------------------------------------------------------------------------------

    def value(self, name: str, element: int = 0) -> int:
        """The state of a register, as ``peek`` sees it. Raises KeyError."""
        entry = self.bar.entries[name]
        return self._word(Place(name, element, entry.offsets[element], entry))

    def instances(self, name: str, element: int = 0) -> list[int]:
        """The state of all instances in a bank of registers, whichever is selected."""
        entry = self.bar.entries[name]
        assert isinstance(entry, Register) and entry.banked_by is not None
        words = [0] * entry.banked_by[1]
        for bit, value in self.bits.items():
            if (bit.owner, bit.element) == (name, element):
                words[bit.instance] |= value << bit.number
        return words

    def peek(self, offset: int, size: int) -> int:
        """What is stored, without side effects. What stores nothing gives 0."""
        value = 0
        for byte in range(offset, offset + size):
            for bit, home in self._stored(byte):
                value |= self.bits.get(home, 0) << 8 * (byte - offset) + bit
        return value

    def poke(self, offset: int, size: int, value: int) -> None:
        """Hardware stores ``value``, without side effects. What stores nothing ignores it."""
        for byte in range(offset, offset + size):
            for bit, home in self._stored(byte):
                self.bits[home] = value >> 8 * (byte - offset) + bit & 1

    def met(self, offset: int, size: int) -> list[Met]:
        """The bits of state that an access of ``size`` bytes meets, numbered as its own bits are."""
        known = self._met.get((offset, size))
        if known is not None:
            return known
        found: list[Met] = []
        parts = self._parts(offset, size)
        for place, first, length in parts:
            if place is not None:
                shift = 8 * (place.at - offset)
                run = self._run(place, 8 * (first - place.at), 8 * length)
                found += [(shift + number, home, access) for number, home, access in run]
        if not any(part.place is not None and self._moves(part.place) for part in parts):
            self._met[offset, size] = found
        return found

    def always(self, offset: int, size: int) -> bool:
        """The last ``met`` of this access is true for ever."""
        return (offset, size) in self._met

    def places(self, offset: int, size: int) -> list[Place]:
        """The registers, array elements and windows that an access meets."""
        return [part.place for part in self._parts(offset, size) if part.place is not None]

    def reset(self, cause: ResetCause) -> None:
        """Give every bit that ``cause`` reaches its reset value for it, and make write-once bits writable again."""
        cleared = {n for n, e in self.bar.entries.items() if isinstance(e, Window) and cause not in e.survives}
        if cleared:
            self.bits = {bit: value for bit, value in self.bits.items() if bit.owner not in cleared}
        if cause not in self._resets:
            self._resets[cause] = dict(self._reset_bits(cause))
        self.bits |= self._resets[cause]
        self.spent -= self._resets[cause].keys()

    def _reset_bits(self, cause: ResetCause) -> Iterator[tuple[Bit, int]]:
        """The bits of registers that ``cause`` reaches, and what they are then."""
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Window) or entry.of is not None or entry.kind is Kind.DOORBELL:
                continue
            word = entry.resets.get(cause, entry.resets.get(ResetCause.POWER_ON, 0))
            for field in (field for field in entry.fields if cause not in field.survives):
                for number in range(field.lsb, field.lsb + field.width):
                    for element in range(len(entry.offsets)):
                        for instance in range(entry.banked_by[1] if entry.banked_by else 1):
                            yield Bit(name, element, instance, number), word >> number & 1

    # -- where things are --------------------------------------------------------------------------------------------

    def _place_at(self, byte: int) -> Place | None:
        """What stands at a byte: a register, or a window, of whose bytes nothing is kept one by one."""
        found = self._places.get(byte)
        if found is None:
            found = next((w for w in self._windows if w.at <= byte < w.at + w.entry.size), None)
        return found

    def _moves(self, place: Place) -> bool:
        """Nothing is kept of its bits: memory may have megabytes, a bank of registers shows other bits at other times."""
        return isinstance(place.entry, Window) or self._homes[place.at] is None

    def _run(self, place: Place, lowest: int, width: int) -> list[Met]:
        """The bits of state behind ``width`` bits of a place from ``lowest`` on; none behind a doorbell, or beyond a bank."""
        known = self._runs.get((place.at, lowest, width))
        if known is not None:
            return known
        homes, accesses = self._homes_of(place), self._accesses_of(place)
        stored = ((number, homes(number)) for number in range(lowest, lowest + width))
        found = [(number, home, accesses(number)) for number, home in stored if home is not None]
        if not self._moves(place):
            self._runs[place.at, lowest, width] = found
        return found

    def _accesses_of(self, place: Place) -> Callable[[int], Access]:
        """What finds how bit ``number`` of a place behaves."""
        entry = place.entry
        if isinstance(entry, Window):
            return lambda number: entry.access
        return self._accesses[place.name].__getitem__

    def _homes_of(self, place: Place) -> Callable[[int], Bit | None]:
        """What finds the bit of state behind bit ``number`` of a place, or None where nothing is stored; as things are now."""
        if isinstance(place.entry, Window):  # may have megabytes: nothing is kept per bit
            return lambda number: Bit(place.name, place.element, 0, number)
        return self._registers_homes(place).__getitem__

    def _registers_homes(self, place: Place) -> list[Bit | None]:
        homes = self._homes[place.at]
        if homes is not None:
            return homes
        assert isinstance(place.entry, Register) and place.entry.banked_by is not None
        instance, bits = self._selected(place.entry.banked_by), range(8 * place.entry.size)
        return [None if instance is None else Bit(place.name, place.element, instance, number) for number in bits]

    def _selected(self, banked_by: tuple[str, int]) -> int | None:
        """The instance that shows in a bank of registers; None beyond the last one."""
        select, count = banked_by
        instance = self.value(select)
        return instance if instance < count else None

    def _word(self, place: Place) -> int:
        """The state behind a place, as one number."""
        word = 0
        for number, home in enumerate(self._registers_homes(place)):
            if home is not None:
                word |= self.bits.get(home, 0) << number
        return word

    def _stored(self, byte: int) -> Iterator[tuple[int, Bit]]:
        """The bits (number within the byte, bit of state) behind ``byte``."""
        place = self._place_at(byte)
        if place is None:
            return
        homes = self._homes_of(place)
        for bit in range(8):
            home = homes(8 * (byte - place.at) + bit)
            if home is not None:
                yield bit, home


def _in_memory(parts: list[Part]) -> bool:
    return any(part.place is not None and isinstance(part.place.entry, Window) for part in parts)


def _accesses(register: Register) -> list[Access]:
    """How each bit behaves, by its number."""
    return [field.access for field in register.fields for _ in range(field.width)]


def _locks(register: Register) -> dict[Lock, set[int]]:
    """The locks of a register, each with the bits that it locks, by number."""
    found: dict[Lock, set[int]] = {}
    for field in register.fields:
        if field.lock is not None:
            found.setdefault(field.lock, set()).update(range(field.lsb, field.lsb + field.width))
    return found


def _homes(place: Place) -> list[Bit | None] | None:
    """The bit of state behind each bit of a place, or None where that is another one at other times."""
    entry, bits = place.entry, range(8 * place.entry.size)
    if isinstance(entry, Register):
        if entry.kind is Kind.DOORBELL:
            return [None for _ in bits]
        if entry.of is not None:
            return [Bit(entry.of, place.element, 0, number) for number in bits]
        if entry.banked_by is not None:
            return None
    return [Bit(place.name, place.element, 0, number) for number in bits]
