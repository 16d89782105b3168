"""The Linux VFIO transport in a guest: each access is one on the bus, and what cannot be opened is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from emulators.qemu import VM, Lab, RawDevice, VfioUser
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.stations import MACHINE, PROGRAM

pytestmark = pytest.mark.guest

NOBODY = 65534

ACCESSES = """
import json, sys
from drivers.transports.opening import open_transport
from regmodel.catalogue import find

with open_transport(sys.argv[1], find(sys.argv[2])) as transport:
    bar = transport.bar(0)
    mailbox = 0x800
    bar.u32[mailbox // 4 + 3] = 0x11223344
    seen = [bar.u32[mailbox // 4 + 3], bar.read(mailbox + 12, 4), bar.u32[8 // 4]]
    bar.write(mailbox + 12, 4, 0x55667788)
    print(json.dumps([*seen, bar.u32[mailbox // 4 + 3]]))
"""


def test_an_access_of_the_driver_is_one_access_of_the_device(bench: Bench, device: str, kernel: str) -> None:
    """What the model's access ring has between opening and closing is what was done, no more and no wider."""
    server = bench.serve()
    vm = bench.guest(0, **MACHINE)
    bind(vm, *vm.bdfs)
    vm.put("/tmp/accesses.py", ACCESSES.encode())
    said = vm.run(f"python3 /tmp/accesses.py vfio:{vm.bdfs[0]} {device}", check=True).text
    status = json.loads(said)[2]
    assert json.loads(said) == [0x11223344, 0x11223344, status, 0x55667788]
    with server.control() as client:
        rows = client.ask("recent", function="vf0", count=4096)
    seen = [(op, offset, size, value) for _, _, bar, op, _, offset, size, value in rows if bar == 0]
    first = seen.index(("write", 0x80C, 4, 0x11223344))
    assert seen[first:] == [
        ("write", 0x80C, 4, 0x11223344), ("read", 0x80C, 4, 0x11223344), ("read", 0x80C, 4, 0x11223344),
        ("read", 0x008, 4, status), ("write", 0x80C, 4, 0x55667788), ("read", 0x80C, 4, 0x55667788),
    ]  # fmt: skip


SHARED, NEIGHBOUR = "0000:01:01.0", "0000:01:02.0"
"""Two functions behind a bridge to conventional PCI, on which nobody can be told from anybody: they are in one group."""


@pytest.fixture(scope="class")
def crowded(lab: Lab) -> Iterator[VM]:
    """A guest with a VF that is alone in its group, and one that shares it with a device of the kernel's."""
    with ExitStack() as stack:
        bench = stack.enter_context(Bench(lab, "igbvf", "7.2"))
        first, second = bench.serve(2).sockets
        bridge = [RawDevice("pcie-pci-bridge,id=bridge"), RawDevice("virtio-rng-pci,bus=bridge,addr=2.0")]
        behind = VfioUser(second, options={"bus": "bridge", "addr": "1.0"})
        vm = stack.enter_context(lab.vm([VfioUser(first), *bridge, behind], **MACHINE))
        vm.put("/tmp/station.py", PROGRAM)
        yield vm


class TestRefusals:
    def refused(self, vm: VM, via: str, become: int = 0) -> str:
        """The one line that a program ends with which cannot open its device."""
        who = f"python3 -c 'import os, sys; os.setuid({become}); os.execvp(sys.argv[1], sys.argv[1:])' " if become else ""
        said = vm.run(f"{who}python3 /tmp/station.py {via} echo")
        assert (said.status in (1, 2), said.stdout) == (True, b"")
        lines = said.stderr.decode().splitlines()
        assert len(lines) == 1, said.stderr.decode()
        return lines[0].removeprefix("station: ")

    def test_no_such_function(self, crowded: VM) -> None:
        vm = crowded
        assert self.refused(vm, "vfio:0000:00:1b.0").startswith("there is no PCI function 0000:00:1b.0 here: ")
        assert "write the address as DOMAIN:BUS:DEVICE.FUNCTION" in self.refused(vm, "vfio:eth0")

    def test_another_device(self, crowded: VM) -> None:
        vm = crowded
        assert self.refused(vm, "vfio:0000:00:1f.2").startswith("0000:00:1f.2 is 8086:2922, and igbvf is 8086:10ca")

    def test_not_bound(self, crowded: VM) -> None:
        vm, ours = crowded, crowded.bdfs[0]
        said = self.refused(vm, f"vfio:{ours}")
        assert said.startswith(f"{ours} is bound to no driver, not to vfio-pci; as root: modprobe vfio-pci; ")
        remedy = said.partition("as root: ")[2].partition(" (or: ")[0]
        vm.run(remedy)
        assert vm.run(f"basename $(readlink /sys/bus/pci/devices/{ours}/driver)").text == "vfio-pci"  # the remedy is one

    def test_not_permitted(self, crowded: VM) -> None:
        vm, ours = crowded, crowded.bdfs[0]
        bind(vm, ours)
        group = vm.run(f"basename $(readlink /sys/bus/pci/devices/{ours}/iommu_group)").text
        assert self.refused(vm, f"vfio:{ours}", NOBODY).startswith(f"/dev/vfio/{group} may not be opened by you: ")

    def test_open_elsewhere(self, crowded: VM) -> None:
        vm, ours = crowded, crowded.bdfs[0]
        bind(vm, ours)
        group = vm.run(f"basename $(readlink /sys/bus/pci/devices/{ours}/iommu_group)").text
        vm.run(f"(exec 5<> /dev/vfio/{group}; echo $$ > /tmp/holder; sleep 1000) > /dev/null 2>&1 & sleep 0.2", check=True)
        said = self.refused(vm, f"vfio:{ours}")
        vm.run("pkill -x sleep")
        assert said.startswith(f"/dev/vfio/{group} is open elsewhere: ")

    def test_a_group_that_is_not_viable(self, crowded: VM) -> None:
        vm = crowded
        bind(vm, SHARED)
        group = vm.run(f"basename $(readlink /sys/bus/pci/devices/{SHARED}/iommu_group)").text
        said = self.refused(vm, f"vfio:{SHARED}")
        assert said.startswith(f"IOMMU group {group} of {SHARED} is not viable: bind {NEIGHBOUR} (virtio-pci) of the same ")
