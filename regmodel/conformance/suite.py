"""The suite: every test in order, on one device, as one generator of accesses; and what its answers come to.

``judge`` is given to a trampoline of ``accesses`` together with a target::

    report = run(judge(device, Abilities(ports=True)), target)

Nothing that a device does stops it: an access that fails makes its check incomplete, and the run goes on behind a reset. Only
when the device does not come back from that, it is gone, and what is left is incomplete for that reason.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from regmodel.catalogue import Description
from regmodel.conduct import base_of
from regmodel.conformance import (
    config,
    csr,
    csr_backdoor,
    csr_effects,
    csr_hardware,
    csr_odd,
    interrupts,
    mailbox,
    rings,
    routes,
)
from regmodel.conformance.accesses import ConfigRead, Steps, TargetGone
from regmodel.conformance.bench import Bench, Sheet
from regmodel.conformance.checks import Check, NotOffered, Skip, Test, items
from regmodel.conformance.outcomes import Outcome, Report, Row
from regmodel.conformance.places import Abilities
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import CONFIG_REGION

REGISTER_TESTS: tuple[Test, ...] = (
    *csr.TESTS, *csr_odd.TESTS, *csr_effects.TESTS, *csr_backdoor.TESTS, *csr_hardware.TESTS, *config.TESTS,
)  # fmt: skip
TESTS: tuple[Test, ...] = (*REGISTER_TESTS, *interrupts.TESTS, *mailbox.TESTS, *rings.TESTS, *routes.TESTS)
COMMAND = 0x04
"""Its offset; STATUS stands behind it."""
VOLATILE = "volatile: hardware may change all that can be read of it"
UNKNOWN = "unknown: no reset of this target reaches it, and what it held before nobody knows"
"""Why nothing of a register could be compared."""
HANGS = 3
"""After so many accesses that failed, each of which the device came back from, nobody waits for more."""


def select(tests: Sequence[Test], names: Iterable[str]) -> tuple[Test, ...]:
    """The tests of these names, or that begin so (``csr_``); all when there are none. Raises ``UsageError``."""
    wanted = tuple(names)
    for name in wanted:
        if not any(t.name.startswith(name) for t in tests):
            raise UsageError(f"there is no test {name!r}; there are {', '.join(t.name for t in tests)}")
    return tuple(t for t in tests if not wanted or t.name.startswith(wanted))


def judge(
    device: Description,
    abilities: Abilities,
    *,
    target: str = "target",
    tests: Sequence[Test] = TESTS,
    needless: bool = False,
    told: Callable[[Row], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Steps[Report]:
    """Do ``tests``. ``told`` hears of each row as it is known.

    With ``needless``, what the description excludes is done as well, and remarked on where nothing is wrong with it.
    Raises ``UsageError`` for an exclusion from a test that there is not.
    """
    _check(device, tests)
    run = _Run(device, abilities, Report(device.name, target), told, clock)
    began = clock()
    for test in tests:
        yield from run.do(test)
    if needless and not run.report.stopped:
        yield from _needless(run, device, tests)
    run.report.seconds = clock() - began
    return run.report


def unreached(device: Description, target: str, tests: Sequence[Test], why: str) -> Report:
    """What the tests come to on a target that could not be opened: the rows of whatever can do everything, all incomplete.

    What ``target`` could have done is not known, so nothing is left out on its account.
    """
    report = Report(device.name, target, stopped=why)
    bench = Bench(device, Abilities.all())
    for test in tests:
        for item in test.checks(bench):
            report.add(Row(test.name, item.about, Outcome.INCOMPLETE, why))
    return report


def _needless(run: _Run, device: Description, tests: Sequence[Test]) -> Steps[None]:
    """Each exclusion by itself, everything else as it is.

    Its tests are done whole: what they do to one register may show in another, and the first of a sweep does it to all.
    """
    wrong = _wrong(run.report)
    for excluded in device.conduct.excluded:
        rest = tuple(e for e in device.conduct.excluded if e is not excluded)
        bare = replace(device, conduct=replace(device.conduct, excluded=rest))
        trial = _Run(bare, run.bench.abilities, Report(device.name, run.report.target), None, run.clock)
        for test in tests:
            if excluded.test in (test.name, "*"):
                yield from trial.do(test)
        compared = {base_of(row.register.partition(".")[2]) for row in trial.report.rows if row.outcome is Outcome.PASS}
        if excluded.register in compared and not trial.report.stopped and _wrong(trial.report) <= wrong:
            where = f"{excluded.test} on {excluded.register}"
            run.report.remarks.append(f"needless exclusion: {where} passes without it ({excluded.why})")


def _wrong(report: Report) -> set[tuple[str, str]]:
    """The rows (test, register) that neither pass nor say why they need not."""
    return {(row.test, row.register) for row in report.rows if row.outcome in (Outcome.FAIL, Outcome.INCOMPLETE)}


def _check(device: Description, tests: Sequence[Test]) -> None:
    """Refuse an exclusion from a test that there is not: what it is to keep from harm would be tested."""
    known = {"*", *(test.name for test in (*TESTS, *tests))}
    for excluded in device.conduct.excluded:
        if excluded.test not in known:
            near = difflib.get_close_matches(excluded.test, sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            what = f"{excluded.where}: {device.name}.{excluded.register}"
            raise UsageError(f"{what} is excluded from {excluded.test}, and there is no such test{hint}")


class _Run:
    def __init__(
        self,
        device: Description,
        abilities: Abilities,
        report: Report,
        told: Callable[[Row], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.bench, self.report, self.told, self.clock = Bench(device, abilities), report, told, clock
        self.hangs = 0

    def do(self, test: Test) -> Steps[None]:
        """All checks of one test, from a fresh start."""
        if not self.report.stopped:
            yield from self._start()
        for item in items(test, self.bench):
            if isinstance(item, Skip):
                row = Row(test.name, item.about, item.outcome, item.reason)
            elif self.report.stopped:
                row = Row(test.name, item.about, Outcome.INCOMPLETE, self.report.stopped)
            else:
                row = yield from self._check(test, item)
            row = self.report.add(row)
            if self.told is not None:
                self.told(row)

    def _check(self, test: Test, check: Check) -> Steps[Row]:
        sheet, began = self.bench.new_sheet(), self.clock()
        error: RegmodelError | None = None
        try:
            yield from check.steps()
        except NotOffered as why:
            return Row(test.name, check.about, Outcome.NOT_APPLICABLE, str(why))
        except RegmodelError as caught:
            error = caught
        outcome, reason = self._verdict(check, sheet, error)
        found, wrong, seconds = tuple(sheet.findings), tuple(sheet.wrong.values()), self.clock() - began
        row = Row(test.name, check.about, outcome, reason, found, check.notes, seconds, wrong)
        if error is not None:
            yield from self._recover(error)
        elif sheet.findings and self.bench.abilities.interactive:
            yield from self._look_for_life()
            if self.report.stopped:
                return Row(test.name, check.about, Outcome.INCOMPLETE, self.report.stopped)
        return row

    def _start(self) -> Steps[None]:
        try:
            yield from self.bench.start()
        except TargetGone as error:
            self.report.stopped = str(error)
        except RegmodelError as error:
            self.report.stopped = f"the device does not come out of a reset: {error}"

    def _recover(self, error: RegmodelError) -> Steps[None]:
        """An access failed: does a reset bring the device back?"""
        self.hangs += 1
        if isinstance(error, TargetGone) or not self.bench.abilities.interactive:
            self.report.stopped = str(error)
        elif self.hangs >= HANGS:
            self.report.stopped = f"given up after {HANGS} accesses that failed, the last: {error}"
        else:
            self.bench.predictor.forget(self.bench.predictor.names)
            yield from self._start()

    def _look_for_life(self) -> Steps[None]:
        """Something was wrong: a device that is gone answers all ones, and fires no interrupt.

        The vendor ID would not tell: that of a VF reads all ones (SR-IOV 1.1, 3.4.1.1). STATUS has reserved bits, and nobody
        answers for it; for bits of COMMAND vfio-pci does.
        """
        try:
            if CONFIG_REGION in self.bench.ground.files:
                both = yield ConfigRead(COMMAND, 4)
                if both >> 16 == 0xFFFF:
                    self.report.stopped = "the device is gone: STATUS reads all ones"
        except RegmodelError as error:
            self.report.stopped = str(error)

    def _verdict(self, check: Check, sheet: Sheet, error: RegmodelError | None) -> tuple[Outcome, str]:
        if error is not None:
            return Outcome.INCOMPLETE, str(error)
        if sheet.findings:
            further = f" (and {sheet.further} more)" if sheet.further else ""
            return Outcome.FAIL, f"{sheet.findings[0]}{further}"
        if not (any(sheet.compared.values()) if check.anything else sheet.compared[check.about]):
            return Outcome.EXCLUDED, UNKNOWN if self._keeps(check.about) else VOLATILE
        return Outcome.PASS, ""

    def _keeps(self, path: str) -> bool:
        """Whether something can be read of a register that hardware does not change by itself."""
        place = self.bench.ground.by_path.get(path)
        if place is None:
            return False
        file = self.bench.predictor.files[place.file]
        met = file.oracle.met(*place.units[0])  # of memory a word: there may be megabytes of it, all alike
        return any(access.readable and not file.moves(bit) for _, bit, access in met)
