"""The VF comes and goes below a root port while the guest runs, and the server outlives its guests."""

from __future__ import annotations

import pytest

from emulators.qemu import VfioUser
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, ping, up

pytestmark = pytest.mark.guest


def test_unplug_and_plug_behind_a_root_port(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(
        bench.machine(0, name="a", root_port=True), bench.machine(1, name="b"),
    )  # fmt: skip
    up(b, ADDRESSES[1])
    for _ in range(2):
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        a.unplug("dev0")
        a.run("for i in $(seq 50); do [ -e /sys/class/net/eth0 ] || exit 0; sleep 0.1; done; exit 1", check=True)
        a.plug(VfioUser(str(bench.server.sockets[0])), "dev0", "rp0")
        a.run("for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && exit 0; sleep 0.1; done; exit 1", check=True)
    up(a, ADDRESSES[0])
    ping(a, ADDRESSES[1])
    clean(a)


def test_the_server_outlives_guests_that_are_killed(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    b = bench.guest(1, name="b")
    up(b, ADDRESSES[1])
    for _ in range(2):
        with bench.machine(0, name="a") as a:
            up(a, ADDRESSES[0])
            ping(a, ADDRESSES[1])
            a.kill()
    with bench.machine(0, name="a") as a:
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        clean(a)
    assert bench.server.alive
    clean(b)
