"""Sketch: the FM10000 virtual function, whose documents number registers by 32-bit word.

Shows offsets written as words, a mailbox whose two halves are one window, and headers that are one word of fields.
"""

from dataclasses import replace

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Struct

from regmodel.access import RO, RSVD, RW, W1C, W1P
from regmodel.bits import Bits, F
from regmodel.catalogue import Description, Mailbox, Message
from regmodel.registers import Bar, Each, Pair32, Reg32, Window
from regmodel.sources import Reading, Symbol

FM10K = "drivers/net/ethernet/intel/fm10k"
DW = 4  # bytes of one word: the sources count registers in words


def S(name: str, index: int | None = None, file: str = "type") -> Symbol:
    return Symbol("linux-source", f"{FM10K}/fm10k_{file}.h", f"FM10K_{name}", index)


def W(name: str, index: int | None = None, file: str = "type") -> Symbol:
    """A register, which the driver's header numbers in words."""
    return replace(S(name, index, file), shift=2)


def R(what: str) -> Reading:
    return Reading("linux-source", f"{FM10K}/fm10k_vf.c", what)


# fmt: off
BAR0 = Bar("BAR0", 0x100000,
    "vfctrl" / Reg32(0x00 * DW, "rst" / W1P[3](S("VFCTRL_RST")) * "reset the VF", RSVD[...], W("VFCTRL")) * "device control",
    "vfmbx"  / Reg32(0x10 * DW,
        "req"               / W1P[1] * "a message was written",
        "ack"               / W1P[2] * "a message was read",
        "req_interrupt"     / W1C[3] * "the PF wrote a message",
        "ack_interrupt"     / W1C[4] * "the PF read a message",
        "interrupt_enable"  / W1P[5] * "let both interrupt",
        "interrupt_disable" / W1P[6] * "let none interrupt",
        RSVD[...], W("VFMBX", file="mbx"))                                      * "mailbox control",
    "vfmbmem"    / Window(0x20 * DW, Array(16, Int32ul), RW, W("VFMBMEM", 0, "mbx")) * "mailbox: 8 words from the PF, 8 to it",
    "vfint_map"  / Reg32(0x30 * DW, "mailbox" / RW[8:0], RSVD[...], W("VFINT_MAP"))  * "vector of the mailbox",
    "vfsystime"  / Reg32(0x40 * DW, RO, W("VFSYSTIME"))                         * "time of day, low word",
    "vfitr"      / Reg32(Each(0x60 * DW, DW, 32), "interval" / RW[11:0], RSVD[...], W("VFITR", 0)) * "throttle, by vector",
    *Pair32("rdbal", Each(0x4000 * DW, 0x40 * DW, 16), "rdbah", Each(0x4001 * DW, 0x40 * DW, 16), RW,
        W("RDBAL", 0), doc="base of a receive ring"),
    "rdlen" / Reg32(Each(0x4002 * DW, 0x40 * DW, 16), RW, W("RDLEN", 0))        * "bytes of a receive ring",
    "rdh"   / Reg32(Each(0x4004 * DW, 0x40 * DW, 16), RO, W("RDH", 0))          * "receive head",
    "rdt"   / Reg32(Each(0x4005 * DW, 0x40 * DW, 16), RW, W("RDT", 0))          * "receive tail",
    *Pair32("tdbal", Each(0x8000 * DW, 0x40 * DW, 16), "tdbah", Each(0x8001 * DW, 0x40 * DW, 16), RW,
        W("TDBAL", 0), doc="base of a transmit ring; at first, the MAC address"),
    "tdlen" / Reg32(Each(0x8002 * DW, 0x40 * DW, 16), "low" / RW[8:0],
        "itr_scale" / RW.volatile[11:9](GEN3=0, GEN2=1, GEN1=2), "high" / RW[31:12],
        W("TDLEN", 0))                                                          * "bytes of a ring; at first, ITR scale",
    "tdh"   / Reg32(Each(0x8004 * DW, 0x40 * DW, 16), RO, W("TDH", 0))          * "transmit head",
    "tdt"   / Reg32(Each(0x8005 * DW, 0x40 * DW, 16), RW, W("TDT", 0))          * "transmit tail",
    "txqctl" / Reg32(Each(0x8007 * DW, 0x40 * DW, 16), "id" / RO[6:0], "pc" / RO[9:7], "tc" / RO[15:10], "vid" / RO[27:16],
        "unlimited_bw" / RO[28], RSVD[...], W("TXQCTL", 0))                     * "transmit queue ownership and default VLAN")

MBX_HEADER = Bits(Int32ul,
    "type" / F[3:0](DATA=0x8, CONNECT=0xC, DISCONNECT=0xD, ERROR=0xE),
    "tail" / F[7:4]  * "of the sender's half, 1 to 14; bit 3 counts the laps",
    "head" / F[11:8] * "of the receiver's half",
    RSVD[15:12], "crc" / F[31:16] * "CRC-16, 0xAC9A, from 0xFFFF; CONNECT: largest message; ERROR: number")
TLV_HEADER = Bits(Int32ul, "id" / F[15:0], "message" / F[16] * "not an attribute", RSVD[19:17],
    "length" / F[31:20] * "bytes that follow")
MBX = Struct("header" / MBX_HEADER, "payload" / Array(7, Int32ul) * "TLV, each padded to a word")
MAC_VLAN = Struct("message" / TLV_HEADER, "mac" / Struct("attribute" / TLV_HEADER, "mac" / Bytes(6), "vlan" / Int16ul))
LPORT_XCAST = Struct("message" / TLV_HEADER, "xcast_mode" / Struct("attribute" / TLV_HEADER, "mode" / Int8ul, "pad" / Bytes(3)))

DESCRIPTION = Description(name="fm10k-vf", title="FM10000 VF: queues and mailbox", bars={0: BAR0},
    doc="A fragment. Byte offsets here are 4 times the word numbers of the sources.",
    structures={"mailbox half": MBX, "TLV header": TLV_HEADER}, mailboxes=(
        Mailbox("vfmbx", "PF and VF, with a running CRC over all that was said", "vfmbx", "vfmbmem", 16, (
            Message("mac_vlan", 2, "VF", "PF", MAC_VLAN, "receive frames to this address", (R("fm10k_update_uc_addr_vf"),)),
            Message("lport_state", 3, "VF", "PF", LPORT_XCAST, "what to receive", (R("fm10k_update_xcast_mode_vf"),)))),))
