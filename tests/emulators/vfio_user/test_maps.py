"""DMA maps: what is refused, how the bytes are reached, and that nothing of them is left behind."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from emulators.vfio_user.server import Server
from regmodel.errors import DmaFault

from . import client as c
from .client import Client
from .conftest import memfd, open_fds

PAGE = 4096


def test_mapped_memory_is_the_same_bytes(client, dut, guest_memory):
    assert client.map(0x100000, 0x4000, guest_memory, offset=0x2000) == 0
    os.pwrite(guest_memory, b"hello", 0x2010)
    view = dut.dma.view(0x100010, 5)
    assert view == b"hello"
    dut.dma.write(0x103FFC, b"tail")
    assert os.pread(guest_memory, 4, 0x5FFC) == b"tail"
    del view
    assert client.unmap(0x100000, 0x4000) == 0
    with pytest.raises(DmaFault, match="nothing is mapped"):
        dut.dma.read(0x100010, 5)


def test_a_file_is_mapped_once(client, dut, guest_memory):
    before = open_fds()
    for page in range(256):  # as with a vIOMMU, in any order
        assert client.map(0x10000000 + PAGE * (page * 7 % 256), PAGE, guest_memory, offset=PAGE * page) == 0
    assert len(open_fds() - before) == 2  # mmap's own, and the one that another process may be handed
    assert Path("/proc/self/maps").read_text().count("test-memory") == 1
    for page in range(256):
        assert client.unmap(0x10000000 + PAGE * page, PAGE) == 0
    assert "test-memory" not in Path("/proc/self/maps").read_text()
    assert open_fds() == before


def test_a_file_that_has_grown_is_mapped_anew(client, dut):
    import fcntl

    fd = os.memfd_create("growing", os.MFD_ALLOW_SEALING)
    os.truncate(fd, PAGE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    assert client.map(0, PAGE, fd) == 0
    os.truncate(fd, 2 * PAGE)
    assert client.map(PAGE, PAGE, fd, offset=PAGE) == 0
    dut.dma.write(PAGE - 2, b"abcd")
    assert os.pread(fd, 4, PAGE - 2) == b"abcd"
    assert client.unmap(0, PAGE) == 0 and client.unmap(PAGE, PAGE) == 0
    os.close(fd)


@pytest.mark.parametrize(
    ("iova", "size"),
    [(0x10000, PAGE), (0xF000, 2 * PAGE), (0x11000, PAGE), (0x12000, 2 * PAGE), (0, 2**63), (0x10000, 3 * PAGE)],
)
def test_overlapping(client, dut, guest_memory, iova, size):
    assert client.map(0x10000, 3 * PAGE, guest_memory) == 0
    assert client.map(iova, size) == errno.EEXIST
    assert len(dut.dma) == 1
    assert client.unmap(0x10000, 3 * PAGE) == 0


@pytest.mark.parametrize(
    ("iova", "size", "offset"),
    [(1, PAGE, 0), (0, 1, 0), (0, PAGE + 1, 0), (0, PAGE, 1), (0, 0, 0), (2**64 - PAGE, 2 * PAGE, 0), (0x800, PAGE, 0)],
)
def test_unaligned_empty_or_beyond_the_address_space(client, dut, guest_memory, iova, size, offset):
    assert client.map(iova, size, guest_memory, offset=offset) == errno.EINVAL
    assert client.map(iova, size) == errno.EINVAL or offset
    client.send(c.DMA_UNMAP, struct.pack("<IIQQ", 24, 2, 0, 0))
    client.receive()
    assert len(dut.dma) == 0


def test_the_last_page_of_the_address_space(client, dut, guest_memory):
    assert client.map(2**64 - PAGE, PAGE, guest_memory) == 0
    dut.dma.write(2**64 - 4, b"last")
    assert os.pread(guest_memory, 4, PAGE - 4) == b"last"
    with pytest.raises(DmaFault):
        dut.dma.write(2**64 - 4, b"beyond")
    assert client.unmap(2**64 - PAGE, PAGE) == 0


@pytest.mark.parametrize("flags", [0, 4, 7, 0x80000001])
def test_bad_flags(client, guest_memory, flags):
    assert client.map(0, PAGE, guest_memory, flags=flags) == errno.EINVAL


@pytest.mark.parametrize("argsz", [0, 31])
def test_bad_argsz(client, argsz):
    assert client.call(c.DMA_MAP, struct.pack("<IIQQQ", argsz, 3, 0, 0, PAGE)).error == errno.EINVAL
    assert client.call(c.DMA_UNMAP, struct.pack("<IIQQ", min(argsz, 23), 0, 0, PAGE)).error == errno.EINVAL


@pytest.mark.parametrize("size", [0, 8, 23])
def test_short(client, size):
    assert client.call(c.DMA_MAP, bytes(size)).error == errno.EINVAL
    assert client.call(c.DMA_UNMAP, bytes(size)).error == errno.EINVAL


def test_a_file_shorter_than_its_map(client, dut, guest_memory):
    assert client.map(0, 2 << 20, guest_memory) == errno.EINVAL
    assert client.map(0, PAGE, guest_memory, offset=1 << 20) == errno.EINVAL
    assert client.map(0, PAGE, guest_memory, offset=2**64 - PAGE) == errno.EINVAL
    assert client.map(0, 1 << 20, guest_memory) == 0


def test_what_is_no_file(client):
    for fds in (os.pipe(), [os.open("/", os.O_RDONLY)], [os.open("/dev/zero", os.O_RDWR)], [os.eventfd(0)]):
        assert client.map(0, PAGE, fds[0]) == errno.EINVAL
        for fd in fds:
            os.close(fd)


def test_permission(client, dut, guest_memory):
    read_only = os.open(f"/proc/self/fd/{guest_memory}", os.O_RDONLY)
    assert client.map(0, PAGE, read_only) == errno.EACCES
    assert client.map(0, PAGE, read_only, flags=1) == 0
    assert client.map(PAGE, PAGE, guest_memory, flags=1) == 0
    assert client.map(2 * PAGE, PAGE, guest_memory, flags=2) == 0
    os.close(read_only)
    for address in (0, PAGE):
        assert dut.dma.read(address, 4) == bytes(4)
        assert dut.dma.view(address, 4).readonly
        with pytest.raises(DmaFault, match="may not be written"):
            dut.dma.write(address, b"x")
    dut.dma.write(2 * PAGE, b"x")
    with pytest.raises(DmaFault, match="may not be read"):
        dut.dma.read(2 * PAGE, 1)
    with pytest.raises(DmaFault, match="may not be written"):  # the part that may be is not written either
        dut.dma.write(2 * PAGE - 1, b"yz")
    assert os.pread(guest_memory, 1, 0) == b"x"


class TestUnmap:
    @pytest.mark.parametrize(
        ("iova", "size"), [(0, 2 * PAGE), (PAGE, PAGE), (0, PAGE), (PAGE, 4 * PAGE), (8 * PAGE, PAGE), (1, 2), (0, 0)]
    )
    def test_neither_a_part_nor_nothing(self, client, dut, guest_memory, iova, size):
        assert client.map(0, 3 * PAGE, guest_memory) == 0
        assert client.unmap(iova, size) == errno.ENOENT
        assert client.unmap(0, 3 * PAGE) == 0
        assert client.unmap(0, 3 * PAGE) == errno.ENOENT

    def test_a_range_that_covers_many(self, client, dut, guest_memory):
        """As QEMU's intel-iommu takes back a domain: by powers of two, most of which hold nothing."""
        assert client.map(0, PAGE, guest_memory) == 0
        for page in range(100):
            assert client.map((1 << 32) + page * PAGE, PAGE, guest_memory if page % 2 else None) == 0
        assert client.map(1 << 33, PAGE, guest_memory) == 0
        assert client.unmap((1 << 32) + PAGE // 2, 1 << 32) == errno.ENOENT
        assert client.unmap(1 << 32, (1 << 32) + PAGE // 2) == errno.ENOENT
        assert len(dut.dma) == 102
        assert client.unmap(1 << 32, 1 << 32) == 0
        assert [start for start, _, _ in dut.dma] == [0, 1 << 33]
        assert client.unmap(1 << 32, 1 << 32) == errno.ENOENT
        assert client.map(1 << 32, PAGE, guest_memory) == 0
        assert client.unmap(0, (1 << 64) - PAGE) == 0
        assert len(dut.dma) == 0

    def test_all(self, client, dut, guest_memory):
        for page in range(10):
            assert client.map(page * PAGE, PAGE, guest_memory if page % 2 else None) == 0
        assert client.unmap(PAGE, PAGE, flags=2) == errno.EINVAL
        assert client.unmap(0, 0, flags=2) == 0
        assert len(dut.dma) == 0

    @pytest.mark.parametrize(("flags", "expected"), [(1, errno.ENOTSUP), (4, errno.ENOTSUP), (3, errno.EINVAL)])
    def test_flags(self, client, flags, expected):
        assert client.map(0, PAGE) == 0
        assert client.unmap(0, PAGE, flags=flags) == expected

    def test_a_view_that_is_kept_is_safe(self, client, dut, guest_memory, caplog):
        assert client.map(0, PAGE, guest_memory) == 0
        kept = dut.dma.view(0, 4)
        assert client.unmap(0, PAGE) == 0
        assert kept == bytes(4)  # still there: no SIGSEGV
        assert "keeps a view" in caplog.text
        del kept
        assert "test-memory" not in Path("/proc/self/maps").read_text()


class TestUnsealed:
    def test_read_and_written_through_the_descriptor(self, client, dut, caplog):
        fd = memfd(4 * PAGE, sealed=False)
        assert client.map(0, 2 * PAGE, fd) == 0
        assert client.map(4 * PAGE, 2 * PAGE, fd, offset=2 * PAGE) == 0
        assert [r.levelname for r in caplog.records] == ["WARNING"] and "may be truncated" in caplog.text
        assert dut.dma.view(0, 4) is None
        dut.dma.write(PAGE - 2, b"abcd")
        assert dut.dma.read(PAGE - 2, 4) == b"abcd" == os.pread(fd, 4, PAGE - 2)
        os.close(fd)
        assert dut.dma.read(PAGE - 2, 4) == b"abcd"

    def test_truncated_by_another_process(self, client, dut):
        with tempfile.NamedTemporaryFile() as file:
            os.truncate(file.fileno(), 2 * PAGE)
            assert client.map(0, 2 * PAGE, file.fileno()) == 0
            dut.dma.write(PAGE, b"there")
            subprocess.run([sys.executable, "-c", f"import os; os.truncate({file.name!r}, 16)"], check=True)
            for access in (lambda: dut.dma.read(PAGE, 5), lambda: dut.dma.write(PAGE, b"gone"), lambda: dut.dma.read(14, 4)):
                with pytest.raises(DmaFault, match="has been truncated"):
                    access()
            assert os.fstat(file.fileno()).st_size == 16
            assert dut.dma.read(0, 16) == bytes(16)

    def test_trusted(self, loop, dut, tmp_path):
        server = Server(loop, dut, tmp_path / "t", trust_memory=True)
        with Client(loop, server.path) as client, tempfile.TemporaryFile() as file:
            os.truncate(file.fileno(), PAGE)
            assert client.map(0, PAGE, file.fileno()) == 0
            assert dut.dma.view(0, 4, write=True) is not None
        server.close()

    def test_sealed_memory_cannot_be_truncated_away(self, client, dut, guest_memory):
        assert client.map(0, PAGE, guest_memory) == 0
        with pytest.raises(PermissionError):
            os.truncate(guest_memory, 0)
        assert dut.dma.read(0, 1) == b"\0"


class TestShareOff:
    """The client maps the file privately, as QEMU does for share=off."""

    def test_refused_with_the_remedy(self, client, dut, guest_memory, caplog):
        with mmap.mmap(guest_memory, 1 << 20, flags=mmap.MAP_PRIVATE):
            assert client.map(0, PAGE, guest_memory) == errno.EINVAL
        (line,) = [r.getMessage() for r in caplog.records]
        assert "share=on" in line and "memory-backend-memfd" in line and "\n" not in line
        assert len(dut.dma) == 0

    def test_shared_is_fine(self, client, guest_memory):
        with mmap.mmap(guest_memory, 1 << 20), mmap.mmap(guest_memory, PAGE, flags=mmap.MAP_PRIVATE):
            assert client.map(0, PAGE, guest_memory) == 0

    def test_a_client_that_cannot_be_looked_at_is_named_in_the_log(self, loop, dut, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr("emulators.vfio_user.server.maps_are_readable", lambda pid: False)
        server = Server(loop, dut, tmp_path / "t")
        with Client(loop, server.path):
            assert "could not be checked" in caplog.text
        server.close()

    def test_nobody_can_be_looked_at_without_proc(self):
        from emulators.vfio_user.sharing import maps_are_readable, only_private

        assert maps_are_readable(os.getpid())
        assert not maps_are_readable(0) and not maps_are_readable(2**22 + 1)
        assert not only_private(0, 1, 1)


class TestDescriptors:
    def test_what_a_message_does_not_allow_is_refused_and_closed(self, client, dut, guest_memory):
        before = open_fds()
        extra = [os.dup(guest_memory) for _ in range(3)]
        body = struct.pack("<IIQQQ", 32, 3, 0, 0, PAGE)
        assert client.call(c.DMA_MAP, body, extra[:2]).error == errno.EINVAL
        assert client.call(c.REGION_READ, struct.pack("<QII", 0, 0, 4), extra).error == errno.EINVAL
        client.send(c.REGION_WRITE, struct.pack("<QIII", 0, 0, 4, 1), extra, flags=c.NO_REPLY)
        assert client.call(99, b"", extra).error == errno.EINVAL
        client.send(c.DMA_READ, b"", extra, flags=c.REPLY)
        for fd in extra:
            os.close(fd)
        assert open_fds() == before
        assert dut.log == [] and len(dut.dma) == 0

    def test_more_than_a_message_can_have(self, client):
        before = open_fds()
        events = [os.eventfd(0) for _ in range(20)]
        assert client.set_irqs(c.ARM, c.MSIX, 0, 20, events) == errno.EINVAL
        assert client.set_irqs(c.ARM, c.MSIX, 0, 16, events[:16]) == 0
        assert client.set_irqs(c.ARM, c.MSIX, 16, 4, events[16:]) == 0
        for fd in events:
            os.close(fd)
        assert client.set_irqs(c.DISARM, c.MSIX, 0, 0) == 0
        assert open_fds() == before

    def test_a_message_in_pieces_with_descriptors_in_each(self, client):
        before = open_fds()
        event = os.eventfd(0)
        message = struct.pack("<HHIII5I", 1, c.SET_IRQS, 36, 0, 0, 20, c.ARM, c.MSIX, 0, 1)
        for byte in message:
            client.send_raw(bytes((byte,)), [event] * 16)
        assert client.receive().error == errno.EINVAL
        os.close(event)
        assert open_fds() == before

    def test_header_and_payload_apart(self, client, dut):
        event = os.eventfd(0)
        client.send_raw(struct.pack("<HHIII", 1, c.SET_IRQS, 36, 0, 0), [event])
        client.send_raw(struct.pack("<5I", 20, c.ARM, c.MSIX, 0, 1))
        assert client.receive().error == 0 and len(dut.armed()) == 1
        os.close(event)

    def test_they_find_their_message_in_a_batch(self, client, loop, dut, guest_memory):
        """Writes before, maps with descriptors between, all received together."""
        post = struct.pack("<HHIIIQIII", 1, 10, 36, 0x10, 0, 0, 0, 4, 1)
        for page in range(5):
            client.sock.send(post * 3)
            body = struct.pack("<IIQQQ", 32, 3, page * PAGE, page * PAGE, PAGE)
            import array
            import socket

            client.sock.sendmsg(
                [struct.pack("<HHIII", page, 2, 48, 0, 0) + body],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [guest_memory]))],
            )
        client.sock.send(post)
        loop.settle()
        assert [client.receive().error for _ in range(5)] == [0] * 5
        assert len(dut.log) == 16
        assert all(dut.dma.view(page * PAGE, 8) is not None for page in range(5))


def test_too_many_maps(client, dut, monkeypatch):
    monkeypatch.setattr("regmodel.structures.vfio_user.MAX_DMA_MAPS", 20)
    for page in range(20):
        assert client.map(page * PAGE, PAGE) == 0
    assert client.map(20 * PAGE, PAGE) == errno.ENOSPC


def test_a_function_that_refuses_a_map_leaves_nothing(client, dut, guest_memory, monkeypatch):
    before = open_fds()

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(dut, "dma_map", refuse)
    assert client.map(0, PAGE, guest_memory) == errno.EIO
    monkeypatch.undo()
    assert open_fds() == before
    assert client.map(0, PAGE, guest_memory) == 0
