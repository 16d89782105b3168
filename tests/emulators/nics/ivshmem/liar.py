"""A server that says whatever a test wants: numbers, each with descriptors, from the other end of a socket pair."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from emulators.nics.ivshmem.client import Client
from emulators.nics.ivshmem.memory import anonymous

SIZE = 1 << 16


class Liar:
    """``client`` listens to ``say``; ``complaints`` are what it said about it."""

    def __init__(self, vectors: int = 2) -> None:
        self.complaints: list[str] = []
        theirs, self.sock = socket.socketpair()
        self.client = Client(theirs, vectors, name="liar", complain=self._hear)
        self.memory = anonymous(SIZE)

    def _hear(self, kind: str, **detail: Any) -> None:
        self.complaints.append(str(kind))

    def say(self, number: int, *fds: int) -> None:
        """One message."""
        socket.send_fds(self.sock, [number.to_bytes(8, "little", signed=True)], list(fds))

    def greet(self, ident: int = 3) -> None:
        """The first three messages, as they should be."""
        self.say(0)
        self.say(ident)
        self.say(-1, self.memory)

    def connected(self, ident: int = 3) -> Client:
        """The client after a proper greeting."""
        self.greet(ident)
        self.client.setup(1)
        return self.client

    def close(self) -> None:
        self.sock.close()
        self.client.close()
        os.close(self.memory)


def eventfd() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
