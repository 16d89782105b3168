"""Listens on a Unix socket and serves one function to one client after the other.

Several servers share a loop. A client that comes while another is connected waits in the backlog of the socket: QEMU that
is killed and started again may connect before its old connection has been seen to end.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulators.listening import ListeningSocket
from emulators.loop import Loop
from emulators.vfio_user.connection import Connection
from emulators.vfio_user.memory import Files
from emulators.vfio_user.message_dma import WIRES
from emulators.vfio_user.observer import Observer
from emulators.vfio_user.sharing import maps_are_readable
from regmodel.errors import UsageError
from regmodel.function import Function

RETRY = 1_000_000_000
"""ns after which a client is tried again that could not be accepted."""

_log = logging.getLogger("regmodel.vfio_user")


class Server:
    """Serves ``function`` at the Unix socket ``path`` from now on, whenever ``loop`` runs.

    ``files``: memory files shared with other servers of this process, so that functions of one VM map its RAM once.
    ``trust_memory``: map guest memory that could be truncated too. ``dma_wire``: ``spec`` or ``qemu-10``.
    ``keep_state``: do not reset the function when a new client comes. Its state is kept in any case until then; but a
    new VM must not find a device that still writes to where the last one's rings were.

    Raises ``UsageError`` when the path cannot be listened on.
    """

    def __init__(
        self,
        loop: Loop,
        function: Function,
        path: str | Path,
        *,
        files: Files | None = None,
        trust_memory: bool = False,
        dma_wire: str = "spec",
        keep_state: bool = False,
        observer: Observer | None = None,
    ) -> None:
        if dma_wire not in WIRES:
            raise UsageError(f"no layout of DMA messages is called {dma_wire!r}; there are {', '.join(WIRES)}")
        self.loop, self.function, self.path = loop, function, Path(path)
        self.connection: Connection | None = None
        self._files = Files(trust=trust_memory) if files is None else files
        self._wire, self._keep_state, self._observer = WIRES[dma_wire], keep_state, observer
        self._socket = ListeningSocket(self.path, option="--socket")
        loop.add(self._socket.fileno(), self._accept)

    @property
    def observer(self) -> Observer | None:
        """Who is told of this server's events; may be set at any time."""
        return self._observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self._observer = observer
        if self.connection is not None:
            self.connection.observer = observer

    def adopt(self, image: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Go on with a client's conversation that another process has handed over (``Connection.image``).

        ``fds`` stay the caller's. The function keeps its state. Raises ``Refused``.
        """
        sock = socket.socket(fileno=os.dup(fds[image["socket"]]))
        self.loop.remove(self._socket.fileno())
        self.connection = Connection(self.loop, sock, self.function, self._files, self._gone, dma_wire=self._wire)
        self.connection.observer = self._observer
        self.connection.adopt(image, fds)

    def close(self) -> None:
        """Part from the client, stop listening, remove the socket."""
        self.loop.remove(self._socket.fileno())
        if self.connection is not None:
            self.connection.close("the server stops")
        self.loop.remove(self._socket.fileno())
        self._socket.close()

    def _accept(self) -> None:
        try:
            sock = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors left, most likely: the client waits, and so do we
            _log.error("%s: a client cannot be accepted: %s", self.function.name, error.strerror)
            self._pause()
            return
        self.loop.remove(self._socket.fileno())
        connection = Connection(
            self.loop, sock, self.function, self._files, self._gone, dma_wire=self._wire, keep_state=self._keep_state
        )
        self.connection = connection
        connection.observer = self._observer
        pid = connection.peer_pid
        if maps_are_readable(pid):
            _log.info("%s: process %d connected", self.function.name, pid)
        else:
            _log.warning(
                "%s: a client connected; its memory maps cannot be read, so whether it shares its memory could not be "
                "checked: start QEMU with share=on", self.function.name,
            )  # fmt: skip
        if self._observer is not None:
            self._observer.connected(pid)

    def _gone(self, reason: str) -> None:
        self.connection = None
        _log.info("%s: %s", self.function.name, reason)
        self._listen_again()

    def _pause(self) -> None:
        self.loop.remove(self._socket.fileno())
        self.loop.call_at(self.loop.now() + RETRY, self._listen_again)

    def _listen_again(self) -> None:
        if self._socket.fileno() >= 0 and self.connection is None:
            self.loop.add(self._socket.fileno(), self._accept)
