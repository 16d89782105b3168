"""``patch:NAME``: a cable between two ports of one server, so that cards of different kinds share a segment.

Two uplinks with the same NAME are its ends, as the patch ports of Open vSwitch are. Both have a carrier once both are there.
Bursts go across at once and uncopied: there are no loops to be had, as a switch has one uplink, and an endpoint does not
transmit while it is delivered to. Partial frames stay so; the far port finishes them for those who do not take them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from emulators.fabric.backends.options import Options
from emulators.fabric.offload import Takes
from emulators.fabric.uplink import Wire
from emulators.loop import Loop
from regmodel.function import Buffer

_cables: WeakKeyDictionary[Loop, dict[str, list[Patch]]] = WeakKeyDictionary()
"""The ends that are plugged in, by the loop that runs their ports, and by NAME."""


class Patch:
    """One end."""

    USAGE = "patch:NAME"
    takes = Takes.ALL

    def __init__(self, options: Options) -> None:
        self.spec, self.options = options.spec, options
        self.name = options.word()
        if not self.name or not self.name.isprintable() or set(self.name) & set(" ,="):
            raise options.error("NAME is a word of your choice, the same at both ends")
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0)
        self._wire: Wire | None = None
        self._ends: list[Patch] = []

    @property
    def peer(self) -> Patch | None:
        """The other end, if it is there."""
        return next((end for end in self._ends if end is not self), None)

    def open(self, loop: Loop, wire: Wire) -> None:
        ends = _cables.setdefault(loop, {}).setdefault(self.name, [])
        if len(ends) == 2:
            raise self.options.error(f"the cable {self.name} has two ends already: choose another NAME")
        ends.append(self)
        self._wire, self._ends = wire, ends
        self._tell()

    def close(self) -> None:
        if self._wire is None:
            return
        ends, self._ends, self._wire = self._ends, [], None
        ends.remove(self)
        for end in ends:
            end._tell()

    def send(self, frames: Sequence[Buffer]) -> int:
        peer = self.peer
        if peer is None or peer._wire is None:
            return 0
        self.counts["frames_out"] += len(frames)
        peer.counts["frames_in"] += len(frames)
        peer._wire.receive(frames)
        return len(frames)

    def counters(self) -> dict[str, Any]:
        return {**self.counts, "plugged": self.peer is not None}

    def _tell(self) -> None:
        """The carrier at each end."""
        for end in self._ends:
            if end._wire is not None:
                end._wire.set_carrier(len(self._ends) == 2)
