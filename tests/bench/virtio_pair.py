"""One guest with two virtio NICs under the same driver: ours, and QEMU's own ``virtio-net-pci``.

In here: which devices they are, and how often their driver rings. How the two are set up is in ``nic_pair``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from emulators.qemu import Lab
from tests.bench.nic_pair import ABOUT, NicPair, Twins

__all__ = ["ABOUT", "FRONTS", "VirtioPair"]


def _twins(device: str, theirs: str, options: dict[str, str] | None = None) -> Twins:
    return Twins(device, f"virtio-net-pci,{theirs}", "virtio_net", options or {}, ",iommu_platform=on")


FRONTS = {
    "modern": _twins("virtio-net", "disable-legacy=on"),
    "packed": _twins("virtio-net", "disable-legacy=on,packed=on", {"packed": "on"}),
    "legacy": _twins("virtio-net-legacy", "disable-legacy=off,disable-modern=on"),
}
"""By name."""


class VirtioPair(NicPair):
    """``with VirtioPair(lab, "modern") as pair``."""

    def __init__(self, lab: Lab, front: str = "modern", *, dpdk: bool = False, modules: Sequence[str] = ()) -> None:
        super().__init__(lab, FRONTS[front], dpdk=dpdk, modules=modules)

    def doorbells(self, name: str) -> int:
        """How often the driver has rung for this interface, by its own count (virtio_net.c ``kicks``)."""
        said = self.vm.run(f"ethtool -S {name}", check=True).text
        return sum(int(count) for count in re.findall(r"kicks: (\d+)", said))
