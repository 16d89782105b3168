"""The archive format of an initramfs: cpio "newc", written without any tool of the host and without being root.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import BinaryIO

from emulators.qemu.userspace import Entry

_TRAILER = "TRAILER!!!"


def write(file: BinaryIO, entries: Iterable[Entry]) -> None:
    """Write one archive. The same entries give the same bytes: owner root, time 0. Parent folders are added, parents first."""
    complete: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            complete.setdefault(folder, Entry(folder))
        complete[entry.path] = entry
    for number, entry in enumerate(complete[path] for path in sorted(complete)):
        _member(file, number + 1, entry)
    _header(file, 0, 0, 1, 0, _TRAILER)


def _member(file: BinaryIO, number: int, entry: Entry) -> None:
    if entry.target is not None:
        kind, data = stat.S_IFLNK, entry.target.encode()
    elif entry.data is not None:
        kind, data = stat.S_IFREG, entry.data
    else:
        kind, data = stat.S_IFDIR, b""
    _header(file, number, kind | entry.mode, 2 if kind == stat.S_IFDIR else 1, len(data), entry.path)
    file.write(data + bytes(-len(data) % 4))


def _header(file: BinaryIO, number: int, mode: int, links: int, size: int, name: str) -> None:
    encoded = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % value for value in fields) + encoded
    file.write(header + bytes(-len(header) % 4))
