"""VMXNET3 under DPDK's testpmd (``net_vmxnet3``) through ``vfio-pci`` behind a translating intel-iommu.

Each test does the same on our device and on QEMU's own; where QEMU's cannot, ``Ports.ours`` says so at that place.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from emulators.fabric.frames import mac_text
from emulators.qemu.dpdk import Testpmd
from tests.guest.conftest import Bench
from tests.guest.network import until
from tests.guest.pmd import address, counted, feed, frame, heard, shows, streams, tx_first, txonly
from tests.guest.test_testpmd import discard
from tests.guest.vmxnet3_ports import ADDRESSES, PEER, PORTS, Ports, ours, qemus

pytestmark = pytest.mark.guest

DEVICE = "vmxnet3"
SIZES = [60, 61, 64, 127, 128, 1500, 1514]
SCATTERED = [2100, 4200, 8900]
"""Longer than a buffer. QEMU takes DPDK's ``maxNumRxSG`` of 0 for 1 and drops them (hw/net/vmxnet3.c
``vmxnet3_activate_device``); 0 says nothing about a limit (vmxnet3_defs.h)."""
JUMBO = "--max-pkt-len=16194"
"""An MTU of about 9000: testpmd takes for overhead by how much ``max_rx_pktlen`` (16384) is more than ``max_mtu``."""


def txonly_and_rxonly(ports: Ports) -> None:
    # Of 1023 free descriptors packets of three pieces leave none over. What finds too few, but some, is dropped by the PMD, and
    # counted as sent (vmxnet3_rxtx.c ``vmxnet3_xmit_pkts``).
    with ports.testpmd("--port-topology=loop", "--txd=1024") as pmd:
        assert "net_vmxnet3" in pmd("show port info 0") and address(pmd) == ADDRESSES[0]
        pmd("set portlist 0")
        each = discard(ADDRESSES[0], bytes((2, 0, 0, 0, 0, 0)), 64)
        for pieces, size in (("64", 64), ("60,100,1354", 1514)):
            pmd(f"set txpkts {pieces}")
            cable = ports.cables[0]  # QEMU's loses what is 10000 frames behind (net/queue.c ``qemu_net_queue_append_iov``)
            got, sent = txonly(pmd, cable, 2000, ports.servers[0]) if ports.ours else tx_first(pmd, cable, 64)
            assert {len(packet) for packet in got} == {size}
            assert size != 64 or set(got) == {each}, "every octet"
            assert set(sent) == {(0, queue) for queue in range(ports.queues)}
            total = sum(sent.values())
            told = counted(pmd, total)
            assert told["TX-packets"] == total and told["TX-bytes"] == size * total and not told["TX-errors"]

        pmd("set portlist 1")
        pmd("set fwd rxonly")
        pmd("start")
        sizes = [60 + 7 * i % 1455 for i in range(1500)]
        feed(pmd, 1, ports.cables[1], [frame(ADDRESSES[1], size=size) for size in sizes])
        assert sum(streams(pmd("stop"), "RX").values()) == len(sizes)
        got = counted(pmd, len(sizes), "RX-packets", 1)
        assert got["RX-bytes"] == sum(sizes) and got["RX-errors"] == got["RX-missed"] == got["RX-nombuf"] == 0


def io_and_macswap_from_port_to_port(ports: Ports) -> None:
    sizes = (SIZES + SCATTERED if ports.ours else SIZES) * 10
    with ports.testpmd(JUMBO, "--enable-scatter") as pmd:
        assert [address(pmd, number) for number in (0, 1)] == list(ADDRESSES)
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
        received, sent = counted(pmd, 2 * len(sizes), "RX-packets", 0), counted(pmd, 2 * len(sizes), "TX-packets", 1)
        assert received["RX-packets"] == sent["TX-packets"] == 2 * len(sizes)
        assert received["RX-bytes"] == sent["TX-bytes"] == 2 * sum(sizes)


def segments() -> dict[str, Packet]:
    """Packets with checksums for the device to fill in; the engine csum takes whatever it finds there away."""
    v4, v6 = IP(src="198.18.0.1", dst="198.18.0.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
    data = bytes(i * 7 & 0xFF for i in range(1300))
    tcp = TCP(sport=1000, dport=2000, seq=100000, ack=1, flags="PA")
    return {
        "udp4": v4 / UDP(sport=1000, dport=2000) / data[:101],
        "tcp4": v4 / tcp / data[:400],
        "tcp4 large": v4 / tcp / data,  # which the PMD refuses
        "udp6": v6 / UDP(sport=1000, dport=2000) / data[:102],
        "tcp6": v6 / tcp / data[:33],
        "tcp6 large": v6 / tcp / data,
    }


MSS = 500


def checksums_and_segmentation(ports: Ports) -> None:
    """Engine csum: port 1 is told to sum up and to cut what comes in at port 0.

    The engine wants the IPv4 checksum filled in together with TSO, which the PMD says that it cannot (vmxnet3_rxtx.c
    ``VMXNET3_TX_OFFLOAD_NOTSUP_MASK``), so that only IPv6 is cut.
    """
    with ports.testpmd("--forward-mode=csum") as pmd:
        pmd("port stop 1")
        for layer in ("tcp", "udp"):
            assert f"{layer.upper()} checksum offload is hw" in pmd(f"csum set {layer} hw 1")
        assert f"segment size for non-tunneled packets is {MSS}" in pmd(f"tso set {MSS} 1")
        pmd("port start 1")
        pmd("start")
        for name, packet in segments().items():
            ports.cables[0].send(bytes(Ether(dst=mac_text(ADDRESSES[0]), src=PEER) / packet))
            if name == "tcp4 large":
                pmd.overhear("Preparing packet burst to transmit failed")  # nor is what is behind it in its burst transmitted
                continue
            data = bytes(packet[TCP].payload if TCP in packet else packet[UDP].payload)
            pieces = -(-len(data) // MSS) if TCP in packet else 1
            got = [Ether(raw) for raw in ports.cables[1].receive(pieces)]
            assert len(got) == pieces, name
            assert all(right(each) for each in got), name
            layer = TCP if TCP in packet else UDP
            payloads = [bytes(each[layer].payload)[: payload_length(each)] for each in got]
            assert b"".join(payloads) == data, name
            if layer is TCP:
                assert [each.seq for each in (p[TCP] for p in got)] == [100000 + MSS * i for i in range(pieces)], name
                assert not any("P" in p[TCP].flags for p in got[:-1]), name
                if pieces == 1 or ports.ours:  # the last piece of QEMU's has lost it (hw/net/net_tx_pkt.c)
                    assert "P" in got[-1][TCP].flags, name
        pmd("stop")


def payload_length(packet: Packet) -> int:
    """Octets behind TCP or UDP, padding of the frame left out."""
    inner = packet[IP].len - 20 if IP in packet else packet[IPv6].plen
    return int(inner - (packet[TCP].dataofs * 4 if TCP in packet else 8))


def right(packet: Packet) -> bool:
    """Whether its checksums are those that scapy comes to."""
    layer = TCP if TCP in packet else UDP
    again = packet.copy()
    del again[layer].chksum
    if IP in again:
        del again[IP].chksum
    again = Ether(bytes(again))
    return again[layer].chksum == packet[layer].chksum and (IP not in packet or again[IP].chksum == packet[IP].chksum)


def told(said: list[str]) -> list[str]:
    """The destinations of what came in."""
    return [line.partition("dst=")[2][:17].lower() for line in said if "dst=" in line]


def promiscuous_and_vlans(ports: Ports) -> None:
    args = ("--enable-hw-vlan-filter", "--enable-hw-vlan-strip", "--port-topology=loop", "--forward-mode=rxonly")
    own = ADDRESSES[0]
    other, group, everyone = own[:5] + b"\x77", bytes.fromhex("01005e000105"), b"\xff" * 6
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
        assert "strip on, filter on" in pmd("show port info 0")
        tagged = [frame(own, tci=tci) for tci in (7, 8, 0x6009)]
        assert tags(*tagged) == [], "no VLAN was joined"
        assert pmd("rx_vlan add 7 0") == pmd("rx_vlan add 9 0") == ""
        assert tags(*tagged) == ["0x7", "0x6009"]
        assert pmd("vlan set strip off 0") == ""
        assert tags(tagged[0]) == [""]
        assert pmd("rx_vlan rm 7 0") == ""
        assert tags(*tagged) == [""]
        pmd("vlan set filter off 0")
        assert len(tags(*tagged)) == 3
        pmd("stop")
    with ports.testpmd("--port-topology=loop", "--forward-mode=macswap", ports=1) as pmd:
        for command in ("port stop 0", "tx_vlan set 0 0x123", "port start 0", "start"):
            pmd(command)
        ports.cables[0].send(frame(own))
        assert ports.cables[0].receive(1) == [frame(bytes.fromhex(PEER.replace(":", "")), own, tci=0x123)], "inserted"


def linked(pmd: Testpmd, expected: str) -> bool:
    return shows(pmd("show port info 0"))["Link status"] == expected


def overlooked(pmd: Testpmd, up: bool) -> None:
    """Of QEMU's link the PMD learns at its next start: its handler asks ECR what the interrupt was for, and QEMU has no answer
    but 0 (vmxnet3_ethdev.c ``vmxnet3_interrupt_handler``; hw/net/vmxnet3.c ``vmxnet3_io_bar1_read``).
    """
    time.sleep(1)
    assert linked(pmd, "down" if up else "up")
    pmd("port stop 0")
    pmd("port start 0")


def stop_start_reset_close_and_detach(ports: Ports) -> None:
    """Attaching again is not done: testpmd asks for promiscuous mode then, and the PMD writes to the shared memory that it has
    not made yet (vmxnet3_ethdev.c ``vmxnet3_dev_promiscuous_enable``); so a second testpmd takes the port.
    """
    own = ADDRESSES[0]
    with ports.testpmd("--forward-mode=macswap", "--port-topology=loop", ports=1) as pmd:

        def works() -> None:
            pmd("start")
            frames = [frame(own, mark=i, size=60 + i) for i in range(300)]
            ports.cables[0].send(*frames)
            assert ports.cables[0].receive(300) == [each[6:12] + own + each[12:] for each in frames]
            pmd("stop")

        works()
        assert counted(pmd, 300)["TX-packets"] == 300
        for up in (False, True):
            ports.link(up)
            if not ports.ours:
                overlooked(pmd, up)
            until(partial(linked, pmd, "up" if up else "down"))
        works()
        pmd("start")
        assert "remove port 0 from forwarding" in pmd("port close 0")
        pmd("stop")
        assert "Port not stopped" in pmd("port detach 0")
        for _ in range(2):
            pmd("port stop 0")
            ports.cables[0].send(*[frame(own)] * 5)
            pmd("port start 0")
            works()
        assert counted(pmd, 4 * 300)["TX-packets"] == 4 * 300, "counters survive stops"
        pmd("port stop 0")
        assert "Done" in pmd("port reset 0")
        pmd("port start 0")
        works()
        pmd("port stop 0")
        assert "Port 0 is closed" in pmd("port close 0")
        assert "is detached" in pmd(f"device detach {PORTS[0]}")
    with ports.testpmd("--forward-mode=macswap", "--port-topology=loop", ports=1) as pmd:
        assert address(pmd) == own
        works()
        assert counted(pmd, 300)["TX-packets"] == 300


TOURS = {
    tour.__name__: tour
    for tour in (txonly_and_rxonly, io_and_macswap_from_port_to_port, checksums_and_segmentation,
                 promiscuous_and_vlans, stop_start_reset_close_and_detach)
}  # fmt: skip


@pytest.mark.only(kernel=["7.2"])
@pytest.mark.parametrize("tour", TOURS)
def test_ours(bench: Bench, kernel: str, tour: str, tmp_path: Path) -> None:
    with ours(bench, tmp_path) as ports:
        TOURS[tour](ports)


@pytest.mark.only(kernel=["7.2"])
@pytest.mark.parametrize("tour", TOURS)
def test_qemus(bench: Bench, kernel: str, tour: str, tmp_path: Path) -> None:
    with qemus(bench, tmp_path) as ports:
        TOURS[tour](ports)
