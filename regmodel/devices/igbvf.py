"""The virtual functions of Intel's 82576 (8086:10ca) and I350 (8086:1520) gigabit controllers, as PCI functions.

What lives here: identity, configuration space and what belongs to the device, gathered; data only. A VF on silicon shows
ffff as vendor and device, because the identifiers come from the PF's SR-IOV capability; here it stands alone and shows
the real ones, and decodes memory by its own command register.

What differs between the two: identity, queue pairs (two, one), timestamps in packets, the speed of the link to the host,
and the byte order of the VLAN tag in packets from another function of the port, which the I350 delivers swapped.
"""

from __future__ import annotations

from typing import Any

from regmodel.bars.igbvf import BAR0_82576, BAR0_I350, INTEL, SIZE, VECTORS
from regmodel.capabilities import Link, aer, ari, msix, msix_bar, pcie
from regmodel.catalogue import Device, Identity
from regmodel.devices.igbvf_conduct import conduct
from regmodel.devices.igbvf_handshakes import HANDSHAKES
from regmodel.mailboxes.igb import MAILBOX
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar
from regmodel.rings.igb import RINGS
from regmodel.sources import Reading, symbols

ID = symbols("linux-source", f"{INTEL}/igbvf/vf.h", "E1000_DEV_ID_")
CONFIG_SOURCES = (
    Reading("qemu", "hw/net/igbvf.c", "igbvf_pci_realize, igbvf_class_init"),
    Reading("pciutils", "tests/cap-pcie-2", "8086:10c9"),  # the PF on silicon; a VF says what its PF says (SR-IOV 1.1, 3.5)
)
MSIX_BAR, MSIX_SIZE = 3, 0x4000


def vf_config(identity: Identity, speed: int, l1_exit: int) -> ConfigSpace:
    """Configuration space of a VF: message interrupts only, no power management, no ROM.

    ``speed`` of the link and ``l1_exit``, how long leaving L1 takes: as coded in Link Capabilities.
    """
    link = Link(speed=speed, width=4, aspm=3, l0s_exit=6, l1_exit=l1_exit)
    return ConfigSpace(
        identity,
        msix(0x70, VECTORS, table=(MSIX_BAR, 0), pba=(MSIX_BAR, 0x2000)),
        pcie(0xA0, flr=True, vf=True, payload=2, l0s=3, l1=6, link=link),
        aer(0x100, vf=True),
        ari(0x150),
        bars=(BarSpec(0, SIZE, bits64=True, prefetch=True), BarSpec(MSIX_BAR, MSIX_SIZE, bits64=True, prefetch=True)),
        sources=CONFIG_SOURCES,
    )


def _device(name: str, title: str, device: int, symbol: str, bar0: Bar, speed: int, l1_exit: int, **variant: Any) -> Device:
    identity = Identity(0x8086, device, class_code=0x020000, revision=1, subsystem_vendor=0x8086)
    config = vf_config(identity, speed, l1_exit)
    return Device(
        name=name,
        title=title,
        doc="Queues, a mailbox and three vectors; all else is the PF's",
        identity=identity,
        config=config,
        bars={0: bar0, MSIX_BAR: msix_bar("msix", MSIX_SIZE, config, MSIX_BAR)},
        model="emulators.nics.igb.card:IgbCard",
        msix_vectors=VECTORS,
        msix_bar=MSIX_BAR,
        rings=RINGS,
        mailboxes=(MAILBOX,),
        variant=variant,
        drivers=("igbvf", "net_e1000_igb_vf"),
        conduct=conduct(variant["queues"]),
        handshakes=HANDSHAKES,
        sources=(ID(symbol),),
    )


IGBVF = _device(
    "igbvf", "Intel 82576 Virtual Function", 0x10CA, "82576_VF", BAR0_82576, 1, 6,
    silicon="82576", queues=2, timestamp=False, loopback_vlan_swapped=False,
)  # fmt: skip
IGBVF_I350 = _device(
    "igbvf-i350", "Intel I350 Virtual Function", 0x1520, "I350_VF", BAR0_I350, 2, 5,
    silicon="I350", queues=1, timestamp=True, loopback_vlan_swapped=True,
)  # fmt: skip
