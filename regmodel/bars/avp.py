"""The BARs of AVP, the Accelerated Virtual Port: four registers, shared memory, and two tables that say what is in it.

What lives here: offsets, fields, access, sizes and their sources; data only. No register moves a packet, and none is written
when one is sent: queues, descriptors, packets and requests all stand in BAR 2, which a guest maps. The tables of BARs 4 and 5
place them in terms of *host* addresses, virtual and physical, which a driver translates (``structures.avp``).

Names are those of DPDK's header, without their prefix. Who knows AVP knows it from DPDK's driver and header; the host's half
was never published, so what only a host knows (sizes of BARs, what a reset leaves) is a choice of this project, and says so.
"""

from __future__ import annotations

from construct import Bytes

from regmodel.access import RC, RO, RSVD, RW
from regmodel.function import ResetCause
from regmodel.registers import Bar, Partial, Policy, Reg32, Window
from regmodel.sources import Reading, symbols
from regmodel.structures.avp import DEVICE_INFO, MEMMAP_INFO

HEADER = "include/dpdk/rte_avp_common.h"
ETHDEV = "drivers/net/avp/avp_ethdev.c"
S = symbols("libdpdk-dev", HEADER, "RTE_AVP_")


def header(what: str) -> Reading:
    return Reading("libdpdk-dev", HEADER, what)


def pmd(what: str) -> Reading:
    """A function of DPDK's driver, as of 24.11."""
    return Reading("dpdk", ETHDEV, what)


REGISTERS_SIZE, MEMMAP_SIZE, DEVICE_SIZE = 0x1000, 0x10000, 0x1000
MEMORY_SIZE = 16 << 20
"""Bytes of BAR 2, a choice: queues of 512 pointers, eight of each kind, and some 6000 buffers of 2 KiB."""
MIGRATION = {"NONE": 0, "DETACHED": 1, "ATTACHED": 2, "ERROR": 3}
STATES = tuple(S(f"MIGRATION_{name}", of=name) for name in MIGRATION)
PCI_RESETS = (ResetCause.BUS, ResetCause.FLR)
EVER = tuple(ResetCause)

# fmt: off
BAR0 = Bar("bar0", REGISTERS_SIZE,
    "interrupt_mask"   / Reg32(0x0, RW, S("INTERRUPT_MASK_OFFSET"), pmd("avp_dev_enable_interrupts"))
                                                      * "Interrupt Mask: 1 lets a cause through; drivers write all or none",
    "interrupt_status" / Reg32(0x4,
        "migration" / RC[1](S("MIGRATION_INTERRUPT_MASK"))     * "look at migration_status",
        RSVD[...], S("INTERRUPT_STATUS_OFFSET"), pmd("avp_dev_interrupt_handler")) * "Interrupt Status; reading clears it",
    "migration_status" / Reg32(0x8,
        "status" / RO[31:0](*STATES, **MIGRATION)              * "what the host wants or has done",
        S("MIGRATION_STATUS_OFFSET"), pmd("avp_dev_migration_pending"), survives=PCI_RESETS) * "Migration Status",
    "migration_ack"    / Reg32(0xC,
        "status" / RW[31:0](*STATES, **MIGRATION)              * "the status that the driver has followed, or ERROR",
        S("MIGRATION_ACK_OFFSET"), pmd("avp_dev_interrupt_handler")) * "Migration Acknowledge",
    policy=Policy(partial=Partial.IGNORE, unaligned=Partial.IGNORE), doc="interrupts and migration")

BAR2 = Bar("bar2", MEMORY_SIZE,
    "memory" / Window(0, Bytes(MEMORY_SIZE), RW, header("RTE_AVP_PCI_MEMORY_BAR"), mappable=True, survives=EVER,
        why="queues and buffers; nothing is lost when accesses are not seen, for there are no doorbells")
                                                      * "all regions of the memory map, one behind the other",
    doc="shared memory")

BAR4 = Bar("bar4", MEMMAP_SIZE,
    "memmap" / Window(0, MEMMAP_INFO, RO, header("struct rte_avp_memmap_info"), pmd("avp_dev_translate_address"),
        survives=EVER)                                * "which host memory BAR 2 shows",
    doc="the memory map")

BAR5 = Bar("bar5", DEVICE_SIZE,
    "device_info" / Window(0, DEVICE_INFO, RO, header("struct rte_avp_device_info"), pmd("avp_dev_create"),
        survives=EVER)                                * "what this device is, and where its queues are",
    doc="device information")
# fmt: on
