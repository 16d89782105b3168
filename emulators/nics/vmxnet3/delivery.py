"""Frames from the switch on their way to a receive queue: what is known of each, which queue it goes to, tags taken out.

In here: one burst. What passes the switch at all is in ``filters``, what a completion says in ``marks``, rings in ``receive``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emulators.fabric.offload import has_partial
from emulators.nics.vmxnet3.marks import Mark, look, look_partial, untag
from regmodel.function import Buffer
from regmodel.structures.vmxnet3 import Feature

if TYPE_CHECKING:
    from emulators.nics.vmxnet3.device import Vmxnet3


class Delivery:
    """That of ``model``, while it is active."""

    def __init__(self, model: Vmxnet3) -> None:
        self.model = model
        self._believed = self._untagged = False  # the driver wants checksums verified, and tags taken out

    def choose(self, features: Feature) -> None:
        """What the driver wants of frames."""
        self._believed, self._untagged = (bool(features & feature) for feature in (Feature.RXCSUM, Feature.RXVLAN))

    def deliver(self, frames: Sequence[Buffer]) -> int:
        """Frames that passed the pool's filters; how many found a place."""
        believed, filtered, filters = self._believed, 0, self.model.filters
        if has_partial(frames):
            before = len(frames)
            wanted = filters.wanted(frames)
            looked = [look_partial(frame, believed) for frame in wanted]
            frames, marks, plain = [frame for frame, _ in looked], [mark for _, mark in looked], False
            filtered = before - len(frames)
        else:
            marks, plain = look(frames, believed)
            if not plain:
                wanted = filters.wanted(frames)
                if len(wanted) < len(frames):
                    filtered = len(frames) - len(wanted)
                    frames = wanted
                    marks, plain = look(frames, believed) if frames else ([], True)
        if not frames:
            return filtered
        return filtered + self._spread(frames, marks, plain or not self._untagged)

    def _spread(self, frames: Sequence[Buffer], marks: list[Mark], untagged: bool) -> int:
        """Hash, strip tags, and hand each queue its own; ``untagged``: there are none to strip."""
        rss = self.model.rss
        if rss is None or len(self.model.receive) == 1:
            return self._hand(0, frames, marks, untagged)
        groups: dict[int, tuple[list[Buffer], list[Mark]]] = {}
        for frame, mark in zip(frames, marks, strict=True):
            number, hashed = rss.spread(frame, mark)
            group = groups.setdefault(number, ([], []))
            group[0].append(frame)
            group[1].append(hashed)
        return sum(self._hand(number, *group, untagged) for number, group in groups.items())

    def _hand(self, number: int, frames: Sequence[Buffer], marks: list[Mark], untagged: bool) -> int:
        if not untagged:
            stripped = [untag(frame, mark) for frame, mark in zip(frames, marks, strict=True)]
            frames, marks = [frame for frame, _ in stripped], [mark for _, mark in stripped]
        return self.model.receive[number].deliver(frames, marks)
