"""A VMXNET3 without MSI-X, served by path: QEMU 11.1.3 can unplug a function that has none (see ``test_hotplug``)."""

from __future__ import annotations

from dataclasses import replace

from regmodel.capabilities import dsn, msi, pcie
from regmodel.devices.vmxnet3 import CONFIG_SOURCES, IDENTITY, SERIAL, VMXNET3
from regmodel.pci import BarSpec, ConfigSpace

_BARS = {index: VMXNET3.bars[index] for index in (0, 1)}
_CONFIG = ConfigSpace(
    IDENTITY, pcie(0x48), msi(0x84), dsn(0x100, SERIAL), bars=tuple(BarSpec(index, bar.size) for index, bar in _BARS.items()),
    pin=1, sources=CONFIG_SOURCES,
)  # fmt: skip
DEVICE = replace(VMXNET3, name="vmxnet3-without-msix", config=_CONFIG, bars=_BARS, msix_vectors=0, msix_bar=None)
