"""What an access through the vfio-user client costs, beside a bare client: ``struct``, a socket, and nothing else.

Both talk to one server, in another process, through two sockets, in turns: a read of a register is a round trip; posted
writes are counted on our side alone (CPU time of this process until the socket has taken them) and through to the read
behind them. ``measure()`` returns the medians in ns; the client is to stay within 1.5 times the bare loop.

    python -m tests.bench.vfio_user_client
"""

from __future__ import annotations

import socket
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess

REGISTER = 0x083C  # the last word of the mailbox memory: a store, and nothing happens
ROUNDS, READS, WRITES = 100, 20, 100
"""A socket takes some 270 posted writes before its server must run: fewer, and only our own side is counted."""

_READ, _DATA, _WRITE = struct.Struct("<HHIIIQII"), struct.Struct("<HHIIIQIII"), struct.Struct("<HHIIIQIII")


class Bare:
    """The least that speaks the protocol: nothing is checked."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sock.sendall(struct.pack("<HHIIIHH", 1, 1, 20, 0, 0, 0, 0))
        self.sock.recv(4096)
        self.sock.sendall(struct.pack("<HHIIIQIIH", 1, 10, 34, 0, 0, 4, 7, 2, 2))  # memory space on
        self.sock.recv(4096)

    def read(self) -> int:
        self.sock.send(_READ.pack(1, 9, 32, 0, 0, REGISTER, 0, 4))
        value: int = _DATA.unpack(self.sock.recv(4096))[8]
        return value

    def write(self, value: int) -> None:
        self.sock.send(_WRITE.pack(1, 10, 36, 0x10, 0, REGISTER, 0, 4, value))


def measure() -> dict[str, tuple[float, float]]:
    """Median ns per access of (client, bare loop): ``read``, ``write`` (CPU of this side), ``write and arrive``."""
    with ServerProcess(["igbvf", "igbvf"]) as server, VfioUser(str(server.sockets[0])) as client:
        client.config_write(4, 2, 2)
        words, bare = client.bar(0).u32, Bare(server.sockets[1])
        index = REGISTER // 4

        def our_reads() -> None:
            for _ in range(READS):
                words[index]

        def our_writes() -> None:
            for value in range(WRITES):
                words[index] = value

        def bare_reads() -> None:
            for _ in range(READS):
                bare.read()

        def bare_writes() -> None:
            for value in range(WRITES):
                bare.write(value)

        pairs = ((our_reads, our_writes, lambda: words[index]), (bare_reads, bare_writes, bare.read))
        taken: list[list[tuple[float, float, float]]] = [[], []]
        for _ in range(ROUNDS):
            for which, sides in enumerate(pairs):
                taken[which].append(_round(*sides))
        bare.sock.close()
    names = ("read", "write", "write and arrive")
    medians = [[statistics.median(column) for column in zip(*rows, strict=True)] for rows in taken]
    return {name: (medians[0][i], medians[1][i]) for i, name in enumerate(names)}


def _round(reads: Callable[[], None], writes: Callable[[], None], settle: Callable[[], int]) -> tuple[float, float, float]:
    settle()
    start = time.perf_counter_ns()
    reads()
    read = time.perf_counter_ns() - start
    start, used = time.perf_counter_ns(), time.process_time_ns()
    writes()
    used = time.process_time_ns() - used
    settle()
    return read / READS, used / WRITES, (time.perf_counter_ns() - start) / WRITES


if __name__ == "__main__":
    for name, (ours, bare) in measure().items():
        print(f"{name:17} client {ours:7.0f} ns, bare loop {bare:7.0f} ns, ratio {ours / bare:.2f}")
