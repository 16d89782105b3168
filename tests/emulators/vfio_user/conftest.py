from __future__ import annotations

import fcntl
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.loop import Loop, ManualClock
from emulators.vfio_user.server import Server

from .client import Client
from .device import TestDevice


def open_fds() -> set[int]:
    """The descriptors of this process."""
    return {fd for fd in (int(entry.name) for entry in Path("/proc/self/fd").iterdir()) if _is_open(fd)}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def no_garbage() -> None:
    """What earlier tests left to the garbage collector is not given back in the middle of a count of descriptors."""
    gc.collect()


@pytest.fixture
def clock() -> ManualClock:
    """Time of the server: a test that is off the processor for long is not taken for a client that does nothing."""
    return ManualClock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[Loop]:
    loop = Loop(now=clock.now)
    yield loop
    loop.close()


@pytest.fixture
def dut() -> TestDevice:
    return TestDevice()


@pytest.fixture
def server(loop: Loop, dut: TestDevice, tmp_path: Path) -> Iterator[Server]:
    server = Server(loop, dut, tmp_path / "s")
    yield server
    server.close()


@pytest.fixture
def client(loop: Loop, server: Server, dut: TestDevice) -> Iterator[Client]:
    """A client with a version agreed; on leaving, nothing of it is left in the server."""
    before = open_fds()
    with Client(loop, server.path) as client:
        dut.log.clear()
        yield client
    assert server.connection is None
    assert len(dut.dma) == 0 and dut.armed() == []
    leaked = open_fds() - before
    assert not leaked, {fd: Path(f"/proc/self/fd/{fd}").readlink() for fd in leaked}


def memfd(size: int, *, sealed: bool = True) -> int:
    fd = os.memfd_create("test-memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


@pytest.fixture
def guest_memory() -> Iterator[int]:
    """A sealed memfd of 1 MiB, as QEMU has it."""
    fd = memfd(1 << 20)
    yield fd
    os.close(fd)
