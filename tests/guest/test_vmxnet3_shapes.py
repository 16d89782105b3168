"""VMXNET3 under the stock driver in each of its shapes: kinds of interrupts, numbers of queues, large BAR, hot-plug, vIOMMU.

The device is changed under the driver's feet by ``regmodel ctl`` between ``rmmod`` and ``insmod``, so that one boot does many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from regmodel.bars.vmxnet3 import REVISIONS, Command
from tests.guest.conftest import Bench
from tests.guest.network import MSS, OWN_PORTS, flow_to_each, flows, ping, send_file
from tests.guest.vmxnet3 import WITHOUT_MSIX, B, Pair, Plugged, statistics, table
from tests.guest.vmxnet3_tour import tour

pytestmark = pytest.mark.guest

DEVICE = "vmxnet3"
Clean = Callable[..., None]
KINDS = {"msix": 3, "msi": 2, "intx": 1}
MASKS_END, LARGE = 0x600, 0x1000
"""Where the doorbells begin, and those of the large BAR."""
WITHOUT = r"vmxnet3 \S+: Failed to enable MSI-X, error -22\b.*, try MSI\.$"
"""What the driver says of a device that has none, or where the kernel was told to use none."""


def works(pair: Pair) -> None:
    """Packets both ways by interrupt, and the vector of events."""
    pair.meets()
    pair.bench.ctl("link", "down")
    pair.carriers(False)
    pair.bench.ctl("link", "up")
    pair.carriers(True)
    ping(pair.near, B, count=2)


def test_every_kind_of_interrupt(bench: Bench, kernel: str, clean: Clean) -> None:
    """The device says which kind it wants, and who masks."""
    bench.serve(2)
    pair = Pair(bench)
    for kind, number in KINDS.items():
        for masking, mode in (("auto", 0), ("active", 1)):
            bench.ctl("nic", "0", "interrupts", kind)
            bench.ctl("nic", "0", "masking", masking)
            pair.reload()
            said = [line for line in pair.near.dmesg().splitlines() if "eth0: intr type" in line][-1]
            assert f"intr type {number}, mode {mode}" in said
            assert pair.status()["auto_mask"] == (masking == "auto")
            works(pair)
    clean(pair.near)


def test_without_messages(bench: Bench, kernel: str, clean: Clean) -> None:
    """Both NICs share a line with each other, or with nobody: as the machine has it."""
    bench.serve(2)
    pair = Pair(bench, append="pci=nomsi")
    assert "intr type 1" in pair.near.dmesg()
    works(pair)
    pair.add_up()
    clean(pair.near, WITHOUT)


@pytest.mark.parametrize("most", ["8", "2"])
def test_as_many_queues_as_processors_and_device_allow(bench: Bench, kernel: str, most: str, clean: Clean) -> None:
    """Up to revision 5 the driver rounds down to a power of two (vmxnet3_drv.c ``vmxnet3_probe_device``)."""
    bench.serve(2, options={"tx_queues": most, "rx_queues": most})
    pair = Pair(bench, cpus=3)
    ports = iter(OWN_PORTS)
    for revision, queues in (("9", min(3, int(most))), ("5", 2)):
        bench.ctl("nic", "0", "revision", revision)
        pair.reload()
        model = pair.status()
        assert (len(model["transmit"]), len(model["receive"])) == (queues, queues)
        assert f"# of Tx queues : {queues}, # of Rx queues : {queues}" in pair.near.dmesg()
        assert f"Combined:\t{queues}" in pair.near.run("ethtool -l eth0", check=True).text
        assert set(table(pair.near)) == set(range(queues))
        flows(pair.near, pair.far, 8 * queues, cpus=3)
        assert set(model["rss"]["table"]) == set(range(queues))
        flow_to_each(pair.near, model["rss"]["key"], model["rss"]["table"], partial(came_in, bench), ports)
        pair.add_up()
    clean(pair.near)


def came_in(bench: Bench) -> list[int]:
    """What came in so far, by the receive queues of nic0."""
    return [queue["ucastPktsRxOK"] for queue in bench.stats()["card"]["nics"]["nic0"]["receive"]]


def test_segments_that_nobody_cuts(bench: Bench, kernel: str, clean: Clean) -> None:
    """With TSO and LRO a file is a few large packets on both sides; without, the driver counts none as large."""
    bench.serve(2)
    pair = Pair(bench)
    size = 1 << 20
    for on in (True, False):
        pair.both(f"ethtool -K {{}} tso {'on' if on else 'off'} lro {'on' if on else 'off'}")
        before = {side: sides(pair, side) for side in ("near", "far")}
        send_file(pair.near, pair.far, B, size)
        sent, got = (sides(pair, side)[0] - before[side][0] for side in ("near", "far"))
        segments, merged = (sides(pair, side)[1] - before[side][1] for side in ("near", "far"))
        pieces = size // MSS
        assert min(sent, got) >= pieces, "both count what is on the wire"
        assert (got - segments + merged < pieces) == on, "those that are large save packets"
        assert 0 < 2 * merged <= segments if on else segments == merged == 0, (segments, merged)
    pair.add_up()
    clean(pair.near)


def sides(pair: Pair, side: str) -> tuple[int, int]:
    """What the near end sent or the far one received, as the drivers count: packets, and large ones. When both are at rest."""
    vm, nic, way, large = (pair.near, 0, "tx", "TSO") if side == "near" else (pair.far, 1, "rx", "LRO")
    for _ in range(20):
        said = statistics(vm, f"eth{nic}")
        queues = pair.bench.stats()["card"]["nics"][f"nic{nic}"]["transmit" if way == "tx" else "receive"]
        if said[f"ucast pkts {way}"] == sum(queue[f"ucastPkts{way.title()}OK"] for queue in queues):
            break
    else:
        raise AssertionError((said, queues))
    return said[f"ucast pkts {way}"], said[f"{large} pkts {way}"]


def test_large_bar(bench: Bench, kernel: str, clean: Clean) -> None:
    """Since revision 7 the driver takes the second set of doorbells where the device has one; before, the first."""
    bench.device = "vmxnet3-large"
    bench.serve(2)
    pair = Pair(bench)
    for revision, large in (("9", True), ("7", True), ("6", False)):
        bench.ctl("nic", "0", "revision", revision)
        pair.reload()
        pair.meets()
        assert bool(pair.status()["capabilities"] >> 16 & 1) == large
        with bench.server.control() as client:
            rows = client.ask("recent", function="nic0", count=64)
        written = {offset for _, _, bar, op, _, offset, _, _ in rows if bar == 0 and op == "write"}
        assert {offset >= LARGE for offset in written if offset >= MASKS_END} == {large}
    assert (Command.GET_MAX_QUEUES_CONF, 32 | 32 << 8) in pair.commands()
    pair.add_up()
    clean(pair.near)


def test_plugged_in_behind_a_translating_iommu(bench: Bench, kernel: str, clean: Clean) -> None:
    """Every address that the driver gives is translated, and the device was not there when the guest came up. All that is
    done without an IOMMU works here.

    QEMU aborts when it unplugs a device with MSI-X (``test_hotplug``), so it goes as the guest alone lets it go.
    """
    bench.serve(2)
    pair = Plugged(bench, viommu=True, append="iommu.passthrough=0 iommu.strict=1")
    vm = pair.near
    assert "DMAR: IOMMU enabled" in vm.dmesg()
    pair.plug("late")
    vm.run("echo 1 > /sys/bus/pci/devices/0000:02:00.0/remove", check=True)
    pair.goes()
    vm.run("echo 1 > /sys/bus/pci/rescan", check=True)
    pair.comes()
    tour(pair, REVISIONS)
    assert vm.run("cat /sys/class/net/eth0/device/iommu_group/type", check=True).text == "DMA"
    clean(vm)


def test_unplugged_while_it_works(bench: Bench, kernel: str, clean: Clean) -> None:
    """A NIC with MSI only, which QEMU can unplug: it goes under its driver, and another comes."""
    bench.device = WITHOUT_MSIX
    bench.serve(2)
    pair = Plugged(bench, cpus=1)
    for name in ("first", "second"):
        pair.plug(name)
        assert "intr type 2" in pair.near.dmesg()
        pair.near.unplug(name)
        pair.goes()
    pair.plug("third")
    clean(pair.near, WITHOUT)
