"""What the client must know of one described register, computed once: masks, neutral values, what proves a device gone.

What lives here: pure functions of the description; nothing that touches a bus. ``words`` does.
"""

from __future__ import annotations

import keyword
import operator
from collections.abc import Iterable, Mapping
from typing import SupportsIndex, TypeAlias

from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import Kind, Register, Status

Value: TypeAlias = SupportsIndex | str
"""What a field takes: a number, or the name of one of its described values."""

METHODS = frozenset(
    {"read", "write", "store", "fields", "wait", "take", "latched", "modify", "execute", "path", "offset", "width", "timeout"}
)
"""Names that an accessor needs for itself."""


def spelled(name: str, taken: frozenset[str] = METHODS) -> str:
    """``name`` as an attribute: followed by ``_`` where Python or the client uses it, as PEP 8 has it."""
    return f"{name}_" if name in taken or keyword.iskeyword(name) else name


class Shape:
    """One register of a description, as a driver sees it. ``fields`` are by attribute name (``spelled``).

    ``clears`` and ``sets`` are the bits that reading changes; ``base`` is what a write by fields starts from: reserved bits as
    they must be, 1 where a 0 would clear, else 0; ``kept`` are the bits that a read-modify-write stores back as it read them,
    ``neutral`` those that it writes as 1, and ``unkeepable`` the fields that no value leaves alone. ``absent`` is the word that
    only a device which is gone answers, or -1.
    """

    def __init__(self, name: str, entry: Register, doc: str = "") -> None:
        self.name, self.entry, self.doc, self.width = name, entry, doc, entry.width
        self.ones = (1 << entry.width) - 1
        self.fields = {spelled(f.name): f for f in entry.fields if f.name}
        result_only = entry.kind is Kind.COMMAND  # what reads there is no field of what was written
        nothing_reads = entry.kind is Kind.DOORBELL
        self.readable = {n: f for n, f in self.fields.items() if f.access.readable and not (nothing_reads or result_only)}
        self.writable = {n: f for n, f in self.fields.items() if f.access.writable}
        self.can_read = bool(self.readable) or result_only or not self.fields
        self.can_write = bool(self.writable)
        self.can_modify = self.can_write and bool(self.readable)
        self.clears = _bits(f for f in self.readable.values() if f.access.onread is OnRead.CLEAR)
        self.sets = _bits(f for f in self.readable.values() if f.access.onread is OnRead.SET)
        reserved = _bits(f for f in entry.fields if f.access.reserved)
        zero_clears = _bits(f for f in entry.fields if f.access.onwrite is OnWrite.ZERO_CLEARS)
        self.base = entry.reset_value(ResetCause.POWER_ON) & reserved | zero_clears
        plain = (OnWrite.STORE, OnWrite.NOTHING)
        self.kept = _bits(f for f in entry.fields if f.access.onwrite in plain and f.access.onread is OnRead.NOTHING)
        self.drafted = {n: f for n, f in self.writable.items() if f.access.onwrite in _ASSIGNED}
        self.unkeepable = {n: f for n, f in self.writable.items() if _unkeepable(f)}
        self.neutral = zero_clears
        self.one_clears = _bits(f for f in self.writable.values() if f.access.onwrite is OnWrite.ONE_CLEARS)
        self.absent = self.ones if self._zeros() else -1

    def _zeros(self) -> int:
        """Bits that read 0 whatever happens: a word of ones does not come from this register."""
        if self.entry.status is not Status.IMPLEMENTED or self.entry.kind is not Kind.PLAIN:
            return 0
        ever = 0
        for value in self.entry.resets.values():
            ever |= value
        constant = _bits(f for f in self.entry.fields if not f.access.hardware and not f.access.writable)
        return constant & ~ever | _bits(f for f in self.entry.fields if not f.access.readable)

    # -- values of fields

    def field(self, name: str, among: Mapping[str, Field], verb: str) -> Field:
        """Field ``name`` of those that can be ``verb``. Raises ``UsageError`` which says why not."""
        found = among.get(name)
        if found is not None:
            return found
        if name in self.fields:
            f = self.fields[name]
            raise UsageError(f"{self.name}.{name}{f.range} cannot be {verb}: it is {f.access} ({f.access.prose})")
        raise UsageError(f"{self.name} has no field {name!r}; it has {', '.join(self.fields)}")

    def number(self, name: str, f: Field, value: Value) -> int:
        """``value`` as the number that field ``f`` holds. Raises ``UsageError`` naming register, field and range."""
        if isinstance(value, str):
            for number, known in f.values.items():
                if known == value:
                    return number
            there = f"it has {', '.join(f.values.values())}" if f.values else "its values have no names"
            raise UsageError(f"{self.name}.{name}{f.range} has no value named {value!r}; {there}")
        number = operator.index(value)
        if not 0 <= number < 1 << f.width:
            raise UsageError(f"{self.name}.{name}{f.range}: {number} does not fit; it holds 0 to {(1 << f.width) - 1}")
        return number

    def word(self, values: Mapping[str, Value]) -> int:
        """The word that stores ``values`` and leaves the rest as ``base`` has it."""
        word = self.base
        for name, value in values.items():
            f = self.field(name, self.writable, "written")
            word = word & ~f.mask | self.number(name, f, value) << f.lsb
        return word

    def whole(self, value: SupportsIndex) -> int:
        """``value`` as a word. Raises ``UsageError`` when it does not fit."""
        number = operator.index(value)
        if not 0 <= number <= self.ones:
            raise UsageError(f"{self.name}: {number:#x} does not fit {self.width} bits")
        return number

    def decode(self, word: int) -> dict[str, int]:
        """The readable fields of ``word``."""
        return {name: (word & f.mask) >> f.lsb for name, f in self.readable.items()}

    def prose(self, word: int) -> str:
        """``0x40: pfsts=0 rsti=1``, with the names of values that have one."""
        named = (f"{n}={f.values.get(f.of(word), f.of(word))}" for n, f in self.readable.items())
        return f"{word:#x}: {' '.join(named)}" if not self.entry.sole else f"{word:#x}"


_ASSIGNED = (OnWrite.STORE, OnWrite.ONCE, OnWrite.PULSE)
"""What a read-modify-write can be asked for: elsewhere the value written is not the value that it leaves."""


def _unkeepable(f: Field) -> bool:
    """Neither the value read nor any other, written back, leaves the field as it was."""
    a = f.access
    return a.onwrite is OnWrite.ONCE or (a.onwrite is OnWrite.STORE and (not a.readable or a.onread is not OnRead.NOTHING))


def _bits(fields: Iterable[Field]) -> int:
    return sum(f.mask for f in fields)
