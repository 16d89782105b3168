"""Two VMXNET3s of one card in this process, a driver on each, and whatever has to be done to the card behind their backs.

Time is manual: it passes only while a driver sleeps or waits. What is the same for all NICs comes from igbvf's bench.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drivers.nics.vmxnet3 import VmxNet3
from drivers.transports.in_process import InProcess
from emulators.alone import Alone, open_functions
from regmodel.catalogue import Device
from regmodel.devices.vmxnet3 import VMXNET3
from tests.drivers.nics.igbvf.bench import Bouncing, Meddler, Side, Wire, frame


class Bench:
    """``transports`` of the first ``count`` NICs of a new card; ``open`` puts a driver on one."""

    def __init__(
        self, device: Device = VMXNET3, count: int = 2, transport: type[InProcess] = InProcess, **options: str
    ) -> None:
        self.device = device
        self.alone: Alone = open_functions(device, count, clock="manual", **options)
        self.meddlers = [Meddler(f) for f in self.alone.functions]
        self.transports = [transport(m, self.alone, name=f"inprocess {m.name}") for m in self.meddlers]
        self.wire = Wire()
        self.switch.uplink.backend = self.wire  # type: ignore[assignment]

    @property
    def card(self) -> Any:
        return self.alone.card

    @property
    def switch(self) -> Any:
        return self.card.ports[0].switch

    def pool(self, nic: int) -> Any:
        """The switch's side of a NIC."""
        return self.card.slots[nic].pool

    def model(self, nic: int) -> Any:
        return self.card.slots[nic].model

    def open(self, nic: int = 0, **options: Any) -> VmxNet3:
        return VmxNet3(self.transports[nic], self.device, **options)

    def side(self, nic: int = 0, *, driver: dict[str, Any] | None = None, **options: Any) -> Side:
        return Side(self.open(nic, **(driver or {})), **options)

    def from_the_wire(self, frames: Iterable[bytes]) -> None:
        self.switch.receive(list(frames))

    def close(self) -> None:
        self.alone.close()


__all__ = ["Bench", "Bouncing", "Side", "frame"]
