"""The oracle: what a described register file must answer, worked out one bit at a time.

It reads the description only, shares no code with the bank, and is told nothing but what happens on the bus (``read``,
``write``), inside of the device (``poke``) and to the whole (``reset``). It is slow and meant to be obvious: each rule
stands once, in words and in code. Where the words could be read in two ways, ``docs/decisions.md`` says which was taken.

The state is a dictionary of bits. A bit is known by the register that owns it, the element of an array, the instance of a
bank, and its number. Registers without a state of their own (aliases, doorbells) have no bits in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from regmodel.access import Access, OnRead, OnWrite
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Miss, Partial, Register, Wide, Window


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
    """The expected state and answers of one ``Bar``."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
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
        self._places = {byte: place for place in places for byte in range(place.at, place.at + place.entry.size)}
        self._accesses = {name: _accesses(e) for name, e in bar.entries.items() if isinstance(e, Register)}
        self._homes = {place.at: _homes(place) for place in places if isinstance(place.entry, Register)}
        self._met: dict[tuple[int, int], list[tuple[int, Bit, Access]]] = {}
        self.reset(ResetCause.POWER_ON)

    # -- the bus -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """The answer to a read of ``size`` bytes, after which reading has had its side effects."""
        value = 0
        for part in self._parts(offset, size):
            for byte in range(part.first, part.first + part.length):
                for bit in range(8):
                    value |= self._read_bit(part.place, byte, bit) << 8 * (byte - offset) + bit
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """A write of ``size`` bytes."""
        for part in self._parts(offset, size):
            if part.place is None:
                continue
            written = {
                8 * (byte - part.place.at) + bit: value >> 8 * (byte - offset) + bit & 1
                for byte in range(part.first, part.first + part.length)
                for bit in range(8)
            }
            self._write_place(part.place, written)

    def _parts(self, offset: int, size: int) -> list[Part]:
        """What an access meets, lowest address first; one part that is nothing, if the policy lets it miss."""
        nothing = [Part(None, offset, size)]
        policy = self.bar.policy
        if offset < 0 or offset + size > self.bar.size:
            return nothing
        if offset % size and policy.unaligned is Partial.IGNORE:
            return nothing
        parts: list[Part] = []
        for byte in range(offset, offset + size):
            place = self._places.get(byte)
            if parts and parts[-1].place == place:
                parts[-1] = parts[-1]._replace(length=parts[-1].length + 1)
            else:
                parts.append(Part(place, byte, 1))
        if len(parts) > 1 and policy.wide is Wide.IGNORE:
            return nothing
        for part in parts:
            whole = part.place is None or isinstance(part.place.entry, Window) or part.length == part.place.entry.size
            if not whole and policy.partial is Partial.IGNORE:
                return nothing
        return parts

    def _read_bit(self, place: Place | None, byte: int, bit: int) -> int:
        if place is None:
            return 1 if self.bar.policy.unmapped is Miss.ONES else 0
        number = 8 * (byte - place.at) + bit
        access = self._access(place, number)
        home = self._home(place, number)
        if home is None:
            return 0  # a doorbell, or beyond the last instance of a bank
        value = self.bits.get(home, 0)
        if access.onread is OnRead.CLEAR:
            self.bits[home] = 0
        elif access.onread is OnRead.SET:
            self.bits[home] = 1
        return value if access.readable else 0

    def _write_place(self, place: Place, written: dict[int, int]) -> None:
        """Write the bits ``written`` (number to 0 or 1) of one place, and note what the device is told."""
        entry = place.entry
        if self._home(place, 0) is None and entry.kind is not Kind.DOORBELL:
            return  # beyond the last instance of a bank
        old = new = self._word(place) if isinstance(entry, Register) else 0
        stores = entry.kind not in (Kind.DOORBELL, Kind.COMMAND)
        if not stores:
            new = sum(value << number for number, value in written.items())
        for number, value in written.items() if stores else ():
            home = self._home(place, number)
            access = self._access(place, number)
            if home is not None:
                self.bits[home] = self._written(access, home, value)
                shown = 1 if access.onwrite is OnWrite.PULSE and value else self.bits[home]
                new = new & ~(1 << number) | shown << number
        if isinstance(entry, Register):
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

    def met(self, offset: int, size: int) -> list[tuple[int, Bit, Access]]:
        """The bits of state that an access of ``size`` bytes meets: its own bit number, the bit, how it behaves there."""
        known = self._met.get((offset, size))
        if known is not None:
            return known
        found: list[tuple[int, Bit, Access]] = []
        fixed = True
        for place, first, length in self._parts(offset, size):
            for byte in range(first, first + length) if place is not None else ():
                assert place is not None
                fixed = fixed and (isinstance(place.entry, Window) or self._homes[place.at] is not None)
                for number in range(8 * (byte - place.at), 8 * (byte - place.at) + 8):
                    home = self._home(place, number)
                    if home is not None:
                        found.append((8 * (place.at - offset) + number, home, self._access(place, number)))
        if fixed:  # no bank of registers, which shows other bits at other times
            self._met[offset, size] = found
        return found

    def places(self, offset: int, size: int) -> list[Place]:
        """The registers, array elements and windows that an access meets."""
        return [part.place for part in self._parts(offset, size) if part.place is not None]

    def reset(self, cause: ResetCause) -> None:
        """Give every bit that ``cause`` reaches its reset value for it, and make write-once bits writable again."""
        for name, entry in self.bar.entries.items():
            if isinstance(entry, Window):
                if cause not in entry.survives:
                    self.bits = {bit: value for bit, value in self.bits.items() if bit.owner != name}
            elif entry.of is None and entry.kind is not Kind.DOORBELL:
                self._reset_register(name, entry, cause)

    def _reset_register(self, name: str, entry: Register, cause: ResetCause) -> None:
        word = entry.resets.get(cause, entry.resets.get(ResetCause.POWER_ON, 0))
        for field in entry.fields:
            if cause in field.survives:
                continue
            for number in range(field.lsb, field.lsb + field.width):
                for element in range(len(entry.offsets)):
                    for instance in range(entry.banked_by[1] if entry.banked_by else 1):
                        home = Bit(name, element, instance, number)
                        self.bits[home] = word >> number & 1
                        self.spent.discard(home)

    # -- where things are --------------------------------------------------------------------------------------------

    def _access(self, place: Place, number: int) -> Access:
        """How bit ``number`` of a place behaves."""
        return place.entry.access if isinstance(place.entry, Window) else self._accesses[place.name][number]

    def _home(self, place: Place, number: int) -> Bit | None:
        """The bit of state behind bit ``number`` of a place, or None where nothing is stored."""
        if isinstance(place.entry, Window):  # may have megabytes: nothing is kept per bit
            return Bit(place.name, place.element, 0, number)
        homes = self._homes[place.at]
        if homes is not None:
            return homes[number]
        assert place.entry.banked_by is not None
        select, count = place.entry.banked_by
        instance = self.value(select)
        return Bit(place.name, place.element, instance, number) if instance < count else None

    def _word(self, place: Place) -> int:
        """The state behind a place, as one number."""
        word = 0
        for number in range(8 * place.entry.size):
            home = self._home(place, number)
            if home is not None:
                word |= self.bits.get(home, 0) << number
        return word

    def _stored(self, byte: int) -> Iterator[tuple[int, Bit]]:
        """The bits (number within the byte, bit of state) behind ``byte``."""
        place = self._places.get(byte)
        for bit in range(8) if place is not None else ():
            assert place is not None
            home = self._home(place, 8 * (byte - place.at) + bit)
            if home is not None:
                yield bit, home


def _accesses(register: Register) -> list[Access]:
    """How each bit behaves, by its number."""
    return [field.access for field in register.fields for _ in range(field.width)]


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
