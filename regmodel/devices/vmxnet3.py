"""VMware's paravirtual NIC VMXNET3 (15ad:07b0), with a device's usual BARs and with the large BAR of revision 7.

What lives here: identity, configuration space and what belongs to the device, gathered; data only. The first is laid out as
QEMU's own model is, so that each can stand in for the other.
"""

from __future__ import annotations

from regmodel.bars.vmxnet3 import BAR0, BAR0_LARGE, BAR1, DEFS, LARGE_SIZE, SIZE
from regmodel.capabilities import dsn, msi, msix, msix_bar, pcie
from regmodel.catalogue import Device, Identity
from regmodel.devices.vmxnet3_conduct import CONDUCT
from regmodel.devices.vmxnet3_handshakes import HANDSHAKES
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar
from regmodel.rings.vmxnet3 import RINGS
from regmodel.sources import Reading, symbols
from regmodel.structures.vmxnet3 import MAX_INTRS, MAX_INTRS_EXT, STRUCTURES

ID = symbols("linux-source", "include/linux/pci_ids.h", "PCI_DEVICE_ID_VMWARE_")
IDENTITY = Identity(0x15AD, 0x07B0, class_code=0x020000, revision=1, subsystem_vendor=0x15AD, subsystem=0x07B0)
CONFIG_SOURCES = (Reading("qemu", "hw/net/vmxnet3.c", "vmxnet3_pci_realize, vmxnet3_class_init"),)
MSIX_BAR, MSIX_SIZE = 2, 0x2000
SERIAL = 0xFE000000_290C00FF
"""QEMU makes it of the MAC address; here it is the same for all: VMware's OUI and nothing."""


def _config(vectors: int, bar0: int) -> ConfigSpace:
    return ConfigSpace(
        IDENTITY,
        pcie(0x48),
        msi(0x84),
        msix(0x9C, vectors, table=(MSIX_BAR, 0), pba=(MSIX_BAR, 0x1000)),
        dsn(0x100, SERIAL),
        bars=(BarSpec(0, bar0), BarSpec(1, SIZE), BarSpec(MSIX_BAR, MSIX_SIZE)),
        pin=1,
        sources=CONFIG_SOURCES,
    )


def _device(name: str, title: str, bar0: Bar, vectors: int, tx: int, rx: int) -> Device:
    config = _config(vectors, bar0.size)
    return Device(
        name=name,
        title=title,
        doc="A revision is negotiated; shared memory says the rest",
        identity=IDENTITY,
        config=config,
        bars={0: bar0, 1: BAR1, MSIX_BAR: msix_bar("msix", MSIX_SIZE, config, MSIX_BAR)},
        model="emulators.nics.vmxnet3.card:Vmxnet3Card",
        msix_vectors=vectors,
        msix_bar=MSIX_BAR,
        rings=RINGS,
        structures=STRUCTURES,
        conduct=CONDUCT,
        handshakes=HANDSHAKES,
        variant={"tx_queues": tx, "rx_queues": rx, "large_bar": bar0.size == LARGE_SIZE},
        drivers=("vmxnet3", "net_vmxnet3"),
        sources=(ID("VMXNET3"), Reading("linux-source", DEFS, "the whole of it")),
    )


VMXNET3 = _device("vmxnet3", "VMware VMXNET3", BAR0, MAX_INTRS, 8, 16)
VMXNET3_LARGE = _device("vmxnet3-large", "VMware VMXNET3 with the large BAR", BAR0_LARGE, MAX_INTRS_EXT, 32, 32)
