"""Words of named fields: their picture, the table below it, and what a value of them means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field
from regmodel.render.picture import Box, picture
from regmodel.sources import Reading, Source, Symbol


def table(*columns: str) -> Table:
    """A table without lines, whose last column takes the rest of the width."""
    found = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    for name in columns[:-1]:
        found.add_column(name, no_wrap=True)
    found.add_column(columns[-1], overflow="fold")
    return found


def indent(renderable: RenderableType) -> RenderableType:
    """Two columns to the right."""
    from rich.padding import Padding

    return Padding(renderable, (0, 0, 0, 2), expand=False)


def source_list(sources: Iterable[tuple[str, Source]]) -> Iterator[RenderableType]:
    """Where facts come from, by file: ``(field or "", source)`` each."""
    files: dict[str, dict[str, list[str]]] = {}
    for who, source in sources:
        if isinstance(source, Symbol | Reading):
            symbol = source.call() if isinstance(source, Symbol) else source.what
            names = files.setdefault(f"{source.package}: {source.file}", {}).setdefault(symbol, [])
        else:
            names = files.setdefault(str(source), {}).setdefault("", [])
        names += [who] if who else []
    for file, symbols in files.items():
        yield indent(Text(file, style="dim"))
        shown = (f"{symbol} ({', '.join(names)})" if names else symbol for symbol, names in symbols.items())
        if text := ", ".join(part for part in shown if part):
            yield indent(indent(Text(text)))


def style_of(field: Field) -> str:
    """The colour of an access: what a read or write does beside fetching and storing stands out."""
    access = field.access
    if access.reserved:
        return "dim"
    if access.onread is not OnRead.NOTHING or access.onwrite not in (OnWrite.NOTHING, OnWrite.STORE):
        return "yellow"
    return "green" if access.writable else "cyan"


def boxes(fields: Sequence[Field], value: int | None = None) -> list[Box]:
    """One box per field; with a value, what the field holds below its name."""
    return [
        Box(
            f.lsb,
            f.width,
            f.name,
            style_of(f),
            value="" if value is None or (f.access.reserved and not f.of(value)) else _short(f, f.of(value)),
            reserved=f.access.reserved,
        )
        for f in fields
    ]


def _short(field: Field, value: int) -> str:
    """A value as it fits the box of its field: as many hexadecimal digits as the field has room for."""
    return str(value) if field.width == 1 else f"{value:#x}" if field.width > 4 else f"{value:x}"


def named_value(field: Field, value: int) -> str:
    """``2 = DATA`` where the number has a name, else hexadecimal, and decimal where that differs."""
    if value in field.values:
        return f"{value:#x} {field.values[value]}" if value > 9 else f"{value} {field.values[value]}"
    return str(value) if value < 10 else f"{value:#x} ({value})"


def meaning(field: Field) -> Text:
    """The doc string, then the values that have names."""
    text = Text(field.doc)
    if field.values:
        text.append("; " if field.doc else "")
        digits = "{:#x}" if max(field.values) > 99 else "{}"
        text.append(", ".join(f"{digits.format(n)} {name}" for n, name in sorted(field.values.items())), style="italic")
    return text


def field_table(fields: Sequence[Field], drawn: Sequence[Box], reset: int | None) -> Table:
    """All fields from the most significant; ``reset`` adds access and reset value, which messages do not have."""
    rows = table("bits", "field", "access", "reset", "") if reset is not None else table("bits", "field", "")
    for field, box in sorted(zip(fields, drawn, strict=True), key=lambda pair: -pair[0].lsb):
        name = Text(f"{box.letter}: {field.name}" if box.letter else field.name or "reserved", style=box.style)
        cells: list[RenderableType] = [field.range.strip("[]"), name]
        if reset is not None:
            cells += [Text(str(field.access), style=box.style), _reset(field, field.of(reset))]
        rows.add_row(*cells, meaning(field))
    return rows


def _reset(field: Field, value: int) -> str:
    return f"{value:#x}" if field.width > 3 and value > 9 else str(value)


def draw_word(fields: Sequence[Field], reset: int | None = None) -> RenderableType:
    """The picture of a word, and its table. ``reset`` is its value after power-on, None for words of messages."""
    drawn = boxes(fields)
    return Group(picture(drawn, bits=True), "", indent(field_table(fields, drawn, reset)))


def decode_word(fields: Sequence[Field], value: int, must: int = 0) -> RenderableType:
    """The picture with values below the names, the flags that are set, and the table. ``must``: what reserved bits hold."""
    drawn = boxes(fields, value)
    parts: list[RenderableType] = [picture(drawn, bits=True), ""]
    flags = [f.name for f in fields if f.width == 1 and not f.access.reserved and f.of(value)]
    if flags:
        parts += [Text.assemble("  set: ", (", ".join(reversed(flags)), "bold")), ""]
    rows = table("bits", "field", "value", "")
    for field, box in sorted(zip(fields, drawn, strict=True), key=lambda pair: -pair[0].lsb):
        if field.access.reserved:
            if field.of(value ^ must):
                found = Text(f"{field.of(value):#x}", style="bold red")
                wrong = Text(f"reserved, must be {field.of(must):#x}", style="red")
                rows.add_row(field.range.strip("[]"), "", found, wrong)
            continue
        name = Text(f"{box.letter}: {field.name}" if box.letter else field.name, style=box.style)
        rows.add_row(field.range.strip("[]"), name, Text(named_value(field, field.of(value)), style="bold"), field.doc)
    return Group(*parts, indent(rows))
