"""What tests of back ends share: a near end of the cable that records, and a loop turned until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from emulators.fabric.backends import parse
from emulators.fabric.offload import Partial, Takes
from emulators.fabric.uplink import Backend
from emulators.loop import Loop
from regmodel.function import Buffer


class NearEnd:
    """A ``Wire`` that keeps all frames, the finished ones copied, and all carrier changes."""

    partial, wanted = True, Takes.NONE

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.bursts: list[int] = []
        self.carrier: list[bool] = []

    def receive(self, frames: Sequence[Buffer]) -> None:
        self.frames += [frame if isinstance(frame, Partial) else bytes(frame) for frame in frames]
        self.bursts.append(len(frames))

    def set_carrier(self, up: bool) -> None:
        self.carrier.append(up)


def turn_until(loop: Loop, condition: Callable[[], object], seconds: float = 10) -> None:
    """Turn ``loop`` until ``condition`` holds; fails when that takes longer than ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        loop.turn(5_000_000)


@contextmanager
def plugged(spec: str, loop: Loop) -> Iterator[tuple[Backend, NearEnd]]:
    """An open back end and what it is plugged into."""
    backend, near = parse(spec), NearEnd()
    backend.open(loop, near)
    try:
        yield backend, near
    finally:
        backend.close()


def numbered(count: int, size: int = 60) -> list[bytes]:
    """Distinct broadcast frames of an experimental type (IEEE 802, 88b5), each with its number in front of the payload."""
    head = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x88\xb5"
    return [(head + number.to_bytes(4, "big")).ljust(size, bytes([number % 256])) for number in range(count)]
