"""What an access does to the bits of a field, as Verilog expressions: one small function per value of each axis of access.

What lives here: the axes (``regmodel.access``) and nothing of registers, words or names. ``now`` is the slice of the state,
``data`` the written bits, ``lanes`` a mask of the bits that the access covers, or None where it covers all of them; all are
of the same width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from regmodel.access import OnRead, OnWrite

Expression: TypeAlias = str
Write: TypeAlias = Callable[[Expression, Expression, Expression | None, int], Expression]
Read: TypeAlias = Callable[[Expression, Expression | None, int], Expression]


def _covered(data: Expression, lanes: Expression | None) -> Expression:
    """The ones that were written."""
    return data if lanes is None else f"({data} & {lanes})"


def store(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    return data if lanes is None else f"({now} & ~{lanes}) | ({data} & {lanes})"


def one_clears(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{now} & ~{_covered(data, lanes)}"


def zero_clears(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{now} & {data}" if lanes is None else f"{now} & ({data} | ~{lanes})"


def one_sets(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{now} | {_covered(data, lanes)}"


def one_toggles(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{now} ^ {_covered(data, lanes)}"


def pulse(now: Expression, data: Expression, lanes: Expression | None, width: int) -> Expression:
    """The bit itself goes to 0, whatever is written; the ones that were written leave by a port of their own."""
    return f"{width}'h0" if lanes is None else f"{now} & ~{lanes}"


ON_WRITE: Mapping[OnWrite, Write] = {
    OnWrite.STORE: store,
    OnWrite.ONE_CLEARS: one_clears,
    OnWrite.ZERO_CLEARS: zero_clears,
    OnWrite.ONE_SETS: one_sets,
    OnWrite.ONE_TOGGLES: one_toggles,
    OnWrite.PULSE: pulse,
    OnWrite.ONCE: store,  # under lanes from which the spent bits are taken: ``unspent``
}
"""Absent is what a write leaves alone: ``OnWrite.NOTHING``."""


def unspent(spent: Expression, lanes: Expression | None) -> Expression:
    """The bits of an access that a write-once field still takes."""
    return f"(~{spent})" if lanes is None else f"({lanes} & ~{spent})"


def clear(now: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{width}'h0" if lanes is None else f"{now} & ~{lanes}"


def preset(now: Expression, lanes: Expression | None, width: int) -> Expression:
    return f"{{{width}{{1'b1}}}}" if lanes is None else f"{now} | {lanes}"


ON_READ: Mapping[OnRead, Read] = {OnRead.CLEAR: clear, OnRead.SET: preset}
"""Absent is what a read leaves alone: ``OnRead.NOTHING``."""


def hardware_events(now: Expression, sets: Expression, clears: Expression) -> Expression:
    """Of a bit that is told both, the event stays: setting wins."""
    return f"({now} & ~{clears}) | {sets}"

