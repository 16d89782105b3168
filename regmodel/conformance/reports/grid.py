"""Test x register x outcome, with the elements of an array in one line: what the terminal and the page both show."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from regmodel.conformance.outcomes import Outcome, Report, Row, worst

LETTERS = {
    Outcome.PASS: "✓",
    Outcome.FAIL: "✗",
    Outcome.INCOMPLETE: "!",
    Outcome.EXCLUDED: "–",
    Outcome.VIRTUALISED: "v",
    Outcome.NOT_APPLICABLE: "·",
}


@dataclass(frozen=True)
class Grid:
    tests: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[Row, ...], ...]], ...]
    """Per register: its rows of each test, in the order of ``tests``."""


def base(path: str) -> str:
    """The path of an array element without its index."""
    return re.sub(r"\[\d+\]$", "[]", path)


def grid(report: Report) -> Grid:
    """In order of appearance."""
    tests = tuple(dict.fromkeys(row.test for row in report.rows))
    cells: dict[str, dict[str, list[Row]]] = {}
    for row in report.rows:
        cells.setdefault(base(row.register), {}).setdefault(row.test, []).append(row)
    return Grid(tests, tuple((path, tuple(tuple(by.get(test, ())) for test in tests)) for path, by in cells.items()))


def halves(report: Report) -> list[Grid]:
    """Two grids, each as narrow as it can be: tests that share registers with the first test, and all others (causes,
    messages, rings). One, where there is nothing else.
    """
    whole = grid(report)
    mine: set[str] = set(whole.tests[:1])
    lines = [({test for test, rows in zip(whole.tests, cells, strict=True) if rows}, path) for path, cells in whole.lines]
    while more := set().union(*(tests for tests, _ in lines if tests & mine)) - mine:
        mine |= more
    found = []
    for half in (mine, set(whole.tests) - mine):
        columns = [i for i, test in enumerate(whole.tests) if test in half]
        rows = [(path, tuple(cells[i] for i in columns)) for path, cells in whole.lines if any(cells[i] for i in columns)]
        found.append(Grid(tuple(whole.tests[i] for i in columns), tuple(rows)))
    return [one for one in found if one.tests]


def outcome_of(rows: tuple[Row, ...]) -> Outcome | None:
    """What one cell comes to; None where the test says nothing about the register."""
    return worst(row.outcome for row in rows) if rows else None


def reasons(report: Report, *outcomes: Outcome) -> list[tuple[str, str, list[str]]]:
    """(test, reason, registers) of all rows with one of these outcomes: who shares a reason stands together."""
    return _shared((row, row.reason) for row in report.rows if row.outcome in outcomes)


def notes(report: Report) -> list[tuple[str, str, list[str]]]:
    """(test, note, registers) of all rows that left bits of their register out."""
    return _shared((row, note) for row in report.rows for note in row.notes)


def _shared(said: Iterable[tuple[Row, str]]) -> list[tuple[str, str, list[str]]]:
    found: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row, why in said:
        found[row.test, why][base(row.register)] = None
    return [(test, why, list(registers)) for (test, why), registers in found.items()]
