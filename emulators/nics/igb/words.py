"""Descriptors as two 64-bit words: where each field of ``regmodel.rings.igb`` lies in them.

In here: nothing but the way from a described field to shifts and masks that fast code keeps as constants. A descriptor of
this family is 16 bytes, little-endian; ``memoryview.cast("Q")`` reads a ring of them as words in the host's byte order.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from construct import Construct

from regmodel.layout import layout

if sys.byteorder != "little":  # the register file makes the same assumption
    raise ImportError("the descriptor engines of this package run on little-endian hosts only")


class Place(NamedTuple):
    """A field within its 64-bit word. ``mask`` is in place, ``ones`` at the right."""

    shift: int
    ones: int

    @property
    def mask(self) -> int:
        return self.ones << self.shift

    def of(self, word: int) -> int:
        """The value of the field in ``word``."""
        return word >> self.shift & self.ones


def place(schema: Construct, path: str, field: str = "") -> Place:
    """The place of ``field`` of the leaf at ``path``, or of the whole leaf. Raises KeyError."""
    leaf = layout(schema).leaf(path)
    base = 8 * (leaf.offset % 8)
    if not field:
        return Place(base, (1 << 8 * leaf.size) - 1)
    found = layout(schema).field(path, field)
    return Place(base + found.lsb, (1 << found.width) - 1)


def mask(schema: Construct, path: str, *fields: str) -> int:
    """The mask, in its 64-bit word, of some fields of the leaf at ``path``."""
    return sum(place(schema, path, field).mask for field in fields)
