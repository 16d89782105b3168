"""Faults for the judge to find: devices that are almost the one described.

Each mutant is a device with one fault in it and the honest description that it is judged by. Faults of three sorts live in
two files: in what a device believes of its registers (``faulty_registers``), in the code of the bank that executes them and
of the behaviour behind them (``faulty_code``). In here: what they have in common, and the trial.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from emulators.rtl.tools import SimulatorError
from regmodel.catalogue import Description, find
from regmodel.conformance.accesses import Access, run
from regmodel.conformance.checks import Test
from regmodel.conformance.outcomes import Outcome, Row
from regmodel.conformance.suite import TESTS, judge, select
from regmodel.errors import RegmodelError

PATIENCE = 60
"""Seconds after which a mutant that does not end counts as found."""
START = 60
"""Seconds more for a Python of its own, which has to begin and to import before the patience with its mutant does."""


class BrokenTrial(Exception):
    """There is no verdict: it was not the device that failed, but the fault could not be made, the judge or the trial fell, or
    something that they need is not there."""


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
    """``test`` and ``register`` that gave the mutant away; None if it lives. A device that falls or hangs gives itself away."""

    mutant: Mutant
    test: str | None
    register: str = ""
    reason: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.test is not None

    @property
    def judged(self) -> bool:
        """It was killed by a test of the suite, rather than that it fell by itself."""
        return self.test is not None and not self.test.startswith("(")


class _Found(Exception):
    def __init__(self, row: Row) -> None:
        super().__init__(row.reason)
        self.row = row


class _Fell(Exception):
    """The device raised what no device raises."""


class _Hangs(BaseException):
    """Patience is over. No ``Exception``: loops that go on behind those of a model do not go on behind this."""


class _Watched:
    """``target``, of which it is known that it was the one that fell."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def perform(self, access: Access) -> int:
        try:
            return int(self._target.perform(access))
        except RegmodelError:
            raise
        except Exception as error:
            raise _Fell(_said(error)) from error


def trial(mutant: Mutant, tests: Sequence[Test] = TESTS, patience: int = PATIENCE) -> Verdict:
    """Judge one mutant, until the first thing that is wrong with it, or for ``patience`` seconds. Raises ``BrokenTrial``."""
    began = time.monotonic()
    try:
        with _patience(patience):
            found = _judged(mutant, tests)
    except _Hangs:
        found = ("(hang)", "", f"no end after {patience} s")
    return Verdict(mutant, *found, time.monotonic() - began)


def _judged(mutant: Mutant, tests: Sequence[Test]) -> tuple[str | None, str, str]:
    """Test, register and reason. What is raised while the device is opened, works or is closed is its own doing."""

    def told(row: Row) -> None:
        if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE):
            raise _Found(row)

    found: tuple[str | None, str, str] = (None, "", "")
    opened = ExitStack()
    try:
        target = opened.enter_context(mutant.open())
    except (BrokenTrial, ImportError, SimulatorError) as error:
        raise BrokenTrial(f"{mutant}: {_said(error)}") from error
    except Exception as error:
        return "(crash)", "", _said(error)
    try:
        run(judge(mutant.judged_by, target.abilities, tests=tests, told=told), _Watched(target))
    except _Found as row:
        found = row.row.test, row.row.register, row.row.reason
    except _Fell as error:
        found = "(crash)", "", str(error)
    except Exception as error:
        raise BrokenTrial(f"{mutant}: the judge fell: {_said(error)}") from error
    finally:
        try:
            opened.close()
        except Exception as error:
            found = found if found[0] else ("(crash)", "", f"when it was closed: {_said(error)}")
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def trial_apart(mutant: Mutant, tests: Sequence[Test] = TESTS, patience: int = PATIENCE) -> Verdict:
    """The same in a Python of its own, which has imported nothing yet: for faults that imported modules would not show.

    It is found there by its name, among ``tests.conformance.faulty_code.layout_mutants`` and what they are mutants of.
    """
    names = [test.name for test in tests]
    command = [sys.executable, "-m", __name__, str(patience), mutant.judged_by.name, mutant.name, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience + START, check=False)
    except subprocess.TimeoutExpired:  # where no signal is heard: in a loop that is not of Python
        return Verdict(mutant, "(hang)", "", f"no end after {patience + START} s", patience + START)
    if done.returncode:
        why = done.stderr.strip().splitlines() or ["no reason given"]
        raise BrokenTrial(f"{mutant}: its Python ended with {done.returncode}: {why[-1]}")
    return Verdict(mutant, *json.loads(done.stdout.splitlines()[-1]))


def _apart(patience: str, device: str, name: str, *tests: str) -> None:
    """What ``trial_apart`` runs: the verdict as the last line."""
    from tests.conformance.faulty_code import layout_honest, layout_mutants

    logging.disable(logging.CRITICAL)
    honest = find(device)
    mutant = next(m for m in (layout_honest(honest), *layout_mutants(honest)) if m.name == name)
    verdict = trial(mutant, select(TESTS, tests), int(patience))
    print(json.dumps([verdict.test, verdict.register, verdict.reason[:500], verdict.seconds]))


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


if __name__ == "__main__":
    _apart(*sys.argv[1:])
