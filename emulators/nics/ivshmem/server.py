"""An ivshmem server: gives each client an ID, the shared memory, and eventfds to interrupt the others and be interrupted.

It serves QEMU's ``ivshmem-doorbell`` and this project's device alike. It never waits for a client: what a socket does not
take at once is kept and sent later, and who lets too much pile up is let go. Clients have nothing to say; who speaks is let
go as well.

Sources: QEMU docs/specs/ivshmem-spec.rst; contrib/ivshmem-server/ivshmem-server.c, whose IDs this counts like.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from emulators.listening import ListeningSocket
from emulators.loop import Loop
from regmodel.errors import UsageError
from regmodel.mailboxes.ivshmem import IDS, MEMORY, MESSAGE, SIZE, VECTORS, VERSION

_log = logging.getLogger("regmodel.ivshmem")
BACKLOG = 1 << 15
"""Messages that wait for one client, at most."""
RETRY = 10_000_000
"""ns until descriptors are tried again of which too many were on their way (unix(7), ETOOMANYREFS)."""
PAUSE = 1_000_000_000
"""ns until clients are accepted again when there was no descriptor for one, who waits for so long."""


class Waiting(NamedTuple):
    """A message that was not sent yet; ``fd`` belongs to somebody else, -1 is none."""

    number: int
    fd: int = -1


def _eventfds(count: int) -> list[int]:
    """All of them or, with OSError, none."""
    made: list[int] = []
    try:
        for _ in range(count):
            made.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    return made


class Peer:
    """One client as the server sees it. ``told`` are the IDs that it has been told of. Raises OSError: no descriptors left."""

    def __init__(self, sock: socket.socket, ident: int, vectors: int) -> None:
        self.sock, self.id = sock, ident
        self.eventfds = _eventfds(vectors)
        self.waiting: deque[Waiting] = deque()
        self.told: set[int] = set()
        self.retrying = False

    def sent(self, message: Waiting) -> None:
        """It was told this."""
        if message.fd < 0:
            self.told.discard(message.number)
        elif message.number not in (MEMORY, self.id):
            self.told.add(message.number)

    def forget(self, ident: int) -> None:
        """Client ``ident`` is gone: who was not told of it need not be told."""
        self.waiting = deque(w for w in self.waiting if w.number != ident or w.fd < 0)
        if ident in self.told and Waiting(ident) not in self.waiting:
            self.waiting.append(Waiting(ident))

    def close(self) -> None:
        self.sock.close()
        for fd in self.eventfds:
            os.close(fd)


class IvshmemServer:
    """Serves ``memory``, a descriptor that it owns, with ``vectors`` per client; at ``path``, and to whoever is admitted.

    ``diagnostics`` counts what clients did wrong, by name. Raises ``UsageError``.
    """

    def __init__(self, loop: Loop, memory: int, vectors: int, path: Path | None = None) -> None:
        if not 1 <= vectors <= VECTORS:
            raise UsageError(f"a client has 1 to {VECTORS} vectors, not {vectors}")
        self.loop, self.memory, self.vectors, self.path = loop, memory, vectors, path
        self.peers: dict[int, Peer] = {}
        self.diagnostics: Counter[str] = Counter()
        self._next = 0
        self._listening = ListeningSocket(path, option="--socket") if path is not None else None
        if self._listening is not None:
            loop.add(self._listening.fileno(), self._accept)

    # -- clients come

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            sock = self._listening.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self._complain("client-refused", why=error.strerror or str(error))
                self.loop.remove(self._listening.fileno())  # it stays readable, and this would come again at once
                self.loop.call_at(self.loop.now() + PAUSE, self._listen_again)
            return
        self.admit(sock)

    def _listen_again(self) -> None:
        if self._listening is not None:
            self.loop.add(self._listening.fileno(), self._accept)

    def admit(self, sock: socket.socket) -> int | None:
        """Take on a client that is connected already; its ID, or None when there is no room for it."""
        ident = self._free_id()
        try:
            if ident is None:
                raise OSError(errno.EUSERS, "all IDs are taken")
            peer = Peer(sock, ident, self.vectors)
        except OSError as error:
            sock.close()
            self._complain("client-refused", why=error.strerror or str(error))
            return None
        sock.setblocking(False)
        self._tell(peer, Waiting(VERSION), Waiting(ident), Waiting(MEMORY, self.memory))
        for other in self.peers.values():
            self._tell(other, *(Waiting(ident, fd) for fd in peer.eventfds))
            self._tell(peer, *(Waiting(other.id, fd) for fd in other.eventfds))
        self._tell(peer, *(Waiting(ident, fd) for fd in peer.eventfds))
        self.peers[ident] = peer
        self.loop.add(sock.fileno(), lambda: self._readable(peer))
        for anybody in list(self.peers.values()):
            self._send(anybody)
        return ident

    def _free_id(self) -> int | None:
        """The next one that nobody has, so that a new client is not soon taken for one that left."""
        for step in range(IDS):
            ident = (self._next + step) % IDS
            if ident not in self.peers:
                self._next = ident + 1
                return ident
        return None

    # -- clients are told

    def _tell(self, peer: Peer, *messages: Waiting) -> None:
        peer.waiting.extend(messages)

    def _send(self, peer: Peer) -> None:
        """As much as its socket takes now."""
        try:
            while peer.waiting:
                number, fd = peer.waiting[0]
                sent = socket.send_fds(peer.sock, [MESSAGE.build({"number": number})], [fd] if fd >= 0 else [])
                assert sent == SIZE  # a Unix socket takes all of so little, or nothing
                peer.sent(peer.waiting.popleft())
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                self._gone(peer)
                return
            self._try_again(peer)
        if len(peer.waiting) > BACKLOG:
            self._complain("client-slow", client=peer.id, waiting=len(peer.waiting))
            self._gone(peer)
        else:
            self.loop.interest(peer.sock.fileno(), on_writable=self._writable(peer) if peer.waiting else None)

    def _writable(self, peer: Peer) -> Callable[[], None] | None:
        return None if peer.retrying else lambda: self._send(peer)

    def _try_again(self, peer: Peer) -> None:
        def again() -> None:
            peer.retrying = False
            if self.peers.get(peer.id) is peer:
                self._send(peer)

        if not peer.retrying:
            peer.retrying = True
            self.loop.call_at(self.loop.now() + RETRY, again)

    # -- clients go

    def _readable(self, peer: Peer) -> None:
        try:
            said = peer.sock.recv(1)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._complain("client-spoke", client=peer.id)
        self._gone(peer)

    def _gone(self, peer: Peer) -> None:
        if self.peers.get(peer.id) is not peer:
            return
        del self.peers[peer.id]
        self.loop.remove(peer.sock.fileno())
        for other in list(self.peers.values()):
            other.forget(peer.id)
            self._send(other)
        peer.close()

    def _complain(self, kind: str, **detail: object) -> None:
        self.diagnostics[kind] += 1
        _log.warning("%s: %s %s", self.path or "ivshmem server", kind, " ".join(f"{k}={v}" for k, v in detail.items()))

    def close(self) -> None:
        """Hang up on all clients, who go on among themselves. Harmless the second time."""
        if self._listening is not None:
            self.loop.remove(self._listening.fileno())
            self._listening.close()
            self._listening = None
        for peer in self.peers.values():
            self.loop.remove(peer.sock.fileno())
            peer.close()
        self.peers.clear()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
