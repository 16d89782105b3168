"""Sketch: the registers of an adaptive VF, its admin queue and three of the messages that go through it.

Shows a ring placed by registers, tails that are doorbells, and messages carried by a ring.
"""

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Padding, Struct

from regmodel.access import RC, RO, RSVD, RW, W1P
from regmodel.bits import Bits, F
from regmodel.catalogue import Description, Descriptor, Mailbox, Message, Ring
from regmodel.registers import Bar, Doorbell32, Each, Pair32, Reg32
from regmodel.sources import Reading, Symbol

INTEL = "drivers/net/ethernet/intel/iavf"
VIRTCHNL = "include/linux/avf/virtchnl.h"


def S(name: str, index: int | tuple[int, ...] | None = None) -> Symbol:
    return Symbol("linux-source", f"{INTEL}/iavf_register.h", f"IAVF_{name}", index)


def R(what: str, file: str = VIRTCHNL) -> Reading:
    return Reading("linux-source", file, what)


# fmt: off
LENGTH = ("len" / RW[9:0] * "descriptors",
    "vfe" / RO[28] * "VF error", "ovfl" / RO[29] * "overflow", "crit" / RO[30] * "critical error",
    "enable" / RW.volatile[31] * "a reset clears it, which drivers wait for", RSVD[...])
DYN_CTL = ("intena" / RW[0], "swint_trig" / W1P[2], "itr_indx" / RW[4:3](ITR0=0, ITR1=1, ITR2=2, NONE=3), "interval" / RW[16:5],
    "sw_itr_indx_ena" / W1P[24], "wb_on_itr" / RW[30], RSVD[...])

BAR0 = Bar("BAR0", 0x10000,
    "qtx_tail" / Doorbell32(Each(0x0000, 4, 16), "tail" / RW[12:0], RSVD[...], S("QTX_TAIL1", 0)) * "descriptors were added",
    "qrx_tail" / Doorbell32(Each(0x2000, 4, 16), "tail" / RW[12:0], RSVD[...], S("QRX_TAIL1", 0)) * "buffers were added",
    *(f"vfint_itr{i}" / Reg32(Each(0x2800 + 64 * i, 4, 16), "interval" / RW[11:0], RSVD[...], S("VFINT_ITRN1", (i, 0)))
        * "interrupt throttle, by vector" for i in range(3)),
    "vfint_dyn_ctln" / Reg32(Each(0x3800, 4, 16), *DYN_CTL, S("VFINT_DYN_CTLN1", 0)) * "vector control",
    "vfint_icr0"     / Reg32(0x4800, "cause" / RC[29:0], "adminq" / RC[30], RSVD[...], S("VFINT_ICR01")) * "causes of vector 0",
    "vfint_icr0_ena" / Reg32(0x5000, "adminq" / RW[30], RSVD[...], S("VFINT_ICR0_ENA1")) * "causes of vector 0 that interrupt",
    "vfint_dyn_ctl0" / Reg32(0x5C00, *DYN_CTL, S("VFINT_DYN_CTL01"))                  * "control of vector 0",
    *Pair32("arqbal", 0x6C00, "arqbah", 0x6000, RW, S("VF_ARQBAL1"), doc="base of the admin receive queue"),
    *Pair32("atqbal", 0x7C00, "atqbah", 0x7800, RW, S("VF_ATQBAL1"), doc="base of the admin transmit queue"),
    "atqh"   / Reg32(0x6400, "head" / RW.volatile[9:0], RSVD[...], S("VF_ATQH1"))     * "next descriptor that the device takes",
    "atqt"   / Reg32(0x8400, "tail" / RW[9:0], RSVD[...], S("VF_ATQT1"))              * "behind the last descriptor",
    "atqlen" / Reg32(0x6800, *LENGTH, S("VF_ATQLEN1"))                                * "admin transmit queue control",
    "arqh"   / Reg32(0x7400, "head" / RW.volatile[9:0], RSVD[...], S("VF_ARQH1"))     * "next buffer that the device fills",
    "arqt"   / Reg32(0x7000, "tail" / RW[9:0], RSVD[...], S("VF_ARQT1"))              * "behind the last buffer",
    "arqlen" / Reg32(0x8000, *LENGTH, S("VF_ARQLEN1"))                                * "admin receive queue control",
    "vfgen_rstat" / Reg32(0x8800, "vfr_state" / RO[1:0](IN_PROGRESS=0, COMPLETED=1, VFACTIVE=2), RSVD[...],
        S("VFGEN_RSTAT"))                                                             * "where a reset of the VF stands")

AQ_FLAGS = Bits(Int16ul, "dd" / F[0] * "descriptor done", "cmp" / F[1] * "command complete", "err" / F[2], "vfe" / F[3],
    "lb" / F[9] * "buffer of more than 512 bytes", "rd" / F[10] * "buffer is read by the device", "vfc" / F[11],
    "buf" / F[12] * "has a buffer", "si" / F[13] * "no interrupt", "ei" / F[14], "fe" / F[15], RSVD[...])
AQ_DESC = Struct("flags" / AQ_FLAGS, "opcode" / Int16ul * "0x801 to the PF, 0x802 to the VF",
    "datalen" / Int16ul, "retval" / Int16ul,
    "cookie_high" / Int32ul * "virtchnl operation", "cookie_low" / Int32ul * "virtchnl status",
    "param0" / Int32ul, "param1" / Int32ul, "addr_high" / Int32ul, "addr_low" / Int32ul)
DESC = Descriptor("aq_desc", AQ_DESC, "admin queue command or event",
    (R("struct iavf_aq_desc", f"{INTEL}/iavf_adminq_cmd.h"),), btf="iavf:iavf_aq_desc|libie_aq_desc")

CAPS = Bits(Int32ul, "l2" / F[0], "rss_aq" / F[3], "rss_reg" / F[4], "wb_on_itr" / F[5], "req_queues" / F[6],
    "adv_link_speed" / F[7], "vlan_v2" / F[15], "vlan" / F[16], "rx_polling" / F[17], "rss_pf" / F[19], "adv_rss_pf" / F[27],
    "fdir_pf" / F[28], RSVD[...])
VERSION = Struct("major" / Int32ul, "minor" / Int32ul)
VSI = Struct("vsi_id" / Int16ul, "num_queue_pairs" / Int16ul, "vsi_type" / Int32ul,
    "qset_handle" / Int16ul, "default_mac_addr" / Bytes(6))
RESOURCES = Struct("num_vsis" / Int16ul, "num_queue_pairs" / Int16ul, "max_vectors" / Int16ul, "max_mtu" / Int16ul,
    "vf_cap_flags" / CAPS, "rss_key_size" / Int32ul, "rss_lut_size" / Int32ul, "vsi_res" / Array(1, VSI))
ETHER = Struct("addr" / Bytes(6), "kind" / Bits(Int8ul, "type" / F[1:0](LEGACY=0, PRIMARY=1, EXTRA=2), RSVD[...]), Padding(1))
WANTED = Struct("vf_cap_flags" / CAPS)
ETHERS = Struct("vsi_id" / Int16ul, "num_elements" / Int16ul, "list" / Array(1, ETHER))
MESSAGES = (
    Message("version", 1, "VF", "PF", VERSION, "the API it speaks; the PF answers alike", (R("virtchnl_version_info"),)),
    Message("get_vf_resources", 3, "VF", "PF", WANTED, "what the VF would like", (R("virtchnl_vc_validate_vf_msg"),)),
    Message("vf_resources", 3, "PF", "VF", RESOURCES, "what the VF gets", (R("struct virtchnl_vf_resource"),)),
    Message("add_eth_addr", 10, "VF", "PF", ETHERS, "receive frames to these", (R("struct virtchnl_ether_addr_list"),)))
DESCRIPTION = Description(name="iavf-adminq", title="Adaptive VF: registers and admin queue",
    doc="A fragment: registers, the admin queue's descriptor, three operations of virtchnl.", bars={0: BAR0},
    rings=(Ring("atq", "commands to the PF", ("atqbal", "atqbah"), "atqlen", "atqh", "atqt", "atqlen", (DESC,), (DESC,)),
        Ring("arq", "events from the PF", ("arqbal", "arqbah"), "arqlen", "arqh", "arqt", "arqlen", (DESC,), (DESC,))),
    mailboxes=(Mailbox("virtchnl", "carried by the buffers of the admin queues", messages=MESSAGES),))
