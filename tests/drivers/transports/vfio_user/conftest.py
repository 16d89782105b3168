from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.transports.vfio_user import VfioUser
from drivers.transports.vfio_user.connecting import limit_waiting

from .scripted import Handler, Scripted

Attach = Callable[..., tuple[VfioUser, Scripted]]


def open_fds() -> dict[int, str]:
    """The descriptors of this process, and what they are."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:
            continue  # the one that lists them
    return found


@pytest.fixture(scope="module", autouse=True)
def no_garbage() -> None:
    """What earlier tests left to the garbage collector is not given back in the middle of a count of descriptors."""
    gc.collect()


@pytest.fixture
def no_leak() -> Iterator[None]:
    """What the test opened is closed at its end."""
    before = open_fds()
    yield
    if leaked(before):
        gc.collect()  # what an exception holds, which a test keeps
    assert leaked(before) == {}


def leaked(before: dict[int, str]) -> dict[int, str]:
    return {fd: what for fd, what in open_fds().items() if before.get(fd) != what}


@pytest.fixture
def attach(tmp_path: Path, no_leak: None) -> Iterator[Attach]:
    """``attach({command: handler}, timeout=..., **capabilities)``: a client, open to a scripted server."""
    with ExitStack() as stack:

        def made(
            handlers: dict[int, Handler] | None = None, *, timeout: float = 5.0, share_memory: bool = True, **capabilities: Any
        ) -> tuple[VfioUser, Scripted]:
            server = stack.enter_context(Scripted(tmp_path / "s", handlers, **capabilities))
            client = VfioUser(str(server.path), timeout=timeout, share_memory=share_memory)
            stack.callback(client.close)
            return client, server

        yield made


@contextmanager
def impatient(client: VfioUser, timeout: float) -> Iterator[None]:
    """The client waits for ``timeout`` seconds only: for what is certain not to come, with a server that is held."""
    channel = client._channel
    patience, channel.timeout = channel.timeout, timeout
    limit_waiting(channel._sock, timeout)
    try:
        yield
    finally:
        channel.timeout = patience
        if not channel.is_over:
            limit_waiting(channel._sock, patience)
