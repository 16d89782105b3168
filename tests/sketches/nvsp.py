"""Sketch: NetVSC: messages over the rings of a VMBus channel. There is no PCI function, no BAR and no register.

Shows a ring that is a page header and a byte stream, and two message protocols, one carried by the other.
"""

from construct import Array, Bytes, Const, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.catalogue import Description, Mailbox, Message
from regmodel.sources import Reading

HYPERV = "include/linux/hyperv.h"
NETVSC = "drivers/net/hyperv/hyperv_net.h"


def R(what: str, file: str = NETVSC) -> Reading:
    return Reading("linux-source", file, what)


# fmt: off
RingPage = Struct("write_index" / Int32ul * "bytes into the data", "read_index" / Int32ul * "bytes into the data",
    "interrupt_mask" / Int32ul * "the reader is polling", "pending_send_sz" / Int32ul * "signal when so many bytes are free",
    "reserved" / Array(12, Int32ul),
    "feature_bits" / Bits(Int32ul, "feat_pending_send_sz" / F[0], RSVD[...]), "reserved2" / Bytes(4028))
Packet = Struct(
    "type" / Bits(Int16ul, "type" / F[15:0](INBAND=6, XFER_PAGES=7, GPA_DIRECT=9, COMP=11)),
    "offset8" / Int16ul * "of the payload, in 8 bytes", "len8" / Int16ul * "of the packet, in 8 bytes",
    "flags" / Bits(Int16ul, "completion_requested" / F[0], RSVD[...]), "trans_id" / Int64ul)
XferPages = Struct("packet" / Packet, "xfer_pageset_id" / Int16ul * "id of the receive buffer", "sender_owns_set" / Int8ul,
    "reserved" / Int8ul, "range_cnt" / Int32ul, "ranges" / Array(1, Struct("byte_count" / Int32ul, "byte_offset" / Int32ul)))

STATUS = Bits(Int32ul, "status" / F[31:0](NONE=0, SUCCESS=1, FAIL=2))
SECTION = Struct("offset" / Int32ul, "sub_alloc_size" / Int32ul, "num_sub_allocs" / Int32ul, "end_offset" / Int32ul)
CAPABILITY = Bits(Int64ul, "vmq" / F[0], "chimney" / F[1], "sriov" / F[2], "ieee8021q" / F[3],
    "correlation_id" / F[4], "teaming" / F[5], "vsubnetid" / F[6], "rsc" / F[7], RSVD[...])
NVSP_SIZE = 40  # union nvsp_all_messages: each message is sent at full length


def nvsp(name: str, number: int, sender: str, doc: str, struct: str, *body: Construct) -> Message:
    """An NVSP message: its number, its body, and what is left of 40 bytes."""
    known = Struct("msg_type" / Const(number, Int32ul), *body)
    schema = Struct(*known.subcons, Padding(NVSP_SIZE - known.sizeof()))
    return Message(name, number, sender, "VSP" if sender == "VSC" else "VSC", schema, doc, (R(f"struct {struct}"),))


NVSP = (
    nvsp("init", 1, "VSC", "the versions that the guest speaks", "nvsp_message_init",
        "min_protocol_ver" / Int32ul, "max_protocol_ver" / Int32ul),
    nvsp("init_complete", 2, "VSP", "the version to speak", "nvsp_message_init_complete",
        "negotiated_protocol_ver" / Int32ul, "max_mdl_chain_len" / Int32ul, "status" / STATUS),
    nvsp("send_ndis_ver", 100, "VSC", "not answered", "nvsp_1_message_send_ndis_version",
        "ndis_major_ver" / Int32ul, "ndis_minor_ver" / Int32ul),
    nvsp("send_recv_buf", 101, "VSC", "lend a receive buffer", "nvsp_1_message_send_receive_buffer",
        "gpadl_handle" / Int32ul, "id" / Int16ul),
    nvsp("send_recv_buf_complete", 102, "VSP", "how it is cut into slots", "nvsp_1_message_send_receive_buffer_complete",
        "status" / STATUS, "num_sections" / Int32ul, "sections" / Array(1, SECTION)),
    nvsp("send_rndis_pkt", 107, "VSC", "carries an RNDIS message", "nvsp_1_message_send_rndis_packet",
        "channel_type" / Bits(Int32ul, "channel" / F[31:0](DATA=0, CONTROL=1)),
        "send_buf_section_index" / Int32ul * "all ones: not in the send buffer", "send_buf_section_size" / Int32ul),
    nvsp("send_ndis_config", 125, "VSC", "from version 2", "nvsp_2_send_ndis_config",
        "mtu" / Int32ul, "reserved" / Int32ul, "capability" / CAPABILITY),
)

HEADER = ("ndis_msg_type" / Int32ul, "msg_len" / Int32ul)
DataPacket = Struct(*HEADER, "data_offset" / Int32ul * "from this field", "data_len" / Int32ul,
    "oob_data_offset" / Int32ul, "oob_data_len" / Int32ul, "num_oob_data_elements" / Int32ul,
    "per_pkt_info_offset" / Int32ul, "per_pkt_info_len" / Int32ul, "vc_handle" / Int32ul, "reserved" / Int32ul)
Initialize = Struct(*HEADER, "req_id" / Int32ul, "major_ver" / Int32ul, "minor_ver" / Int32ul, "max_xfer_size" / Int32ul)
RNDIS = (
    Message("rndis_packet", 1, "VSC", "VSP", DataPacket, "a frame, either way", (R("struct rndis_packet"),)),
    Message("rndis_initialize", 2, "VSC", "VSP", Initialize, "the first message", (R("struct rndis_initialize_request"),)))

DESCRIPTION = Description(name="netvsc", title="NetVSC over a VMBus channel",
    doc="A fragment: ring page, packet headers, NVSP and RNDIS messages.",
    structures={"ring page": RingPage, "packet": Packet, "transfer pages": XferPages},
    mailboxes=(Mailbox("nvsp", "what the virtual switch and the guest agree on", messages=NVSP),
        Mailbox("rndis", "carried by NVSP 107", messages=RNDIS)), sources=(R("struct hv_ring_buffer", HYPERV),))
