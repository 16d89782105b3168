"""Two VMXNET3 for testpmd, ours or QEMU's own, each with a cable of its own whose far end is the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulators.process import ServerProcess
from emulators.qemu import VM, RawDevice, VfioUser
from emulators.qemu.dpdk import Testpmd
from tests.guest.conftest import Bench
from tests.guest.pmd import MACHINE, Cable, port, prepare

ADDRESSES = (bytes.fromhex("020000000041"), bytes.fromhex("020000000051"))
PORTS = (port(0), port(1))
PEER = "02:00:00:aa:bb:cc"


@dataclass
class Ports:
    """A guest with both at ``PORTS``, bound to ``vfio-pci``. ``servers`` are ours only."""

    vm: VM
    cables: list[Cable]
    servers: list[ServerProcess] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        return bool(self.servers)

    @property
    def queues(self) -> int:
        """QEMU's receives into its first queue only (hw/net/vmxnet3.c ``RXQ_IDX``)."""
        return 2 if self.ours else 1

    def testpmd(self, *args: str, ports: int = 2) -> Testpmd:
        queues = (f"--rxq={self.queues}", f"--txq={self.queues}")
        return Testpmd(self.vm, PORTS[:ports], args=[*queues, *args])

    def link(self, up: bool) -> None:
        """The cable of port 0."""
        if not self.ours:
            self.vm.qmp("set_link", name="n0", up=up)
            return
        with self.servers[0].control() as client:
            client.ask("ctl", words=["link", "up" if up else "down"])


@contextmanager
def ours(bench: Bench, tmp_path: Path, **options: str) -> Iterator[Ports]:
    """Of the newest revision, unless ``options`` of the device say otherwise."""
    with cables_in(tmp_path) as cables:
        given = [{"mac": address.hex(":"), **options} for address in ADDRESSES]
        servers = [bench.serve(nets=[cable.net], options=each) for cable, each in zip(cables, given, strict=True)]
        devices = [VfioUser(str(server.sockets[0])) for server in servers]
        with bench.lab.vm(devices, kernel=bench.kernel, **MACHINE) as vm:  # type: ignore[arg-type]
            prepare(vm, *PORTS)
            yield Ports(vm, cables, servers)
            assert vm.kernel_warnings() == []


@contextmanager
def qemus(bench: Bench, tmp_path: Path) -> Iterator[Ports]:
    """QEMU's own, with what its back ends pass on."""
    with cables_in(tmp_path) as cables:
        devices = [RawDevice(f"vmxnet3,netdev=n{i},mac={address.hex(':')}") for i, address in enumerate(ADDRESSES)]
        netdevs = [word for i, cable in enumerate(cables) for word in ("-netdev", cable.netdev(f"n{i}"))]
        options: dict[str, Any] = {**MACHINE, "arguments": netdevs}
        with bench.lab.vm(devices, kernel=bench.kernel, **options) as vm:
            prepare(vm, *PORTS)
            yield Ports(vm, cables)
            only_qemus_faults(vm, *PORTS)


def only_qemus_faults(vm: VM, *ports: str) -> None:
    """The guest's kernel complains of nothing but of QEMU's at ``ports``, which reads DriverShared at address 0 when it is told
    of VLANs: the PMD has not placed it yet (vmxnet3_ethdev.c ``vmxnet3_dev_vlan_offload_set``; hw/net/vmxnet3.c
    ``vmxnet3_update_features``).
    """
    complaints = [line for line in vm.kernel_warnings() if "DMAR: DRHD: handling fault status" not in line]
    assert complaints, "it does not do so any more"
    short = "|".join(port.removeprefix("0000:") for port in ports)  # Linux 6.12 leaves the domain out
    known = re.compile(rf"DMAR: \[DMA Read\b.* Request device \[(?:0000:)?(?:{short})\] fault addr 0x0 ")
    assert [line for line in complaints if not known.search(line)] == []


@contextmanager
def cables_in(folder: Path) -> Iterator[list[Cable]]:
    with ExitStack() as stack:
        cables = [Cable(folder, name) for name in "ab"]
        for cable in cables:
            stack.callback(cable.close)
        yield cables
