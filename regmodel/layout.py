"""The one walker that turns a description of fixed size into what fast code needs.

``layout(schema)`` walks a construct once (memoised by identity) and yields its leaves: path, offset, ``struct`` format,
fields. From them follow one ``struct.Struct`` for a whole record, one ``numpy.dtype`` for a burst of them, and the
shifts and masks of each field. construct itself stays the declaration: a property test asserts for every schema that
construct, struct and numpy agree on random bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from construct import Adapter, Array, Bytes, Const, Construct, Enum, FormatField, Padded, Struct

from regmodel.access import declaring_line
from regmodel.bits import Bits, Field
from regmodel.errors import DescriptionError
from regmodel.registers import Bar, Register, Window, unwrap

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Leaf:
    """One number or run of bytes. ``path`` is as ``a.b[2].c``; ``format`` a ``struct`` character, ``6s`` for bytes.

    ``must`` is the only number it may hold (``Const``), ``names`` are those of its numbers (``Enum``).
    """

    path: str
    offset: int
    size: int
    format: str
    big_endian: bool
    fields: tuple[Field, ...] = ()
    doc: str = ""
    must: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_bytes(self) -> bool:
        return self.format.endswith("s")


class Layout:
    """What ``layout`` returns: ``size`` in bytes, ``leaves`` by offset."""

    def __init__(self, schema: Construct, leaves: tuple[Leaf, ...], size: int) -> None:
        self.schema, self.leaves, self.size = schema, leaves, size
        self.names = tuple(leaf.path for leaf in leaves)
        self.offsets = {leaf.path: leaf.offset for leaf in leaves}

    @cached_property
    def struct(self) -> struct.Struct:
        """All leaves in one unpack, in the order of ``names``. Raises ``DescriptionError`` when byte orders are mixed."""
        orders = {leaf.big_endian for leaf in self.leaves if leaf.size > 1 and not leaf.is_bytes}
        if len(orders) > 1:
            path = self.leaves[0].path
            raise DescriptionError("mixed-endian", path, declaring_line(), "byte orders are mixed: no single struct")
        text, at = [">" if orders == {True} else "<"], 0
        for leaf in self.leaves:
            if leaf.offset > at:
                text.append(f"{leaf.offset - at}x")
            text.append(leaf.format)
            at = leaf.offset + leaf.size
        if self.size > at:
            text.append(f"{self.size - at}x")
        return struct.Struct("".join(text))

    @cached_property
    def dtype(self) -> numpy.dtype[Any]:
        """A record type of ``size`` bytes with one member per leaf, named by its path."""
        import numpy as np

        def kind(leaf: Leaf) -> str:
            return f"V{leaf.size}" if leaf.is_bytes else f"{'>' if leaf.big_endian else '<'}{_NUMPY[leaf.format]}"

        return np.dtype(
            {
                "names": list(self.names),
                "formats": [kind(leaf) for leaf in self.leaves],
                "offsets": [leaf.offset for leaf in self.leaves],
                "itemsize": self.size,
            }
        )  # type: ignore[call-overload, no-any-return, unused-ignore]

    def leaf(self, path: str) -> Leaf:
        """The leaf at ``path``. Raises KeyError."""
        for leaf in self.leaves:
            if leaf.path == path:
                return leaf
        raise KeyError(path)

    def field(self, path: str, name: str) -> Field:
        """Field ``name`` of the word at ``path``: its ``.lsb`` and ``.mask`` are what a hot path needs."""
        for f in self.leaf(path).fields:
            if f.name == name:
                return f
        raise KeyError(f"{path}.{name}")


_NUMPY = {"B": "u1", "H": "u2", "I": "u4", "L": "u4", "Q": "u8", "b": "i1", "h": "i2", "i": "i4", "l": "i4", "q": "i8"}
_memo: dict[int, Layout] = {}


def layout(schema: Construct) -> Layout:
    """Walk ``schema`` (once). Raises ``DescriptionError`` ``not-fixed`` for what has no fixed layout."""
    found = _memo.get(id(schema))
    if found is None or found.schema is not schema:
        leaves = tuple(sorted(_walk(schema, "", 0), key=lambda leaf: leaf.offset))
        found = _memo[id(schema)] = Layout(schema, leaves, int(schema.sizeof()))
    return found


def _walk(subcon: Construct, path: str, offset: int, doc: str = "", fields: tuple[Field, ...] = ()) -> Iterator[Leaf]:
    _, own, inner = unwrap(subcon)
    doc = own or doc
    match inner:
        case FormatField():
            character = {"L": "I", "l": "i"}.get(inner.fmtstr[1], inner.fmtstr[1])
            yield Leaf(path, offset, inner.length, character, inner.fmtstr[0] == ">", fields, doc)
        case Struct():
            for part in inner.subcons:
                name = unwrap(part)[0]
                if name:
                    yield from _walk(part, f"{path}.{name}" if path else name, offset)
                offset += part.sizeof()
        case Array():
            for i in range(int(inner.count)):
                yield from _walk(inner.subcon, f"{path}[{i}]", offset + i * inner.subcon.sizeof(), doc, fields)
        case Bar():
            for name, _, at, entry in inner.placed():
                doc = inner.docs_of[name.partition("[")[0]]
                yield from _walk(entry, f"{path}.{name}" if path else name, offset + at, doc)
        case Bits() | Register():
            yield from _walk(inner.subcon, path, offset, doc, inner.fields)
        case Bytes():
            yield Leaf(path, offset, int(inner.sizeof()), f"{int(inner.sizeof())}s", False, (), doc)
        case Const() if isinstance(inner.value, int):
            for leaf in _walk(inner.subcon, path, offset, doc, fields):
                yield replace(leaf, must=inner.value)
        case Enum():
            for leaf in _walk(inner.subcon, path, offset, doc, fields):
                yield replace(leaf, names=dict(inner.ksymapping))
        case Window() | Padded() | Const() | Adapter():
            yield from _walk(inner.subcon, path, offset, doc, fields)
        case _:
            raise DescriptionError(
                "not-fixed", path or "?", declaring_line(), f"{type(inner).__name__} has no fixed layout"
            )
