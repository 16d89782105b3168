"""Recording and tee on a device that does not wait for the driver: our server in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers.nics.igbvf import IgbVf
from drivers.transports import Transport
from drivers.transports.in_process import open_functions
from drivers.transports.record import Record
from drivers.transports.recording import read_recording
from drivers.transports.replay import Replay
from drivers.transports.tee import Tee
from drivers.transports.vfio_user import open as open_vfio_user
from emulators.process import ServerProcess
from regmodel.devices.igbvf import IGBVF
from tests.drivers.nics.igbvf.bench import Side, frame

LONG, BURSTS, BATCH = 10.0, 12, 8
MAC, PEER = bytes.fromhex("02a0b1c2d3e4"), bytes.fromhex("02a0b1c2d3e5")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(["igbvf", "igbvf"], folder=tmp_path) as server:
        yield server


def side(transport: Transport, mac: bytes) -> Side:
    port = IgbVf(transport, IGBVF)
    port.mac_addr_set(mac)
    return Side(port, rings=64, buffers=256)


def echo(transport: Transport, arrive: Callable[[list[bytes]], None]) -> list[list[bytes]]:
    """Send back what comes, batch by batch: each is waited for, however many looks that takes."""
    me = side(transport, MAC)
    seen = []
    for burst in range(BURSTS):
        arrive([frame(MAC, PEER, 60 + 90 * i + burst, burst * BATCH + i) for i in range(BATCH)])
        got: list[bytes] = []
        end = transport.now() + LONG
        while len(got) < BATCH and transport.now() < end:
            got += me.receive()
        seen.append(got)
        me.send(*(PEER + MAC + packet[12:] for packet in got))
        me.settle()
    me.port.close()
    return seen


class Peer:
    """The other VF: sends what the echo is to get, and takes what comes back."""

    def __init__(self, transport: Transport) -> None:
        self.side = side(transport, PEER)

    def send(self, packets: list[bytes]) -> None:
        todo = np.array([self.side.pool.put(packet) for packet in packets], np.intp)
        assert self.side.send_packets(todo) == len(packets)

    def returned(self, count: int) -> list[bytes]:
        got: list[bytes] = []
        end = self.side.port.transport.now() + LONG
        while len(got) < count and self.side.port.transport.now() < end:
            got += self.side.receive()
        return got


def expected(seen: list[list[bytes]]) -> list[bytes]:
    return [PEER + MAC + packet[12:] for got in seen for packet in got]


def test_a_live_recording_replays_strictly(tmp_path: Path, server: ServerProcess) -> None:
    """Whatever the driver saw between two writes of the device is what was written down."""
    path = tmp_path / "echo"
    with open_vfio_user(str(server.sockets[1]), IGBVF) as other:
        peer, back = Peer(other), []

        def arrive(packets: list[bytes]) -> None:
            back.extend(peer.side.receive())
            peer.send(packets)

        with Record(open_vfio_user(str(server.sockets[0]), IGBVF), IGBVF, path) as transport:
            seen = echo(transport, arrive)
        assert [len(got) for got in seen] == [BATCH] * BURSTS
        assert back + peer.returned(BURSTS * BATCH - len(back)) == expected(seen)
    for tolerant in (False, True):
        with Replay(read_recording(path), IGBVF, tolerant=tolerant) as transport:
            assert echo(transport, lambda packets: None) == seen


def test_a_model_and_a_server_do_the_same(server: ServerProcess) -> None:
    """The model in this process and the one in the other, in lock-step, each with a peer of its own."""
    ours, our_peer = open_functions(IGBVF, 2)
    theirs, their_peer = (open_vfio_user(str(path), IGBVF) for path in server.sockets)
    with our_peer, their_peer:
        peers = Peer(our_peer), Peer(their_peer)

        def arrive(packets: list[bytes]) -> None:
            for peer in peers:
                peer.side.receive()
                peer.send(packets)

        with Tee(ours, theirs, IGBVF, grace=5.0) as tee:
            seen = echo(tee, arrive)
        assert [len(got) for got in seen] == [BATCH] * BURSTS
        assert not tee.accepted
