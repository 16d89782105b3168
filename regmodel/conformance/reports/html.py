"""The report as one HTML page that needs nothing beside itself: no script, no style sheet, no picture."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.reports.grid import LETTERS, grid, notes, outcome_of, reasons

STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .1rem .5rem; border-bottom: 1px solid var(--line); text-align: center; }
th:first-child, td:first-child { text-align: left; font-family: ui-monospace, monospace; }
thead th { position: sticky; top: 0; background: Canvas; vertical-align: bottom; font-weight: 600; font-size: .85rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9rem; } pre { white-space: pre-wrap; margin: .2rem 0 .8rem; }
.pass { color: #18803c; } .fail { color: #fff; background: #c0262d; font-weight: 700; }
.incomplete { background: #e0a100; color: #000; font-weight: 700; } .virtualised { color: #0b7285; }
.excluded, .not-applicable { opacity: .45; } .verdict { font-size: 1.1rem; font-weight: 600; }
"""


def text(report: Report) -> str:
    """The page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = escape(f"{report.device} on {report.target}")
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}: conformance</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
    yield f"<h1>{title}</h1>"
    verdict = "pass" if report.passed else "fail"
    yield f'<p><span class="verdict {verdict}">{escape(report.summary)}</span></p>'
    if report.stopped:
        yield f"<p>Stopped: {escape(report.stopped)}</p>"
    for remark in report.remarks:
        yield f"<p>{escape(remark)}</p>"
    yield from _failures(report)
    yield from _table(report)
    yield from _reasons(report)
    yield "</body></html>"


def _failures(report: Report) -> Iterator[str]:
    failed = [row for row in report.rows if row.outcome is Outcome.FAIL]
    if failed:
        yield "<h2>What failed</h2>"
    for row in failed:
        yield f'<div id="{escape(row.test)}-{escape(row.register)}"><code>{escape(row.test)} {escape(row.register)}</code>'
        yield "<pre>" + "\n".join(escape(str(finding)) for finding in row.findings) + "</pre></div>"


def _table(report: Report) -> Iterator[str]:
    shown = grid(report)
    yield "<h2>Test × register</h2><p>"
    yield " &nbsp; ".join(f'<span class="{_css(o)}">{letter}</span> {o.value}' for o, letter in LETTERS.items())
    yield "</p><table><thead><tr><th>register</th>"
    yield "".join(f"<th>{escape(test.removeprefix('csr_')).replace('_', '<br>')}</th>" for test in shown.tests)
    yield "</tr></thead><tbody>"
    for path, cells in shown.lines:
        marks = []
        for test, rows in zip(shown.tests, cells, strict=True):
            outcome = outcome_of(rows)
            if outcome is None:
                marks.append("<td></td>")
                continue
            why = next((row.reason for row in rows if row.outcome is outcome and row.reason), "")
            tip = escape(f"{test}: {outcome.value}" + (f": {why}" if why else ""), quote=True)
            marks.append(f'<td class="{_css(outcome)}" title="{tip}">{LETTERS[outcome]}</td>')
        yield f"<tr><td>{escape(path)}</td>{''.join(marks)}</tr>"
    yield "</tbody></table>"


def _reasons(report: Report) -> Iterator[str]:
    left = (Outcome.INCOMPLETE, Outcome.EXCLUDED, Outcome.VIRTUALISED, Outcome.NOT_APPLICABLE)
    yield "<h2>What was left out, and why</h2><dl>"
    for outcome in left:
        for test, reason, registers in reasons(report, outcome):
            yield f"<dt>{escape(test)}, {outcome.value}: {escape(reason)}</dt>"
            yield f"<dd><code>{escape(', '.join(registers))}</code></dd>"
    for test, note, registers in notes(report):
        yield f"<dt>{escape(test)}, bits: {escape(note)}</dt>"
        yield f"<dd><code>{escape(', '.join(registers))}</code></dd>"
    yield "</dl>"


def _css(outcome: Outcome) -> str:
    return outcome.value.replace(" ", "-")
