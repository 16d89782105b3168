"""Bringing the stock igbvf up, down, away and back; what two guests exchange, and whether all counters add up."""

from __future__ import annotations

import pytest

from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, carrier, counters, no_ping, ping, send_file, until, up

pytestmark = pytest.mark.guest

RECOVERS = 15
"""Seconds: the driver resets a VF that its PF has left only 10 s after it last did, and looks every 2 s (netdev.c
``igbvf_has_link``, ``igbvf_watchdog_task``).
"""


def test_two_guests_ping_and_move_a_file(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    heard = bench.listen("dma", "irq", "mailbox", "reset")
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    up(a, ADDRESSES[0])
    up(b, ADDRESSES[1])
    ping(a, ADDRESSES[1])
    ping(b, ADDRESSES[0])
    send_file(a, b, ADDRESSES[1], size=2 << 20)
    send_file(b, a, ADDRESSES[0], size=2 << 20)
    seen = {(event["event"], str(event.get("op")).split()[0]) for event in heard}
    assert {("dma", "map"), ("dma", "read"), ("dma", "write"), ("irq", "None"), ("mailbox", "None")} <= seen
    clean(a)
    clean(b)


def test_counters_of_both_ends_and_the_switch_add_up(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    for vm, address in ((a, ADDRESSES[0]), (b, ADDRESSES[1])):
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1", check=True)
        vm.run("sysctl -q -w net.ipv4.tcp_rmem='4096 65536 131072'", check=True)  # less is under way than there are buffers for
        up(vm, address)
    ping(a, ADDRESSES[1], count=20, size=1000)
    send_file(a, b, ADDRESSES[1])
    bench.add_up("vf0", "vf1")
    sent, got = counters(a), counters(b)
    pools = bench.pools()
    for end, pool in ((sent, pools["vf0"]), (got, pools["vf1"])):
        for way in ("tx", "rx"):
            assert end[f"{way}_packets"] == pool[way]["frames"]
            assert end[f"{way}_bytes"] == pool[way]["octets"] + 4 * pool[way]["frames"], "the VF counts the FCS"
        assert pool["dropped"] == {}
    assert got["rx_packets"] == sent["tx_packets"] and sent["rx_packets"] == got["tx_packets"]
    assert sent["tx_packets"] > 700, "a file of 1 MiB takes that many frames"
    clean(a)
    clean(b)


def test_driver_goes_and_comes_back(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    up(b, ADDRESSES[1])
    for _ in range(3):
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        a.run("rmmod igbvf && [ ! -e /sys/class/net/eth0 ] && modprobe igbvf", check=True)
    for _ in range(3):
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1])
        a.run("ip link set eth0 down", check=True)
    up(a, ADDRESSES[0])
    ping(a, ADDRESSES[1])
    clean(a)


def test_ethtool_self_test_and_identity(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(1)
    vm = bench.guest(0)
    vm.run("ip link set eth0 up", check=True)
    carrier(vm, True)
    assert "The test result is PASS" in vm.run("ethtool -t eth0", check=True).text
    assert "driver: igbvf" in vm.run("ethtool -i eth0", check=True).text
    settings = vm.run("ethtool eth0", check=True).text
    assert "Speed: 1000Mb/s" in settings and "Link detected: yes" in settings and "Duplex: Full" in settings
    ids = {"igbvf": "8086:10ca", "igbvf-i350": "8086:1520"}
    assert ids[device] in vm.run("lspci -n -s 00:01.0", check=True).text
    bench.ctl("link", "down")
    carrier(vm, False)
    assert "The test result is FAIL" in vm.run("ethtool -t eth0").text
    bench.ctl("link", "up")
    carrier(vm, True)
    assert "The test result is PASS" in vm.run("ethtool -t eth0", check=True).text
    clean(vm)


def test_link_and_vf_state_are_steered_from_the_host(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    up(a, ADDRESSES[0])
    up(b, ADDRESSES[1])
    bench.ctl("vf", "0", "state", "disable")
    carrier(a, False)
    bench.ctl("vf", "0", "state", "auto")
    carrier(a, True)
    ping(a, ADDRESSES[1])
    bench.ctl("vf", "0", "mac", "02:11:22:33:44:55")
    a.run("rmmod igbvf && modprobe igbvf", check=True)
    up(a, ADDRESSES[0])
    assert a.run("cat /sys/class/net/eth0/address", check=True).text.strip() == "02:11:22:33:44:55"
    ping(a, ADDRESSES[1])
    bench.ctl("vf", "0", "vlan", "7")
    no_ping(a, ADDRESSES[1])
    bench.ctl("vf", "1", "vlan", "7")
    ping(a, ADDRESSES[1])
    clean(a)
    clean(b)


def test_pf_reset_under_traffic(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    up(a, ADDRESSES[0])
    up(b, ADDRESSES[1])
    a.run(f"ping -n -q -i 0.002 -c 100000 {ADDRESSES[1]} > /tmp/flood 2>&1 & echo", check=True)

    def floods() -> None:
        before = bench.pools()["vf0"]["rx"]["frames"]
        until(lambda: bench.pools()["vf0"]["rx"]["frames"] > before + 100)

    floods()
    for _ in range(3):
        bench.ctl("pf-reset")
        a.run("sleep 1", check=True)
    for vm in (a, b):
        carrier(vm, True, seconds=RECOVERS)
    floods()
    a.run("killall -INT ping; while pidof ping > /dev/null; do sleep 0.1; done", check=True)
    ping(a, ADDRESSES[1], count=20)
    send_file(a, b, ADDRESSES[1])
    text = a.run("cat /tmp/flood", check=True).text
    received = int(text.partition(" received")[0].rpartition(", ")[2])
    assert received > 100, text
    bench.add_up("vf0", "vf1")
    clean(a)
    clean(b)
