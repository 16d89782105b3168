"""``none``: a cable to nowhere. The link is up, nothing ever comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emulators.fabric.backends.options import Options
from emulators.fabric.offload import Takes
from emulators.fabric.uplink import Wire
from emulators.loop import Loop
from regmodel.function import Buffer


class Quiet:
    """A back end that takes everything, does nothing and has nothing to close: the base of those that do a bit more."""

    USAGE = ""
    takes = Takes.NONE

    def __init__(self, options: Options) -> None:
        self.spec = options.spec
        options.finish()

    def open(self, loop: Loop, wire: Wire) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to give back."""

    def send(self, frames: Sequence[Buffer]) -> int:
        return len(frames)

    def counters(self) -> dict[str, Any]:
        return {}


class None_(Quiet):
    USAGE = "none"
