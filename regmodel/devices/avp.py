"""AVP, the Accelerated Virtual Port of Wind River's virtualisation platform (1af4:1110, subsystem 1af4:1104).

What lives here: identity, configuration space and what belongs to the device, gathered; data only. Vendor and device are those
of ivshmem, of which it is a descendant: only the subsystem tells the two apart. Drivers look at no class and at no capability
but MSI-X, and no description of the host is public, so those are choices: a network controller, an Express endpoint with
function level reset, one vector, and INTx for drivers that have no MSI-X.
"""

from __future__ import annotations

from regmodel.bars.avp import BAR0, BAR2, BAR4, BAR5, DEVICE_SIZE, MEMMAP_SIZE, MEMORY_SIZE, REGISTERS_SIZE, S, header, pmd
from regmodel.capabilities import msix, msix_bar, pcie
from regmodel.catalogue import Device, Identity
from regmodel.devices.avp_conduct import CONDUCT
from regmodel.devices.avp_handshakes import HANDSHAKES
from regmodel.mailboxes.avp import MAILBOX
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.rings.avp import RINGS
from regmodel.structures.avp import MAX_QUEUES, STRUCTURES

IDENTITY = Identity(0x1AF4, 0x1110, class_code=0x020000, subsystem_vendor=0x1AF4, subsystem=0x1104)
MSIX_BAR, MSIX_SIZE, VECTORS = 1, 0x1000, 1
CONFIG = ConfigSpace(
    IDENTITY,
    pcie(0x40, flr=True),
    msix(0x80, VECTORS, table=(MSIX_BAR, 0), pba=(MSIX_BAR, 0x800)),
    bars=(
        BarSpec(0, REGISTERS_SIZE),
        BarSpec(MSIX_BAR, MSIX_SIZE),
        BarSpec(2, MEMORY_SIZE, bits64=True, prefetch=True),
        BarSpec(4, MEMMAP_SIZE),
        BarSpec(5, DEVICE_SIZE),
    ),
    pin=1,
    sources=(header("RTE_AVP_PCI_*"), pmd("pci_id_avp_map, avp_dev_check_regions")),
)

AVP = Device(
    name="avp",
    title="Wind River Accelerated Virtual Port",
    doc="Packets travel through memory that host and guest share; there is no DMA and no doorbell",
    identity=IDENTITY,
    config=CONFIG,
    bars={0: BAR0, MSIX_BAR: msix_bar("msix", MSIX_SIZE, CONFIG, MSIX_BAR), 2: BAR2, 4: BAR4, 5: BAR5},
    model="emulators.nics.avp.card:AvpCard",
    msix_vectors=VECTORS,
    msix_bar=MSIX_BAR,
    rings=RINGS,
    mailboxes=(MAILBOX,),
    structures=STRUCTURES,
    conduct=CONDUCT,
    handshakes=HANDSHAKES,
    variant={"queues": MAX_QUEUES},
    drivers=("net_avp",),
    sources=(S("PCI_DEVICE_ID"), header("the whole of it")),
)
