"""The kinds of register, and the register file (BAR) that holds them.

A register is a small construct ``Subconstruct``: it parses, builds and compiles as the unsigned word it is, and carries
what a word alone does not say: where it stands, what each field does on access, what each reset leaves, who says so.
What is written per line is::

    "v2pmailbox" / Reg32(0x0C40, "sts" / W1P[0] * "...", "pfsts" / RC[4] * "...", RSVD[...], DS("8.10.x")) * "what it is"

that is: the offset; fields, or one access for a register that is a single field; sources. Arrays say ``Each(base, stride,
count)`` for the offset.

Kinds are data for the bank, the oracle, the exports and ``show``; none is a callback:

- ``Reg8`` ... ``Reg64``: stores.
- ``Alias32``: a second address of a state that another register owns, with an access of its own (EIMC clears EIMS).
- ``Doorbell32``: a write is an event; nothing is stored, reads give 0.
- ``Command32``: a write is an event; a read gives the result that the device left.
- ``Pair32``: the low and high halves of a 64-bit value which takes effect when the high half is written.
- ``Window``: memory, optionally with a layout.
- ``banked_by``: an index register selects which instance an address shows.
- ``locked_by``: another field decides whether writes land (``regmodel.locks``).

Honest kinds say what is missing: ``status=UNIMPLEMENTED`` is known but does nothing here, ``status=UNDOCUMENTED`` is
touched by drivers and described nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard

from construct import Construct, Container, Int8ul, Int16ul, Int32ul, Int64ul, ListContainer, Subconstruct

from regmodel.access import Access, OnWrite, declaring_line
from regmodel.bits import Bits, Field
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause
from regmodel.locks import check_locks
from regmodel.sources import Source

WORDS = {8: Int8ul, 16: Int16ul, 32: Int32ul, 64: Int64ul}


class Kind(Enum):
    PLAIN = "register"
    ALIAS = "alias"
    DOORBELL = "doorbell"
    COMMAND = "command"
    WINDOW = "window"


class Status(Enum):
    IMPLEMENTED = "implemented"
    UNIMPLEMENTED = "unimplemented"
    UNDOCUMENTED = "undocumented"


UNIMPLEMENTED, UNDOCUMENTED = Status.UNIMPLEMENTED, Status.UNDOCUMENTED


@dataclass(frozen=True)
class Each:
    """The offsets of an array: instance ``i`` stands at ``base + i * stride`` bytes."""

    base: int
    stride: int
    count: int

    def __iter__(self) -> Iterator[int]:
        return (self.base + i * self.stride for i in range(self.count))


At: TypeAlias = int | Each
Reset: TypeAlias = int | Mapping[ResetCause, int]


class Register(Subconstruct):  # type: ignore[misc]
    """One register or array of registers. Made by ``Reg32`` and its like, not by hand.

    ``survives`` are the resets that none of its fields feels; ``locked_by`` (key, value) locks all that a write changes.
    Raises ``DescriptionError``: ``register-what``, and what ``bits.elaborate`` finds in its fields.
    """

    def __init__(
        self,
        kind: Kind,
        width: int,
        at: At,
        what: tuple[Access | Field | Source, ...],
        *,
        reset: Reset = 0,
        of: str | None = None,
        banked_by: tuple[str, int] | None = None,
        pair: tuple[str, str] | None = None,
        survives: Iterable[ResetCause] = (),
        locked_by: tuple[str, int] | None = None,
        status: Status = Status.IMPLEMENTED,
        why: str = "",
    ) -> None:
        self.where = declaring_line()
        self.kind, self.width, self.at, self.status, self.why = kind, width, at, status, why
        self.offsets = tuple(at) if isinstance(at, Each) else (at,)
        self.is_array = isinstance(at, Each)
        self.of, self.banked_by, self.pair = of, banked_by, pair
        self.resets = reset if isinstance(reset, Mapping) else {ResetCause.POWER_ON: reset}
        path = f"{kind.value}@{at.base if isinstance(at, Each) else at:#x}"  # its name comes later, by ``/``
        self.sources = tuple(w for w in what if isinstance(w, Source))
        given = tuple(w for w in what if isinstance(w, Field))
        wholes = [w for w in what if isinstance(w, Access)]
        if len(self.sources) + len(given) + len(wholes) < len(what) or len(wholes) + bool(given) != 1:
            text = "takes either one access or its fields, and sources; nothing else"
            raise DescriptionError("register-what", path, self.where, text)
        self.whole = wholes[0] if wholes else None
        if self.whole is not None:
            given = (Field(self.whole, 0, width, name="value", where=self.where),)
        given = tuple(f.sticky(*survives) for f in given) if survives else given
        if locked_by is not None:
            given = tuple(f.locked_by(*locked_by) if f.access.writable and f.lock is None else f for f in given)
        word = WORDS[width]
        super().__init__(word if self.whole is not None else Bits(word, *given, path=path))
        self.fields: tuple[Field, ...] = given if self.whole is not None else self.subcon.fields

    def _emitparse(self, code: Any) -> str:
        return str(self.subcon._compileparse(code))

    def _emitbuild(self, code: Any) -> str:
        return str(self.subcon._compilebuild(code))

    @property
    def size(self) -> int:
        """Bytes of one instance."""
        return self.width // 8

    @property
    def named(self) -> dict[str, Field]:
        """The fields by name."""
        return {f.name: f for f in self.fields if f.name}

    @property
    def sole(self) -> bool:
        """The register is one field: its value is a number, not a container."""
        return self.whole is not None

    def mask(self, *accesses: Access) -> int:
        """All bits whose access is one of ``accesses``."""
        return sum(f.mask for f in self.fields if f.access in accesses)

    def reset_value(self, cause: ResetCause) -> int:
        """What the word is after ``cause``: the value given for it, else the one of power-on."""
        return self.resets.get(cause, self.resets.get(ResetCause.POWER_ON, 0))

    @property
    def side_effects(self) -> bool:
        """An access does more than fetch or store."""
        return self.kind in (Kind.DOORBELL, Kind.COMMAND) or any(f.access.side_effects for f in self.fields)


What: TypeAlias = Access | Field | Source


def Reg8(at: At, *what: What, **more: Any) -> Register:
    """An 8-bit register that stores."""
    return Register(Kind.PLAIN, 8, at, what, **more)


def Reg16(at: At, *what: What, **more: Any) -> Register:
    """A 16-bit register that stores."""
    return Register(Kind.PLAIN, 16, at, what, **more)


def Reg32(at: At, *what: What, **more: Any) -> Register:
    """A 32-bit register that stores."""
    return Register(Kind.PLAIN, 32, at, what, **more)


def Reg64(at: At, *what: What, **more: Any) -> Register:
    """A 64-bit register that stores."""
    return Register(Kind.PLAIN, 64, at, what, **more)


def Alias32(at: At, of: str, *what: What, **more: Any) -> Register:
    """A second address of register ``of``, whose bits it reads and writes under its own access."""
    return Register(Kind.ALIAS, 32, at, what, of=of, **more)


def Doorbell16(at: At, *what: What, **more: Any) -> Register:
    """A write of 16 bits is an event; nothing is stored, reads give 0."""
    return Register(Kind.DOORBELL, 16, at, what, **more)


def Doorbell32(at: At, *what: What, **more: Any) -> Register:
    """A write of 32 bits is an event; nothing is stored, reads give 0."""
    return Register(Kind.DOORBELL, 32, at, what, **more)


def Command32(at: At, *what: What, **more: Any) -> Register:
    """A write of 32 bits is an event; a read gives the result that the device left for the last one."""
    return Register(Kind.COMMAND, 32, at, what, **more)


def Pair32(
    low: str, low_at: At, high: str, high_at: At, *what: What, doc: str = "", **more: Any
) -> tuple[Construct, Construct]:
    """Two 32-bit halves of one 64-bit value; it takes effect, and hooks see it, when the high half is written."""
    return (
        low / Register(Kind.PLAIN, 32, low_at, what, pair=(low, high), **more) * f"{doc} (low half)",
        high / Register(Kind.PLAIN, 32, high_at, what, pair=(low, high), **more) * f"{doc} (high half)",
    )


class Window(Subconstruct):  # type: ignore[misc]
    """Memory inside a BAR: ``Window(0x800, Array(16, Int32ul), RW)``. The layout is any construct of a fixed size.

    ``mappable`` says that the device offers the window to be mapped by the guest, which costs all of its posted writes.
    """

    def __init__(
        self,
        at: int,
        layout: Construct,
        access: Access,
        *sources: Source,
        mappable: bool = False,
        survives: Iterable[ResetCause] = (),
        why: str = "",
    ) -> None:
        super().__init__(layout)
        self.where = declaring_line()
        self.kind, self.at, self.access, self.sources = Kind.WINDOW, at, access, sources
        self.mappable, self.survives, self.why = mappable, frozenset(survives), why
        self.size = int(layout.sizeof())  # bytes
        self.offsets = (at,)
        self.status = Status.IMPLEMENTED
        self.is_array = False

    @property
    def side_effects(self) -> bool:
        return self.access.side_effects


class Miss(Enum):
    """What an access that the register file does not take is answered with; writes are dropped in either case."""

    ZEROS = 0
    ONES = 1


class Partial(Enum):
    """What an access narrower than its register, or not aligned to it, does."""

    LANES = "acts on the bytes that it covers, side effects included"
    IGNORE = "misses"


class Wide(Enum):
    """What an access that reaches beyond one register (into another, or into nothing) does."""

    SPLIT = "acts on each, lowest address first"
    IGNORE = "misses"


@dataclass(frozen=True)
class Policy:
    """How a register file answers accesses that are not exactly one register.

    ``partial`` is about registers only: a window is memory, and any byte of it may be accessed alone.
    """

    unmapped: Miss = Miss.ZEROS
    partial: Partial = Partial.LANES
    unaligned: Partial = Partial.LANES
    wide: Wide = Wide.SPLIT


@dataclass(frozen=True)
class Moved:
    """Registers that come and go. While ``when`` holds, those in [first, first + gone) are not there, and what stands
    behind them stands ``gone`` bytes lower. The description shows the file as it is otherwise.
    """

    first: int
    gone: int
    when: str

    def shown(self, offset: int) -> int:
        """Where software finds, while it holds, what stands at ``offset``. What is gone is found nowhere: -1."""
        return offset if offset < self.first else offset - self.gone if offset >= self.first + self.gone else -1


Entry: TypeAlias = Register | Window


def _owns_its_state(entry: Entry | None) -> TypeGuard[Register]:
    """A plain register which is one state: no alias, no bank, no event."""
    return isinstance(entry, Register) and entry.kind is Kind.PLAIN and entry.banked_by is None


def unwrap(subcon: Construct) -> tuple[str, str, Construct]:
    """The name, doc string and inside of a construct under any number of ``Renamed`` (each ``*`` or ``/`` adds one)."""
    name, doc = "", ""
    while type(subcon).__name__ == "Renamed":
        name = name or subcon.name or ""
        doc = doc or str(subcon.docs or "")
        subcon = subcon.subcon
    return name, doc.strip(), subcon


class Bar(Construct):  # type: ignore[misc]
    """A register file of ``size`` bytes: parses to a container of all its registers and builds from one.

    ``entries`` maps names to ``Register`` or ``Window``, in order of declaration; ``docs_of`` holds their doc strings.
    Raises ``DescriptionError``: ``entry-name``, ``entry-kind``, ``entry-duplicate``, ``entry-outside``, ``entry-misaligned``,
    ``entry-overlap``, ``array-stride``, ``array-empty``, ``window-access``, ``alias-target``, ``bank-select``, ``once-shared``,
    ``reset-value``, and what ``locks.check_locks`` finds.
    """

    def __init__(
        self, name: str, size: int, *entries: Construct, policy: Policy = Policy(), moved: Moved | None = None, doc: str = ""
    ) -> None:
        super().__init__()
        self.where = declaring_line()
        self.bar, self.size, self.policy, self.moved, self.about = name, size, policy, moved, doc
        self.entries: dict[str, Entry] = {}
        self.docs_of: dict[str, str] = {}
        for subcon in entries:
            self._add(*unwrap(subcon))
        self._check_places()
        self._check_references()

    def _add(self, name: str, doc: str, entry: Construct) -> None:
        where = getattr(entry, "where", self.where)
        if not isinstance(entry, Register | Window):
            raise DescriptionError("entry-kind", f"{self.bar}.{name}", where, "a BAR holds registers and windows only")
        if not name:
            raise DescriptionError("entry-name", f"{self.bar}+{entry.offsets[0]:#x}", where, "the register has no name")
        if name in self.entries:
            raise DescriptionError("entry-duplicate", f"{self.bar}.{name}", where, "two registers have this name")
        self.entries[name] = entry
        self.docs_of[name] = doc

    def _check_places(self) -> None:
        taken: list[tuple[int, int, str]] = []
        for name, e in self.entries.items():
            path = f"{self.bar}.{name}"
            if isinstance(e, Register) and isinstance(e.at, Each) and e.at.stride < e.size:
                raise DescriptionError("array-stride", path, e.where, f"stride {e.at.stride:#x} is less than {e.size} bytes")
            if not e.offsets:
                raise DescriptionError("array-empty", path, e.where, "an array has one element at least")
            if isinstance(e, Window) and (e.access.side_effects or not e.access.readable):
                raise DescriptionError("window-access", path, e.where, f"memory is read and stored, it is not {e.access}")
            for i, offset in enumerate(e.offsets):
                at = f"{path}[{i}]" if e.is_array else path
                if isinstance(e, Register) and offset % e.size:
                    raise DescriptionError("entry-misaligned", at, e.where, f"{offset:#x} is no multiple of {e.size}")
                if offset < 0 or offset + e.size > self.size:
                    raise DescriptionError("entry-outside", at, e.where, f"{offset:#x} lies outside of {self.size:#x} bytes")
                taken.append((offset, offset + e.size, at))
        taken.sort()
        for (_, end, first), (start, _, second) in pairwise(taken):
            if start < end:
                e = self.entries[second.rpartition(".")[2].partition("[")[0]]
                raise DescriptionError("entry-overlap", second, e.where, f"overlaps {first} at {start:#x}")

    def _check_references(self) -> None:
        for name, e in self.entries.items():
            if not isinstance(e, Register):
                continue
            path = f"{self.bar}.{name}"
            if e.of is not None:
                target = self.entries.get(e.of)
                if not _owns_its_state(target) or target.width != e.width:
                    raise DescriptionError("alias-target", path, e.where, f"{e.of} is no plain {e.width}-bit register")
                if len(target.offsets) != len(e.offsets):
                    raise DescriptionError("alias-target", path, e.where, f"{e.of} is an array of another length")
            if e.banked_by is not None:
                select, count = e.banked_by
                index = self.entries.get(select)
                if not _owns_its_state(index) or index.is_array:
                    raise DescriptionError("bank-select", path, e.where, f"{select} is no plain single register to select by")
                if count < 1:
                    raise DescriptionError("bank-select", path, e.where, "a bank has one instance at least")
            if not _owns_its_state(e) and any(f.access.onwrite is OnWrite.ONCE for f in e.fields):
                raise DescriptionError("once-shared", path, e.where, "write-once bits need a plain register of their own")
            if e.kind is Kind.DOORBELL and any(e.resets.values()):
                raise DescriptionError("reset-value", path, e.where, "a doorbell stores nothing, so it has no reset value")
            for cause, value in e.resets.items():
                if not 0 <= value < 1 << e.width:
                    raise DescriptionError("reset-value", path, e.where, f"{value:#x} ({cause.value}) exceeds {e.width} bits")
        check_locks(self.bar, self.entries)

    def placed(self) -> Iterator[tuple[str, int, int, Entry]]:
        """Every instance as (path, index, offset, entry), by offset; the path of an array element is ``name[index]``."""
        rows = [
            (f"{name}[{i}]" if e.is_array else name, i, offset, e)
            for name, e in self.entries.items()
            for i, offset in enumerate(e.offsets)
        ]
        return iter(sorted(rows, key=lambda row: row[2]))

    def _sizeof(self, context: Any, path: str) -> int:
        return self.size

    def _parse(self, stream: Any, context: Any, path: str) -> Container:
        data = stream.read(self.size)
        return Container(
            {
                name: ListContainer(e.parse(data[o : o + e.size]) for o in e.offsets)
                if e.is_array
                else e.parse(data[e.offsets[0] : e.offsets[0] + e.size])
                for name, e in self.entries.items()
            }
        )

    def _build(self, obj: Mapping[str, Any], stream: Any, context: Any, path: str) -> Mapping[str, Any]:
        image = bytearray(self.size)
        for name, e in self.entries.items():
            if name in obj:
                for offset, value in zip(e.offsets, obj[name] if e.is_array else [obj[name]], strict=True):
                    image[offset : offset + e.size] = e.build(value)
        stream.write(bytes(image))
        return obj
