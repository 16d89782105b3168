"""Cards of several ports, and how many VFs a port has: who reaches whom, under the numbers that the guide gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulators.qemu import VM
from tests.guest.conftest import Bench
from tests.guest.network import no_ping, ping, up

pytestmark = pytest.mark.guest

Clean = Callable[[VM], None]


def test_vfs_of_a_port_reach_each_other_and_none_of_the_other_port(
    bench: Bench, device: str, kernel: str, clean: Clean
) -> None:
    """VF0 and VF2 are on port 0, VF1 and VF3 on port 1. Each guest has one of either."""
    bench.serve(4, ports=2)
    a, b = bench.guests(bench.machine(0, 1, name="a"), bench.machine(2, 3, name="b"))
    for vm, last in ((a, 1), (b, 2)):
        up(vm, f"10.0.0.{last}", "eth0")
        up(vm, f"10.0.1.{last}", "eth1")
    ping(a, "10.0.0.2")
    ping(a, "10.0.1.2")
    a.run("ip addr add 10.0.2.1/24 dev eth0", check=True)
    b.run("ip addr add 10.0.2.2/24 dev eth1", check=True)
    no_ping(a, "10.0.2.2", "-I eth0")
    ports = bench.stats()["card"]["ports"]
    assert [sorted(p["pools"]) for p in ports] == [
        ["pf", *(f"vf{n}" for n in (0, 10, 12, 2, 4, 6, 8))],
        ["pf", *(f"vf{n}" for n in (1, 11, 13, 3, 5, 7, 9))],
    ]
    bench.ctl("port", "1", "link", "down")
    ping(a, "10.0.0.2")
    for vm in (a, b):
        vm.run(
            "for i in $(seq 50); do [ $(cat /sys/class/net/eth1/carrier) = 0 ] && exit 0; sleep 0.1; done; exit 1", check=True
        )
        assert vm.run("cat /sys/class/net/eth0/carrier", check=True).text.strip() == "1"
        clean(vm)


def test_eight_vfs_where_the_pf_gives_up_its_pool(bench: Bench, device: str, kernel: str, clean: Clean) -> None:
    bench.serve(8, options={"vfs": "8"})
    vm, peer = bench.guests(bench.machine(*range(7), name="a"), bench.machine(7, name="b"))
    up(peer, "10.0.0.8")
    for n in range(7):
        up(vm, f"10.0.0.{n + 1}", f"eth{n}")
    addresses = vm.run("cat /sys/class/net/eth*/address", check=True).text.split()
    assert len(set(addresses)) == 7
    vm.run("sysctl -q -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.rp_filter=0", check=True)
    for n in range(7):
        ping(vm, "10.0.0.8", count=2, options=f"-I eth{n}")
    assert "pf" not in bench.stats()["card"]["ports"][0]["pools"]
    for guest in (vm, peer):
        clean(guest)
