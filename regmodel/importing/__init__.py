"""Descriptions made from files of other tools: one reader per format, all of which give an elaborated tree.

What lives here: how a reader is found, and how it says what it cannot take. A reader is an entry point of group
``regmodel.imports``: its name is the word after ``regmodel import --format``, its object a function ``Import``. ``skeleton``
writes a tree as Python in our description language, ``trial`` executes that before a reader gives the tree to anybody.

A reader takes a file whole or not at all: whatever software would notice and our language cannot say is a problem with its
file, line and remedy. What only hardware notices is passed over.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from regmodel.errors import RegmodelError, UsageError

if TYPE_CHECKING:
    from regmodel.export import tree

GROUP = "regmodel.imports"


class Import(Protocol):
    """A reader. Raises ``NotImported`` for what it cannot take, ``UsageError`` for a file or library that is not there."""

    def __call__(self, path: Path) -> tree.Description: ...


class NotImported(RegmodelError):
    """A file that was not imported. The first problem is the message, the others are its notes, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems[0])
        for problem in problems[1:]:
            self.add_note(problem)


class Problems:
    """What is wrong with a file, gathered, so that a person mends all of it at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: str, remedy: str) -> None:
        """``where`` is file:line."""
        line = f"{where}: {what}; {remedy}"
        if line not in self.found:
            self.found.append(line)

    def check(self) -> None:
        """Raises ``NotImported`` when there are any."""
        if self.found:
            raise NotImported(self.found)


def formats() -> dict[str, EntryPoint]:
    """All formats by name; none is imported."""
    return {ep.name: ep for ep in sorted(entry_points(group=GROUP), key=lambda ep: ep.name)}


def reader(name: str) -> Import:
    """The reader of one format. Raises ``UsageError`` which lists what there is."""
    known = formats()
    if name not in known:
        raise UsageError(f"unknown format {name!r}; known: {', '.join(known) or 'none'}")
    found: Import = known[name].load()
    return found
