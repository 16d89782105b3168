"""Locks that contradict themselves, and locks that do not."""

from __future__ import annotations

import pytest
from construct import Int16ul

from regmodel.access import CONST, RC, RSVD, RW, RWO, W1C
from regmodel.bits import Bits, F
from regmodel.function import ResetCause
from regmodel.registers import Alias32, Bar, Each, Reg8, Reg32
from tests.support.contradictions import Case, gathering

CASES: list[Case] = []
diagnoses = gathering(CASES)


@diagnoses("lock-place", "bits.size")
def lock_in_a_descriptor() -> object:
    return Bits(
        Int16ul,
        "busy" / F[15],
        "size" / RW[14:0].locked_by("nothing.there"),  # <-
    )


@diagnoses("lock-key", "BAR0.x.size")
def locked_by_nothing() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(
            0,
            "size" / RW[15:0].locked_by("y.enable"),  # <-
            RSVD[...],
        ),
    )  # fmt: skip


@diagnoses("lock-key", "BAR0.x")
def locked_by_a_register_of_fields() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y", 1)),  # <-
        "y" / Reg32(4, "enable" / RW[0], RSVD[...]),
    )


@diagnoses("lock-key", "BAR0.x")
def locked_by_an_alias() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("z", 1)),  # <-
        "y" / Reg32(4, RW),
        "z" / Alias32(8, "y", RW),
    )


@diagnoses("lock-value", "BAR0.x")
def key_too_narrow() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y.enable", 2)),  # <-
        "y" / Reg32(4, "enable" / RW[0], RSVD[...]),
    )


@diagnoses("lock-shape", "BAR0.x")
def key_of_another_array() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y", 1)),  # <-
        "y" / Reg32(Each(4, 4, 2), RW),
    )


@diagnoses("lock-needless", "BAR0.x.busy")
def lock_of_what_nobody_writes() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(
            0,
            "go" / RW[0],
            "busy" / CONST[1].locked_by("x.go"),  # <-
            RSVD[...],
        ),
    )  # fmt: skip


@diagnoses("lock-needless", "BAR0.x")
def lock_that_never_shuts() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y", 1)),  # <-
        "y" / Reg32(4, CONST, reset=2),
    )


@diagnoses("lock-forever", "BAR0.x")
def lock_that_is_shut_for_ever() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y", 2)),  # <-
        "y" / Reg32(4, CONST, reset=2),
    )


@diagnoses("lock-forever", "BAR0.x.lock")
def lock_that_locks_itself_and_resets_to_that() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(
            0,
            "size" / RW[15:0],
            "lock" / RW[31].locked_by("x.lock"),  # <-
            RSVD[...],
            reset=1 << 31,
        ),
    )  # fmt: skip


@diagnoses("lock-forever", "BAR0.x")
def locks_that_lock_each_other() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg8(0, RW, reset=1, locked_by=("y", 1)),  # <-
        "y" / Reg8(1, RW, reset=1, locked_by=("x", 1)),
    )


@diagnoses("lock-forever", "BAR0.x")
def lock_that_no_reset_reaches() -> object:
    return Bar(
        "BAR0",
        0x100,
        "x" / Reg32(0, RW, locked_by=("y", 1)),  # <-
        "y" / Reg8(4, RWO, survives=ResetCause),
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_path_and_line(case: Case) -> None:
    case.check()


def test_locks_that_open() -> None:
    """By a reset, by hardware, by reading, or by another write than the one that is locked."""
    ordinary = ("x" / Reg8(0, RW, reset=1, locked_by=("y", 1)), "y" / Reg8(1, RW, reset=2, locked_by=("x", 1)))
    assert Bar("until a reset", 16, *ordinary).entries
    for key in (RW.volatile, RC, W1C):
        assert Bar("BAR0", 16, "x" / Reg8(0, RW, locked_by=("y", 1)), "y" / Reg8(1, key, reset=1, survives=ResetCause)).entries
