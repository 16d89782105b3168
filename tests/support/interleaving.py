"""Two processes at once, whose steps come in the order that a test gives them."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

At = Callable[[object, str, Callable[[], object]], Callable[[], None]]


def aged(path: Path, hours: float) -> Path:
    """As if it had been used that long ago for the last time."""
    then = time.time() - 3600 * hours
    os.utime(path, (then, then), follow_symlinks=False)
    return path


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[At]:
    """``at(place, name, other)``: the next call of that function first lets ``other`` run in a thread, as another process
    would, until it is done or waits for a lock. That it ends well is looked at afterwards, or by what ``at`` returns.
    """
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def interpose(place: object, name: str, other: Callable[[], object]) -> Callable[[], None]:
        original, stopped = getattr(place, name), threading.Event()
        flock = fcntl.flock

        def waiting(file: Any, how: int) -> None:
            try:
                flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if threading.current_thread() in threads:
                    stopped.set()
                if how & fcntl.LOCK_NB:
                    raise
                flock(file, how)

        def run() -> None:
            try:
                other()
            except BaseException as error:
                errors.append(error)
            finally:
                stopped.set()

        def first(*args: Any, **more: Any) -> Any:
            monkeypatch.setattr(place, name, original)
            threads.append(threading.Thread(target=run))
            threads[-1].start()
            assert stopped.wait(20)
            return original(*args, **more)

        monkeypatch.setattr(fcntl, "flock", waiting)
        monkeypatch.setattr(place, name, first)
        return ended

    def ended() -> None:
        assert threads, "it was never called"
        for thread in threads:
            thread.join(20)
        assert not errors, errors

    yield interpose
    ended()
