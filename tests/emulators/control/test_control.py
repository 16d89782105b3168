"""The control socket: requests, events, bad clients. The served subject is a fake; the socket and the loop are real."""

from __future__ import annotations

import errno
import json
import os
import queue
import socket
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulators.control import protocol
from emulators.control.client import ControlClient
from emulators.control.server import QUEUE, RETRY, ControlServer, Emit
from emulators.loop import Loop, ManualClock
from regmodel.errors import RegmodelError, UsageError
from tests.support.afterwards import closed_afterwards


class Subject:
    """Answers with what it was asked, and remembers who watches what."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.emit: Emit | None = None

    def describe(self) -> dict[str, Any]:
        return {"functions": [{"name": "vf0", "device": "igbvf"}]}

    def stats(self) -> dict[str, Any]:
        return {"uplink": {"tx": 3}}

    def coverage(self, function: str) -> dict[str, Any]:
        return {function: {}}

    def recent(self, function: str, count: int) -> list[tuple[Any, ...]]:
        return [(1, function, 0, "read", "status", 8, 4, 0x83)][:count]

    def peek(self, function: str, paths: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(paths, 7)

    def rings(self, function: str) -> list[dict[str, Any]]:
        return []

    def control(self, words: Sequence[str]) -> Any:
        if words[0] == "crash":
            raise ZeroDivisionError("oops")
        if words[0] != "link":
            raise UsageError(f"no such control: {words[0]}")
        return list(words)

    def watch(self, kinds: Collection[str], emit: Emit) -> None:
        self.kinds, self.emit = set(kinds), emit


class Rig:
    """A loop in a thread of its own, which also ends it: nobody else could end the burst that is under way in it."""

    def __init__(self, path: Path) -> None:
        self.loop, self.subject, self.path = Loop(), Subject(), path
        self.server = ControlServer(self.loop, path, self.subject)
        self.orders, self.wake = queue.SimpleQueue[Callable[[], None]](), os.eventfd(0)
        self.done = threading.Event()
        self.loop.add(self.wake, self._obey)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        self.loop.run()
        self.server.close()
        self.loop.remove(self.wake)
        self.loop.close()

    def _obey(self) -> None:
        os.eventfd_read(self.wake)
        self.orders.get()()
        self.done.set()

    def _order(self, action: Callable[[], None]) -> None:
        self.done.clear()
        self.orders.put(action)
        os.eventfd_write(self.wake, 1)
        assert self.done.wait(5)

    def emit(self, count: int) -> None:
        """Have the loop emit ``count`` accesses at once."""
        emit = self.subject.emit
        assert emit is not None

        def all_of_them() -> None:
            for i in range(count):
                emit("access", (i, "vf0", 0, "read", "status", 8, 4, i))

        self._order(all_of_them)

    def close(self) -> None:
        self._order(self.loop.stop)
        self.thread.join(5)
        assert not self.thread.is_alive()
        os.close(self.wake)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "x.ctl")
    yield rig
    rig.close()


def test_requests_and_replies(rig: Rig) -> None:
    with ControlClient(rig.path) as client:
        assert client.ask("hello")["functions"][0]["device"] == "igbvf"
        assert client.ask("stats") == {"uplink": {"tx": 3}}
        assert client.ask("recent", function="vf0", count=5) == [[1, "vf0", 0, "read", "status", 8, 4, 0x83]]
        assert client.ask("peek", function="vf0", paths=["ctrl"]) == {"ctrl": 7}
        assert client.ask("ctl", words=["link", "up"]) == ["link", "up"]


def test_errors_are_one_line_and_the_connection_lives(rig: Rig) -> None:
    with ControlClient(rig.path) as client:
        with pytest.raises(RegmodelError, match="no such control: fly"):
            client.ask("ctl", words=["fly"])
        with pytest.raises(RegmodelError, match="the server failed on this request: ZeroDivisionError: oops"):
            client.ask("ctl", words=["crash"])
        with pytest.raises(RegmodelError, match="do"):
            client.ask("no-such-request")
        assert client.ask("stats")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b'{"v":2,"do":"stats"}', b'{"v":1,"do":"stats","more":1}', b'{"v":1,"do":"ctl","words":[]}',
     b'{"v":1,"do":"recent","function":"vf0","count":99999}', b"\xff\xfe", b'{"v":1,"do":"subscribe","events":["all"]}'],
)  # fmt: skip
def test_malformed_requests_are_refused(rig: Rig, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(rig.path))
        sock.sendall(text + b'\n{"v":1,"id":"after","do":"stats"}\n')
        answers = b""
        while answers.count(b"\n") < 2:
            answers += sock.recv(65536)
        first, second = (json.loads(line) for line in answers.splitlines())
        assert first["ok"] is False and "\n" not in first["error"] and first["error"]
        assert second == {"v": 1, "id": "after", "ok": True, "result": {"uplink": {"tx": 3}}}


def test_a_line_without_end_is_cut_off(rig: Rig) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(rig.path))
        try:
            sock.sendall(b"x" * (4 * protocol.MAX_LINE))
            while sock.recv(65536):
                pass
        except ConnectionError:
            pass
    with ControlClient(rig.path) as client:
        assert client.ask("stats")


def test_events_reach_those_who_asked(rig: Rig) -> None:
    with ControlClient(rig.path) as client, ControlClient(rig.path) as other:
        other.ask("subscribe", events=["irq"])
        events = client.events(["access"])
        client.ask("subscribe", events=["access"])
        assert rig.subject.kinds == {"access", "irq"}
        rig.emit(1000)
        assert [next(events)["value"] for _ in range(1000)] == list(range(1000))
    with ControlClient(rig.path) as client:  # its connection is accepted after the others' ends were seen
        client.ask("stats")
        client.ask("stats")
        assert rig.subject.kinds == set()


def test_a_slow_client_loses_counted_events_and_slows_nobody(rig: Rig) -> None:
    with ControlClient(rig.path) as slow, ControlClient(rig.path) as quick:
        slow.ask("subscribe", events=["access"])
        rig.emit(3 * QUEUE)
        assert quick.ask("stats")
        seen = lost = 0
        slow._socket.settimeout(5)
        while seen + lost < 3 * QUEUE:
            line = slow._line()
            seen, lost = (seen, lost + line["count"]) if line["event"] == "lost" else (seen + 1, lost)
        assert seen + lost == 3 * QUEUE and lost >= QUEUE


def test_socket_is_private_and_not_taken_twice(rig: Rig) -> None:
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="is in use: stop the server"):
        ControlServer(closed_afterwards(Loop()), rig.path, Subject())


def test_a_stale_socket_is_replaced_and_a_missing_one_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "stale.ctl"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
    with pytest.raises(UsageError, match="no server answers here"):
        ControlClient(path)
    loop = Loop()
    ControlServer(loop, path, Subject()).close()
    assert not path.exists()
    loop.close()
    with pytest.raises(UsageError, match="no server answers here"):
        ControlClient(path)


def test_the_documentation_is_current() -> None:
    text = Path("docs/control-socket.md").read_text()
    assert text.strip() == protocol.document().strip(), "run: python -m emulators.control.protocol > docs/control-socket.md"


def test_without_descriptors_a_client_waits_and_the_loop_rests(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Exhausted:
        """A listening socket whose first accept finds no descriptor left."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock, self.calls = sock, 0

        def accept(self) -> Any:
            self.calls += 1
            if self.calls == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return self._sock.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

    clock = ManualClock()
    loop = Loop(now=clock.now)
    server = ControlServer(loop, tmp_path / "ctl", Subject())
    server._socket = exhausted = Exhausted(server._socket)  # type: ignore[assignment]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(tmp_path / "ctl"))
        loop.settle()
        clock.advance(RETRY - 1)
        loop.settle()
        assert exhausted.calls == 1 and server.clients == [] and "cannot be accepted" in caplog.text
        clock.advance(1)
        loop.settle()
        assert len(server.clients) == 1
    server.close()
    loop.close()
