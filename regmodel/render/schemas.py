"""Drawings of descriptors, messages and structures, and of the bytes of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from construct import Adapter, Array, Bytes, Const, Construct, Enum, FormatField, Padded, Struct
from rich.console import Group, RenderableType
from rich.text import Text

from regmodel.bits import Bits, Field
from regmodel.errors import UsageError
from regmodel.layout import Leaf, layout
from regmodel.registers import unwrap
from regmodel.render.picture import Box, picture
from regmodel.render.words import decode_word, draw_word, indent, named_value, source_list, table
from regmodel.sources import Source

PICTURED = 64
"""Records of up to so many bytes are drawn to scale; longer ones are listed."""


@dataclass(frozen=True)
class _Row:
    """One line of a listing. ``kind`` is ``u32``, ``6 bytes``, ``u32 × 128``; ``fields`` those of a word."""

    depth: int
    name: str
    offset: int
    size: int
    kind: str
    fields: tuple[Field, ...] = ()
    doc: str = ""


def draw_schema(name: str, schema: Construct, doc: str = "", sources: Sequence[Source] = ()) -> RenderableType:
    """A descriptor, message or structure: its bytes to scale, a listing, and each of its words of fields."""
    head = Text.assemble((name, "bold"), "  ", doc)
    parts: list[RenderableType] = [head, Text(f"{schema.sizeof()} bytes", style="dim"), "", draw_layout(schema)]
    proofs = [("", source) for source in sources] + list(_field_sources(schema))
    if proofs:
        parts += ["", *source_list(proofs)]
    return Group(*parts)


def _field_sources(schema: Construct) -> Iterator[tuple[str, Source]]:
    words = {id(row.fields): row.fields for row in _rows(schema, "", 0, 0)}
    for f in (f for fields in words.values() for f in fields):
        for source in f.sources:
            yield f.name, source


def draw_layout(schema: Construct, name: str = "", base: int = 0) -> RenderableType:
    """The body of ``draw_schema``; ``name`` is what a layout without parts is called, ``base`` is added to offsets."""
    rows = list(_rows(schema, "", 0, 0))
    if len(rows) == 1 and not rows[0].name:
        rows = [replace(rows[0], name=name)]
    size = int(schema.sizeof())
    if len(rows) == 1 and not rows[0].depth and rows[0].fields:
        return draw_word(rows[0].fields)  # a word that is a schema of its own
    parts: list[RenderableType] = []
    if size <= PICTURED and size % 4 == 0 and len(rows) > 1:
        parts += [picture(_byte_boxes(rows, size), bits=False), ""]
    digits = max(2, len(f"{base + size - 1:x}"))
    listing = table("offset", "name", "type", "")
    for row in rows:
        listing.add_row(f"{base + row.offset:#0{digits + 2}x}", "  " * row.depth + row.name, row.kind, row.doc)
    parts.append(indent(listing))
    drawn: set[int] = set()  # the same word may occur several times
    for row in rows:
        if row.fields and id(row.fields) not in drawn:
            drawn.add(id(row.fields))
            parts += ["", indent(Text(row.name, style="bold")), draw_word(row.fields)]
    return Group(*parts)


def _byte_boxes(rows: Sequence[_Row], size: int) -> list[Box]:
    """Boxes of the lowest level, reserved ones between them."""
    found: list[Box] = []
    for row in rows:
        if not row.kind or not row.size:
            continue
        end = found[-1].end if found else 0
        if row.offset > end:
            found.append(Box(end, row.offset - end, "", reserved=True))
        found.append(Box(row.offset, row.size, row.name, "bold"))
    end = found[-1].end if found else 0
    if end < size:
        found.append(Box(end, size - end, "", reserved=True))
    return found


def _rows(subcon: Construct, name: str, offset: int, depth: int, times: int = 1, doc: str = "") -> Iterator[_Row]:
    _, own, inner = unwrap(subcon)
    doc = own or doc
    size = times * int(inner.sizeof())
    many = f" × {times}" if times > 1 else ""
    match inner:
        case Struct():
            if name:
                yield _Row(depth, f"{name}{f'[{times}]' if times > 1 else ''}", offset, 0, "", doc=doc)
            for part in inner.subcons:
                if part_name := unwrap(part)[0]:
                    yield from _rows(part, part_name, offset, depth + bool(name))
                offset += int(part.sizeof())
        case Array():
            yield from _rows(inner.subcon, name, offset, depth, times * int(inner.count), doc)
        case Bits():
            yield _Row(depth, name, offset, size, f"u{inner.word_width}{many}", inner.fields, doc)
        case FormatField():
            sign = "i" if inner.fmtstr[1].islower() else "u"
            order = " big-endian" if inner.fmtstr[0] == ">" and inner.length > 1 else ""
            yield _Row(depth, name, offset, size, f"{sign}{8 * inner.length}{order}{many}", doc=doc)
        case Bytes():
            yield _Row(depth, name, offset, size, f"{inner.sizeof()} byte{'s' * (inner.sizeof() != 1)}{many}", doc=doc)
        case Const():
            value = f"{inner.value:#x}" if isinstance(inner.value, int) else inner.value.hex()
            yield from _rows(inner.subcon, name, offset, depth, times, f"always {value}{'; ' if doc else ''}{doc}")
        case Enum():
            names = ", ".join(f"{number} {label}" for number, label in sorted(inner.ksymapping.items()))
            yield from _rows(inner.subcon, name, offset, depth, times, f"{doc}{'; ' if doc else ''}{names}")
        case Padded() | Adapter():
            yield from _rows(inner.subcon, name, offset, depth, times, doc)
        case _:
            yield _Row(depth, name, offset, size, f"{size} bytes", doc=doc)


# -- bytes ---------------------------------------------------------------------------------------------------------------


def decode_bytes(schema: Construct, data: bytes, name: str = "") -> RenderableType:
    """``data`` by the layout of ``schema``. Raises ``UsageError`` when there are too many or too few bytes."""
    size = int(schema.sizeof())
    if len(data) != size:
        raise UsageError(f"{name or 'this'} has {size} bytes, not {len(data)}")
    listing = table("offset", "name", "bytes", "")
    words: list[RenderableType] = []
    digits = max(2, len(f"{size - 1:x}"))
    for quiet, leaves in groupby(layout(schema).leaves, key=lambda leaf: _quiet(leaf, data)):
        run = list(leaves)
        if quiet and len(run) > 2:
            listing.add_row("", Text(f"… {len(run)} more that are 0", style="dim"), "", "")
            continue
        for leaf in run:
            raw = data[leaf.offset : leaf.offset + leaf.size]
            shown = raw.hex() if len(raw) <= 8 else f"{raw[:7].hex()}…"
            listing.add_row(f"{leaf.offset:#0{digits + 2}x}", leaf.path, shown, _says(leaf, raw))
            if leaf.fields:
                words += ["", indent(Text(leaf.path, style="bold")), decode_word(leaf.fields, _number(leaf, raw))]
    alone = len(layout(schema).leaves) == 1 and bool(words)
    head: list[RenderableType] = [Text.assemble((name, "bold"), f"  {size} bytes"), ""] if name else []
    return Group(*head, *(words[2:] if alone else [indent(listing), *words]))


def _quiet(leaf: Leaf, data: bytes) -> bool:
    """An element of an array, beyond the first, that is zero."""
    return "[" in leaf.path and "[0]" not in leaf.path and not any(data[leaf.offset : leaf.offset + leaf.size])


def _number(leaf: Leaf, raw: bytes) -> int:
    return int.from_bytes(raw, "big" if leaf.big_endian else "little", signed=leaf.format.islower() and not leaf.is_bytes)


def _says(leaf: Leaf, raw: bytes) -> Text:
    """What the bytes mean: text where they are text, a number, a name, the fields that are not 0."""
    if leaf.is_bytes:
        text = raw.rstrip(b"\0")
        printable = text and all(0x20 <= byte < 0x7F for byte in text)
        return Text(f'"{text.decode()}"' if printable else ":".join(f"{byte:02x}" for byte in raw) if len(raw) == 6 else "")
    value = _number(leaf, raw)
    if leaf.must is not None and value != leaf.must:
        return Text(f"{value:#x}, must be {leaf.must:#x}", style="red")
    if leaf.fields:
        shown = (
            f"{f.name}={named_value(f, f.of(value)).split(' ')[-1] if f.of(value) in f.values else f.of(value)}"
            for f in leaf.fields
            if f.name and f.of(value)
        )
        return Text(" ".join(shown))
    named = f" {leaf.names[value]}" if value in leaf.names else ""
    return Text(f"{value}{named}" if abs(value) < 10 else f"{value:#x} ({value}){named}")
