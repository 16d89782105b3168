"""The stream by itself: where descriptors belong while the buffer moves, and what a socket that takes little does."""

from __future__ import annotations

import array
import os
import random
import socket

import pytest

from emulators.vfio_user.stream import RECEIVE, Stream

from .conftest import open_fds


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    stream = Stream(far)
    yield near, stream
    stream.close()
    near.close()


def send_with_fds(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def test_descriptors_keep_their_place_while_the_buffer_moves(pair):
    near, stream = pair
    event = os.eventfd(0)
    near.send(bytes(RECEIVE - 100))
    stream.receive()
    stream.consume(RECEIVE - 200)
    send_with_fds(near, b"with", [event])
    stream.receive()  # 104 bytes are left, the last 4 with a descriptor
    near.send(bytes(10))
    stream.receive()
    stream.need(2 * RECEIVE)  # moves them
    assert stream.start == 0 and stream.claim_fds(103) == ([], False)
    fds, excess = stream.claim_fds(104)
    assert len(fds) == 1 and not excess
    os.close(fds[0])
    os.close(event)


def test_any_cutting_of_the_bytes_gives_the_same_bytes(pair):
    near, stream = pair
    rng = random.Random(1)
    sent, got = b"", b""
    for _ in range(200):
        piece = rng.randbytes(rng.choice((1, 40, 5000, 60000)))
        near.sendall(piece)
        sent += piece
        while stream.receive():
            pass
        if rng.random() < 0.3:
            stream.need(rng.randrange(1, 300_000))
        taken = rng.randint(0, stream.end - stream.start)
        got += bytes(stream.view[stream.start : stream.start + taken])
        stream.consume(stream.start + taken)
    while stream.receive():
        pass
    assert got + bytes(stream.view[stream.start : stream.end]) == sent


def test_one_receive_takes_a_share_and_the_whole_of_a_long_message(pair):
    """A client that sends much does not keep other clients waiting; a long message does not come in crumbs."""
    near, stream = pair
    near.sendall(bytes(10 * RECEIVE))
    assert stream.receive() == RECEIVE
    stream.need(8 * RECEIVE)
    assert stream.receive() == 7 * RECEIVE
    stream.consume(8 * RECEIVE)
    assert stream.receive() == RECEIVE


def test_what_nobody_claims_is_closed(pair):
    near, stream = pair
    before = open_fds()
    event = os.eventfd(0)
    send_with_fds(near, b"x", [event] * 5)
    os.close(event)
    stream.receive()
    stream.close()
    assert open_fds() <= before


class Sparing:
    """A socket that takes at most three bytes at a time, and sometimes none."""

    def __init__(self) -> None:
        self.taken, self.fds, self.calls = b"", [], 0

    def setblocking(self, on: bool) -> None: ...

    def close(self) -> None: ...

    def send(self, data: bytes, flags: int) -> int:
        self.calls += 1
        if self.calls % 3 == 0:
            raise BlockingIOError
        self.taken += bytes(data[:3])
        return len(data[:3])

    def sendmsg(self, buffers, ancillary, flags: int) -> int:
        place = len(self.taken)
        size = self.send(buffers[0], flags)
        self.fds.append((place, ancillary[0][2].tolist()))
        return size


def test_descriptors_go_once_with_the_first_byte():
    stream = Stream(sock := Sparing())
    stream.send(b"hello ")
    stream.send(b"dear ")
    stream.send(b"world", [7])
    stream.send(b", again")
    while not stream.flush():
        pass
    assert sock.taken == b"hello dear world, again" and stream.queued == 0
    assert sock.fds == [(11, [7])]
