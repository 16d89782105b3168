"""``sink:`` takes everything and reads each byte of it: counts, and one checksum over all frames in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from emulators.fabric.backends.none import Quiet
from emulators.fabric.backends.options import Options
from regmodel.function import Buffer


class Sink(Quiet):
    """``crc32`` is that of all frames' octets, one after the other, as zlib has it."""

    USAGE = "sink:"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.frames = self.octets = self.checksum = 0

    def send(self, frames: Sequence[Buffer]) -> int:
        checksum = self.checksum
        for frame in frames:
            checksum = crc32(frame, checksum)
        self.checksum = checksum
        self.frames += len(frames)
        self.octets += sum(map(len, frames))
        return len(frames)

    def counters(self) -> dict[str, Any]:
        return {"frames": self.frames, "octets": self.octets, "crc32": f"{self.checksum:08x}"}
