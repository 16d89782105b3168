"""AVP without MSI-X, served by path: QEMU 11.1.3 can unplug a function that has none (see ``test_hotplug``)."""

from __future__ import annotations

from dataclasses import replace

from regmodel.capabilities import pcie
from regmodel.devices.avp import AVP, CONFIG, IDENTITY, MSIX_BAR
from regmodel.pci import ConfigSpace

_CONFIG = ConfigSpace(
    IDENTITY, pcie(0x40, flr=True), bars=tuple(bar for bar in CONFIG.bar_specs if bar.index != MSIX_BAR), pin=1,
    sources=CONFIG.sources,
)  # fmt: skip
_BARS = {index: bar for index, bar in AVP.bars.items() if index != MSIX_BAR}
DEVICE = replace(AVP, name="avp-without-msix", config=_CONFIG, bars=_BARS, msix_vectors=0, msix_bar=None)
