"""BARs 0 and 2 of QEMU's inter-VM shared memory device: four registers, and the memory itself.

What lives here: offsets, fields, access and their sources; data only. Names are QEMU's. The device comes in two revisions:

- *1*, since QEMU 2.6: memory and ID are there when the guest starts. INTRMASK and INTRSTATUS still store and mean nothing.
- *0*, before: memory may come late, and IVPOSITION reads -1 until then. Without MSI-X it asserts INTx while INTRSTATUS and
  INTRMASK have a bit in common.
"""

from __future__ import annotations

from construct import Bytes

from regmodel.access import RO, RW, WRC
from regmodel.function import ResetCause
from regmodel.registers import Bar, Doorbell32, Partial, Policy, Reg32, Window
from regmodel.sources import Document, Reading

SPEC = "QEMU docs/specs/ivshmem-spec.rst"
REGISTERS = Document(SPEC, "PCI device registers")
BARS = Document(SPEC, "PCI BARs")
QEMU_FILE = "hw/misc/ivshmem-pci.c"
QEMU = Reading("qemu", QEMU_FILE, "ivshmem_io_read, ivshmem_io_write")
OLD = Reading("qemu", "hw/misc/ivshmem.c", "as of QEMU 2.5: ivshmem_update_irq, ivshmem_recv_setup")

REGISTERS_SIZE = 0x100
MEMORY_SIZE = 4 << 20
"""Of a device of which no other size was asked for (before QEMU 2.6, the default of ``-device ivshmem,size=``)."""
NO_POSITION = 0xFFFF_FFFF
"""IVPOSITION of revision 0 before the server has given an ID."""

POLICY = Policy(partial=Partial.IGNORE, unaligned=Partial.IGNORE)
"""The specification knows accesses of four bytes only."""

# fmt: off
BAR0 = Bar("bar0", REGISTERS_SIZE,
    "intrmask" / Reg32(0x0,
        "peer"  / RW[0]     * "revision 0: an interrupt request from a peer asserts INTx",
        "other" / RW[31:1]  * "reserved; stores, and takes part in INTx as bit 0 does",
        REGISTERS, QEMU, OLD)                                                       * "Interrupt Mask",
    "intrstatus" / Reg32(0x4,
        "peer"  / WRC[0]    * "revision 0 without MSI-X: a peer has requested an interrupt",
        "other" / WRC[31:1] * "reserved; stores",
        REGISTERS, QEMU, OLD)                                                       * "Interrupt Status",
    "ivposition" / Reg32(0x8, "id" / RO[31:0] * "0 without a server; revision 0: -1 until it has given one",
        REGISTERS, QEMU, survives=ResetCause)                                       * "IVPosition: the own ID",
    "doorbell" / Doorbell32(0xC,
        "vector" / RW[15:0]  * "which of its vectors",
        "peer"   / RW[31:16] * "ID of the peer to interrupt",
        REGISTERS, QEMU)                                       * "Doorbell: ignored where there is no such peer or vector",
    policy=POLICY, doc="registers")
# fmt: on


def memory_bar(size: int) -> Bar:
    """BAR 2 of ``size`` bytes, a power of two."""
    return Bar("bar2", size,
        "shm" / Window(0, Bytes(size), RW.volatile, BARS, mappable=True, survives=ResetCause,
            why="the memory is its owner's: no reset of a device that shows it changes it")
                                                               * "the shared memory object, whole",
        doc="shared memory")  # fmt: skip
