"""A server that lies, and guests that do as they like, around one process that serves several devices: nobody else is harmed.

The first device is a client of a server that says what a test wants. Two more are on a card beside it, with a server of their
own, and ring each other and share memory before and afterwards. What a client makes of each lie is in ``test_client``; here
every lie is one diagnosis of one function, under its name.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from emulators.loop import Loop
from emulators.nics.ivshmem.client import ServerError
from emulators.serve import Running, Wanted
from regmodel.catalogue import find
from regmodel.mailboxes.ivshmem import Lie
from tests.emulators.nics.ivshmem.liar import SIZE, eventfd, open_descriptors
from tests.emulators.nics.served import Function, serving
from tests.emulators.vfio_user.client import ARM, MSIX

IVPOSITION, DOORBELL = 8, 12
ALL = 0xFFFF_FFFF
VECTORS = 2
LIED_TO, BESIDE = "ivshmem-doorbell", "ivshmem"
PEER, OWN = 1, 3
Said = tuple[tuple[int, int], ...]
PROPER: Said = ((0, 0), (OWN, 0), (-1, 1))


def shrinkable() -> int:
    """Memory whose size nothing keeps."""
    fd = os.memfd_create("liar", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SIZE)
    return fd


def opened(flags: int) -> int:
    """Memory, opened otherwise."""
    fd = shrinkable()
    try:
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
    finally:
        os.close(fd)


def sealed() -> int:
    """Memory that nobody can write any more."""
    fd = shrinkable()
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    return fd


class Lies:
    """A server at ``path`` that greets its only client with ``greeting``: numbers, each with so many descriptors of memory."""

    def __init__(self, path: Path, greeting: Said, memory: Callable[[], int]) -> None:
        self.greeting, self.memory = greeting, memory()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        self.sock: socket.socket | None = None
        self._greeter = Thread(target=self._greet)  # for a device waits for its server
        self._greeter.start()

    def _greet(self) -> None:
        try:
            self.sock, _ = self._listening.accept()
        except OSError:  # nobody came
            return
        with suppress(BrokenPipeError):  # who is not believed is hung up on
            for number, descriptors in self.greeting:
                self.say(number, *[self.memory] * descriptors)
        if (-1, 1) not in self.greeting:
            self.sock.shutdown(socket.SHUT_RDWR)

    def say(self, number: int, *fds: int) -> None:
        """One message."""
        assert self.sock is not None
        socket.send_fds(self.sock, [number.to_bytes(8, "little", signed=True)], list(fds))

    def hang_up(self) -> None:
        assert self.sock is not None
        self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):  # the greeter need not wait any more
            self._listening.shutdown(socket.SHUT_RDWR)
        self._greeter.join()
        if self.sock is not None:
            self.sock.close()
        self._listening.close()
        os.close(self.memory)


@contextmanager
def lies(path: Path, greeting: Said, memory: Callable[[], int] = shrinkable) -> Iterator[Lies]:
    server = Lies(path, greeting, memory)
    try:
        yield server
    finally:
        server.close()


class Guest:
    """Of one function, which hears its interrupts."""

    def __init__(self, function: Function) -> None:
        self.function, self.eventfds = function, [eventfd() for _ in range(VECTORS)]
        assert function.client.set_irqs(ARM, MSIX, 0, VECTORS, self.eventfds) == 0

    def ring(self, peer: int, vector: int) -> None:
        self.function.region_write(0, DOORBELL, 4, peer << 16 | vector)
        self.function.settle()

    def heard(self) -> list[int]:
        """Vectors since the last call."""
        self.function.settle()
        return [vector for vector, fd in enumerate(self.eventfds) if _signalled(fd)]

    def close(self) -> None:
        for fd in self.eventfds:
            os.close(fd)


def _signalled(fd: int) -> bool:
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


class Bench:
    """``first`` is lied to by ``server``, and has a peer whose eventfds are ``peer``; ``neighbours`` are on another card."""

    def __init__(self, functions: list[Function], server: Lies) -> None:
        self.server, self.functions = server, functions
        self.first, *self.neighbours = self.guests = [Guest(function) for function in functions]
        self.peer = [eventfd() for _ in range(VECTORS)]
        for fd in self.peer:
            server.say(PEER, fd)
        self.own = [eventfd() for _ in range(VECTORS)]
        for fd in self.own:
            server.say(OWN, fd)
        self.goes_on()

    def goes_on(self) -> None:
        """All can ring each other, and nobody hears what is not meant for them."""
        for sender, receiver, number in (*zip(self.neighbours, self.neighbours[::-1], (1, 0), strict=True),):
            for vector in range(VECTORS):
                sender.ring(number, vector)
                assert [guest.heard() for guest in self.guests] == [[vector] if g is receiver else [] for g in self.guests]
            sender.function.region_write(2, 8 * number, 8, 0x1122_3344_5566_7700 + number)
            assert receiver.function.region_read(2, 8 * number, 8) == 0x1122_3344_5566_7700 + number
            assert not sender.function.diagnoses
        self.first.ring(PEER, 1)
        assert [_signalled(fd) for fd in self.peer] == [False, True]
        os.eventfd_write(self.own[0], 1)
        assert [guest.heard() for guest in self.guests] == [[0], [], []]
        assert self.first.function.region_read(0, IVPOSITION, 4) == OWN

    def close(self) -> None:
        for guest in self.guests:
            guest.close()
        for fd in (*self.peer, *self.own):
            os.close(fd)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    path = tmp_path / "liar"
    with (
        lies(path, PROPER) as server,
        serving(tmp_path, BESIDE, 2, 0, 4096, vectors=str(VECTORS)) as neighbours,
        serving(tmp_path, LIED_TO, 1, 0, 4096, beside=neighbours, vectors=str(VECTORS), server=str(path)) as lied_to,
    ):
        made = Bench([*lied_to, *neighbours], server)
        yield made
        made.close()


def with_fds(number: int, make: Callable[[Bench], list[int]]) -> Callable[[Bench], None]:
    def say(bench: Bench) -> None:
        fds = make(bench)
        bench.server.say(number, *fds)
        for fd in fds:
            os.close(fd)

    return say


def pipe_end(bench: Bench) -> list[int]:
    read, write = os.pipe()
    os.close(read)
    return [write]


LATER: dict[str, tuple[Lie, Callable[[Bench], None]]] = {
    "an ID below -1": (Lie.NUMBER, with_fds(-2, lambda b: [])),
    "an ID that no doorbell can name": (Lie.NUMBER, with_fds(65536, lambda b: [eventfd()])),
    "the lowest number": (Lie.NUMBER, with_fds(-(1 << 63), lambda b: [])),
    "the memory, again": (Lie.MEMORY, with_fds(-1, lambda b: [os.dup(b.server.memory)])),
    "no memory": (Lie.MEMORY, with_fds(-1, lambda b: [])),
    "that somebody left who never came": (Lie.PEER, with_fds(9, lambda b: [])),
    "that the client itself left": (Lie.PEER, with_fds(OWN, lambda b: [])),
    "more vectors of a peer than there are": (Lie.VECTORS, with_fds(PEER, lambda b: [eventfd()])),
    "more own vectors than there are": (Lie.VECTORS, with_fds(OWN, lambda b: [eventfd()])),
    "two eventfds at once": (Lie.DESCRIPTOR, with_fds(9, lambda b: [eventfd(), eventfd()])),
    "memory for an eventfd": (Lie.DESCRIPTOR, with_fds(9, lambda b: [os.dup(b.server.memory)])),
    "a pipe for an eventfd": (Lie.DESCRIPTOR, with_fds(9, pipe_end)),
    "a pipe for an own eventfd": (Lie.DESCRIPTOR, with_fds(OWN, pipe_end)),
    "nothing: it is gone": (Lie.GONE, lambda b: b.server.hang_up()),
}  # fmt: skip


@pytest.mark.parametrize("what", LATER)
def test_a_server_that_says(what: str, bench: Bench) -> None:
    lie, tell = LATER[what]
    tell(bench)
    bench.first.function.settle()
    assert bench.first.function.diagnoses == {lie: 1}
    bench.goes_on()
    assert bench.first.function.diagnoses == {lie: 1}


def test_a_server_that_is_gone_in_mid_sentence(bench: Bench) -> None:
    assert bench.server.sock is not None
    fd = eventfd()
    socket.send_fds(bench.server.sock, [b"\7\0\0"], [fd])
    os.close(fd)
    bench.server.hang_up()
    bench.goes_on()
    assert bench.first.function.diagnoses == {Lie.GONE: 1}


@pytest.mark.parametrize("told", [True, False])
def test_a_peer_that_vanishes(told: bool, bench: Bench) -> None:
    """Of whom the server says so: its doorbells are unheard. Of whom it does not: they go nowhere, and nobody waits for it.
    Another who gets its ID is another.
    """
    theirs = eventfd()
    bench.server.say(7, theirs)
    bench.first.ring(7, 0)
    assert _signalled(theirs)
    os.close(theirs)
    if told:
        bench.server.say(7)
    for _ in range(3):
        bench.first.ring(7, 0)
    assert bench.first.function.diagnoses == ({"doorbell-unheard": 3} if told else {})
    bench.goes_on()
    if told:
        bench.server.say(7, another := eventfd())
        bench.first.ring(7, 0)
        assert _signalled(another) and bench.first.function.diagnoses == {"doorbell-unheard": 3}
        os.close(another)


def test_a_memory_that_shrinks(bench: Bench) -> None:
    """What is missing reads ones, and writes of it are lost; the process, which has it mapped, lives."""
    first = bench.first.function
    first.region_write(2, 0x8000, 4, 0x1234)
    assert first.region_read(2, 0x8000, 4) == 0x1234
    for size in (4096, 0):
        os.ftruncate(bench.server.memory, size)
        first.region_write(2, 0x8000, 4, 7)
        assert first.region_read(2, 0x8000, 4) == first.region_read(2, 4092 if not size else 4096, 4) == ALL
        bench.goes_on()
    assert os.fstat(bench.server.memory).st_size == 0 and not first.diagnoses


def test_a_guest_that_rings_whatever_there_may_be(bench: Bench) -> None:
    """Each that nobody hears is noted; those of the other card hear nothing."""
    wrong = [(peer, vector) for peer in (0, 2, 0xFFFF) for vector in (0, 1)]
    wrong += [(peer, vector) for peer in (PEER, OWN) for vector in (2, 0x100, 0xFFFF)]
    for peer, vector in wrong:
        bench.first.ring(peer, vector)
    assert [guest.heard() for guest in bench.guests] == [[], [], []] and not any(map(_signalled, bench.peer))
    assert bench.first.function.diagnoses == {"doorbell-unheard": len(wrong)}
    bench.goes_on()


BEFORE: dict[str, tuple[Lie, Said, Callable[[], int]]] = {
    "another version": (Lie.VERSION, ((1, 0),), shrinkable),
    "a version with a descriptor": (Lie.VERSION, ((0, 1),), shrinkable),
    "an ID that no doorbell can name": (Lie.ID, ((0, 0), (65536, 0)), shrinkable),
    "an ID below 0": (Lie.ID, ((0, 0), (-1, 0)), shrinkable),
    "no memory": (Lie.MEMORY, ((0, 0), (OWN, 0), (-1, 0)), shrinkable),
    "two memories": (Lie.MEMORY, ((0, 0), (OWN, 0), (-1, 2)), shrinkable),
    "nothing at all": (Lie.CLOSED, (), shrinkable),
    "a version, and no more": (Lie.CLOSED, ((0, 0),), shrinkable),
    "memory opened for reading only": (Lie.MEMORY, PROPER, lambda: opened(os.O_RDONLY)),
    "memory that is a path only": (Lie.MEMORY, PROPER, lambda: opened(os.O_PATH)),
    "memory sealed against writes": (Lie.MEMORY, PROPER, sealed),
}


@pytest.mark.parametrize("what", BEFORE)
def test_no_device_is_built_on_a_server_that_begins_with(what: str, tmp_path: Path) -> None:
    """One line, and nothing is left behind: no socket, no descriptor."""
    lie, greeting, memory = BEFORE[what]
    before, loop = open_descriptors(), Loop()
    try:
        with lies(tmp_path / "liar", greeting, memory), pytest.raises(ServerError, match=rf"\[{lie}\]$"):
            wanted = [Wanted(LIED_TO, find(LIED_TO), tmp_path / f"s{n}") for n in range(2)]
            Running(loop, wanted, options={"server": str(tmp_path / "liar")})
    finally:
        loop.close()
    assert open_descriptors() == before and sorted(path.name for path in tmp_path.iterdir()) == ["liar"]


def test_no_device_is_built_on_a_memory_that_no_bar_can_have(tmp_path: Path) -> None:
    loop = Loop()
    try:
        with lies(tmp_path / "liar", PROPER) as server:
            os.ftruncate(server.memory, 12288)
            with pytest.raises(ServerError, match=rf"0x3000 bytes.*\[{Lie.MEMORY}\]$"):
                Running(loop, [Wanted(LIED_TO, find(LIED_TO), tmp_path / "s")], options={"server": str(tmp_path / "liar")})
    finally:
        loop.close()
