"""What ``regmodel decode`` and ``regmodel encode`` share: a name's bits made of fields, and the prompt."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from regmodel.catalogue import Description, Device
from regmodel.errors import RegmodelError, UsageError
from regmodel.patterns import assignments, describe, encode_bytes, encode_register, number, octets, pattern
from regmodel.registers import Entry
from regmodel.render import decode

if TYPE_CHECKING:
    from rich.console import Console

HELP = """NAME VALUE               what a value of register NAME means
NAME HEX                 what the bytes of descriptor, message or structure NAME mean
NAME field=value ...     set fields of the last value of NAME, at first of its reset value
bits PATTERN             a pattern of any width in every notation: 0x1f, 0b11111, '0b101, uint:12=5, 0x3f'
quit                     the end, as is the end of the input"""


Start = str | int | bytes | None


def encoded(description: Description, name: str, values: Mapping[str, str], start: Start = None) -> int | bytes:
    """The value of a register (int), or the bytes of anything else. Raises ``UsageError``."""
    if name in description.schemas:
        schema = description.schemas[name]
        data = octets(start) if isinstance(start, str) else start
        if isinstance(data, bytes) and len(data) != schema.sizeof():
            raise UsageError(f"{name} has {schema.sizeof()} bytes, not {len(data)}")
        return encode_bytes(name, schema, values, data if isinstance(data, bytes) else b"")
    entry = _register(description, name)
    word = number(start, 8 * entry.size) if isinstance(start, str) else start
    return int(encode_register(name, entry, values, word if isinstance(word, int) else None).uint)


def _register(description: Description, name: str) -> Entry:
    """The register or window of this name, in any case, with or without an index. Raises ``UsageError``."""
    stem = name.partition("[")[0].lower()
    config = (description.config,) if isinstance(description, Device) else ()
    for bar in (*description.bars.values(), *config):
        for known, entry in bar.entries.items():
            if known.lower() == stem:
                found: Entry = entry
                return found
    found = description.register_bar(stem)[1].entries[stem]
    return found


class Prompt:
    """Reads lines and answers them until ``quit``; one that cannot be done says why. ``lines`` are standard input's."""

    def __init__(self, description: Description, console: Console, lines: IO[str] | None = None) -> None:
        self.description, self.console = description, console
        self.lines = sys.stdin if lines is None else lines
        self.last: dict[str, int | bytes] = {}

    def run(self) -> None:
        """Until ``quit`` or the end of the input."""
        while True:
            if self.lines.isatty():
                self.console.print("bits> ", end="")
            line = self.lines.readline()
            words = line.split()
            if not line or words == ["quit"]:
                return
            if words:
                try:
                    self._answer(words)
                except RegmodelError as error:
                    self.console.print(str(error), soft_wrap=True, markup=False)

    def _answer(self, words: list[str]) -> None:
        name, rest = words[0], words[1:]
        if name == "help":
            self.console.print(HELP, soft_wrap=True, markup=False)
        elif name == "bits":
            self.console.print(describe(pattern(" ".join(rest))), soft_wrap=True)
        elif not rest:
            raise UsageError(f"give a value or field=value behind {name}; `help` tells all")
        else:
            if name in self.description.schemas and "=" not in rest[0]:
                value: int | bytes = octets("".join(rest))
            elif "=" in rest[0] and ":" not in rest[0]:
                value = encoded(self.description, name, assignments(rest), self.last.get(name))
            else:
                value = number(" ".join(rest))
            self._show(name, value)

    def _show(self, name: str, value: int | bytes) -> None:
        drawing = decode(self.description, name, value)
        if isinstance(value, bytes):
            self.console.print(value.hex(), soft_wrap=True)
        self.console.print(drawing)
        self.last[name] = value
