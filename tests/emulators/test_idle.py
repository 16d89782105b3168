"""What a server costs whose functions have nothing to do."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from drivers.nics.avp import Avp
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from regmodel.devices.avp import AVP
from tests.bench.latency import Reader
from tests.drivers.nics.avp.bench import Side

pytestmark = pytest.mark.alone

VFS = 7
PORTS = 2


def least_share(server: ServerProcess) -> float:
    """Of a core, in the best of five seconds: what else the host does, or its own host, can only add to it."""
    return min(share(server) for _ in range(5))


def share(server: ServerProcess) -> float:
    """Of a core, in one second."""
    worked, began = nanoseconds(server), time.monotonic_ns()
    time.sleep(1)
    return (nanoseconds(server) - worked) / (time.monotonic_ns() - began)


def nanoseconds(server: ServerProcess) -> int:
    """Time that its threads have run so far (Linux Documentation/scheduler/sched-stats.rst, schedstat); ticks are coarse."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{server.pid}/task").glob("*/schedstat"))


def test_seven_idle_vfs_take_less_than_a_percent_of_a_core_and_100_mib() -> None:
    with ServerProcess(["igbvf"] * VFS) as server:
        readers = [Reader(path) for path in server.sockets]
        for reader in readers:
            reader.samples(10)
        taken = least_share(server)
        private = server.private_bytes()
        for reader in readers:
            reader.close()
    assert taken < 0.01
    assert private < 100 << 20


def test_two_ports_without_doorbells_take_less_than_two_percent() -> None:
    """Each is looked at 160 times a second, all at the same times."""
    with ServerProcess(["avp"] * PORTS) as server, contextlib.ExitStack() as stack:
        for path in server.sockets:
            Side(Avp(stack.enter_context(VfioUser(str(path))), AVP))
        time.sleep(1)
        taken = least_share(server)
    assert taken < 0.02, f"{100 * taken:.2f} %"
