"""The VF under DPDK's testpmd (``net_e1000_igb_vf``) through ``vfio-pci`` behind a translating intel-iommu."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from emulators.fabric.frames import mac_text
from emulators.qemu.dpdk import Testpmd
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.network import carrier, counters, until
from tests.guest.pmd import (
    END,
    FCS,
    MACHINE,
    PEER,
    QUEUES,
    Cable,
    address,
    feed,
    frame,
    heard,
    port,
    prepare,
    shows,
    stats,
    streams,
    testpmd,
    xstats,
)  # fmt: skip

pytestmark = pytest.mark.guest

ACK, NACK, CTS = 0x8000_0000, 0x4000_0000, 0x2000_0000
DEEP = ["--rxd=4096", "--total-num-mbufs=20000"]
"""Rings that hold all that a test sends: stock igb lets frames that find no descriptor be dropped (QDE)."""
SILENT = {"RX-packets": 0, "RX-missed": 0, "RX-bytes": 0, "RX-errors": 0, "RX-nombuf": 0}
SET_VLAN, SET_PROMISC, UNICAST, MULTICAST = 4, 6, 1 << 16, 2 << 16


def pool(bench: Bench, vf: int) -> dict[str, Any]:
    """The counters of a VF's pool, whichever port it is in."""
    return next(ports["pools"][f"vf{vf}"] for ports in bench.stats()["card"]["ports"] if f"vf{vf}" in ports["pools"])


def discard(source: bytes, target: bytes, size: int) -> bytes:
    """What testpmd sends in mode txonly (app/test-pmd/txonly.c)."""
    headers = Ether(dst=mac_text(target), src=mac_text(source)) / IP(src="198.18.0.1", dst="198.18.0.2", id=0, flags=0)
    return bytes(headers / UDP(sport=9, dport=9, chksum=0) / bytes(size - 42))


def sunk(bench: Bench) -> dict[str, Any]:
    """What ``sink:`` has counted."""
    sink = bench.stats()["card"]["ports"][0]["uplink"]["backend"]
    return {name: sink[name] for name in ("frames", "octets", "crc32")}


def transmit(bench: Bench, pmd: Testpmd, queues: int) -> tuple[dict[tuple[int, int], int], dict[str, Any]]:
    """Forward 2000 packets per queue and more; packets by port and queue, and what ``sink:`` has counted when all have left."""
    pmd("clear port stats 0")
    enough = sunk(bench)["frames"] + 2000 * queues
    pmd("start")
    until(lambda: sunk(bench)["frames"] >= enough, 60)
    said = pmd("stop")
    heads_and_tails = [f"{name}[{queue}]" for queue in range(queues) for name in ("tdh", "tdt")]
    with bench.server.control() as client:

        def done() -> bool:
            at = client.ask("peek", function="vf0", paths=heads_and_tails)
            return all(at[head] == at[tail] for head, tail in zip(heads_and_tails[::2], heads_and_tails[1::2], strict=True))

        until(done, 60)
    sent = streams(said, "TX") if queues > 1 else {(0, 0): stats(pmd)["TX-packets"]}
    return sent, sunk(bench)


def test_txonly_and_rxonly(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "b")
    bench.serve(2, ports=2, nets=["sink:", cable.net])
    vm = bench.guest(0, 1, **MACHINE)
    prepare(vm, port(0), port(1))
    with testpmd(vm, device, port(0), port(1), args=["--port-topology=loop", *DEEP]) as pmd:
        assert "net_e1000_igb_vf" in pmd("show port info 0")
        assert shows(pmd("show port info 0"))["Max possible RX queues"] == str(QUEUES[device])
        queues = {(0, queue) for queue in range(QUEUES[device])}
        pmd("set portlist 0")
        pmd("set fwd txonly")
        sent, sink = transmit(bench, pmd, QUEUES[device])
        total, each = sum(sent.values()), discard(address(pmd), bytes((2, 0, 0, 0, 0, 0)), 64)
        assert set(sent) == queues and min(sent.values()) > 1000, sent
        assert sink == {"frames": total, "octets": 64 * total, "crc32": f"{crc32(each * total):08x}"}, "every octet of all"
        assert stats(pmd) == {"TX-packets": total, "TX-errors": 0, "TX-bytes": (64 + FCS) * total, **SILENT}
        pmd("set txpkts 60,100,1354")
        sent, more = transmit(bench, pmd, QUEUES[device])
        assert set(sent) == queues and min(sent.values()) > 1000, sent
        assert more["frames"] == total + sum(sent.values()) and more["octets"] == 64 * total + 1514 * sum(sent.values())

        pmd("set portlist 1")
        pmd("set fwd rxonly")
        pmd("start")
        own, sizes = address(pmd, 1), [60 + 7 * i % 1455 for i in range(3000)]
        feed(pmd, 1, cable, [frame(own, size=size) for size in sizes])
        assert pool(bench, 1)["rx"]["frames"] == len(sizes)
        assert sum(streams(pmd("stop"), "RX").values()) == len(sizes)
        got = xstats(pmd, 1)
        assert got["rx_good_packets"] == len(sizes) and got["rx_good_bytes"] == sum(sizes) + FCS * len(sizes)
        assert got["rx_missed_errors"] == got["rx_errors"] == got["rx_multicast_packets"] == 0
        assert pmd("clear port xstats 1") == "" and set(xstats(pmd, 1).values()) == {0}
    cable.close()
    clean(vm)


def test_io_and_macswap_from_port_to_port(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cables = [Cable(tmp_path, "a"), Cable(tmp_path, "b")]
    bench.serve(2, ports=2, nets=[cable.net for cable in cables])
    vm = bench.guest(0, 1, **MACHINE)
    prepare(vm, port(0), port(1))
    sizes = [60, 61, 64, 127, 1500, 1514, 1518, 2100, 4200, 8900] * 20
    with testpmd(vm, device, port(0), port(1), args=["--max-pkt-len=9018", "--enable-scatter"]) as pmd:
        macs = [address(pmd, number) for number in (0, 1)]
        frames = [[frame(own, size=size, mark=i) for i, size in enumerate(sizes)] for own in macs]
        pmd("set fwd io")
        pmd("start")
        cables[0].send(*frames[0])
        until(lambda: pool(bench, 1)["dropped"].get("mac_spoof", 0) >= len(sizes))
        assert pool(bench, 1)["dropped"] == {"mac_spoof": len(sizes)}
        assert cables[1].arrived() == [], "what would come out has the address of the sender: anti-spoof"
        for vf in ("0", "1"):
            bench.ctl("vf", vf, "spoofchk", "off")
        for here, there in ((0, 1), (1, 0)):
            cables[here].send(*frames[here])
            assert cables[there].receive(len(sizes)) == frames[here]
        said = pmd("stop")
        assert sum(streams(said, "RX").values()) == sum(streams(said, "TX").values()) == 3 * len(sizes)
        pmd("set fwd macswap")
        pmd("start")
        for here, there in ((0, 1), (1, 0)):
            cables[here].send(*frames[here])
            assert cables[there].receive(len(sizes)) == [f[6:12] + f[:6] + f[12:] for f in frames[here]]
        pmd("stop")
        octets = sum(sizes) + FCS * len(sizes)
        received, sent = stats(pmd, 0), stats(pmd, 1)
        assert received["RX-packets"] == sent["TX-packets"] == 3 * len(sizes)
        assert received["RX-bytes"] == sent["TX-bytes"] == 3 * octets
        assert received["TX-packets"] == sent["RX-packets"] == 2 * len(sizes)
        assert received["TX-bytes"] == sent["RX-bytes"] == 2 * octets
    for cable in cables:
        cable.close()
    clean(vm)


def asked(events: list[dict[str, Any]], number: int) -> list[tuple[int, int]]:
    """Every message of that number and the first word of its answer, in order."""
    words = [(event["sender"], event["words"]) for event in events]
    pairs = pairwise(words)
    return [(vf[0], pf[0]) for (a, vf), (b, pf) in pairs if (a, b) == ("VF", "PF") and vf[0] & 0xFFFF == number]


def all_asked(events: list[dict[str, Any]], number: int, count: int) -> list[tuple[int, int]]:
    """The same when there are ``count``: an event may come later than what it tells of."""
    until(lambda: len(asked(events, number)) >= count)
    return asked(events, number)


def test_filters_and_what_the_pf_grants(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "a")
    bench.serve(1, nets=[cable.net])
    events = bench.listen("mailbox")
    vm = bench.guest(0, **MACHINE)
    prepare(vm, port(0))
    args = ["--enable-hw-vlan-filter", "--port-topology=loop", "--forward-mode=rxonly", "-a"]
    with testpmd(vm, device, port(0), args=args) as pmd:
        own = address(pmd)
        other, group, everyone = own[:5] + bytes((own[5] ^ 1,)), bytes.fromhex("01005e000105"), b"\xff" * 6
        promiscuous = (SET_PROMISC | UNICAST | MULTICAST, SET_PROMISC | UNICAST | NACK | CTS)
        assert all_asked(events, SET_PROMISC, 3)[2:] == [promiscuous], "testpmd begins with promiscuous mode"
        pmd("set verbose 1")
        arrive = partial(heard, pmd, cable)

        def told(said: list[str]) -> list[str]:
            return [line.partition("dst=")[2][:17].lower() for line in said]

        each = [frame(target) for target in (own, other, group, everyone)]
        assert told(arrive(*each)) == [mac_text(target) for target in (own, group, everyone)], "unicast was refused"
        pmd("set promisc 0 off")
        assert told(arrive(*each)) == [mac_text(own), mac_text(everyone)]
        pmd("set allmulti 0 on")
        assert told(arrive(*each)) == [mac_text(own), mac_text(group), mac_text(everyone)]
        assert all_asked(events, SET_PROMISC, 5)[3:] == [
            (SET_PROMISC, SET_PROMISC | ACK | CTS),
            (SET_PROMISC | MULTICAST, SET_PROMISC | ACK | CTS),  # igb takes out of its answer what it has granted
        ]
        assert "strip off, filter on" in pmd("show port info 0")
        tagged = [frame(own, tci=tci) for tci in (7, 8, 0x6009)]
        assert arrive(*tagged) == [], "no VLAN was joined"
        assert pmd("rx_vlan add 7 0") == pmd("rx_vlan add 9 0") == ""
        add = SET_VLAN | 1 << 16
        assert all_asked(events, SET_VLAN, 2) == [(add, add | ACK | CTS)] * 2
        said = arrive(*tagged)
        assert [line.partition("VLAN tci=")[2].split()[0] for line in said] == ["0x7", "0x6009"]
        assert all("length=64" in line and "RTE_MBUF_F_RX_VLAN_STRIPPED" in line for line in said), "as the PF sets it"
        assert pmd("vlan set strip off 0") == ""
        assert "RTE_MBUF_F_RX_VLAN_STRIPPED" in arrive(tagged[0])[0], "the VF has no say in it"
        assert pmd("rx_vlan rm 7 0") == ""
        assert all_asked(events, SET_VLAN, 3)[2:] == [(SET_VLAN, SET_VLAN | ACK | CTS)]
        assert arrive(tagged[0]) == []
        bench.ctl("vf", "0", "vlan", "20")
        # The PMD compares the answer with SET_VLAN | NACK, but a refused "add" comes back with its bit 16 (igbvf_set_vfta).
        assert pmd("rx_vlan add 7 0") == ""
        assert all_asked(events, SET_VLAN, 4)[3:] == [(add, add | NACK | CTS)], "not under a port VLAN"
        assert len(arrive(frame(own, tci=20), frame(own), end=frame(own, tci=20, size=END))) == 1
        pmd("stop")
        pmd("set verbose 0")
        pmd("set fwd macswap")
        pmd("start")
        cable.send(frame(own, tci=20))
        assert cable.receive(1) == [frame(PEER, own, tci=20)], "the tag of the port VLAN comes off and goes on again"
    cable.close()
    clean(vm)


def open_files(process: int) -> Counter[str]:
    """The kinds of what a process has open, sockets left out: those of the control socket come and go."""
    kinds: Counter[str] = Counter()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            kinds[str(file.readlink()).partition(":")[0]] += 1
    del kinds["socket"]
    return kinds


@pytest.mark.alone  # a PF that resets leaves it 15 ms to read why (igb_down); later the mailbox is empty, for good
def test_a_port_stops_starts_and_goes_back_to_the_kernel(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "a")
    bench.serve(1, nets=[cable.net])
    events = bench.listen("mailbox")
    vm = bench.guest(0, **{**MACHINE, "modules": ["igbvf", "vfio-pci"]})
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1; ip link set eth0 up && ip link set eth0 down", check=True)
    prepare(vm, port(0))
    before, memory = open_files(bench.server.pid), bench.server.private_bytes()
    with testpmd(vm, device, port(0), args=["--forward-mode=macswap"]) as pmd:
        own = address(pmd)
        expected = 0

        def works() -> None:
            """Frames come back, in two halves that the ring holds, and more than it has descriptors."""
            nonlocal expected
            for half in range(2):
                frames = [frame(own, mark=half << 16 | i) for i in range(350)]
                cable.send(*frames)
                assert cable.receive(350) == [PEER + own + each[12:] for each in frames]
            expected += 700
            assert stats(pmd)["TX-packets"] == expected

        pmd("start")
        works()
        bench.ctl("link", "down")
        assert shows(pmd("show port info 0"))["Link status"] == "down"
        bench.ctl("link", "up")
        assert shows(pmd("show port info 0"))["Link status"] == "up"
        works()
        assert "remove port 0 from forwarding" in pmd("port close 0")
        pmd("stop")
        assert "Port not stopped" in pmd("port detach 0")
        pmd("port stop 0")
        cable.send(*[frame(own)] * 5)
        pmd("port start 0")
        pmd("start")
        works()
        bench.ctl("pf-reset")
        until(lambda: any(e["sender"] == "PF" and e["words"][0] == 0x100 for e in events))
        pmd.overhear("reset event")  # the PMD has it from the mailbox, by interrupt
        pmd("stop")
        pmd("port stop 0")
        pmd("port start 0")
        pmd("start")
        works()
        pmd("stop")
        pmd("port stop 0")
        assert "Port 0 is closed" in pmd("port close 0")
        assert "is detached" in pmd(f"device detach {port(0)}")
        assert "Port 0 is attached" in pmd(f"port attach {port(0)}")
        pmd("port start 0")
        assert address(pmd) == own
        pmd("start")
        assert stats(pmd)["TX-packets"] == expected, "a VF's counters survive resets, and the PMD begins where they are"
        works()
        pmd("stop")
        pmd("port stop 0")
        assert "is detached" in pmd("port detach 0")
    assert open_files(bench.server.pid) == before, "all maps were taken back, and with them the guest's memory"
    assert bench.server.private_bytes() < memory + (4 << 20)
    bind(vm, port(0), driver="igbvf")
    vm.run("ip link set eth0 up", check=True)
    carrier(vm, True)
    cable.send(*[frame(own)] * 5)
    until(lambda: counters(vm)["rx_packets"] == 5)
    cable.close()
    clean(vm)


def test_memory_in_thousands_of_small_maps(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(1, nets=["sink:"])
    vm = bench.guest(0, **MACHINE)
    bind(vm, port(0))
    before, memory = open_files(bench.server.pid), bench.server.private_bytes()
    for _ in range(2):
        worked = bench.server.cpu_seconds()
        with testpmd(vm, device, port(0), eal=["--no-huge", "-m", "64"], args=["--forward-mode=txonly"]) as pmd:
            assert bench.stats()["vf0"]["messages"]["dma_map"] > (64 << 20) // 4096, "a map per page"
            added = Counter({"/memfd": 2, "anon_inode": before["anon_inode"] + 1})  # one is mmap's, one to be handed over
            assert open_files(bench.server.pid) == before | added
            assert bench.server.private_bytes() < memory + (24 << 20), "1.5 KiB per map at most"
            assert bench.server.cpu_seconds() - worked < 5
            pmd("clear port stats 0")
            sent, sink = transmit(bench, pmd, QUEUES[device])
            total, each = sum(sent.values()), discard(address(pmd), bytes((2, 0, 0, 0, 0, 0)), 64)
            assert total > 1000
        assert open_files(bench.server.pid) == before, "all maps were taken back, and with them the guest's memory"
    assert sink["frames"] > total and sink["octets"] == 64 * sink["frames"]
    assert sink["crc32"] == f"{crc32(each * sink['frames']):08x}"
    clean(vm)
