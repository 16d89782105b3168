"""What is said of a register in words, wherever it is drawn: where it stands, what an access does, who says so.

Plain text, read off the description; the terminal and the datasheet pages both print it.
"""

from __future__ import annotations

from collections.abc import Iterator

from regmodel.access import OnRead, OnWrite
from regmodel.function import ResetCause
from regmodel.registers import Each, Entry, Kind, Register, Status, Window
from regmodel.sources import Source

EVENTS = {Kind.DOORBELL: "a write is an event, nothing is stored", Kind.COMMAND: "a write is an event, a read gives its result"}


def span(first: int, end: int) -> str:
    """Addresses from ``first`` to before ``end``."""
    return f"{first:#06x}–{end - 1:#06x}"


def where(at: int | Each) -> str:
    """Where it stands, in bytes from the start of its BAR."""
    if isinstance(at, Each):
        return f"{at.base:#06x} + {at.stride:#x}·n, n = 0…{at.count - 1},"
    return f"{at:#06x}"


def kind_of(entry: Entry) -> str:
    """Its width and kind."""
    if isinstance(entry, Window):
        return f"{entry.size} bytes of memory"
    kind = "register" if entry.kind is Kind.PLAIN else entry.kind.value
    return f"{entry.width}-bit {kind}{f' array of {len(entry.offsets)}' if entry.is_array else ''}"


def accesses(entry: Entry) -> str:
    """The behaviours that occur, each once."""
    if isinstance(entry, Window):
        return str(entry.access)
    if entry.kind is Kind.DOORBELL:
        return "bell"
    found = dict.fromkeys(str(f.access) for f in entry.fields if not f.access.reserved)
    return ", ".join(found) if len(found) < 3 else f"{next(iter(found))}, …"


def reset_of(entry: Entry) -> str:
    """Its value after power-on, where it holds one of its own."""
    if isinstance(entry, Window) or entry.kind is Kind.DOORBELL or entry.of is not None:
        return ""
    value = entry.reset_value(ResetCause.POWER_ON)
    return f"{value:#x}" if value else "0"


def _names(entry: Register, onread: OnRead | None = None, onwrite: OnWrite | None = None) -> str:
    return ", ".join(f.name for f in entry.fields if f.access.onread is onread or f.access.onwrite is onwrite)


def notes(name: str, entry: Entry) -> Iterator[str]:
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
    for lock in dict.fromkeys(f.lock for f in entry.fields if f.lock is not None):
        locked = ", ".join(f.name for f in entry.fields if f.lock == lock)
        yield f"Locked: writes to {'it' if entry.sole else locked} are ignored while {lock}."
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


def sources_of(entry: Entry) -> Iterator[tuple[str, Source]]:
    """What proves the entry itself (no name), and what its fields."""
    for source in entry.sources:
        yield "", source
    if isinstance(entry, Register):
        for field in entry.fields:
            for source in field.sources:
                yield field.name, source
