"""From an address on the PCI bus to the VFIO group that holds the function; and what to do when there is none.

Only ``/sys`` and ``/dev`` are looked at, nothing is opened or changed. Each thing that may be missing has an error of its
own, which names the command that helps.

Source: Linux ``Documentation/driver-api/vfio.rst``, "VFIO Usage Example"; ``Documentation/ABI/testing/sysfs-bus-pci``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.errors import NoSuchFunction, NotSupported, NotViable
from drivers.transports.linux_vfio.system import System
from regmodel.catalogue import Device
from regmodel.errors import UsageError

_BDF: Final = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE)


@dataclass(frozen=True)
class Binding:
    """A function that VFIO has: its address in full, its group, and the device file of the group."""

    address: str
    group: str
    device_file: Path


def parse(text: str) -> str:
    """``0000:00:02.0`` from that or from ``00:02.0``. Raises ``UsageError``."""
    found = _BDF.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"vfio:{text}: write the address as DOMAIN:BUS:DEVICE.FUNCTION, as in vfio:0000:00:02.0")
    domain, bus, device, function = found.groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}".lower()


def find(text: str, device: Device, system: System) -> Binding:
    """Where VFIO has the function at address ``text``, which ought to be a ``device``.

    Raises ``UsageError``, ``NoSuchFunction``, ``NotViable``, ``NotSupported``.
    """
    address = parse(text)
    place = system.sys / "bus/pci/devices" / address
    if not place.is_dir():
        raise NoSuchFunction(f"there is no PCI function {address} here: `ls /sys/bus/pci/devices` lists those that there are")
    _require_identity(place, address, device, system)
    group = _group(place, address, system)
    _require_driver(place, address)
    return Binding(address, group, _device_file(group, place, address, system))


def _require_identity(place: Path, address: str, device: Device, system: System) -> None:
    found = tuple(system.text(place / name).removeprefix("0x") for name in ("vendor", "device"))
    if ":".join(found) != str(device.identity):
        raise UsageError(f"{address} is {':'.join(found)}, and {device.name} is {device.identity}: name the device that it is")


def _group(place: Path, address: str, system: System) -> str:
    link = place / "iommu_group"
    if not link.exists():
        raise NotViable(
            f"{address} has no IOMMU group: enable VT-d or AMD-Vi in the firmware and boot Linux with intel_iommu=on "
            "(a virtual machine needs a virtual IOMMU, as `-device intel-iommu`)"
        )
    if system.text(link / "name") == "vfio-noiommu":
        raise NotSupported(f"{address} is in VFIO's no-IOMMU mode, which is not supported: DMA would go by physical address")
    return link.resolve().name


def driver_of(place: Path) -> str:
    """The kernel driver that a function is bound to; empty when there is none."""
    link = place / "driver"
    return link.resolve().name if link.exists() else ""


def is_vfio(driver: str) -> bool:
    """``vfio-pci``, or one of its variants for one vendor (``mlx5_vfio_pci``)."""
    return driver.replace("_", "-").endswith("vfio-pci")


def how_to_bind(address: str, driver: str) -> str:
    """One line for a shell of root; ``driver`` has it now."""
    where = "/sys/bus/pci"
    unbind = f"echo {address} > {where}/drivers/{driver}/unbind; " if driver else ""
    return (
        f"modprobe vfio-pci; {unbind}echo vfio-pci > {where}/devices/{address}/driver_override; "
        f"echo {address} > {where}/drivers_probe "
        f"(or: driverctl set-override {address} vfio-pci; dpdk-devbind.py -b vfio-pci {address})"
    )


def _require_driver(place: Path, address: str) -> None:
    driver = driver_of(place)
    if not is_vfio(driver):
        remedy = how_to_bind(address, driver)
        raise NotViable(f"{address} is bound to {driver or 'no driver'}, not to vfio-pci; as root: {remedy}")


def _device_file(group: str, place: Path, address: str, system: System) -> Path:
    found = system.dev / "vfio" / group
    if found.exists():
        return found
    if (system.dev / "vfio" / f"noiommu-{group}").exists():
        raise NotSupported(f"{address} is in VFIO's no-IOMMU mode, which is not supported: DMA would go by physical address")
    if (system.dev / "vfio/devices").is_dir() or (place / "vfio-dev").is_dir():
        raise NotSupported(f"{address} is offered by iommufd only, which is not supported: use one with CONFIG_VFIO_GROUP")
    raise NotViable(f"{found} does not exist: modprobe vfio-pci vfio_iommu_type1 (in a container: pass /dev/vfio into it)")


def strangers(binding: Binding, system: System) -> list[str]:
    """Functions of the same group that keep it from being used: ``0000:00:02.1 (igb)``."""
    members = system.sys / "kernel/iommu_groups" / binding.group / "devices"
    found = []
    for place in sorted(members.iterdir()) if members.is_dir() else []:
        driver = driver_of(place)
        if driver and not is_vfio(driver) and driver not in _HARMLESS:
            found.append(f"{place.name} ({driver})")
    return found


_HARMLESS: Final = ("pci-stub", "pcieport")
"""Drivers that a group may have besides (those which set ``pci_driver.driver_managed_dma``). Words of a message only."""
