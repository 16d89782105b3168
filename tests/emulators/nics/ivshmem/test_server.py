"""The ivshmem server: what it says to whom in which order, and clients that do not behave."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.loop import Loop
from emulators.nics.ivshmem.client import connect
from emulators.nics.ivshmem.memory import anonymous
from emulators.nics.ivshmem.server import IvshmemServer
from regmodel.errors import UsageError
from tests.emulators.nics.ivshmem.liar import open_descriptors

SIZE = 1 << 16


class Ear:
    """A client that writes down what it is told: (number, descriptor or None)."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.sock, self._loop = connect(path), loop
        self.sock.setblocking(False)
        self.fds: list[int] = []

    def hear(self) -> list[tuple[int, bool]]:
        """All that was said since, and whether a descriptor came with it."""
        self._loop.settle()
        heard = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 8, 4)
            except BlockingIOError:
                return heard
            if not data:
                return [*heard, (-99, False)]
            self.fds += fds
            assert len(data) == 8 and len(fds) < 2
            heard.append((int.from_bytes(data, "little", signed=True), bool(fds)))

    def close(self) -> None:
        self.sock.close()
        for fd in self.fds:
            os.close(fd)


class World:
    def __init__(self, path: Path, vectors: int = 2) -> None:
        self.loop, self.path = Loop(), path
        self.server = IvshmemServer(self.loop, anonymous(SIZE), vectors, path)
        self.ears: list[Ear] = []

    def ear(self) -> Ear:
        self.ears.append(Ear(self.loop, self.path))
        self.loop.settle()
        return self.ears[-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    before = open_descriptors()
    made = World(tmp_path / "s")
    yield made
    for ear in made.ears:
        ear.close()
    made.server.close()
    made.server.close()
    made.loop.close()
    assert open_descriptors() == before
    assert not made.path.exists()


OPENING = [(0, False), (0, False), (-1, True), (0, True), (0, True)]


def test_the_order_of_the_specification(world: World) -> None:
    first = world.ear()
    assert first.hear() == OPENING
    second = world.ear()
    assert second.hear() == [(0, False), (1, False), (-1, True), (0, True), (0, True), (1, True), (1, True)]
    assert first.hear() == [(1, True), (1, True)]
    assert os.fstat(second.fds[0]).st_size == os.fstat(first.fds[0]).st_size == SIZE
    assert os.path.sameopenfile(first.fds[0], second.fds[0])
    os.eventfd_write(second.fds[2], 1)  # vector 1 of the first client
    assert os.eventfd_read(first.fds[2]) == 1
    os.eventfd_write(first.fds[3], 1)  # vector 0 of the second
    assert os.eventfd_read(second.fds[3]) == 1
    second.sock.close()
    assert first.hear() == [(1, False)]


def test_ids_are_not_given_again_soon(world: World) -> None:
    first, second = world.ear(), world.ear()
    assert first.hear()[1] == (0, False) and second.hear()[1] == (1, False)
    second.sock.close()
    world.loop.settle()
    assert world.ear().hear()[1] == (2, False)
    world.server._next = 65535
    assert [world.ear().hear()[1][0] for _ in range(3)] == [65535, 1, 3]  # 0 and 2 are there still


def test_who_speaks_is_let_go(world: World) -> None:
    first, second = world.ear(), world.ear()
    first.hear(), second.hear()
    second.sock.send(b"hello")
    assert first.hear()[-1] == (1, False)
    assert world.server.diagnostics == {"client-spoke": 1} and list(world.server.peers) == [0]


def test_a_client_that_does_not_listen_stops_nobody(world: World) -> None:
    """Connects and disconnects of hundreds of others pile up for it, and it is told in the end what it missed."""
    deaf = world.ear()
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    world.loop.settle()
    world.server.peers[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    piled = 0
    for _ in range(60):
        other = world.ear()
        assert (-1, True) in other.hear()
        piled = max(piled, len(world.server.peers[0].waiting))
        other.close()
        world.ears.remove(other)
    world.loop.settle()
    assert 2 <= piled < 10  # of whoever went before it was told of them, it is not told
    heard = deaf.hear()
    while more := deaf.hear():
        heard += more
    present: dict[int, int] = {}
    for number, descriptor in heard[5:]:
        if descriptor:
            present[number] = present.get(number, 0) + 1
        else:
            del present[number]  # nobody goes who did not come
    assert present == {} and world.server.diagnostics == {}
    assert world.ear().hear()[0] == (0, False)


def test_a_client_for_whom_too_much_piles_up_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulators.nics.ivshmem.server.BACKLOG", 20)
    deaf = world.ear()
    world.loop.settle()
    world.server.peers[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(30):
        listening = world.ear()
        listening.hear()
    assert world.server.diagnostics == {"client-slow": 1} and 0 not in world.server.peers
    assert deaf.hear()[-1] == (-99, False)
    assert world.ear().hear()[0] == (0, False)


def test_more_clients_than_descriptors(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: int) -> int:
        raise OSError(24, "Too many open files")

    first = world.ear()
    first.hear()
    with monkeypatch.context() as poor:
        poor.setattr(os, "eventfd", none_left)
        assert world.ear().hear() == [(-99, False)]
    assert world.server.diagnostics == {"client-refused": 1}
    assert world.ear().hear()[0] == (0, False)


def test_vectors_and_path_are_checked(tmp_path: Path) -> None:
    loop, memory = Loop(), anonymous(SIZE)
    for vectors in (0, 2049):
        with pytest.raises(UsageError, match="1 to 2048"):
            IvshmemServer(loop, memory, vectors)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="choose another --socket"):
        IvshmemServer(loop, memory, 1, tmp_path / "file")
    os.close(memory)
    loop.close()


def test_clients_that_come_and_go_as_they_like(world: World) -> None:
    """A bounded random walk: whoever stays knows exactly who is there."""
    dice = random.Random(7)
    known: dict[Ear, dict[int, int]] = {}
    ids: dict[Ear, int] = {}

    def listen(ear: Ear) -> None:
        for number, descriptor in ear.hear():
            if descriptor:
                known[ear][number] = known[ear].get(number, 0) + 1
            else:
                del known[ear][number]

    for _ in range(150):
        what = dice.choice(["come", "come", "leave", "speak", "listen"])
        if what == "come" and len(ids) < 12:
            ear = world.ear()
            ids[ear] = ear.hear()[1][0]
            known[ear] = {ids[ear]: 2} | {i: 2 for other, i in ids.items() if other is not ear}
        elif ids:
            ear = dice.choice(list(ids))
            if what == "listen":
                listen(ear)
            else:
                if what == "speak":
                    ear.sock.send(b"x")
                    world.loop.settle()
                ear.close()
                world.ears.remove(ear)
                del ids[ear], known[ear]
                world.loop.settle()
    for ear in ids:
        listen(ear)
        assert known[ear] == dict.fromkeys(ids.values(), 2)
    assert set(world.server.peers) == set(ids.values())
