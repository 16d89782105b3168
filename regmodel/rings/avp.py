"""AVP's queues: rings of pointers in shared memory, and the packet descriptors that they point to.

What lives here: layouts and the roles of the queues, data only; little-endian. Names are those of DPDK's headers.

A FIFO has one producer and one consumer. ``write`` and ``read`` are numbers of slots; it is empty when they are equal, and one
slot always stays empty. Behind the head stand ``len`` pointers of 8 bytes. A pointer is a virtual address *of the host*.

Four FIFOs carry packets, in as many queues as the device has, and two carry requests:

=======  ==========  ==========  ===========================================================
queue    producer    consumer    what is in it
=======  ==========  ==========  ===========================================================
alloc    host        guest       empty buffers, for the guest to send with
tx       guest       host        packets: the first descriptor of each
rx       host        guest       packets
free     guest       host        packets that were received, to be taken back
req      guest       host        the address of the request
resp     host        guest       the same address, when the request has been answered
=======  ==========  ==========  ===========================================================

There is no doorbell: a host looks at ``tx``, ``free`` and ``req`` from time to time.
"""

from __future__ import annotations

from construct import Bytes, Const, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.catalogue import Descriptor, Ring
from regmodel.sources import Reading
from regmodel.structures.avp import S

FIFO_SOURCE = Reading("libdpdk-dev", "include/dpdk/rte_avp_common.h", "struct rte_avp_fifo")
DESC_SOURCE = Reading("libdpdk-dev", "include/dpdk/rte_avp_common.h", "struct rte_avp_desc")
ACCESS_SOURCE = Reading("libdpdk-dev", "include/dpdk/rte_avp_fifo.h", "avp_fifo_put, avp_fifo_get")
POINTER = 8
"""Bytes of an entry."""
HEAD = 16
"""Bytes before the first entry."""

# fmt: off
FIFO = Struct(
    "write"     / Int32ul                             * "slot that will be written next; the producer's",
    "read"      / Int32ul                             * "slot that will be read next; the consumer's",
    "len"       / Int32ul                             * "slots: a power of two",
    "elem_size" / Const(POINTER, Int32ul)             * "bytes of a slot",
)

DESC = Struct(
    "pad0"     / Int64ul                              * "the host's",
    "pkt_mbuf" / Int64ul                              * "the host's",
    "pad1"     / Bytes(14)                            * "the host's",
    "ol_flags" / Bits(Int16ul,
        "tx_vlan_pkt" / F[0](S("TX_VLAN_PKT"))        * "put in the tag of vlan_tci",
        "rx_vlan_pkt" / F[11](S("RX_VLAN_PKT"))       * "the tag was taken out into vlan_tci",
        RSVD[...])                                    * "offloads; those of a packet's first descriptor count",
    "next"     / Int64ul                              * "next descriptor of the packet, 0 at its end",
    "data"     / Int64ul                              * "first byte of the data",
    "data_len" / Int16ul                              * "octets in this buffer",
    "nb_segs"  / Int8ul                               * "descriptors of the packet, in its first one",
    "pad2"     / Int8ul                               * "the host's",
    "pkt_len"  / Int16ul                              * "octets of the packet, in its first one",
    "pad3"     / Int32ul                              * "the host's",
    "vlan_tci" / Int16ul                              * "VLAN tag, in the order of the processor",
    "pad4"     / Int32ul                              * "the host's",
)

QUEUE = Ring(
    "fifo", "Pointers in shared memory, from one producer to one consumer",
    base=("", ""), length="", head="", tail="", control="",
    formats=(Descriptor("fifo", FIFO, "Head of a queue; len pointers follow", (FIFO_SOURCE, ACCESS_SOURCE)),
             Descriptor("desc", DESC, "Descriptor of a packet, or of a further segment of it", (DESC_SOURCE,))),
)
# fmt: on
RINGS = (QUEUE,)
