"""Memory of a device that a guest may map: the pages of a memfd, sealed so that nobody can shrink them, and a bank on it."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable

from regmodel.bank import Bank
from regmodel.errors import StateError
from regmodel.function import Buffer
from regmodel.registers import Bar


class SharedMemory:
    """A ``regmodel.function.Memory`` of ``size`` bytes (rounded up to whole pages in the file) with an ``fd`` to hand out.

    ``inherited`` is that of a former process: the same bytes, which a guest goes on seeing. It belongs to this object then.
    Raises ``StateError`` when it has another size.
    """

    def __init__(self, size: int, name: str = "bar", *, inherited: int | None = None) -> None:
        self.size = size
        length = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if inherited is not None:
            if (found := os.fstat(inherited).st_size) != length:
                raise StateError(f"the memory that was handed over has {found:#x} bytes, not {length:#x}")
            self.fd = inherited
        else:
            self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.fd, length)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._mapping = mmap.mmap(self.fd, length)
        self.view = memoryview(self._mapping)[:size]

    def read(self, offset: int, size: int) -> Buffer:
        return self.view[offset : offset + size]

    def write(self, offset: int, data: Buffer) -> None:
        self.view[offset : offset + len(data)] = data

    def close(self) -> None:
        """Give the descriptor back, and the pages as soon as nobody holds a view of them."""
        os.close(self.fd)
        with contextlib.suppress(BufferError):
            self.view.release()
            self._mapping.close()


class SharedBank(Bank):
    """A bank whose registers and windows stand in the very bytes of ``shared`` that the guest maps."""

    def __init__(self, bar: Bar, shared: SharedMemory, *, now: Callable[[], int]) -> None:
        self._shared = shared
        super().__init__(bar, now=now)

    def _bytes(self, size: int) -> memoryview:
        """A view, which does here what the ``bytearray`` of other banks does. What somebody has put there stays."""
        return self._shared.view
