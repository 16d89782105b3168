"""Which mutants are tried, and what comes of it: ``python -m tests.conformance.trials [--rtl] [--all] [--log LOG]``.

With ``--rtl`` the mutants are those of the register block, simulated; without, those of the model. Of each kind at most
``MOST`` (``MOST_RTL``) are tried, evenly spread over the device, so that a run ends in minutes; with ``--all``, all, which
takes hours: what is in ``LOG`` already is not tried again. A run fails when less than ``GOAL`` of the mutants are killed, or
one lives without an entry in ``survivors.toml``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from regmodel.catalogue import find
from regmodel.conformance.suite import TESTS, select
from tests.conformance import faulty_code, faulty_model, faulty_queues, faulty_registers, faulty_rtl
from tests.conformance.mutants import Mutant, Verdict, trial, trial_apart
from tests.support.every_kind import BESIDE, LOCKED

MOST, MOST_RTL, GOAL = 40, 7, 0.95
RINGS = select(TESTS, ["ring_one", "ring_pieces", "ring_wrap"])
"""What the layout walker decides is where the fields of descriptors are."""
SURVIVORS = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Survivor:
    """What lives, by its whole name, and why."""

    kind: str
    name: str
    why: str


def read_survivors(path: Path) -> dict[tuple[str, str], Survivor]:
    """A list of them, by kind and name. Raises ``ValueError`` for one that is there twice, or lives for no reason."""
    found: dict[tuple[str, str], Survivor] = {}
    for entry in tomllib.loads(path.read_text())["survivor"]:
        for name in entry["names"]:
            if (entry["kind"], name) in found or not entry["why"].strip():
                raise ValueError(f"{path.name}: {entry['kind']}: {name}: it is there twice, or lives for no reason")
            found[entry["kind"], name] = Survivor(entry["kind"], name, entry["why"])
    return found


@cache
def survivors() -> dict[tuple[str, str], Survivor]:
    """Those of ``survivors.toml``."""
    return read_survivors(SURVIVORS)


def excused(mutant: Mutant) -> Survivor | None:
    """The entry that says why it lives."""
    return survivors().get((mutant.kind, mutant.name))


def every_mutant() -> list[Mutant]:
    """Registers of igbvf, code of the bank and of what is behind the registers; locks, which igbvf has none of, and what they
    hold.
    """
    igbvf = find("igbvf")
    every = (faulty_registers.mutants(igbvf), faulty_code.bank_mutants(), faulty_code.model_mutants(igbvf))
    faulty = (faulty_registers.lock_mutants, faulty_registers.locked_mutants)
    locks = [m for mutants in faulty for described in (LOCKED, BESIDE) for m in mutants(described)]
    return [*(m for some in every for m in some), *locks]


def model_mutants() -> list[Mutant]:
    """What was chosen by hand, each of which one test has to find alone as well (``test_working``, ``test_queues``)."""
    return [mutant for mutant, _ in (*faulty_model.mutants(find("igbvf")), *faulty_queues.mutants())]


def rtl_mutants() -> list[Mutant]:
    """The register block of igbvf's BAR 0; of locks, which it has none of, another one."""
    return [*faulty_rtl.mutants(find("igbvf")), *faulty_rtl.lock_mutants(LOCKED)]


def layout_mutants() -> list[Mutant]:
    """Code of the layout walker, to be tried by ``trial_apart`` in a process that has not imported the model."""
    return list(faulty_code.layout_mutants(find("vmxnet3")))


def spread(mutants: Iterable[Mutant], most: int) -> list[Mutant]:
    """At most ``most`` of each kind, evenly spread."""
    kinds: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        kinds.setdefault(mutant.kind, []).append(mutant)
    return [m for of_kind in kinds.values() for m in _every(of_kind, most)]


def _every(mutants: Sequence[Mutant], most: int) -> Iterator[Mutant]:
    step = max(len(mutants) / most, 1)
    yield from (mutants[int(i * step)] for i in range(min(most, len(mutants))))


class Log:
    """What came of each mutant, on file; of no file, nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._known = {name: fields for name, *fields in map(json.loads, lines)}

    def known(self, mutant: Mutant) -> Verdict | None:
        """The verdict of an earlier run."""
        fields = self._known.get(str(mutant))
        return Verdict(mutant, *fields) if fields is not None else None

    def keep(self, verdict: Verdict) -> Verdict:
        if self.path is not None:
            fields = (str(verdict.mutant), verdict.test, verdict.register, verdict.reason, round(verdict.seconds, 1))
            with self.path.open("a") as file:
                file.write(json.dumps(fields) + "\n")
        return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every mutant there is")
    parser.add_argument("--kind", action="append", help="only of this kind; may be repeated")
    parser.add_argument("--most", type=int, help="so many of each kind")
    parser.add_argument("--log", type=Path, help="verdicts, a line of JSON each; those that are there already are taken over")
    parser.add_argument("--rtl", action="store_true", help="mutants of the register block as RTL, not of the model")
    wanted = parser.parse_args()
    logging.disable(logging.CRITICAL)
    source = rtl_mutants() if wanted.rtl else [*layout_mutants(), *every_mutant(), *model_mutants()]
    mutants = [m for m in source if not wanted.kind or m.kind in wanted.kind]
    chosen = mutants if wanted.all else spread(mutants, wanted.most or (MOST_RTL if wanted.rtl else MOST))
    began, explanations = time.monotonic(), survivors().values()
    verdicts: list[Verdict] = []
    unexplained: list[Mutant] = []
    used: set[Survivor] = set()
    log = Log(wanted.log)
    for mutant in chosen:
        verdict = log.known(mutant) or log.keep(attempt(mutant))
        verdicts.append(verdict)
        if not verdict.killed:
            entry = excused(mutant)
            print(f"lives  {mutant}: {entry.why if entry else 'UNEXPLAINED'}", flush=True)
            used |= {entry} if entry else set()
            unexplained += [] if entry else [mutant]
    kinds = {mutant.kind for mutant in mutants}
    stale = [s for s in explanations if wanted.all and s.kind in kinds and s not in used]
    for entry in stale:
        print(f"stale  {entry.kind}: {entry.name}: it lives no more")
    return _summary(verdicts, unexplained, time.monotonic() - began) or int(bool(stale))


def attempt(mutant: Mutant) -> Verdict:
    """The trial that a mutant of its kind needs. Raises ``BrokenTrial``."""
    if mutant.kind == "layout":
        return trial_apart(mutant, RINGS)
    if mutant.kind.startswith("rtl "):
        return trial(mutant, faulty_rtl.TESTS, faulty_rtl.PATIENCE)
    return trial(mutant)


def _summary(verdicts: list[Verdict], unexplained: list[Mutant], seconds: float) -> int:
    killed, total = sum(v.killed for v in verdicts), len(verdicts)
    for kind, count in Counter(v.mutant.kind for v in verdicts).items():
        dead = sum(v.killed for v in verdicts if v.mutant.kind == kind)
        print(f"{kind:24} {dead:4} of {count:4} killed")
    for test, count in Counter(v.test for v in verdicts if v.killed).most_common():
        print(f"  found first by {test:20} {count:4}")
    share = killed / total if total else 0.0
    print(f"{killed} of {total} mutants killed ({share:.1%}) in {seconds:.0f} s; {len(unexplained)} survivors unexplained")
    return 0 if share >= GOAL and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
