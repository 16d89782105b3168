"""What tests of AVP under DPDK share: guests with its ports, bound in one of two ways, and servers that follow each other."""

from __future__ import annotations

from typing import Any

from emulators.process import ServerProcess
from emulators.qemu import VM
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind
from tests.guest.conftest import Bench
from tests.guest.network import until
from tests.guest.pmd import MACHINE, Cable, port

WAYS: dict[str, dict[str, Any]] = {
    "vfio-pci": {},
    "uio_pci_generic": {"modules": ["uio_pci_generic"], "viommu": False},
}
LOOP = ("--port-topology=loop",)
PATIENT = {"patience": "30"}
"""For a driver in a guest that stands still, as beside another one under TCG."""
SECONDS = 60.0
"""A bound that judges nothing: how late a guest, or a server, may be."""


class Guest:
    """A guest with AVP ports, and the cable at the uplink of their switch."""

    def __init__(self, bench: Bench, vm: VM, cable: Cable) -> None:
        self.bench, self.vm, self.cable = bench, vm, cable

    def testpmd(self, *ports: str, queues: int = 1, args: tuple[str, ...] = LOOP) -> Testpmd:
        words = [f"--rxq={queues}", f"--txq={queues}", *args]
        return Testpmd(self.vm, ports or (port(0),), eal=["--iova-mode=pa"] if self.uio else [], args=words)

    uio = False

    def status(self, nic: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.bench.ctl("nic", str(nic), "status")
        return found

    def taken_over(self) -> ServerProcess:
        """A new server for this guest, with what was said to the last one; the last one has ended."""
        former = self.bench.server
        server = self.bench.serve(arguments=["--take-over", str(former.control_path)])
        until(lambda: not former.alive, SECONDS)
        return server

    def exchange(self, *frames: bytes) -> list[bytes]:
        """What comes back for these."""
        self.cable.send(*frames)
        return self.cable.receive(len(frames), seconds=30)


def guest(bench: Bench, cable: Cable, way: str = "vfio-pci", count: int = 1, **more: Any) -> Guest:
    bench.serve(count, nets=[cable.net], options=PATIENT)
    vm = bench.guest(*range(count), **{**MACHINE, **WAYS[way], **more})
    bind(vm, *(port(number) for number in range(count)), driver=way)
    huge_pages(vm)
    found = Guest(bench, vm, cable)
    found.uio = way == "uio_pci_generic"
    return found


def ran(pmd: Testpmd, mode: str) -> None:
    pmd(f"set fwd {mode}")
    pmd("clear port stats 0")
    pmd("start")
