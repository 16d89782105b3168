"""Counts the loads and stores that reach an address, by the debug registers of the processor (perf_event_open(2)).

What the compiler, the C library and the interpreter make of one line of Python cannot be read off that line; the processor
counts what it executed. Needs hardware breakpoints, which not every virtual machine has, and leave to use them.

Source: Linux ``include/uapi/linux/perf_event.h`` (``struct perf_event_attr``, PERF_ATTR_SIZE_VER1) and
``include/uapi/linux/hw_breakpoint.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Self

_CALL = {"x86_64": 298}  # __NR_perf_event_open
_ATTRIBUTES = struct.Struct("<IIQQQQQIIQQ")  # type size config period sample_type read_format flags wakeup bp_type addr len
_BREAKPOINT = 5  # PERF_TYPE_BREAKPOINT
_DISABLED, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 5, 1 << 6
_WRITE, _READ_WRITE = 2, 3  # HW_BREAKPOINT_W, HW_BREAKPOINT_RW: x86 has no breakpoint for loads alone
_ENABLE, _DISABLE, _RESET = 0x2400, 0x2401, 0x2403  # PERF_EVENT_IOC_*
_CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC


class Unavailable(Exception):
    """This machine does not let us watch; the message names what is missing."""


class Watchpoint:
    """Watches ``length`` (1, 2, 4, 8) bytes at ``address``, aligned to it, for this thread. Raises ``Unavailable``."""

    def __init__(self, address: int, length: int) -> None:
        with contextlib.ExitStack() as opened:
            self._stores = _open(address, length, _WRITE)
            opened.callback(os.close, self._stores)
            self._all = _open(address, length, _READ_WRITE)
            opened.callback(os.close, self._all)
            self._files = opened.pop_all()

    def count(self, action: Callable[[], object]) -> tuple[int, int]:
        """(loads, stores) while ``action`` runs."""
        for request in (_RESET, _ENABLE):
            for fd in (self._stores, self._all):
                fcntl.ioctl(fd, request, 0)
        try:
            action()
        finally:
            for fd in (self._all, self._stores):
                fcntl.ioctl(fd, _DISABLE, 0)
        stores, every = (int.from_bytes(os.read(fd, 8), "little") for fd in (self._stores, self._all))
        return every - stores, stores

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


def _open(address: int, length: int, kind: int) -> int:
    machine = platform.machine()
    if machine not in _CALL:
        raise Unavailable(f"the number of perf_event_open on {machine} is not in this test")
    flags = _DISABLED | _EXCLUDE_KERNEL | _EXCLUDE_HV
    attributes = _ATTRIBUTES.pack(_BREAKPOINT, _ATTRIBUTES.size, 0, 0, 0, 0, flags, 0, kind, address, length)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_CALL[machine], attributes, 0, -1, -1, _CLOEXEC))
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    paranoid = Path("/proc/sys/kernel/perf_event_paranoid")
    level = paranoid.read_text().strip() if paranoid.exists() else "missing"
    reasons = {
        errno.EACCES: f"perf_event_open is refused: kernel.perf_event_paranoid is {level}; 2 or less, or CAP_PERFMON",
        errno.EPERM: "perf_event_open is refused by a security policy (seccomp of a container?)",
        errno.ENOSYS: "this kernel has no perf_event_open",
        errno.ENOENT: "this kernel has no hardware breakpoints (CONFIG_HAVE_HW_BREAKPOINT)",
        errno.ENOSPC: "no debug register is free, or this machine has none",
        errno.EOPNOTSUPP: "this processor has no hardware breakpoints",
    }
    raise Unavailable(reasons.get(code, f"perf_event_open of a breakpoint fails: {os.strerror(code)}"))
