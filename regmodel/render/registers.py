"""Drawings of registers, windows and whole register files."""

from __future__ import annotations

import difflib

from rich.console import Group, RenderableType
from rich.text import Text

from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import Bar, Each, Entry, Kind, Moved, Status, Window
from regmodel.render.prose import accesses, kind_of, notes, reset_of, sources_of, span, where
from regmodel.render.schemas import draw_layout
from regmodel.render.words import decode_word, draw_word, indent, source_list, table


def draw_register(bar: Bar | Description, name: str) -> RenderableType:
    """One register or window, whole. Raises ``UsageError`` which lists near names."""
    if isinstance(bar, Description):
        bar = bar.register_bar(name)[1]
    if name not in bar.entries:
        near = difflib.get_close_matches(name, bar.entries, n=3) or list(bar.entries)[:5]
        raise UsageError(f"{bar.bar} has no register {name!r}; did you mean {', '.join(near)}?")
    entry = bar.entries[name]
    head = Text.assemble((name, "bold"), "  ", (bar.docs_of[name], ""))
    parts: list[RenderableType] = [head, Text(f"{kind_of(entry)} at {where(entry.at)} of {bar.bar}", style="dim"), ""]
    if isinstance(entry, Window):
        parts.append(draw_layout(entry.subcon, name, entry.at))
    else:
        parts.append(draw_word(entry.fields, entry.reset_value(ResetCause.POWER_ON)))
    if found := list(notes(name, entry)):
        parts += ["", *(indent(Text(note)) for note in found)]
    if sources := list(sources_of(entry)):
        parts += ["", *source_list(sources)]
    return Group(*parts)


def decode_register(entry: Entry, value: int, name: str = "") -> RenderableType:
    """``value`` (of the width of the register) field by field. Raises ``UsageError`` when it does not fit."""
    if isinstance(entry, Window):
        raise UsageError(f"{name or 'this'} is memory of {entry.size} bytes; decode its bytes, not a value")
    if not 0 <= value < 1 << entry.width:
        raise UsageError(f"{value:#x} does not fit the {entry.width} bits of {name or 'the register'}")
    head = Text.assemble((name, "bold"), " = " if name else "", (f"{value:#0{2 + entry.width // 4}x}", "bold"))
    return Group(head, "", decode_word(entry.fields, value, entry.reset_value(ResetCause.POWER_ON)))


def draw_bar(bar: Bar) -> RenderableType:
    """The map of a register file: every entry by address, and what lies between."""
    rows = table("offset", "register", "access", "reset", "")
    end = 0
    arrays: set[str] = set()
    for path, index, offset, entry in bar.placed():
        name = path.partition("[")[0]
        if end < offset and not (entry.is_array and index):
            rows.add_row(Text(span(end, offset), style="dim"), Text("–", style="dim"), "", "", "")
        end = max(end, offset + entry.size)
        if name in arrays:
            continue
        arrays.add(name)
        style = "dim" if entry.status is not Status.IMPLEMENTED else ""
        place = Text(f"{offset:#06x}" + (f" +{entry.at.stride:#x}" if isinstance(entry.at, Each) else ""), style=style)
        count = f"[{len(entry.offsets)}]" if entry.is_array else ""
        title = Text(name + count, style=style or "bold")
        rows.add_row(place, title, accesses(entry), reset_of(entry), _remark(bar, name, entry))
    if end < bar.size:
        rows.add_row(Text(span(end, bar.size), style="dim"), Text("–", style="dim"), "", "", "")
    policy = bar.policy
    unmapped = f"– is unmapped: reads {'all ones' if policy.unmapped.value else '0'}, ignores writes."
    partial = f"An access of part of a register {policy.partial.value}; one beyond it {policy.wide.value}."
    head = Text.assemble((bar.bar, "bold"), f"  {bar.size:#x} bytes  ", (bar.about, ""))
    moved = f" {_moved(bar.moved)}" if bar.moved is not None else ""
    return Group(head, "", indent(rows), "", indent(Text(f"{unmapped} {partial}{moved}", style="dim")))


# -- parts ---------------------------------------------------------------------------------------------------------------


def _moved(moved: Moved) -> str:
    last = moved.first + moved.gone - 1
    return (f"While {moved.when}, nothing is decoded of what is shown at {moved.first:#x} to {last:#x}, and what follows "
            f"stands {moved.gone} bytes lower.")  # fmt: skip


def _remark(bar: Bar, name: str, entry: Entry) -> Text:
    text = Text(bar.docs_of[name])
    extra = []
    if isinstance(entry, Window):
        extra.append(f"{entry.size} bytes{', may be mapped' if entry.mappable else ''}")
    else:
        if entry.of:
            extra.append(f"of {entry.of}")
        if entry.banked_by:
            extra.append(f"by {entry.banked_by[0]}")
        if entry.kind is Kind.COMMAND:
            extra.append("command")
    if entry.status is not Status.IMPLEMENTED:
        extra.append(entry.status.value)
    if extra:
        text.append(f"{' ' if text.plain else ''}({'; '.join(extra)})", style="dim")
    return text


