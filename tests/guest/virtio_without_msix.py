"""virtio-net without MSI-X, served by path: QEMU 11.1.3 can unplug a function that has none (see ``test_hotplug``)."""

from __future__ import annotations

from dataclasses import replace

from regmodel.catalogue import Device
from regmodel.devices import virtio_net as devices
from regmodel.pci import ConfigSpace


def _without(device: Device) -> Device:
    space = device.config
    assert isinstance(space, ConfigSpace)
    config = ConfigSpace(
        space.identity, *(c for c in space.capabilities if c.name != "msix"),
        bars=tuple(bar for bar in space.bar_specs if bar.index != devices.MSIX_BAR), pin=1, size=space.size,
        sources=(devices.CONFIG,),
    )  # fmt: skip
    bars = {index: bar for index, bar in device.bars.items() if index != devices.MSIX_BAR}
    return replace(device, name=f"{device.name}-without-msix", config=config, bars=bars, msix_vectors=0, msix_bar=None)


VIRTIO_NET, VIRTIO_NET_TRANSITIONAL, VIRTIO_NET_LEGACY = map(
    _without, (devices.VIRTIO_NET, devices.VIRTIO_NET_TRANSITIONAL, devices.VIRTIO_NET_LEGACY)
)
