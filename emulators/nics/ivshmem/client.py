"""The client of an ivshmem server: what a device knows of its peers, and how it is told.

It believes nothing. What a server says wrongly before there is memory ends in ``ServerError``; what it says wrongly later is
complained about under one of the names of ``Lie`` and dropped. All descriptors that come are kept or closed, none leaks.
Doorbells do not come through here but through the kernel: a peer is a list of eventfds.

Sources: QEMU docs/specs/ivshmem-spec.rst; hw/misc/ivshmem-pci.c, whose tolerance this has: after the ID, connect messages
may come before the memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

from emulators.nics.ivshmem.memory import LARGEST, SMALLEST, cannot_map, fits
from regmodel.errors import RegmodelError
from regmodel.mailboxes.ivshmem import IDS, MEMORY, MESSAGE, SIZE, VERSION, Lie

TIMEOUT = 5.0
"""Seconds in which a server has to say what every client is told."""
MANY = 4
"""Descriptors of one message that are received; one is right, and the kernel closes those beyond."""

Complain = Callable[..., None]
"""``host.diagnose``: the name of what is wrong, and details."""


class ServerError(RegmodelError):
    """A server that a device cannot be built on. ``lie`` names what is wrong with it."""

    def __init__(self, lie: Lie, server: str, text: str) -> None:
        super().__init__(f"ivshmem server {server}: {text} [{lie}]")
        self.lie = lie


def connect(path: Path) -> socket.socket:
    """A connection to the server that listens at ``path``. Raises ``ServerError``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(os.fspath(path))
    except OSError as error:
        sock.close()
        text = f"cannot connect ({error.strerror or error}): start it with `regmodel ivshmem-server --socket {path}`"
        raise ServerError(Lie.CLOSED, str(path), text) from None
    return sock


def is_eventfd(fd: int) -> bool:
    """A write to anything else might wait, and so might a read."""
    return str(Path(f"/proc/self/fd/{fd}").readlink()) == "anon_inode:[eventfd]"


class Client:
    """One connection, of a device of ``vectors`` vectors. ``setup`` comes first.

    ``id`` is the own one, ``peers`` are the eventfds of all others by vector, ``own`` those on which the device is interrupted,
    ``memory`` is the descriptor of the shared memory, which whoever takes it owns. ``complain`` hears of ``Lie``;
    ``on_own(vector, fd)`` of each eventfd of ``own``.
    """

    def __init__(
        self, sock: socket.socket, vectors: int, *, name: str = "", complain: Complain | None = None,
        on_own: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        self._sock, self.vectors, self.name = sock, vectors, name
        self.id = -1
        self.memory = -1
        self.own: list[int] = []
        self.peers: dict[int, list[int]] = {}
        self.alive = True
        self.complain: Complain = complain or _silent
        self.on_own = on_own
        self._part = b""
        self._fds: list[int] = []  # of the message that is not whole yet
        self._room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4

    def fileno(self) -> int:
        """The socket; readable when the server has said something."""
        return self._sock.fileno()

    # -- what the server says

    def setup(self, timeout: float = TIMEOUT) -> None:
        """Wait for version, ID and memory. Raises ``ServerError``, and the connection is closed then."""
        try:
            self._setup(time.monotonic() + timeout)
        except BaseException:
            self.close()
            raise
        self._sock.setblocking(False)

    def _setup(self, deadline: float) -> None:
        number, fds = self._next(deadline)
        _close(fds)
        if number != VERSION or fds:
            text = f"its version is {number}{' with a descriptor' if fds else ''}, this device speaks {VERSION}"
            raise ServerError(Lie.VERSION, self.name, text)
        number, fds = self._next(deadline)
        _close(fds)
        if not 0 <= number < IDS or fds:
            text = f"it gives the ID {number}{' with a descriptor' if fds else ''}, which has to be in 0 to {IDS - 1}"
            raise ServerError(Lie.ID, self.name, text)
        self.id = number
        while self.memory < 0:
            number, fds = self._next(deadline)
            if number == MEMORY:
                self._take_memory(fds)
            else:
                self.take(number, fds)

    def _take_memory(self, fds: list[int]) -> None:
        if len(fds) != 1:
            _close(fds)
            raise ServerError(Lie.MEMORY, self.name, f"the shared memory comes with {len(fds)} descriptors")
        size = os.fstat(fds[0]).st_size
        if not fits(size):
            _close(fds)
            text = f"the shared memory has {size:#x} bytes; a BAR has a power of two in {SMALLEST:#x} to {LARGEST:#x}"
            raise ServerError(Lie.MEMORY, self.name, text)
        if why := cannot_map(fds[0], size):
            _close(fds)
            text = f"the shared memory cannot be mapped to read and write ({why}): have the server pass it open for both"
            raise ServerError(Lie.MEMORY, self.name, text)
        self.memory = fds[0]

    def _next(self, deadline: float) -> tuple[int, list[int]]:
        """The next message, waiting for it."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServerError(Lie.CLOSED, self.name, "it does not say what the shared memory is: is it an ivshmem server?")
            self._sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                if not self._receive():
                    raise ServerError(Lie.CLOSED, self.name, "it hung up before the shared memory came")
                if (message := self._whole()) is not None:
                    return message

    def readable(self) -> None:
        """Take in all that has been said. Peers remain when the server is gone; it does not come back."""
        while self.alive:
            try:
                there = self._receive()
            except BlockingIOError:
                return
            if not there:
                self._end()
                self.complain(Lie.GONE, server=self.name, peers=len(self.peers))
            elif (message := self._whole()) is not None:
                self.take(*message)

    def _receive(self) -> bool:
        """Some bytes of one message, never of two: a descriptor belongs to the message whose bytes it came with."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, SIZE - len(self._part), MANY)
        except (ConnectionResetError, BrokenPipeError):
            return False
        self._part += data
        self._fds += fds
        return bool(data)

    def _whole(self) -> tuple[int, list[int]] | None:
        if len(self._part) < SIZE:
            return None
        message = MESSAGE.parse(self._part).number, self._fds
        self._part, self._fds = b"", []
        return message

    def take(self, number: int, fds: list[int]) -> None:
        """One message after the first three."""
        wrong = self._wrong(number, fds)
        if wrong is not None:
            _close(fds)
            self.complain(wrong, server=self.name, number=number, descriptors=len(fds))
        elif not fds:
            _close(self.peers.pop(number))
        else:
            os.set_blocking(fds[0], False)
            known = self.own if number == self.id else self.peers.setdefault(number, [])
            known.append(fds[0])
            if number == self.id and self.on_own is not None:
                self.on_own(len(known) - 1, fds[0])

    def _wrong(self, number: int, fds: list[int]) -> Lie | None:
        if number == MEMORY:
            return Lie.MEMORY
        if not 0 <= number < IDS:
            return Lie.NUMBER
        if not fds:
            return None if number in self.peers else Lie.PEER
        if len(fds) > 1 or not is_eventfd(fds[0]):
            return Lie.DESCRIPTOR
        if len(self.own if number == self.id else self.peers.get(number, ())) >= self.vectors:
            return Lie.VECTORS
        return Lie.CROWD if self.descriptors >= self._room else None

    # -- what the device does

    @property
    def descriptors(self) -> int:
        """Eventfds that it holds."""
        return len(self.own) + sum(map(len, self.peers.values()))

    def ring(self, peer: int, vector: int) -> bool:
        """Interrupt ``peer``, who may be the client itself; False when there is no such peer or vector."""
        fds = self.own if peer == self.id else self.peers.get(peer, ())
        if vector >= len(fds):
            return False
        with contextlib.suppress(BlockingIOError):  # it has been rung 2^64 - 2 times and not looked
            os.eventfd_write(fds[vector], 1)
        return True

    def _end(self) -> None:
        self.alive = False
        _close(self._fds)
        self._fds = []

    def close(self) -> None:
        """Hang up, and give all descriptors back but that of the memory, once that was taken. Harmless the second time."""
        self._end()
        self._sock.close()
        _close(self.own)
        for fds in self.peers.values():
            _close(fds)
        self.own, self.peers = [], {}
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1

    def take_memory(self) -> int:
        """The descriptor of the shared memory, which is the caller's from now on."""
        fd, self.memory = self.memory, -1
        return fd


def _silent(kind: str, **detail: object) -> None:
    """Nobody listens."""


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
