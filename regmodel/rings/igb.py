"""Descriptor rings of the 82575 family (82575, 82576, 82580, I350, I210), physical and virtual functions alike.

What lives here: the formats of 16-byte descriptors and the registers that place a ring; data only. All words are
little-endian; an address is a bus address in bytes.

A transmit ring holds data descriptors, and context descriptors that later data descriptors refer to by ``idx``. A receive
descriptor is written back in place of what was read: with the RSS hash, or with a packet checksum, as the port is set
(RXCSUM.PCSD). The legacy formats, older than this family, are decoded by each queue as well (transmit: ``dext`` is 0;
receive: SRRCTL.DESCTYPE is 0); no driver of a virtual function uses them.
"""

from __future__ import annotations

from construct import Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.catalogue import Descriptor, Ring
from regmodel.sources import Document, Reading, symbols

INTEL = "drivers/net/ethernet/intel"
T = symbols("linux-source", f"{INTEL}/igbvf/vf.h", "E1000_")
B = symbols("linux-source", f"{INTEL}/igbvf/defines.h", "E1000_")
PF = symbols("linux-source", f"{INTEL}/igb/e1000_82575.h", "E1000_")
OLD = symbols("linux-source", f"{INTEL}/e1000/e1000_hw.h", "E1000_")
BASE = Reading("dpdk", "drivers/net/intel/e1000/base/e1000_82575.h", "E1000_RXDADV_*, E1000_ADVTXD_*")
BASE_BITS = Reading("dpdk", "drivers/net/intel/e1000/base/e1000_defines.h", "E1000_RXD_STAT_*")


def DS(section: str) -> Document:
    """The datasheet of the 82576."""
    return Document("Intel 82576EB Gigabit Ethernet Controller Datasheet 2.63", section)


# fmt: off
TX_DATA = Struct(
    "buffer_addr"   / Int64ul                                            * "where the data is",
    "cmd_type_len"  / Bits(Int32ul,
        "dtalen"    / F[15:0]                                            * "bytes in this buffer",
        "mac_1588"  / F[19](PF("ADVTXD_MAC_TSTAMP"))                     * "take a timestamp of this packet",
        "dtyp"      / F[23:20](T("ADVTXD_DTYP_CTXT", of="CONTEXT"), T("ADVTXD_DTYP_DATA", of="DATA"),
                               CONTEXT=2, DATA=3)                        * "type of descriptor",
        "eop"       / F[24](T("ADVTXD_DCMD_EOP"))                        * "end of packet",
        "ifcs"      / F[25](T("ADVTXD_DCMD_IFCS"))                       * "append the frame check sequence",
        "rs"        / F[27](T("ADVTXD_DCMD_RS"))                         * "report status: write back when done",
        "dext"      / F[29](T("ADVTXD_DCMD_DEXT"), B("TXD_CMD_DEXT"))    * "advanced, not legacy",
        "vle"       / F[30](T("ADVTXD_DCMD_VLE"))                        * "insert the context's VLAN tag",
        "tse"       / F[31](T("ADVTXD_DCMD_TSE"))                        * "segment by the context's mss",
        RSVD[...])                                                       * "command, type, length",
    "olinfo_status" / Bits(Int32ul,
        "dd"        / F[0](B("TXD_STAT_DD"))                             * "done; software writes 0",
        "idx"       / F[6:4]                                             * "context: the index of its slot",
        "cc"        / F[7]                                               * "check context (VLAN and lengths apply)",
        "ixsm"      / F[8](B("TXD_POPTS_IXSM", shift=8))                 * "insert the IP checksum",
        "txsm"      / F[9](B("TXD_POPTS_TXSM", shift=8))                 * "insert the TCP, UDP or SCTP checksum",
        "ipsec"     / F[10]                                              * "encrypt",
        "paylen"    / F[31:14](T("ADVTXD_PAYLEN_SHIFT"))                 * "bytes of the packet, without the header if tse",
        RSVD[...])                                                       * "offloads and status",
)

TX_WRITEBACK = Struct(
    "rsvd"          / Int64ul                                            * "reserved",
    "nxtseq_seed"   / Int32ul                                            * "reserved",
    "status"        / Bits(Int32ul, "dd" / F[0](B("TXD_STAT_DD")) * "done", RSVD[...]) * "status",
)

TX_CONTEXT = Struct(
    "vlan_macip_lens" / Bits(Int32ul,
        "iplen"     / F[8:0]                                             * "bytes of the IP header",
        "maclen"    / F[15:9](T("ADVTXD_MACLEN_SHIFT"))                  * "bytes before the IP header",
        "vlan"      / F[31:16]                                           * "tag to insert")   * "VLAN tag, header lengths",
    "seqnum_seed"   / Int32ul                                            * "reserved (82575: IPsec sequence number)",
    "type_tucmd_mlhl" / Bits(Int32ul,
        "ipsec_esp_len" / F[8:0]                                         * "bytes of the ESP trailer",
        "snap"      / F[9]                                               * "SNAP, not Ethernet II",
        "ipv4"      / F[10](T("ADVTXD_TUCMD_IPV4"))                      * "IPv4, not IPv6",
        "l4t"       / F[12:11](PF("ADVTXD_TUCMD_L4T_UDP", of="UDP"), T("ADVTXD_TUCMD_L4T_TCP", of="TCP"),
                               T("ADVTXD_TUCMD_L4T_SCTP", of="SCTP"), UDP=0, TCP=1, SCTP=2) * "layer 4",
        "ipsec_type" / F[13]                                             * "ESP, not AH",
        "encryption" / F[14]                                             * "encrypt, not only authenticate",
        "dtyp"      / F[23:20](T("ADVTXD_DTYP_CTXT", of="CONTEXT"), T("ADVTXD_DTYP_DATA", of="DATA"),
                               CONTEXT=2, DATA=3)                        * "type of descriptor",
        "dext"      / F[29](T("ADVTXD_DCMD_DEXT"))                       * "advanced, not legacy",
        RSVD[...])                                                       * "type, packet type",
    "mss_l4len_idx" / Bits(Int32ul,
        "idx"       / F[6:4]                                             * "slot that this context fills",
        "l4len"     / F[15:8](T("ADVTXD_L4LEN_SHIFT"))                   * "bytes of the layer 4 header",
        "mss"       / F[31:16](T("ADVTXD_MSS_SHIFT"))                    * "payload bytes of a segment",
        RSVD[...])                                                       * "segment size, layer 4 length, index",
)

RX_READ = Struct(
    "pkt_addr"      / Int64ul                                            * "packet buffer",
    "hdr_addr"      / Int64ul                                            * "header buffer; bit 0 is where dd will be: 0",
)

PKT_INFO = Bits(Int16ul,
    "rss_type"      / F[3:0](BASE, NONE=0, IPV4_TCP=1, IPV4=2, IPV6_TCP=3, IPV6_EX=4, IPV6=5, IPV6_TCP_EX=6, IPV4_UDP=7,
                             IPV6_UDP=8, IPV6_UDP_EX=9)                  * "what the hash covers",
    "ipv4"          / F[4](BASE)                                         * "IPv4",
    "ipv4_ex"       / F[5](BASE)                                         * "IPv4 with options",
    "ipv6"          / F[6](BASE)                                         * "IPv6",
    "ipv6_ex"       / F[7](BASE)                                         * "IPv6 with extension headers",
    "tcp"           / F[8](BASE) * "TCP",
    "udp"           / F[9](BASE) * "UDP",
    "sctp"          / F[10](BASE) * "SCTP",
    "nfs"           / F[11](BASE) * "NFS",
    "ipsec_esp"     / F[12](BASE) * "IPsec encryption (ESP)",
    "ipsec_ah"      / F[13](BASE) * "IPsec authentication (AH)",
    "linksec"       / F[14](BASE)                                        * "MACsec",
    "etqf"          / F[15](BASE)                                        * "by EtherType: bits 6:4 are the filter's index",
)
HDR_INFO = Bits(Int16ul,
    "hdr_len"       / F[14:5](T("RXDADV_HDRBUFLEN_MASK"))                * "bytes in the header buffer",
    "sph"           / F[15](BASE)                                        * "split header: a header was found",
    RSVD[...],
)
STATUS_ERROR = Bits(Int32ul,
    "dd"            / F[0](B("RXD_STAT_DD"))                             * "done",
    "eop"           / F[1](B("RXD_STAT_EOP"))                            * "end of packet: what follows is valid",
    "ixsm"          / F[2](B("RXD_STAT_IXSM"))                           * "ignore the checksum results",
    "vp"            / F[3](B("RXD_STAT_VP"))                             * "a VLAN tag was stripped into vlan",
    "udpcs"         / F[4](B("RXD_STAT_UDPCS"))                          * "UDP checksum was verified",
    "l4cs"          / F[5](B("RXD_STAT_TCPCS"))                          * "TCP, UDP or SCTP checksum was verified",
    "ipcs"          / F[6](B("RXD_STAT_IPCS"))                           * "IP checksum was verified",
    "pif"           / F[7](BASE_BITS)                                    * "passed an inexact filter only",
    "ipidv"         / F[9](BASE_BITS)                                    * "ip_id is valid",
    "udpv"          / F[10](BASE_BITS)                                   * "csum is of an UDP fragment",
    "dynint"        / F[11](BASE_BITS)                                   * "caused a low latency interrupt",
    "tsip"          / F[15](PF("RXDADV_STAT_TSIP"))                      * "a timestamp precedes the packet",
    "ts"            / F[16](PF("RXDADV_STAT_TS"))                        * "a timestamp was taken",
    "secp"          / F[17](BASE)                                        * "IPsec or MACsec was processed",
    "lb"            / F[18](B("RXDEXT_STATERR_LB"))                      * "from another function of this port",
    "hbo"           / F[23](BASE)                                        * "the header is longer than its buffer",
    "ce"            / F[24](B("RXDEXT_STATERR_CE"))                      * "CRC error",
    "se"            / F[25](B("RXDEXT_STATERR_SE"))                      * "symbol error",
    "seq"           / F[26](B("RXDEXT_STATERR_SEQ"))                     * "sequence error",
    "cxe"           / F[28](B("RXDEXT_STATERR_CXE"))                     * "carrier extension error",
    "l4e"           / F[29](B("RXDEXT_STATERR_TCPE"))                    * "TCP, UDP or SCTP checksum is wrong",
    "ipe"           / F[30](B("RXDEXT_STATERR_IPE"))                     * "IP checksum is wrong",
    "rxe"           / F[31](B("RXDEXT_STATERR_RXE"))                     * "receive error",
    RSVD[...],
)

RX_WRITEBACK = Struct(
    "pkt_info"      / PKT_INFO                                           * "RSS type, packet type",
    "hdr_info"      / HDR_INFO                                           * "header length",
    "rss"           / Int32ul                                            * "RSS hash",
    "status_error"  / STATUS_ERROR                                       * "extended status and errors",
    "length"        / Int16ul                                            * "bytes in the packet buffer",
    "vlan"          / Int16ul                                            * "VLAN tag",
)

RX_WRITEBACK_CSUM = Struct(
    "pkt_info"      / PKT_INFO                                           * "RSS type, packet type",
    "hdr_info"      / HDR_INFO                                           * "header length",
    "ip_id"         / Int16ul                                            * "identification of the IP header",
    "csum"          / Int16ul                                            * "checksum over the packet, ones' complement",
    "status_error"  / STATUS_ERROR                                       * "extended status and errors",
    "length"        / Int16ul                                            * "bytes in the packet buffer",
    "vlan"          / Int16ul                                            * "VLAN tag",
)

TX_LEGACY = Struct(
    "buffer_addr"   / Int64ul                                            * "where the data is",
    "lower"         / Bits(Int32ul,
        "length"    / F[15:0]                                            * "bytes in this buffer",
        "cso"       / F[23:16]                                           * "where the checksum goes",
        "eop"       / F[24](OLD("TXD_CMD_EOP"))                          * "end of packet",
        "ifcs"      / F[25](OLD("TXD_CMD_IFCS"))                         * "append the frame check sequence",
        "ic"        / F[26](OLD("TXD_CMD_IC"))                           * "insert a checksum",
        "rs"        / F[27](OLD("TXD_CMD_RS"))                           * "report status",
        "dext"      / F[29](OLD("TXD_CMD_DEXT"))                         * "0: legacy",
        "vle"       / F[30](OLD("TXD_CMD_VLE"))                          * "insert special as VLAN tag",
        RSVD[...])                                                       * "length and command",
    "upper"         / Bits(Int32ul,
        "dd"        / F[0](OLD("TXD_STAT_DD"))                           * "done",
        "css"       / F[15:8]                                            * "where the checksum starts",
        "special"   / F[31:16]                                           * "VLAN tag",
        RSVD[...])                                                       * "status and VLAN tag",
)

RX_LEGACY = Struct(
    "buffer_addr"   / Int64ul                                            * "packet buffer",
    "length"        / Int16ul                                            * "bytes in it",
    "csum"          / Int16ul                                            * "checksum over the packet",
    "status"        / Bits(Int8ul,
        "dd"        / F[0](OLD("RXD_STAT_DD"))                           * "done",
        "eop"       / F[1](OLD("RXD_STAT_EOP"))                          * "end of packet",
        "ixsm"      / F[2](OLD("RXD_STAT_IXSM"))                         * "ignore the checksum results",
        "vp"        / F[3](OLD("RXD_STAT_VP"))                           * "a VLAN tag was stripped into special",
        "udpcs"     / F[4](OLD("RXD_STAT_UDPCS"))                        * "UDP checksum was verified",
        "tcpcs"     / F[5](OLD("RXD_STAT_TCPCS"))                        * "TCP or UDP checksum was verified",
        "ipcs"      / F[6](OLD("RXD_STAT_IPCS"))                         * "IP checksum was verified",
        "pif"       / F[7](OLD("RXD_STAT_PIF"))                          * "passed an inexact filter only") * "status",
    "errors"        / Bits(Int8ul,
        "tcpe"      / F[5](OLD("RXD_ERR_TCPE"))                          * "TCP or UDP checksum is wrong",
        "ipe"       / F[6](OLD("RXD_ERR_IPE"))                           * "IP checksum is wrong",
        "rxe"       / F[7](OLD("RXD_ERR_RXE"))                           * "receive error",
        RSVD[...])                                                       * "errors",
    "special"       / Int16ul                                            * "VLAN tag",
)
# fmt: on


def _linux(what: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/vf.h", what)


_TX_WB, _RX_WB = (_linux("e1000_adv_tx_desc.wb"),), (_linux("e1000_adv_rx_desc.wb"),)
_OLD = Reading("linux-source", f"{INTEL}/e1000/e1000_hw.h", "e1000_tx_desc, e1000_rx_desc")
_TX, _RX = "igbvf:e1000_adv_tx_desc", "igbvf:e1000_adv_rx_desc"
# fmt: off
TX = Ring(
    "tx", "Transmit queue", ("tdbal", "tdbah"), "tdlen", "tdh", "tdt", "txdctl",
    formats=(
        Descriptor("tx_data", TX_DATA, "Advanced transmit data", (DS("7.2.2.3"), _linux("e1000_adv_tx_desc.read")),
                   f"{_TX}.read"),
        Descriptor("tx_context", TX_CONTEXT, "Advanced transmit context", (DS("7.2.2.2"), _linux("e1000_adv_tx_context_desc")),
                   "igbvf:e1000_adv_tx_context_desc"),
        Descriptor("tx_legacy", TX_LEGACY, "Legacy transmit", (DS("7.2.2.1"), _OLD), "e1000:e1000_tx_desc"),
    ),
    device_writes=(
        Descriptor("tx_writeback", TX_WRITEBACK, "Advanced transmit, done", _TX_WB, f"{_TX}.wb"),
    ),
)
RX = Ring(
    "rx", "Receive queue", ("rdbal", "rdbah"), "rdlen", "rdh", "rdt", "rxdctl",
    formats=(
        Descriptor("rx_read", RX_READ, "Advanced receive, free", (DS("7.1.5"), _linux("e1000_adv_rx_desc.read")),
                   f"{_RX}.read"),
    ),
    device_writes=(
        Descriptor("rx_writeback", RX_WRITEBACK, "Advanced receive, with RSS hash", _RX_WB, f"{_RX}.wb"),
        Descriptor("rx_writeback_csum", RX_WRITEBACK_CSUM, "Advanced receive, with checksum", _RX_WB, f"{_RX}.wb"),
        Descriptor("rx_legacy", RX_LEGACY, "Legacy receive", (DS("7.1.4"), _OLD), "e1000:e1000_rx_desc"),
    ),
)
# fmt: on
RINGS = (TX, RX)
