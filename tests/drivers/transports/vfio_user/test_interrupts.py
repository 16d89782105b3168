"""Interrupts: what the server is told, in how many messages, and what the client hears of it."""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from pathlib import Path

import pytest

from drivers.errors import DeviceGone, DriverError, NotSupported
from regmodel.errors import UsageError
from regmodel.function import Irq
from tests.emulators.pci import testdevice

from .conftest import Attach
from .scripted import (
    DMA_WRITE,
    GET_INFO,
    GET_IRQ_INFO,
    NO_REPLY,
    REGION_WRITE,
    SET_IRQS,
    Peer,
    Request,
    Scripted,
    message,
)
from .serving import Served, settled

ARM, DISARM, UNMASK = 0x24, 0x21, 0x11
LONG = 3600.0
"""Seconds, more than a test may take: that a wait of so long returns shows that something has ended it."""


def sets(server: Scripted) -> list[tuple[int, int, int, int, int]]:
    """(flags, index, start, count, descriptors) of each SET_IRQS."""
    return [(*struct.unpack_from("<IIII", r.body, 4), r.count) for r in server.requests if isinstance(r, Counted)]


class Counted(Request):
    """A SET_IRQS, and how many descriptors it had before they were taken."""

    count = 0


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have requests remember how many descriptors they came with."""
    receive = Peer.receive

    def counted(self: Peer) -> Request:
        request = receive(self)
        if request.command == SET_IRQS:
            request.__class__ = Counted
            request.count = len(request.fds)  # type: ignore[attr-defined]
        return request

    monkeypatch.setattr(Peer, "receive", counted)


pytestmark = pytest.mark.usefixtures("counting")


def fire(server: Scripted, vector: int) -> None:
    os.eventfd_write(server.armed[vector], 1)


@pytest.mark.parametrize(
    ("max_fds", "messages"),
    [(8, [(0, 3)]), (2, [(0, 2), (2, 1)]), (1, [(0, 1), (1, 1), (2, 1)]), (100, [(0, 3)])],
)
def test_vectors_are_armed_as_the_server_takes_them(attach: Attach, max_fds: int, messages: list[tuple[int, int]]) -> None:
    client, server = attach(max_msg_fds=max_fds)
    client.enable_irqs(3)
    assert sets(server) == [(ARM, 2, start, count, count) for start, count in messages]
    fire(server, 2)
    fire(server, 0)
    fire(server, 0)
    assert list(client.wait_irq(5)) == [0, 2]
    assert list(client.wait_irq(0)) == []
    client.disable_irqs()
    assert sets(server)[-1] == (DISARM, 2, 0, 0, 0)


def test_sixteen_descriptors_are_the_most(attach: Attach) -> None:
    def info(peer: Peer, request: Request) -> None:
        peer.reply(request, struct.pack("<IIII", 16, 1, 2, 40))

    client, server = attach({GET_IRQ_INFO: info}, max_msg_fds=100)
    client.enable_irqs(40)
    assert [(start, count) for _, _, start, count, _ in sets(server)] == [(0, 16), (16, 16), (32, 8)]
    fire(server, 39)
    assert list(client.wait_irq(5)) == [39]


def test_a_server_that_takes_no_descriptors(attach: Attach) -> None:
    client, _ = attach(max_msg_fds=0)
    with pytest.raises(NotSupported, match="cannot deliver interrupts: poll instead"):
        client.enable_irqs(1)


def test_interrupts_without_eventfds(attach: Attach) -> None:
    """VFIO_IRQ_INFO_EVENTFD is not set: there is no way to deliver them."""
    client, _ = attach({GET_IRQ_INFO: lambda peer, request: peer.reply(request, struct.pack("<IIII", 16, 0, 2, 3))})
    assert client.irq_vectors() == 0
    with pytest.raises(UsageError, match="has 0 MSIX vectors: 1 cannot be enabled"):
        client.enable_irqs(1)


def test_indexes_that_the_server_does_not_have(attach: Attach) -> None:
    client, server = attach({GET_INFO: lambda peer, request: peer.reply(request, struct.pack("<IIII", 16, 3, 9, 2))})
    assert client.irq_vectors(Irq.MSIX) == 0
    assert GET_IRQ_INFO not in server.commands()


def test_arming_that_is_refused_leaves_nothing(attach: Attach) -> None:
    client, server = attach({SET_IRQS: lambda peer, request: peer.refuse(request, 12)})
    with pytest.raises(DriverError, match=r"refuses SET_IRQS of MSIX: Cannot allocate memory"):
        client.enable_irqs(3)
    server.handlers.clear()
    client.enable_irqs(1)
    fire(server, 0)
    assert list(client.wait_irq(5)) == [0]


def test_the_line_is_unmasked_when_its_cause_was_seen_to(attach: Attach) -> None:
    client, server = attach()
    client.enable_irqs(1, Irq.INTX)
    assert sets(server) == [(ARM, 0, 0, 1, 1)]
    assert list(client.wait_irq(0)) == []
    fire(server, 0)
    assert list(client.wait_irq(5)) == [0]
    client.bar(0).u32[0]
    assert sets(server) == [(ARM, 0, 0, 1, 1)], "not before the driver comes back"
    assert list(client.wait_irq(0)) == []
    assert sets(server)[1:] == [(UNMASK, 0, 0, 1, 0)]
    assert list(client.wait_irq(0)) == []
    assert sets(server)[2:] == []


def test_a_server_that_dies_while_we_wait(attach: Attach) -> None:
    client, server = attach()
    client.enable_irqs(1)
    server.handlers[REGION_WRITE] = lambda peer, request: (time.sleep(0.02), peer.sock.close())
    client.bar(0).u32[0] = 1
    with pytest.raises(DeviceGone, match="hung up"):
        client.wait_irq(LONG)
    client.disable_irqs()


def test_a_server_that_never_stops_to_ask(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a wait nor a sleep is without an end by it. What it asks is left in the socket, so there is always more."""
    client, server = attach()
    client.enable_irqs(1)
    ask = message(1, DMA_WRITE, struct.pack("<QQ", 0, 0), flags=NO_REPLY)
    server.handlers[REGION_WRITE] = lambda peer, request: peer.send(ask)
    client.bar(0).u32[0] = 1
    assert client._channel.serve(LONG)
    client.bar(0).u32[0] = 1
    assert select.select([client._channel], [], [], LONG)[0]
    with monkeypatch.context() as patched:
        patched.setattr(client._channel, "serve", lambda timeout=0: True)
        for wait in (client.wait_irq, client.sleep):
            wait(0.05)


@pytest.mark.parametrize("timeout", [-1, float("inf"), float("nan")])
def test_waits_without_an_end(attach: Attach, timeout: float) -> None:
    client, _ = attach()
    for wait in (client.wait_irq, client.sleep):
        with pytest.raises(UsageError, match="cannot be waited for"):
            wait(timeout)


def test_an_interrupt_ends_the_wait(attach: Attach) -> None:
    client, server = attach()
    client.enable_irqs(2)
    timer = threading.Timer(0.02, fire, (server, 1))
    timer.start()
    assert list(client.wait_irq(LONG)) == [1]
    timer.join()


def test_waiting_does_not_burn(attach: Attach) -> None:
    client, _ = attach()
    client.enable_irqs(1)
    before = time.thread_time()
    client.wait_irq(0.2)
    client.sleep(0.2)
    assert time.thread_time() - before < 0.05


# -- what our own server sees of it


@pytest.mark.parametrize(("irq", "register", "on"), [(Irq.MSIX, 0x72, 0x8000), (Irq.MSI, 0x52, 0x0001)])
def test_enable_bits_of_configuration_space(tmp_path: Path, irq: Irq, register: int, on: int) -> None:
    """A server may go by them, as a device on a bus does."""
    with Served(testdevice.DEVICE, tmp_path / "s") as device, device.open() as client:
        client.enable_irqs(3, irq)
        control = client.config_read(register, 2)
        assert control & on
        if irq is Irq.MSI:
            assert control >> 4 & 7 == 2, "four messages"
        client.disable_irqs()
        assert not client.config_read(register, 2) & on


def test_closing_leaves_the_device_quiet(tmp_path: Path) -> None:
    with Served(testdevice.DEVICE, tmp_path / "s", keep_state=True) as device:
        with device.open() as client:
            client.config_write(4, 2, 6)
            client.alloc(4096)
            client.enable_irqs(3)
        with device.open() as client:
            settled(client)
            assert client.config_read(4, 2) == 2
            assert len(device.server.connection.maps) == 0  # type: ignore[union-attr]
            assert not device.function.msix.enabled
