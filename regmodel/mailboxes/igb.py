"""The mailbox between a virtual function and its PF on the 82576 and I350: the messages of both sides.

What lives here: layouts of messages, data only. How it goes on, for orientation:

- The VF sets V2PMAILBOX.VFU, sees it stick, writes the message, writes REQ (which gives the memory back). The PF reads,
  sets PFACK at the VF, writes a reply, sets PFSTS. The VF takes the memory, reads, writes ACK.
- A reply is the first word of the request with ``ack`` or ``nack``, and ``cts`` while the VF may ask for more: until its
  reset was answered a VF is not listened to. Only the reply to RESET is longer (it brings the MAC address) and has no
  ``cts``.
- The PF says ``PF_CONTROL`` unasked when it starts, stops or its link changes; ``cts`` is 0 where the VF has to reset.
- The reply stays in the memory: a driver looks at its ``cts`` again to see whether the PF is alive.

There is no version negotiation.
"""

from __future__ import annotations

from construct import Array, Bytes, Construct, Int16ul, Int32ul, Padding, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F, Field
from regmodel.catalogue import Mailbox, Message
from regmodel.sources import Reading, Source, symbols

INTEL = "drivers/net/ethernet/intel"
M = symbols("linux-source", f"{INTEL}/igbvf/mbx.h", "E1000_")
PF_M = symbols("linux-source", f"{INTEL}/igb/e1000_mbx.h", "E1000_")
BASE = Reading("dpdk", "drivers/net/intel/e1000/base/e1000_mbx.h", "E1000_VF_SET_*")


def _from_vf(function: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/vf.c", function)


def _from_pf(function: str) -> Reading:
    return Reading("linux-source", f"{INTEL}/igb/igb_main.c", function)


def _header(*info: Field) -> Construct:
    """The first word. ``info`` are the fields that this message has in bits 23:16."""
    # fmt: off
    return "header" / Bits(Int32ul,
        "number" / F[15:0]                        * "which message",
        *info,
        "cts"    / F[29](M("VT_MSGTYPE_CTS"))     * "the VF is clear to send (PF only)",
        "nack"   / F[30](M("VT_MSGTYPE_NACK"))    * "refused (PF only)",
        "ack"    / F[31](M("VT_MSGTYPE_ACK"))     * "granted (PF only)",
        RSVD[...]) * "type and flags"
    # fmt: on


MAC = ("mac" / Bytes(6) * "address, first byte first", Padding(2))
FILTER = "filter" / F[23:16](M("VF_MAC_FILTER_CLR", of="CLR"), M("VF_MAC_FILTER_ADD", of="ADD"), SET=0, CLR=1, ADD=2) * (
    "SET the own address, CLR the additional ones, ADD one")
COUNT = "count" / F[20:16](BASE) * "hashes that are valid, at most 30"
OVERFLOW = "overflow" / F[23](BASE) * "there are more than fit"
VLAN_ADD = "add" / F[16](BASE) * "receive this VLAN, else no longer"
UNICAST = "unicast" / F[16](BASE) * "unicast promiscuous"
MULTICAST = "multicast" / F[17](PF_M("VF_SET_PROMISC_MULTICAST"), BASE) * "multicast promiscuous"
VID = "vlan" / Bits(Int32ul, "vid" / F[11:0] * "VLAN identifier", RSVD[...]) * "VLAN"
HASHES = "hashes" / Array(30, Int16ul) * "bits of the multicast table array, 12 bits each"
SIZE = "max_frame_size" / Int32ul * "bytes, with header and FCS"


def _message(name: str, number: int, sender: str, doc: str, *words: Construct, sources: tuple[Source, ...]) -> Message:
    return Message(name, number, sender, "PF" if sender == "VF" else "VF", Struct(*words), doc, sources)


# fmt: off
MESSAGES = (
    _message("reset", 0x01, "VF", "The VF was reset: give it its address and listen to it", _header(),
             sources=(M("VF_RESET"), _from_vf("e1000_reset_hw_vf"))),
    _message("set_mac_addr", 0x02, "VF", "Use this address; or set filters for more", _header(FILTER), *MAC,
             sources=(M("VF_SET_MAC_ADDR"), _from_vf("e1000_rar_set_vf, e1000_set_uc_addr_vf"))),
    _message("set_multicast", 0x03, "VF", "Receive multicast packets of these hashes", _header(COUNT, OVERFLOW), HASHES,
             sources=(M("VF_SET_MULTICAST"), _from_vf("e1000_update_mc_addr_list_vf"))),
    _message("set_vlan", 0x04, "VF", "Add or remove a VLAN", _header(VLAN_ADD), VID,
             sources=(M("VF_SET_VLAN"), _from_vf("e1000_set_vfta_vf"))),
    _message("set_lpe", 0x05, "VF", "Receive packets up to this size", _header(), SIZE,
             sources=(M("VF_SET_LPE"), _from_vf("e1000_rlpml_set_vf"))),
    _message("set_promisc", 0x06, "VF", "Promiscuous modes (igbvf cannot send it, DPDK does)", _header(UNICAST, MULTICAST),
             sources=(PF_M("VF_SET_PROMISC"), BASE)),

    _message("reset_reply", 0x01, "PF", "ACK with the address; NACK: the VF is to choose one", _header(), *MAC,
             sources=(M("VF_RESET"), _from_pf("igb_vf_reset_msg"))),
    _message("set_mac_addr_reply", 0x02, "PF", "Outcome", _header(FILTER),
             sources=(M("VF_SET_MAC_ADDR"), _from_pf("igb_rcv_msg_from_vf"))),
    _message("set_multicast_reply", 0x03, "PF", "Outcome", _header(COUNT, OVERFLOW),
             sources=(M("VF_SET_MULTICAST"), _from_pf("igb_rcv_msg_from_vf"))),
    _message("set_vlan_reply", 0x04, "PF", "Outcome", _header(VLAN_ADD),
             sources=(M("VF_SET_VLAN"), _from_pf("igb_rcv_msg_from_vf"))),
    _message("set_lpe_reply", 0x05, "PF", "Outcome", _header(),
             sources=(M("VF_SET_LPE"), _from_pf("igb_rcv_msg_from_vf"))),
    _message("set_promisc_reply", 0x06, "PF", "Outcome; flags that the PF handled are cleared", _header(UNICAST, MULTICAST),
             sources=(PF_M("VF_SET_PROMISC"), _from_pf("igb_set_vf_promisc"))),
    _message("pf_control", 0x0100, "PF", "The PF or its link has changed: look at the link, reset if cts is 0", _header(),
             sources=(M("PF_CONTROL_MSG"), _from_pf("igb_ping_all_vfs"))),
)
# fmt: on

MAILBOX = Mailbox(
    "mailbox",
    "Between the VF and its PF: 64 bytes which either of them owns at a time",
    control="v2pmailbox",
    memory="vmbmem",
    words=16,
    messages=MESSAGES,
    sources=(
        M("VFMAILBOX_SIZE"),
        Reading("qemu", "hw/net/igb_core.c", "igb_set_vfmailbox, igb_set_pfmailbox, igb_mac_vfmailbox_read"),
    ),
)
