"""Tables that follow from a description: what a check asks, and what registers hold after reset.

A check of ``regmodel.conformance`` is rehearsed against a predictor first, which gives the list of all its accesses; ``asked``
turns that list into vectors, and ``answers`` the results of a run into what the check is then given to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from firmware.format import Space, Status
from firmware.vectors import SETTLE_US, Program, Result
from regmodel.conformance.accesses import READS, Access, ConfigRead, ConfigWrite, Read, Reset, Wait, Write
from regmodel.conformance.oracle import Oracle
from regmodel.conformance.places import DECODING
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import Bar, Register
from regmodel.registers import Status as Known

RESETS = frozenset({ResetCause.FLR, ResetCause.BUS})
"""Those that the image can bring about: BUS for functions behind a bridge only."""


def asked(program: Program, target: int, accesses: Iterable[Access], settle_us: int = SETTLE_US) -> list[int]:
    """Append the vectors of these accesses; the numbers of those whose values answer the reads among them, in order.

    ``settle_us``: how long the function is left alone after a reset.

    Raises ``UsageError`` for what software on the host side of a device cannot do (``Drive``, ``Observe``, power-on).
    """
    reads = []
    for access in accesses:
        number = _one(program, target, access, settle_us)
        if isinstance(access, READS):
            reads.append(number)
    return reads


def _one(program: Program, target: int, access: Access, settle_us: int) -> int:
    match access:
        case Read(bar, offset, size):
            return program.read(target, bar, offset, size)
        case Write(bar, offset, size, value):
            return program.write(target, bar, offset, size, value)
        case ConfigRead(offset, size):
            return program.read(target, Space.CONFIG, offset, size)
        case ConfigWrite(offset, size, value):
            return program.write(target, Space.CONFIG, offset, size, value)
        case Wait(seconds):
            return program.delay(round(seconds * 1e6))
        case Reset(cause) if cause in RESETS:
            reset = program.flr if cause is ResetCause.FLR else program.bus_reset
            number = reset(target, settle_us)
            program.enable(target, DECODING)
            return number
    raise UsageError(f"firmware cannot do this: {access}")


def answers(results: Sequence[Result], reads: Iterable[int]) -> list[int]:
    """The values of the reads with these numbers, up to the first one that was not carried out."""
    found = []
    for number in reads:
        if results[number].status not in (Status.OK, Status.MISMATCH):
            break
        found.append(results[number].value)
    return found


def reset_values(program: Program, target: int, index: int, bar: Bar, cause: ResetCause) -> dict[int, str]:
    """Append a read of each implemented register of BAR ``index``, expecting what the oracle says it holds after power-on and
    then a reset by ``cause``: the paths, by vector.

    Bits that hardware changes are not compared. Registers that reading changes come last.
    """
    oracle = Oracle(bar)
    oracle.reset(cause)
    rows = [(path, offset, entry) for path, _, offset, entry in bar.placed() if isinstance(entry, Register)]
    rows.sort(key=lambda row: row[2].side_effects)
    found = {}
    for path, offset, entry in rows:
        if entry.status is not Known.IMPLEMENTED:
            continue
        mask = sum(field.mask for field in entry.fields if field.access.readable and not field.access.hardware)
        expected = oracle.read(offset, entry.size)
        found[program.read(target, index, offset, entry.size, expected, mask)] = path
    return found
