"""The asking end of the control socket: blocking, for commands and tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from emulators.control.protocol import VERSION, EventKind
from regmodel.errors import RegmodelError, UsageError


class ControlClient:
    """A connection to the server at ``path`` (its control socket, or the vfio-user socket beside it)."""

    def __init__(self, path: str | os.PathLike[str], timeout: float | None = 10.0) -> None:
        self.path = _control_path(os.fspath(path))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            raise UsageError(f"{self.path}: no server answers here ({error.strerror}); is `regmodel serve` running?") from None
        self._input = bytearray()
        self._waiting: list[dict[str, Any]] = []
        self._id = 0

    def ask(self, do: str, **members: Any) -> Any:
        """Send one request and return its result. Raises ``RegmodelError`` with the server's one line."""
        self._id += 1
        try:
            self._socket.sendall(json.dumps({"v": VERSION, "id": self._id, "do": do, **members}).encode() + b"\n")
            while "event" in (line := self._line()):
                self._waiting.append(line)
        except (ConnectionError, ValueError):
            text = "this is no control socket, or its server has stopped; by default it is the first --socket with .ctl"
            raise RegmodelError(f"{self.path}: {text}") from None
        if not line.get("ok"):
            raise RegmodelError(str(line.get("error")))
        return line["result"]

    def events(self, kinds: Sequence[EventKind]) -> Iterator[dict[str, Any]]:
        """Subscribe, at once; then the events until the server goes away."""
        self.ask("subscribe", events=list(kinds))
        self._socket.settimeout(None)
        return self._stream()

    def _stream(self) -> Iterator[dict[str, Any]]:
        while True:
            try:
                yield self._waiting.pop(0) if self._waiting else self._line()
            except ConnectionError:
                return

    def _line(self) -> dict[str, Any]:
        while (end := self._input.find(b"\n")) < 0:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise RegmodelError(f"{self.path}: the server does not answer") from None
            if not data:
                raise ConnectionResetError(f"{self.path}: the server went away")
            self._input += data
        text = bytes(self._input[:end])
        del self._input[: end + 1]
        found: dict[str, Any] = json.loads(text)
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):  # wakes a thread that waits for events
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _control_path(path: str) -> str:
    """``x.sock.ctl`` where it exists beside ``x.sock``, so that either name does."""
    return f"{path}.ctl" if not path.endswith(".ctl") and os.path.exists(f"{path}.ctl") else path  # noqa: PTH110
