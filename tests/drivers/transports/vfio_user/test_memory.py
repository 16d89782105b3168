"""DMA memory: what the server is told of it and given, and a device that must ask for it by message."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import DeviceGone, DriverError, NotSupported
from drivers.transports.vfio_user.memory import LOOK_EVERY
from regmodel.errors import UsageError
from tests.drivers.transports.contract import DONE, dma
from tests.emulators.pci import testdevice

from .conftest import Attach, open_fds
from .scripted import DMA_MAP, DMA_UNMAP, DMA_WRITE, NO_REPLY, REGION_WRITE, Peer, Request, message
from .serving import Served


def test_what_the_server_is_given(attach: Attach) -> None:
    """A sealed memfd, so that it may map the file without fear of SIGBUS."""
    given: list[tuple[bytes, int, int, bytes]] = []

    def take(peer: Peer, request: Request) -> None:
        (fd,) = request.fds
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        given.append((request.body, os.fstat(fd).st_size, seals, os.pread(fd, 4, 0)))
        os.pwrite(fd, b"abcd", 4096)
        peer.reply(request)

    client, _ = attach({DMA_MAP: take})
    buffer = client.alloc(5000)
    body = struct.pack("<IIQQQ", 32, 3, 0, buffer.iova, 8192)
    assert given == [(body, 8192, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL, bytes(4))]
    assert bytes(buffer.view[4096:4100]) == b"abcd"


def test_memory_costs_one_descriptor(attach: Attach) -> None:
    """That of Python's ``mmap``, which keeps one as long as it lives."""
    client, _ = attach()
    before = open_fds()
    buffers = [client.alloc(4096) for _ in range(10)]
    assert len(open_fds()) == len(before) + 10
    for buffer in buffers:
        buffer.free()
    assert open_fds() == before


def test_what_is_freed_is_unmapped(attach: Attach) -> None:
    client, server = attach()
    buffer = client.alloc(5000)
    buffer.free()
    (request,) = [r for r in server.requests if r.command == DMA_UNMAP]
    assert request.body == struct.pack("<IIQQ", 24, 0, 0x10000000, 8192)


def test_closing_unmaps_everything(attach: Attach) -> None:
    client, server = attach()
    iovas = [client.alloc(4096).iova for _ in range(3)]
    client.close()
    assert [struct.unpack_from("<Q", r.body, 8)[0] for r in server.requests if r.command == DMA_UNMAP] == iovas


@pytest.mark.parametrize("capabilities", [{"max_msg_fds": 0}, {}])
def test_memory_that_the_server_must_ask_for(attach: Attach, capabilities: dict[str, int]) -> None:
    """Because it takes no descriptors, or because we keep them."""
    client, server = attach(share_memory=bool(capabilities), **capabilities)
    client.alloc(4096)
    assert [r.fds for r in server.requests if r.command == DMA_MAP] == [[]]


def test_a_map_that_is_refused_leaves_nothing(attach: Attach) -> None:
    client, server = attach({DMA_MAP: lambda peer, request: peer.refuse(request, errno.ENOSPC)})
    with pytest.raises(DriverError, match="refuses DMA_MAP of 0x1000 bytes: No space left"):
        client.alloc(4096)
    server.handlers.clear()
    assert client.alloc(4096).iova == 0x1000_0000


def test_an_unmap_that_is_refused(attach: Attach) -> None:
    client, server = attach()
    buffer = client.alloc(4096)
    server.handlers[DMA_UNMAP] = lambda peer, request: peer.refuse(request, errno.ENOENT)
    with pytest.raises(DriverError, match="refuses DMA_UNMAP of 0x10000000"):
        buffer.free()
    server.handlers.clear()
    buffer.free()


def test_no_more_maps_than_the_server_takes(attach: Attach) -> None:
    client, _ = attach(max_dma_maps=2)
    first = client.alloc(4096)
    client.alloc(4096)
    with pytest.raises(NotSupported, match="no more than 2 DMA maps"):
        client.alloc(4096)
    first.free()
    client.alloc(4096)


def test_the_page_of_the_server(attach: Attach) -> None:
    client, _ = attach(pgsizes=1 << 16 | 1 << 21)
    one, other = client.alloc(4096), client.alloc(4096)
    assert (one.iova, other.iova) == (0x1000_0000, 0x1001_0000)
    assert one.size == len(one.view) == 1 << 16


def test_memory_that_is_still_looked_at_when_it_is_freed(attach: Attach) -> None:
    """A numpy array over a ring outlives the driver: it stays memory, nobody's but its own."""
    client, _ = attach()
    buffer = client.alloc(4096)
    ring = np.frombuffer(buffer.view, dtype="<u4")
    buffer.free()
    assert ring.sum() == 0
    with pytest.raises(UsageError, match="not allocated"):
        buffer.free()


def test_freeing_after_the_server_has_gone(attach: Attach) -> None:
    client, server = attach()
    buffer = client.alloc(4096)
    server.handlers[REGION_WRITE] = lambda peer, request: peer.sock.close()
    with pytest.raises(DeviceGone):
        client.config_write(4, 2, 0)
    buffer.free()


def test_a_driver_that_only_looks_at_memory_answers_the_server(attach: Attach) -> None:
    """A server may ask for what it could have mapped. It is heard at the latest after ``LOOK_EVERY`` hand-overs."""
    client, server = attach()
    buffer = client.alloc(4096)

    def write(peer: Peer, request: Request) -> None:
        peer.send(message(1, DMA_WRITE, struct.pack("<QQ", buffer.iova, 1) + b"x", flags=NO_REPLY))
        done.append(True)

    done: list[bool] = []
    server.handlers[REGION_WRITE] = write
    client.bar(0).u32[0] = 1
    while not done:
        os.sched_yield()
    for _ in range(LOOK_EVERY):
        buffer.sync_for_cpu()
    assert buffer.view[0] == ord("x")
    client.bar(0).u32[0] = 1
    buffer.view[0] = 0
    while len(done) < 2:
        os.sched_yield()
    buffer.sync_for_cpu()
    assert buffer.view[0] == ord("x"), "it is known now as one that asks"


# -- our own server, with memory that came without a file


def test_our_server_asks(tmp_path: Path) -> None:
    with Served(testdevice.DEVICE, tmp_path / "s") as device, device.open(share_memory=False) as client:
        client.config_write(4, 2, 6)
        buffer = client.alloc(8192)
        for at in (0, 4094, 8188):
            assert dma(client, buffer.iova + at, 0x01020304) == DONE
            assert bytes(buffer.view[at : at + 4]) == b"\4\3\2\1"
        assert client._channel.asked == 3
        buffer.free()


def test_our_server_asks_across_two_buffers(tmp_path: Path) -> None:
    with Served(testdevice.DEVICE, tmp_path / "s") as device, device.open(share_memory=False) as client:
        client.config_write(4, 2, 6)
        one, other = client.alloc(4096), client.alloc(4096)
        assert dma(client, other.iova - 2, 0x01020304) == DONE
        assert bytes(one.view[-2:]) + bytes(other.view[:2]) == b"\4\3\2\1"


def test_waiting_for_an_interrupt_of_a_device_that_must_ask(tmp_path: Path) -> None:
    """The interrupt comes behind the data: whoever has seen it sees them."""
    with Served(testdevice.DEVICE, tmp_path / "s") as device, device.open(share_memory=False) as client:
        client.config_write(4, 2, 6)
        buffer = client.alloc(4096)
        burst = device.function.model._burst

        def then_interrupt() -> bool:
            burst()
            device.function.host.irq(1)
            return False

        device.function.model._burst = then_interrupt
        client.enable_irqs(3)
        bar = client.bar(0).u32
        for value in range(1, 50):
            bar[testdevice.REGISTERS.entries["scratch"].offsets[0] // 4] = value
            bar[0x20 // 4] = buffer.iova
            bar[0x28 // 4] = 1
            assert list(client.wait_irq(5)) == [1]
            assert int.from_bytes(buffer.view[:4], "little") == value
