"""Descriptions written in other people's languages: one small backend per output format.

What lives here: how a backend is found. A backend is an entry point of group ``regmodel.exports``: its name is the word
after ``regmodel export DEVICE --format``, its object a function ``Export``. Nothing that two backends do not share.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.registers import Bar

GROUP = "regmodel.exports"


class Export(Protocol):
    """A backend: file names, and the text of each, for one BAR of a description or (``bar`` None) for all of it.

    The same description gives the same text, byte for byte. Raises ``RegmodelError`` for what it has no words for.
    """

    def __call__(self, description: Description, bar: int | None) -> Mapping[str, str]: ...


def backend(name: str) -> Export:
    """The backend of one format. Raises ``UsageError`` which lists what there is."""
    known = {ep.name: ep for ep in entry_points(group=GROUP)}
    if name not in known:
        raise UsageError(f"unknown format {name!r}; known: {', '.join(sorted(known)) or 'none'}")
    found: Export = known[name].load()
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
