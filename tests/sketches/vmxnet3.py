"""Sketch: VMXNET3, whose registers are few because a shared structure in guest memory says the rest.

Shows commands, a 64-bit pair, doorbells by array, honest "unimplemented" registers, and a structure of structures.
"""

from construct import Array, Bytes, Const, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RC, RSVD, RW, W1C, WO
from regmodel.bits import Bits, F
from regmodel.catalogue import Description
from regmodel.registers import UNIMPLEMENTED, Bar, Command32, Doorbell32, Each, Pair32, Reg32
from regmodel.sources import Reading, Symbol

DEFS = "drivers/net/vmxnet3/vmxnet3_defs.h"
NOT_YET = "belongs to revision 7; this device reports revision 1"


def S(name: str) -> Symbol:
    return Symbol("linux-source", DEFS, f"VMXNET3_{name}")


# fmt: off
BAR0 = Bar("BAR0", 0x1000,
    "imr"     / Reg32(Each(0x000, 8, 25), "masked" / RW[0], RSVD[...], S("REG_IMR"), reset=1) * "interrupt mask, by vector",
    "txprod"  / Doorbell32(Each(0x600, 8, 8), RW, S("REG_TXPROD"))   * "transmit producer index, by queue",
    "rxprod"  / Doorbell32(Each(0x800, 8, 16), RW, S("REG_RXPROD"))  * "receive producer index of ring 1, by queue",
    "rxprod2" / Doorbell32(Each(0xA00, 8, 16), RW, S("REG_RXPROD2")) * "receive producer index of ring 2, by queue")

BAR1 = Bar("BAR1", 0x1000,
    "vrrs" / Command32(0x00, RW, S("REG_VRRS"), reset=1) * "reads the revisions on offer, a bit each; write one to select it",
    "uvrs" / Command32(0x08, RW, S("REG_UVRS"), reset=1) * "the same for UPT versions",
    *Pair32("dsal", 0x10, "dsah", 0x18, RW, S("REG_DSAL"), doc="address of DriverShared"),
    "cmd"  / Command32(0x20, "command" / RW[31:0](
        ACTIVATE_DEV=0xCAFE0000, QUIESCE_DEV=0xCAFE0001, RESET_DEV=0xCAFE0002, UPDATE_RX_MODE=0xCAFE0003,
        GET_QUEUE_STATUS=0xF00D0000, GET_STATS=0xF00D0001, GET_LINK=0xF00D0002, GET_CONF_INTR=0xF00D0008),
        S("REG_CMD"))                                    * "write a command, read its result",
    "macl" / Reg32(0x28, RW, S("REG_MACL"))              * "MAC address, first four bytes",
    "mach" / Reg32(0x30, "mac" / RW[15:0], RSVD[...], S("REG_MACH"))  * "MAC address, last two bytes",
    "icr"  / Reg32(0x38, "cause" / RC[0], RSVD[...], S("REG_ICR"))    * "INTx cause",
    "ecr"  / Reg32(0x40,
        "rqerr" / W1C[0](S("ECR_RQERR")) * "a receive queue stopped",
        "tqerr" / W1C[1](S("ECR_TQERR")) * "a transmit queue stopped",
        "link"  / W1C[2](S("ECR_LINK"))  * "the link changed",
        "dic"   / W1C[3](S("ECR_DIC"))   * "the device's implementation changed",
        "debug" / W1C[4](S("ECR_DEBUG")) * "for debugging",
        RSVD[...], S("REG_ECR"))                         * "event causes, which DriverShared shows as well",
    "dcr"  / Reg32(Each(0x48, 8, 8), WO, S("REG_DCR"), status=UNIMPLEMENTED, why=NOT_YET)  * "device capabilities",
    "ptcr" / Reg32(Each(0x88, 8, 6), WO, S("REG_PTCR"), status=UNIMPLEMENTED, why=NOT_YET) * "passthrough capabilities")

DriverInfo = Struct("version" / Int32ul,
    "gos" / Bits(Int32ul, "bits" / F[1:0](BITS32=1, BITS64=2), "type" / F[5:2](LINUX=1), "ver" / F[21:6], "misc" / F[31:22]),
    "vmxnet3RevSpt" / Int32ul, "uptVerSpt" / Int32ul)
MiscConf = Struct("driverInfo" / DriverInfo, "uptFeatures" / Int64ul, "ddPA" / Int64ul,
    "queueDescPA" / Int64ul * "transmit queues, then receive queues; 128-byte aligned", "ddLen" / Int32ul,
        "queueDescLen" / Int32ul, "mtu" / Int32ul, "maxNumRxSG" / Int16ul,
    "numTxQueues" / Int8ul, "numRxQueues" / Int8ul, "reserved" / Array(4, Int32ul))
IntrConf = Struct("autoMask" / Int8ul, "numIntrs" / Int8ul, "eventIntrIdx" / Int8ul, "modLevels" / Array(25, Int8ul),
    "intrCtrl" / Bits(Int32ul, "disable_all" / F[0], RSVD[...]), "reserved" / Array(2, Int32ul))
RxMode = Bits(Int32ul, "ucast" / F[0], "mcast" / F[1], "bcast" / F[2], "all_multi" / F[3], "promisc" / F[4], RSVD[...])
RxFilterConf = Struct("rxMode" / RxMode, "mfTableLen" / Int16ul, "_pad1" / Int16ul, "mfTablePA" / Int64ul,
    "vfTable" / Array(128, Int32ul) * "a bit for each VLAN")
Place = Struct("confVer" / Int32ul, "confLen" / Int32ul, "confPA" / Int64ul)
DevRead = Struct("misc" / MiscConf, "intrConf" / IntrConf, "rxFilterConf" / RxFilterConf,
    "rssConfDesc" / Place, "pmConfDesc" / Place, "pluginConfDesc" / Place)
IntrConfExt = Struct("autoMask" / Int8ul, "numIntrs" / Int8ul, "eventIntrIdx" / Int8ul, "reserved" / Int8ul,
    "intrCtrl" / Int32ul, "reserved1" / Int32ul, "modLevels" / Array(65, Int8ul), "reserved2" / Bytes(3))
DriverShared = Struct("magic" / Const(0xBABEFEE1, Int32ul), "size" / Int32ul, "devRead" / DevRead,
    "ecr" / Int32ul * "written by the device", "reserved" / Int32ul,
    "cmdInfo" / Bytes(16) * "a command's argument, in place up to this size", "devReadExt" / IntrConfExt)
TxDesc = Struct("addr" / Int64ul,
    "buffer"  / Bits(Int32ul, "len" / F[13:0] * "0 means 16384", "gen" / F[14], "oco" / F[15], "dtype" / F[16],
        "ext1" / F[17], "msscof" / F[31:18]),
    "offload" / Bits(Int32ul, "hlen" / F[9:0], "om" / F[11:10](NONE=0, ENCAP=1, CSUM=2, TSO=3), "eop" / F[12], "cq" / F[13],
        "ext2" / F[14], "ti" / F[15], "tci" / F[31:16]))

DESCRIPTION = Description(name="vmxnet3", title="VMXNET3, revision 1", doc="A fragment: registers and the shared structure.",
    bars={0: BAR0, 1: BAR1}, structures={"DriverShared": DriverShared, "TxDesc": TxDesc},
    sources=(Reading("linux-source", DEFS, "struct Vmxnet3_DriverShared"),))
