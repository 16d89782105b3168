"""A sound device whose process stands still for longer than anything may take passes: its own time counts, not the clock's."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drivers.conformance import open_target
from drivers.neighbour import looks
from regmodel.catalogue import find
from regmodel.conformance.accesses import ROUNDS, Access, ConfigRead, ConfigWrite, Fired, Inject, Now, Read, Wait, Write, run
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.suite import TESTS, judge, select
from regmodel.function import CONFIG_REGION
from tests.conformance.test_suite import problems

TELLING, ANSWERED = (Write, ConfigWrite), (Read, ConfigRead)
WAITING = ("ring_one", "ring_pieces", "ring_overrun", "ring_stop", "irq_c", "irq_m", "irq_a", "irq_r", "irq_q")


class StandsStill:
    """``target``, which takes nothing in while time passes, only when it has to answer: all that it was told, one frame that
    has come over another connection, and no work of its own, which is for the next nap. Meanwhile the clock runs.
    """

    def __init__(self, target: Any) -> None:
        self.target, self.late = target, 0.0
        self.told, self.coming = deque[Access](), deque[Access]()

    def perform(self, access: Access) -> int:
        if isinstance(access, TELLING):
            self.told.append(access)
        elif isinstance(access, Inject):
            self.coming.append(access)
        elif isinstance(access, Wait | Fired) and (self.told or self.coming):
            self.late += access.seconds
        elif isinstance(access, Now):
            return int(self.target.perform(access)) + round(self.late * 1e6)
        else:
            if isinstance(access, ANSWERED):
                self._takes_in()
            return int(self.target.perform(access))
        return 0

    def _takes_in(self) -> None:
        while self.told:
            self.target.perform(self.told.popleft())
        if self.coming:
            self.target.perform(self.coming.popleft())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is written to devices that do not run is complained of, and not the point."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("test", WAITING)
@pytest.mark.parametrize("name", ["igbvf", "virtio-net", "vmxnet3"])
def test_a_device_that_stands_still_is_not_accused(name: str, test: str) -> None:
    device, tests = find(name), select(TESTS, [test])
    with open_target("inprocess", device) as target:
        honest = run(judge(device, target.abilities, tests=tests), target)
        report = run(judge(device, target.abilities, tests=tests), StandsStill(target))
    assert problems(report) == []
    assert report.counts[Outcome.PASS] == honest.counts[Outcome.PASS]


class OutOfReach:
    """``target`` without a way to its configuration space."""

    def __init__(self, target: Any) -> None:
        self.target = target
        target.perform(ConfigWrite(4, 2, 6))  # memory and bus master, by whoever has the way

    def perform(self, access: Access) -> int:
        assert not isinstance(access, ConfigRead | ConfigWrite), access
        return int(self.target.perform(access))


@pytest.mark.parametrize("name", ["igbvf", "virtio-net", "vmxnet3"])
def test_configuration_space_is_not_asked_where_it_is_out_of_reach(name: str) -> None:
    device, tests = find(name), select(TESTS, ["ring_overrun", "ring_stop"])
    with open_target("inprocess", device) as target:
        abilities = replace(target.abilities, files=target.abilities.files - {CONFIG_REGION}, resets=frozenset())
        report = run(judge(device, abilities, tests=tests), OutOfReach(target))
    assert problems(report) == [] and report.counts[Outcome.PASS]


class Counts:
    """A transport whose clock is up at once, and what is asked of it."""

    asked = 0

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        pass

    def config_read(self, offset: int, size: int) -> int:
        self.asked += 1
        return 0


def test_who_listens_to_the_wire_lets_the_device_answer() -> None:
    transport: Any = Counts()
    assert sum(1 for _ in looks(transport, 0.0, 0.001)) == 1 + ROUNDS
    assert transport.asked == ROUNDS
