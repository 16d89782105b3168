"""Connecting to the socket of a server, and saying in one line why that cannot be done."""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

from drivers.errors import DeviceTimeout, DriverError, NoSuchFunction, NotViable, PermissionDenied
from regmodel.errors import UsageError

_CONNECTED, _WAITING = "03", "02"
"""States in /proc/net/unix (linux/net.h, ``socket_state``): SS_CONNECTED; SS_CONNECTING is one that nobody accepted yet."""


def connect(path: str, timeout: float) -> socket.socket:
    """A socket that blocks for at most ``timeout`` seconds in each call, connected to ``path``.

    Raises ``NoSuchFunction``, ``PermissionDenied``, ``DeviceTimeout``, ``UsageError``; each message names the remedy.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        limit_waiting(sock, timeout)
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _why(path, error, timeout) from error
    except BaseException:
        sock.close()
        raise
    return sock


def limit_waiting(sock: socket.socket, timeout: float) -> None:
    """The kernel ends each wait in this socket after ``timeout`` seconds (SO_RCVTIMEO, SO_SNDTIMEO, socket(7)).

    Python's own ``settimeout`` would make a second system call, ``poll``, for each message.
    """
    if not 0.001 <= timeout <= 86400:
        raise UsageError(f"timeout={timeout}: an answer is waited for between 0.001 and 86400 seconds")
    seconds = int(timeout)
    value = struct.pack("ll", seconds, int((timeout - seconds) * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, value)


def no_version(path: str, timeout: float) -> DriverError:
    """What to say of a server that takes a connection and does not answer the first message."""
    states = _states(path)
    if _CONNECTED in states and _WAITING in states:
        return NotViable(
            f"vfio-user:{path}: another client is attached, and a server takes one at a time: "
            "end that client (a QEMU, another driver), or use another socket"
        )
    return DeviceTimeout(
        f"vfio-user:{path}: the server has not answered VERSION within {timeout:g} s: it hangs or is stopped, has another "
        "client, or this is no vfio-user socket (a control socket?); look at it, or start it again"
    )


def _why(path: str, error: OSError, timeout: float) -> DriverError | UsageError:
    where, code = f"vfio-user:{path}", error.errno
    again = f"the server (regmodel serve DEVICE --socket {path})"
    given = "give the path that the server was started with (--socket)"
    if code == errno.ENOENT:
        return NoSuchFunction(f"{where}: there is no such socket: start {again}")
    if code == errno.ECONNREFUSED and not Path(path).is_socket():
        return NoSuchFunction(f"{where}: this is no socket: {given}")
    if code == errno.ECONNREFUSED:
        return NoSuchFunction(f"{where}: nobody listens there any more: start {again}")
    if code == errno.EPROTOTYPE:
        return NoSuchFunction(f"{where}: this socket is of another kind: {given}")
    if code in (errno.EACCES, errno.EPERM):
        return PermissionDenied(f"{where}: no permission to connect: become the user who serves it, or let him open the socket")
    if code in (errno.EAGAIN, errno.ETIMEDOUT):
        return DeviceTimeout(f"{where}: no connection within {timeout:g} s: the server hangs, is stopped or has other clients")
    if code is None or code == errno.ENAMETOOLONG:
        return UsageError(f"{where}: {error}: the path of a Unix socket has at most 107 bytes")
    return NoSuchFunction(f"{where}: {os.strerror(code)}: {given}")


def _states(path: str) -> list[str]:
    """The states of all sockets that are bound to ``path`` or were accepted from it; empty where the kernel does not tell.

    The columns of /proc/net/unix are in unix(7): Num, RefCount, Protocol, Flags, Type, St, Inode, Path. The path is as the
    server wrote it, which may be relative to where it runs.
    """
    try:
        rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]]
        there = Path(path).resolve()
        named = [(row[5], Path(row[7])) for row in rows if len(row) == 8 and Path(row[7]).name == there.name]
        return [state for state, p in named if (p.resolve() if p.is_absolute() else there.parent / p.name) == there]
    except (OSError, ValueError):
        return []
