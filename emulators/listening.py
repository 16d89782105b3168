"""A listening Unix socket, as both the vfio-user server and the control socket need it.

What a dead server left at the path is replaced, a living one's is not; when it ends, only its own socket is taken away.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from regmodel.errors import UsageError


class ListeningSocket:
    """Listens at ``path``, non-blocking. ``option`` is what the user chose the path with; ``private`` gives it mode 0600.

    Raises ``UsageError``, one line, when the path cannot be listened on.
    """

    def __init__(self, path: Path, *, option: str, private: bool = False) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177) if private else None
        try:
            self._bind()
            self.socket.listen(8)
        except OSError as error:
            self.socket.close()
            raise UsageError(_remedy(path, error, option)) from error
        finally:
            if mask is not None:
                os.umask(mask)
        self._identity = self._file()

    def fileno(self) -> int:
        """Its descriptor; -1 when it is closed."""
        return self.socket.fileno()

    def accept(self) -> socket.socket:
        """The next client, blocking still. Raises OSError."""
        return self.socket.accept()[0]

    def close(self) -> None:
        """Stop listening and remove the socket, unless somebody else's is there by now."""
        self.socket.close()
        if self._file() == self._identity:
            self.path.unlink(missing_ok=True)

    def _bind(self) -> None:
        try:
            self.socket.bind(os.fspath(self.path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_dead(self.path):
                raise
            self.path.unlink()
            self.socket.bind(os.fspath(self.path))

    def _file(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _is_dead(path: Path) -> bool:
    """Whether ``path`` is a socket that nobody listens on."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(os.fspath(path)) == errno.ECONNREFUSED


def _remedy(path: Path, error: OSError, option: str) -> str:
    if error.errno == errno.EADDRINUSE and not stat.S_ISSOCK(path.lstat().st_mode):
        return f"{path} is in use: it is a file and no socket; choose another {option}"
    if error.errno == errno.EADDRINUSE:
        return f"{path} is in use: stop the server that listens there, or choose another {option}"
    if "too long" in str(error):
        return f"{path} is too long for a Unix socket (107 bytes): choose a shorter {option}"
    return f"cannot listen on {path}: {error.strerror or error}; choose another {option}"
