"""The report as JSON, whole: every row with its findings. ``version`` changes when a reader would have to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from regmodel.conformance.outcomes import Answer, Finding, Outcome, Report, Row, Wrong
from regmodel.errors import UsageError

VERSION = 1


def document(report: Report) -> dict[str, Any]:
    """As nested dictionaries."""
    return {
        "version": VERSION,
        "device": report.device,
        "target": report.target,
        "passed": report.passed,
        "complete": report.complete,
        "stopped": report.stopped,
        "seconds": round(report.seconds, 3),
        "counts": {outcome.value: count for outcome, count in report.counts.items()},
        "remarks": report.remarks,
        "rows": [
            {
                "test": row.test,
                "register": row.register,
                "outcome": row.outcome.value,
                "reason": row.reason,
                "seconds": round(row.seconds, 6),
                "findings": [_finding(finding) for finding in row.findings],
                "wrong": [asdict(one) for one in row.wrong],
                "notes": list(row.notes),
            }
            for row in report.rows
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "text": str(finding)}


def text(report: Report) -> str:
    """Indented by one."""
    return json.dumps(document(report), indent=1) + "\n"


def load(written: str) -> Report:
    """The report that ``text`` wrote. Raises ``UsageError`` when it is none of ours."""
    try:
        found = json.loads(written)
        if found["version"] != VERSION:
            raise UsageError(f"the report is of version {found['version']}, not {VERSION}")
        report = Report(found["device"], found["target"], seconds=found["seconds"], stopped=found["stopped"])
        report.remarks = list(found["remarks"])
        for row in found["rows"]:
            findings = tuple(_as_finding(finding) for finding in row["findings"])
            outcome = Outcome(row["outcome"])
            notes, wrong = tuple(row["notes"]), tuple(Wrong(**one) for one in row["wrong"])
            report.add(
                Row(row["test"], row["register"], outcome, row["reason"], findings, notes, row["seconds"], wrong)
            )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"this is no report of `regmodel conform --json`: {error}") from error
    return report


def _as_finding(found: dict[str, Any]) -> Finding:
    answer = Answer(**found["answer"]) if found["answer"] else None
    return Finding(found["register"], found["what"], found["after"], answer, found["fields"])
