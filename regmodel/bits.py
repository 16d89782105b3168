"""Bit fields, numbered from the least significant bit as datasheets number them.

``Field`` is one range of bits with its behaviour; ``Bits`` is the construct adapter that makes an unsigned word parse to
a container of fields and build from one. construct's own ``BitStruct`` counts from the other end, is reversed silently
by ``BitsSwapped`` and does not compile; it is not used anywhere in this project.

``F`` is the plain field of descriptors and messages, where access has no meaning: ``"len" / F[15:0] * "length"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from construct import Adapter, Construct, Container

from regmodel.access import RW, Access, declaring_line
from regmodel.errors import DescriptionError
from regmodel.function import ResetCause
from regmodel.sources import Source

F = RW


@dataclass(frozen=True)
class Lock:
    """Shut while field ``key`` of the same BAR holds ``value``; ``regmodel.locks`` says what that means.

    ``key`` is ``register.field``, or the name of a register that is one number.
    """

    key: str
    value: int = 1

    @property
    def register(self) -> str:
        return self.key.partition(".")[0]

    @property
    def field(self) -> str:
        return self.key.partition(".")[2] or "value"

    def __str__(self) -> str:
        return f"{self.key} is {self.value if self.value < 10 else f'{self.value:#x}'}"


@dataclass(frozen=True)
class Field:
    """``width`` bits from ``lsb``, of one behaviour. ``values`` names the numbers that mean something.

    ``lsb`` is -1 for "all bits that no other field claims". ``survives`` lists the resets that leave the field alone.
    While ``lock`` is shut, writes leave it alone.
    """

    access: Access
    lsb: int
    width: int
    name: str = ""
    doc: str = ""
    values: Mapping[int, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    survives: frozenset[ResetCause] = frozenset()
    lock: Lock | None = None
    where: str = "?"

    @property
    def msb(self) -> int:
        return self.lsb + self.width - 1

    @property
    def mask(self) -> int:
        """The bits of the field within its word."""
        return ((1 << self.width) - 1) << self.lsb

    @property
    def range(self) -> str:
        """As the datasheet writes it: ``[15:0]``, ``[1]``."""
        return f"[{self.msb}:{self.lsb}]" if self.width > 1 else f"[{self.lsb}]"

    @property
    def behaviour(self) -> str:
        """What accesses do to it, in words."""
        return self.access.prose if self.lock is None else f"{self.access.prose}; ignores writes while {self.lock}"

    def of(self, word: int) -> int:
        """The value of the field in ``word``."""
        return (word & self.mask) >> self.lsb

    def into(self, word: int, value: int) -> int:
        """``word`` with the field replaced by ``value``. Raises ValueError when it does not fit."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{value:#x} does not fit field {self.name}{self.range}")
        return (word & ~self.mask) | value << self.lsb

    def number(self, value: int | str) -> int:
        """A value by number or by its name in ``values``."""
        if isinstance(value, str):
            for number, name in self.values.items():
                if name == value:
                    return number
            raise ValueError(f"{self.name}{self.range} has no value named {value!r}; it has {sorted(self.values.values())}")
        return int(value)

    def __rtruediv__(self, name: str) -> Field:
        return replace(self, name=name)

    def __mul__(self, doc: str) -> Field:
        return replace(self, doc=doc)

    def __call__(self, /, *sources: Source, **values: int) -> Field:
        """With sources, and with named values: ``F[23:20](CONTEXT=2, DATA=3)``."""
        return replace(
            self,
            sources=self.sources + sources,
            values={**self.values, **{number: name for name, number in values.items()}},
        )

    def sticky(self, *causes: ResetCause) -> Field:
        """Not touched by these resets."""
        return replace(self, survives=self.survives | set(causes))

    def locked_by(self, key: str, value: int = 1) -> Field:
        """Ignores writes while ``key`` (``register.field`` of the same BAR) holds ``value``."""
        return replace(self, lock=Lock(key, value))


def elaborate(fields: Iterable[Field], width: int, path: str, where: str) -> tuple[Field, ...]:
    """Check the fields of one ``width``-bit word and return them by bit number, the rest filled in by ``RSVD[...]``.

    Raises ``DescriptionError``: ``field-range``, ``field-overlap``, ``field-duplicate``, ``field-gap``, ``field-rest``,
    ``field-value``, ``field-name``, ``reserved-named``.
    """
    rest: Field | None = None
    taken: dict[int, Field] = {}
    names: set[str] = set()
    kept: list[Field] = []
    for f in fields:
        at = f"{path}.{f.name}" if f.name else path
        if f.access.reserved and f.name:
            raise DescriptionError("reserved-named", at, f.where, "a reserved field takes no name; use another access")
        if not f.access.reserved and not f.name:
            raise DescriptionError("field-name", at, f.where, f"field {f.range} has no name")
        if f.lsb < 0:
            if rest is not None:
                raise DescriptionError("field-rest", at, f.where, "only one field may stand for the other bits")
            rest = f
            continue
        if f.width < 1 or f.lsb + f.width > width:
            raise DescriptionError("field-range", at, f.where, f"{f.range} does not lie in a {width}-bit word, msb first")
        if f.name and f.name in names:
            raise DescriptionError("field-duplicate", at, f.where, "the register has two fields of this name")
        for number, name in f.values.items():
            if not 0 <= number < 1 << f.width:
                raise DescriptionError("field-value", at, f.where, f"value {name} = {number:#x} does not fit {f.range}")
        for bit in range(f.lsb, f.lsb + f.width):
            if bit in taken:
                raise DescriptionError(
                    "field-overlap", at, f.where, f"{f.range} overlaps {taken[bit].name or 'reserved'}{taken[bit].range}"
                )
            taken[bit] = f
        names.add(f.name)
        kept.append(f)
    gaps = _gaps(taken, width)
    if rest is None and gaps:
        msb, lsb = gaps[0][1], gaps[0][0]
        raise DescriptionError("field-gap", path, where, f"bits [{msb}:{lsb}] are not described; add RSVD[...] if reserved")
    if rest is not None:
        kept += [replace(rest, lsb=low, width=high - low + 1) for low, high in gaps]
    return tuple(sorted(kept, key=lambda f: f.lsb))


def _gaps(taken: Mapping[int, Field], width: int) -> list[tuple[int, int]]:
    """The (low, high) bit ranges that nobody took."""
    gaps: list[tuple[int, int]] = []
    for bit in range(width):
        if bit in taken:
            continue
        if gaps and gaps[-1][1] == bit - 1:
            gaps[-1] = (gaps[-1][0], bit)
        else:
            gaps.append((bit, bit))
    return gaps


class Bits(Adapter):  # type: ignore[misc]
    """An unsigned word seen as named fields.

    ``Bits(Int32ul, "eop" / F[24], ...)`` parses to a container of integers and builds from one; absent fields are 0,
    reserved ones keep what they must be (0). Unknown names and values that do not fit raise ``ValueError``.
    """

    def __init__(self, word: Construct, *fields: Field, path: str = "") -> None:
        """``path`` is what errors call a register, which knows its offset before it is given its name; other words have none.

        Raises ``DescriptionError``: ``lock-place``, and what ``elaborate`` finds.
        """
        super().__init__(word)
        self.where = declaring_line()
        locked = next((f for f in fields if f.lock is not None), None) if not path else None
        if locked is not None:
            text = "only registers of a Bar have locks: nobody stands between memory and whoever writes it"
            raise DescriptionError("lock-place", f"bits.{locked.name}", locked.where, text)
        self.word_width = 8 * int(word.sizeof())
        self.fields = elaborate(fields, self.word_width, path or "bits", self.where)
        self.named = {f.name: f for f in self.fields if f.name}

    def _emitparse(self, code: Any) -> str:
        """Compiled by construct: one word parse, then shifts."""
        name = f"bits_{code.allocateId()}"
        pairs = ", ".join(f"({f.name!r}, (w & {f.mask:#x}) >> {f.lsb})" for f in self.named.values())
        code.append(f"def {name}(w):\n    return Container([{pairs}])")
        return f"{name}({self.subcon._compileparse(code)})"

    def _decode(self, obj: int, context: Any, path: str) -> Container:
        return Container({name: (obj & f.mask) >> f.lsb for name, f in self.named.items()})

    def _encode(self, obj: int | Mapping[str, int | str], context: Any, path: str) -> int:
        if isinstance(obj, int):
            return obj
        word = 0
        for name, value in obj.items():
            if name.startswith("_"):
                continue
            if name not in self.named:
                raise ValueError(f"no field {name!r}; there are {', '.join(self.named)}")
            word = self.named[name].into(word, self.named[name].number(value))
        return word
