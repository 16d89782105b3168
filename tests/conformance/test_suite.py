"""The suite on devices that are as described: everything passes, and everything that is left out says why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from drivers.conformance import judge_via
from emulators.process import ServerProcess
from regmodel.catalogue import find
from regmodel.conformance.accesses import Access, Answers, Diverged, Read, Steps, TargetGone, Write, arun, rehearse, run
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import REGISTER_TESTS, TESTS, judge, select
from regmodel.errors import UsageError
from tests.conformance.bare import ABILITIES, EVERY_KIND, BareBanks
from tests.support.every_kind import DESCRIPTION

HARDWARE = {"csr_backdoor", "csr_told", "csr_ties"}
"""Tests through the hardware's side of registers; ties need a clock, which RTL has (``tests.emulators.rtl``)."""
NOTHING_WRONG = {Outcome.PASS, Outcome.EXCLUDED, Outcome.NOT_APPLICABLE}


def problems(report: Report) -> list[str]:
    wrong = (row for row in report.rows if row.outcome not in NOTHING_WRONG)
    return [f"{row.test} {row.register}: {row.outcome.value}: {row.reason}" for row in wrong]


@pytest.fixture(scope="module", params=["igbvf", "igbvf-i350"])
def whole(request: pytest.FixtureRequest) -> tuple[Report, float]:
    """All there is, in this process; and the seconds of CPU that it took."""
    began = time.process_time()
    return judge_via("inprocess", find(request.param)), time.process_time() - began


@pytest.mark.alone
def test_our_model_in_process(whole: tuple[Report, float]) -> None:
    report, seconds = whole
    assert problems(report) == [] and report.passed and report.status == 0
    assert {row.test for row in report.rows} == {test.name for test in TESTS}
    assert seconds < 5, "a suite that takes longer is not run"


@pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
def test_our_model_on_the_socket(name: str, tmp_path: Path) -> None:
    with ServerProcess([name], folder=tmp_path) as server:
        report = judge_via(f"vfio-user:{server.sockets[0]}", find(name))
    assert problems(report) == [] and report.passed
    passed = {row.test for row in report.rows if row.outcome is Outcome.PASS}
    assert {test.name for test in REGISTER_TESTS} - passed == HARDWARE, "which need the hardware's side"


@pytest.mark.alone
@pytest.mark.parametrize("name", ["igbvf", "virtio-net", "vmxnet3"])
def test_our_model_on_the_socket_in_time(name: str, tmp_path: Path) -> None:
    """With a neighbour, so that nothing of the rings is left out."""
    with ServerProcess([name, name], folder=tmp_path) as server:
        here, there = (f"vfio-user:{path}" for path in server.sockets)
        report = judge_via(here, find(name), neighbour=there)
    assert problems(report) == [] and report.passed
    assert report.seconds < 30


def test_every_kind_of_register() -> None:
    report = run(judge(EVERY_KIND, ABILITIES), BareBanks(EVERY_KIND))
    assert problems(report) == []
    passed = {row.test for row in report.rows if row.outcome is Outcome.PASS}
    missing = {t.name for t in REGISTER_TESTS} - passed
    assert missing == {"csr_ties", "capability_walk", "bar_sizing", "config_enables", "config_flr"}, "no clock, no PCI function"


def test_every_register_is_judged_by_something(whole: tuple[Report, float]) -> None:
    tests = {test.name for test in REGISTER_TESTS}
    rows = [row for row in whole[0].rows if row.test in tests and row.outcome is not Outcome.NOT_APPLICABLE]
    passed = {row.register for row in rows if row.outcome is Outcome.PASS}
    assert {row.register for row in rows} == passed, "a register of which nothing was compared"


def test_what_is_left_out_says_why(whole: tuple[Report, float]) -> None:
    assert all(row.reason for row in whole[0].rows if row.outcome is not Outcome.PASS)
    held = next(row for row in whole[0].rows if row.test == "csr_rw" and row.register == "bar0.rxdctl[0]")
    assert held.outcome is Outcome.PASS and "the queue would run" in " ".join(held.notes)


@pytest.mark.parametrize("name", ["virtio-net", "virtio-net-transitional", "virtio-net-legacy"])
def test_no_exclusion_of_ours_is_needless(name: str) -> None:
    """What is excluded for another reason than that it would fail, memory that others share, is IVSHMEM's (``shm``)."""
    device = find(name)
    tests = {excluded.test for excluded in device.conduct.excluded}
    report = judge_via("inprocess", device, tests=tests, needless=True)
    assert tests and report.passed and report.remarks == []


class TestTrampolines:
    def steps(self) -> Steps[int]:
        yield Write(0, 0, 4, 7)
        first = yield Read(0, 0, 4)
        return first + (yield Read(0, 4, 4))

    def test_rehearsed_then_answered(self) -> None:
        asked, result = rehearse(self.steps(), lambda access: 1)
        assert [type(a) for a in asked] == [Write, Read, Read] and result == 1 + 1
        assert run(self.steps(), Answers(asked, [5, 6])) == 11
        with pytest.raises(TargetGone, match="no answer to: read BAR0"):
            run(self.steps(), Answers(asked, [5]))
        with pytest.raises(Diverged, match="rehearsed: None; now asked for: write 0x7"):
            run(self.steps(), Answers([], []))

    def test_awaited(self) -> None:
        async def perform(access: Access) -> int:
            return 20 if isinstance(access, Read) else 0

        awaited = arun(self.steps(), perform)
        with pytest.raises(StopIteration) as ended:
            awaited.send(None)
        assert ended.value.value == 40

    def test_what_fails_is_raised_at_the_access(self) -> None:
        def steps() -> Steps[str]:
            try:
                yield Read(0, 0, 4)
            except UsageError as error:
                return str(error)
            return "nothing"

        class Refuses:
            def perform(self, access: Access) -> int:
                raise UsageError("no")

        assert run(steps(), Refuses()) == "no"


def test_the_whole_suite_can_be_rehearsed() -> None:
    """For a target that takes a table: what is asked depends on the description alone."""
    from dataclasses import replace

    abilities = replace(ABILITIES, interactive=False)
    tests = select(TESTS, ["csr_hw_reset", "csr_rw", "reset_domains", "mem_walk"])
    rehearsed, _ = rehearse(judge(DESCRIPTION, abilities, tests=tests), lambda access: 0)
    device = BareBanks(DESCRIPTION)
    answers = [device.perform(access) for access in rehearsed]
    reads = [answer for access, answer in zip(rehearsed, answers, strict=True) if isinstance(access, Read)]
    report = run(judge(DESCRIPTION, abilities, tests=tests), Answers(rehearsed, reads))
    assert report.passed and problems(report) == []


def test_tests_are_named_by_their_beginning() -> None:
    assert [t.name for t in select(TESTS, ["csr_h", "mem"])] == ["csr_hw_reset", "mem_walk"]
    with pytest.raises(UsageError, match="there is no test 'nosuch'; there are csr_hw_reset, "):
        select(TESTS, ["nosuch"])
