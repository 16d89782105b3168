"""virtio-net under the stock ``virtio_net``: every front, one and four queue pairs, messages and the pin. One boot does it all.

The guest has two NICs of one card, each in a network namespace of its own, and everything between them goes through the
model. What ``ethtool`` says is held against what the model says of itself over the control socket.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from emulators.qemu.machine import root_port
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, Late, carrier, counters, no_ping, ping, send_file, up
from tests.guest.virtio import ACCESS_PLATFORM, FAR, RING_PACKED, VERSION_1, Front, apart, features, nic, quiet, serve

pytestmark = pytest.mark.guest

Clean = Callable[..., None]
A, B = ADDRESSES
RSS, RSS_BIT = {"rss": "on", "hash": "on"}, 60
MODULES = ["virtio_net", "8021q"]
REFUSED = r"virtio_net virtio\d+ eth0: resize [rt]x fail: [rt]x queue index: 0 err: -2$"
"""What the driver says of another ring size where no queue can be reset alone (``rings``)."""
PRIVATE = 20 << 20
"""Bytes that one NIC may cost the server."""


class Pair:
    """A guest with both ends: ``near`` is eth0, ``far`` eth1."""

    def __init__(
        self, bench: Bench, front: str, pairs: str = "1", *, options: dict[str, str] | None = None, msix: bool = True,
        **more: object,
    ) -> None:  # fmt: skip
        self.bench, self.pairs = bench, int(pairs)
        self.front: Front = serve(bench, front, pairs, options=options or {}, msix=msix)
        self.boot(**more)

    def boot(self, **more: object) -> None:
        """A guest with both NICs from the start."""
        self.bdf = "00:01.0"
        self.near = self.bench.guest(0, 1, modules=MODULES, **more)
        quiet(self.near)
        self.meet()

    def meet(self) -> None:
        """Both interfaces up, one of them far."""
        self.far = apart(self.near)
        up(self.near, A)
        up(self.far, B, "eth1")

    def reload(self) -> None:
        """The driver goes and comes back, and with it the interfaces."""
        again = f"rmmod virtio_net && [ ! -e /sys/class/net/eth0 ] && ip netns del {FAR} && modprobe virtio_net"
        self.near.run(again, check=True)
        self.meet()

    def both(self, command: str) -> None:
        """In both namespaces; ``{}`` is the interface."""
        self.near.run(command.replace("{}", "eth0"), check=True)
        self.far.run(command.replace("{}", "eth1"), check=True)

    def files(self, size: int = 256 << 10) -> None:
        """TCP both ways."""
        send_file(self.near, self.far, B, size)
        send_file(self.far, self.near, A, size, port=5001)


class Plugged(Late, Pair):
    """The same where the near one comes later, behind a root port."""

    def boot(self, **more: object) -> None:
        self.bdf = "02:00.0"
        self.near = self.bench.guest(1, modules=MODULES, root_port=True, arguments=["-device", root_port(1)], **more)
        quiet(self.near)
        self.far = apart(self.near, "eth0", "eth1")
        up(self.far, B, "eth1")
        self.plug("late")

    def meet(self) -> None:
        """The driver has come again, and found the far one first."""
        self.far = apart(self.near, "eth0", "eth1")
        self.near.run("ip link set eth1 name eth0", check=True)
        up(self.far, B, "eth1")
        up(self.near, A)


def test_a_tour(bench: Bench, front: str, pairs: str, signal: str, kernel: str, clean: Clean) -> None:
    several = {} if pairs == "1" or front == "legacy" else RSS
    pair = Pair(bench, front, pairs, options=several, append="pci=nomsi" if signal == "intx" else "")
    vm, memory = pair.near, bench.server.private_bytes()
    negotiated(pair, signal)
    ping(vm, B, count=5)
    ping(vm, B, count=1, size=1472)
    tour(pair)
    ends_well(pair, clean, "" if pair.front.modern else REFUSED)
    assert bench.server.private_bytes() < memory + 2 * PRIVATE


@pytest.mark.only(front=["split", "packed", "transitional-split", "transitional-packed"])
def test_plugged_in_behind_a_translating_iommu(bench: Bench, front: str, kernel: str, clean: Clean) -> None:
    """Every address that the driver gives is translated, and the device was not there when the guest came up. All that is
    done without an IOMMU works here.

    QEMU aborts when it unplugs a device with MSI-X (``test_hotplug``), so it goes as the guest alone lets it go.
    """
    pair = Plugged(bench, front, "4", options=RSS, viommu=True, append="iommu.passthrough=0 iommu.strict=1")
    vm = pair.near
    assert "DMAR: IOMMU enabled" in vm.dmesg()
    negotiated(pair, "msix")
    assert ACCESS_PLATFORM in features(vm)
    ping(vm, B)
    pair.files()
    vm.run(f"echo 1 > /sys/bus/pci/devices/0000:{pair.bdf}/remove", check=True)
    pair.goes()
    vm.run("echo 1 > /sys/bus/pci/rescan", check=True)
    pair.comes()
    tour(pair)
    assert vm.run("cat /sys/class/net/eth0/device/../iommu_group/type", check=True).text == "DMA"
    ends_well(pair, clean)


@pytest.mark.only(front=["packed", "transitional-split", "legacy"])
def test_unplugged_while_it_works(bench: Bench, front: str, kernel: str, clean: Clean) -> None:
    """A NIC without MSI-X, which QEMU can unplug: it goes under its driver, and another comes."""
    pair = Plugged(bench, front, msix=False)
    for name, successor in (("late", "later"), ("later", "last")):
        negotiated(pair, "intx")
        ping(pair.near, B)
        pair.files()
        pair.near.unplug(name)
        pair.goes()
        pair.plug(successor)
    ping(pair.near, B)
    ends_well(pair, clean)


def tour(pair: Pair) -> None:
    """TCP both ways, offloads, MTU, VLANs, rings, channels, down and up, the link, and a driver that goes and comes again."""
    pair.files(1 << 20)
    agree(pair)
    offloads(pair)
    jumbo(pair)
    vlans(pair)
    rings(pair)
    channels(pair)
    down_and_up(pair)
    link(pair)
    pair.reload()
    ping(pair.near, B)
    send_file(pair.near, pair.far, B, 64 << 10)
    agree(pair)


def ends_well(pair: Pair, clean: Clean, asked_for: str = "") -> None:
    """The driver is in charge, and neither device nor kernel had to complain, but for what the test asked for."""
    assert nic(pair.bench)["status"] == (0xF if pair.front.modern else 0x7)
    assert pair.bench.stats()["nic0"]["device errors"] == {}
    clean(pair.near, asked_for)


def down_and_up(pair: Pair) -> None:
    pair.both("ip link set {} down && ip link set {} up")
    meets(pair)


def link(pair: Pair) -> None:
    """The driver learns by interrupt what becomes of the link."""
    pair.bench.ctl("link", "down")
    carrier(pair.near, False)
    no_ping(pair.near, B)
    pair.bench.ctl("link", "up")
    carrier(pair.near, True)
    carrier(pair.far, True, "eth1")
    ping(pair.near, B)


def meets(pair: Pair) -> None:
    """Addresses hold again after an interface went down, and frames go through."""
    up(pair.near, A)
    up(pair.far, B, "eth1")
    ping(pair.near, B)


def negotiated(pair: Pair, signal: str) -> None:
    """What driver and model agreed on is what this cell is about."""
    vm, bits = pair.near, features(pair.near)
    assert (VERSION_1 in bits, RING_PACKED in bits) == (pair.front.modern, pair.front.packed)
    assert len(bits) == len(nic(pair.bench)["features"])
    assert "driver: virtio_net" in vm.run("ethtool -i eth0", check=True).text
    identity = "1af4:1041 (rev 01)" if pair.front.device == "virtio-net" else "1af4:1000"
    assert vm.run(f"lspci -n -s {pair.bdf}", check=True).text.endswith(f"0200: {identity}")
    name = vm.run("basename $(readlink /sys/class/net/eth0/device)", check=True).text
    interrupts = vm.run(f"grep {name} /proc/interrupts", check=True).text
    assert ("MSI" in interrupts, "fasteoi" in interrupts) == ((True, False) if signal == "msix" else (False, True)), interrupts
    if signal == "msix":
        assert len(re.findall(rf"{name}-(?:input|output)", interrupts)) == 2 * pair.pairs


def flows(pair: Pair, count: int) -> None:
    """Several TCP connections at once; each brings what was sent."""
    make = "mkdir -p /tmp/www; dd if=/dev/urandom of=/tmp/www/flow bs=64k count=1 2>/dev/null"
    pair.far.run(f"pidof httpd > /dev/null || {{ {make}; httpd -p 80 -h /tmp/www; }}", check=True)
    fetch = f"for i in $(seq {count}); do wget -q -T 30 -O /tmp/flow.$i http://{B}/flow & done; wait"
    add_up = "sha256sum /tmp/flow.* /tmp/www/flow | cut -c -64"
    sums = pair.near.run(f"rm -f /tmp/flow.*; {fetch}; {add_up}", check=True).text.split()
    assert len(sums) == count + 1 and len(set(sums)) == 1


def agree(pair: Pair) -> None:
    """``ethtool -S`` counts the doorbells that the model heard, and the interface the frames that its queues moved."""
    ours, theirs, link = at_one_moment(pair)
    used = [number for number in range(pair.pairs) if f"tx{number}_kicks" in theirs]
    assert theirs["rx0_kicks"] == ours["0"]["doorbells"]
    assert [theirs[f"tx{n}_kicks"] for n in used] == [ours[str(2 * n + 1)]["doorbells"] for n in used]
    assert all(theirs[f"rx{n}_drops"] == theirs[f"tx{n}_tx_timeouts"] == 0 for n in used)
    assert not any(queue.get("dropped") for queue in ours.values())
    assert link["rx_packets"] == sum(ours[str(2 * n)]["frames"] for n in used)
    assert link["tx_packets"] == sum(ours[str(2 * n + 1)]["frames"] for n in used)


def at_one_moment(pair: Pair) -> tuple[dict[str, Any], dict[str, int], dict[str, int]]:
    """The queues of the model, ``ethtool -S``, and the counters of the interface, with nothing in between."""
    for _ in range(20):
        ours = nic(pair.bench)["queues"]
        theirs = counters(pair.near)
        rx, tx = pair.near.run("cd /sys/class/net/eth0/statistics && cat rx_packets tx_packets", check=True).text.split()
        if nic(pair.bench)["queues"] == ours:
            return ours, theirs, {"rx_packets": int(rx), "tx_packets": int(tx)}
    raise AssertionError("the card never rests")


def offloads(pair: Pair) -> None:
    """``ethtool -k`` has what the model offers; TCP goes through without each of them, too."""
    said = pair.near.run("ethtool -k eth0", check=True).text
    for name in ("tx-checksumming", "scatter-gather", "tcp-segmentation-offload", "tx-tcp6-segmentation"):
        assert f"{name}: on" in said, said
    pair.both("ethtool -K {} tso off tx off")
    pair.files(64 << 10)
    pair.both("ethtool -K {} tx on tso on")


def jumbo(pair: Pair) -> None:
    pair.both("ip link set {} mtu 9000")
    for size in (1473, 4096, 8972):
        ping(pair.near, B, count=2, size=size)
    send_file(pair.near, pair.far, B, 256 << 10, port=5003)
    pair.both("ip link set {} mtu 1500")
    ping(pair.near, B, count=2, size=1472)


def vlans(pair: Pair) -> None:
    """The stock driver joins the VLANs that are configured; others do not get through the model's filter."""
    for vm, interface, last in ((pair.near, "eth0", 1), (pair.far, "eth1", 2)):
        for vid in (7, 8):
            vm.run(f"ip link add link {interface} name v{vid} type vlan id {vid} && "
                   f"ip addr add 198.51.{vid}.{last}/24 dev v{vid} && ip link set v{vid} up", check=True)  # fmt: skip
            if vid == 8 and last == 2:
                vm.run("ip link del v8", check=True)
    ping(pair.near, "198.51.7.2", count=3, size=1472)
    no_ping(pair.near, "198.51.8.2")
    pair.near.run("ip link del v7; ip link del v8", check=True)
    pair.far.run("ip link del v7", check=True)


def rings(pair: Pair) -> None:
    """A queue can be reset alone through the modern interface, and so have another size."""
    shown = r"RX:\s+(\d+)\s[^:]*(?:[^:]*:\s+n/a\s)*[^:]*TX:\s+(\d+)\s"
    assert re.findall(shown, pair.near.run("ethtool -g eth0", check=True).text)[0] == ("256", "256")
    if not pair.front.modern:
        assert pair.near.run("ethtool -G eth0 rx 128 tx 64").status != 0
        return
    for rx, tx in ((64, 32), (256, 256)):
        pair.near.run(f"ethtool -G eth0 rx {rx} tx {tx}", check=True)
        assert re.findall(shown, pair.near.run("ethtool -g eth0", check=True).text)[-1] == (str(rx), str(tx))
        ping(pair.near, B, count=5)
    send_file(pair.far, pair.near, A, 128 << 10, port=5002)


def channels(pair: Pair) -> None:
    """As many queue pairs as asked for; with RSS the table is the model's."""
    for wanted in sorted({2, pair.pairs} & set(range(pair.pairs + 1))):
        pair.near.run(f"ethtool -L eth0 combined {wanted}", check=pair.pairs > 1)  # what it is already may be refused
        assert nic(pair.bench)["pairs"] == wanted
        table = pair.near.run("ethtool -x eth0").text
        hashed = re.search(r"RSS hash key:\n[0-9a-f]{2}:", table) is not None
        assert hashed == (RSS_BIT in features(pair.near)) == ("rss" in nic(pair.bench)["features"])
        if hashed:
            assert f"with {wanted} RX ring(s)" in table
            assert set(re.findall(r"\d+", table.partition("RSS hash key")[0].split("\n", 2)[2])) >= {str(wanted - 1)}
        ping(pair.near, B, count=3)
    flows(pair, 4)
    assert pair.near.run(f"ethtool -L eth0 combined {pair.pairs + 1}").status != 0
