"""Descriptors as two words of 64 bits: masks and shifts, taken from the description once, at import.

In here: numbers for the data path. No names of registers, no memory.
"""

from __future__ import annotations

from construct import Construct

from regmodel.layout import layout


def shift(schema: Construct, word: str, field: str = "") -> int:
    """The place of the lowest bit of a field (or of the whole ``word``) within the 64 bits that hold it."""
    at = 8 * (layout(schema).offsets[word] % 8)
    return at + layout(schema).field(word, field).lsb if field else at


def mask(schema: Construct, word: str, field: str) -> int:
    """All bits of a field within the 64 bits that hold it."""
    return int(layout(schema).field(word, field).mask << 8 * (layout(schema).offsets[word] % 8))


def value(schema: Construct, word: str, field: str, name: str) -> int:
    """A named value of a field, in place within the 64 bits that hold it."""
    return int(layout(schema).field(word, field).number(name) << shift(schema, word, field))
