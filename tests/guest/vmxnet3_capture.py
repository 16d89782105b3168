"""Stock vmxnet3 on our device and on QEMU's own: its phases, and what chance orders. How it is done is in ``nic_capture``.

Three things happen when chance has it, and are compared by kind: masks of interrupts, doorbells, and reads of ICR.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from emulators.qemu import Lab
from regmodel.bank import Bank
from regmodel.bars.vmxnet3 import Command
from regmodel.devices.vmxnet3 import VMXNET3
from tests.differential.canonical import Step
from tests.differential.trace import Access
from tests.guest import nic_capture
from tests.guest.nic_capture import DOWN, GUEST, KNOWN, OTHER, PEER, UP, VLAN, VLAN_PEER, Canonical, Machine, Phase, Side, ping

MODULES = ("vmxnet3",)
COMMANDS = {int(command): command.name for command in Command}
BY_CHANCE = ("imr[", "txprod[", "rxprod[", "rxprod2[", "icr")


def theirs(lab: Lab, kernel: str) -> AbstractContextManager[Side]:
    return nic_capture.theirs(lab, Machine(kernel, MODULES), "vmxnet3")


def ours(lab: Lab, kernel: str, **others: str) -> AbstractContextManager[Side]:
    """As QEMU's is, but for options of the device: revision 1, 1000 Mbit/s."""
    return nic_capture.ours(lab, Machine(kernel, MODULES), "vmxnet3", {"revision": "1", "speed": "1000", **others})


PHASES = (
    Phase("probe", ("modprobe vmxnet3",)),
    Phase("open", ("ip link set eth0 up", UP)),
    Phase("register dump", ("ethtool -d eth0",)),
    Phase("settings", ("ethtool eth0; ethtool -g eth0; ethtool -k eth0; ethtool -l eth0; ethtool -i eth0",)),
    Phase("statistics", ("ethtool -S eth0",)),
    Phase("traffic", (f"ip addr add {GUEST} dev eth0; {KNOWN}", ping(PEER))),
    Phase("statistics after traffic", ("ethtool -S eth0",)),
    Phase("change MTU", ("ip link set eth0 mtu 9000", UP)),
    Phase("jumbo traffic", (ping(PEER, 6000),)),
    Phase("change MTU back", ("ip link set eth0 mtu 1500", UP)),
    Phase("add VLAN", (VLAN,)),
    Phase("VLAN traffic", (ping(VLAN_PEER),)),
    Phase("remove VLAN", ("ip link del v5",)),
    Phase("multicast", ("ip maddr add 01:00:5e:01:02:03 dev eth0 && ip maddr del 01:00:5e:01:02:03 dev eth0",)),
    Phase("promiscuous", ("ip link set eth0 promisc on && ip link set eth0 promisc off",)),
    Phase("add unicast filter", ("ip link add link eth0 name m0 address 02:00:5e:10:00:77 type macvlan && ip link set m0 up",)),
    Phase("remove unicast filter", ("ip link del m0",)),
    Phase("change address", (f"ip link set eth0 address {OTHER} && {KNOWN}", ping(PEER))),
    Phase("change rings", ("ethtool -G eth0 rx 256 rx-jumbo 128 tx 256", UP)),
    Phase("offloads", ("for f in rx rxvlan; do ethtool -K eth0 $f off && ethtool -K eth0 $f on || exit 1; done",)),
    Phase("link down", (lambda side: side.link(False), DOWN)),
    Phase("link up", (lambda side: side.link(True), UP)),
    Phase("close", ("ip link set eth0 down",)),
    Phase("reopen", ("ip link set eth0 up", UP)),
    Phase("close again", ("ip link set eth0 down",)),
    Phase("remove", ("rmmod vmxnet3",)),
)  # fmt: skip


class Registers(Canonical):
    """Accesses to both BARs; the third has vectors in it. A command's result is named with the command."""

    def __init__(self, side: Side) -> None:
        super().__init__(side, VMXNET3, (0, 1))
        self._names = {(bar, cell.offset): str(cell.path) for bar in (0, 1) for cell in Bank(VMXNET3.bars[bar])}
        self._command = ""

    def step(self, bar: int, access: Access, offset: int) -> Step:
        name = self._names.get((bar, offset), f"bar{bar}+{offset:#x}")
        if name in ("dsal", "dsah") and access.value:
            return Step(access.op, name, "an address")
        if name == "cmd" and access.op == "W":
            self._command = COMMANDS.get(access.value, f"{access.value:#x}")
            return Step("W", name, self._command)
        return Step(access.op, name, f"{access.value:#x}", self._command if name == "cmd" else "")

    def by_chance(self, step: Step) -> str | None:
        if not step.register.startswith(BY_CHANCE):
            return None
        return f"{step.op} {step.register}" + ("" if "prod" in step.register else f" {step.value}")
