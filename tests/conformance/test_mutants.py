"""The judge is judged: each of its tests finds the fault it is for, and a sample of all faults is found by one or the other.

The whole is ``python -m tests.conformance.trials``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from regmodel.catalogue import find
from regmodel.conformance.suite import REGISTER_TESTS, TESTS, select
from tests.conformance import faulty_registers, faulty_rtl
from tests.conformance.mutants import Mutant, trial
from tests.conformance.trials import every_mutant, spread, survivors

THOROUGH = int(os.environ.get("REGMODEL_THOROUGH", "1"))
"""How many times the usual number of mutants to try."""
IGBVF = find("igbvf")

FOUND_BY = {
    "csr_hw_reset": ("wrong reset", "bar0.srrctl[0]"),
    "csr_rw": ("stuck bit", "bar0.rdt[15]"),
    "csr_bit_bash": ("stuck bit", "bar0.tdlen[19]"),
    "csr_aliasing": ("array of one", "bar0.rdbal"),
    "csr_access_width": ("policy", "bar0.partial"),
    "csr_reserved": ("missing reserved bit", "bar0.rdlen[3:0]"),
    "csr_side_effects": ("access", "bar0.rqdpc.rqdpc: RC behaves as RO"),
    "reset_domains": ("reset falls short", "bar0.ivar0"),
    "mem_walk": ("memory", "bar0.vmbmem is read-only"),
    "csr_backdoor": ("access", "bar0.status.lu: RO behaves as RW"),
    "capability_walk": ("wrong reset", "config.msix_header[0]"),
    "bar_sizing": ("stuck bit", "config.bar0[31]"),
    "config_flr": ("reset falls short", "config.command"),
}
"""A fault for each test of registers, which it has to find alone; those that only RTL can fail are with its mutants."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What mutants complain of is not the point."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_each_test_of_registers_has_a_fault_to_find() -> None:
    assert {*FOUND_BY, *faulty_rtl.FOUND_BY} == {test.name for test in REGISTER_TESTS}


@pytest.mark.parametrize("name", list(FOUND_BY))
def test_each_test_finds_its_fault(name: str) -> None:
    kind, what = FOUND_BY[name]
    (mutant,) = (m for m in faulty_registers.mutants(IGBVF) if m.kind == kind and m.name == f"igbvf {what}")
    (test,) = select(TESTS, [name])
    verdict = trial(mutant, [test])
    assert verdict.test == name and verdict.reason, f"{mutant} lives"


SAMPLE = spread(every_mutant(), 2 * THOROUGH)


@pytest.mark.parametrize("mutant", SAMPLE, ids=[str(m) for m in SAMPLE])
def test_a_fault_is_found(mutant: Mutant) -> None:
    """Or is known to be none. What is sampled is the same in each run."""
    verdict = trial(mutant)
    excuses = [s for s in survivors() if s.explains(mutant)]
    assert verdict.killed or excuses, f"{mutant} lives, and survivors.toml does not say why"
