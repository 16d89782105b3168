"""The lab's part of the XDG cache: what is slow to make is made once, by one process, and appears complete or not at all.

May not enter: what the entries contain. Layout below ``~/.cache/regmodel`` (or ``$XDG_CACHE_HOME/regmodel``)::

    KIND/KEY        a finished entry, a file or a directory; its date is that of its last use
    locks/KIND-KEY  held (flock) by the process that makes it
    locks/KIND      held while entries are removed; shared by who marks one as used
    parts/          unfinished entries; what a killed process left is removed by the next maker of the same entry
    gone/KIND/      what is being removed; what a killed process left is removed by the next that prunes the kind

What ``entry`` returns stays for an hour at least, whoever prunes: so long may pass until it is opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SPARED = 3600.0
"""Seconds since its last use before which an entry is not removed."""


def default_root() -> Path:
    """``$XDG_CACHE_HOME/regmodel``, by default ``~/.cache/regmodel`` (XDG Base Directory Specification 0.8)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "regmodel"


def digest(*parts: str | bytes) -> str:
    """A key out of everything that an entry's content depends on: 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()[:16]


def say(text: str) -> None:
    """A line of progress, on stderr: stdout belongs to the commands that run in guests."""
    print(f"regmodel: {text}", file=sys.stderr, flush=True)


class Cache:
    """Entries by kind and key below one folder. Safe between processes."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def path(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def entry(self, kind: str, key: str, make: Callable[[Path], None], what: str = "") -> Path:
        """The finished entry, which counts as used now; made first by ``make(part)`` where it is missing.

        ``make`` creates ``part`` as a file or a directory. ``what`` names long work: it is announced, and its time told.
        """
        final = self.path(kind, key)
        if not self._used(final):
            with self.lock(f"{kind}-{key}"):
                if not self._used(final):  # else another process made it while we waited
                    self._make(final, make, what)
        return final

    def _make(self, final: Path, make: Callable[[Path], None], what: str) -> None:
        part = self.root / "parts" / f"{final.parent.name}-{final.name}"
        remove(part)
        part.parent.mkdir(parents=True, exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        if what:
            say(f"{what} ...")
        try:
            make(part)
            os.utime(part, follow_symlinks=False)
        except BaseException:
            remove(part)
            raise
        part.rename(final)
        if what:
            say(f"{what}: done in {time.monotonic() - started:.0f} s")

    def _used(self, final: Path) -> bool:
        """Whether the entry is there; if so it is marked, and nobody who prunes saw it unmarked and removes it now."""
        with self._gate(final.parent.name, fcntl.LOCK_SH):
            try:
                os.utime(final, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return final.exists()  # a link may lead nowhere

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time; a process that dies lets go of it."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another process to finish {name}")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _gate(self, kind: str, how: int) -> Iterator[None]:
        """Between those who use entries of a kind and those who remove some. Held for a moment: nobody is told to wait."""
        path = self.root / "locks" / kind
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, how)
            yield

    def prune(self, kind: str, keep: int, spared: float = SPARED) -> None:
        """Keep the ``keep`` latest used entries of ``kind``: for entries of which each small change makes another one.

        Those used in the last ``spared`` seconds stay, too, however many they are.
        """
        folder, gone = self.root / kind, self.root / "gone" / kind
        if not folder.is_dir():
            return
        with self._gate(kind, fcntl.LOCK_EX):
            remove(gone)
            used = sorted(((_last_use(path), path) for path in folder.iterdir()), reverse=True)
            for when, path in used[keep:]:
                if when <= time.time() - spared:
                    gone.mkdir(parents=True, exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):  # who removes by hand asks nobody
                        path.rename(gone / path.name)  # at once: what is left of a tree is no entry
            remove(gone)


def _last_use(path: Path) -> float:
    """In seconds since the epoch; 0 for what is no longer there."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove(path: Path) -> None:
    """Remove a file or a tree, whether it is there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
