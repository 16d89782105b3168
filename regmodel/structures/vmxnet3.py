"""What a VMXNET3 driver and device share in memory: the root ``DriverShared`` and all that it leads to.

What lives here: layouts, constants and their sources; data only. Everything is little-endian; ``PA`` is a bus address in
bytes. Names are the header files', for the stock module's BTF is compared with all of it: ``BTF`` says with what.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from construct import Array, Bytes, Const, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RSVD
from regmodel.bars.vmxnet3 import LINUX, S
from regmodel.bits import Bits, F
from regmodel.sources import symbols

U = symbols("linux-source", f"{LINUX}/upt1_defs.h", "UPT1_")

MAGIC = 0xBABEFEE1
QUEUE_DESC_ALIGN = 128
MTU_LEAST, MTU_MOST, MTU_MOST_V6 = 60, 9000, 9190
MAX_INTRS, MAX_INTRS_EXT = 25, 65
VLANS = 4096
KEY_MOST, TABLE_MOST = 40, 128
"""Bytes of the RSS key, entries of the indirection table (UPT1_RSS_MAX_KEY_SIZE, UPT1_RSS_MAX_IND_TABLE_SIZE)."""


class Feature(IntFlag):
    """misc.uptFeatures (UPT1_F_*)."""

    RXCSUM = 0x01
    RSS = 0x02
    RXVLAN = 0x04
    LRO = 0x08
    RXINNEROFLD = 0x10


class RxMode(IntFlag):
    """rxFilterConf.rxMode (VMXNET3_RXM_*)."""

    UCAST = 0x01
    MCAST = 0x02
    BCAST = 0x04
    ALL_MULTI = 0x08
    PROMISC = 0x10


class Event(IntFlag):
    """DriverShared.ecr (VMXNET3_ECR_*)."""

    RQERR = 0x01
    TQERR = 0x02
    LINK = 0x04
    DIC = 0x08
    DEBUG = 0x10


class QueueError(IntEnum):
    """status.error of a queue that has stopped (VMXNET3_ERR_*)."""

    NOEOP = 0x80000000
    TXD_REUSE = 0x80000001
    BIG_PKT = 0x80000002
    DESC_NOT_SPT = 0x80000003
    SMALL_BUF = 0x80000004
    STRESS = 0x80000005
    SWITCH = 0x80000006
    TXD_INVALID = 0x80000007


class InterruptType(IntEnum):
    """Bits 1:0 of GET_CONF_INTR (VMXNET3_IT_*)."""

    AUTO = 0
    INTX = 1
    MSI = 2
    MSIX = 3


class MaskMode(IntEnum):
    """Bits 3:2 of GET_CONF_INTR (VMXNET3_IMM_*): who masks a vector that was sent."""

    AUTO = 0
    ACTIVE = 1
    LAZY = 2


class HashType(IntFlag):
    """RSSConf.hashType (UPT1_RSS_HASH_TYPE_*)."""

    IPV4 = 0x01
    TCP_IPV4 = 0x02
    IPV6 = 0x04
    TCP_IPV6 = 0x08


TOEPLITZ = 1
"""RSSConf.hashFunc (UPT1_RSS_HASH_FUNC_TOEPLITZ)."""


class RssField(IntFlag):
    """SET_RSS_FIELDS and GET_RSS_FIELDS (VMXNET3_RSS_FIELDS_*)."""

    TCPIP4 = 0x01
    TCPIP6 = 0x02
    UDPIP4 = 0x04
    UDPIP6 = 0x08
    ESPIP4 = 0x10
    ESPIP6 = 0x20


class CoalesceMode(IntEnum):
    """CoalesceScheme.coalMode (VMXNET3_COALESCE_*)."""

    DISABLED = 0
    ADAPT = 1
    STATIC = 2
    RBC = 3


# fmt: off
DRIVER_INFO = Struct(
    "version"       / Int32ul                          * "of the driver",
    "gos"           / Bits(Int32ul,
        "gosBits"   / F[1:0](S("GOS_BITS_32", of="BITS32"), S("GOS_BITS_64", of="BITS64"), UNKNOWN=0, BITS32=1, BITS64=2)
                                                       * "of an address",
        "gosType"   / F[5:2](S("GOS_TYPE_LINUX", shift=2, of="LINUX"), LINUX=1) * "which system",
        "gosVer"    / F[21:6]                          * "its version",
        "gosMisc"   / F[31:22]                         * "anything else")  * "guest operating system",
    "vmxnet3RevSpt" / Int32ul                          * "revisions that the driver knows, bit 0 is revision 1",
    "uptVerSpt"     / Int32ul                          * "the same for UPT versions",
)
MISC_CONF = Struct(
    "driverInfo"    / DRIVER_INFO                      * "who drives",
    "uptFeatures"   / Bits(Int64ul,
        "rxcsum"    / F[0](U("F_RXCSUM"))              * "verify checksums of received packets",
        "rss"       / F[1](U("F_RSS"))                 * "spread them",
        "rxvlan"    / F[2](U("F_RXVLAN"))              * "strip their VLAN tags",
        "lro"       / F[3](U("F_LRO"))                 * "put them together",
        "rxinnerofld" / F[4](U("F_RXINNEROFLD"))       * "look into tunnels",
        RSVD[...])                                     * "what the driver wants",
    "ddPA"          / Int64ul                          * "data of the driver's own",
    "queueDescPA"   / Int64ul                          * "transmit queue descriptors, then receive ones; 128-byte aligned",
    "ddLen"         / Int32ul                          * "bytes of the driver's own data",
    "queueDescLen"  / Int32ul                          * "bytes of all queue descriptors",
    "mtu"           / Int32ul                          * "bytes",
    "maxNumRxSG"    / Int16ul                          * "descriptors that one received packet may take",
    "numTxQueues"   / Int8ul                           * "transmit queues",
    "numRxQueues"   / Int8ul                           * "receive queues",
    "reserved"      / Bytes(16)                        * "reserved",
)
TX_QUEUE_CONF = Struct(
    "txRingBasePA"  / Int64ul                          * "TxDesc; 512-byte aligned",
    "dataRingBasePA" / Int64ul                         * "first bytes of packets, by TxDesc",
    "compRingBasePA" / Int64ul                         * "TxCompDesc; 512-byte aligned",
    "ddPA"          / Int64ul                          * "data of the driver's own",
    "reserved"      / Int64ul                          * "reserved",
    "txRingSize"    / Int32ul                          * "entries, a multiple of 32",
    "dataRingSize"  / Int32ul                          * "entries",
    "compRingSize"  / Int32ul                          * "entries",
    "ddLen"         / Int32ul                          * "bytes of the driver's own data",
    "intrIdx"       / Int8ul                           * "vector",
    "_pad1"         / Int8ul                           * "padding",
    "txDataRingDescSize" / Int16ul                     * "bytes of an entry of the data ring (revision 3; else 128)",
    "_pad2"         / Bytes(4)                         * "padding",
)
RX_QUEUE_CONF = Struct(
    "rxRingBasePA"  / Array(2, Int64ul)                * "RxDesc of rings 1 and 2; 512-byte aligned",
    "compRingBasePA" / Int64ul                         * "RxCompDesc; 512-byte aligned",
    "ddPA"          / Int64ul                          * "data of the driver's own",
    "rxDataRingBasePA" / Int64ul                       * "small packets, by RxDesc of ring 1 (revision 3)",
    "rxRingSize"    / Array(2, Int32ul)                * "entries, multiples of 32",
    "compRingSize"  / Int32ul                          * "entries",
    "ddLen"         / Int32ul                          * "bytes of the driver's own data",
    "intrIdx"       / Int8ul                           * "vector",
    "_pad1"         / Int8ul                           * "padding",
    "rxDataRingDescSize" / Int16ul                     * "bytes of an entry of the data ring; 0: there is none",
    "_pad2"         / Bytes(4)                         * "padding",
)
QUEUE_STATUS = Struct(
    "stopped"       / Int8ul                           * "the queue has stopped",
    "_pad"          / Bytes(3)                         * "padding",
    "error"         / Int32ul                          * "why (QueueError)",
)
TX_QUEUE_CTRL = Struct(
    "txNumDeferred" / Int32ul                          * "the driver's count of packets without a doorbell",
    "txThreshold"   / Int32ul                          * "ring the doorbell when there are as many; written by the device",
    "reserved"      / Int64ul                          * "reserved",
)
RX_QUEUE_CTRL = Struct(
    "updateRxProd"  / Int8ul                           * "the device wants doorbells; written by the device",
    "_pad"          / Bytes(7)                         * "padding",
    "reserved"      / Int64ul                          * "reserved",
)
TX_STATS = Struct(
    "TSOPktsTxOK"     / Int64ul                        * "packets by TSO, after segmentation",
    "TSOBytesTxOK"    / Int64ul                        * "their bytes",
    "ucastPktsTxOK"   / Int64ul                        * "unicast packets",
    "ucastBytesTxOK"  / Int64ul                        * "their bytes",
    "mcastPktsTxOK"   / Int64ul                        * "multicast packets",
    "mcastBytesTxOK"  / Int64ul                        * "their bytes",
    "bcastPktsTxOK"   / Int64ul                        * "broadcast packets",
    "bcastBytesTxOK"  / Int64ul                        * "their bytes",
    "pktsTxError"     / Int64ul                        * "packets that made no sense",
    "pktsTxDiscard"   / Int64ul                        * "packets that the switch did not take",
)
RX_STATS = Struct(
    "LROPktsRxOK"     / Int64ul                        * "packets by LRO",
    "LROBytesRxOK"    / Int64ul                        * "their bytes",
    "ucastPktsRxOK"   / Int64ul                        * "unicast packets, before LRO",
    "ucastBytesRxOK"  / Int64ul                        * "their bytes",
    "mcastPktsRxOK"   / Int64ul                        * "multicast packets",
    "mcastBytesRxOK"  / Int64ul                        * "their bytes",
    "bcastPktsRxOK"   / Int64ul                        * "broadcast packets",
    "bcastBytesRxOK"  / Int64ul                        * "their bytes",
    "pktsRxOutOfBuf"  / Int64ul                        * "packets without a descriptor",
    "pktsRxError"     / Int64ul                        * "packets that were damaged",
)
TX_TS_CONF = Struct(
    "txTSRingBasePA"   / Int64ul                       * "TxTSDesc, by TxDesc",
    "txTSRingDescSize" / Int16ul                       * "bytes of an entry; 0: there is none",
    "pad"              / Int16ul                       * "padding",
    "latencyConf"      / Struct("sampleRate" / Int16ul * "one packet of so many; written by the device", "pad" / Int16ul)
                                                       * "how often",
)
RX_TS_CONF = Struct(
    "rxTSRingBasePA"   / Int64ul                       * "RxTSDesc, by RxDesc of ring 1",
    "rxTSRingDescSize" / Int16ul                       * "bytes of an entry; 0: there is none",
    "pad"              / Bytes(6)                      * "padding",
)
TX_QUEUE_DESC = Struct(
    "ctrl"          / TX_QUEUE_CTRL                    * "doorbells",
    "conf"          / TX_QUEUE_CONF                    * "rings",
    "status"        / QUEUE_STATUS                     * "written by the device",
    "stats"         / TX_STATS                         * "written by the device",
    "tsConf"        / TX_TS_CONF                       * "timestamps (revision 9)",
    "_pad"          / Bytes(72)                        * "padding",
)
RX_QUEUE_DESC = Struct(
    "ctrl"          / RX_QUEUE_CTRL                    * "doorbells",
    "conf"          / RX_QUEUE_CONF                    * "rings",
    "status"        / QUEUE_STATUS                     * "written by the device",
    "stats"         / RX_STATS                         * "written by the device",
    "tsConf"        / RX_TS_CONF                       * "timestamps (revision 9)",
    "__pad"         / Bytes(72)                        * "padding",
)
INTR_CONF = Struct(
    "autoMask"      / Int8ul                           * "a vector that is sent masks itself",
    "numIntrs"      / Int8ul                           * "vectors",
    "eventIntrIdx"  / Int8ul                           * "vector of events",
    "modLevels"     / Bytes(MAX_INTRS)                 * "moderation, by vector",
    "intrCtrl"      / Bits(Int32ul, "disable_all" / F[0](S("IC_DISABLE_ALL")) * "send none", RSVD[...]) * "control",
    "reserved"      / Bytes(8)                         * "reserved",
)
INTR_CONF_EXT = Struct(
    "autoMask"      / Int8ul                           * "a vector that is sent masks itself",
    "numIntrs"      / Int8ul                           * "vectors",
    "eventIntrIdx"  / Int8ul                           * "vector of events",
    "reserved"      / Int8ul                           * "reserved",
    "intrCtrl"      / Bits(Int32ul, "disable_all" / F[0](S("IC_DISABLE_ALL")) * "send none", RSVD[...]) * "control",
    "reserved1"     / Int32ul                          * "reserved",
    "modLevels"     / Bytes(MAX_INTRS_EXT)             * "moderation, by vector",
    "reserved2"     / Bytes(3)                         * "reserved",
)
RX_FILTER_CONF = Struct(
    "rxMode"        / Bits(Int32ul,
        "ucast"     / F[0](S("RXM_UCAST"))             * "frames to our address",
        "mcast"     / F[1](S("RXM_MCAST"))             * "those to addresses of the table",
        "bcast"     / F[2](S("RXM_BCAST"))             * "broadcasts",
        "all_multi" / F[3](S("RXM_ALL_MULTI"))         * "all multicasts",
        "promisc"   / F[4](S("RXM_PROMISC"))           * "everything",
        RSVD[...])                                     * "what to receive",
    "mfTableLen"    / Int16ul                          * "bytes of the table, 6 for each address",
    "_pad1"         / Int16ul                          * "padding",
    "mfTablePA"     / Int64ul                          * "multicast addresses",
    "vfTable"       / Bytes(VLANS // 8)                * "VLANs to receive, a bit for each, little-endian",
)
VARIABLE_CONF = Struct(
    "confVer"       / Int32ul                          * "version",
    "confLen"       / Int32ul                          * "bytes",
    "confPA"        / Int64ul                          * "where it is",
)
DRIVER_SHARED = Struct(
    "magic"         / Const(MAGIC, Int32ul)            * "that it is one",
    "size"          / Int32ul                          * "bytes of it, as far as the driver's revision knows it",
    "devRead"       / Struct(
        "misc"           / MISC_CONF                   * "who, what, where",
        "intrConf"       / INTR_CONF                   * "interrupts",
        "rxFilterConf"   / RX_FILTER_CONF              * "what to receive",
        "rssConfDesc"    / VARIABLE_CONF               * "places an RSSConf",
        "pmConfDesc"     / VARIABLE_CONF               * "places a PMConf",
        "pluginConfDesc" / VARIABLE_CONF               * "places a plugin") * "read by the device",
    "ecr"           / Int32ul                          * "events; written by the device",
    "reserved"      / Int32ul                          * "reserved",
    "cu"            / Struct("data" / Bytes(16) * "as it is") * "argument of a command: itself, or a VariableLenConfDesc",
    "devReadExt"    / Struct("intrConfExt" / INTR_CONF_EXT) * "interrupts, where queues are many (revision 6)",
)
RSS_CONF = Struct(
    "hashType"      / Bits(Int16ul,
        "ipv4"      / F[0](U("RSS_HASH_TYPE_IPV4"))     * "IPv4 addresses",
        "tcp_ipv4"  / F[1](U("RSS_HASH_TYPE_TCP_IPV4")) * "and TCP ports",
        "ipv6"      / F[2](U("RSS_HASH_TYPE_IPV6"))     * "IPv6 addresses",
        "tcp_ipv6"  / F[3](U("RSS_HASH_TYPE_TCP_IPV6")) * "and TCP ports",
        RSVD[...])                                     * "what is hashed",
    "hashFunc"      / Int16ul                          * "0: none, 1: Toeplitz",
    "hashKeySize"   / Int16ul                          * "bytes",
    "indTableSize"  / Int16ul                          * "entries",
    "hashKey"       / Bytes(KEY_MOST)                  * "key",
    "indTable"      / Bytes(TABLE_MOST)                * "receive queue, by the low bits of the hash",
)
PM_FILTER = Struct(
    "maskSize"      / Int8ul                           * "bytes of the mask",
    "patternSize"   / Int8ul                           * "bytes of the pattern",
    "mask"          / Bytes(16)                        * "a bit for each byte that must be equal",
    "pattern"       / Bytes(128)                       * "pattern",
    "pad"           / Bytes(6)                         * "padding",
)
PM_CONF = Struct(
    "wakeUpEvents"  / Bits(Int16ul, "magic" / F[0](S("PM_WAKEUP_MAGIC")) * "magic packets",
                           "filter" / F[1](S("PM_WAKEUP_FILTER")) * "packets that a filter matches", RSVD[...]) * "what wakes",
    "numFilters"    / Int8ul                           * "filters in use",
    "pad"           / Bytes(5)                         * "padding",
    "filters"       / Bytes(6 * 152)                   * "six PM_PktFilter",
)
RING_BUFFER_SIZE = Struct(
    "ring1BufSizeType0" / Int16ul                      * "bytes of a head buffer of ring 1",
    "ring1BufSizeType1" / Int16ul                      * "bytes of a body buffer of ring 1",
    "ring2BufSizeType1" / Int16ul                      * "bytes of a buffer of ring 2",
    "pad"               / Int16ul                      * "padding",
)
COALESCE_SCHEME = Struct(
    "coalMode"      / Int32ul                          * "CoalesceMode",
    "tx_depth"      / Int32ul                          * "STATIC: packets before the doorbell counts; RBC: interrupts a second",
    "tx_comp_depth" / Int32ul                          * "STATIC: transmit completions before an interrupt",
    "rx_depth"      / Int32ul                          * "STATIC: received packets before an interrupt",
)
MEMORY_REGION = Struct(
    "startPA"       / Int64ul                          * "where it starts",
    "length"        / Int32ul                          * "bytes",
    "txQueueBits"   / Int16ul                          * "transmit queues that may use it",
    "rxQueueBits"   / Int16ul                          * "receive queues that may use it",
)
MEM_REGS = Struct(
    "numRegs"       / Int16ul                          * "regions that follow",
    "pad"           / Bytes(6)                         * "padding",
    "memRegs"       / Array(1, MEMORY_REGION)          * "the first of them",
)
# fmt: on

STRUCTURES: dict[str, Construct] = {
    "driver_shared": DRIVER_SHARED * "the root of all that driver and device share",
    "tx_queue_desc": TX_QUEUE_DESC * "a transmit queue: its rings, its state, its counters",
    "rx_queue_desc": RX_QUEUE_DESC * "a receive queue: its rings, its state, its counters",
    "rss_conf": RSS_CONF * "hash types, key and indirection table",
    "pm_conf": PM_CONF * "wake-up filters and events",
    "pm_filter": PM_FILTER * "one wake-up filter",
    "variable_conf": VARIABLE_CONF * "where a longer argument of a command is",
    "ring_buffer_size": RING_BUFFER_SIZE * "sizes of receive buffers, by ring",
    "coalesce_scheme": COALESCE_SCHEME * "interrupt moderation",
    "mem_regs": MEM_REGS * "memory regions that are registered",
}
BTF = {
    "driver_shared": "vmxnet3:Vmxnet3_DriverShared",
    "tx_queue_desc": "vmxnet3:Vmxnet3_TxQueueDesc",
    "rx_queue_desc": "vmxnet3:Vmxnet3_RxQueueDesc",
    "rss_conf": "vmxnet3:UPT1_RSSConf",
    "pm_conf": "vmxnet3:Vmxnet3_PMConf",
    "pm_filter": "vmxnet3:Vmxnet3_PM_PktFilter",
    "variable_conf": "vmxnet3:Vmxnet3_VariableLenConfDesc",
    "ring_buffer_size": "vmxnet3:Vmxnet3_RingBufferSize",
    "coalesce_scheme": "vmxnet3:Vmxnet3_CoalesceScheme",
}
"""Kernel types of the structures. ``MemRegs`` is in no kernel module: only DPDK's driver tells of its memory."""
