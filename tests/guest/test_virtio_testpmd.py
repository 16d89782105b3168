"""virtio-net under DPDK's testpmd (``net_virtio``): modern through ``vfio-pci``, legacy by port I/O.

Each test does the same on our device and on QEMU's own; where QEMU's cannot, ``Ports.ours`` says so at that place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from emulators.fabric.frames import mac_text
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.network import until
from tests.guest.pmd import address, feed, frame, heard, shows, stats, streams, txonly
from tests.guest.test_testpmd import discard
from tests.guest.test_vmxnet3_testpmd import MSS, payload_length, right, segments, told
from tests.guest.virtio_ports import ADDRESSES, PEER, Ports, ours, qemus

pytestmark = pytest.mark.guest

WHOSE: dict[str, Callable[[Bench, str, Path], AbstractContextManager[Ports]]] = {"ours": ours, "qemus": qemus}
SIZES = [60, 61, 64, 127, 128, 1500, 1514, 2100, 4200, 8900]
LONG = ("--max-pkt-len=9018", "--enable-scatter")
EVERY_FRONT = pytest.mark.only(front=["split", "packed", "legacy"], kernel=["7.2"])


@pytest.fixture(params=["ours", "qemus"])
def ports(bench: Bench, front: str, kernel: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ports]:
    with WHOSE[request.param](bench, front, tmp_path) as found:
        yield found


@EVERY_FRONT
def test_frames(ports: Ports) -> None:
    """txonly, rxonly, io and macswap, with what each port counts; then checksums and segments."""
    txonly_and_rxonly(ports)
    from_port_to_port(ports)
    checksums_and_segmentation(ports)


@EVERY_FRONT
def test_filters_and_lives(ports: Ports) -> None:
    """Promiscuous mode, VLANs, link; a port stops, starts, closes, is detached and attached, and goes back to the kernel."""
    promiscuous_and_vlans(ports)
    stop_start_close_and_detach(ports)
    back_to_the_kernel(ports)


def txonly_and_rxonly(ports: Ports) -> None:
    with ports.testpmd("--port-topology=loop") as pmd:
        assert "net_virtio" in pmd("show port info 0") and address(pmd) == ADDRESSES[0]
        pmd("set portlist 0")
        each = discard(ADDRESSES[0], bytes((2, 0, 0, 0, 0, 0)), 64)
        for pieces, size in (("64", 64), ("60,100,1354", 1514)):
            pmd(f"set txpkts {pieces}")
            got, sent = txonly(pmd, ports.cables[0], 2000, *ports.servers[:1])
            assert {len(packet) for packet in got} == {size}
            assert size != 64 or set(got) == {each}, "every octet"
            assert set(sent) == {(0, queue) for queue in range(ports.queues)}
            total, counted = sum(sent.values()), stats(pmd)
            assert counted["TX-packets"] == total and counted["TX-bytes"] == size * total and not counted["TX-errors"]

        pmd("set portlist 1")
        pmd("set fwd rxonly")
        pmd("start")
        sizes = [60 + 7 * i % 1455 for i in range(1500)]
        feed(pmd, 1, ports.cables[1], [frame(ADDRESSES[1], size=size) for size in sizes])
        assert sum(streams(pmd("stop"), "RX").values()) == len(sizes)
        got = stats(pmd, 1)
        assert got["RX-bytes"] == sum(sizes) and got["RX-errors"] == got["RX-missed"] == got["RX-nombuf"] == 0


def from_port_to_port(ports: Ports) -> None:
    sizes = SIZES * 10
    with ports.testpmd(*LONG) as pmd:
        frames = [[frame(own, size=size, mark=i) for i, size in enumerate(sizes)] for own in ADDRESSES]
        swapped = [[each[6:12] + each[:6] + each[12:] for each in side] for side in frames]
        for engine, expected in (("io", frames), ("macswap", swapped)):
            pmd(f"set fwd {engine}")
            pmd("start")
            for here, there in ((0, 1), (1, 0)):
                ports.cables[here].send(*frames[here])
                assert ports.cables[there].receive(len(sizes)) == expected[here], engine
            said = pmd("stop")
            assert sum(streams(said, "RX").values()) == sum(streams(said, "TX").values()) == 2 * len(sizes)
        received, sent = stats(pmd, 0), stats(pmd, 1)
        assert received["RX-packets"] == sent["TX-packets"] == 2 * len(sizes)
        assert received["RX-bytes"] == sent["TX-bytes"] == 2 * sum(sizes)


def checksums_and_segmentation(ports: Ports) -> None:
    """Engine csum: port 1 is told to sum up and to cut what comes in at port 0.

    QEMU offers neither, because a datagram socket carries no ``virtio_net_hdr``; the PMD says so.
    """
    with ports.testpmd("--forward-mode=csum") as pmd:
        pmd("port stop 1")
        for layer in ("tcp", "udp"):
            said = pmd(f"csum set {layer} hw 1")
            assert (f"{layer.upper()} checksum offload is hw" in said) == ports.ours
            assert ("is not supported by port 1" in said) != ports.ours, said
        said = pmd(f"tso set {MSS} 1")
        assert ("not supported by port 1" in said) != ports.ours, said
        if not ports.ours:
            return
        pmd("port start 1")
        pmd("start")
        for name, packet in segments().items():
            ports.cables[0].send(bytes(Ether(dst=mac_text(ADDRESSES[0]), src=PEER) / packet))
            kind = TCP if TCP in packet else UDP
            data = bytes(packet[kind].payload)
            pieces = -(-len(data) // MSS) if kind is TCP else 1
            got = [Ether(raw) for raw in ports.cables[1].receive(pieces)]
            assert len(got) == pieces and all(right(each) for each in got), name
            assert b"".join(bytes(each[kind].payload)[: payload_length(each)] for each in got) == data, name
            if kind is TCP:
                assert [each[TCP].seq for each in got] == [100000 + MSS * i for i in range(pieces)], name
                assert ["P" in each[TCP].flags for each in got] == [False] * (pieces - 1) + [True], name
        pmd("stop")


def promiscuous_and_vlans(ports: Ports) -> None:
    own = ADDRESSES[0]
    other, group, everyone = own[:5] + b"\x77", bytes.fromhex("01005e000105"), b"\xff" * 6
    args = ("--enable-hw-vlan-filter", "--port-topology=loop", "--forward-mode=rxonly")
    with ports.testpmd(*args, ports=1) as pmd:
        pmd("set verbose 1")
        pmd("start")
        arrive = partial(heard, pmd, ports.cables[0])

        def tags(*frames: bytes) -> list[str]:
            said = [line for line in arrive(*frames) if "dst=" in line]
            return [line.partition("VLAN tci=")[2].split()[0] if "VLAN_STRIPPED" in line else "" for line in said]

        each = [frame(target) for target in (own, other, group, everyone)]
        assert told(arrive(*each)) == [mac_text(target) for target in (own, other, group, everyone)], "promiscuous at first"
        pmd("set promisc 0 off")
        assert told(arrive(*each)) == [mac_text(own), mac_text(everyone)]
        pmd("set allmulti 0 on")
        assert told(arrive(*each)) == [mac_text(own), mac_text(group), mac_text(everyone)]
        pmd("set allmulti 0 off")
        assert "filter on" in pmd("show port info 0")
        tagged = [frame(own, tci=tci) for tci in (7, 8, 0x6009)]
        assert tags(*tagged) == [], "no VLAN was joined"
        assert pmd("rx_vlan add 7 0") == pmd("rx_vlan add 9 0") == ""
        assert tags(*tagged) == ["", ""]
        assert pmd("rx_vlan rm 7 0") == ""
        assert tags(*tagged) == [""]
        assert pmd("mac_addr add 0 02:00:00:00:00:66") == ""
        assert told(arrive(frame(bytes.fromhex("020000000066")))) == ["02:00:00:00:00:66"]
        assert pmd("vlan set strip on 0") == ""
        assert tags(tagged[2]) == ["0x6009"], "the PMD strips by itself"


def stop_start_close_and_detach(ports: Ports) -> None:
    own, bdf = ADDRESSES[0], ports.bdfs[0]
    with ports.testpmd("--forward-mode=macswap", "--port-topology=loop", ports=1) as pmd:

        def works() -> None:
            pmd("start")
            frames = [frame(own, mark=i, size=60 + i) for i in range(200)]
            ports.cables[0].send(*frames)
            assert ports.cables[0].receive(200) == [each[6:12] + own + each[12:] for each in frames]
            pmd("stop")

        works()
        assert stats(pmd)["TX-packets"] == 200
        for up in (False, True):
            ports.link(up)
            until(lambda up=up: shows(pmd("show port info 0"))["Link status"] == ("up" if up else "down"))  # type: ignore[misc]
        works()
        pmd("start")
        assert "remove port 0 from forwarding" in pmd("port close 0")
        pmd("stop")
        assert "Port not stopped" in pmd("port detach 0")
        for _ in range(2):
            pmd("port stop 0")
            pmd("port start 0")
            works()
        assert stats(pmd)["TX-packets"] == 4 * 200, "counters survive stops"
        pmd("port stop 0")
        assert "Port 0 is closed" in pmd("port close 0")
        assert "is detached" in pmd(f"device detach {bdf}")
        assert "Port 0 is attached" in pmd(f"port attach {bdf}")
        pmd("port start 0")
        assert address(pmd) == own
        works()
        pmd("port stop 0")
        assert "is detached" in pmd("port detach 0")


def back_to_the_kernel(ports: Ports) -> None:
    vm = ports.vm
    vm.run("modprobe virtio_net", check=True)
    bind(vm, ports.bdfs[0], driver="virtio-pci")
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1; ip link set eth0 up", check=True)
    ports.cables[0].send(*[frame(ADDRESSES[0])] * 5)
    until(lambda: vm.run("cat /sys/class/net/eth0/statistics/rx_packets", check=True).text == "5")
