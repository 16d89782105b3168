"""The lab's part of the XDG cache: what is slow to make is made once, by one process, and appears complete or not at all.

May not enter: what the entries contain. Layout below ``~/.cache/regmodel`` (or ``$XDG_CACHE_HOME/regmodel``)::

    KIND/KEY        a finished entry, a file or a directory
    locks/KIND-KEY  held (flock) by the process that makes it
    parts/          unfinished entries; what a killed process left is removed by the next maker of the same entry
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
        """The finished entry; made first by ``make(part)`` where it is missing.

        ``make`` creates ``part`` as a file or a directory. ``what`` names long work: it is announced, and its time told.
        """
        final = self.path(kind, key)
        if final.exists():
            return final
        with self.lock(f"{kind}-{key}"):
            if final.exists():  # another process made it while we waited
                return final
            part = self.root / "parts" / f"{kind}-{key}"
            remove(part)
            part.parent.mkdir(parents=True, exist_ok=True)
            final.parent.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            if what:
                say(f"{what} ...")
            try:
                make(part)
            except BaseException:
                remove(part)
                raise
            part.rename(final)
            if what:
                say(f"{what}: done in {time.monotonic() - started:.0f} s")
        return final

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

    def prune(self, kind: str, keep: int) -> None:
        """Keep the ``keep`` newest entries of ``kind``: for entries of which each small change makes another one."""
        folder = self.root / kind
        if not folder.is_dir():
            return
        entries = sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in entries[keep:]:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a tree, whether it is there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
