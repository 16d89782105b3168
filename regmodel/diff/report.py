"""What ``compare`` found, written for people (text, Markdown) and for programs (JSON, SARIF 2.1.0).

SARIF is what code scanning services read; its levels are error, warning and note for our three severities. Files are named
relative to the working directory where they lie below it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regmodel.diff import Finding, Severity
from regmodel.diff.load import Side

Findings = Sequence[Finding]


def _counts(found: Findings) -> str:
    counts = {severity: sum(f.severity is severity for f in found) for severity in reversed(Severity)}
    return ", ".join(f"{n} {severity}" for severity, n in counts.items() if n) or "no difference"


def text(before: Side, after: Side, found: Findings) -> str:
    """Plain text, by severity."""
    lines = [f"{before.name} -> {after.name}: {_counts(found)}"]
    width = max((len(f.path) for f in found), default=0)
    for severity in reversed(Severity):
        rows = [f for f in found if f.severity is severity]
        lines += ["", str(severity), *(f"  {f.path or '(device)':<{max(width, 8)}}  {f.text}" for f in rows)] if rows else []
    return "\n".join([*lines, ""])


def markdown(before: Side, after: Side, found: Findings) -> str:
    """One table per severity."""
    lines = [f"## {before.name} → {after.name}", "", f"{_counts(found).capitalize()}."]
    for severity in reversed(Severity):
        rows = [f for f in found if f.severity is severity]
        if rows:
            lines += ["", f"### {str(severity).capitalize()}", "", "| where | what | rule |", "| --- | --- | --- |"]
            lines += [f"| `{f.path or before.tree.name}` | {f.text.replace('|', chr(92) + '|')} | {f.rule} |" for f in rows]
    return "\n".join([*lines, ""])


def as_json(before: Side, after: Side, found: Findings) -> str:
    """An object with ``before``, ``after`` and ``findings``."""
    rows = [{"severity": str(f.severity), "rule": f.rule, "path": f.path, "text": f.text} for f in found]
    return json.dumps({"format": 1, "before": before.name, "after": after.name, "findings": rows}, indent=1) + "\n"


_LEVELS = {Severity.BREAKING: "error", Severity.BEHAVIOUR: "warning", Severity.DOCUMENTATION: "note"}


def sarif(before: Side, after: Side, found: Findings) -> str:
    """One run; each result points to the declaration in the second description, or to what it was in."""
    rules = sorted({f.rule for f in found})
    driver = {
        "name": "regmodel diff",
        "version": version("regmodel"),
        "rules": [{"id": rule, "shortDescription": {"text": rule.replace("-", " ")}} for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "results": [_result(f, rules.index(f.rule), after) for f in found],
        "properties": {"before": before.name, "after": after.name},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def _result(f: Finding, rule: int, after: Side) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": f.path or after.tree.name}]}
    file, _, line = after.place(f.path).rpartition(":")
    if file:
        path = Path(file)
        near = path.is_absolute() and path.is_relative_to(Path.cwd())
        uri = path.relative_to(Path.cwd()).as_posix() if near else path.as_uri() if path.is_absolute() else path.as_posix()
        location["physicalLocation"] = {"artifactLocation": {"uri": uri}, "region": {"startLine": int(line)}}
    message = {"text": f"{f.path or after.tree.name}: {f.text}"}
    return {"ruleId": f.rule, "ruleIndex": rule, "level": _LEVELS[f.severity], "message": message, "locations": [location]}


FORMATS: Mapping[str, Callable[[Side, Side, Findings], str]] = {
    "text": text, "markdown": markdown, "json": as_json, "sarif": sarif,
}  # fmt: skip
