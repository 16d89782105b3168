"""Tests through the hardware's side of registers, on targets that have one (a model in this process, RTL).

What hardware stores is what software reads, and what software stores is what hardware sees (UVM: ``uvm_reg_access_seq``).
"""

from __future__ import annotations

from functools import partial

from regmodel.conformance.accesses import Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test, closed
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place
from regmodel.registers import Kind

PATTERNS = (0x5A5A5A5A5A5A5A5A, 0xA5A5A5A5A5A5A5A5, -1, 0)


def backdoor(bench: Bench) -> Checks:
    """Every register that has a state of its own."""
    for place in bench.ground.registers():
        hardware = sum(f.mask for f in place.register.fields if f.access.hardware)
        if skip := closed(bench, "csr_backdoor", place):
            yield skip
        elif not bench.abilities.ports:
            yield Skip(place.path, "the target has no hardware-side ports", Outcome.NOT_APPLICABLE)
        elif place.register.of is not None or place.entry.kind is not Kind.PLAIN or place.register.banked_by is not None:
            yield Skip(place.path, "it has no state of its own")
        elif not (hardware or place.writable):
            yield Skip(place.path, "neither hardware nor software changes it")
        else:
            yield Check(place.path, partial(_both_ways, bench, place, hardware), place.notes)


def _both_ways(bench: Bench, place: Place, hardware: int) -> Steps[None]:
    for pattern in PATTERNS:
        if hardware:
            yield from bench.drive(place, pattern & place.full, hardware)
            yield from bench.observe(place)
            yield from bench.read(place)
            yield from bench.observe(place)
        for written in (pattern, ~pattern):
            yield from bench.write_unlocked(place, written)
            yield from bench.observe(place)
    if hardware:
        yield from bench.drive(place, place.reset, hardware)
    yield from bench.put_back(place)


TESTS = (Test("csr_backdoor", "software reads what hardware stores, and hardware sees what software stores", backdoor),)
