"""What the judge does about locks beside finding those at fault: whom it asks, what it does not write, what it says of that."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from construct import Bytes

from regmodel.access import RO, RSVD, RW, RWO, W1S
from regmodel.catalogue import Description
from regmodel.conduct import Conduct, Excluded
from regmodel.conformance.accesses import Access, Answers, Read, Write, rehearse, run
from regmodel.conformance.bench import Bench
from regmodel.conformance.outcomes import Outcome, Report, Row
from regmodel.conformance.places import Abilities
from regmodel.conformance.suite import REGISTER_TESTS, UNKNOWN, VOLATILE, judge, select
from regmodel.function import ResetCause
from regmodel.registers import Bar, Reg32, Window
from tests.conformance.bare import ABILITIES, BareBanks
from tests.support.every_kind import BESIDE, LOCKED

CARD = Abilities(resets=frozenset({ResetCause.FLR}))
"""Of a device that nobody looks into."""
WORDS = replace(CARD, sizes=frozenset({4}))
HANGS = "a write hangs the card"


def failed(report: Report) -> list[str]:
    return [f"{row.test} {row.register}: {row.reason}" for row in report.rows if row.outcome is Outcome.FAIL]


@pytest.mark.parametrize(
    ("described", "abilities"), [(LOCKED, CARD), (BESIDE, CARD), (BESIDE, WORDS)], ids=["locked", "beside", "whole words"]
)
def test_a_card_needs_no_ports(described: Description, abilities: Abilities) -> None:
    report = run(judge(described, abilities, tests=REGISTER_TESTS), BareBanks(described))
    assert report.passed and not failed(report)


def test_what_opens_a_lock_does_not_depend_on_answers() -> None:
    """A target that takes its accesses beforehand is asked the same, whatever its key happens to hold."""
    what = "v" / RW[7:0].locked_by("key.open", value=0), RSVD[...]
    bar = Bar("b", 8, "key" / Reg32(0, "open" / W1S[0], RSVD[...]), "x" / Reg32(4, *what))
    described = Description(name="taught", title="Taught", doc="for tests", bars={0: bar})
    abilities = replace(CARD, resets=frozenset(), interactive=False)
    device, tests = BareBanks(described), select(REGISTER_TESTS, ["csr_reserved"])
    device.banks[0].poke(0, 4, 1)
    rehearsed, _ = rehearse(judge(described, abilities, tests=tests), lambda access: 0)
    answers = [device.perform(access) for access in rehearsed]
    reads = [answer for access, answer in zip(rehearsed, answers, strict=True) if isinstance(access, Read)]
    report = run(judge(described, abilities, tests=tests), Answers(rehearsed, reads))
    assert 1 in reads and report.passed


class Listens(BareBanks):
    """Keeps the bytes that are written."""

    def __init__(self, described: Description) -> None:
        super().__init__(described)
        self.written: set[int] = set()

    def perform(self, access: Access) -> int:
        if isinstance(access, Write):
            self.written |= {*range(access.offset, access.offset + access.size)}
        return super().perform(access)


GUARDED = Bar("b", 0x20,
    "msix_gate" / Reg32(0x00, "shut" / RW[0], "open" / RW[1], RSVD[...], reset=1),
    "all"       / Reg32(0x08, RW, locked_by=("msix_gate.shut", 1)),
    "some"      / Reg32(0x10, "free" / RW[15:0], "held" / RW[31:16].locked_by("msix_gate.shut", 1)),
    "open"      / Reg32(0x18, RW, locked_by=("msix_gate.open", 1)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Guarded(Description):
    msix_bar: int = 0


def rows(conduct: Conduct, abilities: Abilities) -> tuple[dict[tuple[str, str], Row], set[int]]:
    described = Guarded(name="guarded", title="Guarded", doc="for tests", bars={0: GUARDED}, conduct=conduct)
    device = Listens(described)
    report = run(judge(described, abilities, tests=REGISTER_TESTS), device)
    assert not failed(report)
    return {(row.test, row.register): row for row in report.rows}, device.written


WHOLE = replace(ABILITIES, ports=False, tells=False)


@pytest.mark.parametrize(
    ("conduct", "abilities"),
    [
        (Conduct(excluded=(Excluded("*", "msix_gate", HANGS),)), WHOLE),
        (Conduct(), replace(WHOLE, virtualised={"MSIX_TABLE": HANGS})),
    ],
    ids=["excluded", "virtualised"],
)
def test_a_key_that_may_not_be_written_is_not(conduct: Conduct, abilities: Abilities) -> None:
    """By no test, in no width; what it locks for good is left out and says why, what is open is judged."""
    found, written = rows(conduct, abilities)
    assert not written & {0, 1, 2, 3} and written >= {8, 0x10, 0x18}
    for test in ("csr_rw", "csr_bit_bash"):
        row, why = found[test, "bar0.all"], f"locked by bar0.msix_gate, which is left alone: {HANGS}"
        assert (row.outcome, row.reason) == (Outcome.EXCLUDED, why)
        assert (found[test, "bar0.some"].notes, found[test, "bar0.open"].notes) == ((why,), ())
        assert found[test, "bar0.some"].outcome is found[test, "bar0.open"].outcome is Outcome.PASS
    assert found["csr_hw_reset", "bar0.all"].outcome is Outcome.PASS


def test_a_key_that_one_test_may_not_write_is_left_to_the_others() -> None:
    found, written = rows(Conduct(excluded=(Excluded("csr_rw", "msix_gate", HANGS),)), WHOLE)
    assert 0 in written and found["csr_rw", "bar0.all"].outcome is Outcome.EXCLUDED
    assert found["csr_bit_bash", "bar0.all"].outcome is Outcome.PASS


def test_memory_that_hardware_changes_is_volatile_and_what_no_reset_reaches_unknown() -> None:
    bar = Bar("b", 16, "moves" / Window(0, Bytes(8), RO), "kept" / Reg32(8, RWO, survives=ResetCause))
    described = Description(name="memory", title="Memory", doc="for tests", bars={0: bar})
    report = run(judge(described, CARD, tests=select(REGISTER_TESTS, ["csr_hw_reset"])), BareBanks(described))
    assert [row.reason for row in report.rows] == [VOLATILE, UNKNOWN]


def test_what_nobody_asks_for_is_not_kept() -> None:
    """Events, by which it is judged what hardware was told: a target that does not tell would gather them for ever."""
    for tells, kept in ((False, 0), (True, 1)):
        bench = Bench(BESIDE, replace(ABILITIES, tells=tells))
        run(bench.write(bench.ground.by_path["bar0.halves"], 1), BareBanks(BESIDE))
        bench.new_sheet()
        assert len(bench.predictor.files[0].oracle.events) == kept
