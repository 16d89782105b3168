"""Turns what happens in a served card into events of the control socket.

Each class in here is hung into one place of the running card while somebody watches, and taken out again; nothing of it is on
the data path otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from emulators.control.protocol import EventKind
from emulators.control.server import Emit
from emulators.loop import Loop
from regmodel.bank import Cause, Record
from regmodel.function import Buffer, Dma, Irq, ResetCause


def access_event(function: str, bar: int, record: Record) -> tuple[Any, ...]:
    when, cause, path, offset, size, value = record
    return (when, function, bar, "read" if cause is Cause.READ else "write", str(path or ""), offset, size, value)


class Accesses:
    """Turns records of one bank into events."""

    def __init__(self, function: str, bar: int, emit: Emit) -> None:
        self.function, self.bar, self.emit = function, bar, emit

    def __call__(self, record: Record) -> None:
        self.emit("access", access_event(self.function, self.bar, record))


class ServerEvents:
    """Turns what a vfio-user server tells its observer into events."""

    def __init__(self, function: str, loop: Loop, kinds: Collection[EventKind], emit: Emit) -> None:
        self.function, self.loop, self.kinds, self.emit = function, loop, kinds, emit

    def connected(self, pid: int) -> None: ...

    def disconnected(self, reason: str) -> None: ...

    def dma_mapped(self, iova: int, size: int, permissions: str, kind: str) -> None:
        if "dma" in self.kinds:
            self.emit("dma", (self.loop.now(), self.function, f"map {permissions} {kind}", iova, size))

    def dma_unmapped(self, iova: int, size: int) -> None:
        if "dma" in self.kinds:
            self.emit("dma", (self.loop.now(), self.function, "unmap", iova, size))

    def irqs_armed(self, irq: Irq, start: int, count: int, armed: bool) -> None: ...

    def irq_fired(self, irq: Irq, vector: int) -> None:
        if "irq" in self.kinds:
            self.emit("irq", (self.loop.now(), self.function, irq.name, vector))

    def reset(self, cause: ResetCause) -> None:
        if "reset" in self.kinds:
            self.emit("reset", (self.loop.now(), self.function, cause.value))

    def refused(self, command: str, errno: int, why: str) -> None: ...


class Diagnoses:
    def __init__(self, function: str, loop: Loop, emit: Emit) -> None:
        self.function, self.loop, self.emit = function, loop, emit

    def __call__(self, kind: str, detail: Mapping[str, object]) -> None:
        self.emit("diagnose", (self.loop.now(), self.function, kind, {k: str(v) for k, v in detail.items()}))


class Descriptors:
    def __init__(self, function: str, loop: Loop, emit: Emit) -> None:
        self.function, self.loop, self.emit = function, loop, emit

    def __call__(self, op: str, ring: str, index: int, name: str, data: bytes) -> None:
        self.emit("descriptor", (self.loop.now(), self.function, op, ring, index, name, data.hex()))


class MailboxMessages:
    def __init__(self, names: Mapping[str, str], loop: Loop, emit: Emit) -> None:
        self.names, self.loop, self.emit = names, loop, emit

    def __call__(self, slot: str, sender: str, words: Sequence[int]) -> None:
        self.emit("mailbox", (self.loop.now(), self.names.get(slot, slot), sender, list(words)))


class Packets:
    """``prefix`` tells apart what several switches call by the same name, their uplinks first of all."""

    def __init__(self, prefix: str, loop: Loop, emit: Emit) -> None:
        self.prefix, self.loop, self.emit = prefix, loop, emit

    def __call__(self, port: str, direction: str, frames: Sequence[Buffer]) -> None:
        now = self.loop.now()
        for frame in frames:
            self.emit("packet", (now, self.prefix + port, direction, bytes(frame).hex()))


class WatchedDma:
    """A model's way to host memory which tells of each transfer: descriptors, payloads, write-backs."""

    def __init__(self, function: str, loop: Loop, dma: Dma, emit: Emit) -> None:
        self.function, self.loop, self.dma, self.emit = function, loop, dma, emit

    def read(self, iova: int, size: int) -> Buffer:
        self._tell("read", iova, size)
        return self.dma.read(iova, size)

    def write(self, iova: int, data: Buffer) -> None:
        self._tell("write", iova, len(data))
        self.dma.write(iova, data)

    def gather(self, addresses: Sequence[int], sizes: Sequence[int]) -> list[Buffer]:
        return [self.read(iova, size) for iova, size in zip(addresses, sizes, strict=True)]

    def scatter(self, addresses: Sequence[int], data: Sequence[Buffer]) -> None:
        for iova, piece in zip(addresses, data, strict=True):
            self.write(iova, piece)

    def view(self, iova: int, size: int, *, write: bool = False) -> memoryview | None:
        found = self.dma.view(iova, size, write=write)
        if found is not None:
            self._tell("write" if write else "read", iova, size)
        return found

    def _tell(self, op: str, iova: int, size: int) -> None:
        self.emit("dma", (self.loop.now(), self.function, op, iova, size))
