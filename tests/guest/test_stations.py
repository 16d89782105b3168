"""What a station does by itself, without a guest."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from regmodel.errors import RegmodelError
from tests.guest.station import Station


class Slow:
    """A port that takes ``each`` seconds to send a frame, and ``waiting`` of them; time goes on as it is asked to sleep."""

    def __init__(self, each: float, waiting: int) -> None:
        self.clock, self.each, self.waiting = 0.0, each, waiting
        self.transport = self

    def now(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += max(seconds, 0.5)

    def tx_done_cleanup(self, queue: int) -> None:
        self.pool.available = 100 - max(self.waiting - int(self.clock / self.each), 0)

    pool: Any


def station(port: Slow) -> Station:
    made = Station.__new__(Station)
    made.port = port  # type: ignore[assignment]
    made.pool = port.pool = SimpleNamespace(available=100 - port.waiting)  # type: ignore[assignment]
    made.wanted = argparse.Namespace(seconds=30.0)
    return made


def test_it_ends_when_all_that_it_sent_has_left() -> None:
    """What a device still holds when its driver stops may be lost."""
    port = Slow(each=0.4, waiting=50)
    station(port)._wait_until_sent(100)
    assert port.pool.available == 100 and 20 <= port.clock < 21


def test_frames_that_never_leave_are_an_error() -> None:
    with pytest.raises(RegmodelError, match="20 frames have not left in 30 s"):
        station(Slow(each=1.0, waiting=50))._wait_until_sent(100)
