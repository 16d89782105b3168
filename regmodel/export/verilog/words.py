"""What stands at each 32-bit word of a BAR, and what everything is called: the description as the bus sees it.

What lives here: ``Plan`` and its parts. A ``State`` is one word of storage, a ``View`` one address of it (its own or an
alias), a ``Piece`` the bits that a field has in one word of the bus. No Verilog but identifiers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from regmodel.access import OnRead
from regmodel.bits import Field, Lock
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause
from regmodel.registers import Bar, Entry, Kind, Partial, Policy, Register, Wide, Window

LANES = 4
"""Bytes of a word of the bus."""
ALIGNED = {0b0001, 0b0010, 0b0100, 0b1000, 0b0011, 0b1100, 0b1111}
"""Strobes of a naturally aligned access of 1, 2 or 4 bytes."""
LARGEST_WINDOW = 4096
"""Bytes. A register block is flip-flops; more than this is a memory and belongs beside the block."""


class Piece(NamedTuple):
    """Bits ``msb``..``lsb`` of a register, part of one field, which are bits from ``bus`` on of word ``word`` of the BAR."""

    field: Field
    word: int
    msb: int
    lsb: int
    bus: int

    @property
    def width(self) -> int:
        return self.msb - self.lsb + 1


@dataclass(frozen=True, eq=False)
class View:
    """One address of a register, array element, alias, doorbell; ``ident`` is its name in Verilog."""

    ident: str
    name: str
    element: int
    entry: Register
    offset: int

    @property
    def path(self) -> str:
        """As the description calls it: ``rdt[1]``."""
        return f"{self.name}[{self.element}]" if self.entry.is_array else self.name

    @property
    def words(self) -> range:
        """Words of the bus which it lies in: one, or two for 64 bits."""
        return range(self.offset // LANES, (self.offset + self.entry.size - 1) // LANES + 1)

    @property
    def low_half(self) -> bool:
        """It is the half of a pair whose writing nobody is told of."""
        return self.entry.pair is not None and self.entry.pair[0] == self.name

    @property
    def writable(self) -> bool:
        """A write by software means something."""
        return self.entry.kind in (Kind.DOORBELL, Kind.COMMAND) or any(f.access.writable for f in self.entry.fields)

    @property
    def stores(self) -> bool:
        """A write by software may change the state behind it."""
        return self.entry.kind not in (Kind.DOORBELL, Kind.COMMAND) and self.writable

    @property
    def read_acts(self) -> bool:
        """A read changes the state behind it."""
        return self.entry.kind is not Kind.DOORBELL and any(f.access.onread is not OnRead.NOTHING for f in self.entry.fields)

    def lanes(self, word: int) -> int:
        """The bytes it has in ``word``, one bit each."""
        return _lanes(self.offset, self.entry.size, word)

    def select(self, what: str, word: int) -> str:
        """The wire that says that this is accessed: ``wr_rdt_1``, and for the halves of 64 bits ``wr_x_lo``, ``wr_x_hi``."""
        half = "" if len(self.words) == 1 else ("_lo", "_hi")[word - self.words[0]]
        return f"{what}_{self.ident}{half}"

    def pieces(self, word: int | None = None) -> Iterator[Piece]:
        """All fields, from the least significant bit, cut at the words of the bus; of one word if asked."""
        shift = 8 * (self.offset % LANES)
        for f in self.entry.fields:
            lsb = f.lsb
            while lsb <= f.msb:
                at, bus = divmod(lsb + shift, 8 * LANES)
                msb = min(f.msb, lsb + 8 * LANES - 1 - bus)
                if word in (None, self.words[0] + at):
                    yield Piece(f, self.words[0] + at, msb, lsb, bus)
                lsb = msb + 1


@dataclass(frozen=True, eq=False)
class State:
    """One word of storage: a register, array element, or instance of a bank (``instance``, else None).

    In Verilog it is ``r_<ident>``, and ``next_<ident>`` is what the next clock makes of it.
    """

    ident: str
    owner: View
    instance: int | None
    views: list[View] = field(default_factory=list)

    @property
    def width(self) -> int:
        return self.owner.entry.width

    @property
    def index(self) -> int:
        """Its place in the vectors of the hardware ports: elements of an array, and for each the instances of a bank."""
        banked = self.owner.entry.banked_by
        return self.owner.element if banked is None else self.owner.element * banked[1] + (self.instance or 0)

    def driven(self, f: Field) -> bool:
        """Hardware may change the field: it has ports for that. What a command reads as is left there by hardware."""
        answer = self.owner.entry.kind is Kind.COMMAND and f.access.readable
        return bool(f.name) and (f.access.hardware or answer)

    @property
    def constant(self) -> int | None:
        """The value, if nothing can ever change it."""
        if any(v.stores or v.read_acts for v in self.views) or any(self.driven(f) for f in self.owner.entry.fields):
            return None
        found = {0} if self.uninitialised else set()
        for cause in ResetCause:
            mask = sum(f.mask for f in self.owner.entry.fields if cause not in f.survives)
            if mask not in (0, (1 << self.width) - 1):
                return None
            found |= {self.owner.entry.reset_value(cause)} if mask else set()
        return found.pop() if len(found) == 1 else None

    @property
    def uninitialised(self) -> int:
        """The bits which not even power-on resets: they start as 0."""
        return sum(f.mask for f in self.owner.entry.fields if ResetCause.POWER_ON in f.survives)


@dataclass(frozen=True, eq=False)
class Memory:
    """One window."""

    ident: str
    name: str
    entry: Window

    @property
    def base(self) -> int:
        """The first word of the BAR that it has bytes in."""
        return self.entry.at // LANES

    @property
    def words(self) -> int:
        return (self.entry.at + self.entry.size - 1) // LANES - self.base + 1

    def lanes(self, word: int) -> int:
        return _lanes(self.entry.at, self.entry.size, word)


Part = View | Memory


class Plan:
    """A BAR, cut into words. Raises ``DescriptionError``: ``verilog-name``, ``verilog-shared``, ``verilog-window``."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.policy = bar, bar.policy
        self.address_width = max(4, (bar.size - 1).bit_length())
        self.views: list[View] = []
        self.states: list[State] = []
        self.memories: list[Memory] = []
        self.words: dict[int, list[Part]] = defaultdict(list)
        self._homes: dict[tuple[str, int], list[State]] = {}
        self._idents: dict[str, str] = {}
        for name, entry in sorted(bar.entries.items(), key=lambda item: item[1].offsets[0]):
            self._place(name, entry)
        for parts in self.words.values():
            parts.sort(key=lambda p: p.offset if isinstance(p, View) else p.entry.at)
        for view in self.views:
            for state in self.homes(view):
                state.views.append(view)
        self._check_shared()

    def homes(self, view: View) -> list[State]:
        """The storage behind a view: none for a doorbell, several for a bank."""
        return self._homes.get((view.entry.of or view.name, view.element), [])

    def owner(self, name: str) -> list[State]:
        """All storage of a register, by ``State.index``."""
        return [s for (n, _), states in self._homes.items() if n == name for s in states]

    def index(self, view: View) -> tuple[str, int]:
        """The vector that selects an instance of a bank, and its width.

        An access acts on registers one after the other: what it leaves in an index register counts for the banks behind it.
        """
        assert view.entry.banked_by is not None
        selector = self._homes[view.entry.banked_by[0], 0][0]
        at = selector.owner.offset
        first = at < view.offset and selector.owner.words[-1] == view.words[0]
        return self.next_of(selector.owner.name) if first else f"r_{selector.ident}", selector.width

    def key(self, view: View, state: State, lock: Lock) -> tuple[str, State]:
        """What an access of ``view`` looks at for a lock of ``state``, and the state which the key is in.

        That is the key as the access finds it, behind hardware that loses ties; ``after_`` an access that acts on it first.
        """
        element = view.element if (lock.register, 1) in self._homes else 0
        holder = self._homes[lock.register, element][state.instance or 0 if self.bar.entries[lock.register].banked_by else 0]
        if holder.constant is not None:
            return f"r_{holder.ident}", holder
        first = any(v.offset < view.offset and v.words[-1] == view.words[0] for v in holder.views)
        return f"{'after' if first else 'before'}_{holder.ident}", holder

    @cached_property
    def keys(self) -> frozenset[str]:
        """All that accesses look at for locks."""
        return frozenset(
            self.key(view, state, f.lock)[0]
            for view in self.views
            for f in view.entry.fields
            if f.lock is not None
            for state in self.homes(view)
        )

    def next_of(self, name: str, element: int = 0) -> str:
        """What a register will hold after this clock."""
        state = self._homes[name, element][0]
        return f"r_{state.ident}" if state.constant is not None else f"next_{state.ident}"

    def claim(self, name: str, path: str, where: str) -> str:
        """``name`` as an identifier that nobody else has."""
        ident = identifier(name)
        if self._idents.setdefault(ident, path) != path:
            text = f"and {self._idents[ident]} are both called {ident} in Verilog: rename one"
            raise DescriptionError("verilog-name", path, where, text)
        return ident

    def takes(self, word: int, strobes: int) -> bool:
        """Whether the policy lets an access of these bytes of ``word`` pass."""
        return bool(strobes) and accepts(self.policy, self.words.get(word, []), word, strobes)

    def reaches(self, part: Part, word: int) -> frozenset[int]:
        """The strobes by which an access of ``word`` reaches ``part``."""
        lanes = part.lanes(word)
        return frozenset(s for s in range(1, 1 << LANES) if s & lanes and self.takes(word, s))

    def whole(self, part: Part, word: int) -> bool:
        """Every access that reaches ``part`` covers all that it has in ``word``."""
        return all(strobes & part.lanes(word) == part.lanes(word) for strobes in self.reaches(part, word))

    def _place(self, name: str, entry: Entry) -> None:
        path = f"{self.bar.bar}.{name}"
        if isinstance(entry, Window):
            if entry.size > LARGEST_WINDOW:
                text = f"{entry.size} bytes are a memory: leave it out of the register block ({LARGEST_WINDOW} bytes at most)"
                raise DescriptionError("verilog-window", path, entry.where, text)
            memory = Memory(self.claim(name, path, entry.where), name, entry)
            self.memories.append(memory)
            for word in range(memory.base, memory.base + memory.words):
                self.words[word].append(memory)
            return
        for element, offset in enumerate(entry.offsets):
            here = f"{path}[{element}]" if entry.is_array else path
            ident = self.claim(f"{name}_{element}" if entry.is_array else name, here, entry.where)
            view = View(ident, name, element, entry, offset)
            for half in ("_lo", "_hi") if len(view.words) > 1 else ():
                self.claim(ident + half, here, entry.where)
            self.views.append(view)
            for word in view.words:
                self.words[word].append(view)
            if entry.of is None and entry.kind is not Kind.DOORBELL:
                states = [State(ident, view, None)]
                if entry.banked_by is not None:
                    count = entry.banked_by[1]
                    states = [State(self.claim(f"{ident}_of_{i}", here, entry.where), view, i) for i in range(count)]
                self._homes[name, element] = states
                self.states += states

    def _check_shared(self) -> None:
        """One access of the bus does one thing to one word of storage."""
        for word, parts in self.words.items():
            seen: dict[int, View] = {}
            for view in (part for part in parts if isinstance(part, View)):
                for state in self.homes(view):
                    other = seen.setdefault(id(state), view)
                    if other is not view:
                        text = f"and {other.path} are one state at one 32-bit word, {word * LANES:#x}: no bus access is both"
                        raise DescriptionError("verilog-shared", f"{self.bar.bar}.{view.path}", view.entry.where, text)


def accepts(policy: Policy, parts: Iterable[Part], word: int, strobes: int) -> bool:
    """Whether ``policy`` lets an access of the bytes ``strobes`` of ``word`` pass, where ``parts`` stand."""
    if policy.unaligned is Partial.IGNORE and strobes not in ALIGNED:
        return False
    touched = [p for p in parts if p.lanes(word) & strobes]
    nothing = strobes & ~sum(p.lanes(word) for p in touched)
    if policy.wide is Wide.IGNORE and len(touched) + bool(nothing) > 1:
        return False
    registers = (p for p in touched if isinstance(p, View))
    return policy.partial is Partial.LANES or all(p.lanes(word) & ~strobes == 0 for p in registers)


def identifier(name: str) -> str:
    """A name of the description as (part of) a name in Verilog."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _lanes(offset: int, size: int, word: int) -> int:
    return sum(1 << b for b in range(LANES) if offset <= word * LANES + b < offset + size)
