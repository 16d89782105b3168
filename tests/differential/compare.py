"""Compares two captures and holds what differs against the list of differences that are understood.

A difference that the list does not have is an error, and so is an entry of the list that nothing differs by. See
``differences.toml`` for what an entry says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from regmodel.bank import Bank
from regmodel.pci import ConfigSpace
from tests.differential.canonical import Phase, Step

NOTHING = ""
ANY_PHASE, CONFIGURATION = "any", "configuration space"
RIGHT = ("ours", "theirs", "both", "open")


@dataclass(frozen=True, order=True)
class Difference:
    """One way in which the sides differ in one phase: at a register, in a message, or by steps that one side lacks."""

    phase: str
    at: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.phase}: {self.at}\n    ours:   {self.ours or 'nothing'}\n    theirs: {self.theirs or 'nothing'}"


@dataclass(frozen=True)
class Entry:
    """A difference that is understood, in one or several phases."""

    at: str
    phases: tuple[str, ...]
    ours: str
    theirs: str
    right: str
    clause: str

    def differences(self) -> list[Difference]:
        return [Difference(phase, self.at, self.ours, self.theirs) for phase in self.phases]


@dataclass
class Verdict:
    """``unexplained`` differences, and entries (by phase) without a difference: both must be empty."""

    unexplained: list[Difference] = field(default_factory=list)
    stale: list[Difference] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.unexplained and not self.stale

    def __str__(self) -> str:
        lines = [f"{len(self.unexplained)} differences without an entry, {len(self.stale)} entries without a difference"]
        lines += ["", "Differences without an entry:"] + [f"  {d}" for d in self.unexplained] if self.unexplained else []
        lines += ["", "Entries without a difference:"] + [f"  {d}" for d in self.stale] if self.stale else []
        return "\n".join(lines)


def load(path: Path, front: str = "") -> list[Entry]:
    """The entries of a file, but for those with ``fronts`` that ``front`` (a device's personality) is not among. Raises
    ``ValueError`` for one that does not say all that it has to.
    """
    entries = []
    for number, raw in enumerate(tomllib.loads(path.read_text())["difference"]):
        where = f"{path.name}, difference {number + 1} ({raw.get('at', '?')})"
        fronts = raw.pop("fronts", [front])
        missing = {"at", "phase", "ours", "theirs", "right", "clause"} ^ raw.keys()
        if missing:
            raise ValueError(f"{where}: {', '.join(sorted(missing))} is missing or unknown")
        if raw["right"] not in RIGHT:
            raise ValueError(f"{where}: right is one of {', '.join(RIGHT)}, not {raw['right']!r}")
        if raw["ours"] == raw["theirs"] or not raw["clause"].strip():
            raise ValueError(f"{where}: it must differ, and say why")
        phases = raw["phase"] if isinstance(raw["phase"], list) else [raw["phase"]]
        if front in fronts:
            entries.append(Entry(raw["at"], tuple(phases), raw["ours"], raw["theirs"], raw["right"], raw["clause"]))
    claimed = [d for entry in entries for d in entry.differences()]
    twice = {str(d) for d in claimed if claimed.count(d) > 1}
    if twice:
        raise ValueError(f"{path.name}: more than one entry for {'; '.join(sorted(twice))}")
    return entries


def judge(differences: Iterable[Difference], entries: Iterable[Entry]) -> Verdict:
    """Hold ``differences`` against ``entries``."""
    found = set(differences)
    known = {difference for entry in entries for difference in entry.differences()}
    return Verdict(sorted(found - known), sorted(known - found))


def compare(ours: Mapping[str, Phase], theirs: Mapping[str, Phase], watch: Mapping[str, str]) -> set[Difference]:
    """All differences of two captures, each once per phase. ``watch`` says what the watchdog's runs in a phase belong to."""
    if list(ours) != list(theirs):
        raise ValueError("the captures went through different phases")
    found: set[Difference] = set()
    for name in ours:
        found |= sequences(name, ours[name].steps, theirs[name].steps)
        found |= sequences(name, ours[name].config, theirs[name].config)
    found |= kinds(ANY_PHASE, "interrupt handlers", [p.handlers for p in ours.values()], [p.handlers for p in theirs.values()])
    for group in sorted(set(watch.values()) - {""}):
        runs = [{part for name in side if watch[name] == group for part in side[name].watchdog} for side in (ours, theirs)]
        found |= blocks(group, "watchdog", *runs)
    return found


def configuration(config: ConfigSpace, ours: bytes, theirs: bytes) -> set[Difference]:
    """Compare configuration space field by field, and byte by byte where our description says nothing is."""
    found: set[Difference] = set()
    described: set[int] = set()
    for cell in Bank(config):
        span = range(cell.offset, cell.offset + cell.size)
        described |= set(span)
        values = [int.from_bytes(side[span.start : span.stop], "little") for side in (ours, theirs)]
        fields = {name: field.mask for name, field in cell.fields.items()}
        fields["reserved"] = cell.width_mask & ~sum(fields.values())
        for name, mask in fields.items():
            mine, other = (_field(str(cell.path), name, value & mask, mask) for value in values)
            if mine != other:
                found.add(Difference(CONFIGURATION, f"{cell.path}.{name}", mine, other))
    for at in sorted(set(range(len(ours))) - described):
        if ours[at] != theirs[at]:
            found.add(Difference(CONFIGURATION, f"config+{at:#x}", f"{ours[at]:#x}", f"{theirs[at]:#x}"))
    return found


def _field(register: str, name: str, value: int, mask: int) -> str:
    if register.startswith("bar") and name == "address" and value:
        return "an address"
    return f"{value // (mask & -mask):#x}" if mask else "0x0"


def sequences(phase: str, ours: Sequence[Step], theirs: Sequence[Step]) -> set[Difference]:
    """Align two sequences by direction and register; then values count."""
    found: set[Difference] = set()
    keys = [[(step.op, step.register, step.message) for step in side] for side in (ours, theirs)]
    for _, a, b, c, d in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        left, right = ours[a:b], theirs[c:d]
        if keys[0][a:b] == keys[1][c:d]:
            found |= {
                Difference(phase, _place(mine), mine.value, other.value)
                for mine, other in zip(left, right, strict=True)
                if mine.value != other.value
            }
        else:
            found.add(Difference(phase, "sequence", "; ".join(map(str, left)), "; ".join(map(str, right))))
    return found


def blocks(phase: str, at: str, ours: Iterable[tuple[Step, ...]], theirs: Iterable[tuple[Step, ...]]) -> set[Difference]:
    """Compare short sequences that happen at any time: those of one shape with each other."""
    shapes: dict[tuple[tuple[str, str], ...], tuple[list[tuple[Step, ...]], list[tuple[Step, ...]]]] = {}
    for side, given in enumerate((ours, theirs)):
        for block in sorted(given, key=str):
            shapes.setdefault(tuple((step.op, step.register) for step in block), ([], []))[side].append(block)
    found: set[Difference] = set()
    for mine, other in shapes.values():
        if len(mine) == len(other) == 1:
            found |= sequences(phase, mine[0], other[0])
        else:
            found |= kinds(phase, at, [mine], [other])
    return found


def kinds(phase: str, at: str, ours: Iterable[Iterable[object]], theirs: Iterable[Iterable[object]]) -> set[Difference]:
    """Compare what happens at any time, by kind."""
    mine, other = ({_text(kind) for part in side for kind in part} for side in (ours, theirs))
    return {Difference(phase, at, kind, NOTHING) for kind in mine - other} | {
        Difference(phase, at, NOTHING, kind) for kind in other - mine
    }


def _text(kind: object) -> str:
    return "; ".join(map(str, kind)) if isinstance(kind, tuple) else str(kind)


def _place(step: Step) -> str:
    """Where a value differs: ``R status``, ``R vmbmem[1] (reset_reply)``."""
    return f"{step.op} {step.register}" + (f" ({step.message})" if step.message else "")
