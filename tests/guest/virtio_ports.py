"""Two virtio NICs for testpmd, ours or QEMU's own, each with a cable of its own whose far end is the test.

Modern ones are driven through ``vfio-pci`` behind a translating intel-iommu, legacy ones by port I/O through
``uio_pci_generic`` in a guest without IOMMU: they know physical addresses only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulators.process import ServerProcess
from emulators.qemu import VM, RawDevice, VfioUser
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.machine import Device
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable
from tests.guest.virtio import FRONTS, Front, serve
from tests.guest.vmxnet3_ports import cables_in

ADDRESSES = (bytes.fromhex("020000000061"), bytes.fromhex("020000000071"))
PEER = "02:00:00:aa:bb:cc"
QUEUES = 2


@dataclass
class Ports:
    """A guest with both. ``servers`` are ours only."""

    vm: VM
    front: Front
    cables: list[Cable]
    servers: list[ServerProcess] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        return bool(self.servers)

    @property
    def queues(self) -> int:
        """QEMU has as many as its back end, and a datagram socket is one."""
        return QUEUES if self.ours else 1

    @property
    def bdfs(self) -> list[str]:
        return list(self.vm.bdfs)

    @property
    def driver(self) -> str:
        return driver(self.front)

    def testpmd(self, *args: str, ports: int = 2) -> Testpmd:
        """testpmd with the first ``ports`` of them, and as many queues as they have."""
        queues = (f"--rxq={self.queues}", f"--txq={self.queues}")
        return Testpmd(self.vm, self.bdfs[:ports], args=[*queues, *args])

    def link(self, up: bool) -> None:
        """The cable of port 0."""
        if not self.ours:
            self.vm.qmp("set_link", name="n0", up=up)
            return
        with self.servers[0].control() as client:
            client.ask("ctl", words=["link", "up" if up else "down"])


AVOIDED = {"packed": {"indirect_desc": "off"}}
"""By front: properties without which the PMD breaks the rules. In packed rings it says of the header that the device writes it,
where it sends a packet in pieces by an indirect table (DPDK 24.11 drivers/net/virtio/virtqueue.h,
``vring_desc_init_indirect_packed``); QEMU's device and ours need a reset then."""


def driver(front: Front) -> str:
    return "vfio-pci" if front.modern else "uio_pci_generic"


def machine(front: Front) -> dict[str, Any]:
    """What a guest needs for testpmd."""
    modules = [driver(front), "virtio_net"]
    return {"modules": modules, "load": modules[:1], "viommu": front.modern, "kits": ["dpdk"], "memory": "512M", "cpus": 2}


def qemus_own(front: Front, number: int, address: bytes, **properties: str) -> RawDevice:
    """QEMU's model of the same front. Without ``iommu_platform`` it would go past the IOMMU."""
    more = {"iommu_platform": "on"} if front.modern else {}
    words = [f"{name}={value}" for name, value in {**more, **properties}.items()]
    return RawDevice(",".join([f"virtio-net-pci,netdev=n{number},mac={address.hex(':')},{front.qemu}", *words]))


def take(vm: VM, front: Front, *bdfs: str) -> None:
    """Bind devices for DPDK and reserve huge pages."""
    bind(vm, *bdfs, driver=driver(front))
    huge_pages(vm)


@contextmanager
def boot(bench: Bench, front: Front, devices: list[Device], netdevs: list[str]) -> Iterator[VM]:
    """A guest with these devices, ready for testpmd, whose kernel must have nothing to complain about in the end."""
    with bench.lab.vm(devices, kernel=bench.kernel, arguments=netdevs, **machine(front)) as vm:
        take(vm, front, *vm.bdfs)
        yield vm
        assert vm.kernel_warnings() == []


@contextmanager
def ours(bench: Bench, front: str, folder: Path) -> Iterator[Ports]:
    found, servers = FRONTS[front], []
    with cables_in(folder) as cables:
        for cable, address in zip(cables, ADDRESSES, strict=True):
            serve(bench, front, str(QUEUES), 1, nets=[cable.net], options={"mac": address.hex(":"), **AVOIDED.get(front, {})})
            servers.append(bench.server)
        with boot(bench, found, [VfioUser(str(server.sockets[0])) for server in servers], []) as vm:
            yield Ports(vm, found, cables, servers)
            errors = [server.control().ask("stats")["nic0"]["device errors"] for server in servers]
            assert errors == [{}, {}], errors


@contextmanager
def qemus(bench: Bench, front: str, folder: Path) -> Iterator[Ports]:
    found = FRONTS[front]
    with cables_in(folder) as cables:
        netdevs = [word for number, cable in enumerate(cables) for word in ("-netdev", cable.netdev(f"n{number}"))]
        devices: list[Device] = [
            qemus_own(found, number, address, **AVOIDED.get(front, {})) for number, address in enumerate(ADDRESSES)
        ]
        with boot(bench, found, devices, netdevs) as vm:
            yield Ports(vm, found, cables)
