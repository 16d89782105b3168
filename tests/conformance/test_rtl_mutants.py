"""The judge is judged by faults in the RTL: one of each kind, and one for each test that only RTL can fail.

A larger sample is ``python -m tests.conformance.trials --rtl``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from regmodel.catalogue import find
from regmodel.conformance.suite import REGISTER_TESTS, select
from tests.conformance import faulty_rtl
from tests.conformance.mutants import Mutant, trial
from tests.conformance.trials import spread
from tests.support.every_kind import LOCKED

IGBVF = find("igbvf")
SAMPLE = faulty_rtl.one_of_each(IGBVF)
LOCKS = spread(faulty_rtl.lock_mutants(LOCKED), 2)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What mutants complain of is not the point."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", list(faulty_rtl.FOUND_BY))
def test_each_test_finds_its_fault(name: str) -> None:
    kind, start = faulty_rtl.FOUND_BY[name]
    (mutant,) = (m for m in faulty_rtl.mutants(IGBVF) if m.kind == kind and m.name.startswith(start))
    verdict = trial(mutant, select(REGISTER_TESTS, [name]), faulty_rtl.PATIENCE)
    assert verdict.test == name and verdict.reason, f"{mutant} lives"


@pytest.mark.parametrize("mutant", SAMPLE, ids=[m.kind for m in SAMPLE])
def test_a_fault_is_found(mutant: Mutant) -> None:
    """By a comparison: a trial that crashes is no find."""
    verdict = trial(mutant, faulty_rtl.TESTS, faulty_rtl.PATIENCE)
    assert verdict.test in {test.name for test in REGISTER_TESTS}, f"{mutant}: {verdict.test}, {verdict.reason}"


@pytest.mark.parametrize("mutant", LOCKS, ids=[str(m) for m in LOCKS])
def test_a_lock_at_fault_is_found(mutant: Mutant) -> None:
    verdict = trial(mutant, select(REGISTER_TESTS, ["csr_side_effects"]), faulty_rtl.PATIENCE)
    assert verdict.test == "csr_side_effects", f"{mutant}: {verdict.test}, {verdict.reason}"
