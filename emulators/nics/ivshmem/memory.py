"""The shared memory object, which somebody else may own: its size, its descriptor, and BAR 2 on top of it.

What others own they may also truncate, and whoever then touches the missing pages of a mapping is killed (SIGBUS). So
accesses through the bank are system calls, which fail instead; the mapping is for drivers of this process and for those who
are handed the descriptor.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from emulators.pci.shared import SharedMemory
from regmodel.bank import Bank, Cause
from regmodel.errors import StateError, UsageError
from regmodel.registers import Bar

SMALLEST, LARGEST = mmap.PAGESIZE, 1 << 40
"""Bytes: less than a page cannot be mapped; more is a mistake."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def fits(size: int) -> bool:
    """Whether a BAR can have so many bytes, and a guest map it."""
    return SMALLEST <= size <= LARGEST and size & (size - 1) == 0


def cannot_map(fd: int, size: int) -> str:
    """Why a device cannot have ``size`` bytes of ``fd`` as its memory; empty if it can."""
    try:
        mmap.mmap(fd, size).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def anonymous(size: int) -> int:
    """A new memory object of ``size`` zero bytes that cannot change its size; its descriptor."""
    fd = os.memfd_create("ivshmem", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def of_file(path: Path, size: int | None) -> int:
    """The descriptor of the memory object at ``path``, which is made of ``size`` bytes where there is none yet.

    Raises ``UsageError``.
    """
    try:
        if size is not None and not path.exists():
            path.touch(mode=0o600)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"memory={path}: {error.strerror}; name a file of shared memory, or say its size as well") from None
    found = os.fstat(fd).st_size
    if not found and size is not None:
        os.ftruncate(fd, size)
        found = size
    if not fits(found) or (size is not None and size != found):
        os.close(fd)
        wanted = f"{size:#x} bytes" if size is not None else f"a power of two of at least {SMALLEST} bytes"
        raise UsageError(f"memory={path} has {found:#x} bytes, not {wanted}: truncate it, or leave size away")
    return fd


class MemoryObject(SharedMemory):
    """``fd`` as memory of a BAR; the object owns the descriptor. Raises OSError when it cannot be mapped."""

    def __init__(self, fd: int) -> None:
        self.fd, self.size = fd, os.fstat(fd).st_size
        self._mapping = mmap.mmap(fd, self.size)
        self.view = memoryview(self._mapping)
        self._closed = False

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        os.pwrite(self.fd, data, offset)

    def close(self) -> None:
        """As ``SharedMemory.close``; harmless the second time."""
        if not self._closed:
            self._closed = True
            super().close()


class MemoryBank(Bank):
    """BAR 2: every byte of it is memory, and a saved device does not contain it."""

    def __init__(self, bar: Bar, shared: MemoryObject, *, now: Callable[[], int]) -> None:
        self._shared = shared
        super().__init__(bar, now=now)

    @property
    def memory(self) -> bytearray:
        """Nothing, so that no view outlives the mapping; only a window of one page is words to a bank, which look at it."""
        return cast(bytearray, self._shared.view) if self.bar.size == SMALLEST else bytearray()

    @memory.setter
    def memory(self, fresh: bytearray) -> None:
        """The zeros that a bank starts with are not for memory that others fill."""

    def read(self, offset: int, size: int) -> int:
        """One access; what is missing of a truncated object reads ones, as from a device that is gone."""
        if not 0 <= offset <= self.bar.size - size:
            return super().read(offset, size)
        data = self.peek(offset, size)
        self._log(Cause.READ, offset, size, data)
        return data

    def write(self, offset: int, size: int, value: int) -> None:
        """One access."""
        if not 0 <= offset <= self.bar.size - size:
            super().write(offset, size, value)
            return
        self._log(Cause.WRITE, offset, size, value)
        self.poke(offset, size, value)

    def peek(self, offset: int, size: int) -> int:
        """What is stored."""
        return int.from_bytes(self._shared.read(offset, size).ljust(size, b"\xff"), "little")

    def poke(self, offset: int, size: int, value: int) -> None:
        """Store."""
        if offset + size <= os.fstat(self._shared.fd).st_size:  # a write beyond the end would make it grow again
            self._shared.write(offset, value.to_bytes(size, "little"))

    def _log(self, cause: Cause, offset: int, size: int, value: int) -> None:
        record = (self.now(), cause, None, offset, size, value)
        self.ring.append(record)
        if self.observer is not None:
            self.observer(record)

    def save(self) -> dict[str, object]:
        """Which memory it is, not what is in it."""
        return {"bar": self.bar.bar, "size": self.bar.size}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing but a check. Raises ``StateError``."""
        if state.get("bar") != self.bar.bar or state.get("size") != self.bar.size:
            raise StateError(f"the saved state is of {state.get('bar')!r} of {state.get('size')!r} bytes, not {self.bar.size}")
