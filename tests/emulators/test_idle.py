"""What a server costs whose functions have nothing to do."""

from __future__ import annotations

import time

from emulators.process import ServerProcess
from tests.bench.latency import Reader

VFS = 7


def test_seven_idle_vfs_take_less_than_a_percent_of_a_core_and_100_mib() -> None:
    with ServerProcess(["igbvf"] * VFS) as server:
        readers = [Reader(path) for path in server.sockets]
        for reader in readers:
            reader.samples(10)
        cpu, start = server.cpu_seconds(), time.monotonic()
        time.sleep(3)
        share = (server.cpu_seconds() - cpu) / (time.monotonic() - start)
        private = server.private_bytes()
        for reader in readers:
            reader.close()
    assert share < 0.01
    assert private < 100 << 20
