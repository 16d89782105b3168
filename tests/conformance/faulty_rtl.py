"""Faults in the RTL of a device: each mutant is its register blocks with one line of one of them changed.

What lives here: the mutants of ``emulators.rtl.mutants``, made ready for the trial. Each trial compiles its block, and asks
first what is quickly asked: an access of a simulation takes its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from emulators.rtl.mutants import mutants as changes
from emulators.rtl.target import RtlTarget
from regmodel.catalogue import Description
from regmodel.conformance.suite import REGISTER_TESTS, select
from regmodel.export.verilog import block
from tests.conformance.mutants import Mutant

SLOW = select(REGISTER_TESTS, ["csr_bit_bash", "csr_access_width", "csr_reserved"])
TESTS = (*(test for test in REGISTER_TESTS if test not in SLOW), *SLOW)
PATIENCE = 600
"""Seconds for a trial: a simulation that hangs says so itself, and one that is merely slow is not found by that."""

FOUND_BY = {
    "csr_told": ("rtl lost-pulse", "igbvf rxdctl[1]: hw_rxdctl__swflush"),
    "csr_ties": ("rtl cause-loses", "igbvf eicr:"),
}
"""A fault for each test that only RTL can fail, which it has to find alone: its kind, and how it begins."""


def mutants(device: Description, bar: int = 0) -> Iterator[Mutant]:
    """All of one BAR, which is simulated alone."""
    for change in changes(block(device, bar)):
        opener = partial(RtlTarget, device, only=frozenset({bar}), mutate={bar: change})
        yield Mutant(f"rtl {change.kind}", f"{device.name} {str(change).partition(' in ')[2]}", device, opener)


def lock_mutants(described: Description) -> list[Mutant]:
    """Locks that do not lock, or at another value of their key."""
    return [m for m in mutants(described) if m.kind in ("rtl lock-ignored", "rtl wrong-lock")]


def one_of_each(device: Description) -> list[Mutant]:
    """One mutant of each kind: the one in the middle of those of its kind."""
    kinds: dict[str, list[Mutant]] = {}
    for mutant in mutants(device):
        kinds.setdefault(mutant.kind, []).append(mutant)
    return [of_kind[len(of_kind) // 2] for of_kind in kinds.values()]
