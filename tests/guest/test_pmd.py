"""Numbered frames into a cable are kept under way, whoever sends them back: what tests of hand-overs stand on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.guest.pmd import Cable, Numbered


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path, "wire")
    yield made
    made.close()


@contextlib.contextmanager
def echo(cable: Cable, *, but: Collection[int] = ()) -> Iterator[None]:
    """Sends back at once what comes, in order; what the cable does not take yet waits, as in a server. Some get lost."""
    over, waiting = threading.Event(), deque[bytes]()

    def run() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                frame = near.recv(65536)
                if int.from_bytes(frame[14:18], "big") not in but:
                    waiting.append(frame)
            with contextlib.suppress(TimeoutError):
                while waiting:
                    near.sendto(waiting[0], str(cable.far))
                    waiting.popleft()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as near:
        near.bind(str(cable.near))
        near.settimeout(0.001)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def test_as_many_as_may_be_are_under_way_however_fast_they_come_back(cable: Cable) -> None:
    with echo(cable), Numbered(cable, b"\2" * 6) as stream:
        for _ in range(3):
            stream.more(Numbered.WINDOW)
            stream.crowd()
    assert stream.back == list(range(len(stream.back)))


def test_what_got_lost_is_not_under_way_for_ever(cable: Cable) -> None:
    lost = range(100, 100 + Numbered.WINDOW - 1)
    with echo(cable, but=lost), Numbered(cable, b"\2" * 6) as stream:
        stream.more(2 * Numbered.WINDOW)
        stream.crowd()
        assert stream.taken - len(stream.back) > Numbered.WINDOW
