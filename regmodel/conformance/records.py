"""Descriptors and structures in memory, built and read with their construct schema alone, at the speed of that.

Whatever a device finds its fields with, it is not this: the walker of descriptions (``regmodel.layout``) does not enter.
Paths are as in a description, with dots; the elements of arrays are numbers (``rxRingBasePA.0``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from construct import Construct

from regmodel.bits import Bits


def _bare(schema: Any) -> Any:
    """A schema without its name and doc."""
    while hasattr(schema, "subcon") and not hasattr(schema, "count") and not isinstance(schema, Bits):
        schema = schema.subcon
    return schema


@lru_cache(maxsize=1024)
def locate(schema: Construct, path: str) -> tuple[int, int, int, int]:
    """Where a field is: offset and size of its word in bytes, its lowest bit and its width there. Raises KeyError."""
    at, current = 0, _bare(schema)
    for part in path.split("."):
        if isinstance(current, Bits):
            found = current.named[part]
            return at, current.sizeof(), found.lsb, found.width
        if hasattr(current, "count"):
            at += int(part) * current.subcon.sizeof()
            current = _bare(current.subcon)
            continue
        for member in current.subcons:
            if member.name == part:
                current = _bare(member)
                break
            at += member.sizeof()
        else:
            raise KeyError(path)
    return at, current.sizeof(), 0, 8 * current.sizeof()


def put(data: bytearray, schema: Construct, path: str, value: int) -> None:
    """Set one field of a structure."""
    at, size, lsb, width = locate(schema, path)
    word, mask = int.from_bytes(data[at : at + size], "little"), (1 << width) - 1 << lsb
    data[at : at + size] = (word & ~mask | value << lsb & mask).to_bytes(size, "little")


def get(data: bytes, schema: Construct, path: str) -> int:
    """Read one."""
    at, size, lsb, width = locate(schema, path)
    return int.from_bytes(data[at : at + size], "little") >> lsb & (1 << width) - 1


@lru_cache(maxsize=4096)
def _built(schema: Construct, pairs: tuple[tuple[str, int], ...]) -> bytes:
    data = bytearray(schema.sizeof())
    for path, value in pairs:
        put(data, schema, path, value)
    return bytes(data)


def build(schema: Construct, values: Mapping[str, int]) -> bytes:
    """A structure; what is not given is 0, and an empty path is nothing."""
    return _built(schema, tuple(sorted((path, value) for path, value in values.items() if path)))
