"""A vfio-user server that does as it is told, for what no honest server does. It packs by hand (``struct``, offsets from the
specification) and shares no code with the client or with our own server.

``Scripted(path, {command: handler})`` answers as a small device would (BAR 0 of 4 KiB, configuration space, three MSI-X
vectors), but for the commands that have a handler. A handler is called as ``handler(peer, request)`` in the server's
thread. When it returns, the next message is read.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HEADER = struct.Struct("<HHIII")
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, WRITE_MULTI, FEATURE = range(9, 17)
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
BAR_SIZE, CONFIG_SIZE = 0x1000, 256
PATIENCE = 10.0


@dataclass
class Request:
    ident: int
    command: int
    flags: int
    errno: int
    body: bytes
    fds: list[int] = field(default_factory=list)


class Gone(Exception):
    """The client has closed the connection, or the test is over."""


def until(condition: Callable[[], bool]) -> None:
    """Wait for what shows in the other thread. Fails when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Peer:
    """The connection to one client."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.fds: list[int] = []
        self.armed: dict[int, int] = {}

    def receive(self) -> Request:
        """The next message of the client."""
        head = self._exactly(16)
        ident, command, size, flags, error = HEADER.unpack(head)
        body = self._exactly(size - 16)
        fds, self.fds = self.fds, []
        return Request(ident, command, flags, error, body, fds)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more, ancillary, _, _ = self.sock.recvmsg(size - len(data), 1024)
            except OSError as error:
                raise Gone from error
            for _, _, packed in ancillary:
                numbers = array.array("i")
                numbers.frombytes(packed)
                self.fds += numbers
            if not more:
                raise Gone
            data += more
        return data

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.sock.sendmsg([data], ancillary)
            self.sock.sendall(data[sent:])
        except OSError as error:
            raise Gone from error

    def reply(self, request: Request, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        self.send(message(request.ident, request.command, body), fds)

    def refuse(self, request: Request, errno: int) -> None:
        self.send(HEADER.pack(request.ident, request.command, 16, REPLY | ERROR, errno))

    def ask(self, command: int, body: bytes, *, ident: int = 7) -> Request:
        """Send a command of ours and take the client's answer."""
        self.send(HEADER.pack(ident, command, 16 + len(body), 0, 0) + body)
        answer = self.receive()
        assert (answer.ident, answer.command, answer.flags & 0xF) == (ident, command, REPLY)
        return answer


def message(ident: int, command: int, body: bytes = b"", *, flags: int = REPLY, size: int | None = None) -> bytes:
    return HEADER.pack(ident, command, 16 + len(body) if size is None else size, flags, 0) + body


Handler = Callable[[Peer, Request], object]


class Scripted:
    """See the module. ``requests`` is what has come, in order; leaving it raises what went wrong in a handler."""

    def __init__(self, path: Path, handlers: Mapping[int, Handler] | None = None, **capabilities: object) -> None:
        self.path = path
        self.handlers = dict(handlers or {})
        self.capabilities = {"max_msg_fds": 8, **capabilities}
        self.requests: list[Request] = []
        self.armed: dict[int, int] = {}
        self.regions = {0: BAR_SIZE, 7: CONFIG_SIZE}
        self._failure: BaseException | None = None
        self._stop, self._peer = False, None  # type: tuple[bool, Peer | None]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def commands(self) -> list[int]:
        return [request.command for request in self.requests]

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stop = True
        for sock in (self._listener, *([self._peer.sock] if self._peer else [])):
            with suppress(OSError):  # closed already
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._listener.close()
        self._arm(0, [])
        if self._failure is not None and error is None:
            raise self._failure

    def _serve(self) -> None:
        while not self._stop:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                self._peer = peer = Peer(sock)
                try:
                    while True:
                        request = peer.receive()
                        self.requests.append(request)
                        self.handlers.get(request.command, self.answer)(peer, request)
                        for fd in request.fds:
                            os.close(fd)
                except Gone:
                    pass
                except BaseException as failure:
                    self._failure = failure
            for fd in peer.fds:
                os.close(fd)

    def _arm(self, start: int, fds: list[int]) -> None:
        """Keep ``fds`` from vector ``start`` on; none: let go of all."""
        for vector in range(start, start + len(fds)) if fds else list(self.armed):
            if vector in self.armed:
                os.close(self.armed.pop(vector))
        self.armed.update(enumerate(fds, start))
        fds.clear()

    # -- what an honest server would say

    def answer(self, peer: Peer, request: Request) -> None:
        body = request.body
        match request.command:
            case n if n == VERSION:
                peer.reply(request, struct.pack("<HH", 0, 0) + json.dumps({"capabilities": self.capabilities}).encode() + b"\0")
            case n if n == GET_INFO:
                peer.reply(request, struct.pack("<IIII", 16, 3, 9, 5))
            case n if n == GET_REGION_INFO:
                index = struct.unpack_from("<I", body, 8)[0]
                size = self.regions.get(index, 0)
                peer.reply(request, struct.pack("<IIIIQQ", 32, 3 if size else 0, index, 0, size, 0))
            case n if n == GET_IRQ_INFO:
                index = struct.unpack_from("<I", body, 8)[0]
                peer.reply(request, struct.pack("<IIII", 16, 1, index, {0: 1, 2: 3}.get(index, 0)))
            case n if n == SET_IRQS:
                start = struct.unpack_from("<I", body, 12)[0]
                self._arm(start, request.fds)
                peer.reply(request)
            case n if n == REGION_READ:
                peer.reply(request, body + content(body))
            case n if n == DMA_UNMAP:
                peer.reply(request, body)
            case _ if request.flags & NO_REPLY:
                pass
            case n if n == REGION_WRITE:
                peer.reply(request, body[:16])
            case _:
                peer.reply(request)


def content(access: bytes) -> bytes:
    """What stands in a BAR where nothing was written: each word its offset; configuration space is 0."""
    offset, region, count = struct.unpack_from("<QII", access)
    return (offset if region == 0 else 0).to_bytes(8, "little")[:count]
