"""The client of an ivshmem server, judged by the order that the specification gives, and told lies of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.nics.ivshmem.client import ServerError
from emulators.nics.ivshmem.memory import anonymous
from regmodel.mailboxes.ivshmem import Lie
from tests.emulators.nics.ivshmem.liar import SIZE, Liar, eventfd, open_descriptors
from tests.support.thorough import THOROUGH


@pytest.fixture
def liar() -> Iterator[Liar]:
    before = open_descriptors()
    made = Liar()
    yield made
    made.close()
    assert open_descriptors() == before  # whatever was said, no descriptor is lost


def told(liar: Liar, number: int, *fds: int) -> None:
    liar.say(number, *fds)
    for fd in fds:
        os.close(fd)
    liar.client.readable()


def test_the_order_of_the_specification(liar: Liar) -> None:
    liar.greet(5)
    others, own = [eventfd(), eventfd()], [eventfd(), eventfd()]
    for fd in others:
        liar.say(2, fd)
    for fd in own:
        liar.say(5, fd)
    liar.client.setup(1)
    liar.client.readable()
    client = liar.client
    assert (client.id, os.fstat(client.memory).st_size) == (5, SIZE)
    assert {i: len(fds) for i, fds in client.peers.items()} == {2: 2} and len(client.own) == 2
    assert client.ring(2, 1) and os.eventfd_read(others[1]) == 1
    assert client.ring(5, 0) and os.eventfd_read(own[0]) == 1
    assert not client.ring(2, 2) and not client.ring(4, 0)
    told(liar, 2)
    assert not client.ring(2, 0) and client.peers == {}
    assert liar.complaints == []
    for fd in (*others, *own):
        os.close(fd)


def test_connects_may_come_before_the_memory(liar: Liar) -> None:
    fd = eventfd()
    liar.say(0)
    liar.say(1)
    liar.say(0, fd)
    liar.say(-1, liar.memory)
    liar.client.setup(1)
    assert liar.client.ring(0, 0) and os.eventfd_read(fd) == 1
    os.close(fd)


def test_messages_come_in_pieces(liar: Liar) -> None:
    client, fd = liar.connected(), eventfd()
    import socket

    data = (9).to_bytes(8, "little")
    socket.send_fds(liar.sock, [data[:3]], [fd])
    client.readable()
    assert client.peers == {}
    liar.sock.send(data[3:])
    client.readable()
    assert client.ring(9, 0) and os.eventfd_read(fd) == 1
    os.close(fd)


def _setup(liar: Liar) -> Lie:
    with pytest.raises(ServerError) as caught:
        liar.client.setup(0.05)
    assert "\n" not in str(caught.value) and str(caught.value.lie) in str(caught.value)
    return caught.value.lie


@pytest.mark.parametrize("version", [1, -1, 1 << 40])
def test_another_version(liar: Liar, version: int) -> None:
    liar.say(version)
    assert _setup(liar) is Lie.VERSION


def test_a_version_with_a_descriptor(liar: Liar) -> None:
    liar.say(0, liar.memory)
    assert _setup(liar) is Lie.VERSION


@pytest.mark.parametrize("ident", [-1, -2, 65536, 1 << 62])
def test_an_id_that_no_doorbell_can_name(liar: Liar, ident: int) -> None:
    liar.say(0)
    liar.say(ident)
    assert _setup(liar) is Lie.ID


def test_an_id_with_a_descriptor(liar: Liar) -> None:
    liar.say(0)
    liar.say(1, liar.memory)
    assert _setup(liar) is Lie.ID


@pytest.mark.parametrize("descriptors", [0, 2])
def test_memory_comes_with_one_descriptor(liar: Liar, descriptors: int) -> None:
    liar.say(0)
    liar.say(1)
    liar.say(-1, *[liar.memory] * descriptors)
    assert _setup(liar) is Lie.MEMORY


@pytest.mark.parametrize("size", [0, 2048, 12288, 65537])
def test_memory_that_no_bar_can_have(liar: Liar, size: int) -> None:
    odd = anonymous(size)
    liar.say(0)
    liar.say(1)
    liar.say(-1, odd)
    os.close(odd)
    assert _setup(liar) is Lie.MEMORY


def test_memory_that_is_none(liar: Liar) -> None:
    liar.say(0)
    liar.say(1)
    fd = eventfd()
    liar.say(-1, fd)
    os.close(fd)
    assert _setup(liar) is Lie.MEMORY


@pytest.mark.parametrize("said", [0, 1, 2])
def test_a_server_that_hangs_up_too_early(liar: Liar, said: int) -> None:
    for number in (0, 7)[:said]:
        liar.say(number)
    liar.sock.close()
    assert _setup(liar) is Lie.CLOSED


def test_a_server_that_says_nothing(liar: Liar) -> None:
    assert _setup(liar) is Lie.CLOSED


class TestLater:
    """One complaint each, and everything else goes on."""

    @pytest.fixture(autouse=True)
    def goes_on(self, liar: Liar) -> Iterator[None]:
        client, fd = liar.connected(ident=3), eventfd()
        liar.say(1, fd)
        client.readable()
        yield
        assert client.ring(1, 0) and os.eventfd_read(fd) == 1
        os.close(fd)

    @pytest.mark.parametrize("number", [-2, 65536, -(1 << 63), (1 << 63) - 1])
    def test_numbers_that_mean_nothing(self, liar: Liar, number: int) -> None:
        told(liar, number)
        assert liar.complaints == [Lie.NUMBER]

    def test_memory_again(self, liar: Liar) -> None:
        liar.say(-1, liar.memory)
        liar.client.readable()
        assert liar.complaints == [Lie.MEMORY]

    @pytest.mark.parametrize("number", [2, 3, 65535])
    def test_a_disconnect_of_nobody_and_of_oneself(self, liar: Liar, number: int) -> None:
        told(liar, number)
        assert liar.complaints == [Lie.PEER]

    def test_more_vectors_than_there_are(self, liar: Liar) -> None:
        for _ in range(3):
            told(liar, 9, eventfd())
        assert liar.complaints == [Lie.VECTORS] and len(liar.client.peers[9]) == 2

    def test_several_descriptors(self, liar: Liar) -> None:
        told(liar, 9, eventfd(), eventfd(), eventfd(), eventfd(), eventfd(), eventfd())
        assert liar.complaints == [Lie.DESCRIPTOR] and 9 not in liar.client.peers

    def test_a_descriptor_that_is_no_eventfd(self, liar: Liar) -> None:
        read, write = os.pipe()
        told(liar, 9, write)
        os.close(read)
        liar.say(9, liar.memory)
        liar.client.readable()
        assert liar.complaints == [Lie.DESCRIPTOR] * 2 and 9 not in liar.client.peers

    def test_a_server_that_goes_away_leaves_the_peers(self, liar: Liar) -> None:
        liar.sock.send(b"\1\2")
        liar.sock.close()
        liar.client.readable()
        liar.client.readable()
        assert liar.complaints == [Lie.GONE] and not liar.client.alive

    def test_more_descriptors_than_this_process_can_hold(self, liar: Liar) -> None:
        liar.client._room = 3
        for ident in range(10, 14):
            told(liar, ident, eventfd())
        assert liar.complaints == [Lie.CROWD] * 2 and liar.client.descriptors == 3


def test_a_peer_who_does_not_look_stops_nobody(liar: Liar) -> None:
    client, fd = liar.connected(), eventfd()
    os.eventfd_write(fd, (1 << 64) - 2)
    liar.say(1, fd)
    client.readable()
    assert client.ring(1, 0)
    assert os.eventfd_read(fd) == (1 << 64) - 2
    os.close(fd)


NUMBERS = st.one_of(st.integers(-2, 6), st.sampled_from([65535, 65536]), st.integers(-(1 << 63), (1 << 63) - 1))
SAID = st.lists(st.tuples(NUMBERS, st.lists(st.sampled_from(["eventfd", "memory", "pipe"]), max_size=2)), max_size=12)


@settings(max_examples=150 * THOROUGH)
@given(SAID, SAID, st.binary(max_size=7))
def test_whatever_a_server_says(before: list[tuple[int, list[str]]], after: list[tuple[int, list[str]]], rest: bytes) -> None:
    """Only ``ServerError`` comes out, under a name; what was believed is consistent, and no descriptor is lost."""
    descriptors = open_descriptors()
    liar = Liar()
    read, write = os.pipe()
    fds = {"eventfd": eventfd(), "memory": liar.memory, "pipe": write}
    try:
        for number, kinds in [(0, []), *before] if before and before[0][0] else before:
            liar.say(number, *(fds[kind] for kind in kinds))
        liar.greet()
        try:
            liar.client.setup(0.2)
        except ServerError as error:
            assert error.lie in (Lie.VERSION, Lie.ID, Lie.MEMORY)
        else:
            for number, kinds in after:
                liar.say(number, *(fds[kind] for kind in kinds))
            liar.sock.send(rest)
            liar.sock.close()
            liar.client.readable()
            assert set(liar.complaints) <= {str(lie) for lie in Lie} and liar.complaints[-1] == Lie.GONE
            assert liar.complaints.count(Lie.GONE) == 1
            assert all(0 <= peer < 65536 and 1 <= len(known) <= 2 for peer, known in liar.client.peers.items())
    finally:
        liar.close()
        for fd in (fds["eventfd"], read, write):
            os.close(fd)
    assert open_descriptors() == descriptors
