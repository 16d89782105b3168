"""Guest memory that came as a file: mapped where that is safe, read and written through the descriptor elsewhere.

A mapping of a file that is truncated later kills the process which touches it (SIGBUS). So a file is mapped only when it
is sealed against shrinking (F_SEAL_SHRINK, memfd_create(2)), as QEMU's memfd is, or when the user trusts its owner
(hugetlbfs, files). Each file is mapped once, however many ranges of bus addresses point into it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import mmap
import os
import stat

from emulators.vfio_user.refused import Refused
from regmodel.errors import DmaFault
from regmodel.function import Buffer

_log = logging.getLogger("regmodel.vfio_user")


class Files:
    """The files that clients of this process have sent, by device and inode. ``trust`` maps unsealed ones too."""

    def __init__(self, *, trust: bool = False) -> None:
        self.trust = trust
        self._files: dict[tuple[int, int, bool], GuestFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    def lend(self, fd: int, offset: int, size: int, iova: int, *, write: bool) -> FileMemory:
        """``size`` bytes of ``fd`` from ``offset``, to be known at ``iova``. The caller keeps and closes ``fd``.

        Raises ``Refused`` for what is no file, too short, or not open for what the map allows.
        """
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(errno.EINVAL, "guest memory must be a regular file or a memfd")
        if offset + size > status.st_size:
            raise Refused(
                errno.EINVAL,
                f"the file of guest memory has {status.st_size:#x} bytes, its map needs {offset + size:#x}",
            )
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == os.O_WRONLY or (write and mode == os.O_RDONLY):
            raise Refused(errno.EACCES, "guest memory is to be accessed in a way in which its file was not opened")
        key = (status.st_dev, status.st_ino, mode == os.O_RDWR)
        file = self._files.get(key)
        if file is None or not file.covers(offset + size):
            file = self._files[key] = GuestFile(self, key, fd, status.st_size, self.trust)
        return FileMemory(file, offset, size, iova)

    def forget(self, file: GuestFile) -> None:
        """Called by a file when its last range has gone."""
        if self._files.get(file.key) is file:
            del self._files[file.key]


class GuestFile:
    """One file, mapped whole or else reached through its descriptor, for as long as a range of it is lent.

    The descriptor is kept in either case: another process may be handed it (``emulators.handover``).
    """

    def __init__(self, files: Files, key: tuple[int, int, bool], fd: int, size: int, trust: bool) -> None:
        self.key, self.size, self.users = key, size, 0
        self._files = files
        self.mapping: mmap.mmap | None = None
        if trust or _cannot_shrink(fd):
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if key[2] else 0)
            try:
                self.mapping = mmap.mmap(fd, size, mmap.MAP_SHARED, protection)
            except (OSError, ValueError, OverflowError) as error:
                code = getattr(error, "errno", None) or errno.EINVAL
                raise Refused(code, f"guest memory cannot be mapped: {error}") from error
        else:
            _log.warning(
                "guest memory (inode %d) is a file that may be truncated at any time: it is read and written through "
                "its descriptor, slowly; use memory-backend-memfd, or say --trust-memory", key[1],
            )  # fmt: skip
        self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)

    def covers(self, end: int) -> bool:
        """Whether the bytes up to ``end`` are reachable; a file may have grown since it was mapped."""
        return self.mapping is None or end <= self.size

    def release(self) -> None:
        """One range less."""
        self.users -= 1
        if self.users:
            return
        self._files.forget(self)
        if self.mapping is not None:
            try:
                self.mapping.close()
            except BufferError:  # somebody still holds a view: the memory goes with it
                _log.error("a device keeps a view of guest memory that was unmapped (this is a defect of its model)")
            self.mapping = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _cannot_shrink(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:  # not a kind of file that can be sealed
        return False


class FileMemory:
    """A ``regmodel.function.Memory``: one range of a file."""

    def __init__(self, file: GuestFile, offset: int, size: int, iova: int) -> None:
        self._file: GuestFile | None = file
        self._offset, self._size, self._iova = offset, size, iova
        self.place = (file.fd, offset)
        """The descriptor of the file, which stays this object's, and where in it the range begins."""
        file.users += 1
        whole = file.mapping
        self._view = memoryview(whole)[offset : offset + size] if whole is not None else None

    @property
    def size(self) -> int:
        return self._size

    @property
    def view(self) -> memoryview | None:
        return self._view

    def read(self, offset: int, size: int) -> Buffer:
        """Raises ``DmaFault`` when the file has been truncated, or the range taken back."""
        if self._view is not None:
            return self._view[offset : offset + size]
        data = os.pread(self._open(offset, size), size, self._offset + offset)
        if len(data) < size:
            raise self._truncated(offset, size)
        return data

    def write(self, offset: int, data: Buffer) -> None:
        """Raises ``DmaFault`` when the file has been truncated, or the range taken back."""
        size = len(data)
        if self._view is not None:
            self._view[offset : offset + size] = data
            return
        fd = self._open(offset, size)
        if os.fstat(fd).st_size < self._offset + offset + size:  # a write beyond the end would make it grow again
            raise self._truncated(offset, size)
        if os.pwrite(fd, data, self._offset + offset) < size:
            raise DmaFault(self._iova + offset, size, "the file of guest memory takes no more data")

    def release(self) -> None:
        """Give the range back; views of it are not valid any more."""
        file, self._file = self._file, None
        if self._view is not None:
            self._view = None
        if file is not None:
            file.release()

    def _open(self, offset: int, size: int) -> int:
        if self._file is None:
            raise DmaFault(self._iova + offset, size, "the map has been taken back")
        return self._file.fd

    def _truncated(self, offset: int, size: int) -> DmaFault:
        return DmaFault(self._iova + offset, size, "the file of guest memory has been truncated")
