"""The last trial of all mutants: what came of it, kept in ``whole_trial.toml``, and the table of it in the guide.

    python -m tests.conformance.trials --all --log LOG            (an hour; --rtl as well: hours)
    python -m tests.conformance.whole_trial LOG... > tests/conformance/whole_trial.toml
    python -m tests.conformance.whole_trial --table                 what docs/guides/conformance.md shows

In here: the record and its forms. What is tried, and how, is in ``trials``.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conformance.mutants import Mutant
from tests.conformance.trials import every_mutant, layout_mutants, model_mutants, rtl_mutants

RECORD = Path(__file__).with_name("whole_trial.toml")
CODE = ("bank", "layout")


@dataclass(frozen=True)
class Group:
    """What came of the mutants of one kind. ``known``: how many there are; ``survivors`` by name."""

    kind: str
    where: str
    known: int
    tried: int
    survivors: tuple[str, ...]

    @property
    def killed(self) -> int:
        return self.tried - len(self.survivors)


def record() -> list[Group]:
    """The groups on file, in the order of the trial."""
    found = tomllib.loads(RECORD.read_text())["group"]
    return [Group(**{**entry, "survivors": tuple(entry["survivors"])}) for entry in found]


def where(mutant: Mutant) -> str:
    """What was made faulty, as the table calls it."""
    match mutant.kind:
        case "bank":
            return "code of the bank"
        case "layout":
            return "code of the layout walker"
        case "model":
            return "code of the igb VF"
    return "RTL" if mutant.kind.startswith("rtl ") else "registers"


@cache
def today() -> dict[str, tuple[str, list[Mutant]]]:
    """All mutants that there are, by kind, and where they are."""
    kinds: dict[str, tuple[str, list[Mutant]]] = {}
    for mutant in [*every_mutant(), *layout_mutants(), *rtl_mutants()]:
        kinds.setdefault(mutant.kind, (where(mutant), []))[1].append(mutant)
    for mutant in model_mutants():
        kinds.setdefault(mutant.kind, ("behaviour, by hand", []))[1].append(mutant)
    return kinds


def from_logs(paths: Iterable[Path]) -> list[Group]:
    """What logs of ``trials`` say about the mutants of today."""
    verdicts: dict[str, str | None] = {}
    for path in paths:
        verdicts |= {line[0]: line[1] for line in map(json.loads, path.read_text().splitlines())}
    groups = []
    for kind, (place, mutants) in today().items():
        tried = [m for m in mutants if str(m) in verdicts]
        lives = tuple(m.name for m in tried if verdicts[str(m)] is None)
        groups += [Group(kind, place, len(mutants), len(tried), lives)] if tried else []
    return groups


def toml(groups: Iterable[Group]) -> str:
    """The file."""
    parts = ["# The last trial of all mutants, by kind: made by tests/conformance/whole_trial.py from its logs.\n"]
    for group in groups:
        lines = "".join(f"    {json.dumps(name)},\n" for name in group.survivors)
        survivors = f"[\n{lines}]" if lines else "[]"
        parts.append(
            f'[[group]]\nkind = "{group.kind}"\nwhere = "{group.where}"\n'
            f"known = {group.known}\ntried = {group.tried}\nsurvivors = {survivors}\n"
        )
    return "\n".join(parts)


def table(groups: Iterable[Group]) -> str:
    """By where the faults are, as Markdown."""
    known, tried, killed = Counter[str](), Counter[str](), Counter[str]()
    for group in groups:
        known[group.where] += group.known
        tried[group.where] += group.tried
        killed[group.where] += group.killed
    rows = ["| faults in | there are | tried | found |", "|---|---|---|---|"]
    rows += [f"| {place} | {known[place]} | {tried[place]} | {killed[place]} |" for place in known]
    share = killed.total() / tried.total()
    rows.append(f"| **all** | {known.total()} | {tried.total()} | {killed.total()} ({share:.1%}) |")
    return "\n".join(rows)


def main() -> None:
    if sys.argv[1:] == ["--table"]:
        print(table(record()))
    else:
        print(toml(from_logs(map(Path, sys.argv[1:]))), end="")


if __name__ == "__main__":
    main()
