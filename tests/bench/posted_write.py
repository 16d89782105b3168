"""What a posted write costs the server, beside a bare loop that receives and parses the same bytes.

Both run in this process, in turns, on the same kind of socket, fed with the same batches; only their own time is counted
(``time.process_time_ns`` around the receiving side). The device is a BAR that does nothing, so the figure is the server's
alone. ``measure()`` returns ns per write for both; the server is to stay within 1.5 times the bare loop.

    python tests/bench/posted_write.py
"""

from __future__ import annotations

import socket
import statistics
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulators.loop import Loop
from emulators.vfio_user.server import Server
from regmodel.function import Irq, Memory, Region, RegionKind, ResetCause, Trigger

BATCHES = (1000, 16, 1)
"""Writes that are there at once: a burst of register programming, a few doorbells, one doorbell."""


class NoDevice:
    """A function whose registers do nothing."""

    name = "bench"

    def regions(self) -> Sequence[Region]:
        return [Region(0, RegionKind.MEMORY, 0x4000), Region(7, RegionKind.CONFIG, 256)]

    def irqs(self) -> Mapping[Irq, int]:
        return {}

    def config_read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    def config_write(self, offset: int, data: bytes) -> None: ...

    def region_read(self, index: int, offset: int, size: int) -> int:
        return 0

    def region_write(self, index: int, offset: int, size: int, value: int) -> None: ...

    def set_irqs(self, irq: Irq, start: int, triggers: Sequence[Trigger | None]) -> None: ...

    def unmask_irq(self, irq: Irq) -> None: ...

    def dma_map(self, iova: int, size: int, memory: Memory, *, read: bool, write: bool) -> None: ...

    def dma_unmap(self, iova: int, size: int) -> None: ...

    def reset(self, cause: ResetCause) -> None: ...


def bare_loop(sock: socket.socket, writes: int) -> None:
    """Receive 64 KiB at a time, take each message apart, do nothing with it."""
    header, access, value = struct.Struct("<HHIII"), struct.Struct("<QII"), struct.Struct("<I")
    rest = b""
    while writes:
        data = rest + sock.recv(65536)
        position, end = 0, len(data)
        while end - position >= 16:
            _ident, _command, size, _flags, _error = header.unpack_from(data, position)
            if end - position < size:
                break
            _offset, _region, _count = access.unpack_from(data, position + 16)
            value.unpack_from(data, position + 32)
            position += size
            writes -= 1
        rest = data[position:]


def batch(writes: int) -> bytes:
    return b"".join(struct.pack("<HHIIIQIII", i & 0xFFFF, 10, 36, 0x10, 0, 4 * i % 0x4000, 0, 4, i) for i in range(writes))


def measure(writes: int = BATCHES[0], rounds: int = 200) -> tuple[float, float]:
    """(server, bare loop): median ns of CPU time per posted write, over ``rounds`` interleaved batches of ``writes``."""
    data = batch(writes)
    server_times, bare_times = [], []
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop()
        server = Server(loop, NoDevice(), Path(folder) / "s")
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(server.path))
        client.sendall(struct.pack("<HHIIIHH", 1, 1, 20, 0, 0, 0, 0))
        loop.settle()
        near, far = socket.socketpair()
        for end in (client, near):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        connection = server.connection
        assert connection is not None
        for done in range(rounds):
            client.sendall(data)
            start = time.process_time_ns()
            while connection.messages[10] < (done + 1) * writes:
                loop.turn(0)
            server_times.append(time.process_time_ns() - start)
            near.sendall(data)
            start = time.process_time_ns()
            bare_loop(far, writes)
            bare_times.append(time.process_time_ns() - start)
        server.close()
        loop.close()
        for end in (client, near, far):
            end.close()
    return statistics.median(server_times) / writes, statistics.median(bare_times) / writes


if __name__ == "__main__":
    for size in BATCHES:
        ours, bare = measure(size, 200 if size > 100 else 5000)
        print(f"{size:5} posted writes at once: server {ours:.0f} ns each, bare loop {bare:.0f} ns, ratio {ours / bare:.2f}")
