"""One testpmd with two ports: our VF, and the VF of QEMU's ``igb`` whose PF has the stock driver. Both answer the same.

QEMU has no I350, so that this is about the 82576. What a VF cannot do is as much an answer as what it can.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulators.fabric.frames import mac_bytes
from emulators.qemu import RawDevice, VfioUser
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind, virtual_functions
from tests.guest.conftest import Bench
from tests.guest.pmd import FCS, MACHINE, PEER, Cable, frame, heard, port, testpmd, xstats

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

OWN = mac_bytes("02:00:00:00:00:78")
THEIRS = "0000:02:10.0"  # VF 0 of QEMU's igb behind root port 1: its First VF Offset is 0x80

ANSWERS = {
    "show port info {p}": "Max possible RX queues: 2",
    "show port xstats {p}": "rx_good_loopback_bytes: 0",
    "show port {p} rx_offload capabilities": "VLAN_FILTER",
    "port {p} rxq 0 stop": "Function not supported in PMD",
    "port {p} txq 0 stop": "Function not supported in PMD",
    "vlan set strip on {p}": "diag=-95",
    "vlan set filter on {p}": "diag=-95",
    "vlan set stripq on {p},0": "diag=-95",
    "rx_vlan add 100 {p}": "VLAN-filtering disabled",
    "mac_addr add {p} 02:00:00:00:00:77": "not supported",
    "mac_addr set {p} 02:00:00:00:00:78": "",
    "show port {p} flow_ctrl": "-95",
    "port config mtu {p} 1400": "diag=-95",
    "port reset {p}": "please stop port(s) first",
    "port stop {p}": "Done",
    "show port info {p} ": "Link status: up",
    "port reset {p} ": "diag=-95",
    "port config {p} rx_offload vlan_filter on": "",
    "port start {p}": "Port 0: 02:00:00:00:00:78",
    "rx_vlan add 100 {p} ": "",
}
"""What is typed for each port in turn, and a part of what both answer. A trailing space tells a repetition."""

FRAMES = {
    "own": frame(OWN),
    "other": frame(OWN[:5] + b"\x79"),
    "broadcast": frame(b"\xff" * 6),
    "multicast": frame(b"\x01\x00\x5e\x00\x01\x05"),
    "own, VLAN 100": frame(OWN, tci=100),
    "own, VLAN 101": frame(OWN, tci=101),
    "broadcast, VLAN 100": frame(b"\xff" * 6, tci=100),
    "priority": frame(OWN, tci=0xA000),
    "1518": frame(OWN, size=1514),
    "1522": frame(OWN, size=1518),
    "too long": frame(OWN, size=1600),
    "short": frame(OWN, size=34),
}

DIFFERENT = {
    "multicast": "ours is right: igb grants it by VMOLR.MPME, which QEMU does not have (igb_core.c igb_receive_assign)",
}
"""Frames that only one of the two receives, and why."""


STRIPPED = 4
"""Octets by which VFGORC differs per frame whose tag is stripped. Ours is right: it counts from destination address to CRC
as received (82576 datasheet 8.18.15); QEMU counts what is left of the frame (igb_core.c ``igb_update_rx_stats``)."""


def typed(pmd: Testpmd, command: str) -> list[str]:
    """What is answered for port 0 and for port 1, with the name and number of port 0."""
    answers = [pmd(command.strip().format(p=number)) for number in (0, 1)]
    answers[1] = re.sub(r"(?i)(port(?:_pi|_id)?[ =])1\b", r"\g<1>0", answers[1]).replace(THEIRS, port(0))
    return answers


@pytest.mark.only(device=["igbvf"])
def test_answers_as_the_vf_of_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    ours, theirs = Cable(tmp_path, "a"), Cable(tmp_path, "b")
    bench.serve(1, nets=[ours.net])
    bench.ctl("vf", "0", "mac", "02:00:00:00:00:01")
    bench.ctl("vf", "0", "trust", "on")  # it may change that address
    devices = [VfioUser(str(bench.server.sockets[0])), RawDevice("igb,netdev=n0")]
    options = {**MACHINE, "modules": ["vfio-pci", "igb"], "arguments": ["-netdev", theirs.netdev("n0")]}
    with bench.lab.vm(devices, kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1", check=True)
        virtual_functions(vm, "eth0")
        vm.run("ip link set eth0 vf 0 mac 02:00:00:00:00:01 && ip link set eth0 vf 0 trust on", check=True)
        bind(vm, port(0), THEIRS)
        huge_pages(vm)
        with testpmd(vm, device, port(0), THEIRS, args=["--port-topology=loop"]) as pmd:
            for command, part in ANSWERS.items():
                mine, other = typed(pmd, command)
                assert mine == other, command
                assert part in mine and (part or not mine), command
            pmd("set fwd rxonly")
            pmd("set verbose 1")
            pmd("start")
            received: list[dict[str, list[str]]] = [{}, {}]
            for cable, seen in zip((ours, theirs), received, strict=True):
                for name, each in FRAMES.items():
                    seen[name] = heard(pmd, cable, each)
            assert {name for name in FRAMES if received[0][name] != received[1][name]} == set(DIFFERENT)
            assert received[0]["multicast"] and not received[1]["multicast"]
            passed = {name for name, lines in received[1].items() if lines}
            assert passed == set(FRAMES) - {"other", "multicast", "own, VLAN 101", "too long"}
            counts = [xstats(pmd, number) for number in (0, 1)]
            octets = len(FRAMES["multicast"]) + FCS + sum(STRIPPED for name in passed if FRAMES[name][12:14] == b"\x81\x00")
            more = {"rx_good_packets": 1, "rx_multicast_packets": 1, "rx_good_bytes": octets}
            assert counts[0] == {name: value + more.get(name, 0) for name, value in counts[1].items()}
            pmd("stop")
            pmd("set verbose 0")
            pmd("set fwd macswap")
            pmd("start")
            swapped = []
            for cable in (ours, theirs):
                cable.send(*(FRAMES[name] for name in ("own", "own, VLAN 100", "1518")))
                swapped.append(cable.receive(3))
            assert swapped[0] == swapped[1] == [frame(PEER, OWN), frame(PEER, OWN), frame(PEER, OWN, size=1514)]
        clean(vm)
    ours.close()
    theirs.close()
