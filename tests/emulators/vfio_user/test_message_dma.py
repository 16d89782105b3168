"""Guest memory without a file: the messages, byte by byte, and what happens while the device waits for them."""

from __future__ import annotations

import errno
import struct

import pytest

from emulators.vfio_user.message_dma import PATIENCE, WIRES
from emulators.vfio_user.server import Server
from regmodel.errors import DmaFault
from regmodel.function import Irq, ResetCause

from . import client as c
from .client import Client

PAGE = 4096


class Burst:
    """Deferred work of a device: runs ``work``, keeps what it returned or raised."""

    def __init__(self, loop, work):
        self.result: object = None
        self.done = False
        self._work = work
        loop.defer(self)
        loop.settle()

    def __call__(self) -> bool:
        try:
            self.result = self._work()
        except DmaFault as fault:
            self.result = fault
        self.done = True
        return False


@pytest.fixture
def mapped(client):
    assert client.map(0x10000, 0x40000) == 0
    return client


def asked(client: Client, command: int) -> tuple[c.Message, int, int]:
    request = client.receive()
    assert request is not None and request.command == command and request.flags == 0
    return request, *struct.unpack_from("<QQ", request.body)


def answer(client: Client, request: c.Message, body: bytes, flags: int = c.REPLY, error: int = 0, **more: int) -> None:
    head = struct.pack("<HHIII", request.ident, more.get("command", request.command), 16 + len(body), flags, error)
    client.send_raw(head + body)


def test_read(mapped, dut, loop):
    burst = Burst(loop, lambda: dut.dma.read(0x10010, 5))
    request, address, count = asked(mapped, c.DMA_READ)
    assert (address, count, len(request.body)) == (0x10010, 5, 16)
    assert not burst.done
    answer(mapped, request, struct.pack("<QQ", 0x10010, 5) + b"hello")
    assert burst.result == b"hello"


def test_write(mapped, dut, loop):
    burst = Burst(loop, lambda: dut.dma.write(0x10010, b"hello"))
    request, address, count = asked(mapped, c.DMA_WRITE)
    assert (address, count, request.body[16:]) == (0x10010, 5, b"hello")
    assert not burst.done
    answer(mapped, request, struct.pack("<QQ", 0x10010, 5))
    assert burst.done and burst.result is None


def test_the_layout_of_qemu_10(loop, dut, tmp_path):
    server = Server(loop, dut, tmp_path / "ten", dma_wire="qemu-10")
    with Client(loop, server.path) as client:
        assert client.map(0, PAGE) == 0
        burst = Burst(loop, lambda: dut.dma.read(8, 3))
        request = client.receive()
        assert request.body == struct.pack("<QI", 8, 3) + bytes(4)
        answer(client, request, struct.pack("<QI", 8, 3) + b"abc" + bytes(4))
        assert burst.result == b"abc"
        burst = Burst(loop, lambda: dut.dma.write(8, b"defgh"))
        request = client.receive()
        assert request.body == struct.pack("<QI", 8, 5) + b"defgh" + bytes(4)
        answer(client, request, struct.pack("<QI", 8, 5))
        assert burst.done and burst.result is None
    server.close()
    assert set(WIRES) == {"spec", "qemu-10"}


def test_long_ones_go_in_pieces(mapped, dut, loop):
    data = bytes(range(256)) * 600
    burst = Burst(loop, lambda: dut.dma.write(0x10000, data))
    seen = b""
    for _ in range(3):
        request, address, count = asked(mapped, c.DMA_WRITE)
        assert address == 0x10000 + len(seen) and count <= 65536
        seen += request.body[16:]
        answer(mapped, request, struct.pack("<QQ", address, count))
    assert burst.done and seen == data


def test_a_client_may_take_less(loop, server, dut):
    with Client(loop, server.path, json=b'{"capabilities":{"max_data_xfer_size":1000}}\0') as client:
        assert client.map(0, PAGE) == 0
        burst = Burst(loop, lambda: dut.dma.read(0, 1500))
        for address, size in ((0, 1000), (1000, 500)):
            request, *where = asked(client, c.DMA_READ)
            assert where == [address, size]
            answer(client, request, struct.pack("<QQ", address, size) + bytes(size))
        assert burst.result == bytes(1500)


def test_across_a_file_and_messages(mapped, dut, loop, guest_memory):
    assert mapped.map(0xF000, PAGE, guest_memory) == 0
    burst = Burst(loop, lambda: dut.dma.read(0xFFFE, 4))
    request, address, count = asked(mapped, c.DMA_READ)
    assert (address, count) == (0x10000, 2)
    answer(mapped, request, struct.pack("<QQ", 0x10000, 2) + b"xy")
    assert burst.result == b"\0\0xy"


def test_registers_are_answered_meanwhile(mapped, dut, loop):
    """The guest that waits for a register is the one that is to answer the device."""
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    for value in range(5):
        mapped.post(0, 0, bytes((value, 0, 0, 0)))
        assert mapped.read(0, 0, 4)[0] == value
    assert mapped.map(0x80000, PAGE) == 0
    assert not burst.done
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"done")
    assert burst.result == b"done"


def test_a_register_access_must_not_wait(mapped, dut, caplog):
    dut.on_read = lambda offset: int.from_bytes(dut.dma.read(0x10000, 4), "little")
    assert mapped.call(c.REGION_READ, struct.pack("<QII", 0, 0, 4)).error == errno.EIO
    assert mapped.silent()
    assert "defer a burst" in caplog.text


def test_other_bursts_wait_their_turn(mapped, dut, loop):
    order = []

    def first() -> bytes:
        order.append("first begins")
        data = bytes(dut.dma.read(0x10000, 4))
        order.append("first ends")
        return data

    Burst(loop, first)
    Burst(loop, lambda: order.append("second"))
    loop.call_at(loop.now(), lambda: order.append("timer"))
    loop.settle()
    assert order == ["first begins"]
    request, *_ = asked(mapped, c.DMA_READ)
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"1234")
    loop.settle()
    assert order[:2] == ["first begins", "first ends"] and set(order[2:]) == {"second", "timer"}


@pytest.mark.parametrize(
    ("body", "flags", "error", "why"),
    [
        (b"", c.REPLY | c.ERROR, errno.ENODEV, "No such device"),
        (b"", c.REPLY | c.ERROR, 0, "refused"),
        (b"", c.REPLY, 0, "16 bytes instead of 36"),
        (struct.pack("<QQ", 0x10000, 4) + b"123", c.REPLY, 0, "35 bytes instead of 36"),
        (struct.pack("<QQ", 0x10000, 4) + b"12345", c.REPLY, 0, "37 bytes instead of 36"),
        (struct.pack("<QQ", 0x10000, 5) + b"1234", c.REPLY, 0, "another address or size"),
        (struct.pack("<QQ", 0x20000, 4) + b"1234", c.REPLY, 0, "another address or size"),
    ],
)
def test_bad_replies(mapped, dut, loop, body, flags, error, why):
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    answer(mapped, request, body, flags, error)
    assert isinstance(burst.result, DmaFault) and why in str(burst.result)
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"fine")
    assert burst.result == b"fine"


def test_replies_to_something_else_are_not_taken(mapped, dut, loop, server):
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    body = struct.pack("<QQ", 0x10000, 4) + b"evil"
    answer(mapped, request, body, command=c.DMA_WRITE)
    mapped.send(c.DMA_READ, body, flags=c.REPLY, ident=request.ident ^ 1)
    assert not burst.done and server.connection.refused == 2
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"good")
    assert burst.result == b"good"


def test_no_answer(mapped, dut, loop, clock):
    """One wait, then refusals at once, until the client speaks again; the late answer is taken as that and no more."""
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    clock.advance(PATIENCE - 1)
    loop.settle()
    assert not burst.done
    clock.advance(1)
    loop.settle()
    assert "in time" in str(burst.result)
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    assert burst.done and "has not answered an earlier" in str(burst.result)
    assert mapped.silent()
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"late")
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
    request, *_ = asked(mapped, c.DMA_READ)
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4) + b"next")
    assert burst.result == b"next"


@pytest.mark.parametrize("event", ["unmap", "unmap all", "reset", "disconnect"])
def test_what_is_under_way_ends_with_the_map(loop, server, dut, event):
    with Client(loop, server.path) as client:
        assert client.map(0x10000, PAGE) == 0
        burst = Burst(loop, lambda: dut.dma.read(0x10000, 4))
        request, *_ = asked(client, c.DMA_READ)
        match event:
            case "unmap":
                assert client.unmap(0x10000, PAGE) == 0
            case "unmap all":
                assert client.unmap(0, 0, flags=2) == 0
            case "reset":
                assert client.call(c.RESET).error == 0
                assert dut.log[-1] == ("reset", ResetCause.BUS)
            case "disconnect":
                client.close()
        loop.settle()
        assert burst.done and isinstance(burst.result, DmaFault)
        if event != "disconnect":  # the answer that was on its way is no surprise
            answer(client, request, struct.pack("<QQ", 0x10000, 4) + b"late")
            assert server.connection.refused == 0 and client.read(0, 0, 4) == bytes(4)


def test_ids_wrap(mapped, dut, loop, server):
    server.connection.dma._next_id = 0xFFFF
    for expected in (0xFFFF, 0):
        burst = Burst(loop, lambda: dut.dma.read(0x10000, 1))
        request, *_ = asked(mapped, c.DMA_READ)
        assert request.ident == expected
        answer(mapped, request, struct.pack("<QQ", 0x10000, 1) + b"x")
        assert burst.result == b"x"


def test_bus_master_gates_messages_too(mapped, dut, loop):
    dut.dma.enabled = False
    burst = Burst(loop, lambda: dut.dma.read(0x10000, 1))
    assert "bus mastering is off" in str(burst.result) and mapped.silent()


def test_an_interrupt_after_the_data(mapped, dut, loop):
    """A burst that writes and then fires: the order holds although it was suspended."""
    import os

    event = os.eventfd(0, os.EFD_NONBLOCK)
    assert mapped.set_irqs(c.ARM, c.MSIX, 0, 1, [event]) == 0

    def work() -> None:
        dut.dma.write(0x10000, b"data")
        dut.triggers[Irq.MSIX, 0]()

    Burst(loop, work)
    request, *_ = asked(mapped, c.DMA_WRITE)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(event)
    answer(mapped, request, struct.pack("<QQ", 0x10000, 4))
    assert os.eventfd_read(event) == 1
    os.close(event)
