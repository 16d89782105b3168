"""A recording as a device: it answers what was answered then, as long as the driver does what was done then.

``strict`` (the default) takes every call as it was recorded: same order, same arguments, same memory. ``tolerant`` compares
what the driver *does* and lets it look as often as it likes: see ``looks``.

Nothing in here needs the device, its transport or the time: a replay is as fast as the driver.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, Self

from drivers.errors import ReplayMismatch
from drivers.transports import MappedBar, Transport
from drivers.transports.decode import Decoder
from drivers.transports.handover import Change, Handed
from drivers.transports.looks import Tolerant
from drivers.transports.recording import Recording, read_recording
from drivers.transports.wrapped import WrappedBar
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.function import Irq


class Script(Protocol):
    """What answers a driver's calls, by verb and arguments as ``recording`` has them."""

    def call(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        """The recorded result, or the recorded exception. Raises ``ReplayMismatch``."""


class Strict:
    """Every call is the next one of the recording."""

    def __init__(self, recording: Recording, decoder: Decoder) -> None:
        self._recording, self._decoder = recording, decoder
        self._entries, self._at = recording.entries, 0

    def call(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        if self._at == len(self._entries):
            if verb == "close" and self._recording.cut:
                return None
            cut = " (it was cut off)" if self._recording.cut else ""
            raise ReplayMismatch(
                f"{self._recording.path}: the recording has ended{cut}; the driver: {self._decoder.call(verb, arguments)}"
            )
        entry = self._entries[self._at]
        if (entry.verb, entry.arguments) != (verb, arguments):
            what = self._decoder.deviation((entry.verb, entry.arguments, entry.result), verb, arguments)
            raise ReplayMismatch(f"{self._recording.path}, line {entry.line}: {what}")
        self._at += 1
        return entry.give()


class ReplayedBuffer(Handed):
    """A ``DmaBuffer`` whose other side is a recording."""

    def __init__(self, owner: Replay, iova: int, size: int) -> None:
        super().__init__(iova, size)
        self._owner = owner

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)
        self._owner.call("to_device", (self.iova, first, end - first, self.given(first, end)))

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)
        changed: list[Change] = self._owner.call("to_cpu", (self.iova, first, end - first))
        self.taken(changed)

    def free(self) -> None:
        self._owner.call("free", (self.iova,))


class Replay(Transport):
    """``recording`` of ``device``. Raises ``UsageError`` for a recording of another device."""

    coherent = False

    def __init__(self, recording: Recording, device: Device, *, tolerant: bool = False) -> None:
        if recording.device != device.name:
            raise UsageError(f"{recording.path} is a recording of {recording.device}, not of {device.name}")
        self.name, self.virtualised = f"replay:{recording.path}", recording.virtualised
        self.recording = recording
        decoder = Decoder(device)
        self._script: Script = Tolerant(recording, decoder) if tolerant else Strict(recording, decoder)
        self._bars: dict[int, WrappedBar] = {}
        self._closed = False
        self._mismatch: str | None = None
        """What was first found, told again by all that the driver does after it, so that his cleaning up does not hide it."""

    def call(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        """What the recording answers. Raises ``ReplayMismatch``, and ``UsageError`` after the end."""
        if self._closed:
            raise UsageError(f"{self.name} has been closed")
        if self._mismatch is not None:
            raise ReplayMismatch(self._mismatch)
        try:
            return self._script.call(verb, arguments)
        except ReplayMismatch as mismatch:
            self._mismatch = str(mismatch)
            raise

    def config_read(self, offset: int, size: int) -> int:
        return int(self.call("config_read", (offset, size)))

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.call("config_write", (offset, size, value))

    def bar(self, index: int) -> MappedBar:
        if index not in self._bars or self._closed:
            self._bars[index] = WrappedBar(self, index, self.call("bar", (index,)))
        return self._bars[index]

    def bar_read(self, index: int, offset: int, size: int) -> int:
        """One access."""
        return int(self.call("read", (index, offset, size)))

    def bar_write(self, index: int, offset: int, size: int, value: int) -> None:
        """One access."""
        self.call("write", (index, offset, size, value))

    def alloc(self, size: int) -> ReplayedBuffer:
        iova, rounded = self.call("alloc", (int(size),))
        return ReplayedBuffer(self, iova, rounded)

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        return int(self.call("irq_vectors", (irq.name,)))

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        self.call("enable_irqs", (count, irq.name))

    def disable_irqs(self) -> None:
        self.call("disable_irqs", ())

    def wait_irq(self, timeout: float) -> Sequence[int]:
        return list(self.call("wait_irq", (timeout,)))

    def reset(self) -> None:
        self.call("reset", ())

    def now(self) -> float:
        return float(self.call("now", ()))

    def sleep(self, seconds: float) -> None:
        self.call("sleep", (seconds,))

    def close(self) -> None:
        """Raises ``ReplayMismatch`` when the recording goes on; harmless after another one, and the second time."""
        if self._closed:
            return
        try:
            if self._mismatch is None:
                self.call("close", ())
        finally:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._closed = True  # what the driver did not do for that reason is no news
        self.close()


def open(rest: str, device: Device, *, mode: str = "strict") -> Replay:
    """``replay:FILE``; ``mode`` is ``strict`` or ``tolerant``. Raises ``UsageError``."""
    if mode not in ("strict", "tolerant"):
        raise UsageError(f"a replay is 'strict' or 'tolerant', not {mode!r}")
    return Replay(read_recording(os.fspath(rest)), device, tolerant=mode == "tolerant")
