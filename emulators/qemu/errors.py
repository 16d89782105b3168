"""What can go wrong in the lab. Each message is one line which says what to do about it."""

from __future__ import annotations

from pathlib import Path

from regmodel.errors import RegmodelError


class LabError(RegmodelError):
    """The lab itself cannot work: no QEMU, no mirror, a package that is not there."""


class GuestError(RegmodelError):
    """A guest did not do what it was asked to do.

    ``folder`` is where its console, kernel log and QEMU's messages were kept, once they were.
    """

    def __init__(self, text: str, folder: Path | None = None) -> None:
        super().__init__(text)
        self.folder = folder


class GuestDied(GuestError):
    """QEMU ended, or the guest's agent went away, while an answer was expected."""


class GuestTimeout(GuestError):
    """The guest is there but did not answer in time."""


class CommandFailed(GuestError):
    """A command that had to succeed did not: ``status`` is its exit status, ``stdout`` and ``stderr`` what it wrote."""

    def __init__(self, command: str, status: int, stdout: bytes, stderr: bytes) -> None:
        said = (stderr.strip() or stdout.strip()).decode(errors="replace").splitlines()
        super().__init__(f"guest command {command!r} ended with status {status}" + (f": {said[-1]}" if said else ""))
        self.command, self.exit_status, self.stdout, self.stderr = command, status, stdout, stderr
