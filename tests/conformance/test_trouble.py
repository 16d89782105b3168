"""Devices that hang, disappear, answer for each other or are excluded: one clear line each, and the run goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.conformance import open_target
from drivers.errors import DeviceTimeout
from regmodel.access import RO, RSVD, RW
from regmodel.catalogue import Description, find
from regmodel.conduct import Conduct, Effect, Excluded, Held, Touched
from regmodel.conformance.accesses import Access, ConfigRead, Read, Reset, TargetGone, Write, run
from regmodel.conformance.checks import Test
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import REGISTER_TESTS, TESTS, judge, select
from regmodel.errors import DescriptionError, UsageError
from regmodel.registers import Bar, Reg32
from tests.conformance.bare import ABILITIES, BareBanks

SMALL = Description(
    name="small",
    title="Small",
    doc="two registers",
    bars={0: Bar("bar0", 0x10, "a" / Reg32(0, RW, reset=1), "b" / Reg32(4, "x" / RW[3:0], RSVD[...], reset=2))},
)


class Troubled(BareBanks):
    """Does as told, but for what ``trouble`` says of the ``count``-th access."""

    def __init__(self, trouble: Callable[[int, Access], int | None]) -> None:
        super().__init__(SMALL)
        self.trouble, self.count = trouble, 0

    def perform(self, access: Access) -> int:
        self.count += 1
        instead = self.trouble(self.count, access)
        return super().perform(access) if instead is None else instead


def judged(trouble: Callable[[int, Access], int | None], tests: tuple[str, ...] = ("csr_hw", "csr_rw", "csr_bit")) -> Report:
    return run(judge(SMALL, ABILITIES, tests=select(TESTS, tests)), Troubled(trouble))


def outcomes(report: Report) -> list[tuple[str, str, Outcome]]:
    return [(row.test, row.register, row.outcome) for row in report.rows]


def test_a_device_that_hangs_once() -> None:
    def hangs(count: int, access: Access) -> None:
        if count == 10:
            raise DeviceTimeout("no answer within 5 s")

    report = judged(hangs)
    incomplete = [row for row in report.rows if row.outcome is Outcome.INCOMPLETE]
    assert [row.reason for row in incomplete] == ["no answer within 5 s"] and len(report.rows) == 6
    assert not report.complete and report.status == 3 and not report.stopped
    assert "INCOMPLETE" in report.summary


def test_a_device_that_hangs_again_and_again() -> None:
    def hangs(count: int, access: Access) -> None:
        if count > 6 and not isinstance(access, Reset):
            raise DeviceTimeout("no answer within 5 s")

    report = judged(hangs)
    assert report.stopped == "given up after 3 accesses that failed, the last: no answer within 5 s"
    assert len(report.rows) == 6 and report.status == 3


def test_a_card_that_disappears() -> None:
    def gone(count: int, access: Access) -> None:
        if count > 8:
            raise TargetGone("the server has hung up")

    report = judged(gone)
    reasons = {row.reason for row in report.rows if row.outcome is Outcome.INCOMPLETE}
    assert reasons == {"the server has hung up"} and report.stopped in reasons
    assert {row.register for row in report.rows} == {"bar0.a", "bar0.b"} and report.status == 3


def test_a_device_that_does_not_come_back() -> None:
    def stuck(count: int, access: Access) -> None:
        if isinstance(access, Reset) and count > 1:
            raise DeviceTimeout("still in reset")

    report = judged(stuck)
    assert report.stopped == "the device does not come out of a reset: still in reset"


def test_all_ones_is_a_device_that_is_gone() -> None:
    device = find("igbvf")
    with open_target("inprocess", device) as target:

        class Vanishes:
            count = 0

            def perform(self, access: Access) -> int:
                self.count += 1
                if self.count > 2000 and isinstance(access, Read | ConfigRead):
                    return (1 << 8 * access.size) - 1
                return target.perform(access)

        report = run(judge(device, target.abilities), Vanishes())
    assert report.stopped == "the device is gone: STATUS reads all ones"
    assert not report.counts[Outcome.FAIL] and report.status == 3


def test_a_wrong_answer_is_decoded() -> None:
    report = judged(lambda count, access: 0x3 if access == Read(0, 4, 4) else None, ("csr_hw_reset",))
    (row,) = (row for row in report.rows if row.outcome is Outcome.FAIL)
    said = "bar0.b reads 00000003, not 00000002 after a reset (power-on): x[3:0] is 0x3, not 0x2"
    assert str(row.findings[0]) == said and report.status == 1


def test_the_neighbour_that_changed_is_named() -> None:
    shared = {0: 0}

    class Aliased(BareBanks):
        """Its two registers are one."""

        def perform(self, access: Access) -> int:
            return super().perform(replace(access, offset=shared.get(4, 0)) if isinstance(access, Read) else access)

    report = run(judge(SMALL, ABILITIES, tests=select(TESTS, ["csr_aliasing"])), Aliased(SMALL))
    assert ("csr_aliasing", "bar0.b", Outcome.FAIL) in outcomes(report)


class Keeps(BareBanks):
    """No reset reaches ``b``."""

    def perform(self, access: Access) -> int:
        kept = super().perform(Read(0, 4, 4))
        answer = super().perform(access)
        if isinstance(access, Reset):
            super().perform(Write(0, 4, 4, kept))
        return answer


class Spills(BareBanks):
    """What is written to ``a`` lands in ``b`` as well."""

    def perform(self, access: Access) -> int:
        if isinstance(access, Write) and access.offset == 0:
            super().perform(replace(access, offset=4))
        return super().perform(access)


class TestExclusions:
    def conduct(self, **what: object) -> Description:
        return replace(SMALL, conduct=Conduct(**what))  # type: ignore[arg-type]

    def report(self, description: Description, target: BareBanks | None = None) -> Report:
        """On registers with something behind them: alone, nothing is held."""
        abilities = replace(ABILITIES, alone=False)
        steps = judge(description, abilities, tests=select(TESTS, ["csr_rw", "csr_bit_bash"]), needless=True)
        return run(steps, target or BareBanks(SMALL))

    def test_an_excluded_register_says_why(self) -> None:
        report = self.report(self.conduct(excluded=(Excluded("csr_rw", "a", "it bites"),)))
        assert ("csr_rw", "bar0.a", Outcome.EXCLUDED) in outcomes(report)
        assert next(row.reason for row in report.rows if row.outcome is Outcome.EXCLUDED) == "it bites"

    @pytest.mark.parametrize("test", REGISTER_TESTS, ids=lambda test: test.name)
    def test_an_excluded_register_is_not_touched(self, test: Test) -> None:
        """Neither as a neighbour: reading may be what bites."""

        def listen(count: int, access: Access) -> None:
            assert not isinstance(access, Read | Write) or access.offset >= 4, access

        description = self.conduct(excluded=(Excluded(test.name, "a", "it bites"),))
        report = run(judge(description, ABILITIES, tests=[test]), Troubled(listen))
        assert "bar0.a" not in {row.register for row in report.rows if row.outcome in (Outcome.PASS, Outcome.FAIL)}

    def test_one_that_is_not_needed_is_remarked_on(self) -> None:
        report = self.report(self.conduct(excluded=(Excluded("csr_rw", "a", "it bites"),)))
        assert report.remarks == ["needless exclusion: csr_rw on a passes without it (it bites)"]

    def test_one_of_no_register_is_refused(self) -> None:
        """A name that is misspelt would exclude nothing, and nobody would notice."""
        with pytest.raises(DescriptionError, match=r"small\.c: named in excluded, but neither .* has it \[conduct-unknown\]"):
            self.conduct(excluded=(Excluded("csr_rw", "c", "it bites"),))

    def test_one_from_no_test_is_refused(self) -> None:
        description = self.conduct(excluded=(Excluded("csr_wr", "a", "it bites"),))
        said = "small.a is excluded from csr_wr, and there is no such test; did you mean csr_rw?"
        with pytest.raises(UsageError, match=f"^{re.escape(__file__)}:[0-9]+: {re.escape(said)}$"):
            self.report(description)

    @pytest.mark.parametrize("why", ["", " ", "\n"])
    def test_one_without_a_reason_is_none(self, why: str) -> None:
        with pytest.raises(DescriptionError) as error:
            Excluded("csr_rw", "a", why)
        said = "a (csr_rw): tests would leave it out without a reason; say why [why-missing]"
        assert str(error.value).endswith(said) and str(error.value).startswith(f"{__file__}:")
        for wrong in (lambda: Held("a.x", why), lambda: Effect("a.x", why), lambda: Touched("a.x", why, ())):
            with pytest.raises(DescriptionError, match=r"a\.x: .*why-missing"):
                wrong()

    def test_a_description_without_a_reason_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from regmodel.cli import main

        path = tmp_path / "mine.py"
        path.write_text("from regmodel.conduct import Excluded\n\nLEFT = Excluded('csr_rw', 'tdt', why='')\n")
        with pytest.raises(SystemExit) as ended:
            main(["conform", f"{path}:DEVICE"])
        said = capsys.readouterr().err.strip()
        assert ended.value.code == 2 and len(said.splitlines()) == 1 and "mine.py:3" in said and "why-missing" in said

    def test_one_that_is_needed_is_not(self) -> None:
        bites = Troubled(lambda count, access: 0xBAD if access == Read(0, 0, 4) else None)
        report = self.report(self.conduct(excluded=(Excluded("*", "a", "it bites"),)), bites)
        assert report.remarks == [] and report.passed

    @pytest.mark.parametrize(
        ("device", "name", "register"),
        [
            (Keeps, "csr_hw_reset", "b"), (Keeps, "reset_domains", "b"),
            (Spills, "csr_aliasing", "b"), (Spills, "csr_aliasing", "a"),
        ],
    )  # fmt: skip
    def test_one_that_is_needed_for_what_is_done_to_all(self, device: type[BareBanks], name: str, register: str) -> None:
        """These tests write or reset everything and read afterwards; what is written to ``a`` shows in ``b`` only."""
        tests, able = select(TESTS, [name]), replace(ABILITIES, alone=False)
        honest = run(judge(SMALL, able, tests=tests), device(SMALL))
        assert [row.register for row in honest.rows if row.outcome is not Outcome.PASS] == ["bar0.b"]
        description = self.conduct(excluded=(Excluded(name, register, "it bites"),))
        report = run(judge(description, able, tests=tests, needless=True), device(SMALL))
        assert report.remarks == [] and report.passed
        sound = run(judge(description, able, tests=tests, needless=True), BareBanks(SMALL))
        assert sound.remarks == [f"needless exclusion: {name} on {register} passes without it (it bites)"]

    def test_one_that_is_not_needed_beside_another_fault(self) -> None:
        """What is wrong with it or without it is no reason for it."""
        description = self.conduct(excluded=(Excluded("csr_aliasing", "a", "it bites"),))
        tests = select(TESTS, ["csr_aliasing"])
        broken = Troubled(lambda count, access: 0xBAD if access == Read(0, 4, 4) else None)
        report = run(judge(description, ABILITIES, tests=tests, needless=True), broken)
        assert report.status == 1 and report.remarks == ["needless exclusion: csr_aliasing on a passes without it (it bites)"]

    def test_held_fields_keep_their_value(self) -> None:
        written: list[int] = []

        def listen(count: int, access: Access) -> None:
            if getattr(access, "offset", None) == 4 and hasattr(access, "value"):
                written.append(access.value)

        report = self.report(self.conduct(held=(Held("b.x", "it would go off"),)), Troubled(listen))
        assert all(value & 0xF == 2 for value in written)
        skipped = next(row for row in report.rows if row.register == "bar0.b")
        assert skipped.outcome is Outcome.EXCLUDED and skipped.reason == "b.x: it would go off"


@pytest.mark.parametrize(
    ("conduct", "outcome"),
    [(Conduct(quiet=("b.y",)), Outcome.PASS), (Conduct(quiet=("b.y",), free_running=("b.y",)), Outcome.EXCLUDED)],
)
def test_a_field_of_one_of_two_registers_that_are_called_alike(conduct: Conduct, outcome: Outcome) -> None:
    """As ``status`` is, in a BAR and in configuration space, whose fields are others."""
    bars = {0: SMALL.bars[0], 1: Bar("bar1", 8, "b" / Reg32(0, "y" / RO[31:0]))}
    described = replace(SMALL, bars=bars, conduct=conduct)
    report = run(judge(described, replace(ABILITIES, alone=False), tests=select(TESTS, ["csr_rw"])), BareBanks(described))
    found = {row.register: row.outcome for row in report.rows}
    assert found == {"bar0.a": Outcome.PASS, "bar0.b": Outcome.PASS, "bar1.b": outcome}


def test_what_somebody_else_answers_never_passes() -> None:
    """What could not be judged anyway says so; see ``test_virtualised``."""
    device = find("igbvf")
    parts = ("CONFIG", "BARS", "COMMAND", "MSI", "MSIX_TABLE")
    with open_target("inprocess", device) as target:
        between = replace(target.abilities, virtualised={p: f"QEMU answers {p}" for p in parts}, raw_config=False)
        report = run(judge(device, between), target)
    assert report.passed
    others = [row for row in report.rows if row.register.startswith(("config.", "bar3.msix_"))]
    assert others and {row.outcome for row in others} == {Outcome.VIRTUALISED, Outcome.EXCLUDED, Outcome.NOT_APPLICABLE}
    assert any(row.reason == "QEMU answers MSIX_TABLE" for row in others)
    anyway = {row.reason for row in others if (row.test, row.outcome) == ("csr_reserved", Outcome.EXCLUDED)}
    assert anyway == {"it has no reserved bits"}


def test_a_description_that_contradicts_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regmodel.cli import main

    path = tmp_path / "bad.py"
    path.write_text(
        "from regmodel.access import RW\nfrom regmodel.registers import Bar, Reg32\n"
        "BAR = Bar('b', 8, 'a' / Reg32(0, RW), 'b' / Reg32(2, RW))\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["conform", f"{path}:DEVICE"])
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and len(said.splitlines()) == 1 and "bad.py:3" in said and "entry-misaligned" in said
