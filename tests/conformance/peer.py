"""What the suite finds on somebody else's model of a device of ours, held against the list of what is understood.

One difference is one field (of any element of an array), or one row of a test of the working device, and the tests that
fail by it on each way to the device. A difference that the list does not have is an error, and so is an entry that nothing
differs by; see ``qemu_igb_vf.toml`` for what an entry says. An entry of a list for several devices may say which of these it
is about (``devices``). May not enter: how the suite is run.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import REGISTER_TESTS

WAYS = ("vfio", "firmware")
RIGHT = ("ours", "theirs", "both", "open")
SEVERAL = "several"
"""In place of a value, where answers differ in more than one way."""
BY_FIELD = frozenset(test.name for test in REGISTER_TESTS) - {"csr_access_width", "mem_walk"}
"""What other tests find are whole rows: by width, everything would differ at once; and how often a slow guest gets which
message is not the same each time."""
_ELEMENT = re.compile(r"\[\d+\](?=\.|$)")


@dataclass(frozen=True, order=True)
class Difference:
    """``at`` ours holds ``ours`` and theirs ``theirs``, by these tests on each of ``WAYS``."""

    at: str
    ours: str
    theirs: str
    tests: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        where = "; ".join(f"{way}: {', '.join(tests)}" for way, tests in zip(WAYS, self.tests, strict=True) if tests)
        return f"{self.at}: {self.ours}, theirs {self.theirs} ({where})"


@dataclass(frozen=True)
class Entry:
    """Differences with one explanation."""

    differences: tuple[Difference, ...]
    right: str
    clause: str


def base(path: str) -> str:
    """Without the number of an array element; bits in brackets stay, as they follow a field."""
    head, dot, field = path.rpartition(".") if _is_field(path) else (path, "", "")
    return _ELEMENT.sub("", head) + dot + field


def _is_field(path: str) -> bool:
    return path.count(".") == 2


def differences(reports: Mapping[str, Report]) -> set[Difference]:
    """What fails in ``reports`` (by way), in the terms of ``Difference``: all of it."""
    values: dict[str, tuple[set[str], set[str]]] = {}
    tests: dict[str, dict[str, set[str]]] = {}

    def note(way: str, test: str, at: str, ours: str, theirs: str) -> None:
        mine, other = values.setdefault(at, (set(), set()))
        mine.add(ours)
        other.add(theirs)
        tests.setdefault(at, {}).setdefault(way, set()).add(test)

    for way, report in reports.items():
        for row in report.rows:
            if row.outcome is not Outcome.FAIL:
                continue
            if row.test not in BY_FIELD:
                note(way, row.test, base(row.register), "", "")
                continue
            for wrong in row.wrong:
                note(way, row.test, base(wrong.field), f"{wrong.expected:#x}", f"{wrong.got:#x}")
            for finding in row.findings:
                if finding.answer is None:
                    note(way, row.test, f"{base(finding.register)}: {finding.what}", "", "")
    return {
        Difference(at, *(_one(side) for side in values[at]), tuple(tuple(sorted(by.get(way, ()))) for way in WAYS))
        for at, by in tests.items()
    }


def _one(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else SEVERAL


def load(path: Path, device: str = "") -> list[Entry]:
    """The entries of a file, of a list for several devices those about ``device``. Raises ``ValueError`` for one that does not
    say all that it has to."""
    entries = []
    for number, raw in enumerate(tomllib.loads(path.read_text())["difference"]):
        where = f"{path.name}, difference {number + 1} ({raw.get('at', '?')})"
        if device not in raw.pop("devices", [device]):
            continue
        missing = {"at", "ours", "theirs", *WAYS, "right", "clause"} ^ raw.keys()
        if missing:
            raise ValueError(f"{where}: {', '.join(sorted(missing))} is missing or unknown")
        if raw["right"] not in RIGHT:
            raise ValueError(f"{where}: right is one of {', '.join(RIGHT)}, not {raw['right']!r}")
        if not raw["clause"].strip() or not raw["at"]:
            raise ValueError(f"{where}: it must say where and why")
        tests = tuple(tuple(sorted(raw[way])) for way in WAYS)
        found = tuple(Difference(at, raw["ours"], raw["theirs"], tests) for at in raw["at"])
        entries.append(Entry(found, raw["right"], raw["clause"]))
    claimed = [d.at for entry in entries for d in entry.differences]
    if twice := {at for at in claimed if claimed.count(at) > 1}:
        raise ValueError(f"{path.name}: more than one entry for {', '.join(sorted(twice))}")
    return entries


def unexplained(found: set[Difference], entries: list[Entry]) -> str:
    """Differences without an entry and entries without a difference, a line each; empty where there are none."""
    known = {difference for entry in entries for difference in entry.differences}
    lines = [f"without an entry: {d}" for d in sorted(found - known)]
    return "\n".join([*lines, *(f"entry without a difference: {d}" for d in sorted(known - found))])
