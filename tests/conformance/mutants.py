"""Faults for the judge to find: devices that are almost the one described.

Each mutant is a device with one fault in it and the honest description that it is judged by. Faults of three sorts live in
two files: in what a device believes of its registers (``faulty_registers``), in the code of the bank that executes them and
of the behaviour behind them (``faulty_code``). In here: what they have in common, and the trial.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from regmodel.catalogue import Description
from regmodel.conformance.accesses import run
from regmodel.conformance.checks import Test
from regmodel.conformance.outcomes import Outcome, Row
from regmodel.conformance.suite import TESTS, judge

PATIENCE = 60
"""Seconds after which a mutant that does not end counts as found."""


@dataclass(frozen=True)
class Mutant:
    """``kind`` groups the like; ``open`` gives a target with ``abilities``; ``judged_by`` is the description it should obey."""

    kind: str
    name: str
    judged_by: Description
    open: Callable[[], AbstractContextManager[Any]]

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class Verdict:
    """``test`` and ``register`` that gave the mutant away; None if it lives. A crash or a hang gives itself away."""

    mutant: Mutant
    test: str | None
    register: str = ""
    reason: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.test is not None


class _Found(Exception):
    def __init__(self, row: Row) -> None:
        super().__init__(row.reason)
        self.row = row


class _Hangs(Exception):
    pass


def trial(mutant: Mutant, tests: Sequence[Test] = TESTS, patience: int = PATIENCE) -> Verdict:
    """Judge one mutant, until the first thing that is wrong with it, or for ``patience`` seconds."""
    began = time.monotonic()

    def told(row: Row) -> None:
        if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE):
            raise _Found(row)

    def verdict(test: str | None, register: str = "", reason: str = "") -> Verdict:
        return Verdict(mutant, test, register, reason, time.monotonic() - began)

    try:
        with _patience(patience), mutant.open() as target:
            run(judge(mutant.judged_by, target.abilities, tests=tests, told=told), target)
    except _Found as found:
        return verdict(found.row.test, found.row.register, found.row.reason)
    except _Hangs:
        return verdict("(hang)", "", f"no end after {patience} s")
    except Exception as error:
        return verdict("(crash)", "", f"{type(error).__name__}: {error}")
    return verdict(None)


def trial_apart(mutant: Mutant, tests: Sequence[Test] = TESTS) -> Verdict:
    """The same in a process of its own, which ends with it: for faults that imported modules would keep."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        verdict = trial(mutant, tests)
        os.write(sender, json.dumps([verdict.test, verdict.register, verdict.reason[:500], verdict.seconds]).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return Verdict(mutant, *json.loads(said)) if said else Verdict(mutant, "(crash)", "", "its process ended")


@contextmanager
def _patience(seconds: int) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise _Hangs

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
