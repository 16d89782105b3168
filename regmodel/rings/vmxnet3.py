"""Descriptor and completion rings of VMXNET3.

What lives here: the formats of 16-byte descriptors, and of the entries of the rings that go along with them; data only. All
words are little-endian; an address is a bus address in bytes. Names are the header file's; the BTF of the stock module is
compared with all of it.

Every ring has a *generation*: it is 1 at first and flips at each wrap, and an entry belongs to the other side once its
``gen`` says so. Nothing is written back into a command ring; completions go to a ring of their own. Where rings are and how
long is in the queue descriptors (``structures.vmxnet3``), so the registers here are the doorbells only.
"""

from __future__ import annotations

from construct import Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.bars.vmxnet3 import DEFS, LATER, S
from regmodel.bits import Bits, F
from regmodel.catalogue import Descriptor, Ring
from regmodel.sources import Reading

# fmt: off
TX_DESC = Struct(
    "addr"       / Int64ul                                     * "where the data is",
    "buffer"     / Bits(Int32ul,
        "len"    / F[13:0]                                     * "bytes in this buffer; 0 means 16384",
        "gen"    / F[14](S("TXD_GEN_SHIFT"), S("TXD_GEN"))     * "generation",
        "oco"    / F[15]                                       * "fill in the outer checksum (om is ENCAP)",
        "dtype"  / F[16]                                       * "0: there is no other type",
        "ext1"   / F[17]                                       * "revision 7: offloads are those of the inner packet",
        "msscof" / F[31:18]                                    * "TSO: payload of a segment; CSUM: offset of the checksum"
        )                                                      * "length and generation",
    "offload"    / Bits(Int32ul,
        "hlen"   / F[9:0]                                      * "bytes of headers (TSO), before layer 4 (CSUM)",
        "om"     / F[11:10](S("OM_NONE", shift=10, of="NONE"), S("OM_ENCAP", shift=10, of="ENCAP"),
                            S("OM_CSUM", shift=10, of="CSUM"), S("OM_TSO", shift=10, of="TSO"),
                            NONE=0, ENCAP=1, CSUM=2, TSO=3)    * "offload mode",
        "eop"    / F[12](S("TXD_EOP_SHIFT"), S("TXD_EOP"))     * "end of packet",
        "cq"     / F[13](S("TXD_CQ_SHIFT"), S("TXD_CQ"))       * "complete this",
        "ext2"   / F[14]                                       * "TSO: the inner packet is behind hlen (revision 4)",
        "ti"     / F[15]                                       * "insert tci",
        "tci"    / F[31:16]                                    * "VLAN tag"
        )                                                      * "offloads; those of a packet's first descriptor count",
)

TX_COMP = Struct(
    "index"      / Bits(Int32ul,
        "txdIdx" / F[11:0](S("TCD_TXIDX_SHIFT"))               * "index of the packet's last descriptor",
        "ext1"   / F[31:12]                                    * "reserved"
        )                                                      * "what is complete",
    "ext2"       / Int32ul                                     * "reserved",
    "ext3"       / Int32ul                                     * "reserved",
    "status"     / Bits(Int32ul,
        "rsvd"   / F[23:0]                                     * "reserved",
        "type"   / F[30:24](S("CDTYPE_TXCOMP", shift=24, of="TXCOMP"), TXCOMP=0) * "kind of completion",
        "gen"    / F[31](S("TCD_GEN_SHIFT"))                   * "generation"
        )                                                      * "generation",
)

TX_DATA = Struct("data" / Bytes(128)                           * "the packet's first bytes")

RX_DESC = Struct(
    "addr"       / Int64ul                                     * "where the buffer is",
    "buffer"     / Bits(Int32ul,
        "len"    / F[13:0]                                     * "bytes in this buffer",
        "btype"  / F[14](S("RXD_BTYPE_SHIFT"), HEAD=0, BODY=1) * "what may be put there",
        "dtype"  / F[15]                                       * "0: there is no other type",
        "rsvd"   / F[30:16]                                    * "reserved",
        "gen"    / F[31](S("RXD_GEN_SHIFT"))                   * "generation"
        )                                                      * "length and generation",
    "ext1"       / Int32ul                                     * "reserved",
)

WHAT = (
    "tuc"        / F[16](S("RCD_TUC_SHIFT"))                   * "TCP or UDP checksum is right",
    "udp"        / F[17]                                       * "is UDP",
    "tcp"        / F[18]                                       * "is TCP",
    "ipc"        / F[19](S("RCD_IPC_SHIFT"))                   * "IP checksum is right",
    "v6"         / F[20]                                       * "is IPv6",
    "v4"         / F[21]                                       * "is IPv4",
    "frg"        / F[22]                                       * "is a fragment",
    "fcs"        / F[23]                                       * "frame check sequence is right",
    "type"       / F[30:24](S("CDTYPE_RXCOMP", shift=24, of="RXCOMP"), S("CDTYPE_RXCOMP_LRO", shift=24, of="RXCOMP_LRO"),
                            RXCOMP=3, RXCOMP_LRO=4)            * "kind of completion",
    "gen"        / F[31](S("RCD_GEN_SHIFT", base=-32))         * "generation",
)
RX_COMP = Struct(
    "index"      / Bits(Int32ul,
        "rxdIdx" / F[11:0]                                     * "index of the receive descriptor",
        "ext1"   / F[13:12](S("RCD_HDR_INNER_SHIFT", base=-1)) * "bit 0: v4 to tuc are of the inner header; bit 1: rssType is",
        "eop"    / F[14]                                       * "end of packet",
        "sop"    / F[15]                                       * "start of packet",
        "rqID"   / F[25:16]                                    * "queue; + number of queues: ring 2; + twice that: data ring",
        "rssType" / F[29:26](NONE=0, IPV4=1, TCPIPV4=2, IPV6=3, TCPIPV6=4, UDPIPV4=5, UDPIPV6=6, ESPIPV4=7, ESPIPV6=8)
                                                               * "what the hash covers",
        "cnc"    / F[30]                                       * "checksum not calculated",
        "ext2"   / F[31]                                       * "revision 9: the driver shall take a timestamp"
        )                                                      * "which buffer",
    "rssHash"    / Int32ul                                     * "RSS hash",
    "data"       / Bits(Int32ul,
        "len"    / F[13:0]                                     * "bytes in this buffer",
        "err"    / F[14]                                       * "the packet is damaged",
        "ts"     / F[15]                                       * "a tag was stripped into tci",
        "tci"    / F[31:16]                                    * "VLAN tag"
        )                                                      * "length and tag",
    "what"       / Bits(Int32ul, "csum" / F[15:0]              * "sum over the packet, if it was not judged", *WHAT)
                                                               * "protocols and generation",
)
RX_COMP_EXT = Struct(
    "dword1"     / Int32ul                                     * "as in RxCompDesc",
    "segCnt"     / Int8ul                                      * "packets that were put together",
    "dupAckCnt"  / Int8ul                                      * "duplicate acknowledgements among them",
    "tsDelta"    / Int16ul                                     * "difference of TCP timestamps",
    "dword2"     / Int32ul                                     * "as in RxCompDesc",
    "what"       / Bits(Int32ul, "mss" / F[15:0]               * "payload of a segment", *WHAT) * "protocols and generation",
)

TIMESTAMP = Struct(
    "ts"         / Struct(
        "word"   / Bits(Int64ul,
            "tsData" / F[55:0]                                 * "clock cycles",
            "tsType" / F[59:56]                                * "kind of timestamp",
            "tsi"    / F[60]                                   * "there is one",
            "pad"    / F[63:61])                               * "timestamp",
        "pad2"   / Int64ul)                                    * "timestamp",
    "pad"        / Bytes(112)                                  * "room",
)
# fmt: on


def _linux(what: str) -> tuple[Reading, ...]:
    return (Reading("linux-source", DEFS, f"struct {what}"),)


def _kernel(name: str, schema: Struct, doc: str, kind: str) -> Descriptor:
    return Descriptor(name, schema, doc, _linux(kind), f"vmxnet3:{kind}")


def _later(name: str, doc: str, kind: str) -> Descriptor:
    return Descriptor(name, TIMESTAMP, doc, (LATER,), f"vmxnet3:{kind}")


# fmt: off
TX = Ring(
    "tx", "Transmit queue", ("", ""), "", "", "txprod", "",
    formats=(
        _kernel("tx_desc", TX_DESC, "Transmit", "Vmxnet3_TxDesc"),
        _kernel("tx_data_desc", TX_DATA, "First bytes of a packet, by the index of its first descriptor", "Vmxnet3_TxDataDesc"),
        _later("tx_ts_desc", "When a packet was sent (revision 9)", "Vmxnet3_TxTSDesc"),
    ),
)
TX_COMPLETION = Ring(
    "tx_completion", "Transmit completions", ("", ""), "", "", "", "", formats=(),
    device_writes=(_kernel("tx_comp_desc", TX_COMP, "Transmit, done", "Vmxnet3_TxCompDesc"),),
)
RX = Ring(
    "rx", "Receive queue: two such rings", ("", ""), "", "", "rxprod", "",
    formats=(
        _kernel("rx_desc", RX_DESC, "Receive", "Vmxnet3_RxDesc"),
        _later("rx_ts_desc", "When a packet was received (revision 9)", "Vmxnet3_RxTSDesc"),
    ),
)
RX_COMPLETION = Ring(
    "rx_completion", "Receive completions", ("", ""), "", "", "", "", formats=(),
    device_writes=(
        _kernel("rx_comp_desc", RX_COMP, "Receive, done", "Vmxnet3_RxCompDesc"),
        _kernel("rx_comp_desc_ext", RX_COMP_EXT, "Receive, put together by LRO (revision 2)", "Vmxnet3_RxCompDescExt"),
    ),
)
# fmt: on
RINGS = (TX, TX_COMPLETION, RX, RX_COMPLETION)

# Limits: entries of a ring, bytes.
RING_ALIGN = 512
RING_SIZE_STEP = 32
TX_RING_MOST = 4096
RX_RING_MOST = 4096
TX_COMPLETION_MOST = 4096
RX_COMPLETION_MOST = 8192
TX_BUFFER_MOST = 1 << 14
TX_DATA_LEAST, TX_DATA_MOST, RX_DATA_MOST, DATA_STEP = 128, 2048, 2048, 64
"""Bytes of an entry of the data rings (VMXNET3_TXDATA_DESC_*, VMXNET3_RXDATA_DESC_*)."""
TX_PACKET_MOST, TSO_PACKET_MOST = 16, 24
"""Descriptors of one packet (VMXNET3_MAX_TXD_PER_PKT, VMXNET3_MAX_TSO_TXD_PER_PKT)."""
