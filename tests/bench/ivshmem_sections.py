"""The section of the benchmark about IVSHMEM: how long a doorbell takes from one guest's register to the other's interrupt.

Without guests, whose own interrupt handling would be most of it: two drivers at vfio-user sockets stand for them, and each
device is a client of the server of its card. The memory needs no figure: nobody stands between it and who uses it.
"""

from __future__ import annotations

import time
from statistics import median, quantiles

from drivers.nics.ivshmem import Ivshmem
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from regmodel.catalogue import find
from tests.bench.table import Section, single

DEVICE = find("ivshmem-doorbell")


def doorbells(quick: bool) -> Section:
    """One at a time, each waited for."""
    with ServerProcess(["ivshmem-doorbell"] * 2) as process:
        one, two = (Ivshmem(VfioUser(str(path)), DEVICE) for path in process.sockets)
        with one, two:
            two.start()
            peer = two.id or 0
            times = [_once(one, two, peer) for _ in range(200 if quick else 2000)][20:]
    rows = [
        single("doorbell, median", median(times), "us", at_most=1000),
        single("doorbell, 99th percentile", quantiles(times, n=100)[98], "us"),
    ]
    about = ("From the write of one driver to the return of the other's wait: register write, eventfd of the peer, interrupt. "
             "Drivers in one process, both devices in another.")  # fmt: skip
    return Section("IVSHMEM doorbells", about, rows)


def _once(one: Ivshmem, two: Ivshmem, peer: int) -> float:
    """Microseconds."""
    start = time.perf_counter_ns()
    one.ring(peer)
    assert two.wait(5.0) == [0]
    return (time.perf_counter_ns() - start) / 1000
