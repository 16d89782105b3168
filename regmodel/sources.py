"""Where a fact comes from: a document and its section, or a file and its symbol.

A source stands on the register, field, descriptor or message that it proves. A symbol can be resolved by a machine:
``tests/regmodel/test_sources.py`` looks each one up in Debian's ``linux-source`` or ``libdpdk-dev`` and compares its
value with the description, so a source is a claim that can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """The root of all sources."""


@dataclass(frozen=True)
class Document(Source):
    """A section of a published document, e.g. ``Document("Intel 82576EB datasheet 2.63", "8.10.9")``."""

    title: str
    section: str

    def __str__(self) -> str:
        return f"{self.title} §{self.section}"


@dataclass(frozen=True)
class Symbol(Source):
    """A preprocessor symbol of a public source tree.

    ``package`` is Debian's name of the tree (``linux-source``, ``libdpdk-dev``), ``file`` a path below it, ``name`` the
    macro or enumerator, ``index`` the argument (or arguments) of a function-like macro that the first instance answers
    to; later instances count on in the last one.

    What it must equal: the offset of a register, the mask of a field (or the lowest bit, for a name in ``_SHIFT``), the
    number of a message or device. ``of`` says that it is instead the number of that named value of the field, in place.
    ``base`` is added first (a capability's symbols count from the capability), then ``shift`` bits go to the left (some
    symbols count from a byte inside of the word; negative for a mask that is written to the left of its place). ``bit`` says
    that it is the number of the field's lowest bit, as feature bits are given.
    """

    package: str
    file: str
    name: str
    index: int | tuple[int, ...] | None = None
    base: int = 0
    shift: int = 0
    of: str | None = None
    bit: bool = False

    def __str__(self) -> str:
        return f"{self.package}:{self.file} {self.call()}"

    def call(self, instance: int = 0) -> str:
        """As C writes it, of one instance of an array."""
        if self.index is None:
            return self.name
        *first, last = (self.index,) if isinstance(self.index, int) else self.index
        return f"{self.name}({', '.join(map(str, (*first, last + instance)))})"


def symbols(package: str, file: str, prefix: str = "") -> Callable[..., Symbol]:
    """The symbols of one file, for descriptions that name many: ``R = symbols(..., "E1000_")``, then ``R("RDT", 0)``."""

    def symbol(name: str, index: int | tuple[int, ...] | None = None, **more: Any) -> Symbol:
        return Symbol(package, file, prefix + name, index, **more)

    return symbol


@dataclass(frozen=True)
class Reading(Source):
    """What a source file shows that is no symbol: a function, a structure, a sequence."""

    package: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.package}:{self.file} {self.what}"
