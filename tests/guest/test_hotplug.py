"""The VF comes and goes while guests run, and the server outlives its guests.

QEMU 11.1.3 aborts when it finalises an unplugged ``vfio-user-pci`` device that has MSI-X, whatever serves it: its
``vfio_user_instance_finalize`` takes the PBA out of a BAR that has already let it go (``memory_region_del_subregion:
Assertion `subregion->container == mr'``). ``test_unplug_ends_in_a_defect_of_qemu`` proves that it is so with a VF, and that
the very same unplug works where there is no MSI-X (``tests/emulators/pci/test_unplug.py``); it fails on the first QEMU that
mended this, and then unplugging belongs into ``test_plug_behind_a_root_port``.
"""

from __future__ import annotations

import pytest

from emulators.qemu import VfioUser
from emulators.qemu.errors import GuestError
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, ARRIVES, GOES, ping, up

pytestmark = pytest.mark.guest



def test_plug_behind_a_root_port(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(name="a", root_port=True), bench.machine(1, name="b"))
    up(b, ADDRESSES[1])
    assert a.run("ls /sys/class/net").text.split() == ["lo"]
    a.plug(VfioUser(str(bench.server.sockets[0])), "late", "rp0")
    for _ in range(2):
        a.run(ARRIVES, check=True)
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        a.run("echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove", check=True)
        a.run(GOES, check=True)
        a.run("echo 1 > /sys/bus/pci/rescan", check=True)
    a.run(ARRIVES, check=True)
    up(a, ADDRESSES[0])
    ping(a, ADDRESSES[1])
    clean(a)
    clean(b)


def test_unplug_ends_in_a_defect_of_qemu(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    b = bench.guest(1, name="b")
    up(b, ADDRESSES[1])
    with bench.machine(0, name="a", root_port=True) as a:
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        with pytest.raises(GuestError):
            a.unplug("dev0", timeout=20)
            a.run("sleep 5", timeout=20)
        assert "subregion->container == mr" in a.qemu_said, "this QEMU can unplug: move this into the test above"
    with bench.machine(0, name="a") as a:
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        clean(a)
    clean(b)


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
