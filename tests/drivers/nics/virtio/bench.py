"""Two virtio NICs of one card in this process, a driver on each. Time is manual, as in the bench of ``igbvf``."""

from __future__ import annotations

from typing import Any

from drivers.nics.virtio import VirtioNet
from drivers.transports.in_process import InProcess
from regmodel.catalogue import find
from tests.drivers.nics.igbvf.bench import Bench, Bouncing, Side, frame

FRONTS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "legacy": ("virtio-net-legacy", {}, {}),
    "legacy-unmerged": ("virtio-net-legacy", {"mrg_rxbuf": "off"}, {}),
    "legacy-two-pieces": ("virtio-net-legacy", {"mrg_rxbuf": "off", "any_layout": "off", "event_idx": "off"}, {}),
    "transitional": ("virtio-net-transitional", {}, {}),
    "transitional-by-ports": ("virtio-net-transitional", {}, {"legacy": True}),
    "split": ("virtio-net", {}, {}),
    "split-flags": ("virtio-net", {}, {"event_idx": False}),
    "split-unmerged": ("virtio-net", {"mrg_rxbuf": "off"}, {}),
    "packed": ("virtio-net", {"packed": "on"}, {}),
    "packed-flags": ("virtio-net", {"packed": "on"}, {"event_idx": False}),
    "packed-told": ("virtio-net", {"packed": "on", "notification_data": "on"}, {}),
    "split-told": ("virtio-net", {"notification_data": "on"}, {}),
}
"""By name: the device, its properties, options of the driver."""


class VirtioBench(Bench):
    """``front`` is a row of ``FRONTS``; ``properties`` are further ones of the card."""

    def __init__(self, front: str, transport: type[InProcess] = InProcess, **properties: str) -> None:
        self.front = front
        name, given, self.options = FRONTS[front]
        super().__init__(find(name), 2, transport, **{**given, **properties})

    def open(self, vf: int = 0, **options: Any) -> Any:
        return VirtioNet(self.transports[vf], self.device, **{**self.options, **options})


__all__ = ["FRONTS", "Bouncing", "Side", "VirtioBench", "frame"]
