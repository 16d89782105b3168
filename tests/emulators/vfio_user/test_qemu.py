"""QEMU 11's own client against this server: its ``vfio-user-pci`` device on a q35 machine without a guest, whose bus accesses
the test makes itself (the ``qtest`` accelerator). What a guest does is in tests of the devices; this is the protocol alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.loop import Loop
from emulators.vfio_user.server import Server
from regmodel.errors import DmaFault
from regmodel.function import Irq, Region, RegionKind, ResetCause

from .device import TestDevice

pytestmark = pytest.mark.guest

BAR0 = 0xE0000000
BAR2 = 0xE0010000
SLOT = 1 << 11  # 00:01.0
MEMFD = "memory-backend-memfd,id=ram,size=64M,share={share}"


def pci_device(**more: object) -> TestDevice:
    """Vendor 1af4, BAR0 of 4 KiB, MSI-X (4 vectors, table and PBA in BAR0), INTx pin A."""
    dut = TestDevice(irqs={Irq.INTX: 1, Irq.MSIX: 4}, **more)
    config = dut.config
    config[0:4] = bytes.fromhex("f41aff10")
    config[6] = 0x10  # capabilities
    config[0x0B] = 0xFF
    config[0x34] = 0x40
    config[0x3D] = 1
    config[0x40:0x4C] = bytes.fromhex("1100 0300 00080000 000c0000")
    return dut


class Qemu:
    """A running QEMU whose bus we are the only master of; every wait turns the server's loop."""

    def __init__(self, loop: Loop, folder: Path, arguments: list[str]) -> None:
        from emulators.qemu import Lab

        self.loop, self.trace = loop, folder / "trace"
        path = str(folder / "qtest")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.setblocking(False)
        self.errors = (folder / "stderr").open("w+")
        self.qemu = Lab().qemu
        self.process = subprocess.Popen(
            [*self.qemu.command, "-M", "q35", "-accel", "qtest", "-qtest", f"unix:{path}", "-qtest-log", "/dev/null",
             "-display", "none", "-nodefaults", "-trace", "vfio_user_*", "-D", str(self.trace), *arguments],
            stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors, env=self.qemu.environ(),
        )  # fmt: skip
        self.sock: socket.socket | None = None
        self._received = b""

    def start(self) -> None:
        """Wait until the machine is there."""
        self.wait(self._connected)

    def _connected(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"QEMU has ended: {self.stderr()}")
        try:
            self.sock = self.listener.accept()[0]
        except BlockingIOError:
            return False
        self.sock.setblocking(False)
        return True

    def wait(self, condition, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"nothing happened; QEMU says: {self.stderr()}"
            self.loop.turn(1_000_000)

    def stderr(self) -> str:
        self.errors.flush()
        return Path(self.errors.name).read_text()

    def __call__(self, *words: object) -> int:
        """One qtest command, its number if it answers one."""
        assert self.sock is not None
        self.sock.sendall((" ".join(hex(w) if isinstance(w, int) else str(w) for w in words) + "\n").encode())
        self.wait(self._line)
        line, self._received = self._received.split(b"\n", 1)
        words = line.decode().split()
        if words[0] == "IRQ":  # an interrupt line that changed, not the answer
            raise AssertionError(line)
        assert words[0] == "OK", line
        return int(words[1], 16) if len(words) > 1 and words[1].startswith("0x") else 0

    def _line(self) -> bool:
        assert self.sock is not None
        with contextlib.suppress(BlockingIOError):
            self._received += self.sock.recv(65536)
        return b"\n" in self._received

    def config_read(self, offset: int) -> int:
        self("outl", 0xCF8, 0x80000000 | SLOT | offset)
        return self("inl", 0xCFC)

    def config_write(self, offset: int, value: int) -> None:
        self("outl", 0xCF8, 0x80000000 | SLOT | offset)
        self("outl", 0xCFC, value)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.errors.close()
        if self.sock:
            self.sock.close()
        self.loop.settle()


@pytest.fixture
def dut() -> TestDevice:
    return pci_device()


@pytest.fixture
def start(loop: Loop, server: Server, tmp_path: Path) -> Iterator[object]:
    """Starts QEMU with the server's device; ``memory`` are the arguments that make its RAM."""
    running: list[Qemu] = []

    def start(memory: str | None = MEMFD.format(share="on"), **properties: object) -> Qemu:
        ram = ["-m", "64M"] if memory is None else ["-m", "64M", "-object", memory, "-machine", "memory-backend=ram"]
        described = {"driver": "vfio-user-pci", "addr": "1.0", "socket": {"type": "unix", "path": str(server.path)}}
        folder = tmp_path / f"q{len(running)}"
        folder.mkdir()
        qemu = Qemu(loop, folder, [*ram, "-device", json.dumps(described | properties)])
        running.append(qemu)
        qemu.start()
        qemu.config_write(0x10, BAR0)
        qemu.config_write(0x04, 0x6)
        return qemu

    yield start
    for qemu in running:
        qemu.close()


def test_the_device_is_realized_and_reset(start, dut, server):
    qemu = start()
    assert qemu.config_read(0) == 0x10FF1AF4
    assert ("reset", ResetCause.BUS) in dut.log
    assert dut.armed() == [(Irq.INTX, 0)]
    assert server.connection.refused == 0
    assert server.connection.session.write_multiple
    said = qemu.stderr().splitlines()
    assert len(said) == 1 and "Could not enable error recovery" in said[0]  # this device has no ERR interrupt
    trace = qemu.trace.read_text()
    assert len(re.findall("vfio_user_dma_map ", trace)) >= 1


def test_registers(start, dut):
    qemu = start()
    dut.log.clear()
    qemu("writel", BAR0 + 0x10, 0xDEADBEEF)
    qemu("writeq", BAR0 + 0x20, 0x1122334455667788)
    qemu("writew", BAR0 + 0x30, 0xCAFE)
    qemu("writeb", BAR0 + 0x38, 0xAB)
    assert qemu("readl", BAR0 + 0x10) == 0xDEADBEEF
    assert qemu("readq", BAR0 + 0x20) == 0x1122334455667788
    assert dut.log == [
        ("write", 0, 0x10, 4, 0xDEADBEEF), ("write", 0, 0x20, 8, 0x1122334455667788), ("write", 0, 0x30, 2, 0xCAFE),
        ("write", 0, 0x38, 1, 0xAB), ("read", 0, 0x10, 4), ("read", 0, 0x20, 8),
    ]  # fmt: skip


def test_a_flood_of_posted_writes_arrives_in_order(start, dut, server, loop, monkeypatch):
    """More than QEMU's queue takes singly: it then sends REGION_WRITE_MULTI."""
    qemu = start()
    dut.log.clear()
    receive = type(server.connection._stream).receive
    held = True
    monkeypatch.setattr(type(server.connection._stream), "receive", lambda s: None if held else receive(s))
    assert qemu.sock is not None
    count = 6000
    for i in range(count):
        qemu.sock.setblocking(True)
        qemu.sock.sendall(f"writel {BAR0 + 4 * (i % 64):#x} {i:#x}\n".encode())
        qemu._received = b""
        while not qemu._received.endswith(b"\n"):
            qemu._received += qemu.sock.recv(100)
    qemu._received = b""
    qemu.sock.setblocking(False)
    held = False
    qemu.wait(lambda: len(dut.log) == count)
    assert [entry[4] for entry in dut.log] == list(range(count))
    counts = server.connection.messages
    assert counts[15] > 0, "QEMU sent no REGION_WRITE_MULTI: this test needs a longer flood"
    print(f"{counts[10]} REGION_WRITE, {counts[15]} REGION_WRITE_MULTI")


def test_dma_through_the_file(start, dut, server):
    qemu = start()
    qemu("writel", 0x2000000, 0x12345678)
    assert dut.dma.read(0x2000000, 4) == bytes.fromhex("78563412")
    dut.dma.write(0x2000004, b"\xef\xbe\xad\xde")
    assert qemu("readl", 0x2000004) == 0xDEADBEEF
    with pytest.raises(DmaFault):
        dut.dma.read(0x40000000, 4)
    assert dut.dma.view(0x2000000, 0x1000) is not None


def test_private_memory_is_refused(start, dut, caplog):
    qemu = start(MEMFD.format(share="off"))
    assert "share=on" in caplog.text
    with pytest.raises(DmaFault):
        dut.dma.read(0x2000000, 4)
    print(qemu.stderr())


@pytest.mark.parametrize("size", [4, 1514, 65536, 200_000])
def test_memory_without_a_file_goes_by_messages(start, dut, loop, size):
    """Plain -m. The guest reads a register while the device waits for its memory: neither waits for the other."""
    qemu = start(None)
    assert dut.dma.view(0x1000000, 4) is None
    with pytest.raises(DmaFault, match="register access"):
        dut.dma.read(0x1000000, 4)
    data, result = os.urandom(size), []

    def burst() -> bool:
        dut.dma.write(0x1000000, data)
        result.append(bytes(dut.dma.read(0x1000000, size)))
        return False

    loop.defer(burst)
    while not result:
        assert qemu("readl", BAR0 + 8) == 0
    assert result == [data]
    assert qemu("readl", 0x1000000) == int.from_bytes(data[:4], "little")


def test_msix(start, dut, server):
    """Enabled, a vector is armed when it is unmasked; what fires reaches the address in the table."""
    qemu = start()
    for vector in range(4):
        qemu("writel", BAR0 + 0x800 + 16 * vector, 0x3000000 + 4 * vector)
        qemu("writel", BAR0 + 0x804 + 16 * vector, 0)
        qemu("writel", BAR0 + 0x808 + 16 * vector, 0xABC0 + vector)
    qemu.config_write(0x40, 0x80000000)
    qemu("writel", BAR0 + 0x80C + 16 * 2, 0)
    qemu.wait(lambda: (Irq.MSIX, 2) in dut.armed())
    dut.triggers[Irq.MSIX, 2]()
    qemu.wait(lambda: qemu("readl", 0x3000008) == 0xABC2)
    qemu.config_write(0x40, 0)
    qemu.wait(lambda: dut.armed() == [(Irq.INTX, 0)])
    assert server.connection.refused == 0


def test_intx_is_unmasked_by_an_access(start, dut):
    qemu = start()
    dut.log.clear()
    dut.triggers[Irq.INTX, 0]()
    qemu.wait(lambda: qemu("readl", BAR0) == 0 and ("unmask", Irq.INTX) in dut.log)


def test_killed_and_started_again(start, dut, server, loop):
    first = start()
    dut.dma.write(0x2000000, b"first")
    first.process.kill()
    qemu = start()
    assert server.connection.peer_pid == qemu.process.pid
    assert qemu("readl", 0x2000000) == 0
    assert dut.dma.read(0x2000000, 4) == bytes(4)


class TestMappable:
    @pytest.fixture
    def dut(self):
        fd = os.memfd_create("bar2")
        os.truncate(fd, 0x4000)
        more = [Region(2, RegionKind.MEMORY, 0x4000, mappable=((0x1000, 0x1000), (0x3000, 0x1000)), fd=fd)]
        self.fd = fd
        yield pci_device(more=more)
        os.close(fd)

    def test_sparse(self, start, dut, server):
        """The offered pages are reached without a message, the others with one; then no write is posted."""
        qemu = start()
        qemu.config_write(0x18, BAR2)
        dut.log.clear()
        qemu("writel", BAR2 + 0x1004, 0x11111111)
        qemu("writel", BAR2 + 0x3008, 0x22222222)
        assert dut.log == []
        assert os.pread(self.fd, 4, 0x1004) == b"\x11" * 4 and os.pread(self.fd, 4, 0x3008) == b"\x22" * 4
        qemu("writel", BAR2 + 0x10, 0x33)
        assert dut.log == [("write", 2, 0x10, 4, 0x33)]
        assert server.connection.refused == 0
