"""Interrupts, mailbox and rings are judged: each fault is found by the test it is for, and each row has failed once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from drivers.conformance import open_target
from regmodel.catalogue import find
from regmodel.conformance.accesses import run
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import TESTS, judge, select
from tests.conformance.faulty_model import mutants

DEVICES = ("igbvf", "igbvf-i350")
FAULTS = {str(mutant): (mutant, test) for mutant, test in mutants(find("igbvf"))}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What faulty devices complain of is not the point."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def failed() -> dict[str, Report]:
    """What was found, by fault."""
    return {}


@pytest.mark.parametrize("name", list(FAULTS))
def test_each_fault_is_found_by_its_test(name: str, failed: dict[str, Report]) -> None:
    mutant, test = FAULTS[name]
    with mutant.open() as target:
        report = run(judge(mutant.judged_by, target.abilities, tests=select(TESTS, [test])), target)
    failed[name] = report
    wrong = [row for row in report.rows if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE)]
    assert wrong, f"{name} lives"
    assert all(row.reason for row in wrong)


def test_each_row_has_failed_once(failed: dict[str, Report]) -> None:
    """A row that no fault makes fail is a row that cannot fail."""
    tests = select(TESTS, ["irq", "mailbox", "ring"])
    if len(failed) < len(FAULTS):
        pytest.skip("only some of the faults were tried: run the whole file")
    with open_target("inprocess", find("igbvf")) as target:
        honest = run(judge(find("igbvf"), target.abilities, tests=tests), target)
    passed = {(row.test, row.register) for row in honest.rows if row.outcome is Outcome.PASS}
    seen = {(r.test, r.register) for report in failed.values() for r in report.rows if r.outcome is Outcome.FAIL}
    assert honest.passed and passed - seen == set()
