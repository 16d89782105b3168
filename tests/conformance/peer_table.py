"""What passes and what differs on the VF of QEMU's ``igb``, as a page: ``docs/qemu-igb-vf.md``.

::

    python -m tests.conformance.peer_table VFIO.json FIRMWARE.json > docs/qemu-igb-vf.md

The reports are those of `regmodel conform --json`; which differences there are, and who is right, says ``qemu_igb_vf.toml``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.reports.json_form import load as load_report
from regmodel.conformance.suite import TESTS
from tests.conformance.peer import WAYS, Entry, load

LIST = Path(__file__).with_name("qemu_igb_vf.toml")
TITLES = {
    Outcome.PASS: "pass", Outcome.FAIL: "differ", Outcome.VIRTUALISED: "virtualised", Outcome.EXCLUDED: "excluded",
    Outcome.NOT_APPLICABLE: "not applicable", Outcome.INCOMPLETE: "incomplete",
}  # fmt: skip


def page(reports: Mapping[str, Report], entries: list[Entry]) -> Iterator[str]:
    """The lines of the page."""
    yield "# The 82576 VF of QEMU's igb, by our conformance suite\n"
    yield "Made by `python -m tests.conformance.peer_table`; do not edit. Rows are registers, or what a test works with.\n"
    yield f"| test | {' | '.join(f'through {way}' if way == 'vfio' else f'from {way}' for way in WAYS)} |"
    yield "|---" * (len(WAYS) + 1) + "|"
    for test in TESTS:
        cells = [_cell(reports[way], test.name) for way in WAYS]
        if any(cells):
            yield f"| {test.name} | {' | '.join(cells)} |"
    yield "\nWhat differs:\n"
    yield "| where | ours | theirs | right | why |"
    yield "|---|---|---|---|---|"
    for entry in entries:
        one = entry.differences[0]
        where = ", ".join(f"`{difference.at}`" for difference in entry.differences)
        yield f"| {where} | {one.ours or '-'} | {one.theirs or '-'} | {entry.right} | {' '.join(entry.clause.split())} |"


def _cell(report: Report, test: str) -> str:
    counts = Counter(row.outcome for row in report.rows if row.test == test)
    return ", ".join(f"{counts[outcome]} {title}" for outcome, title in TITLES.items() if counts[outcome])


def main(*paths: str) -> None:
    reports = {way: load_report(Path(path).read_text()) for way, path in zip(WAYS, paths, strict=True)}
    print("\n".join(page(reports, load(LIST))))


if __name__ == "__main__":
    main(*sys.argv[1:])
