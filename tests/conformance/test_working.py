"""Interrupts, mailbox and rings are judged: each fault is found by the test it is for, and each row has failed once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.conformance import judge_via, open_target
from emulators.process import ServerProcess
from regmodel.catalogue import find
from regmodel.conformance.accesses import Access, Wait, run
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import TESTS, judge, select
from tests.conformance.faulty_model import mutants
from tests.conformance.test_suite import problems
from tests.support.inputs import missing

WORKING = ("irq", "mailbox", "ring")
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
    tests = select(TESTS, WORKING)
    if len(failed) < len(FAULTS):
        missing("what all faults made fail", "run the whole file")
    with open_target("inprocess", find("igbvf")) as target:
        honest = run(judge(find("igbvf"), target.abilities, tests=tests), target)
    passed = {(row.test, row.register) for row in honest.rows if row.outcome is Outcome.PASS}
    seen = {(r.test, r.register) for report in failed.values() for r in report.rows if r.outcome is Outcome.FAIL}
    assert honest.passed and passed - seen == set()


# -- devices that work


def left_out(report: Report) -> set[tuple[str, str]]:
    return {(row.register, row.reason) for row in report.rows if row.outcome is Outcome.NOT_APPLICABLE}


@pytest.mark.parametrize(
    ("name", "options"),
    [("igbvf", {"neighbour": "inprocess"}), ("igbvf-i350", {"neighbour": "inprocess"}), ("igbvf", {"clock": "real"})],
    ids=str,
)
def test_in_process(name: str, options: dict[str, str]) -> None:
    """With a second VF of the card on the wire; and in time as it passes."""
    report = judge_via("inprocess", find(name), tests=WORKING, **options)
    assert problems(report) == [] and report.passed
    reasons = {why for _, why in left_out(report)}
    assert reasons <= {
        "a stock PF leaves RSS of its VFs off: all packets come to queue 0",
        "no queue is given a vector without an interrupt block",
    }


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_on_the_socket_with_a_neighbour(name: str, tmp_path: Path) -> None:
    with ServerProcess([name, name], folder=tmp_path) as server:
        here, there = (f"vfio-user:{path}" for path in server.sockets)
        report = judge_via(here, find(name), neighbour=there, tests=WORKING)
    assert problems(report) == [] and report.passed
    assert {"rx[0]", "tx[0]", "bar0.ivar0.int_alloc_rx0"} <= {r.register for r in report.rows if r.outcome is Outcome.PASS}


def test_on_the_socket_alone(tmp_path: Path) -> None:
    """Nobody sends to it, and nobody can reset its PF: these rows say so."""
    tests = ["ring_one", "mailbox_resets", "irq_routes"]
    with ServerProcess(["igbvf-i350"], folder=tmp_path) as server:
        report = judge_via(f"vfio-user:{server.sockets[0]}", find("igbvf-i350"), tests=tests)
    assert problems(report) == [] and report.passed
    assert left_out(report) == {
        ("rx[0]", "no peer: nobody sends to this function"),
        ("bar0.ivar0.int_alloc_rx0", "no peer: nobody sends to this function"),
        ("mailbox.reset of the peer", "the PF of this target cannot be told to reset"),
    }


class Slow:
    """``target``, of which every access takes ``seconds``."""

    def __init__(self, target: Any, seconds: float) -> None:
        self.target, self.seconds = target, seconds

    def perform(self, access: Access) -> int:
        answer: int = self.target.perform(access)
        self.target.perform(Wait(self.seconds))
        return answer


@pytest.mark.parametrize(
    ("seconds", "outcome", "why"),
    [
        (0.0026, Outcome.PASS, ""),
        (0.0040, Outcome.INCOMPLETE, "a peer waits 10 ms for memory that we keep; 8 times the judge kept it longer"),
    ],
    ids=["gives it back sooner", "cannot tell"],
)
def test_a_judge_that_is_slow_accuses_nobody(seconds: float, outcome: Outcome, why: str) -> None:
    """Memory that was kept for longer than a peer waits is not taken; that is no fault of the peer's."""
    with open_target("inprocess", find("igbvf")) as target:
        tests = select(TESTS, ["mailbox_ownership"])
        report = run(judge(find("igbvf"), target.abilities, tests=tests), Slow(target, seconds))
    (row,) = (row for row in report.rows if row.register == "mailbox.exclusion")
    assert (row.outcome, row.reason) == (outcome, why)


# -- targets that cannot do as much


def reasons(**abilities: object) -> dict[str, set[tuple[Outcome, str]]]:
    """By test: the outcomes and reasons of rows on a target that lacks ``abilities``."""
    device = find("igbvf")
    with open_target("inprocess", device) as target:
        able = replace(target.abilities, **abilities)  # type: ignore[arg-type]
        report = run(judge(device, able, tests=select(TESTS, WORKING)), target)
    found: dict[str, set[tuple[Outcome, str]]] = {}
    for row in report.rows:
        found.setdefault(row.test, set()).add((row.outcome, row.reason))
    return found


NOT = Outcome.NOT_APPLICABLE
WITHOUT_CAUSES = "the description tells of no interrupt block, by whose causes a masked vector could be made pending"


def test_without_interrupts() -> None:
    found = reasons(interrupts=False)
    for test in ("irq_causes", "irq_masks", "irq_automatic", "irq_moderation", "irq_vector_masks"):
        assert found[test] == {(NOT, "the target delivers no interrupts")}
    assert (NOT, "the target delivers no interrupts") in found["irq_routes"]
    assert found["mailbox_messages"] == {(Outcome.PASS, "")}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, WITHOUT_CAUSES) for name in ("virtio-net", "vmxnet3", "avp", "ivshmem-doorbell")),
        ("ivshmem-plain", "the target shows no MSI-X table"),
    ],
)
def test_why_no_vector_is_masked(name: str, why: str) -> None:
    """A table without an interrupt block is not the same as no table."""
    report = judge_via("inprocess", find(name), tests=["irq_vector_masks"])
    assert [(r.register, r.outcome, r.reason) for r in report.rows] == [("msix_vector_control", NOT, why)]


def test_without_a_pf_driver() -> None:
    found = reasons(peer=False)
    assert found["mailbox_messages"] == found["mailbox_edges"] == {(NOT, "no PF driver is behind the mailbox")}
    assert (NOT, "no PF driver is behind the mailbox") in found["ring_wrap"]


def test_without_memory() -> None:
    assert (NOT, "the target has no DMA memory") in reasons(memory=False)["ring_wrap"]


def test_asked_beforehand() -> None:
    found = reasons(interactive=False)
    assert found["mailbox_edges"] == {(NOT, "the target takes its accesses beforehand, and a mailbox has to be waited for")}


def test_where_others_keep_the_msix_table() -> None:
    found = reasons(virtualised={"MSIX_TABLE": "vfio-pci keeps it"})
    assert found["irq_vector_masks"] == {(Outcome.VIRTUALISED, "vfio-pci keeps it")}
    assert found["irq_causes"] == {(Outcome.PASS, "")}
