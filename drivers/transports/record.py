"""A transport before another one that writes down all that passes: the file is described in ``recording``.

Nothing in here changes what happens, but for one thing: packet buffers are handed over too (``coherent`` is False), because
a replay has no other way to know their contents.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from drivers.transports import DmaBuffer, MappedBar, Transport
from drivers.transports.handover import Handed
from drivers.transports.recording import Writer, to_json
from drivers.transports.wrapped import WrappedBar
from regmodel.catalogue import Device
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import Irq

T = TypeVar("T")


class RecordedBuffer(Handed):
    """A ``DmaBuffer`` whose hand-overs are written down."""

    def __init__(self, owner: Record, inner: DmaBuffer) -> None:
        super().__init__(inner.iova, inner.size)
        self._owner, self._inner = owner, inner

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)
        changed = self.given(first, end)

        def hand_over() -> None:
            self._inner.view[first:end] = self.known[first:end]
            self._inner.sync_for_device(first, end - first)

        self._owner.call("to_device", (self.iova, first, end - first, to_json(changed)), hand_over)

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        first, end = self.span(offset, size)

        def hand_over() -> list[tuple[int, str]]:
            self._inner.sync_for_cpu(first, end - first)
            changed = self.found(self._inner.view, first, end, gap=3)
            self.taken(changed)
            return to_json(changed)

        self._owner.call("to_cpu", (self.iova, first, end - first), hand_over)

    def free(self) -> None:
        self._owner.call("free", (self.iova,), self._inner.free)


class Record(Transport):
    """``inner``, recorded to the file ``path``. Raises ``UsageError`` where that cannot be written."""

    coherent = False

    def __init__(self, inner: Transport, device: Device, path: str | os.PathLike[str]) -> None:
        self.name, self.virtualised = inner.name, inner.virtualised
        self._inner = inner
        self._file: Writer | None = Writer(path, device.name, inner)
        self._bars: dict[int, tuple[WrappedBar, MappedBar]] = {}

    def call(self, verb: str, arguments: tuple[Any, ...], act: Callable[[], T]) -> T:
        """Do ``act`` and write it down, with what it gave or raised. After ``close`` it is only done."""
        try:
            result = act()
        except RegmodelError as error:
            self._write_down(verb, arguments, {"raise": [type(error).__name__, str(error)]})
            raise
        self._write_down(verb, arguments, result)
        return result

    def _write_down(self, verb: str, arguments: tuple[Any, ...], result: Any) -> None:
        """A file that takes no more is told of once: what the driver does to clean up still reaches the device."""
        if self._file is not None:
            try:
                self._file.call(verb, arguments, result)
            except UsageError:
                self._file = None
                raise

    def config_read(self, offset: int, size: int) -> int:
        return self.call("config_read", (offset, size), lambda: self._inner.config_read(offset, size))

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.call("config_write", (offset, size, value), lambda: self._inner.config_write(offset, size, value))

    def bar(self, index: int) -> MappedBar:
        if index in self._bars:
            self._inner.bar(index)  # which knows whether it is still open
            return self._bars[index][0]
        size = self.call("bar", (index,), lambda: self._inner.bar(index).size)
        self._bars[index] = WrappedBar(self, index, size), self._inner.bar(index)
        return self._bars[index][0]

    def bar_read(self, index: int, offset: int, size: int) -> int:
        """One access, recorded."""
        inner = self._bars[index][1]
        return self.call("read", (index, offset, size), lambda: int(inner.read(offset, size)))

    def bar_write(self, index: int, offset: int, size: int, value: int) -> None:
        """One access, recorded."""
        inner = self._bars[index][1]
        self.call("write", (index, offset, size, value), lambda: inner.write(offset, size, value))

    def alloc(self, size: int) -> RecordedBuffer:
        made: list[DmaBuffer] = []

        def allocate() -> tuple[int, int]:
            made.append(self._inner.alloc(size))
            return made[0].iova, made[0].size

        self.call("alloc", (int(size),), allocate)
        return RecordedBuffer(self, made[0])

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        return self.call("irq_vectors", (irq.name,), lambda: self._inner.irq_vectors(irq))

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        self.call("enable_irqs", (count, irq.name), lambda: self._inner.enable_irqs(count, irq))

    def disable_irqs(self) -> None:
        self.call("disable_irqs", (), self._inner.disable_irqs)

    def wait_irq(self, timeout: float) -> Sequence[int]:
        return self.call("wait_irq", (timeout,), lambda: list(self._inner.wait_irq(timeout)))

    def reset(self) -> None:
        self.call("reset", (), self._inner.reset)

    def now(self) -> float:
        return self.call("now", (), self._inner.now)

    def sleep(self, seconds: float) -> None:
        self.call("sleep", (seconds,), lambda: self._inner.sleep(seconds))

    def close(self) -> None:
        if self._file is None:
            self._inner.close()
            return
        try:
            self.call("close", (), self._inner.close)
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
