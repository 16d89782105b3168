"""The accessors: one object per register instance, whose attributes are what that register can do and nothing else.

``word_class`` makes one class per register of a description: a property for each field that can be read, on a base that has
``read`` only where the register reads and ``write`` only where it writes. Each method makes exactly one bus access of the
declared width, unless it says otherwise.

Bits that reading clears are never lost. An access hands the caller the bits that he asked for and keeps the others in the
latch of the register, where the next one who asks finds them; Linux' igbvf does the same by hand (``e1000_read_v2p_mailbox``
in igbvf/mbx.c).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, SupportsIndex, TypeVar, overload

from drivers.errors import DeviceGone, DeviceTimeout
from drivers.registers.shape import Shape, Value
from drivers.transports import Transport
from regmodel.access import OnRead
from regmodel.bits import Field
from regmodel.errors import UsageError
from regmodel.registers import Kind

SHORTEST, LONGEST = 20e-6, 1e-3
"""Seconds between two polls: doubled each time, from the shortest to the longest."""

T = TypeVar("T")


class Latch:
    """The bits that a read has cleared and nobody has asked for yet. Aliases of one state share it."""

    __slots__ = ("bits",)

    def __init__(self) -> None:
        self.bits = 0


class Word:
    """One register instance: ``path`` as in ``rdt[1]``, ``offset`` in bytes, ``width`` in bits."""

    __slots__ = ("_latch", "_load", "_transport", "offset", "path")
    _shape: Shape

    def __init__(
        self, path: str, offset: int, load: Callable[[], int], store: Callable[[int], None], latch: Latch, transport: Transport
    ) -> None:
        self.path, self.offset = path, offset
        self._load, self._latch, self._transport = load, latch, transport

    @property
    def width(self) -> int:
        return self._shape.width

    def __repr__(self) -> str:
        return f"<{self._shape.entry.kind.value} {self.path} at {self.offset:#x}, {self.width} bits>"


class Readable(Word):
    """What can be read and does not mind."""

    __slots__ = ()

    def read(self) -> int:
        """The whole word. Raises ``DeviceGone`` for ones where the description says that some bit reads 0."""
        word = self._load()
        return word if word != self._shape.absent else self._confirm()

    def fields(self) -> dict[str, int]:
        """All fields that can be read, from one access."""
        return self._shape.decode(self.read())

    def wait(self, *, timeout: float, **fields: Value) -> int:
        """Poll until every field named has its value, at most ``timeout`` seconds; returns the word that showed it.

        A field that reading clears is seen even when an earlier access met it, and is taken out of the latch; to wait
        until it is 0 looks at the register alone and leaves the latch as it is. Raises ``DeviceTimeout``.
        """
        if not math.isfinite(timeout) or timeout < 0:
            raise UsageError(f"{self.path}: a wait needs a timeout of 0 or more seconds, not {timeout}")
        if not fields:
            raise UsageError(f"{self.path}: name a field to wait for, as {next(iter(self._shape.readable), 'field')}=1")
        due, gone, asked = 0, 0, 0
        for name, value in fields.items():
            f = self._shape.field(name, self._shape.readable, "waited for")
            number = self._shape.number(name, f, value)
            if f.access.onread is OnRead.CLEAR and number == 0:
                gone |= f.mask
            else:
                due, asked = due | number << f.lsb, asked | f.mask
        return self._poll(due, asked, gone, timeout, " ".join(f"{n}={v}" for n, v in fields.items()))

    def _poll(self, due: int, asked: int, gone: int, timeout: float, what: str) -> int:
        transport, pause = self._transport, SHORTEST
        end = transport.now() + timeout
        while True:
            late = transport.now() >= end  # asked before the access, so that the last look is behind the deadline
            fresh, known = self._look()
            if known & asked == due and not fresh & gone:
                self._latch.bits &= ~asked
                return known
            if late:
                raise DeviceTimeout(f"{self.path}: no {what} within {timeout:g} s; it reads {self._shape.prose(known)}")
            transport.sleep(pause)
            pause = min(2 * pause, LONGEST)

    def _look(self) -> tuple[int, int]:
        """(what one access shows, the same with the latch), keeping in the latch what it cleared."""
        word = self.read()
        return word, word

    def _fetch(self, asked: int) -> int:
        """The word, from one access made for the bits ``asked``."""
        return self.read()

    def _confirm(self) -> int:
        """All ones, which cannot be. Read again where a read changes nothing, to tell a lost answer from a lost device."""
        if not self._shape.clears and not self._shape.sets:
            again = self._load()
            if again != self._shape.absent:
                return again
        raise DeviceGone(
            f"{self.path} reads all ones, which it cannot hold: the device is gone (rescan the bus, reopen it), "
            "asleep, or does not decode memory (command register)"
        )


class Latching(Readable):
    """What reading clears, in part or whole."""

    __slots__ = ()

    def read(self) -> int:
        """The whole word, with what the latch holds, which is empty then: the caller has asked for every bit."""
        return self._fetch(self._shape.ones)

    def take(self, name: str) -> int:
        """A field that reading clears: from the latch, else from one access. Its bits leave the latch, all others stay."""
        f = self._shape.field(name, self._shape.readable, "taken")
        if f.access.onread is not OnRead.CLEAR:
            raise UsageError(f"{self.path}.{name}{f.range} cannot be taken: reading does not clear it; it is {f.access}")
        held = self._latch.bits & f.mask
        if held != f.mask:
            return f.of(self._fetch(f.mask))
        self._latch.bits ^= held
        return f.of(held)

    @property
    def latched(self) -> int:
        """The bits that an earlier access has cleared and nobody has asked for. No access."""
        return self._latch.bits

    def _fetch(self, asked: int) -> int:
        word = super().read() | self._latch.bits
        self._latch.bits = word & self._shape.clears & ~asked
        return word

    def _look(self) -> tuple[int, int]:
        fresh = super().read()
        known = fresh | self._latch.bits
        self._latch.bits = known & self._shape.clears
        return fresh, known


class Writable(Word):
    """What can be written. ``store`` is the hot path: a callable that makes one store of the number given, unchecked."""

    __slots__ = ("store",)
    store: Callable[[int], None]

    def __init__(
        self, path: str, offset: int, load: Callable[[], int], store: Callable[[int], None], latch: Latch, transport: Transport
    ) -> None:
        super().__init__(path, offset, load, store, latch, transport)
        self.store = store

    def write(self, value: SupportsIndex | None = None, /, **fields: Value) -> None:
        """The whole word, or named fields. Fields not named are written with what leaves them alone, else with 0.

        Reserved bits are written as they must be. Raises ``UsageError`` and writes nothing for what does not fit.
        """
        shape = self._shape
        if value is None:
            word = shape.word(fields)
        elif fields:
            raise UsageError(f"{self.path}: write either the whole word or fields")
        else:
            word = shape.whole(value)
        if self._latch.bits:
            self._latch.bits &= ~(word & shape.one_clears)
        self.store(word)


class Modifiable(Word):
    """What reads back what was written, so that a part of it can be changed."""

    __slots__ = ()
    _draft: type[Draft]

    def modify(self) -> Modification:
        """A read when the ``with`` begins, a write when it ends (none when it ends by an exception).

        Neighbours stay as they are: those that store are written as read, those that a 1 clears, sets, toggles or starts
        with 0, and what the read has cleared goes to the latch. Raises ``UsageError`` before the first access, or before
        the write, where no value leaves a neighbour alone.
        """
        if self._shape.sets:
            name, f = next((n, f) for n, f in self._shape.readable.items() if f.mask & self._shape.sets)
            raise UsageError(f"{self.path} cannot be modified: reading sets {name}{f.range} ({f.access}); use write()")
        return Modification(self)


class Modification:
    """What ``modify`` returns: good for one ``with``, which gives the draft. Has no fields, so that none is set in vain."""

    __slots__ = ("_draft", "_register")

    def __init__(self, register: Any) -> None:
        self._register = register

    def __enter__(self) -> Draft:
        draft: Draft = self._register._draft(self._register.path, self._register._fetch(0))
        self._draft = draft
        return draft

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._register.store(self._draft._final())


class Draft:
    """The word under change in ``with dev.rxdctl[0].modify() as r``; its attributes are the fields. Touches no bus."""

    __slots__ = ("_assigned", "_path", "_word")
    _shape: Shape

    def __init__(self, path: str, word: int) -> None:
        self._path, self._word, self._assigned = path, word, 0

    def _final(self) -> int:
        """What is to be written. Raises ``UsageError`` where a field that cannot be kept was not given."""
        shape, assigned = self._shape, self._assigned
        for name, f in shape.unkeepable.items():
            if not assigned & f.mask:
                raise UsageError(
                    f"{self._path} cannot be modified without giving {name}{f.range}: it is {f.access} "
                    f"({f.access.prose}), so its value cannot be kept; assign it too, or use write()"
                )
        return self._word & (shape.kept | assigned) | shape.neutral & ~assigned

    def __repr__(self) -> str:
        return f"<draft of {self._path} = {self._shape.prose(self._word)}>"

    def __getattr__(self, name: str) -> Any:  # only reached where there is no such field
        raise NoSuchField(f"{self._shape.name} has no field {name!r} to read; it has {', '.join(self._shape.readable)}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        shape = self._shape
        f = shape.field(name, shape.writable, "written")
        if name not in shape.drafted:
            raise UsageError(
                f"{self._path}.{name}{f.range} is {f.access} ({f.access.prose}): it does not store, "
                f"so modify() cannot set it; use write({name}=...)"
            )
        self._word = self._word & ~f.mask | shape.number(name, f, value) << f.lsb
        self._assigned |= f.mask


class NoSuchField(UsageError, AttributeError):
    """A field that the register does not have, or that cannot be read."""


class Command(Word):
    """A write is an event, a read gives its result."""

    __slots__ = ()

    def read(self) -> int:
        """The result of the last command."""
        return self._load()

    def execute(self, value: SupportsIndex | None = None, /, **fields: Value) -> int:
        """Write the command, read its result: two accesses."""
        self.write(value, **fields)  # type: ignore[attr-defined]
        return self._load()


class Array(Sequence[T]):
    """The instances of a register: by index, by slice, in a loop. ``path`` is the name."""

    __slots__ = ("_items", "path")

    def __init__(self, path: str, items: Sequence[T]) -> None:
        self.path, self._items = path, tuple(items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        try:
            return self._items[index]
        except IndexError:
            raise NoSuchInstance(f"there is no {self.path}[{index}]; the last is {self.path}[{len(self._items) - 1}]") from None

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"<{self.path}[0] to {self.path}[{len(self) - 1}]>"


class NoSuchInstance(UsageError, IndexError):
    """An index beyond the last instance of a register."""


def word_class(shape: Shape) -> type[Word]:
    """The class of all instances of ``shape``: its bases say what it can do, its properties are its fields."""
    bases: list[type[Word]] = []
    if shape.entry.kind is Kind.COMMAND:
        bases.append(Command)
    elif shape.can_read:
        bases.append(Latching if shape.clears else Readable)
    if shape.can_write:
        bases.append(Writable)
    if shape.can_modify:
        bases.append(Modifiable)
    members: dict[str, Any] = {"__slots__": (), "__doc__": shape.doc, "_shape": shape, "__module__": __name__}
    for name, f in shape.readable.items():
        members[name] = _reader(f)
    made = type(title(shape.name), tuple(bases or [Word]), members)
    if shape.can_modify:
        draft: dict[str, Any] = {"__slots__": (), "__doc__": shape.doc, "_shape": shape, "__module__": __name__}
        for name, f in shape.fields.items():
            draft[name] = _drafted(shape, name, f)
        made._draft = type(f"{made.__name__}Draft", (Draft,), draft)  # type: ignore[attr-defined]
    return made


def title(name: str) -> str:
    """``v2p_mailbox`` as a class: ``V2pMailbox``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _reader(f: Field) -> property:
    mask, lsb = f.mask, f.lsb

    def read(self: Readable) -> int:
        return (self._fetch(mask) & mask) >> lsb

    return property(read, doc=f"{f.name}{f.range}: {f.doc or f.access.prose}. One access.")


def _drafted(shape: Shape, name: str, f: Field) -> property:
    mask, lsb = f.mask, f.lsb

    def get(self: Draft) -> int:
        return (self._word & mask) >> lsb

    return property(get if name in shape.readable else None, doc=f.doc)
