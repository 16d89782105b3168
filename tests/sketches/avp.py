"""Sketch: the Accelerated Virtual Port: four registers, and everything else in memory that both sides share.

Shows tables as windows of a BAR, compiler padding, magic numbers, and a window that the device offers to be mapped.
"""

from construct import Array, Bytes, Const, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

from regmodel.access import CONST, RC, RO, RSVD, RW
from regmodel.bits import Bits, F
from regmodel.catalogue import Description
from regmodel.function import ResetCause
from regmodel.registers import Bar, Reg32, Window
from regmodel.sources import Reading, Symbol

AVP = "include/dpdk/rte_avp_common.h"


def S(name: str) -> Symbol:
    return Symbol("libdpdk-dev", AVP, f"RTE_AVP_{name}")


def R(what: str) -> Reading:
    return Reading("libdpdk-dev", AVP, what)


Version = Bits(Int32ul, "minor" / F[7:0], "major" / F[15:8], "release" / F[31:16])
MIGRATION = {"NONE": 0, "DETACHED": 1, "ATTACHED": 2, "ERROR": 3}
EVER = tuple(ResetCause)
# fmt: off
Place = Struct("addr" / Int64ul * "virtual, of the host", "phys_addr" / Int64ul * "physical, of the host", "length" / Int64ul)
MemoryMap = Struct("magic" / Const(0x20131969, Int32ul), "version" / Const(1, Int32ul), "nb_maps" / Int32ul, Padding(4),
    "maps" / Array(2048, Place) * "BAR2 is all of them in a row")

DeviceInfo = Struct("magic" / Const(0x20131975, Int32ul), "version" / Version, "ifname" / Bytes(32),
    "tx_phys" / Int64ul, "rx_phys" / Int64ul, "alloc_phys" / Int64ul, "free_phys" / Int64ul,
    "features" / Bits(Int32ul, "vlan_offload" / F[0](S("FEATURE_VLAN_OFFLOAD")), RSVD[...]),
    "min_rx_queues" / Int8ul, "num_rx_queues" / Int8ul, "max_rx_queues" / Int8ul,
    "min_tx_queues" / Int8ul, "num_tx_queues" / Int8ul, "max_tx_queues" / Int8ul, Padding(2),
    "tx_size" / Int32ul * "bytes from queue to queue", "rx_size" / Int32ul, "alloc_size" / Int32ul,
    "free_size" / Int32ul, Padding(4), "req_phys" / Int64ul, "resp_phys" / Int64ul, "sync_phys" / Int64ul,
    "sync_va" / Int64ul, "mbuf_va" / Int64ul, "mbuf_phys" / Int64ul, "pool" / Array(8, Place), "ethaddr" / Bytes(6),
    "mode" / Int8ul, Padding(1),
    "mbuf_size" / Int32ul, Padding(4), "device_id" / Int64ul, "max_rx_pkt_len" / Int32ul, Padding(4))

PacketDescriptor = Struct("pad0" / Int64ul, "pkt_mbuf" / Int64ul, "pad1" / Bytes(14),
    "ol_flags" / Bits(Int16ul, "tx_vlan_pkt" / F[0](S("TX_VLAN_PKT")), "rx_vlan_pkt" / F[11](S("RX_VLAN_PKT")), RSVD[...]),
    "next" / Int64ul * "address of the next segment", "data" / Int64ul * "address of the bytes", "data_len" / Int16ul,
    "nb_segs" / Int8ul, "pad2" / Int8ul, "pkt_len" / Int16ul, "pad3" / Int32ul, "vlan_tci" / Int16ul, "pad4" / Int32ul)
Fifo = Struct("write" / Int32ul, "read" / Int32ul, "len" / Int32ul * "a power of two, one slot stays empty",
    "elem_size" / Const(8, Int32ul))
Config = Struct("device_id" / Int64ul, "driver_type" / Bits(Int32ul, "type" / F[31:0](DPDK=1, KERNEL=2, QEMU=3)),
    "driver_version" / Version, "features" / Int32ul, "num_tx_queues" / Int16ul, "num_rx_queues" / Int16ul,
    "if_up" / Int8ul, Padding(3))
ConfigRequest = Struct("req_id" / Const(3, Int32ul), "config" / Config, "result" / Bytes(4) * "0, or a negative errno")

BARS = {
    0: Bar("BAR0", 0x1000,
        "interrupt_mask"   / Reg32(0x0, RW, S("INTERRUPT_MASK_OFFSET"))                              * "all ones enable",
        "interrupt_status" / Reg32(0x4, "migration" / RC[1](S("MIGRATION_INTERRUPT_MASK")), RSVD[...],
            S("INTERRUPT_STATUS_OFFSET"))                                                            * "interrupt causes",
        "migration_status" / Reg32(0x8, "status" / RO[31:0](**MIGRATION), S("MIGRATION_STATUS_OFFSET"))  * "where one stands",
        "migration_ack"    / Reg32(0xC, "status" / RW[31:0](**MIGRATION), S("MIGRATION_ACK_OFFSET")) * "the driver's answer"),
    2: Bar("BAR2", 0x200000, "memory" / Window(0, Bytes(0x200000), RW, R("RTE_AVP_PCI_MEMORY_BAR"), mappable=True,
        survives=EVER, why="rings and buffers; no doorbell exists, so nothing is lost when accesses do not trap")
            * "all regions of the memory map"),
    4: Bar("BAR4", 0x10000, "memmap" / Window(0, MemoryMap, CONST, R("struct rte_avp_memmap_info"), survives=EVER)
        * "host memory behind BAR2"),
    5: Bar("BAR5", 0x1000, "device_info" / Window(0, DeviceInfo, CONST, R("struct rte_avp_device_info"), survives=EVER)
        * "where the queues are"),
}
DESCRIPTION = Description(name="avp", title="Accelerated Virtual Port", doc="A fragment: all of it but MSI-X.", bars=BARS,
    sources=(R("the whole header"),),
    structures={"packet descriptor": PacketDescriptor, "fifo": Fifo, "configuration request": ConfigRequest})
