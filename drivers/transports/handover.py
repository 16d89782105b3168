"""Memory between a driver and a device that somebody watches: the driver's copy, and what the device's is known to hold.

A watcher must see exactly what the driver sees. On memory that a device writes at any time two looks may differ, so the
driver is given memory of its own, as Linux' swiotlb does, and every hand-over copies. To the device goes all that is handed
over, because the driver says that it has written these bytes; from it come only bytes that the device has changed, so that
what the driver has written meanwhile and not handed over yet stays.
"""

from __future__ import annotations

import mmap
from typing import Final, TypeAlias

from regmodel.errors import UsageError

Change: TypeAlias = tuple[int, bytes]
"""Bytes that differ from what was there, and where: the offset from the start of the buffer."""

LOOKS: Final = 100
"""So often a snapshot is taken again while the device writes; then it is good enough for a device that never stops."""


class Handed:
    """The driver's side of one buffer of ``size`` bytes: ``view`` is the driver's, ``known`` what the device's side holds."""

    def __init__(self, iova: int, size: int) -> None:
        self.iova, self.size = iova, size
        self.view = memoryview(mmap.mmap(-1, size))
        self.known = bytearray(size)

    def span(self, offset: int, size: int | None) -> tuple[int, int]:
        """First and end of what is handed over. Raises ``UsageError`` beyond the buffer."""
        offset, end = int(offset), self.size if size is None else int(offset + size)
        if not 0 <= offset <= end <= self.size:
            raise UsageError(f"the DMA memory at {self.iova:#x} has {self.size:#x} bytes, not {offset:#x} to {end:#x}")
        return offset, end

    def given(self, first: int, end: int) -> list[Change]:
        """What the driver has changed from ``first`` to ``end`` of what was known; known from now on."""
        now = bytes(self.view[first:end])
        changed = changes(self.known[first:end], now, first, gap=3)
        self.known[first:end] = now
        return changed

    def taken(self, changed: list[Change]) -> None:
        """What the device has changed, into the driver's memory."""
        for at, data in changed:
            self.known[at : at + len(data)] = data
            self.view[at : at + len(data)] = data

    def found(self, theirs: memoryview, first: int, end: int, *, gap: int = 0) -> list[Change]:
        """What differs in the device's memory from what is known of it; ``gap`` as in ``changes``."""
        return changes(self.known[first:end], snapshot(theirs[first:end]), first, gap=gap)


def snapshot(view: memoryview) -> bytes:
    """The bytes of ``view`` at one moment: a descriptor that the device writes meanwhile is there whole or not at all."""
    seen = bytes(view)
    for _ in range(LOOKS):
        again = bytes(view)
        if again == seen:
            break
        seen = again
    return seen


def changes(old: bytes | bytearray, new: bytes, base: int = 0, *, gap: int = 0) -> list[Change]:
    """The runs of bytes in which ``new`` differs, ``base`` added to their offsets; up to ``gap`` equal bytes do not end one."""
    if old == new:
        return []
    import numpy as np

    at = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
    breaks = np.flatnonzero(np.diff(at) > gap + 1)
    firsts = [int(at[0]), *(int(i) for i in at[breaks + 1])]
    lasts = [*(int(i) for i in at[breaks]), int(at[-1])]
    return [(base + first, new[first : last + 1]) for first, last in zip(firsts, lasts, strict=True)]
