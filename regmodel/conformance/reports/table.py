"""The report in a terminal. Importing this imports rich."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.reports.grid import LETTERS, Grid, halves, notes, outcome_of, reasons

STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.INCOMPLETE: "bold yellow",
    Outcome.EXCLUDED: "dim",
    Outcome.VIRTUALISED: "cyan",
    Outcome.NOT_APPLICABLE: "dim",
}


def draw(report: Report, *, why: bool = False) -> RenderableType:
    """The whole, for 80 columns: grids, what failed, and with ``why`` each reason for what was left out, registers and bits."""
    parts: list[RenderableType] = [part for half in halves(report) for part in (_grid(half), "")]
    parts += [_legend(), ""]
    parts += list(_details(report))
    if why:
        parts += list(_left_out(report))
    parts += [Text(remark, style="yellow") for remark in report.remarks]
    parts.append(Text(report.summary, style="bold green" if report.passed else "bold red"))
    if report.stopped:
        parts.append(Text(f"stopped: {report.stopped}", style="yellow"))
    return Group(*parts)


def _grid(shown: Grid) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    names = [test.removeprefix("csr_").replace("_", " ") for test in shown.tests]
    height = max((len(name) for name in names), default=0)
    table.add_column(Text("\n" * (height - 1) + "register"), no_wrap=True)
    for name in names:
        table.add_column("\n".join(name.rjust(height)), justify="center", width=1)
    for path, cells in shown.lines:
        outcomes = (outcome_of(rows) for rows in cells)
        table.add_row(path, *(Text(LETTERS[o], style=STYLES[o]) if o else Text("") for o in outcomes))
    return table


def _legend() -> Text:
    return Text("  ").join(Text(f"{letter} {outcome.value}", style=STYLES[outcome]) for outcome, letter in LETTERS.items())


def _details(report: Report) -> Iterator[RenderableType]:
    for row in report.rows:
        if row.outcome is Outcome.FAIL:
            yield Text(f"{row.test} {row.register}", style="bold red")
            for finding in row.findings:
                yield Text(f"  {finding}")
    for test, reason, registers in reasons(report, Outcome.INCOMPLETE):
        yield Text.assemble((f"{test} incomplete", "bold yellow"), f" on {len(registers)} registers: {reason}")


def _left_out(report: Report) -> Iterator[RenderableType]:
    for outcome in (Outcome.EXCLUDED, Outcome.VIRTUALISED, Outcome.NOT_APPLICABLE):
        for test, reason, registers in reasons(report, outcome):
            yield Text.assemble((f"{test} {outcome.value}", "bold"), f": {reason}: ", (", ".join(registers), "dim"))
    for test, note, registers in notes(report):
        yield Text.assemble((f"{test} bits left out", "bold"), f": {note}: ", (", ".join(registers), "dim"))
