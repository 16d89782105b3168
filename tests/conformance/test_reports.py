"""What is written of a run: terminal, JUnit, JSON, one page; and the command that does it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from drivers.conformance import judge_via
from regmodel.catalogue import find
from regmodel.cli import main
from regmodel.conformance.outcomes import Answer, Finding, Outcome, Report, Row
from regmodel.conformance.reports import html, json_form, junit, write
from regmodel.conformance.reports.grid import LETTERS, grid, halves, notes, outcome_of, reasons
from regmodel.conformance.reports.table import draw
from regmodel.errors import UsageError
from regmodel.render import text

WRONG = Finding("bar0.a[1]", "reads", "writing 0x1 to bar0.b", Answer(0x10, 0x11, 0xFF, 32), "x[3:0] is 0x1, not 0x0")


@pytest.fixture
def report() -> Report:
    found = Report("card", "a bench", seconds=1.25)
    for row in (
        Row("csr_rw", "bar0.a[0]", Outcome.PASS, notes=("a.go: it would go off",), seconds=0.5),
        Row("csr_rw", "bar0.a[1]", Outcome.FAIL, str(WRONG), (WRONG,)),
        Row("csr_rw", "bar0.b", Outcome.EXCLUDED, "it bites"),
        Row("csr_bit_bash", "bar0.a[0]", Outcome.INCOMPLETE, "no answer <within> 5 s"),
        Row("csr_bit_bash", "config.command", Outcome.VIRTUALISED, "the command register"),
        Row("rings", "tx[0]", Outcome.NOT_APPLICABLE, "no PF driver"),
    ):
        found.add(row)
    found.remarks.append("needless exclusion: csr_rw on b passes without it (it bites)")
    return found


def test_a_finding_in_words() -> None:
    said = "bar0.a[1] reads 00000011, not 00000010 (bits 000000ff) after writing 0x1 to bar0.b: x[3:0] is 0x1, not 0x0"
    assert str(WRONG) == said


def test_the_verdict(report: Report) -> None:
    assert report.status == 1 and not report.passed and not report.complete
    said = "card on a bench: FAILED, incomplete (1 pass, 1 excluded, 1 virtualised, 1 not applicable, "
    assert report.summary.startswith(said)
    assert Report("card", "a bench").status == 3, "nothing was judged: that is no pass"


def test_two_rows_of_one_register_are_one(report: Report) -> None:
    row = report.add(Row("csr_rw", "bar0.a[0]", Outcome.FAIL, "later", (WRONG,), seconds=0.25))
    assert (row.outcome, row.reason, row.seconds, len(report.rows)) == (Outcome.FAIL, "later", 0.75, 6)
    assert report.add(Row("csr_rw", "bar0.a[0]", Outcome.PASS)).outcome is Outcome.FAIL


def test_elements_share_a_line_and_the_worst_shows(report: Report) -> None:
    shown = grid(report)
    assert shown.tests == ("csr_rw", "csr_bit_bash", "rings")
    lines = {path: [outcome_of(rows) for rows in cells] for path, cells in shown.lines}
    assert lines["bar0.a[]"] == [Outcome.FAIL, Outcome.INCOMPLETE, None] and lines["bar0.b"] == [Outcome.EXCLUDED, None, None]
    assert reasons(report, Outcome.EXCLUDED) == [("csr_rw", "it bites", ["bar0.b"])]


def test_terminal(report: Report) -> None:
    said = text(draw(report, why=True), width=120)
    assert "✗" in said and f"  {WRONG}"[:100] in said and "csr_bit_bash incomplete on 1 registers: no answer" in said
    assert "csr_rw excluded: it bites: bar0.b" in said and "needless exclusion" in said
    assert "csr_rw bits left out: a.go: it would go off: bar0.a[]" in said
    assert "it would go off" not in text(draw(report), width=120)


def test_bits_are_left_out_together(report: Report) -> None:
    """Elements of an array that share a note are one, as for reasons; so are registers."""
    for register in ("bar0.a[2]", "bar0.c"):
        report.add(Row("csr_rw", register, Outcome.PASS, notes=("a.go: it would go off", "a.on: it would be on")))
    went, on = ("csr_rw", "a.go: it would go off"), ("csr_rw", "a.on: it would be on")
    assert notes(report) == [(*went, ["bar0.a[]", "bar0.c"]), (*on, ["bar0.a[]", "bar0.c"])]


def test_the_whole_of_a_device_fits_into_80_columns() -> None:
    """Registers in one grid, what a device does when it works in another, and nothing cut off."""
    report = judge_via("inprocess", find("igbvf"))
    assert {test for half in halves(report) for test in half.tests} == {row.test for row in report.rows}
    lines = text(draw(report), width=80).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    told = next(line for line in lines if line.startswith("bar0.rdt[]"))
    assert told.split()[1:] == [LETTERS[o] for o in outcomes(report, "bar0.rdt[]")]
    assert any(line.startswith("mailbox.") for line in lines)


def outcomes(report: Report, path: str) -> list[Outcome]:
    (cells,) = (cells for name, cells in grid(report).lines if name == path)
    return [outcome for cell in cells if (outcome := outcome_of(cell)) is not None]


def test_junit(report: Report) -> None:
    root = ElementTree.fromstring(junit.text(report))
    suite = root.find("testsuite[@name='csr_rw']")
    assert suite is not None and (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.get("name") for case in suite] == ["bar0.a[0]", "bar0.a[1]", "bar0.b"]
    failure = suite.find("testcase[@name='bar0.a[1]']/failure")
    assert failure is not None and failure.text == str(WRONG)
    assert root.find("testsuite[@name='csr_bit_bash']/testcase/error") is not None
    assert [(c.get("name"), c.findtext("system-out")) for c in root.iter("testcase") if c.find("system-out") is not None] == [
        ("bar0.a[0]", "left out: a.go: it would go off")
    ]


def test_json_is_loaded_as_it_was_written(report: Report) -> None:
    again = json_form.load(json_form.text(report))
    assert again == report
    with pytest.raises(UsageError, match="no report of `regmodel conform --json`"):
        json_form.load("{}")
    with pytest.raises(UsageError, match="version 7, not 1"):
        json_form.load('{"version": 7}')


def test_page(report: Report) -> None:
    report.add(Row("csr_rw", "bar0.c", Outcome.PASS, notes=("c.up: above <all>",)))
    page = html.text(report)
    assert page.startswith("<!doctype html>") and "<script" not in page and "http" not in page
    assert "no answer &lt;within&gt; 5 s" in page and '<td class="fail"' in page and "FAILED" in page
    assert "<dt>csr_rw, bits: a.go: it would go off</dt>\n<dd><code>bar0.a[]</code></dd>" in page
    assert "<dt>csr_rw, bits: c.up: above &lt;all&gt;</dt>" in page
    rest = page.partition("</head>")[2].removesuffix("</html>\n").replace("&nbsp;", " ").replace("<br>", "")
    assert ElementTree.fromstring(rest).tag == "body", "every element is closed"


def test_a_place_that_cannot_be_written(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/x.json: the report cannot be written: No such file"):
        write("json", report, tmp_path / "nowhere" / "x.json")


class TestCommand:
    def run(self, *words: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["conform", *words])
        return ended.value.code

    def test_it_judges_and_writes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        paths = {form: tmp_path / f"out.{form}" for form in ("junit", "json", "html")}
        options = [word for form, path in paths.items() for word in (f"--{form}", str(path))]
        assert self.run("igbvf", "--test", "csr_hw_reset", "--test", "mem_walk", *options) in (0, None)
        said = capsys.readouterr().out
        assert "bar0.v2pmailbox" in said and "igbvf on inprocess: passed" in said
        assert json.loads(paths["json"].read_text())["passed"] and paths["html"].stat().st_size < 1 << 20
        assert ElementTree.parse(paths["junit"]).getroot().tag == "testsuites"

    def test_it_says_which_bits_were_left_out(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        held = "rxdctl.enable: the queue would run, on whatever memory RDBA names"
        page, junit_file = tmp_path / "html", tmp_path / "junit"
        self.run("igbvf", "--test", "csr_rw", "--why", "--html", str(page), "--junit", str(junit_file))
        assert f"csr_rw bits left out: {held}: bar0.rxdctl[]" in " ".join(capsys.readouterr().out.split())
        assert held in page.read_text()
        said = {case.get("name"): case.findtext("system-out") for case in ElementTree.parse(junit_file).iter("testcase")}
        assert said["bar0.rxdctl[0]"] == said["bar0.rxdctl[1]"] == f"left out: {held}" and said["bar0.eims"] is None

    def test_quietly(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.run("igbvf-i350", "--test", "capability", "-q")
        assert capsys.readouterr().out.startswith("igbvf-i350 on inprocess: passed (2 pass")

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("nosuch",), "unknown device 'nosuch'"),
            (("igbvf", "--test", "nosuch"), "there is no test 'nosuch'; there are csr_hw_reset"),
            (("igbvf", "--via", "nosuch"), "--via nosuch: nothing of that name can be judged; there are"),
        ],
    )
    def test_one_line_for_bad_words(self, words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run(*words) == 2
        said = capsys.readouterr().err.strip()
        assert line in said and len(said.splitlines()) == 1
