"""BAR 0 of the virtual functions of Intel's 82576 and I350: 16 KiB of 32-bit registers, the whole of what a VF decodes.

What lives here: offsets, fields, access, resets and their sources; data only. The two differ in the number of queue pairs
(82576: two per VF, I350: one) and in what the higher queue's registers therefore are: nothing.

Names are the datasheet's for the PF register that the VF sees its part of (the datasheet's own VF names put VT or VF in
front: VTCTRL, VTEIMS); fields likewise.

Reset domains. ``SOFTWARE`` is CTRL.RST, which does to the registers what a function level reset does: queues stop, and
interrupt registers and the mailbox are reset (X550 datasheet, 4.2.3, "Virtual Function Resets"; the I350's 8.28.1 says it in
one sentence). How queues are set up survives, statistics too, which is why drivers keep a base value. RSTI and RSTD speak of
the PF: no reset of the VF touches them. After power-on the mailbox shows RSTI until the PF has announced itself.
"""

from __future__ import annotations

from construct import Array, Construct, Int32ul

from regmodel.access import RC, RCW1C, RO, RSVD, RW, W1C, W1P, W1S, WO, WO1C, WO1S
from regmodel.function import ResetCause
from regmodel.registers import UNDOCUMENTED, UNIMPLEMENTED, Alias32, Bar, Each, Partial, Policy, Reg32, Window
from regmodel.sources import Document, Reading, symbols

SIZE = 0x4000
VECTORS = 3
VF_RESET = (ResetCause.FLR, ResetCause.SOFTWARE)

INTEL = "drivers/net/ethernet/intel"
R = symbols("linux-source", f"{INTEL}/igbvf/regs.h", "E1000_")
B = symbols("linux-source", f"{INTEL}/igbvf/defines.h", "E1000_")
M = symbols("linux-source", f"{INTEL}/igbvf/mbx.h", "E1000_")
PF_R = symbols("linux-source", f"{INTEL}/igb/e1000_regs.h", "E1000_")
PF_B = symbols("linux-source", f"{INTEL}/igb/e1000_defines.h", "E1000_")
PF_Q = symbols("linux-source", f"{INTEL}/igb/e1000_82575.h", "E1000_")


def DS(section: str) -> Document:
    """The datasheet of the 82576."""
    return Document("Intel 82576EB Gigabit Ethernet Controller Datasheet 2.63", section)


def X550(section: str) -> Document:
    """The datasheet of a later relative, where it says more about the same mechanism."""
    return Document("Intel Ethernet Controller X550 Datasheet 333369-009", section)


SELF_TEST = Reading("linux-source", f"{INTEL}/igb/igb_ethtool.c", "reg_test_82576, which bits store")
BASE1000 = Reading("dpdk", "drivers/net/intel/e1000/base/e1000_82575.h", "bits of 82575 and later, E1000_<register>_<field>")
REGS_QEMU = Reading("qemu", "hw/net/igb_regs.h", "E1000_STATUS_NUM_VFS_SHIFT and E1000_STATUS_IOV_MODE")
VF_MAP = Reading("qemu", "hw/net/igbvf.c", "vf_to_pf_addr, what a VF decodes")
CORE = Reading("qemu", "hw/net/igb_core.c", "igb_mac_reg_init and igb_vf_reset, values after reset")
NUL = Reading("nul", "model/82576vf.cc and 82576vfmmio.py", "a model after the datasheet: masks, values after reset")
DCA = "placement hints: stored, no effect"

# fmt: off
GENERAL = (
    "ctrl" / Reg32(0x0000,
        "rst" / W1P[26](B("CTRL_RST")) * "reset queues and interrupts of this VF",
        RSVD[...], R("CTRL"), DS("8.2.1"))                                                          * "Device Control",
    "ctrl_dup" / Alias32(0x0004, "ctrl", "rst" / W1P[26](B("CTRL_RST")), RSVD[...], VF_MAP)         * "Device Control, again",
    "status" / Reg32(0x0008,
        "fd"                / RO[0](B("STATUS_FD"))                        * "full duplex",
        "lu"                / RO[1](B("STATUS_LU"))                        * "link up",
        "lan_id"            / RO[3:2](PF_B("STATUS_FUNC_MASK"))            * "port of the card",
        "txoff"             / RO[4](B("STATUS_TXOFF"))                     * "transmission is paused by flow control",
        "speed"             / RO[7:6](B("STATUS_SPEED_100", of="MB100"), B("STATUS_SPEED_1000", of="MB1000"),
                                      MB10=0, MB100=1, MB1000=2)           * "link speed",
        "num_vfs"           / RO[17:14](REGS_QEMU)                         * "VFs that are enabled",
        "iov_mode"          / RO[18](REGS_QEMU)                            * "the PF has VFs",
        "gio_master_enable" / RO[19](PF_B("STATUS_GIO_MASTER_ENABLE"))     * "the port may issue DMA",
        RSVD[...], R("STATUS"), DS("8.2.2"), reset=0x00080081, survives=VF_RESET)                   * "Device Status",
    "itr" / Reg32(0x00C4, RSVD[...], R("ITR"), status=UNDOCUMENTED,
        why="the VF driver's header names it and nothing uses it; a VF has EITR")                   * "Interrupt Throttling",
    "frtimer" / Reg32(0x1048,
        "microsecond" / RO[9:0]   * "0 to 999",
        "millisecond" / RO[19:10] * "0 to 999",
        "second"      / RO[31:20] * "0 to 4095",
        PF_R("FRTIMER"), VF_MAP, survives=VF_RESET)                                                 * "Free Running Timer",
    "pbrwac" / Reg32(0x24E8, "walpb" / RO[2:0](BASE1000) * "wraps", "pbe" / RO[3](BASE1000) * "empty", RSVD[...], VF_MAP,
        status=UNIMPLEMENTED, why="there is no packet buffer that could wrap around")               * "Rx Packet Buffer Wraps",
    "pbtwac" / Reg32(0x34E8, "walpb" / RO[2:0](BASE1000) * "wraps", "pbe" / RO[3](BASE1000) * "empty", RSVD[...], VF_MAP,
        status=UNIMPLEMENTED, why="there is no packet buffer that could wrap around")               * "Tx Packet Buffer Wraps",
)

INTERRUPTS = (
    "eics" / Alias32(0x1520, "eicr", "msix" / WO1S[2:0] * "one bit per vector", RSVD[...], R("EICS"), DS("8.8.2"))
                                                                                    * "Extended Interrupt Cause Set",
    "eims" / Reg32(0x1524, "msix" / W1S.volatile[2:0] * "one bit per vector", RSVD[...], R("EIMS"), DS("8.8.3"))
                                                                                    * "Extended Interrupt Mask Set and Read",
    "eimc" / Alias32(0x1528, "eims", "msix" / WO1C[2:0] * "one bit per vector", RSVD[...], R("EIMC"), DS("8.8.4"))
                                                                                    * "Extended Interrupt Mask Clear",
    "eiac" / Reg32(0x152C, "msix" / RW[2:0] * "causes that their message clears", RSVD[...], R("EIAC"), DS("8.8.5"))
                                                                                    * "Extended Interrupt Auto Clear",
    "eiam" / Reg32(0x1530, "msix" / RW[2:0] * "masks that their message clears", RSVD[...], R("EIAM"), DS("8.8.6"))
                                                                                    * "Extended Interrupt Auto Mask",
    "eicr" / Reg32(0x1580, "msix" / RCW1C[2:0] * "one bit per vector", RSVD[...], R("EICR"), DS("8.8.1"), NUL)
                                                                                    * "Extended Interrupt Cause Read",
    "eitr" / Reg32(Each(0x1680, 4, VECTORS),
        "interval"           / RW[14:2](Reading("dpdk", "drivers/net/intel/e1000/base/e1000_defines.h", "E1000_EITR_INTERVAL"))
                                                                    * "least time between messages, in us",
        "lli_en"             / RW[15]                               * "low latency interrupts are moderated",
        "ll_counter"         / RW.volatile[20:16]                   * "low latency credits",
        "moderation_counter" / RW.volatile[30:21]                   * "time left, in 4 us",
        "cnt_ingr"           / WO[31](PF_B("EITR_CNT_IGNR"))        * "this write leaves the counters alone",
        RSVD[...], R("EITR", 0), DS("8.8.12"))                                      * "Extended Interrupt Throttle",
    "ivar_misc" / Reg32(0x1740,
        "int_alloc"     / RW[1:0]                  * "vector of mailbox and reset events",
        "int_alloc_val" / RW[7](B("IVAR_VALID"))   * "the event has a vector",
        RSVD[...], R("IVAR_MISC"), DS("8.8.14"), NUL)                               * "Interrupt Vector Allocation, other",
    "pbacl" / Reg32(0x0F04, "penbit" / W1C[2:0] * "pending MSI-X messages; write 1 to drop", RSVD[...], VF_MAP)
                                                                                    * "MSI-X Pending Bit Array Clear",
)

MAILBOX = (
    "vmbmem" / Window(0x0800, Array(16, Int32ul), RW, R("VMBMEM", 0), survives=VF_RESET)
                                                                                    * "Mailbox memory, shared with the PF",
    "v2pmailbox" / Reg32(0x0C40,
        "req"   / W1P[0](M("V2PMAILBOX_REQ"))            * "a request of ours is in the memory: interrupt the PF",
        "ack"   / W1P[1](M("V2PMAILBOX_ACK"))            * "we have read the PF's message: interrupt the PF",
        "vfu"   / RW.volatile[2](M("V2PMAILBOX_VFU"))    * "we own the memory; sticks only while pfu is 0",
        "pfu"   / RO[3](M("V2PMAILBOX_PFU"))             * "the PF owns the memory",
        "pfsts" / RC[4](M("V2PMAILBOX_PFSTS"))           * "a message of the PF is in the memory",
        "pfack" / RC[5](M("V2PMAILBOX_PFACK"))           * "the PF has read our message",
        "rsti"  / RO[6](M("V2PMAILBOX_RSTI")).sticky(*VF_RESET) * "the PF is in reset",
        "rstd"  / RC[7](M("V2PMAILBOX_RSTD")).sticky(*VF_RESET) * "the PF has come out of reset",
        RSVD[...], R("V2PMAILBOX", 0), X550("4.2.2.1"), CORE, NUL, reset=0x40)      * "Virtual Function Mailbox",
)


def _counter(at: int, name: str, what: str) -> Construct:
    """32 bits which wrap around, are not cleared by reading and count on across resets of the VF."""
    symbol, base = R(name), Reading("linux-source", f"{INTEL}/igbvf/netdev.c", "UPDATE_VF_COUNTER")
    return name.lower() / Reg32(at, "count" / RO[31:0], symbol, base, survives=VF_RESET) * what


STATISTICS = (
    _counter(0x0F10, "VFGPRC",   "Good Packets Received Count"),
    _counter(0x0F14, "VFGPTC",   "Good Packets Transmitted Count"),
    _counter(0x0F18, "VFGORC",   "Good Octets Received Count"),
    _counter(0x0F34, "VFGOTC",   "Good Octets Transmitted Count"),
    _counter(0x0F3C, "VFMPRC",   "Multicast Packets Received Count"),
    _counter(0x0F40, "VFGPRLBC", "Good Packets Received Loopback Count"),
    _counter(0x0F44, "VFGPTLBC", "Good Packets Transmitted Loopback Count"),
    _counter(0x0F48, "VFGORLBC", "Good Octets Received Loopback Count"),
    _counter(0x0F50, "VFGOTLBC", "Good Octets Transmitted Loopback Count"),
)


def _ivar(queues: int) -> Construct:
    """Four bytes: receive and transmit of queue 0, then of queue 1 where there is one."""
    fields = []
    for i, (way, queue) in enumerate((way, queue) for queue in range(queues) for way in ("receive", "transmit")):
        what, short, at = f"{way} queue {queue}", f"{way[0]}x{queue}", 8 * i
        fields.append(f"int_alloc_{short}" / RW[at + 1 : at] * f"vector of {what}")
        fields.append(f"int_alloc_val_{short}" / RW[at + 7](B("IVAR_VALID", shift=at)) * f"{what} has a vector")
    return "ivar0" / Reg32(0x1700, *fields, RSVD[...], R("IVAR0"), DS("8.8.13"), NUL) * "Interrupt Vector Allocation"


def _receive(n: int, timestamp: bool) -> tuple[Construct, ...]:
    """The registers of ``n`` receive queues."""

    def at(offset: int) -> Each:
        return Each(0x2800 + offset, 0x100, n)

    stamp = ("timestamp" / RW[30](PF_Q("SRRCTL_TIMESTAMP")) * "put a timestamp before the packet",) if timestamp else ()
    return (
        "psrtype" / Reg32(0x0F0C,
            "ipv4"          / RW[1]  * "split behind MAC, IPv4",
            "ipv4_tcp"      / RW[2]  * "split behind MAC, IPv4, TCP",
            "ipv4_udp"      / RW[3]  * "split behind MAC, IPv4, UDP",
            "ipv4_ipv6"     / RW[4]  * "split behind MAC, IPv4, IPv6",
            "ipv4_ipv6_tcp" / RW[5]  * "split behind MAC, IPv4, IPv6, TCP",
            "ipv4_ipv6_udp" / RW[6]  * "split behind MAC, IPv4, IPv6, UDP",
            "ipv6"          / RW[7]  * "split behind MAC, IPv6",
            "ipv6_tcp"      / RW[8]  * "split behind MAC, IPv6, TCP",
            "ipv6_udp"      / RW[9]  * "split behind MAC, IPv6, UDP",
            "ipv4_tcp_nfs"  / RW[11] * "split behind MAC, IPv4, TCP, NFS",
            "ipv4_udp_nfs"  / RW[12] * "split behind MAC, IPv4, UDP, NFS",
            "ipv4_ipv6_tcp_nfs" / RW[14] * "split behind MAC, IPv4, IPv6, TCP, NFS",
            "ipv4_ipv6_udp_nfs" / RW[15] * "split behind MAC, IPv4, IPv6, UDP, NFS",
            "ipv6_tcp_nfs"  / RW[17] * "split behind MAC, IPv6, TCP, NFS",
            "ipv6_udp_nfs"  / RW[18] * "split behind MAC, IPv6, UDP, NFS",
            RSVD[...], DS("8.10.3"), VF_MAP, reset=0x0006DBFE, survives=VF_RESET)   * "Packet Split Receive Type",
        "rdbal" / Reg32(at(0x00), "rdbal" / RW[31:7], RSVD[6:0], R("RDBAL", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Receive Descriptor Base Low",
        "rdbah" / Reg32(at(0x04), "rdbah" / RW[31:0], R("RDBAH", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Receive Descriptor Base High",
        "rdlen" / Reg32(at(0x08), "len" / RW[19:4] * "bytes, in 16", RSVD[...], R("RDLEN", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Receive Descriptor Length",
        "srrctl" / Reg32(at(0x0C),
            "bsizepacket" / RW[6:0](B("SRRCTL_BSIZEPKT_MASK"))   * "size of a packet buffer in KiB",
            "bsizeheader" / RW[13:8](B("SRRCTL_BSIZEHDR_MASK"))  * "size of a header buffer in 64 bytes",
            "rdmts"       / RW[24:20]                            * "minimum of free descriptors, in 16",
            "desctype"    / RW[27:25](B("SRRCTL_DESCTYPE_MASK"), B("SRRCTL_DESCTYPE_ADV_ONEBUF", of="ADV_ONEBUF"),
                                      B("SRRCTL_DESCTYPE_HDR_SPLIT_ALWAYS", of="HDR_SPLIT_ALWAYS"), BASE1000,
                                      LEGACY=0, ADV_ONEBUF=1, HDR_SPLIT=2, HDR_REPLICATION=3,
                                      HDR_REPLICATION_LARGE_PKT=4, HDR_SPLIT_ALWAYS=5) * "format of descriptors",
            *stamp,
            "drop_en"     / RW[31](B("SRRCTL_DROP_EN"))          * "drop rather than wait for a descriptor",
            RSVD[...], R("SRRCTL", 0), DS("8.10.2"), NUL, reset=0x400, survives=VF_RESET)
                                                                                    * "Split and Replication Receive Control",
        "rdh" / Reg32(at(0x10), "rdh" / RO[15:0] * "next descriptor that hardware takes", RSVD[...], R("RDH", 0),
            Reading("linux-source", f"{INTEL}/igb/igb_ethtool.c", "reg_test_82576, RDH is read-only"))
                                                                                    * "Receive Descriptor Head",
        "rxctl" / Reg32(at(0x14),
            "rx_descriptor_dca_en" / RW[5](PF_Q("DCA_RXCTRL_DESC_DCA_EN")) * "hint the descriptor into a cache",
            "rx_header_dca_en"     / RW[6](PF_Q("DCA_RXCTRL_HEAD_DCA_EN")) * "hint the header into a cache",
            "rx_payload_dca_en"    / RW[7](PF_Q("DCA_RXCTRL_DATA_DCA_EN")) * "hint the payload into a cache",
            "rxdesc_read_ro_en"    / RW[9](PF_Q("DCA_RXCTRL_DESC_RRO_EN")) * "read descriptors with relaxed ordering",
            "cpuid"                / RW[31:24](PF_Q("DCA_RXCTRL_CPUID_MASK_82576")) * "whose cache the hints name",
            RSVD[...], R("DCA_RXCTRL", 0), why=DCA, survives=VF_RESET)              * "Rx DCA Control",
        "rdt" / Reg32(at(0x18), "rdt" / RW[15:0] * "behind the last descriptor that software gave", RSVD[...], R("RDT", 0))
                                                                                    * "Receive Descriptor Tail",
        "rxdctl" / Reg32(at(0x28),
            "pthresh" / RW[4:0].sticky(*VF_RESET)   * "prefetch when fewer are left",
            "hthresh" / RW[12:8].sticky(*VF_RESET)  * "prefetch only when as many are offered",
            "wthresh" / RW[20:16].sticky(*VF_RESET) * "write back when as many are done",
            "enable"  / RW[25](B("RXDCTL_QUEUE_ENABLE"))          * "the queue runs",
            "swflush" / W1P[26](BASE1000)                         * "write back now",
            RSVD[...], R("RXDCTL", 0), DS("8.10.10"), CORE, NUL, reset=0x0001_0000) * "Receive Descriptor Control",
        "rqdpc" / Reg32(at(0x30), "rqdpc" / RC[11:0] * "packets without a descriptor", RSVD[...],
            Reading("dpdk", "drivers/net/intel/e1000/base/e1000_regs.h", "E1000_RQDPC"), DS("8.10.11"), VF_MAP)
                                                                                    * "Receive Queue Drop Packet Count",
    )


def _transmit(n: int) -> tuple[Construct, ...]:
    """The registers of ``n`` transmit queues."""

    def at(offset: int) -> Each:
        return Each(0x3800 + offset, 0x100, n)

    return (
        "tdbal" / Reg32(at(0x00), "tdbal" / RW[31:7], RSVD[6:0], R("TDBAL", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Transmit Descriptor Base Low",
        "tdbah" / Reg32(at(0x04), "tdbah" / RW[31:0], R("TDBAH", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Transmit Descriptor Base High",
        "tdlen" / Reg32(at(0x08), "len" / RW[19:4] * "bytes, in 16", RSVD[...], R("TDLEN", 0), SELF_TEST, survives=VF_RESET)
                                                                                    * "Transmit Descriptor Length",
        "tdh" / Reg32(at(0x10), "tdh" / RW.volatile[15:0] * "next descriptor that hardware takes", RSVD[...], R("TDH", 0))
                                                                                    * "Transmit Descriptor Head",
        "txctl" / Reg32(at(0x14),
            "tx_descriptor_dca_en" / RW[5](PF_Q("DCA_TXCTRL_DESC_DCA_EN")) * "hint the descriptor into a cache",
            "txdesc_rdro_en"       / RW[9](PF_Q("DCA_TXCTRL_DESC_RRO_EN")) * "read descriptors with relaxed ordering",
            "txdesc_wbro_en"       / RW[11](B("DCA_TXCTRL_TX_WB_RO_EN")) * "write descriptors back with relaxed ordering",
            "txdata_read_ro_en"    / RW[13](PF_Q("DCA_TXCTRL_DATA_RRO_EN")) * "read data with relaxed ordering",
            "cpuid"                / RW[31:24](PF_Q("DCA_TXCTRL_CPUID_MASK_82576")) * "whose cache the hints name",
            RSVD[...], R("DCA_TXCTRL", 0), CORE, reset=0x2A00, why=DCA, survives=VF_RESET) * "Tx DCA Control",
        "tdt" / Reg32(at(0x18), "tdt" / RW[15:0] * "behind the last descriptor that software gave", RSVD[...], R("TDT", 0))
                                                                                    * "Transmit Descriptor Tail",
        "txdctl" / Reg32(at(0x28),
            "pthresh"  / RW[4:0].sticky(*VF_RESET)   * "prefetch when fewer are left",
            "hthresh"  / RW[12:8].sticky(*VF_RESET)  * "prefetch only when as many are offered",
            "wthresh"  / RW[20:16].sticky(*VF_RESET) * "write back when as many are done",
            "enable"   / RW[25](B("TXDCTL_QUEUE_ENABLE"))         * "the queue runs",
            "swflsh"   / W1P[26](BASE1000)                        * "write back now",
            "priority" / RW[27](PF_B("TXDCTL_PRIORITY")).sticky(*VF_RESET) * "goes before the other queues",
            RSVD[...], R("TXDCTL", 0), CORE)                                        * "Transmit Descriptor Control",
        "tdwbal" / Reg32(at(0x38),
            "head_wb_en" / RW[0]     * "write the head to memory instead of descriptors",
            "wb_on_eitr" / RW[1]     * "write it when the interrupt is sent",
            "headwb_low" / RW[31:2]  * "where, in 4 bytes",
            PF_R("TDWBAL", 0), VF_MAP, survives=VF_RESET)                           * "Tx Head Write-back Low",
        "tdwbah" / Reg32(at(0x3C), "headwb_high" / RW[31:0], PF_R("TDWBAH", 0), VF_MAP, survives=VF_RESET)
                                                                                    * "Tx Head Write-back High",
    )
# fmt: on


def vf_bar(name: str, queues: int, *, timestamp: bool = False) -> Bar:
    """BAR 0 of a VF with ``queues`` queue pairs; ``timestamp``: receive queues can put timestamps into packets.

    Registers are 32 bits wide: narrower accesses miss, wider ones are several.
    """
    policy = Policy(partial=Partial.IGNORE, unaligned=Partial.IGNORE)
    queue = (_ivar(queues), *_receive(queues, timestamp), *_transmit(queues))
    return Bar(name, SIZE, *GENERAL, *MAILBOX, *STATISTICS, *INTERRUPTS, *queue, policy=policy, doc="registers")


BAR0_82576 = vf_bar("bar0", 2)
BAR0_I350 = vf_bar("bar0", 1, timestamp=True)
