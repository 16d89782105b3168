"""Clients come, go, are killed, do not read, and send nonsense; the server serves the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.loop import Loop
from emulators.vfio_user.connection import NO_PROGRESS
from emulators.vfio_user.memory import Files
from emulators.vfio_user.server import RETRY, Server
from regmodel.errors import DmaFault, UsageError
from regmodel.function import Irq, ResetCause
from tests.support.thorough import THOROUGH

from . import client as c
from .client import Client
from .conftest import memfd, open_fds
from .device import TestDevice

PAGE = 4096
CONFIG_READ = struct.pack("<HHIIIQII", 1, 9, 32, 0, 0, 0, 7, 4096)


class TestSocket:
    def test_a_socket_in_use(self, loop, server, dut):
        with pytest.raises(UsageError, match=r"in use.*stop the server"):
            Server(loop, dut, server.path)
        with Client(loop, server.path) as client:
            assert client.read(0, 0, 4) == bytes(4)

    def test_what_a_dead_server_left_is_replaced(self, loop, dut, tmp_path):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(tmp_path / "s"))
        left.close()
        Server(loop, dut, tmp_path / "s").close()
        assert not (tmp_path / "s").exists()

    def test_a_file_is_not_replaced(self, loop, dut, tmp_path):
        (tmp_path / "s").write_text("precious")
        with pytest.raises(UsageError, match="in use"):
            Server(loop, dut, tmp_path / "s")
        assert (tmp_path / "s").read_text() == "precious"

    @pytest.mark.parametrize("path", ["/nowhere/at/all/s", "/tmp/" + "x" * 120, "/proc/s"])
    def test_a_path_that_cannot_be(self, loop, dut, path):
        before = open_fds()
        with pytest.raises(UsageError) as error:
            Server(loop, dut, path)
        assert "\n" not in str(error.value) and path in str(error.value)
        assert open_fds() == before

    def test_a_socket_that_somebody_else_took_over_is_left(self, loop, dut, tmp_path):
        first = Server(loop, dut, tmp_path / "s")
        (tmp_path / "s").unlink()
        second = Server(loop, TestDevice(), tmp_path / "s")
        first.close()
        assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
        second.close()

    def test_a_bad_name_of_a_layout(self, loop, dut, tmp_path):
        with pytest.raises(UsageError, match="qemu-10"):
            Server(loop, dut, tmp_path / "s", dma_wire="qemu-9")


class TestClients:
    def test_one_after_the_other(self, loop, server, dut, guest_memory):
        with Client(loop, server.path) as client:
            client.write(0, 0, b"kept")
            assert client.map(0, PAGE, guest_memory) == 0
            assert client.map(PAGE, PAGE) == 0
            event = os.eventfd(0)
            assert client.set_irqs(c.ARM, c.MSIX, 3, 1, [event]) == 0
            os.close(event)
        assert server.connection is None and len(dut.dma) == 0 and dut.armed() == []
        assert dut.bar[:4] == b"kept" and dut.log[-1] != ("reset", ResetCause.BUS)
        with Client(loop, server.path) as client:
            assert dut.log[-1] == ("reset", ResetCause.BUS)  # before the new one has mapped anything

    def test_state_may_be_kept_for_the_next(self, loop, dut, tmp_path):
        server = Server(loop, dut, tmp_path / "k", keep_state=True)
        for _ in range(2):
            with Client(loop, server.path):
                pass
        assert dut.log == []
        server.close()

    def test_a_second_one_waits(self, loop, server):
        with Client(loop, server.path) as first:
            second = Client(loop, server.path, negotiate=False)
            second.send(c.VERSION, bytes(4))
            assert second.silent()
            assert first.read(0, 0, 4) == bytes(4)
        assert second.receive().error == 0
        second.close()

    def test_several_devices_in_one_loop(self, loop, tmp_path, guest_memory):
        files = Files()
        devices = [TestDevice(f"dev{i}") for i in range(4)]
        servers = [Server(loop, d, tmp_path / f"s{i}", files=files) for i, d in enumerate(devices)]
        clients = [Client(loop, server.path) for server in servers]
        for i, client in enumerate(clients):
            client.post(0, 0, bytes((i,)))
            assert client.map(0, PAGE, guest_memory) == 0
        assert [d.bar[0] for d in devices] == [0, 1, 2, 3]
        assert len(files) == 1 and Path("/proc/self/maps").read_text().count("test-memory") == 1
        clients[0].close()
        devices[1].dma.write(0, b"still there")
        for client in clients[1:]:
            client.close()
        assert len(files) == 0
        for server in servers:
            server.close()

    def test_a_thousand_connect_and_kill_cycles(self, loop, server, dut, guest_memory):
        before, mapped = open_fds(), Path("/proc/self/maps").read_text().count("\n")
        event = os.eventfd(0)
        for cycle in range(1000):
            client = Client(loop, server.path, json=b"{}\0")
            body = struct.pack("<IIQQQ", 32, 3, 0, 0, PAGE)
            client.send(c.DMA_MAP, body, [guest_memory])
            client.send(c.SET_IRQS, struct.pack("<5I", 20, c.ARM, c.MSIX, 0, 1), [event])
            half = struct.pack("<HHIII", 9, c.DMA_MAP, 48, 0, 0)
            client.send_raw(half[: cycle % 17], [guest_memory] if cycle % 17 else None)
            assert len(dut.dma) == 1 and len(dut.armed()) == 1
            client.sock.close()
            client._fds.clear()
            loop.settle()
            assert server.connection is None and len(dut.dma) == 0 and dut.armed() == []
        os.close(event)
        assert open_fds() == before
        assert Path("/proc/self/maps").read_text().count("\n") <= mapped + 5

    def test_a_process_that_is_killed(self, loop, server, dut):
        """With kill -9, in the middle of a flood, its memory mapped."""
        before = open_fds()
        script = Path(__file__).with_name("flood.py")
        for _ in range(5):
            process = subprocess.Popen([sys.executable, script, server.path], stdout=subprocess.PIPE)
            end = time.monotonic() + 20
            while len(dut.dma) == 0 or server.connection.messages[c.REGION_WRITE] < 1000:
                loop.turn(1_000_000)
                assert time.monotonic() < end
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            while server.connection is not None:
                loop.turn(1_000_000)
                assert time.monotonic() < end
            assert len(dut.dma) == 0
        assert open_fds() == before

    def test_a_function_that_fails_while_its_client_goes(self, loop, server, dut, guest_memory, monkeypatch):
        before = open_fds()
        with Client(loop, server.path) as client:
            event = os.eventfd(0)
            assert client.map(0, PAGE, guest_memory) == client.map(PAGE, PAGE, guest_memory, offset=PAGE) == 0
            assert client.set_irqs(c.ARM, c.MSIX, 0, 1, [event]) == client.set_irqs(c.ARM, c.INTX, 0, 1, [event]) == 0
            os.close(event)
            with monkeypatch.context() as patch:
                for name in ("set_irqs", "dma_unmap"):
                    patch.setattr(dut, name, lambda *_: 1 / 0)
                client.close()
        dut.dma.clear()
        dut.triggers.clear()
        assert server.connection is None
        assert open_fds() == before

    def test_the_server_stops(self, loop, dut, tmp_path):
        before = open_fds()
        server = Server(loop, dut, tmp_path / "x")
        client = Client(loop, server.path)
        assert client.map(0, PAGE) == 0
        server.close()
        assert client.is_closed() and len(dut.dma) == 0
        client.sock.close()
        assert open_fds() == before

    def test_no_descriptors_left(self, loop, clock, server, caplog):
        import errno as e

        calls = []

        class Exhausted:
            def __init__(self, sock):
                self._sock = sock

            def accept(self):
                calls.append(1)
                if len(calls) == 1:
                    raise OSError(e.EMFILE, "Too many open files")
                return self._sock.accept()

            def __getattr__(self, name):
                return getattr(self._sock, name)

        server._socket = Exhausted(server._socket)
        loop.remove(server._socket.fileno())
        loop.add(server._socket.fileno(), server._accept)
        client = Client(loop, server.path, negotiate=False)
        clock.advance(RETRY - 1)
        loop.settle()
        assert len(calls) == 1 and "cannot be accepted" in caplog.text  # and no busy loop meanwhile
        clock.advance(1)
        assert client.call(c.VERSION, bytes(4)).error == 0
        client.close()


class TestReplies:
    def test_partial_sends(self, loop, server, dut):
        """A client with a tiny receive buffer, and replies many times as large."""
        with Client(loop, server.path) as client:
            server.connection._stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            dut.config[:] = os.urandom(4096)
            for _ in range(50):
                client.sock.sendall(CONFIG_READ)
            loop.settle()
            for _ in range(50):
                assert client.receive().body[16:] == dut.config
            assert client.read(7, 0, 4) == dut.config[:4]

    def test_one_that_takes_no_replies_is_dropped(self, loop, clock, server, dut):
        """... and until then it is not buffered for beyond measure, although one receive asks for 8 MiB."""
        with Client(loop, server.path) as client:
            requests, sent, most, busy = CONFIG_READ * 4096, 0, 0, True
            while busy:
                with contextlib.suppress(BlockingIOError):
                    sent += client.sock.send(requests[sent % len(CONFIG_READ) :])
                busy = loop.turn()
                most = max(most, server.connection._stream.queued)
                assert most < 2 << 20
            assert most > 100_000
            clock.advance(NO_PROGRESS - 1)
            loop.settle()
            assert server.connection is not None
            clock.advance(1)
            loop.settle()
            assert server.connection is None

    def test_one_that_is_slow_is_not(self, loop, clock, server, dut):
        with Client(loop, server.path) as client:
            count = 1500  # 6 MiB of replies, well beyond what is queued
            requests = CONFIG_READ * count
            got, sent = 0, 0
            while got < count * 4128:
                with contextlib.suppress(BlockingIOError):
                    sent += client.sock.send(requests[sent : sent + 4096])
                loop.turn()
                clock.advance(NO_PROGRESS // 50)
                with contextlib.suppress(BlockingIOError):
                    data = client.sock.recv(20_000)
                    assert data, "the server has dropped it"
                    got += len(data)
            assert clock.now() > 2 * NO_PROGRESS
            assert client.read(0, 0, 4) == bytes(4)


class TestObserver:
    def test_everything_is_told(self, loop, server, dut, guest_memory):
        class Witness:
            def __init__(self):
                self.seen = []

            def __getattr__(self, name):
                return lambda *what: self.seen.append((name, *what))

        event = os.eventfd(0)
        with Client(loop, server.path) as client:
            assert client.set_irqs(c.ARM, c.MSIX, 3, 1, [event]) == 0
            server.observer = witness = Witness()  # in the middle
            dut.triggers[Irq.MSIX, 3]()
            assert client.map(0, PAGE, guest_memory) == 0
            assert client.map(PAGE, PAGE, flags=1) == 0
            assert client.unmap(PAGE, PAGE) == 0
            client.call(c.RESET)
            client.call(99)
        with Client(loop, server.path):
            server.observer = None
        os.close(event)
        assert witness.seen == [
            ("irq_fired", Irq.MSIX, 3),
            ("dma_mapped", 0, PAGE, "rw", "mapped"),
            ("dma_mapped", PAGE, PAGE, "r", "messages"),
            ("dma_unmapped", PAGE, PAGE),
            ("reset", ResetCause.BUS),
            ("refused", "command 99", 22, "command 99 is not served here"),
            ("irqs_armed", Irq.MSIX, 0, 32, False),
            ("dma_unmapped", 0, PAGE),
            ("disconnected", "the client closed the connection"),
            ("connected", os.getpid()),
        ]


# -- fuzz

COMMAND = st.one_of(st.integers(0, 20), st.integers(0, 0xFFFF))
WORD = st.one_of(st.integers(0, 64), st.sampled_from([0xFFF, 0x1000, 2**20, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
LONG = st.one_of(WORD, st.sampled_from([0x1000, 0x2000, 2**63, 2**64 - 1, 2**64 - 4096]))
BODY = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda a, b, x: struct.pack("<QII", a, b, len(x)) + x, LONG, st.integers(0, 9), st.binary(max_size=16)),
    st.builds(lambda a, b, n: struct.pack("<QII", a, b, n), LONG, st.integers(0, 9), WORD),
    st.builds(lambda *w: struct.pack("<5I", *w), st.just(20), WORD, st.integers(0, 6), WORD, WORD),
    st.builds(lambda f, o, a, s: struct.pack("<IIQQQ", 32, f, o, a, s), st.integers(0, 4), LONG, LONG, LONG),
    st.builds(lambda f, a, s: struct.pack("<IIQQ", 24, f, a, s), st.integers(0, 4), LONG, LONG),
    st.builds(lambda n, w: struct.pack("<Q", n) + w, LONG, st.binary(max_size=96)),
)
FLAGS = st.one_of(st.sampled_from([0, 0, 0, 0x10, 1, 0x21]), st.integers(0, 0xFF))
MESSAGE = st.tuples(COMMAND, FLAGS, BODY, st.one_of(st.none(), st.none(), st.none(), WORD), st.integers(0, 3), st.booleans())


def replies_due(stream: bytes) -> int:
    """How many replies a client with an agreed version may expect to what it sent, by the rules of the specification."""
    due = 0
    while len(stream) >= 16:
        _, _, size, flags, _ = c.HEADER.unpack_from(stream)
        possible = 16 <= size <= 2**20 + 32
        if possible and len(stream) < size:
            break
        due += not flags & c.NO_REPLY and flags & 0xF != c.REPLY
        if not possible:
            break
        stream = stream[size:]
    return due


@settings(max_examples=150 * THOROUGH, suppress_health_check=list(HealthCheck))
@given(st.lists(MESSAGE, max_size=12), st.booleans())
def test_fuzz(messages, negotiate):
    """Whatever comes: no exception leaves the loop, every command gets exactly its reply, nothing is left behind."""
    import tempfile

    before = open_fds()
    loop, dut = Loop(), TestDevice()
    events = [os.eventfd(0), memfd(1 << 16), os.eventfd(0)]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(loop, dut, Path(folder) / "s")
        client = Client(loop, server.path, negotiate=negotiate)
        sent, answered = b"", 0
        try:
            for number, (command, flags, body, size, fds, dma) in enumerate(messages):
                sent += (
                    struct.pack("<HHIII", 101 + number + negotiate, command, 16 + len(body) if size is None else size, flags, 0)
                    + body
                )
                client.send(command, body, events[:fds], flags=flags, size=size)
                while (reply := client.receive()) is not None:
                    if reply.flags & 0xF == 0:
                        assert reply.command in (c.DMA_READ, c.DMA_WRITE)
                        continue
                    answered += 1
                    assert reply.flags & 0xF == c.REPLY and reply.error >= 0
                    for fd in reply.fds:
                        os.close(fd)
                if dma:
                    loop.defer(lambda: [_try_dma(dut, address) for address in (0, 0x1000, 2**63)] == [])
                    loop.settle()
        except (EOFError, BrokenPipeError):
            pass
        assert answered == replies_due(sent) if negotiate else answered <= replies_due(sent)
        client.close()
        assert server.connection is None and len(dut.dma) == 0 and dut.armed() == []
        with Client(loop, server.path) as client:
            assert len(client.read(0, 0, 4)) == 4
        server.close()
    loop.close()
    for fd in events:
        os.close(fd)
    assert open_fds() == before


def _try_dma(dut: TestDevice, address: int) -> None:
    try:
        if dut.dma.view(address, 8, write=True) is not None:
            dut.dma.write(address, b"12345678")
    except DmaFault:
        pass
