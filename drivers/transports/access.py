"""What an access may be, checked in one place for all transports, so that all refuse the same with the same words."""

from __future__ import annotations

from typing import Final, Protocol

from regmodel.errors import UsageError

WIDTHS: Final = (1, 2, 4, 8)
"""Bytes of an access to a BAR; configuration space knows the first three."""


class _Bar(Protocol):
    index: int
    size: int


def check_bar(bar: _Bar, offset: int, size: int, value: int = 0) -> None:
    """Raises ``UsageError`` unless it is one access, naturally aligned and within the BAR."""
    if size not in WIDTHS:
        raise UsageError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
    _check(f"BAR {bar.index}", bar.size, offset, size, value)


def check_config(end: int, offset: int, size: int, value: int = 0) -> None:
    """Raises ``UsageError`` unless it is one access, naturally aligned and within the ``end`` bytes that there are."""
    if size not in WIDTHS[:3]:
        raise UsageError(f"an access to configuration space has 1, 2 or 4 bytes, not {size}")
    _check("configuration space", end, offset, size, value)


def _check(where: str, end: int, offset: int, size: int, value: int) -> None:
    if offset % size:
        raise UsageError(f"{where}: {size} bytes at {offset:#x} are not aligned")
    if not 0 <= offset <= end - size:
        raise UsageError(f"{where} has {end:#x} bytes: there is nothing at {offset:#x}")
    if not 0 <= value < 1 << 8 * size:
        raise UsageError(f"{where}: {value:#x} is no unsigned number of {size} bytes")
