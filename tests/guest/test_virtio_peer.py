"""One testpmd with two ports: our virtio-net, and QEMU's ``virtio-net-pci`` with the same features. Both answer the same.

What the PMD cannot do is as much an answer as what it can. QEMU's datagram back end carries no ``virtio_net_hdr``, so that
its device offers neither checksums nor segmentation, and ours is told not to.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulators.qemu import VfioUser
from emulators.qemu.dpdk import Testpmd
from tests.guest.conftest import Bench
from tests.guest.pmd import PEER, frame, heard, xstats
from tests.guest.virtio import serve
from tests.guest.virtio_ports import ADDRESSES, boot, cables_in, qemus_own

pytestmark = pytest.mark.guest

OWN = ADDRESSES[0]
SAME = {"mac": OWN.hex(":"), "csum": "off", "guest_csum": "off"}
"""What ours has to be like QEMU's."""

ANSWERS = {
    "show port info {p}": "Max possible RX queues: 1",
    "show port {p} rx_offload capabilities": "VLAN_STRIP",
    "show port {p} tx_offload capabilities": "MULTI_SEGS",
    "show port {p} rss-hash": "dev_info did not provide a valid hash key size",
    "port {p} rxq 0 stop": "Function not supported in PMD",
    "port {p} txq 0 stop": "Function not supported in PMD",
    "vlan set strip on {p}": "",
    "vlan set strip off {p}": "",
    "vlan set filter on {p}": "",
    "vlan set qinq_strip on {p}": "-",
    "vlan set stripq on {p},0": "-95",
    "rx_vlan add 100 {p}": "",
    "rx_vlan add 4096 {p}": "Invalid vlan_id 4096",
    "mac_addr add {p} 02:00:00:00:00:77": "",
    "mac_addr remove {p} 02:00:00:00:00:77": "",
    "mac_addr set {p} 02:00:00:00:00:78": "",
    "show port info {p} ": "MAC address: 02:00:00:00:00:78",
    "mac_addr set {p} " + OWN.hex(":"): "",
    "show port {p} flow_ctrl": "-95",
    "set promisc {p} off": "",
    "set allmulti {p} on": "",
    "set allmulti {p} off": "",
    "port config mtu {p} 9000": "diag=-22",
    "port config mtu {p} 1500": "",
    "port reset {p}": "please stop port(s) first",
    "port stop {p}": "Done",
    "port reset {p} ": "diag=-95",
    "csum set tcp hw {p}": "not supported by port 0",
    "tso set 800 {p}": "not supported by port 0",
    "port start {p}": "Done",
    "rx_vlan add 100 {p} ": "",
    "set promisc {p} off ": "",
    "show port stats {p}": "RX-packets: 0",
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
    "multicast, VLAN 100": frame(b"\x01\x00\x5e\x00\x01\x05", tci=100),
    "priority": frame(OWN, tci=0xA000),
    "1518": frame(OWN, size=1514),
    "1522": frame(OWN, size=1518),
    "long": frame(OWN, size=1600),
}
"""None shorter than 60 octets: our fabric pads what comes from a datagram socket, QEMU hands it to virtio-net as it is."""


def typed(pmd: Testpmd, command: str, bdfs: list[str]) -> list[str]:
    """What is answered for port 0 and for port 1, with the name and number of port 0."""
    answers = [pmd(command.strip().format(p=number)) for number in (0, 1)]
    answers[1] = re.sub(r"(?i)(port(?:_pi|_id)?[ =])1\b", r"\g<1>0", answers[1]).replace(bdfs[1], bdfs[0])
    return [re.sub(r"for fd \d+", "for fd N", answer) for answer in answers]


@pytest.mark.only(front=["split", "packed", "legacy"], kernel=["7.2"])
def test_answers_as_qemus_own(bench: Bench, front: str, kernel: str, tmp_path: Path) -> None:
    with cables_in(tmp_path) as cables:
        found = serve(bench, front, count=1, options=SAME, nets=[cables[0].net])
        theirs = qemus_own(found, 1, OWN)
        devices = [VfioUser(str(bench.server.sockets[0])), theirs]
        with (
            boot(bench, found, devices, ["-netdev", cables[1].netdev("n1")]) as vm,
            Testpmd(vm, vm.bdfs, args=["--port-topology=loop"]) as pmd,
        ):
            for command, part in ANSWERS.items():
                mine, other = typed(pmd, command, list(vm.bdfs))
                assert mine == other, command
                assert part in mine and (part or not mine), (command, mine)
            pmd("set fwd rxonly")
            pmd("set verbose 1")
            pmd("start")
            received: list[dict[str, list[str]]] = [{}, {}]
            for cable, seen in zip(cables, received, strict=True):
                for name, each in FRAMES.items():
                    seen[name] = heard(pmd, cable, each)
            assert received[0] == received[1]
            passed = {name for name, lines in received[0].items() if lines}
            assert passed == set(FRAMES) - {"other", "multicast", "multicast, VLAN 100", "own, VLAN 101", "priority"}  # VLAN 0
            assert xstats(pmd, 0) == xstats(pmd, 1)
            pmd("stop")
            pmd("set verbose 0")
            pmd("set fwd macswap")
            pmd("start")
            for cable in cables:
                cable.send(*(FRAMES[name] for name in ("own", "own, VLAN 100", "1518")))
                assert cable.receive(3) == [frame(PEER, OWN), frame(PEER, OWN, tci=100), frame(PEER, OWN, size=1514)]
