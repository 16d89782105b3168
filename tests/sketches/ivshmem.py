"""Sketch: inter-VM shared memory: QEMU's four registers, and the metadata that DPDK's library kept at the end of the memory.

Shows a doorbell with two operands, a mappable window beside registers, and a table whose place depends on a size.
"""

from construct import Array, Bytes, Const, Int32sl, Int32ul, Int64ul, Padding, Struct

from regmodel.access import CONST, RC, RW
from regmodel.catalogue import Description
from regmodel.function import ResetCause
from regmodel.registers import Bar, Doorbell32, Reg32, Window
from regmodel.sources import Document, Reading

SPEC = "QEMU ivshmem specification"
LIBRARY = Reading("dpdk v16.07", "lib/librte_ivshmem/rte_ivshmem.h", "struct rte_ivshmem_metadata")
MEMZONE = Reading("dpdk v16.07", "lib/librte_eal/common/include/rte_memzone.h", "struct rte_memzone, RTE_LIBRTE_IVSHMEM")
PLACE = Reading("dpdk v16.07", "lib/librte_eal/linuxapp/eal/eal_ivshmem.c", "has_ivshmem_metadata")


def D(section: str) -> Document:
    return Document(SPEC, section)


# fmt: off
Memzone = Struct("name" / Bytes(32),
    "phys_addr"    / Int64ul * "physical, of the host",
    "addr"         / Int64ul * "virtual, of the host: the guest maps it at the same address",
    "ioremap_addr" / Int64ul * "physical, of the guest; the guest fills it in",
    "len"          / Int64ul * "0 ends the table",
    "hugepage_sz"  / Int64ul, "socket_id" / Int32sl, "flags" / Int32ul, "memseg_id" / Int32ul)
Entry = Struct("mz" / Memzone, Padding(4), "offset" / Int64ul * "within the shared memory")
Metadata = Struct("magic_number" / Const(0x0BADC0DE, Int32ul), "name" / Bytes(32), Padding(4), "entry" / Array(128, Entry))

SIZE = 0x400000  # any power of two: the backing file's
METADATA = -(-Metadata.sizeof() // 0x1000) * 0x1000
BAR0 = Bar("BAR0", 0x100,
    "interrupt_mask"   / Reg32(0x0, RW, D("Device registers"))        * "INTx, revision 0 only",
    "interrupt_status" / Reg32(0x4, RC, D("Device registers"))        * "INTx, revision 0 only",
    "iv_position"      / Reg32(0x8, CONST, D("Device registers"))     * "own ID; 0 without doorbells",
    "doorbell"         / Doorbell32(0xC, "vector" / RW[15:0], "peer" / RW[31:16], D("Device registers")) * "interrupt a peer")
BAR2 = Bar("BAR2", SIZE,
    "segments" / Window(0, Bytes(SIZE - METADATA), RW, MEMZONE, mappable=True, survives=ResetCause, why="it is shared memory")
        * "each segment fills whole pages",
    "metadata" / Window(SIZE - METADATA, Metadata, RW, LIBRARY, PLACE, mappable=True, survives=ResetCause,
        why="it is shared memory")
        * "which segment is where")
# fmt: on

DESCRIPTION = Description(
    name="ivshmem",
    title="Inter-VM shared memory",
    doc="QEMU's device, and the layout of its memory under DPDK's library up to 16.07.",
    bars={0: BAR0, 2: BAR2},
    structures={"metadata": Metadata},
    sources=(D("Device registers"), LIBRARY),
)
