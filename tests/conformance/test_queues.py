"""Faulty queues of virtio and VMXNET3 are found, and every row of the tests of rings has failed once on each family."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from drivers.conformance import open_target
from regmodel.catalogue import find
from regmodel.conformance.accesses import run
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import TESTS, judge, select
from tests.conformance.faulty_queues import mutants
from tests.support.inputs import missing

FAULTS = {str(mutant): (mutant, test) for mutant, test in mutants()}
FAMILIES = {"virtio-net": {"packed": "on"}, "vmxnet3": {}}
RINGS = select(TESTS, ["ring", "irq_queues"])


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
    assert wrong and all(row.reason for row in wrong), f"{name} lives"


@pytest.mark.parametrize("family", list(FAMILIES))
def test_each_row_has_failed_once(family: str, failed: dict[str, Report]) -> None:
    """A row that no fault makes fail is a row that cannot fail."""
    if len(failed) < len(FAULTS):
        missing("what all faults made fail", "run the whole file")
    with open_target("inprocess", find(family), **FAMILIES[family]) as target:
        honest = run(judge(find(family), target.abilities, tests=RINGS), target)
    passed = {(row.test, row.register) for row in honest.rows if row.outcome is Outcome.PASS}
    mine = (report for report in failed.values() if report.device == family)
    seen = {(r.test, r.register) for report in mine for r in report.rows if r.outcome is Outcome.FAIL}
    assert honest.passed and passed - seen == set()
