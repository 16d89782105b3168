"""Drawings of registers, windows and whole register files."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from regmodel.access import OnRead, OnWrite
from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import Bar, Each, Entry, Kind, Register, Status, Window
from regmodel.render.schemas import draw_layout
from regmodel.render.words import decode_word, draw_word, indent, source_list, table
from regmodel.sources import Source

EVENTS = {Kind.DOORBELL: "a write is an event, nothing is stored", Kind.COMMAND: "a write is an event, a read gives its result"}


def draw_register(bar: Bar | Description, name: str) -> RenderableType:
    """One register or window, whole. Raises ``UsageError`` which lists near names."""
    if isinstance(bar, Description):
        bar = bar.register_bar(name)[1]
    if name not in bar.entries:
        near = difflib.get_close_matches(name, bar.entries, n=3) or list(bar.entries)[:5]
        raise UsageError(f"{bar.bar} has no register {name!r}; did you mean {', '.join(near)}?")
    entry = bar.entries[name]
    head = Text.assemble((name, "bold"), "  ", (bar.docs_of[name], ""))
    parts: list[RenderableType] = [head, Text(f"{_what(entry)} at {_where(entry.at)} of {bar.bar}", style="dim"), ""]
    if isinstance(entry, Window):
        parts.append(draw_layout(entry.subcon, name, entry.at))
    else:
        parts.append(draw_word(entry.fields, entry.reset_value(ResetCause.POWER_ON)))
    notes = list(_notes(name, entry))
    if notes:
        parts += ["", *(indent(Text(note)) for note in notes)]
    if sources := list(_sources(entry)):
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
            rows.add_row(Text(_span(end, offset), style="dim"), Text("–", style="dim"), "", "", "")
        end = max(end, offset + entry.size)
        if name in arrays:
            continue
        arrays.add(name)
        style = "dim" if entry.status is not Status.IMPLEMENTED else ""
        place = Text(f"{offset:#06x}" + (f" +{entry.at.stride:#x}" if isinstance(entry.at, Each) else ""), style=style)
        count = f"[{len(entry.offsets)}]" if entry.is_array else ""
        title = Text(name + count, style=style or "bold")
        rows.add_row(place, title, _accesses(entry), _reset(entry), _remark(bar, name, entry))
    if end < bar.size:
        rows.add_row(Text(_span(end, bar.size), style="dim"), Text("–", style="dim"), "", "", "")
    policy = bar.policy
    unmapped = f"– is unmapped: reads {'all ones' if policy.unmapped.value else '0'}, ignores writes."
    partial = f"An access of part of a register {policy.partial.value}; one beyond it {policy.wide.value}."
    head = Text.assemble((bar.bar, "bold"), f"  {bar.size:#x} bytes  ", (bar.about, ""))
    return Group(head, "", indent(rows), "", indent(Text(f"{unmapped} {partial}", style="dim")))


# -- parts ---------------------------------------------------------------------------------------------------------------


def _span(first: int, end: int) -> str:
    return f"{first:#06x}–{end - 1:#06x}"


def _where(at: int | Each) -> str:
    if isinstance(at, Each):
        return f"{at.base:#06x} + {at.stride:#x}·n, n = 0…{at.count - 1},"
    return f"{at:#06x}"


def _what(entry: Entry) -> str:
    if isinstance(entry, Window):
        return f"{entry.size} bytes of memory"
    kind = "register" if entry.kind is Kind.PLAIN else entry.kind.value
    return f"{entry.width}-bit {kind}{f' array of {len(entry.offsets)}' if entry.is_array else ''}"


def _accesses(entry: Entry) -> str:
    """The behaviours that occur, each once."""
    if isinstance(entry, Window):
        return str(entry.access)
    if entry.kind is Kind.DOORBELL:
        return "bell"
    found = dict.fromkeys(str(f.access) for f in entry.fields if not f.access.reserved)
    return ", ".join(found) if len(found) < 3 else f"{next(iter(found))}, …"


def _reset(entry: Entry) -> str:
    if isinstance(entry, Window) or entry.kind is Kind.DOORBELL or entry.of is not None:
        return ""
    value = entry.reset_value(ResetCause.POWER_ON)
    return f"{value:#x}" if value else "0"


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


def _names(entry: Register, onread: OnRead | None = None, onwrite: OnWrite | None = None) -> str:
    return ", ".join(f.name for f in entry.fields if f.access.onread is onread or f.access.onwrite is onwrite)


def _notes(name: str, entry: Entry) -> Iterator[str]:
    """What an access does beside fetching and storing, and who shares the state."""
    if isinstance(entry, Window):
        if entry.mappable:
            yield f"Offered to be mapped by the guest: {entry.why}."
        if entry.survives:
            yield f"Survives: {', '.join(cause.value for cause in ResetCause if cause in entry.survives)}."
        return
    if entry.kind in EVENTS:
        yield f"Event: {EVENTS[entry.kind]}."
    for onread in (OnRead.CLEAR, OnRead.SET):
        if fields := _names(entry, onread=onread):
            yield f"Reading {onread.value.split()[0]}: {fields}."
    for onwrite in OnWrite:
        if onwrite not in (OnWrite.NOTHING, OnWrite.STORE) and (fields := _names(entry, onwrite=onwrite)):
            yield f"Writing ({onwrite.value}): {fields}."
    if entry.of is not None:
        yield f"Alias: reads and writes the bits of {entry.of} under its own access."
    if entry.pair is not None:
        low, high = entry.pair
        yield f"Pair: {low} and {high} are one 64-bit value, which takes effect when {high} is written."
    if entry.banked_by is not None:
        yield f"Bank: {entry.banked_by[1]} instances; {entry.banked_by[0]} selects which one is seen."
    for cause, value in entry.resets.items():
        if cause is not ResetCause.POWER_ON:
            yield f"Reset by {cause.value}: {value:#x}."
    for cause in ResetCause:
        if kept := [f.name or f"reserved {f.range}" for f in entry.fields if cause in f.survives]:
            all_of_it = len(kept) == len(entry.fields)
            yield f"Survives {cause.value}: {'all of it' if all_of_it else ', '.join(kept)}."
    if entry.status is not Status.IMPLEMENTED:
        yield f"{entry.status.value.capitalize()}: {entry.why}."


def _sources(entry: Entry) -> Iterator[tuple[str, Source]]:
    """What proves the entry itself (no name), and what its fields."""
    for source in entry.sources:
        yield "", source
    if isinstance(entry, Register):
        for field in entry.fields:
            for source in field.sources:
                yield field.name, source
