"""Does the client really share the memory whose file it sends?

QEMU sends the file of a ``memory-backend-memfd`` with ``share=off`` as well. The device then reads and writes pages
that the guest stops seeing at its first own write, without a word from anybody. The kernel knows: a private mapping
has ``p`` in /proc/PID/maps (proc_pid_maps(5)) where a shared one has ``s``.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_UCRED = struct.Struct("iII")  # struct ucred, unix(7): pid, uid, gid


def peer_pid(sock: socket.socket) -> int:
    """Process id of the peer of a Unix socket; 0 when it lives in a PID namespace that we do not see into."""
    pid: int = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0]
    return pid


def maps_are_readable(pid: int) -> bool:
    """Whether ``only_private`` can tell anything about process ``pid``."""
    return _maps(pid) is not None


def only_private(pid: int, device: int, inode: int) -> bool:
    """True when ``pid`` maps the file (``st_dev``, ``st_ino``), and every such mapping is private.

    False when it is shared, not mapped at all, or when nobody can tell.
    """
    where = f"{os.major(device):02x}:{os.minor(device):02x}"
    found = False
    for line in (_maps(pid) or "").splitlines():
        _, permissions, _, dev, ino = line.split(maxsplit=5)[:5]
        if ino == str(inode) and dev == where:
            if permissions[3] == "s":
                return False
            found = True
    return found


def _maps(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/maps").read_text(errors="replace") if pid > 0 else None
    except OSError:
        return None
