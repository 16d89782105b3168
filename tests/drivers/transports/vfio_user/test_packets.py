"""The igbvf driver, unchanged, on two VFs of a server in another process: packets both ways, content checked; with memory
that the server maps, and with memory that it must ask for by message, on either side or on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from drivers.nics.igbvf import IgbVf
from drivers.transports.vfio_user import VfioUser
from drivers.transports.vfio_user import open as open_vfio_user
from emulators.process import ServerProcess
from regmodel.devices.igbvf import IGBVF
from tests.drivers.nics.igbvf.bench import Side, frame

LONG = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(["igbvf", "igbvf"], folder=tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(params=["shared shared", "messages shared", "shared messages", "messages messages"])
def transports(request: pytest.FixtureRequest, server: ServerProcess, no_leak: None) -> Iterator[list[VfioUser]]:
    kinds = request.param.split()
    opened = [open_vfio_user(str(path), IGBVF, dma=dma) for path, dma in zip(server.sockets, kinds, strict=True)]
    yield opened
    for transport in opened:
        transport.close()


def send(sender: Side, packets: list[bytes]) -> None:
    """All of ``packets``: the ring may be full of those before them for a moment."""
    todo = np.array([sender.pool.put(packet) for packet in packets], np.intp)
    end = sender.port.transport.now() + LONG
    while len(todo):
        todo = todo[sender.send_packets(todo) :]
        assert sender.port.transport.now() < end, "the ring stays full"


def gather(receiver: Side, count: int, meanwhile: Callable[[], object]) -> list[bytes]:
    """``count`` packets, as they come. ``meanwhile`` is done between two looks."""
    got: list[bytes] = []
    end = receiver.port.transport.now() + LONG
    while len(got) < count and receiver.port.transport.now() < end:
        got += receiver.receive()
        meanwhile()
    return got


def test_packets_both_ways(transports: list[VfioUser]) -> None:
    sides = [Side(IgbVf(transport, IGBVF), mtu=9000, buffers=256) for transport in transports]
    for sender, receiver in (sides, sides[::-1]):
        to, own = receiver.port.mac_addr, sender.port.mac_addr
        for start in range(0, 96, 8):
            packets = [frame(to, own, 60 + 89 * (start + i), start + i) for i in range(8)]
            send(sender, packets)
            assert gather(receiver, 8, sender.settle) == packets
    for side in sides:
        side.port.close()


def test_the_server_asked_for_what_it_was_not_given(transports: list[VfioUser]) -> None:
    a, b = (Side(IgbVf(transport, IGBVF)) for transport in transports)
    send(a, [frame(b.port.mac_addr, a.port.mac_addr, 60)])
    assert len(gather(b, 1, a.settle)) == 1
    for transport in transports:
        by_message = not transport._memory._share
        assert bool(transport._channel.asked) == by_message
    for side in (a, b):
        side.port.close()


def test_interrupts_of_packets(transports: list[VfioUser]) -> None:
    a, b = (Side(IgbVf(transport, IGBVF)) for transport in transports)
    b.port.rx_intr_enable(0)
    send(a, [frame(b.port.mac_addr, a.port.mac_addr, 60)])
    fired: list[int] = []
    end = b.port.transport.now() + LONG
    while 0 not in fired and b.port.transport.now() < end:
        a.port.transport.sleep(0.002)  # a server that must ask for the packet, asks
        fired += b.port.intr_wait(0.002)[0]
    assert 0 in fired
    assert len(gather(b, 1, a.settle)) == 1
    for side in (a, b):
        side.port.close()
