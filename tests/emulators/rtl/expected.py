"""What a simulated register block must answer: the oracle of the register file, behind what AXI4-Lite does to an access.

The oracle knows nothing of words and strobes. Here an access is cut into words as the bus cuts it, the oracle is asked, and
what the decisions say about the bus is added: three bytes are unaligned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from regmodel.access import OnRead, OnWrite, Tie
from regmodel.bits import Field
from regmodel.conformance.oracle import Bit, Oracle
from regmodel.function import ResetCause
from regmodel.registers import Bar, Kind, Miss, Partial, Register

WORD = 4
"""Bytes of the bus."""


class Poke(NamedTuple):
    """Hardware stores ``value`` into one field: element of an array, instance of a bank (0 where there is none)."""

    name: str
    element: int
    instance: int
    field: Field
    value: int


def driven(bar: Bar) -> list[Poke]:
    """All fields that hardware can change, as pokes of 0."""
    return [
        Poke(name, element, instance, f, 0)
        for name, entry in bar.entries.items()
        if isinstance(entry, Register) and entry.of is None and entry.kind is not Kind.DOORBELL
        for f in entry.fields
        if f.name and (f.access.hardware or (entry.kind is Kind.COMMAND and f.access.readable))
        for element in range(len(entry.offsets))
        for instance in range(entry.banked_by[1] if entry.banked_by else 1)
    ]


class Expected:
    """The oracle of one ``Bar`` behind the bus. ``told`` counts what hardware should have been told."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.oracle = bar, Oracle(bar, WORD)
        self.told: Counter[tuple[str, str, str, int, int]] = Counter()

    def read(self, offset: int, size: int, pokes: list[Poke] | None = None) -> int:
        """An access; ``pokes`` happen in the clock of its first word."""
        value = 0
        for i, (first, count) in enumerate(_beats(offset, size)):
            now = pokes or [] if i == 0 else []
            before = dict(self.oracle.bits)
            found = self._read(first, count)  # the value is the one before this clock
            self.oracle.bits = before
            self._poke(now, Tie.SOFTWARE)
            self._read(first, count)
            self._poke(now, Tie.HARDWARE)
            value |= found << 8 * (first - offset)
        return value

    def _read(self, first: int, count: int) -> int:
        """One word of the bus, or part of it."""
        if not self._aligned(first, count):
            return (1 << 8 * count) - 1 if self.bar.policy.unmapped is Miss.ONES else 0
        return self.oracle.read(first, count)

    def _aligned(self, first: int, count: int) -> bool:
        return (count != 3 and first % count == 0) or self.bar.policy.unaligned is Partial.LANES

    def write(self, offset: int, size: int, value: int, pokes: list[Poke] | None = None) -> None:
        for i, (first, count) in enumerate(_beats(offset, size)):
            pokes_now = pokes or [] if i == 0 else []
            self._poke(pokes_now, Tie.SOFTWARE)
            part = value >> 8 * (first - offset) & (1 << 8 * count) - 1
            if self._aligned(first, count):
                self.oracle.write(first, count, part)
                self._tell(first, count, part)
            self._poke(pokes_now, Tie.HARDWARE)

    def poke(self, pokes: list[Poke]) -> None:
        """Hardware stores, and nobody accesses."""
        self._poke(pokes, Tie.SOFTWARE)
        self._poke(pokes, Tie.HARDWARE)

    def _poke(self, pokes: list[Poke], tie: Tie) -> None:
        for poke in pokes:
            if poke.field.access.tie is tie:
                for i in range(poke.field.width):
                    bit = Bit(poke.name, poke.element, poke.instance, poke.field.lsb + i)
                    self.oracle.bits[bit] = poke.value >> i & 1

    def reset(self, *causes: ResetCause) -> None:
        """The most thorough one acts last."""
        for cause in reversed(ResetCause):
            if cause in causes:
                self.oracle.reset(cause)

    def word(self, name: str, element: int, instance: int) -> int:
        """The state of one instance."""
        entry = self.bar.entries[name]
        assert isinstance(entry, Register)
        return sum(self.oracle.bits.get(Bit(name, element, instance, n), 0) << n for n in range(entry.width))

    def _tell(self, first: int, count: int, value: int) -> None:
        """Outputs for what the oracle says was written."""
        for event in self.oracle.events:
            entry = self.bar.entries[event.name]
            assert isinstance(entry, Register)
            at = entry.offsets[event.element]
            covered = {
                8 * (byte - at) + bit: value >> 8 * (byte - first) + bit & 1
                for byte in range(first, first + count)
                for bit in range(8)
                if at <= byte < at + entry.size
            }
            owner = entry.of or event.name
            locked = {b.number for b in self.oracle.locked if (b.owner, b.element) == (owner, event.element)}
            ones = sum(bit << number for number, bit in covered.items() if number not in locked)
            if entry.kind in (Kind.DOORBELL, Kind.COMMAND):
                self.told["written", event.name, "", event.element, 1] += 1
                if ones:
                    self.told["data", event.name, "", event.element, ones] += 1
                continue
            if any(f.access.onwrite is not OnWrite.NOTHING for f in entry.fields):
                self.told["written", event.name, "", event.element, 1] += 1
            for f in entry.fields:
                if f.access.onwrite is OnWrite.PULSE and f.name and f.of(ones):
                    self.told["pulse", event.name, f.name, event.element, f.of(ones)] += 1
        self.oracle.events.clear()


def _beats(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """The (first byte, count) by which a bus of 32 bits performs an access."""
    end = offset + size
    while offset < end:
        count = min(end, (offset & ~3) + 4) - offset
        yield offset, count
        offset += count


def reads_act(bar: Bar) -> list[tuple[str, int, Field]]:
    """Registers that change when they are read, by (name, element, field)."""
    return [
        (name, element, f)
        for name, entry in bar.entries.items()
        if isinstance(entry, Register) and entry.kind is not Kind.DOORBELL
        for f in entry.fields
        if f.access.onread is not OnRead.NOTHING
        for element in range(len(entry.offsets))
    ]
