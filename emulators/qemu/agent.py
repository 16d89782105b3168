"""The host's end of the conversation with a guest's agent. What is said is described in ``guest/agent.sh``.

May not enter: how a machine is started, what a command means. Lengths are in front of every byte string, so output that is
binary, or looks like a reply, arrives as it is.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from emulators.qemu.errors import CommandFailed, GuestDied, GuestError, GuestTimeout

_GRACE = 30.0  # seconds which a guest under TCG may take, beyond a command's own time, to report that it was killed
_LINE_LIMIT = 200


@dataclass(frozen=True)
class Result:
    """What became of a command in a guest: its exit status (137: killed when its time was up) and what it wrote."""

    command: str
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """``stdout`` as text, without the last newline."""
        return self.stdout.decode(errors="replace").removesuffix("\n")

    def check(self) -> Result:
        """Itself, or CommandFailed where the exit status is not 0."""
        if self.status:
            raise CommandFailed(self.command, self.status, self.stdout, self.stderr)
        return self


class Channel:
    """A byte stream from a guest, with a deadline for what is awaited. ``alive`` tells why nothing more may come."""

    def __init__(self, sock: socket.socket, alive: Callable[[], str | None]) -> None:
        self.socket = sock
        self._alive = alive
        self._pending = bytearray()

    def send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(select.POLLOUT, deadline, "take a request")
            try:
                view = view[self.socket.send(view, socket.MSG_DONTWAIT):]
            except BlockingIOError:
                continue
            except OSError as error:
                raise GuestDied(self._alive() or f"the guest's port is closed: {error}") from error

    def line(self, deadline: float) -> str:
        while (end := self._pending.find(b"\n")) < 0:
            if len(self._pending) > _LINE_LIMIT:
                raise GuestError(f"the guest's agent says {bytes(self._pending[:40])!r}, which is no reply")
            self._more(deadline)
        text = self._pending[:end].decode(errors="replace")
        del self._pending[:end + 1]
        return text

    def exactly(self, size: int, deadline: float) -> bytes:
        while len(self._pending) < size:
            self._more(deadline)
        data = bytes(self._pending[:size])
        del self._pending[:size]
        return data

    def some(self, deadline: float) -> bytes:
        """At least one byte."""
        if not self._pending:
            self._more(deadline)
        data = bytes(self._pending)
        self._pending.clear()
        return data

    def _more(self, deadline: float) -> None:
        self._wait(select.POLLIN, deadline, "answer")
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise GuestDied(self._alive() or "the guest's agent is gone")
        self._pending += data

    def _wait(self, event: int, deadline: float, what: str) -> None:
        poll = select.poll()
        poll.register(self.socket, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise GuestTimeout(self._alive() or f"the guest does not {what}")


class Agent:
    """Requests to a guest, one at a time. Times are in seconds."""

    def __init__(self, requests: Channel, stream: Channel) -> None:
        self._requests = requests
        self._stream = stream
        self._owed = ""  # the request whose reply never came: a later one must not be taken for that of another request

    def ready(self, timeout: float) -> float:
        """Wait for the guest's user space; its uptime in seconds."""
        word, _, uptime = self._requests.line(time.monotonic() + timeout).partition(" ")
        if word != "ready":
            raise GuestError(f"the guest's agent says {word!r} where it should say that it is ready")
        return float(uptime)

    def run(self, command: str, timeout: float, grace: float = _GRACE) -> Result:
        """Run a shell script; one that takes longer than ``timeout`` is killed, and GuestTimeout raised.

        ``grace``: how much longer the guest may take to report that.
        """
        seconds = max(1, round(timeout))
        started = time.monotonic()
        status, out, err = self._request("run", str(seconds), command.encode() + b"\n", timeout + grace)
        if status == 137 and time.monotonic() - started >= seconds - 1:
            raise GuestTimeout(f"guest command {command!r} was killed after {seconds} s")
        return Result(command, status, out, err)

    def stream(self, command: str, sink: Callable[[bytes], object], timeout: float) -> int:
        """Run a shell script and hand over what it writes (stdout and stderr together) while it writes it; its exit status."""
        mark = secrets.token_hex(16)
        deadline = time.monotonic() + timeout
        script = command.encode() + b"\n"
        self._begin(command)
        self._requests.send(f"stream {len(script)} {mark}\n".encode() + script, deadline)
        held = b""
        while True:
            held += self._stream.some(deadline)
            if held.endswith(mark.encode()):
                sink(held[:-len(mark)])
                return self._reply(deadline)[0]
            keep = _overlap(held, mark.encode())  # the beginning of the mark may be at the end of this piece
            if len(held) > keep:
                sink(held[:len(held) - keep])
                held = held[len(held) - keep:]

    def put(self, path: str, data: bytes, timeout: float) -> None:
        """Write a file in the guest."""
        _, _, err = self._checked("put", path, data, timeout)
        if err:
            raise GuestError(f"cannot write {path} in the guest: {err.decode(errors='replace').strip()}")

    def get(self, path: str, timeout: float) -> bytes:
        """Read a file of the guest."""
        return self._checked("get", path, b"", timeout)[1]

    def shell(self, columns: int, rows: int) -> None:
        """Start an interactive shell on the guest's terminal; ``shell_ended`` tells when it was left."""
        self._begin("shell")
        self._requests.send(f"shell 0 {columns} {rows}\n".encode(), time.monotonic() + _GRACE)

    def shell_ended(self) -> int:
        """The exit status of the interactive shell, to be called once its reply is there."""
        return self._reply(time.monotonic() + _GRACE)[0]

    def quit(self) -> None:
        """Ask the guest to power off; nothing is awaited."""
        self._requests.send(b"quit 0\n", time.monotonic() + 1)

    def _checked(self, verb: str, path: str, data: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        if "\n" in path or not path:
            raise GuestError(f"{path!r} cannot be the path of a file in a guest")
        status, out, err = self._request(verb, path, data, timeout)
        if status:
            raise GuestError(f"cannot {verb} {path} in the guest: {err.decode(errors='replace').strip()}")
        return status, out, err

    def _request(self, verb: str, argument: str, payload: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        deadline = time.monotonic() + timeout
        self._begin(f"{verb} {argument}" if verb != "run" else payload.decode(errors="replace"))
        self._requests.send(f"{verb} {len(payload)} {argument}\n".encode() + payload, deadline)
        return self._reply(deadline)

    def _begin(self, what: str) -> None:
        if self._owed:
            raise GuestTimeout(f"the guest has not answered an earlier request: {self._owed[:100].strip()}")
        self._owed = what

    def _reply(self, deadline: float) -> tuple[int, bytes, bytes]:
        line = self._requests.line(deadline)
        word, *numbers = line.split(" ")
        if word != "reply" or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
            raise GuestError(f"the guest's agent says {line!r}, which is no reply")
        status, out, err = map(int, numbers)
        reply = status, self._requests.exactly(out, deadline), self._requests.exactly(err, deadline)
        self._owed = ""
        return reply


def _overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of ``data`` could be the beginning of ``mark``."""
    for size in range(min(len(data), len(mark) - 1), 0, -1):
        if data.endswith(mark[:size]):
            return size
    return 0
