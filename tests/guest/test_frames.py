"""Frames of all sizes and shapes through the stock igbvf: jumbo, offloads, ring sizes."""

from __future__ import annotations

import pytest

from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, carrier, ping, send_file, up

pytestmark = pytest.mark.guest


def test_jumbo_frames(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    for vm, address in ((a, ADDRESSES[0]), (b, ADDRESSES[1])):
        vm.run("ip link set eth0 mtu 9000", check=True)
        up(vm, address)
    for size in (56, 1472, 1473, 2000, 4096, 8000, 8972):
        ping(a, ADDRESSES[1], size=size, count=3)
    send_file(a, b, ADDRESSES[1], size=2 << 20)
    with bench.server.control() as client:
        split = client.ask("peek", function="vf1", paths=["srrctl[0]"])["srrctl[0]"] >> 25 & 7
    for vm in (a, b):
        vm.run("ip link set eth0 mtu 1500", check=True)
        carrier(vm, True)
    ping(a, ADDRESSES[1], size=1472)
    assert split == 5, "stock igbvf splits headers from data at this MTU"
    bench.add_up("vf0", "vf1")
    assert a.run("ip link set eth0 mtu 9500").status != 0, "the stock driver's limit is 9216"
    clean(a)
    clean(b)


@pytest.mark.parametrize("offloads", ["on", "off"])
def test_offloads(bench: Bench, device: str, kernel: str, offloads: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    for vm, address in ((a, ADDRESSES[0]), (b, ADDRESSES[1])):
        vm.run(f"ethtool -K eth0 tso {offloads} tx {offloads} rx {offloads} sg {offloads}", check=True)
        up(vm, address)
        vm.run(f"ip -6 addr add fd00::{address[-1]}/64 dev eth0 nodad", check=True)
    features = a.run("ethtool -k eth0", check=True).text
    for name in ("tcp-segmentation-offload", "tx-checksumming", "rx-checksumming"):
        assert f"{name}: {offloads}" in features, features
    ping(a, ADDRESSES[1], count=3, size=1472)
    send_file(a, b, ADDRESSES[1], size=2 << 20)
    send_file(a, b, "fd00::2", size=1 << 20, port=5001)
    errors = {name: value for name, value in _errors(b).items() if value}
    assert not errors, errors
    bench.add_up("vf0", "vf1")
    frames = bench.pools()["vf0"]["tx"]
    assert frames["octets"] / frames["frames"] < 1515, "no frame is longer than the MTU allows"
    clean(a)
    clean(b)


def test_ring_sizes(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    a, b = bench.guests(bench.machine(0, name="a"), bench.machine(1, name="b"))
    up(a, ADDRESSES[0])
    up(b, ADDRESSES[1])
    for rx, tx in ((80, 80), (4096, 4096), (1024, 80), (80, 2048), (256, 256)):
        a.run(f"ethtool -G eth0 rx {rx} tx {tx}", check=True)
        up(a, ADDRESSES[0])
        ping(a, ADDRESSES[1], count=100 if rx == 80 else 10)
        send_file(a, b, ADDRESSES[1], size=512 << 10)
        send_file(b, a, ADDRESSES[0], size=512 << 10)
    bench.add_up("vf0", "vf1")
    clean(a)
    clean(b)


def _errors(vm) -> dict[str, int]:
    """The counters of the interface and of TCP/UDP that only grow when something is wrong with frames."""
    names = ("rx_errors", "rx_crc_errors", "rx_frame_errors", "tx_errors")
    found = {n: int(vm.run(f"cat /sys/class/net/eth0/statistics/{n}", check=True).text) for n in names}
    lines = vm.run("grep ^Tcp: /proc/net/snmp", check=True).text.split("\n")
    tcp = dict(zip(lines[0].split(), lines[1].split(), strict=True))
    found["tcp checksum errors"] = int(tcp.get("InCsumErrors", 0))
    return found
