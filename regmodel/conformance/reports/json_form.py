"""The report as JSON, whole: every row with its findings. ``version`` changes when a reader would have to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from regmodel.conformance.outcomes import Finding, Report

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
