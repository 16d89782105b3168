"""Drivers, one room per NIC family, and where they are found.

A driver is a class ``Driver(transport, device, **options)`` that implements ``drivers.ethdev.EthDev``; the entry-point group
``regmodel.drivers`` (ours as well as yours) names it by the device that it drives.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from drivers.errors import NotSupported

if TYPE_CHECKING:
    from drivers.ethdev import EthDev
    from regmodel.catalogue import Device

GROUP = "regmodel.drivers"


def driver_for(device: Device) -> Callable[..., EthDev]:
    """The class that drives ``device``. Raises ``NotSupported`` which says what can be driven."""
    known = entry_points(group=GROUP)
    for ep in known:
        if ep.name == device.name:
            return cast("Callable[..., EthDev]", ep.load())
    names = ", ".join(sorted(ep.name for ep in known)) or "nothing"
    raise NotSupported(f"no driver for {device.name} is installed; there are drivers for {names} (entry points {GROUP})")
