"""A running server hands its devices over to another process, while the guest goes on: nobody connects anew.

The old process has each driver let go of its device, where the device has a way to ask for that (``Movable``), stops listening
to the clients and sends everything over a socket: connected sockets, files of guest memory, eventfds of interrupts and memory
that guests map as descriptors (SCM_RIGHTS), and what it knows as JSON. The new one builds the same devices around all of that,
says so, and has the drivers take them up; the old one ends. What a client sends meanwhile waits in its socket. Back ends are
opened anew; what had arrived at them is delivered before, what they had not sent yet travels along, of kinds that know how to
end so (``Parting``: ``dgram`` by path, ``tap``).

If anything goes wrong before both have agreed, the old one goes on as before, and both say why.

What travels: 8 bytes with the number of descriptors and the length of the JSON text (``HEAD``), a byte with each part of the
descriptors, the text. Back comes a line, empty or what is wrong; and ``GO`` says that the old process has let go.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulators.control.client import ControlClient
from emulators.model import Movable
from emulators.plugging import attach_again, catch_up, let_go
from emulators.vfio_user.refused import Refused
from regmodel.errors import RegmodelError, StateError, UsageError

if TYPE_CHECKING:
    from emulators.serve import Running, Served

VERSION = 2
HEAD = struct.Struct("<II")
FDS = 128
"""Descriptors per message (SCM_MAX_FD is 253)."""
PATIENCE = 30.0
"""Seconds that either side gives the other."""
DRIVERS = 60.0
"""Seconds until the old process sends, its drivers included: AVP's are given ``patience``, and ten for their queues to rest."""
MOST = 256 << 20
"""Bytes of JSON that are taken."""

GO = b"!"

_log = logging.getLogger("regmodel.handover")


# -- the old process


class Giving:
    """Hands ``running`` over to whoever listens at ``path``; ``done`` is told whether that went well."""

    def __init__(self, running: Running, path: str, done: Callable[[bool], None]) -> None:
        self.running, self.path, self._done = running, path, done
        self._asked: list[Movable] = []
        self._waiting = 0
        self._problem = ""
        self._unsent: list[list[bytes]] | None = None
        """Of each port, what its back end could not send yet; None while the back ends are plugged in."""

    def begin(self) -> None:
        """Ask the drivers; the rest follows by itself."""
        self._asked = [s.function.model for s in self.running.served if isinstance(s.function.model, Movable)]
        self._waiting = len(self._asked) + 1
        for model in self._asked:
            model.detach(self._detached)
        self._detached("")

    def _detached(self, why: str) -> None:
        self._problem = self._problem or why
        self._waiting -= 1
        if not self._waiting:
            self.running.loop.defer(self._finish)

    def _finish(self) -> bool:
        frozen: list[Served] = []
        problem = self._problem or self._give(frozen)
        if problem:
            _log.error("not handed over: %s", problem)
            for served in frozen:
                if served.server.connection is not None:
                    served.server.connection.thaw()
            if self._unsent is not None:
                for why in attach_again(self.running.cards, self.running.nets, self.running.loop):
                    _log.error("%s; its port is without a wire from now on", why)
                catch_up(self.running.cards, self._unsent)
            for model in self._asked:
                model.attach()
            self._tell(problem)
        self._done(not problem)
        return False

    def _give(self, frozen: list[Served]) -> str:
        """Stop listening to wires and clients, and send everything; empty, or why not."""
        try:
            with _connected(self.path) as sock:  # first of all: nothing is let go for a process that is not there
                try:
                    image, fds = self._frozen(frozen)
                except Refused as refusal:
                    send(sock, {"version": VERSION, "problem": str(refusal)}, [])
                    return str(refusal)
                send(sock, image, fds)
                answer = _line(sock)
                if not answer:
                    sock.sendall(GO)
                return answer
        except OSError as error:
            return f"the other process does not take it: {error.strerror or error}"

    def _frozen(self, frozen: list[Served]) -> tuple[dict[str, Any], list[int]]:
        """Let go of wires and clients: all that there is to send. Raises ``Refused``."""
        self._unsent = let_go(self.running.cards)  # the other process opens the same back ends
        for served in self.running.served:
            if served.server.connection is not None:
                served.server.connection.freeze()
                frozen.append(served)
        image, fds = image_of(self.running)
        image["unsent"] = [[b64encode(frame).decode() for frame in frames] for frames in self._unsent]
        return image, fds

    def _tell(self, problem: str) -> None:
        with contextlib.suppress(OSError), _connected(self.path) as sock:
            send(sock, {"version": VERSION, "problem": problem}, [])


def image_of(running: Running) -> tuple[dict[str, Any], list[int]]:
    """All that ``running`` serves; the descriptors stay its own."""
    fds: list[int] = []
    functions = []
    for served in running.served:
        memory = {}
        for bar, fd in served.function.shared_memory().items():
            memory[bar] = len(fds)
            fds.append(fd)
        connection = served.server.connection
        functions.append({
            "device": served.wanted.spec, "state": served.function.save_to_move(), "memory": memory,
            "connection": None if connection is None else connection.image(fds),
        })  # fmt: skip
    cards = [card.save() for card in running.cards]
    image = {"version": VERSION, "functions": functions, "cards": cards, "nets": running.nets, "options": running.options}
    return image, fds


# -- the new process


class Taking:
    """What the server with the control socket at ``control`` hands over. Raises ``RegmodelError`` with the reason if it will
    not.
    """

    def __init__(self, control: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="regmodel-") as folder, socket.socket(socket.AF_UNIX) as listening:
            path = str(Path(folder) / "socket")
            listening.bind(path)
            listening.listen()
            listening.settimeout(DRIVERS)
            with ControlClient(control) as client:
                client.ask("hand_over", to=path)
            try:
                self._socket = listening.accept()[0]
            except TimeoutError:
                raise RegmodelError(f"{control}: the server did not hand over within {DRIVERS:.0f} s") from None
        self._socket.settimeout(PATIENCE)
        try:
            self.image, self.fds = receive(self._socket)
        except (OSError, ValueError) as error:
            raise RegmodelError(f"{control}: the server broke off: {error}") from error
        if self.image.get("version") != VERSION:
            raise RegmodelError(f"{control}: the server hands over in version {self.image.get('version')!r}, not {VERSION}")
        if self.image.get("problem"):
            raise RegmodelError(f"{control}: not handed over: {self.image['problem']}")

    @property
    def nets(self) -> list[str]:
        """Back ends that were plugged in, as ``--net`` names them."""
        return list(self.image["nets"])

    @property
    def options(self) -> dict[str, str]:
        return dict(self.image["options"])

    def memory(self, devices: Sequence[str]) -> list[dict[int, int]]:
        """For each of ``devices`` the descriptors of its shared memory by BAR, which belong to the caller.

        Raises ``UsageError`` when other devices are handed over.
        """
        theirs = [function["device"] for function in self.image["functions"]]
        if list(devices) != theirs:
            raise UsageError(f"that server hands over {' '.join(theirs)}: name the same devices, not {' '.join(devices)}")
        return [{int(bar): os.dup(self.fds[n]) for bar, n in f["memory"].items()} for f in self.image["functions"]]

    def into(self, running: Running) -> None:
        """Have ``running`` take it on, and the drivers take up their devices.

        Raises ``RegmodelError``; no guest has noticed anything then.
        """
        functions: list[Mapping[str, Any]] = self.image["functions"]
        try:
            for served, function in zip(running.served, functions, strict=True):
                if function["connection"] is not None:
                    served.server.adopt(function["connection"], self.fds)
                served.function.load(function["state"])
            for card, state in zip(running.cards, self.image["cards"], strict=True):
                card.load(state)
            unsent = [[b64decode(frame, validate=True) for frame in frames] for frames in self.image["unsent"]]
        except (Refused, KeyError, TypeError, ValueError) as error:
            raise StateError(f"what was handed over does not fit: {error}") from error
        try:
            self._socket.sendall(b"\n")
            if self._socket.recv(1) != GO:
                raise RegmodelError("the former server did not let go")
        except OSError as error:
            raise RegmodelError(f"the former server did not let go: {error}") from error
        self.close()
        catch_up(running.cards, unsent)
        for served in running.served:
            if isinstance(served.function.model, Movable):
                served.function.model.attach()

    def refuse(self, why: str) -> None:
        """Say why not; harmless when all is settled."""
        with contextlib.suppress(OSError):
            self._socket.sendall(" ".join(why.split()).encode() + b"\n")
        self.close()

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self._socket.close()


# -- the wire


def send(sock: socket.socket, image: Mapping[str, Any], fds: Sequence[int]) -> None:
    """Raises OSError."""
    text = json.dumps(image).encode()
    sock.sendall(HEAD.pack(len(fds), len(text)))
    for first in range(0, len(fds), FDS):
        socket.send_fds(sock, [b"f"], fds[first : first + FDS])
    sock.sendall(text)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Raises OSError, or ``ValueError`` for what makes no sense; no descriptor is left open then."""
    count, size = HEAD.unpack(_exactly(sock, HEAD.size))
    if size > MOST:
        raise ValueError(f"{size} bytes of state")
    fds: list[int] = []
    try:
        while len(fds) < count:
            data, found, _, _ = socket.recv_fds(sock, 1, FDS)
            if not data or not found:
                raise ValueError("descriptors are missing")
            fds += found
        image = json.loads(_exactly(sock, size))
        if not isinstance(image, dict):
            raise ValueError("the state is no object")
        return image, fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            raise ValueError("it ended too early")
        data += part
    return bytes(data)


def _line(sock: socket.socket) -> str:
    """One line; what ends before is no answer. Raises OSError."""
    text = bytearray()
    while not text.endswith(b"\n"):
        part = sock.recv(4096)
        if not part:
            return text.decode(errors="replace") or "it went away"
        text += part
    return text.decode(errors="replace").strip()


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
