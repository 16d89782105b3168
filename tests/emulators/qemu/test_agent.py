"""The conversation with a guest's agent: lengths, not luck, decide where an answer ends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.qemu.agent import Agent, Channel, Result, _overlap
from emulators.qemu.errors import CommandFailed, GuestDied, GuestError, GuestTimeout

Pieces = list[bytes]


class FakeGuest:
    """The other end of the two ports. ``answer`` gives what is sent on the requests port, piece by piece."""

    def __init__(self, answer: Callable[[str, bytes], Pieces], dead: str | None = None) -> None:
        requests, self.requests = socket.socketpair()
        stream, self.stream = socket.socketpair()
        self.seen: list[tuple[str, bytes]] = []
        self._answer = answer
        self.agent = Agent(Channel(requests, lambda: dead), Channel(stream, lambda: dead))
        self._ours = (requests, stream)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        file = self.requests.makefile("rb")
        with contextlib.suppress(OSError):  # the test is over
            while line := file.readline():
                words = line.decode().removesuffix("\n")
                payload = file.read(int(words.split(" ")[1]))
                self.seen.append((words, payload))
                for piece in filter(None, self._answer(words, payload)):
                    self.requests.sendall(piece)

    def close(self) -> None:
        for sock in (*self._ours, self.requests, self.stream):
            sock.close()


def reply(status: int, out: bytes = b"", err: bytes = b"") -> bytes:
    return b"reply %d %d %d\n" % (status, len(out), len(err)) + out + err


@pytest.fixture
def guests() -> Iterator[list[FakeGuest]]:
    made: list[FakeGuest] = []
    yield made
    for guest in made:
        guest.close()


@settings(max_examples=50)
@given(st.integers(0, 255), st.binary(max_size=300), st.binary(max_size=50), st.lists(st.integers(1, 40), max_size=12))
def test_any_output_arrives_however_it_is_cut(status: int, out: bytes, err: bytes, cuts: list[int]) -> None:
    whole = reply(status, out, err)
    pieces = []
    for cut in cuts:
        pieces.append(whole[:cut])
        whole = whole[cut:]
    guest = FakeGuest(lambda words, payload: [*pieces, whole])
    try:
        assert guest.agent.run("true", 5) == Result("true", status, out, err)
        assert guest.seen == [("run 5 5", b"true\n")]
    finally:
        guest.close()


def test_output_that_looks_like_a_reply_is_output(guests: list[FakeGuest]) -> None:
    out = reply(7, b"x") * 3
    guests.append(FakeGuest(lambda words, payload: [reply(0, out)]))
    for _ in range(2):  # nothing of the first answer is left over for the second
        assert guests[0].agent.run("cat", 5).stdout == out


def test_files_go_both_ways(guests: list[FakeGuest]) -> None:
    files: dict[str, bytes] = {}

    def answer(words: str, payload: bytes) -> Pieces:
        verb, _, path = words.split(" ", 2)
        if verb == "put":
            files[path] = payload
            return [reply(0)]
        return [reply(0, files[path])] if path in files else [reply(1, b"", b"cat: no such file\n")]

    guests.append(FakeGuest(answer))
    data = bytes(range(256)) * 5000
    guests[0].agent.put("/tmp/a file", data, 5)
    assert guests[0].agent.get("/tmp/a file", 5) == data
    with pytest.raises(GuestError, match="cannot get /none in the guest: cat: no such file"):
        guests[0].agent.get("/none", 5)
    with pytest.raises(GuestError, match="cannot be the path"):
        guests[0].agent.put("two\nlines", b"", 5)


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(0, 31), st.integers(0, 255))
def test_a_stream_ends_at_its_mark_and_nowhere_else(pieces: Pieces, teaser: int, status: int) -> None:
    """``teaser`` bytes of the mark inside the output must neither end it nor get lost, nor the mark be seen."""

    def answer(words: str, payload: bytes) -> Pieces:
        mark = words.split(" ")[2].encode()
        sent.extend([*pieces, mark[:teaser]])
        for piece in [*pieces, mark[:teaser] + mark[:10], mark[10:]]:
            if piece:
                guest.stream.sendall(piece)
        return [reply(status)]

    sent: Pieces = []
    guest = FakeGuest(answer)
    heard: Pieces = []
    try:
        assert guest.agent.stream("command", heard.append, 5) == status
        assert b"".join(heard) == b"".join(sent)
    finally:
        guest.close()


def test_overlap() -> None:
    assert _overlap(b"xxab", b"abc") == 2
    assert _overlap(b"xxabc", b"abc") == 0  # complete: that is for the caller to see
    assert _overlap(b"", b"abc") == 0


def test_a_guest_that_says_nothing_is_a_timeout(guests: list[FakeGuest]) -> None:
    guests.append(FakeGuest(lambda words, payload: []))
    started = time.monotonic()
    with pytest.raises(GuestTimeout, match="does not answer"):
        guests[0].agent.get("/x", 0.2)
    assert 0.15 < time.monotonic() - started < 5


def test_a_late_reply_is_not_taken_for_that_of_another_request(guests: list[FakeGuest]) -> None:
    late = threading.Event()

    def answer(words: str, payload: bytes) -> Pieces:
        late.wait(5)
        return [reply(0, b"of the first request")]

    guests.append(FakeGuest(answer))
    with pytest.raises(GuestTimeout):
        guests[0].agent.get("/first", 0.1)
    late.set()
    with pytest.raises(GuestTimeout, match="has not answered an earlier request: get /first"):
        guests[0].agent.get("/second", 1)


def test_a_guest_that_goes_away_is_dead_and_says_why(guests: list[FakeGuest]) -> None:
    def answer(words: str, payload: bytes) -> Pieces:
        guests[0].requests.shutdown(socket.SHUT_RDWR)
        return []

    guests.append(FakeGuest(answer, dead="vm1: QEMU ended with status 1: no such socket"))
    with pytest.raises(GuestDied, match="QEMU ended with status 1: no such socket"):
        guests[0].agent.get("/x", 5)


@pytest.mark.parametrize("nonsense", [b"hello\n", b"reply 0 1\n", b"reply 0 -1 0\n", b"reply 0 a 0\n", b"x" * 500])
def test_what_is_no_reply_is_said(guests: list[FakeGuest], nonsense: bytes) -> None:
    guests.append(FakeGuest(lambda words, payload: [nonsense]))
    with pytest.raises(GuestError, match="which is no reply"):
        guests[0].agent.get("/x", 5)


def test_a_command_that_had_to_succeed() -> None:
    with pytest.raises(CommandFailed, match=r"^guest command 'ip x' ended with status 1: what is x\?$") as caught:
        Result("ip x", 1, b"out\n", b"usage\nwhat is x?\n").check()
    assert caught.value.exit_status == 1 and caught.value.stdout == b"out\n"
    assert Result("true", 0, b"a\nb\n", b"").check().text == "a\nb"
