"""Memory of two devices in lock-step: each may be late, and what neither comes to write is told."""

from __future__ import annotations

from typing import Any, cast

from drivers.transports import DmaBuffer
from drivers.transports.rules import Rules
from drivers.transports.tee_memory import Finding, Owner, TeeMemory
from regmodel.catalogue import find

GRACE = 0.1


class Counting:
    """A buffer whose device counts in its first byte, from ``now`` to ``last``, a step with each look."""

    def __init__(self, now: int, last: int) -> None:
        self.iova, self.size, self.view, self.last = 0x1000_0000, 16, memoryview(bytearray(16)), last
        self.view[0] = now

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        self.view[0] = min(self.view[0] + 1, self.last)


class Clock:
    def __init__(self) -> None:
        self.time, self.found = 0.0, list[Finding]()

    def tell(self, *_: Any) -> None: ...

    def finish_poll(self) -> None: ...

    def differ(self, finding: Finding) -> None:
        self.found.append(finding)

    def pass_time(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time

    def grace_end(self) -> float:
        return self.time + GRACE


def look(ours: Counting, theirs: Counting) -> tuple[int, Clock]:
    """What the driver sees of the count, and what was told."""
    device, clock = find("virtio-net"), Clock()
    memory = TeeMemory(cast(Owner, clock), device, Rules(device, frozenset()))
    buffer = memory.add(cast(DmaBuffer, ours), cast(DmaBuffer, theirs))
    buffer.sync_for_cpu()
    return buffer.view[0], clock


def test_theirs_may_be_late() -> None:
    seen, clock = look(Counting(4, 5), Counting(0, 5))
    assert (seen, clock.found) == (5, []) and clock.time < GRACE


def test_theirs_may_be_ahead() -> None:
    seen, clock = look(Counting(0, 5), Counting(4, 5))
    assert (seen, clock.found) == (5, []) and clock.time < GRACE


def test_who_never_comes_is_told() -> None:
    seen, clock = look(Counting(0, 5), Counting(6, 7))
    assert seen == 5 and clock.time >= GRACE
    assert [(finding.ours, finding.theirs) for finding in clock.found] == [(b"\x05", b"\x07")]
