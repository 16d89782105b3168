"""Which mutants are tried, and what comes of it: ``python -m tests.conformance.trials [--rtl] [--all] [--kind KIND]``.

With ``--rtl`` the mutants are those of the register block, simulated; without, those of the model. Of each kind at most
``MOST`` (``MOST_RTL``) are tried, evenly spread over the device, so that a run ends in minutes; with ``--all``, all. A run
fails when less than ``GOAL`` of the mutants are killed, or one lives without an entry in ``survivors.toml``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from regmodel.catalogue import find
from regmodel.conformance.suite import TESTS, select
from tests.conformance import faulty_code, faulty_registers, faulty_rtl
from tests.conformance.mutants import Mutant, Verdict, trial, trial_apart

MOST, MOST_RTL, GOAL = 40, 7, 0.95
RINGS = select(TESTS, ["ring_one", "ring_pieces", "ring_wrap"])
"""What the layout walker decides is where the fields of descriptors are."""
SURVIVORS = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Survivor:
    """An entry of ``survivors.toml``."""

    kind: str
    name: str
    why: str

    def explains(self, mutant: Mutant) -> bool:
        return self.kind == mutant.kind and fnmatchcase(mutant.name, self.name.replace("[", "[[]"))


def survivors() -> list[Survivor]:
    return [Survivor(**entry) for entry in tomllib.loads(SURVIVORS.read_text())["survivor"]]


def every_mutant() -> list[Mutant]:
    """All of them: registers of igbvf, code of the bank."""
    return [*faulty_registers.mutants(find("igbvf")), *faulty_code.bank_mutants()]


def rtl_mutants() -> list[Mutant]:
    """The register block of igbvf's BAR 0."""
    return list(faulty_rtl.mutants(find("igbvf")))


def layout_mutants() -> list[Mutant]:
    """Code of the layout walker, to be tried by ``trial_apart`` in a process that has not imported the model."""
    return list(faulty_code.layout_mutants(find("igbvf")))


def spread(mutants: Iterable[Mutant], most: int) -> list[Mutant]:
    """At most ``most`` of each kind, evenly spread."""
    kinds: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        kinds.setdefault(mutant.kind, []).append(mutant)
    return [m for of_kind in kinds.values() for m in _every(of_kind, most)]


def _every(mutants: Sequence[Mutant], most: int) -> Iterator[Mutant]:
    step = max(len(mutants) / most, 1)
    yield from (mutants[int(i * step)] for i in range(min(most, len(mutants))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every mutant there is")
    parser.add_argument("--kind", action="append", help="only of this kind; may be repeated")
    parser.add_argument("--most", type=int, help="so many of each kind")
    parser.add_argument("--rtl", action="store_true", help="mutants of the register block as RTL, not of the model")
    wanted = parser.parse_args()
    logging.disable(logging.CRITICAL)
    source = rtl_mutants() if wanted.rtl else [*layout_mutants(), *every_mutant()]
    mutants = [m for m in source if not wanted.kind or m.kind in wanted.kind]
    chosen = mutants if wanted.all else spread(mutants, wanted.most or (MOST_RTL if wanted.rtl else MOST))
    began, explanations = time.monotonic(), survivors()
    verdicts: list[Verdict] = []
    unexplained: list[Mutant] = []
    for mutant in chosen:
        verdict = _try(mutant)
        verdicts.append(verdict)
        if not verdict.killed:
            why = next((s.why for s in explanations if s.explains(mutant)), None)
            print(f"lives  {mutant}: {why or 'UNEXPLAINED'}", flush=True)
            unexplained += [] if why else [mutant]
    return _summary(verdicts, unexplained, time.monotonic() - began)


def _try(mutant: Mutant) -> Verdict:
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
