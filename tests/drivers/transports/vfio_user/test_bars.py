"""What a server says of its regions, and what becomes of areas that it lets us map."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.errors import UnsupportedReply
from drivers.transports.vfio_user import VfioUser
from regmodel.errors import UsageError
from tests.emulators.pci import testdevice

from .conftest import Attach
from .scripted import BAR_SIZE, GET_REGION_INFO, NO_REPLY, REGION_READ, REGION_WRITE, Peer, Request, Scripted
from .serving import Served, settled

READ, WRITE, MMAP, CAPS = 1, 2, 4, 8
SPARSE, OTHER = 1, 2


@pytest.fixture
def file() -> Iterator[int]:
    """The file of a BAR of four pages, each filled with its number; the BAR begins at its second page."""
    fd = os.memfd_create("bar")
    os.write(fd, b"".join(bytes([page]) * 4096 for page in range(5)))
    yield fd
    os.close(fd)


def region(
    server: Scripted, fd: int, *, size: int = 0x4000, flags: int = READ | WRITE | MMAP, offset: int = 0x1000,
    capabilities: bytes = b"", at: int = 32, fds: int = 1,
) -> None:  # fmt: skip
    """Have region 0 described so."""

    def info(peer: Peer, request: Request) -> None:
        argsz, _, index = struct.unpack_from("<III", request.body)
        if index:
            server.answer(peer, request)
            return
        room = 32 + len(capabilities)
        full = flags | (CAPS if capabilities else 0)
        body = struct.pack("<IIIIQQ", room, full, 0, at if capabilities else 0, size, offset)
        peer.reply(request, (body + capabilities)[:argsz], [fd] * fds)

    server.handlers[GET_REGION_INFO] = info


def sparse(*areas: tuple[int, int], after: int = 0) -> bytes:
    return struct.pack("<HHIII", SPARSE, 1, after, len(areas), 0) + b"".join(struct.pack("<QQ", *area) for area in areas)


@pytest.fixture
def script(tmp_path: Path, no_leak: None) -> Iterator[Scripted]:
    with Scripted(tmp_path / "s") as server:
        yield server


def test_a_bar_that_is_mapped_whole(script: Scripted, file: int) -> None:
    region(script, file)
    with VfioUser(str(script.path)) as client:
        bar = client.bar(0)
        before = len(script.requests)
        assert isinstance(bar.u32, memoryview), "an access costs what a memoryview costs"
        assert [bar.u8[0x0000], bar.u16[0x800], bar.u32[0x800], bar.u64[0x600]] == [1, 0x0202, 0x03030303, 0x0404040404040404]
        bar.u32[1] = 0x11223344
        assert bar.read(4, 4) == 0x11223344 and os.pread(file, 4, 0x1004) == b"\x44\x33\x22\x11"
        bar.write(8, 8, 5)
        assert os.pread(file, 8, 0x1008) == b"\5\0\0\0\0\0\0\0"
        assert len(script.requests) == before, "no message"
        view = bar.u32
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_areas(script: Scripted, file: int) -> None:
    """Asked twice: the first time for how much room the capabilities need. The rest is reached by messages, and waited for."""
    region(script, file, capabilities=sparse((0x3000, 0x1000), (0x1000, 0x1000)))
    with VfioUser(str(script.path)) as client:
        asked = [struct.unpack_from("<III", r.body) for r in script.requests if r.command == GET_REGION_INFO]
        assert [argsz for argsz, _, index in asked if index == 0] == [32, 32 + 16 + 32]
        bar = client.bar(0)
        before = len(script.requests)
        assert [bar.u8[at] for at in (0x1000, 0x1FFF, 0x3000, 0x3FFF)] == [2, 2, 4, 4]
        bar.u16[0x1000 // 2] = 0xABCD
        assert os.pread(file, 2, 0x2000) == b"\xcd\xab" and len(script.requests) == before
        assert [bar.u32[0xFFC // 4], bar.u32[0x2000 // 4]] == [0xFFC, 0x2000]
        bar.u32[0x2000 // 4] = 1
        assert [(r.command, r.flags) for r in script.requests[before:]] == [
            (REGION_READ, 0), (REGION_READ, 0), (REGION_WRITE, 0),
        ]  # fmt: skip


def test_areas_behind_another_capability(script: Scripted, file: int) -> None:
    region(script, file, capabilities=struct.pack("<HHI", OTHER, 1, 40) + sparse((0x1000, 0x1000)))
    with VfioUser(str(script.path)) as client:
        assert [client.bar(0).u8[at] for at in (0x1000, 0)] == [2, 0]


def test_capabilities_without_areas(script: Scripted, file: int) -> None:
    region(script, file, capabilities=struct.pack("<HHI", OTHER, 1, 0))
    with VfioUser(str(script.path)) as client:
        assert [client.bar(0).u8[at] for at in (0x1000, 0)] == [2, 1]


ODD = {
    "a capability at 16": {"capabilities": sparse((0, 0x1000)), "at": 16},
    "a capability at 64": {"capabilities": sparse((0, 0x1000)), "at": 64},
    "a capability at 32": {"capabilities": struct.pack("<HHI", OTHER, 1, 32)},
    "a capability at 44": {"capabilities": struct.pack("<HHI", OTHER, 1, 44) + bytes(8)},
    "999 areas": {"capabilities": struct.pack("<HHIII", SPARSE, 1, 0, 999, 0)},
    "0 areas in 40 bytes": {"capabilities": struct.pack("<HHI", SPARSE, 1, 0)},
    "beyond the region": {"capabilities": sparse((0x3000, 0x2000))},
    "an area of 0x1000 bytes at 0x1000": {"capabilities": sparse((0, 0x2000), (0x1000, 0x1000))},
    "an area of 0xffffffffffffffff bytes": {"capabilities": sparse((0, (1 << 64) - 1))},
}


@pytest.mark.parametrize("says", ODD)
def test_areas_that_cannot_be(script: Scripted, file: int, says: str) -> None:
    region(script, file, **ODD[says])  # type: ignore[arg-type]
    with pytest.raises(UnsupportedReply, match=f"DEVICE_GET_REGION_INFO of region 0 answered with .*{says}.*a faulty server"):
        VfioUser(str(script.path))


@pytest.mark.parametrize("body", [b"", bytes(31), struct.pack("<IIIIQQ", 32, 3, 1, 0, 4096, 0)])
def test_region_information_that_cannot_be(script: Scripted, body: bytes) -> None:
    script.handlers[GET_REGION_INFO] = lambda peer, request: peer.reply(request, body)
    with pytest.raises(UnsupportedReply, match="DEVICE_GET_REGION_INFO of region"):
        VfioUser(str(script.path))


NOT_MAPPED = {
    "no descriptor": {"fds": 0},
    "two descriptors": {"fds": 2},
    "not offered": {"flags": READ | WRITE},
    "the file is too short": {"offset": 0x2000},
    "no whole pages": {"offset": 0x800},
    "an area that is no page": {"capabilities": sparse((0x800, 0x800))},
}


@pytest.mark.parametrize("why", NOT_MAPPED)
def test_what_is_not_mapped_is_reached_by_messages(script: Scripted, file: int, why: str) -> None:
    region(script, file, **NOT_MAPPED[why])  # type: ignore[arg-type]
    with VfioUser(str(script.path)) as client:
        bar = client.bar(0)
        bar.u32[1] = 5
        assert bar.u32[0x800 // 4] == 0x800
        assert [r.flags for r in script.requests if r.command == REGION_WRITE] == [NO_REPLY]


def test_a_bar_that_is_mapped_for_reading(script: Scripted, file: int) -> None:
    region(script, file, flags=READ | MMAP)
    with VfioUser(str(script.path)) as client:
        bar = client.bar(0)
        assert bar.u32[0] == 0x01010101
        with pytest.raises(TypeError, match="read-only"):
            bar.u32[0] = 1


def test_bars_of_a_function(attach: Attach) -> None:
    client, _ = attach()
    assert (client.bar(0).size, len(client.bar(0).u32)) == (BAR_SIZE, BAR_SIZE // 4)
    assert client.bar(0) is client.bar(0)
    with pytest.raises(UsageError, match="has no BAR 1; it has 0"):
        client.bar(1)


def test_pages_of_our_own_server(tmp_path: Path) -> None:
    """The driver stores into the device's own bytes; the registers before them are reached by messages."""
    with Served(testdevice.DEVICE, tmp_path / "s") as device, device.open() as client:
        client.config_write(4, 2, 6)
        bar = client.bar(2)
        before = device.server.connection.messages[:]  # type: ignore[union-attr]
        bar.u32[testdevice.SHARED_AT // 4] = 0xC0FFEE
        bar.u64[testdevice.SHARED_AT // 8 + 1] = 7
        settled(client)
        pages = device.function.model.shared[2].view
        assert pages[testdevice.SHARED_AT : testdevice.SHARED_AT + 4] == b"\xee\xff\xc0\x00"
        after = device.server.connection.messages  # type: ignore[union-attr]
        assert sum(after) - sum(before) == 1, "the read of settled()"
        assert bar.u32[0] == 0x33333333
        assert client.bar(1).u32[0] == 0xFFFFFFFF, "I/O space is not decoded"
