"""One testpmd with two ports: our VMXNET3 of revision 1, and QEMU's own. Both answer the same.

What the PMD cannot do is as much an answer as what it can.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from emulators.qemu import RawDevice, VfioUser
from emulators.qemu.dpdk import Testpmd
from tests.guest.conftest import Bench
from tests.guest.pmd import MACHINE, Cable, frame, heard, prepare
from tests.guest.vmxnet3_ports import PORTS, cables_in, only_qemus_faults

pytestmark = pytest.mark.guest

DEVICE = "vmxnet3"
OWN, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000079")

ANSWERS = {
    "show port info {p}": "Driver name: net_vmxnet3",
    "show port {p} rx_offload capabilities": "VLAN_STRIP",
    "show port {p} tx_offload capabilities": "TCP_TSO",
    "show port xstats {p}": "rx_q0_drop_total: 0",
    "port {p} rxq 0 stop": "Function not supported in PMD",
    "port {p} txq 0 stop": "Function not supported in PMD",
    "vlan set stripq on {p},0": "diag=-95",
    "vlan set extend on {p}": "diag=-22",
    "rx_vlan add 100 {p}": "VLAN-filtering disabled",
    "mac_addr add {p} 02:00:00:00:00:77": "Operation not supported",
    "mac_addr set {p} 02:00:00:00:00:01": "",
    "show port {p} flow_ctrl": "-95",
    "show port {p} module_eeprom": "operation not supported",
    "show port {p} eeprom": "operation not supported",
    "set link-up port {p}": "Set link up fail",
    "port config mtu {p} 59": "device min MTU (60)",
    "port config mtu {p} 9001": "device max MTU (9000)",
    "port config mtu {p} 1400": "",
    "port config mtu {p} 1500": "",
    "port reset {p}": "please stop port(s) first",
    "port stop {p}": "Done",
    "port reset {p} ": "Done",
    "port config {p} rx_offload vlan_filter on": "",
    "port start {p}": "Done",
    "rx_vlan add 100 {p} ": "",
    "set promisc {p} off": "",
    "show port info {p} ": "Link status: up",
}
"""What is typed for each port in turn, and a part of what both answer. A trailing space tells a repetition.

The device is left with an MTU of 1400, although testpmd says 1500: to tell it the first one the PMD stops and starts by itself
(vmxnet3_ethdev.c ``vmxnet3_dev_mtu_set``), ethdev takes the port for stopped from then on, and so neither the second one nor
the stop nor the reset gets through. The start finds the device active; the next stop is one again.
"""

FRAMES = {
    "own": frame(OWN),
    "other": frame(OTHER),
    "broadcast": frame(b"\xff" * 6),
    "multicast": frame(b"\x01\x00\x5e\x00\x01\x05"),
    "own, VLAN 100": frame(OWN, tci=100),
    "own, VLAN 101": frame(OWN, tci=101),
    "broadcast, VLAN 100": frame(b"\xff" * 6, tci=100),
    "priority": frame(OWN, tci=0xA000),
    "1518": frame(OWN, size=1514),
    "1522": frame(OWN, size=1514, tci=100),
    "short": frame(OWN, size=34),
}
PASS = set(FRAMES) - {"other", "multicast", "own, VLAN 101"}
LONGER = {"1518", "1522"}
"""Than an MTU of 1400 allows: ours drops them as VMware's does, QEMU's looks at the size of the buffer only."""
PADDED = "short"
"""Ours has the 60 octets of the shortest frame on a wire, QEMU's what came out of its back end."""


def typed(pmd: Testpmd, command: str) -> list[str]:
    """What is answered for port 0 and for port 1, with the name and number of port 0."""
    answers = [pmd(command.strip().format(p=number)) for number in (0, 1)]
    answers[1] = re.sub(r"(?i)(port(?:_pi|_id)?[ =])1\b", r"\g<1>0", answers[1]).replace(PORTS[1], PORTS[0])
    return answers


def received(pmd: Testpmd, cables: list[Cable], expected: list[set[str]]) -> list[dict[str, list[str]]]:
    """What testpmd says of each frame: at our port, and at QEMU's."""
    told: list[dict[str, list[str]]] = [{}, {}]
    pmd("start")
    for cable, seen in zip(cables, told, strict=True):
        for name, each in FRAMES.items():
            seen[name] = heard(pmd, cable, each)
    pmd("stop")
    assert [{name for name, said in seen.items() if said} for seen in told] == expected
    assert ("length=60 " in told[0][PADDED][0], "length=34 " in told[1][PADDED][0]) == (True, True)
    return told


@pytest.mark.only(kernel=["7.2"])
def test_answers_as_qemus(bench: Bench, kernel: str, tmp_path: Path) -> None:
    with cables_in(tmp_path) as cables:
        bench.serve(1, nets=[cables[0].net], options={"mac": "02:00:00:00:00:01", "revision": "1", "speed": "1000"})
        devices = [VfioUser(str(bench.server.sockets[0])), RawDevice("vmxnet3,netdev=n0,mac=02:00:00:00:00:01")]
        options: dict[str, Any] = {**MACHINE, "arguments": ["-netdev", cables[1].netdev("n0")]}
        with bench.lab.vm(devices, kernel=kernel, **options) as vm:
            prepare(vm, *PORTS)
            with Testpmd(vm, PORTS, args=["--port-topology=loop"]) as pmd:
                for command, part in ANSWERS.items():
                    mine, other = typed(pmd, command)
                    assert mine == other, command
                    assert part in mine and (part or not mine), command
                pmd("set fwd rxonly")
                pmd("set verbose 1")
                for mtu, longer in ((1400, LONGER), (1500, set())):
                    assert bench.ctl("nic", "0", "status")["mtu"] == mtu
                    ours, qemus = received(pmd, cables, [PASS - longer, PASS])
                    assert {name for name in FRAMES if ours[name] != qemus[name]} == {PADDED} | longer
                    pmd("port stop all")
                    pmd("port start all")
            only_qemus_faults(vm, PORTS[1])
