"""What a judgement is made of: findings, the outcome of one check, the report of a run. No access and no device in here.

A *row* is one test on one register. It passes only if something of the register was really compared; where nothing could
be, it says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum


class Outcome(Enum):
    """How one test on one register ended, worst last."""

    PASS = "pass"
    EXCLUDED = "excluded"
    VIRTUALISED = "virtualised"
    NOT_APPLICABLE = "not applicable"
    INCOMPLETE = "incomplete"
    FAIL = "fail"


@dataclass(frozen=True)
class Answer:
    """A wrong one: what was read, and what should have been, under the bits of ``care``; ``width`` in bits."""

    expected: int
    got: int
    care: int
    width: int

    def __str__(self) -> str:
        digits = self.width // 4
        mask = "" if self.care == (1 << self.width) - 1 else f" (bits {self.care:0{digits}x})"
        return f"{self.got:0{digits}x}, not {self.expected:0{digits}x}{mask}"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as described: ``register`` ``what`` ``answer``, ``after`` what was done before, in ``fields``."""

    register: str
    what: str
    after: str = ""
    answer: Answer | None = None
    fields: str = ""

    def __str__(self) -> str:
        text = f"{self.register} {self.what}"
        text += f" {self.answer}" if self.answer else ""
        text += f" after {self.after}" if self.after else ""
        return f"{text}: {self.fields}" if self.fields else text


@dataclass(frozen=True)
class Wrong:
    """A field, or memory, that at least one answer was wrong about; the first such answer. Unlike findings, these are all."""

    field: str
    expected: int
    got: int

    def __str__(self) -> str:
        return f"{self.field} is {self.got:#x}, not {self.expected:#x}"


@dataclass(frozen=True)
class Row:
    """One test on one register. ``reason`` says why, for every outcome but a pass; ``notes`` are bits that were left out."""

    test: str
    register: str
    outcome: Outcome
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    wrong: tuple[Wrong, ...] = ()


@dataclass
class Report:
    """All rows of one run on one target."""

    device: str
    target: str
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""
    """Why the run did not reach its end; empty if it did."""
    remarks: list[str] = field(default_factory=list)
    """What deserves to be known beside the rows: exclusions that are not needed."""
    _places: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def add(self, row: Row) -> Row:
        """One more; of a test and register that have a row already, the two become one. The row as it is now."""
        at = self._places.setdefault((row.test, row.register), len(self.rows))
        if at == len(self.rows):
            self.rows.append(row)
            return row
        old = self.rows[at]
        outcome = worst((old.outcome, row.outcome))
        loud = old if old.outcome is outcome else row
        wrong = {one.field: one for one in (*row.wrong, *old.wrong)}
        self.rows[at] = replace(
            loud, findings=old.findings + row.findings, seconds=old.seconds + row.seconds, wrong=tuple(wrong.values())
        )
        return self.rows[at]

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(row.outcome for row in self.rows)

    @property
    def complete(self) -> bool:
        return not self.stopped and not self.counts[Outcome.INCOMPLETE]

    @property
    def passed(self) -> bool:
        """Nothing failed, everything was reached, and there was something to judge."""
        return self.complete and not self.counts[Outcome.FAIL] and bool(self.counts[Outcome.PASS])

    @property
    def status(self) -> int:
        """The exit status: 0 passed, 1 failed, 3 incomplete."""
        return 0 if self.passed else 1 if self.counts[Outcome.FAIL] else 3

    @property
    def summary(self) -> str:
        """One line."""
        counts = self.counts
        parts = [f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]]
        verdict = "passed" if self.passed else "FAILED" if counts[Outcome.FAIL] else "INCOMPLETE"
        if counts[Outcome.FAIL] and not self.complete:
            verdict += ", incomplete"
        return f"{self.device} on {self.target}: {verdict} ({', '.join(parts) or 'nothing was judged'}, {self.seconds:.1f} s)"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """What a group of rows comes to: a failure outweighs everything; a pass outweighs what was not done."""
    order = (Outcome.FAIL, Outcome.INCOMPLETE, Outcome.PASS, Outcome.VIRTUALISED, Outcome.EXCLUDED, Outcome.NOT_APPLICABLE)
    present = set(outcomes)
    return next(outcome for outcome in order if outcome in present)
