"""Faults in the RTL of a device: each mutant is its register blocks with one line of one of them changed.

What lives here: the mutants of ``emulators.rtl.mutants``, made ready for the trial. Each trial compiles its block.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from emulators.rtl.mutants import mutants as changes
from emulators.rtl.target import RtlTarget
from regmodel.catalogue import Description
from regmodel.export.verilog import block
from tests.conformance.mutants import Mutant


def mutants(device: Description, bar: int = 0) -> Iterator[Mutant]:
    """All of one BAR, which is simulated alone."""
    for change in changes(block(device, bar)):
        opener = partial(RtlTarget, device, only=frozenset({bar}), mutate={bar: change})
        yield Mutant(f"rtl {change.kind}", f"{device.name} {str(change).partition(' in ')[2]}", device, opener)
