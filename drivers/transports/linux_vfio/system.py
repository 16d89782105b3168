"""What the operating system offers, as this transport uses it: files, ioctls, and where ``/sys`` and ``/dev`` are.

Everything that touches the kernel goes through one ``System``, so that a test can put another tree and another kernel there.
No decision is made in here.

Source of requests and structures: ``include/uapi/linux/vfio.h`` (described in ``regmodel.structures.vfio``).
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from regmodel.structures.vfio import Ioctl


class IoctlCall(Protocol):
    """``fcntl.ioctl`` with a number, or with a buffer that the kernel may change."""

    def __call__(self, fd: int, request: int, argument: int | bytearray, /) -> int: ...


def _ioctl(fd: int, request: int, argument: int | bytearray, /) -> int:
    return fcntl.ioctl(fd, request, argument)


@dataclass(frozen=True)
class System:
    """The real one by default."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    call: IoctlCall = _ioctl

    def open(self, path: Path) -> int:
        """A descriptor of a device file. Raises ``OSError``."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, fd: int, request: Ioctl, argument: int | bytearray = 0) -> int:
        """What the kernel returns; ``argument`` may have been changed. Raises ``OSError``."""
        return self.call(fd, int(request), argument)

    def text(self, path: Path) -> str:
        """What a file of one line says; empty when there is none."""
        try:
            return path.read_text().strip()
        except OSError:
            return ""
