"""One peer on a socket that listens or connects; a peer that goes away is waited for, or connected to again.

In here: sockets and their life. What is said on them is in ``stream`` and ``vhost_user``. Nothing blocks.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from emulators.fabric.backends.options import Address, Options
from emulators.fabric.backends.packets import FarEnd
from emulators.loop import Loop, Scheduled
from regmodel.errors import UsageError

RECONNECT = 500_000_000
"""ns between two attempts to connect."""


class Connection:
    """``joined`` is called when ``peer`` is there, ``left`` when it is not any more (or could not be reached), ``readable``
    while it has something to say; that one must tolerate EAGAIN."""

    def __init__(
        self,
        options: Options,
        far: FarEnd,
        *,
        joined: Callable[[], None],
        left: Callable[[], None],
        readable: Callable[[], None],
    ) -> None:
        """Reads ``listen=`` and ``connect=``, of which there must be one."""
        listen, connect = options.address("listen"), options.address("connect")
        if (listen is None) == (connect is None):
            raise options.error("one of listen= and connect= is needed")
        self.server = listen is not None
        self.address: Address = listen or connect  # type: ignore[assignment]
        self.options, self.far = options, far
        self.peer: socket.socket | None = None
        self._joined, self._left, self._on_readable = joined, left, readable
        self._loop: Loop | None = None
        self._listener: socket.socket | None = None
        self._connecting: socket.socket | None = None
        self._timer: Scheduled | None = None

    def open(self, loop: Loop) -> None:
        """Listen, or try to connect. Raises ``UsageError`` when the address cannot be listened on."""
        self._loop = loop
        if not self.server:
            self._connect()
            return
        self._listener = self._socket()
        try:
            if not self.address.is_path:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.address.bind(self._listener, self.options)
            self._listener.listen(1)
        except (OSError, UsageError):
            self._listener.close()
            self._listener = None
            raise
        loop.add(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """For good, and without a word; harmless when not open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sock in (self.peer, self._connecting, self._listener):
            self._drop(sock)
        if self._listener is not None:
            self.address.unbind()
        self.peer = self._connecting = self._listener = self._loop = None

    def lose(self, why: str) -> None:
        """The peer is gone, was never there, or is not wanted any more: count it, and be ready for the next one."""
        if self._loop is None:
            return
        self.far.failed(why)
        for sock in (self.peer, self._connecting):
            self._drop(sock)
        self.peer = self._connecting = None
        self._left()
        if self._listener is not None:
            self._loop.interest(self._listener.fileno())
        elif self._timer is None:
            self._timer = self._loop.call_at(self._loop.now() + RECONNECT, self._connect)

    # -- inside

    def _socket(self) -> socket.socket:
        return socket.socket(self.address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def _drop(self, sock: socket.socket | None) -> None:
        if sock is not None and self._loop is not None:
            self._loop.remove(sock.fileno())
            sock.close()

    def _connect(self) -> None:
        self._timer = None
        if self._loop is None:
            return
        sock = self._socket()
        code = sock.connect_ex(self.address.sockaddr)
        if code in (0, errno.EINPROGRESS):
            self._connecting = sock
            self._loop.add(sock.fileno(), self._on_readable)
            self._loop.interest(sock.fileno(), read=False, on_writable=self._connected)
        else:
            sock.close()
            self._refused(code)

    def _connected(self) -> None:
        if self._connecting is None:
            return
        code = self._connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._refused(code)
        else:
            self.peer, self._connecting = self._connecting, None
            self._begin(self.peer)

    def _refused(self, code: int) -> None:
        self.lose(f"nobody listens at {self.address.text} ({errno.errorcode.get(code, code)})")

    def _accept(self) -> None:
        if self._listener is None or self._loop is None:
            return
        try:
            self.peer, _ = self._listener.accept()
        except OSError:
            return  # gone again before we came
        self.peer.setblocking(False)
        self._loop.interest(self._listener.fileno(), read=False)  # the next one waits until this one has gone
        self._loop.add(self.peer.fileno(), self._on_readable)
        self._begin(self.peer)

    def _begin(self, peer: socket.socket) -> None:
        assert self._loop is not None
        if not self.address.is_path:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.interest(peer.fileno())
        self._joined()
