"""The judge is judged: each of its tests finds the fault it is for, and a sample of all faults is found by one or the other.

The whole is ``python -m tests.conformance.trials``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from regmodel.catalogue import Description, find
from regmodel.conformance.accesses import Access
from regmodel.conformance.checks import Test
from regmodel.conformance.suite import REGISTER_TESTS, TESTS, select
from tests.conformance import faulty_code, faulty_registers, faulty_rtl
from tests.conformance.bare import EVERY_KIND, BareBanks
from tests.conformance.mutants import BrokenTrial, Mutant, trial, trial_apart
from tests.conformance.trials import RINGS, attempt, every_mutant, excused, layout_mutants, spread
from tests.support.every_kind import BESIDE, LOCKED
from tests.support.thorough import THOROUGH

IGBVF = find("igbvf")

FOUND_BY = {
    "csr_hw_reset": ("wrong reset", "bar0.srrctl[0]"),
    "csr_rw": ("stuck bit", "bar0.rdt[15]"),
    "csr_bit_bash": ("stuck bit", "bar0.tdlen[19]"),
    "csr_aliasing": ("array of one", "bar0.rdbal"),
    "csr_access_width": ("policy", "bar0.partial"),
    "csr_reserved": ("missing reserved bit", "bar0.rdlen[3:0]"),
    "csr_side_effects": ("access", "bar0.rqdpc.rqdpc: RC behaves as RO"),
    "reset_domains": ("reset falls short", "bar0.ivar0"),
    "mem_walk": ("memory", "bar0.vmbmem is read-only"),
    "csr_backdoor": ("access", "bar0.status.lu: RO behaves as RW"),
    "capability_walk": ("wrong reset", "config.msix_header[0]"),
    "bar_sizing": ("stuck bit", "config.bar0[31]"),
    "config_enables": ("access", "config.command.bus_master: RW behaves as W1S"),
    "config_flr": ("reset falls short", "config.command"),
}
"""A fault for each test of registers, which it has to find alone; those that only RTL can fail are with its mutants."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What mutants complain of is not the point."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_each_test_of_registers_has_a_fault_to_find() -> None:
    assert {*FOUND_BY, *faulty_rtl.FOUND_BY} == {test.name for test in REGISTER_TESTS}


@pytest.mark.parametrize("name", list(FOUND_BY))
def test_each_test_finds_its_fault(name: str) -> None:
    kind, what = FOUND_BY[name]
    (mutant,) = (m for m in faulty_registers.mutants(IGBVF) if m.kind == kind and m.name == f"igbvf {what}")
    (test,) = select(TESTS, [name])
    verdict = trial(mutant, [test])
    assert verdict.test == name and verdict.reason, f"{mutant} lives"


LOCKS = [m for described in (LOCKED, BESIDE) for m in faulty_registers.lock_mutants(described)]
HELD = [*faulty_registers.locked_mutants(BESIDE), *spread(faulty_registers.locked_mutants(LOCKED), 12 * THOROUGH)]


@pytest.mark.parametrize("mutant", LOCKS, ids=[m.name for m in LOCKS])
def test_a_lock_at_fault_is_found(mutant: Mutant) -> None:
    """By what can be read; that a pulse is locked, hardware alone is told."""
    name = "csr_told" if ".go: " in mutant.name else "csr_side_effects"
    assert trial(mutant, select(TESTS, [name])).test == name, f"{mutant} lives"


@pytest.mark.parametrize("mutant", HELD, ids=[m.name for m in HELD])
def test_a_fault_behind_a_lock_is_found(mutant: Mutant) -> None:
    """While the lock is open: what opens it leaves alone what stands beside the key, and what was set up before."""
    verdict = trial(mutant, REGISTER_TESTS)
    assert verdict.judged or (not verdict.killed and excused(mutant)), f"{mutant}: {verdict.test}, {verdict.reason}"


@pytest.mark.parametrize("described", [LOCKED, BESIDE], ids=lambda d: d.name)
def test_locks_without_a_fault_survive(described: Description) -> None:
    verdict = trial(Mutant("lock", "(no fault)", described, lambda: nullcontext(BareBanks(described))))
    assert not verdict.killed, (verdict.test, verdict.reason)


SAMPLE = [m for m in spread(every_mutant(), 2 * THOROUGH) if m.kind != "bank"]


@pytest.mark.parametrize("mutant", SAMPLE, ids=[str(m) for m in SAMPLE])
def test_a_fault_is_found(mutant: Mutant) -> None:
    """By a test of the suite, or it is known to be none. What is sampled is the same in each run."""
    verdict = trial(mutant)
    assert verdict.judged or (not verdict.killed and excused(mutant)), f"{mutant}: {verdict.test}, {verdict.reason}"


# -- the bank and the layout walker

BANK = spread((m for m in faulty_code.bank_mutants() if not excused(m)), 24 * THOROUGH)
LAYOUT = spread((m for m in layout_mutants() if not excused(m)), 10 * THOROUGH)
CODE = [*BANK, *LAYOUT]
"""Evenly spread over all of which nobody says that they cannot be found."""


def test_enough_of_the_code_is_tried() -> None:
    assert len(CODE) >= 30 and {m.kind for m in CODE} == {"bank", "layout"}
    assert len(set(code_of(BANK))) > 10 and len(set(code_of(LAYOUT))) > 2, "all in one function"


def code_of(mutants: list[Mutant]) -> list[str]:
    """The function of each."""
    return [m.name.partition(" ")[0] for m in mutants]


@pytest.mark.parametrize("mutant", CODE, ids=[str(m) for m in CODE])
def test_a_fault_in_the_code_is_found(mutant: Mutant) -> None:
    """By a test; or the code fell under it, which the server of a device reports as well, and the trial did not."""
    verdict = attempt(mutant)
    assert verdict.judged or verdict.test == "(crash)", f"{mutant}: {verdict.test}, {verdict.reason}"


# -- the trial


def test_what_is_not_faulty_survives() -> None:
    """Apart: as what is judged by the description that it is made from, and told by name there."""
    verdict = trial_apart(faulty_code.layout_honest(find("vmxnet3")), RINGS)
    assert not verdict.killed, (verdict.test, verdict.reason)
    assert not trial(Mutant("bank", "(no fault)", EVERY_KIND, lambda: nullcontext(BareBanks(EVERY_KIND)))).killed


class Falls(BareBanks):
    """Raises ``error`` at the third access."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(EVERY_KIND)
        self.error, self.count = error, 0

    def perform(self, access: Access) -> int:
        self.count += 1
        if self.count == 3:
            raise self.error
        return super().perform(access)


def opening(target: Callable[[], Any]) -> Mutant:
    return Mutant("bank", "(made here)", EVERY_KIND, lambda: nullcontext(target()))


def test_a_device_that_falls_is_found_and_a_harness_is_not() -> None:
    verdict = trial(opening(lambda: Falls(KeyError("oh"))))
    assert (verdict.test, verdict.judged) == ("(crash)", False) and "KeyError" in verdict.reason

    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'nothing'")

    with pytest.raises(BrokenTrial, match="No module named"):
        trial(opening(missing))


def test_a_fault_that_cannot_be_made_is_no_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise SyntaxError("no such code")

    monkeypatch.setattr(faulty_code, "_faulty", broken)
    with pytest.raises(BrokenTrial, match="no such code"):
        trial(next(faulty_code.bank_mutants()))


def test_a_judge_that_falls_finds_nothing() -> None:
    def checks(bench: object) -> Any:
        raise TypeError("a defect of the judge")

    with pytest.raises(BrokenTrial, match="a defect of the judge"):
        trial(opening(lambda: BareBanks(EVERY_KIND)), [Test("broken", "", checks)])


def test_a_python_of_its_own_that_ends_finds_nothing() -> None:
    with pytest.raises(BrokenTrial, match="its Python ended with 1"):
        trial_apart(Mutant("layout", "there is none of this name", find("vmxnet3"), lambda: nullcontext()), RINGS)


def test_a_loop_that_goes_on_behind_exceptions_ends() -> None:
    class Deaf(BareBanks):
        def perform(self, access: Access) -> int:
            while True:
                with suppress(Exception):
                    time.sleep(5)

    assert trial(opening(lambda: Deaf(EVERY_KIND)), patience=1).test == "(hang)"
