"""Complaints about a guest: counted, told, and logged without flooding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from emulators.dma import DmaMap
from emulators.host import QUIET, Host, Nowhere
from emulators.loop import Loop, ManualClock
from regmodel import function as seam


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def host(clock: ManualClock) -> Iterator[Host]:
    loop = Loop(now=clock.now)
    yield Host("igbvf vf0", loop, DmaMap(), Nowhere(), lambda vector: None, lambda level: None)
    loop.close()


def test_each_complaint_is_counted_and_told(host: Host) -> None:
    told: list[tuple[str, Mapping[str, object]]] = []
    host.on_diagnose = lambda kind, detail: told.append((kind, detail))
    host.diagnose("ring-length", queue=1)
    host.diagnose("ring-length", queue=0)
    host.diagnose("dma-fault")
    assert host.diagnostics == {"ring-length": 2, "dma-fault": 1}
    assert told == [("ring-length", {"queue": 1}), ("ring-length", {"queue": 0}), ("dma-fault", {})]


def test_the_log_gets_one_line_per_kind_and_second(host: Host, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        host.diagnose("tail", value=64, register="tdt[0]")
    host.diagnose("other", why="ring of length 0")
    clock.advance(QUIET)
    host.diagnose("tail", value=65)
    clock.advance(QUIET)
    host.diagnose("tail", value=66)
    assert caplog.messages == [
        "igbvf vf0: tail value=0x40 register=tdt[0]",
        "igbvf vf0: other why=ring of length 0",
        "igbvf vf0: tail value=0x41 (and 99 more)",
        "igbvf vf0: tail value=0x42",
    ]


def test_a_remark_is_counted_but_no_warning(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "regmodel.device")
    host.remark("reserved", register="eimc", value=0xFFFFFFFF)
    assert host.diagnostics == {"reserved": 1}
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "igbvf vf0: reserved register=eimc value=0xffffffff")
    ]


def test_work_goes_to_the_loop(clock: ManualClock) -> None:
    loop, done = Loop(now=clock.now), []
    host = Host("x", loop, DmaMap(), Nowhere(), done.append, lambda level: done.append(level))

    def once() -> bool:
        done.append("burst")
        return False

    host.defer(once)
    host.irq(3)
    host.line(True)
    assert done == [3, True]
    loop.turn()
    assert done == [3, True, "burst"]
    timer = host.poll(once)
    loop.turn()
    timer.cancel()
    assert done[3:] == ["burst"]
    loop.close()


def test_it_is_what_models_are_promised(host: Host) -> None:
    promised: seam.Host = host
    assert promised.clock.now() == 0
