"""A card without a socket: what is refused leaves nothing behind; turns and time are those of its loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.alone import STEP, Alone, open_functions
from emulators.loop import Loop, ManualClock
from regmodel.devices.igbvf import IGBVF
from regmodel.errors import UsageError


def descriptors() -> set[Path]:
    """Those of this process, without what earlier tests have left to the garbage collector."""
    gc.collect()
    return set(Path("/proc/self/fd").iterdir())


@pytest.fixture
def alone() -> Iterator[Alone]:
    made = open_functions(IGBVF, clock="manual")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"net": "nothing:"}, "no such back end"),
        ({"net": ["none", "none", "none"], "ports": 2}, "3 --net for 2 ports"),
        ({"count": 8}, "has 7 igbvf functions, not 8"),
        ({"vfs": "none"}, "vfs is one of"),
        ({"clock": "broken"}, "'real' or 'manual'"),
    ],
)
def test_what_is_refused_leaves_nothing(options: dict[str, object], says: str) -> None:
    before = descriptors()
    with pytest.raises(UsageError, match=says):
        open_functions(IGBVF, **options)  # type: ignore[arg-type]
    assert descriptors() == before


def test_close_gives_everything_back(tmp_path: Path) -> None:
    before = descriptors()
    alone = open_functions(IGBVF, 2, net=f"pcap:out={tmp_path}/out.pcap")
    assert len(alone.functions) == 2 and alone.function is alone.functions[0]
    alone.close()
    alone.close()
    assert descriptors() == before
    assert (tmp_path / "out.pcap").stat().st_size == 24  # its header: the file was written to the end


def test_a_turn_is_a_round_of_what_waits(alone: Alone) -> None:
    done: list[str] = []

    def again() -> bool:
        done.append("again")
        return True

    def once() -> bool:
        done.append("once")
        return False

    alone.loop.defer(again)
    alone.loop.defer(once)
    assert alone.turn() and done == ["again", "once"]
    assert alone.turn() and done == ["again", "once", "again"]


def test_a_turn_with_nothing_to_do(alone: Alone) -> None:
    while alone.turn():  # what a card has to do when it is plugged
        pass
    alone.loop.call_at(5_000, lambda: None)
    assert not alone.turn()
    alone.wait(0.001)
    assert alone.now() == 5e-6  # not longer than until something happens


def test_manual_time_passes_even_if_there_is_always_something(alone: Alone) -> None:
    alone.loop.poll(lambda: True)
    for _ in range(3):
        alone.wait(1)
    assert alone.now() == 3 * STEP / 1e9


def test_a_wait_is_not_longer_than_asked_for(alone: Alone) -> None:
    alone.wait(1e-9)
    assert alone.now() == 1e-9
    alone.wait(-1)
    assert alone.now() == 1e-9


def test_work_does_not_look_at_descriptors() -> None:
    clock = ManualClock()
    loop = Loop(now=clock.now)
    assert not loop.watches and not loop.work()
    done: list[int] = []
    loop.call_at(3, lambda: done.append(clock.now()))
    loop.call_at(7, lambda: done.append(clock.now()))
    assert loop.next_due() == 3 and not loop.work()
    clock.advance(5)
    assert loop.work() and done == [5] and loop.next_due() == 7
    loop.close()
