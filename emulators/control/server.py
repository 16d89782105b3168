"""The serving end of the control socket, on the port's own loop.

It costs the data path one tuple and one deque append per event while somebody subscribes, nothing otherwise. Events are
formatted and sent between bursts, a bounded number each time; a client that does not keep up loses events, not the port
its speed.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from emulators.control import protocol
from emulators.control.protocol import EventKind
from emulators.listening import ListeningSocket
from emulators.loop import MILLISECOND, Loop
from regmodel.errors import RegmodelError

Emit: TypeAlias = Callable[[EventKind, tuple[Any, ...]], None]

QUEUE = 8192
"""Events that wait for one client; more are dropped and counted."""
BATCH = 256
"""Events formatted per client and turn, so that a burst of them never delays a register access by more than ~1 ms."""
UNSENT = 1 << 20
"""Bytes of formatted lines that wait in us for a client that does not read."""
PERIOD = 5 * MILLISECOND
RETRY = 1000 * MILLISECOND

_log = logging.getLogger("regmodel.control")


class Steerable(Protocol):
    """What a running server lets others see and do. All of it returns at once."""

    def describe(self) -> dict[str, Any]: ...

    def stats(self) -> dict[str, Any]: ...

    def coverage(self, function: str) -> dict[str, Any]: ...

    def recent(self, function: str, count: int) -> list[tuple[Any, ...]]: ...

    def peek(self, function: str, paths: Sequence[str]) -> dict[str, int]: ...

    def rings(self, function: str) -> list[dict[str, Any]]: ...

    def control(self, words: Sequence[str]) -> Any:
        """Carry out the words of ``regmodel ctl``. Raises ``UsageError``."""

    def hand_over(self, path: str) -> None:
        """Begin to hand everything over to the process that listens at ``path``. Raises ``UsageError``."""

    def watch(self, kinds: Collection[EventKind], emit: Emit) -> None:
        """Emit events of these kinds from now on, and of no others; none means that nobody looks any more."""


class ControlServer:
    """Listens at ``path`` until closed. Raises ``UsageError`` when the path cannot be had."""

    def __init__(self, loop: Loop, path: str | os.PathLike[str], subject: Steerable) -> None:
        self.loop, self.path, self.subject = loop, Path(path), subject
        self.clients: list[_Client] = []
        self._socket = ListeningSocket(self.path, option="--control", private=True)
        loop.add(self._socket.fileno(), self._accept)
        self._ticking = False

    def _accept(self) -> None:
        try:
            sock = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptors left: look again later, not in a loop
            _log.warning("a client of the control socket cannot be accepted: %s", error)
            self.loop.remove(self._socket.fileno())
            self.loop.call_at(self.loop.now() + RETRY, self._listen_again)
            return
        sock.setblocking(False)
        self.clients.append(_Client(self, sock))

    def _listen_again(self) -> None:
        if self._socket.fileno() >= 0:
            self.loop.add(self._socket.fileno(), self._accept)

    def emit(self, kind: EventKind, values: tuple[Any, ...]) -> None:
        """Queue one event for those who asked for its kind."""
        for client in self.clients:
            if kind in client.kinds:
                client.queue_event(kind, values)
        if not self._ticking:
            self._ticking = True
            self.loop.call_at(self.loop.now() + PERIOD, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        busy = [client.flush_events() for client in list(self.clients)]
        if any(busy) and not self._ticking:
            self._ticking = True
            self.loop.call_at(self.loop.now() + PERIOD, self._tick)

    def interests_changed(self) -> None:
        """Tell the subject which kinds of events somebody wants."""
        kinds = {kind for client in self.clients for kind in client.kinds}
        self.subject.watch(kinds, self.emit)

    def close(self) -> None:
        """Disconnect all clients and take the socket away."""
        for client in list(self.clients):
            client.close()
        self.loop.remove(self._socket.fileno())
        self._socket.close()


class _Client:
    """One connection: requests in, replies and events out."""

    def __init__(self, server: ControlServer, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.kinds: frozenset[EventKind] = frozenset()
        self.events: deque[tuple[EventKind, tuple[Any, ...]]] = deque()
        self.lost = 0
        self.input, self.output = bytearray(), bytearray()
        server.loop.add(sock.fileno(), self._readable)

    def queue_event(self, kind: EventKind, values: tuple[Any, ...]) -> None:
        if len(self.events) < QUEUE:
            self.events.append((kind, values))
        else:
            self.lost += 1

    def flush_events(self) -> bool:
        """Format and send some of what waits. True if more waits."""
        for _ in range(BATCH):
            if not self.events or len(self.output) > UNSENT:
                break
            self.output += protocol.event(*self.events.popleft())
        if self.lost and not self.events and len(self.output) <= UNSENT:
            self.output += protocol.line({"v": protocol.VERSION, "event": "lost", "count": self.lost})
            self.lost = 0
        self._send()
        return bool(self.events or self.lost) and self in self.server.clients

    def _readable(self) -> None:
        try:
            data = self.sock.recv(protocol.MAX_LINE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.input += data
        while (end := self.input.find(b"\n")) >= 0:
            text = bytes(self.input[:end])
            del self.input[: end + 1]
            self.output += self._answer(text)
        if len(self.input) > protocol.MAX_LINE:
            self.output += protocol.refusal(None, f"a line is at most {protocol.MAX_LINE} bytes")
            self._send()
            self.close()
            return
        if len(self.output) > 8 * UNSENT:
            self.close()
            return
        self._send()

    def _answer(self, text: bytes) -> bytes:
        try:
            request = protocol.parse(text)
        except ValueError as error:
            return protocol.refusal(None, str(error))
        try:
            return protocol.reply(request.id, self._do(request))
        except RegmodelError as error:
            return protocol.refusal(request.id, str(error))
        except Exception as error:
            _log.exception("control request failed: %s", text[:200])
            return protocol.refusal(request.id, f"the server failed on this request: {type(error).__name__}: {error}")

    def _do(self, request: protocol.Request) -> Any:
        subject = self.server.subject
        match request:
            case protocol.Hello():
                return subject.describe()
            case protocol.Stats():
                return subject.stats()
            case protocol.Coverage():
                return subject.coverage(request.function)
            case protocol.Recent():
                return subject.recent(request.function, request.count)
            case protocol.Peek():
                return subject.peek(request.function, request.paths)
            case protocol.Rings():
                return subject.rings(request.function)
            case protocol.Ctl():
                return subject.control(request.words)
            case protocol.HandOver():
                return subject.hand_over(request.to)
            case protocol.Subscribe():
                self.kinds = frozenset(request.events)
                self.server.interests_changed()
                return sorted(self.kinds)

    def _send(self) -> None:
        if self.sock.fileno() < 0:
            return
        try:
            while self.output:
                sent = self.sock.send(memoryview(self.output)[: 1 << 16])
                del self.output[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        self.server.loop.interest(self.sock.fileno(), on_writable=self._send if self.output else None)

    def close(self) -> None:
        if self.sock.fileno() < 0:
            return
        self.server.loop.remove(self.sock.fileno())
        self.sock.close()
        self.server.clients.remove(self)
        if self.kinds:
            self.server.interests_changed()
