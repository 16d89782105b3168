"""What guest tests of virtio-net share: its fronts, and a guest that talks to itself through two NICs.

One guest is enough for two ends: the second interface moves into a network namespace of its own, so that what one sends to
the other leaves by its NIC.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from emulators.qemu import VM
from emulators.qemu.agent import Result
from tests.guest.conftest import Bench

FAR = "far"
"""The namespace of the second interface."""
VERSION_1, ACCESS_PLATFORM, RING_PACKED = 32, 33, 34
WITHOUT_MSIX = f"{Path(__file__).with_name('virtio_without_msix.py')}:{{}}"
"""The devices of ``virtio_without_msix``, as they are served."""


@dataclass(frozen=True)
class Front:
    """A personality and a ring format: the device's name and its properties."""

    device: str
    properties: dict[str, str] = field(default_factory=dict)
    qemu: str = ""
    """The same of QEMU's ``virtio-net-pci``, as its properties."""

    @property
    def modern(self) -> bool:
        """It is driven through its modern interface."""
        return self.device != "virtio-net-legacy"

    @property
    def packed(self) -> bool:
        return "packed" in self.properties


_PACKED = {"packed": "on"}
FRONTS = {
    "split": Front("virtio-net", {}, "disable-legacy=on"),
    "packed": Front("virtio-net", _PACKED, "disable-legacy=on,packed=on"),
    "transitional-split": Front("virtio-net-transitional", {}, "disable-legacy=off"),
    "transitional-packed": Front("virtio-net-transitional", _PACKED, "disable-legacy=off,packed=on"),
    "legacy": Front("virtio-net-legacy", {}, "disable-legacy=off,disable-modern=on"),
}


class Space:
    """A network namespace of a guest, as the helpers of ``network`` take a guest."""

    def __init__(self, vm: VM, name: str) -> None:
        self.vm, self.name = vm, name
        self.put, self.get = vm.put, vm.get

    def run(self, command: str, timeout: float = 60.0, check: bool = False) -> Result:
        return self.vm.run(f"ip netns exec {self.name} sh -c {shlex.quote(command)}", timeout, check)


def serve(bench: Bench, front: str, pairs: str = "1", count: int = 2, *, msix: bool = True, **more: Any) -> Front:
    """Serve NICs of this front with so many queue pairs."""
    found = FRONTS[front]
    bench.device = found.device if msix else WITHOUT_MSIX.format(found.device.replace("-", "_").upper())
    options = {**found.properties, "queue_pairs": pairs, **more.pop("options", {})}
    bench.serve(count, options=options, **more)
    return found


def apart(vm: VM, interface: str = "eth1", name: str = "") -> VM:
    """Move the second interface away, where it may have another name; the namespace, to be used as a guest is."""
    vm.run(f"ip netns add {FAR} 2>/dev/null; ip link set {interface} netns {FAR} name {name or interface}", check=True)
    return cast(VM, Space(vm, FAR))


def quiet(vm: VM) -> None:
    """Nothing is sent but what a test sends."""
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", check=True)


def features(vm: VM, interface: str = "eth0") -> set[int]:
    """The feature bits that the stock driver negotiated."""
    bits = vm.run(f"cat /sys/class/net/{interface}/device/features", check=True).text.strip()
    return {number for number, bit in enumerate(bits) if bit == "1"}


def nic(bench: Bench, name: str = "nic0") -> dict[str, Any]:
    """What the model says of one of its NICs."""
    found: dict[str, Any] = bench.stats()["card"]["nics"][name]
    return found
