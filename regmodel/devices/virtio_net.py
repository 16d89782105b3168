"""virtio-net over PCI, three times: legacy (1af4:1000, port I/O), transitional (1af4:1000, both), modern (1af4:1041).

What lives here: identity, configuration space and what belongs to the devices, gathered; data only. Everything stands where
QEMU's ``virtio-net-pci`` has it: legacy and transitional as on a conventional bus, modern as behind a PCI Express root port
(read from the configuration spaces of QEMU 11.1).

The three differ in their front only; ``variant`` says which there are. MSI-X has a vector for each queue that the description
allows and one for the configuration; QEMU has as many as its queue pairs need.
"""

from __future__ import annotations

from regmodel.bars.virtio import (
    BAR0,
    BAR4,
    LEGACY_SIZE,
    MODERN_SIZE,
    MSIX_SIZE,
    PAIRS,
    QEMU,
    VECTORS,
    V,
)  # fmt: skip
from regmodel.capabilities import Link, msix, msix_bar, pcie, pm
from regmodel.catalogue import Device, Identity, Ring
from regmodel.devices.virtio_config import MODERN_BAR, structures
from regmodel.devices.virtio_net_conduct import conduct
from regmodel.devices.virtio_net_handshakes import handshakes
from regmodel.function import RegionKind
from regmodel.pci import BarSpec, Capability, ConfigSpace
from regmodel.registers import Bar
from regmodel.rings.virtio import LEGACY, PACKED, SPLIT
from regmodel.sources import Reading, symbols
from regmodel.structures.virtio_net import CONTROL, STRUCTURES

VENDOR, LEGACY_ID, MODERN_ID, NET = 0x1AF4, 0x1000, 0x1041, 1
"""Transitional identifiers begin at 1000 and modern ones at 1040; a network card is device 1 (VIRTIO 1.2, 4.1.2.1 and 5)."""
ID = symbols("linux-source", "include/uapi/linux/virtio_ids.h", "VIRTIO_TRANS_ID_")
IDS = Reading("linux-source", "drivers/virtio/virtio_pci_modern_dev.c", "vp_modern_probe")
CONFIG = Reading("qemu", "hw/virtio/virtio-pci.c", "virtio_pci_device_plugged, virtio_pci_realize")
NET_PCI = Reading("qemu", "hw/virtio/virtio-net-pci.c", "virtio_net_pci_class_init")
MSIX_BAR, PBA = 1, 0x800

IO = BarSpec(0, LEGACY_SIZE, RegionKind.IO)
TABLE = BarSpec(MSIX_BAR, MSIX_SIZE)
MEMORY = BarSpec(MODERN_BAR, MODERN_SIZE, bits64=True, prefetch=True)


def _msix(at: int) -> Capability:
    return msix(at, VECTORS, table=(MSIX_BAR, 0), pba=(MSIX_BAR, PBA))


def _device(
    name: str, title: str, identity: Identity, capabilities: tuple[Capability, ...], bars: dict[int, Bar],
    rings: tuple[Ring, ...], specs: tuple[BarSpec, ...], size: int, drivers: tuple[str, ...],
) -> Device:  # fmt: skip
    config = ConfigSpace(identity, *capabilities, bars=specs, pin=1, size=size, sources=(CONFIG,))
    known = (IDS, NET_PCI, QEMU, V("4.1.2"))
    return Device(
        name=name,
        title=title,
        doc="Packets through virtqueues, which the driver puts into its memory",
        identity=identity,
        config=config,
        bars={**bars, MSIX_BAR: msix_bar("msix", MSIX_SIZE, config, MSIX_BAR)},
        model="emulators.nics.virtio.card:VirtioCard",
        msix_vectors=VECTORS,
        msix_bar=MSIX_BAR,
        rings=rings,
        mailboxes=(CONTROL,),
        handshakes=handshakes(modern=MODERN_BAR in bars, legacy=0 in bars),
        conduct=conduct(modern=MODERN_BAR in bars, legacy=0 in bars),
        structures=STRUCTURES,
        variant={"legacy": 0 in bars, "modern": MODERN_BAR in bars, "pairs": PAIRS},
        drivers=drivers,
        sources=known if identity.device == MODERN_ID else (ID("NET"), *known),
    )


_OLD = Identity(VENDOR, LEGACY_ID, class_code=0x020000, revision=0, subsystem_vendor=VENDOR, subsystem=NET)
_NEW = Identity(VENDOR, MODERN_ID, class_code=0x020000, revision=1, subsystem_vendor=VENDOR, subsystem=0x1100)
_STOCK = ("virtio_net", "net_virtio")

# fmt: off
VIRTIO_NET_LEGACY = _device(
    "virtio-net-legacy", "virtio-net, legacy", _OLD, (_msix(0x40),),
    {0: BAR0}, (LEGACY,), (IO, TABLE), 256, _STOCK)
VIRTIO_NET_TRANSITIONAL = _device(
    "virtio-net-transitional", "virtio-net, transitional", _OLD, (*structures(0x40), _msix(0x98)),
    {0: BAR0, MODERN_BAR: BAR4}, (SPLIT, PACKED, LEGACY), (IO, TABLE, MEMORY), 256, _STOCK)
VIRTIO_NET = _device(
    "virtio-net", "virtio-net, modern", _NEW,
    (pcie(0x40, flr=True, link=Link(aspm=1)), pm(0x7C), *structures(0x84), _msix(0xDC)),
    {MODERN_BAR: BAR4}, (SPLIT, PACKED), (TABLE, MEMORY), 4096, _STOCK)
# fmt: on
