"""Descriptions written in other people's languages: one small backend per output format.

What lives here: how a backend is found. A backend is an entry point of group ``regmodel.exports``: its name is the word
after ``regmodel export DEVICE --format``, its object a function ``Export``. Nothing that two backends do not share.

A format of group ``regmodel.trace_exports`` is written from a trace of the device: ``regmodel export DEVICE --trace FILE``.

Most backends write from the elaborated tree (``tree``, made by ``elaborate``) and declare what they leave out
(``omissions``); Verilog, which is behaviour, is written from the description itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.registers import Bar
from regmodel.traces import Trace

GROUP, TRACES = "regmodel.exports", "regmodel.trace_exports"


class Export(Protocol):
    """A backend: file names, and the text of each, for one BAR of a description or (``bar`` None) for all of it.

    The same description gives the same text, byte for byte. What the format has no words for is in the ``left_out`` of an
    ``omissions.Exported``; a plain mapping says that nothing is. Raises ``RegmodelError`` for what it refuses.
    """

    def __call__(self, description: Description, bar: int | None) -> Mapping[str, str]: ...


class TraceExport(Protocol):
    """A backend that writes what ``functions`` of a trace, all of one device, did: file names, and the bytes of each.

    Raises ``RegmodelError`` for what it refuses.
    """

    def __call__(self, description: Description, trace: Trace, functions: tuple[str, ...]) -> Mapping[str, bytes]: ...


def formats(group: str = GROUP) -> dict[str, EntryPoint]:
    """All formats by name, of a description or (``TRACES``) of a trace; none is imported."""
    return {ep.name: ep for ep in sorted(entry_points(group=group), key=lambda ep: ep.name)}


def backend(name: str) -> Export:
    """The backend of one format. Raises ``UsageError`` which lists what there is."""
    found: Export = _found(name, GROUP, f"{name} is written from a trace; name one with --trace FILE")
    return found


def trace_backend(name: str) -> TraceExport:
    """The same of a format that is written from a trace."""
    found: TraceExport = _found(name, TRACES, f"{name} is written from the description alone; leave --trace out")
    return found


def _found(name: str, group: str, otherwise: str) -> Any:
    if name in formats(group):
        return formats(group)[name].load()
    if name in formats(GROUP) or name in formats(TRACES):
        raise UsageError(otherwise)
    raise UsageError(f"unknown format {name!r}; known: {', '.join(sorted({*formats(GROUP), *formats(TRACES)})) or 'none'}")


def traced(trace: Trace, description: Description, name: str) -> tuple[str, ...]:
    """The functions of a trace that are of the device ``name``. Raises ``UsageError`` when there are none."""
    found = tuple(function for function, device in trace.functions.items() if device in (description.name, name))
    if not found:
        there = ", ".join(sorted(set(trace.functions.values()))) or "nothing"
        raise UsageError(f"the trace has no {description.name}; it has {there}")
    return found


def chosen(description: Description, bar: int | None) -> dict[int, Bar]:
    """The BARs that are asked for, by index. Raises ``UsageError`` when there are none."""
    if not description.bars:
        raise UsageError(f"{description.name} has no BAR to export")
    if bar is None:
        return dict(sorted(description.bars.items()))
    if bar not in description.bars:
        raise UsageError(f"{description.name} has no BAR {bar}; it has {', '.join(map(str, sorted(description.bars)))}")
    return {bar: description.bars[bar]}
