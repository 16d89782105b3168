"""The memory of two devices in lock-step: copied to both, compared when the driver looks, told by descriptor and field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from drivers.transports import DmaBuffer
from drivers.transports.handover import Change, Handed, changes, snapshot
from drivers.transports.rings import Rings, differing
from drivers.transports.rules import Rules
from regmodel.catalogue import Device

PAUSE: Final = 0.001
"""Seconds between two looks at a device that is late."""


@dataclass(frozen=True)
class Finding:
    """A difference. ``where`` is a register path, a descriptor, an address or a call. ``mask`` are the bits that differ where
    it is a register, ``fields`` the names of fields where it is a descriptor.
    """

    where: str
    ours: object
    theirs: object
    text: str
    mask: int = 0
    fields: tuple[str, ...] = ()


class Owner(Protocol):
    def tell(self, verb: str, arguments: tuple[object, ...], *result: object) -> None: ...

    def differ(self, finding: Finding) -> None: ...

    def finish_poll(self) -> None: ...

    def pass_time(self, seconds: float) -> None: ...

    def grace_end(self) -> float: ...

    def now(self) -> float: ...

    def free(self, buffer: TeeBuffer) -> None: ...


class TeeBuffer(Handed):
    """A ``DmaBuffer`` in both."""

    def __init__(self, memory: TeeMemory, owner: Owner, ours: DmaBuffer, theirs: DmaBuffer) -> None:
        super().__init__(ours.iova, ours.size)
        self._memory, self._owner, self.ours, self.theirs = memory, owner, ours, theirs

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)
        self._owner.finish_poll()
        changed = self.given(first, end)
        self._owner.tell("to_device", (self.iova, first, end - first, changed))
        for buffer in (self.ours, self.theirs):
            buffer.view[first:end] = self.known[first:end]
            buffer.sync_for_device(first, end - first)

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)
        self._owner.finish_poll()
        for buffer in (self.ours, self.theirs):
            buffer.sync_for_cpu(first, end - first)
        if self.found(self.ours.view, first, end):
            self.taken(self._memory.await_written(self, first, end))

    def free(self) -> None:
        self._owner.free(self)


class TeeMemory:
    """All buffers of a tee. ``rings`` knows where descriptors lie in them."""

    def __init__(self, owner: Owner, device: Device, rules: Rules) -> None:
        self._owner, self._rules, self.rings = owner, rules, Rings(device)
        self._buffers: dict[int, TeeBuffer] = {}

    def add(self, ours: DmaBuffer, theirs: DmaBuffer) -> TeeBuffer:
        """A new buffer at the address that both gave it."""
        self._buffers[ours.iova] = buffer = TeeBuffer(self, self._owner, ours, theirs)
        return buffer

    def remove(self, buffer: TeeBuffer) -> None:
        """Forget a buffer after a last comparison. Raises ``Difference``."""
        if self._buffers.pop(buffer.iova, None) is not None:
            self._compare_whole(buffer)

    def compare_all(self) -> None:
        """A last comparison of every buffer. Raises ``Difference``."""
        for buffer in self._buffers.values():
            self._compare_whole(buffer)

    def await_written(self, buffer: TeeBuffer, first: int, end: int) -> list[Change]:
        """Wait until theirs has written what ours has, from ``first`` to ``end``; what ours has by then, because theirs may be
        ahead of it: an index that counts is never equal otherwise. Raises ``Difference``.
        """
        too_late = self._owner.grace_end()
        while True:
            changed = buffer.found(buffer.ours.view, first, end)
            late = [(at, data) for at, data in changed if snapshot(buffer.theirs.view[at : at + len(data)]) != data]
            finding = self._first(buffer, late)
            if finding is None or self._owner.now() >= too_late:
                self._owner.tell("to_cpu", (buffer.iova, first, end - first), changed)
                if finding is not None:
                    self._owner.differ(finding)
                return changed
            self._owner.pass_time(PAUSE)
            for each in (buffer.ours, buffer.theirs):
                each.sync_for_cpu(first, end - first)

    def _compare_whole(self, buffer: TeeBuffer) -> None:
        end = self._owner.grace_end()
        while (ours := snapshot(buffer.ours.view)) != (theirs := snapshot(buffer.theirs.view)):
            finding = self._first(buffer, changes(theirs, ours))
            if finding is None:
                return
            if self._owner.now() >= end:
                self._owner.differ(finding)
                return
            self._owner.pass_time(PAUSE)
            for each in (buffer.ours, buffer.theirs):
                each.sync_for_cpu()

    def _first(self, buffer: TeeBuffer, late: Sequence[Change]) -> Finding | None:
        """The first difference that is not excluded. ``late`` is what ours holds where theirs holds something else."""
        for at, data in late:
            for slot in self.rings.slots(buffer.iova + at, len(data)):
                if slot is None:
                    return _bytes(buffer, at, data)
                first = slot.address - buffer.iova
                ours, theirs = (snapshot(side.view[first : first + slot.size]) for side in (buffer.ours, buffer.theirs))
                fields = {n: pair for n, pair in differing(slot, ours, theirs).items() if not self._rules.excludes(n)}
                if fields:
                    said = ", ".join(f"{n.partition('.')[2]} ours {a:#x}, theirs {b:#x}" for n, (a, b) in fields.items())
                    return Finding(str(slot), ours, theirs, f"{slot}: {said}", fields=tuple(fields))
        return None


def _bytes(buffer: TeeBuffer, at: int, data: bytes) -> Finding:
    theirs = snapshot(buffer.theirs.view[at : at + len(data)])
    first = next((i for i, (a, b) in enumerate(zip(data, theirs, strict=True)) if a != b), 0)
    where, mine, others = buffer.iova + at + first, data[first : first + 16], theirs[first : first + 16]
    text = f"memory from {where:#x} on: ours wrote {mine.hex(' ')}, theirs has {others.hex(' ')}"
    return Finding(f"{where:#x}", mine, others, text)
