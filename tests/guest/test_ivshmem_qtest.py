"""What QEMU asserts of its own ivshmem devices (tests/qtest/ivshmem-test.c), asserted of them and of ours alike.

QEMU runs without a guest (``tests.support.qtest``). The server of both is this project's: what QEMU's device makes of it is
the judgement of somebody else. Hot-plug of QEMU's device alone is left to QEMU.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulators.process import ServerProcess
from tests.support.qtest import Function, Machine, vfio_user

pytestmark = pytest.mark.guest

SIZE = 1 << 20
INTRMASK, INTRSTATUS, IVPOSITION, DOORBELL = 0, 4, 8, 12
VECTORS = 2
INBOX = 0x10_0000
"""In the RAM of a machine: where messages of unmasked vectors go."""


class Bench:
    """Devices of one kind, ours or QEMU's, each in a machine of its own."""

    def __init__(self, ours: bool, folder: Path, stack: ExitStack) -> None:
        self.ours, self.folder, self._stack = ours, folder, stack
        self.shm = folder / "shm"
        self.shm.write_bytes(bytes(SIZE))
        with self.shm.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), SIZE)
        self.socket = folder / "server"
        self._machines = 0

    def plain(self) -> Function:
        if self.ours:
            return self._machine(vfio_user(self._serve("ivshmem-plain", memory=str(self.shm))))
        backend = f"memory-backend-file,id=mb1,size={SIZE},share=on,mem-path={self.shm}"
        return self._machine(["-object", backend, "-device", "ivshmem-plain,memdev=mb1"])

    def start_server(self, vectors: int = VECTORS) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "regmodel.cli", "ivshmem-server", "--socket", str(self.socket), "--size", "1M",
                   "--vectors", str(vectors), "--memory", str(self.shm)]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert b"# join it" in process.stdout.readline()
        self._stack.callback(process.wait, 10)
        self._stack.callback(process.terminate)
        return process

    def doorbell(self, vectors: int = VECTORS, ours: bool | None = None) -> Function:
        if self.ours if ours is None else ours:
            options = {"server": str(self.socket), "vectors": str(vectors)}
            return self._machine(vfio_user(self._serve("ivshmem-doorbell", **options)), msix=True)
        chardev = f"socket,id=chr0,path={self.socket}"
        return self._machine(["-chardev", chardev, "-device", f"ivshmem-doorbell,chardev=chr0,vectors={vectors}"], msix=True)

    def _serve(self, device: str, **options: str) -> Path:
        self._machines += 1
        folder = self.folder / f"serve{self._machines}"
        folder.mkdir()
        return self._stack.enter_context(ServerProcess([device], options=options, folder=folder)).sockets[0]

    def _machine(self, arguments: list[str], msix: bool = False) -> Function:
        function = self._stack.enter_context(Machine(arguments)).find(0x1AF4, 0x1110)
        if msix:
            function.enable_msix()
        return function


@pytest.fixture(params=["ours", "qemu"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(request.param == "ours", tmp_path, stack)


SECONDS = 60.0
"""A bound that judges nothing."""


def until(condition: Callable[[], bool]) -> None:
    """Until it is so, which is looked at once more when time is up: the look may be what took it."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        over = time.monotonic() >= deadline
        time.sleep(0.01)
        assert not over or condition(), f"still not so after {SECONDS:g} s"


def ring_until(ringing: Function, peer: int, vector: int, heard: Callable[[], bool]) -> None:
    """Ring, and again while nobody hears: whoever rings may not have been told of the other yet."""
    due = 0.0

    def rung() -> bool:
        nonlocal due
        if heard():
            return True
        if time.monotonic() >= due:
            ringing.write(0, DOORBELL, peer << 16 | vector)
            due = time.monotonic() + 5  # so that none is under way that is not waited for
        return heard()

    until(rung)


def meet(ringing: Function, peer: int, other: Function, vector: int) -> None:
    """Until ``ringing`` knows its ``peer`` up to that vector (they are told in order). The vector is unmasked then."""
    ring_until(ringing, peer, vector, lambda: other.pending(vector))
    other.unmask(vector, INBOX + 4 * vector, 0x200 + vector)
    until(lambda: came(other, vector))
    other.machine.store(INBOX + 4 * vector, 0)


def came(function: Function, vector: int) -> bool:
    """The message of a vector that was unmasked by ``meet``."""
    return function.machine.load(INBOX + 4 * vector) == 0x200 + vector


def test_identity(bench: Bench) -> None:
    bench.start_server()
    plain, bell = bench.plain(), bench.doorbell()
    for function in (plain, bell):
        config = {at: function._get(at) for at in (0x00, 0x08, 0x2C)}
        assert config == {0x00: 0x1110_1AF4, 0x08: 0x0500_0001, 0x2C: 0x1100_1AF4}
        assert function._get(0x3C) & 0xFF00 == 0
    assert {i: size for i, (_, size) in plain.bars.items()} == {0: 256, 2: SIZE}
    assert {i: size for i, (_, size) in bell.bars.items()} == {0: 256, 1: 4096, 2: SIZE}
    assert (plain.capabilities, bell.capabilities) == ({}, {0x11: 0x40})
    assert [bell._where(register) for register in (4, 8)] == [(1, 0), (1, 0x800)]


def test_single(bench: Bench) -> None:
    """``test_ivshmem_single``."""
    s = bench.plain()
    assert [s.read(0, register) for register in (INTRMASK, INTRSTATUS, IVPOSITION)] == [0, 0, 0]
    s.write(0, INTRMASK, 0xFFFF_FFFF)
    assert s.read(0, INTRMASK) == 0xFFFF_FFFF
    s.write(0, INTRSTATUS, 1)
    assert s.read(0, INTRSTATUS) == 1
    assert s.read(0, INTRSTATUS) == 0
    s.write(0, IVPOSITION, 1)
    s.read(0, DOORBELL)
    s.write(0, DOORBELL, 8 << 16)
    data = b"".join(i.to_bytes(4, "little") for i in range(1024))
    s.machine.write(s.bars[2][0], data)
    assert bench.memory[: len(data)] == data
    assert s.machine.read(s.bars[2][0], len(data)) == data


def test_pair(bench: Bench) -> None:
    """``test_ivshmem_pair``."""
    first, second = bench.plain(), bench.plain()
    bench.memory[:] = bytes([0x42]) * SIZE
    for s in (first, second):
        assert s.machine.read(s.bars[2][0], SIZE) == bytes([0x42]) * SIZE
    for value, writer, reader in ((0x43, first, second), (0x44, second, first)):
        writer.machine.write(writer.bars[2][0], bytes([value]) * SIZE)
        assert reader.machine.read(reader.bars[2][0], SIZE) == bytes([value]) * SIZE


def ping_pong(first: Function, second: Function) -> None:
    """What ``test_ivshmem_server`` asserts of two devices."""
    one, two = first.read(0, IVPOSITION), second.read(0, IVPOSITION)
    assert {one, two} == {0, 1}
    assert first.msix_vectors == second.msix_vectors == VECTORS
    assert not first.pending(0)
    ring_until(second, one, 0, lambda: first.pending(0))
    assert not second.pending(1)
    ring_until(first, two, 1, lambda: second.pending(1))
    assert not first.pending(1) and not second.pending(0)


def test_server(bench: Bench) -> None:
    """``test_ivshmem_server``."""
    bench.start_server()
    ping_pong(bench.doorbell(), bench.doorbell())


def test_theirs_and_ours_are_peers(tmp_path: Path) -> None:
    """Doorbells in both directions, and one memory."""
    with ExitStack() as stack:
        bench = Bench(True, tmp_path, stack)
        bench.start_server()
        ours, theirs = bench.doorbell(ours=True), bench.doorbell(ours=False)
        ping_pong(ours, theirs)
        for writer, reader in ((ours, theirs), (theirs, ours)):
            data = os.urandom(4096)
            writer.machine.write(writer.bars[2][0] + 0x8000, data)
            assert reader.machine.read(reader.bars[2][0] + 0x8000, 4096) == data


def test_messages_arrive(bench: Bench) -> None:
    """An unmasked vector sends its message, each time anew; a pending one does when it is unmasked."""
    bench.start_server()
    first, second = bench.doorbell(), bench.doorbell()
    meet(second, 0, first, VECTORS - 1)
    for vector in range(VECTORS):
        first.unmask(vector, INBOX + 4 * vector, 0x100 + vector)
        for _ in range(3):
            first.machine.store(INBOX + 4 * vector, 0)
            second.write(0, DOORBELL, vector)
            until(lambda v=vector: first.machine.load(INBOX + 4 * v) == 0x100 + v)
    ring_until(second, 1, 0, lambda: second.pending(0))  # oneself
    second.unmask(0, INBOX, 0x77)
    until(lambda: second.machine.load(INBOX) == 0x77)
    assert not second.pending(0)


def test_doorbells_that_nobody_hears(bench: Bench) -> None:
    """They are ignored, and everything else goes on."""
    bench.start_server()
    first, second = bench.doorbell(), bench.doorbell()
    meet(first, 1, second, VECTORS - 1)
    for value in (5 << 16, 1 << 16 | VECTORS, 0xFFFF_FFFF):
        first.write(0, DOORBELL, value)
    time.sleep(0.05)
    assert not any(s.pending(v) or came(s, v) for s in (first, second) for v in range(VECTORS))
    first.write(0, DOORBELL, 1 << 16)
    until(lambda: second.pending(0))


def test_a_server_that_dies(bench: Bench) -> None:
    """Peers go on among themselves."""
    server = bench.start_server()
    first, second = bench.doorbell(), bench.doorbell()
    meet(second, 0, first, 0)
    server.kill()
    server.wait(10)
    second.write(0, DOORBELL, 0)
    until(lambda: came(first, 0))


def test_more_and_fewer_vectors(bench: Bench) -> None:
    """The server has three: a device of two leaves one, a device of four has one that nobody can ring."""
    bench.start_server(vectors=3)
    few, many = bench.doorbell(vectors=2), bench.doorbell(vectors=4)
    meet(many, 0, few, 1)
    meet(few, 1, many, 1)
    many.write(0, DOORBELL, 0 << 16 | 2)
    many.write(0, DOORBELL, 1 << 16 | 3)
    many.write(0, DOORBELL, 0 << 16 | 1)
    until(lambda: came(few, 1))
    few.write(0, DOORBELL, 1 << 16 | 1)
    until(lambda: came(many, 1))
    assert not any(many.pending(v) for v in (0, 2, 3)) and not few.pending(0)


def test_where_the_two_differ(bench: Bench) -> None:
    """The vector has 16 bits (ivshmem-spec.rst, PCI device registers); QEMU looks at eight of them (``ivshmem_io_write``)."""
    bench.start_server()
    first, second = bench.doorbell(), bench.doorbell()
    meet(first, 1, second, VECTORS - 1)
    first.write(0, DOORBELL, 1 << 16 | 0x101)
    first.write(0, DOORBELL, 1 << 16)
    until(lambda: second.pending(0) and (bench.ours or came(second, 1)))
    assert came(second, 1) is not bench.ours
