"""Virtqueues: what stands in the memory that driver and device share, split and packed.

What lives here: layouts, data only. All numbers are little-endian (a legacy device's are the guest's, which is the same on
every machine that this project boots). Lengths are in octets, addresses are bus addresses.

A *split* queue of ``n`` descriptors has three areas: descriptors; the driver's *available* ring (``SPLIT_HEAD``, ``n`` 16-bit
descriptor numbers, then ``used_event`` where EVENT_IDX is negotiated); the device's *used* ring (``SPLIT_HEAD``, ``n``
elements ``USED``, then ``avail_event``). A legacy queue has all three in one piece: the used ring begins at the next multiple
of 4096 octets.

A *packed* queue has one ring which both write, of descriptors whose AVAIL and USED bits are compared with a wrap counter that
changes each time round, and two ``EVENT_SUPPRESSION`` structures, one of each side.
"""

from __future__ import annotations

from construct import Int16ul, Int32ul, Int64ul, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.catalogue import Descriptor, Ring
from regmodel.sources import Document, Reading, symbols

RING = symbols("linux-source", "include/uapi/linux/virtio_ring.h", "VRING_")
UAPI = Reading("linux-source", "include/uapi/linux/virtio_ring.h", "struct vring_desc and its like")
LEGACY_ALIGN = 4096  # VIRTIO_PCI_VRING_ALIGN


def V(section: str) -> Document:
    return Document("Virtual I/O Device (VIRTIO) Version 1.2", section)


# fmt: off
SPLIT_DESCRIPTOR = Struct(
    "addr"  / Int64ul                                          * "where the buffer is",
    "len"   / Int32ul                                          * "octets",
    "flags" / Bits(Int16ul,
        "next"     / F[0](RING("DESC_F_NEXT"))                 * "the chain goes on at the descriptor ``next``",
        "write"    / F[1](RING("DESC_F_WRITE"))                * "the device writes it; else the device reads it",
        "indirect" / F[2](RING("DESC_F_INDIRECT"))             * "the buffer is a table of descriptors",
        RSVD[...])                                             * "flags",
    "next"  / Int16ul                                          * "number of the next descriptor, if flags.next",
)

AVAIL = Struct(
    "flags" / Bits(Int16ul, "no_interrupt" / F[0](RING("AVAIL_F_NO_INTERRUPT")) * "a hint; unused with EVENT_IDX", RSVD[...]),
    "idx"   / Int16ul                                          * "chains made available since the start, modulo 65536",
)

USED = Struct(
    "flags" / Bits(Int16ul, "no_notify" / F[0](RING("USED_F_NO_NOTIFY")) * "a hint; unused with EVENT_IDX", RSVD[...]),
    "idx"   / Int16ul                                          * "chains used since the start, modulo 65536",
)

USED_ELEMENT = Struct(
    "id"    / Int32ul                                          * "first descriptor of the chain",
    "len"   / Int32ul                                          * "octets that the device has written",
)

PACKED_DESCRIPTOR = Struct(
    "addr"  / Int64ul                                          * "where the buffer is",
    "len"   / Int32ul                                          * "octets; of a used one: those that were written",
    "id"    / Int16ul                                          * "what the driver calls the buffer",
    "flags" / Bits(Int16ul,
        "next"     / F[0](RING("DESC_F_NEXT"))                 * "the chain goes on in the next slot",
        "write"    / F[1](RING("DESC_F_WRITE"))                * "the device writes it (used: the length is valid)",
        "indirect" / F[2](RING("DESC_F_INDIRECT"))             * "the buffer is a table of descriptors",
        "avail"    / F[7](RING("PACKED_DESC_F_AVAIL", bit=True)) * "the driver's wrap counter",
        "used"     / F[15](RING("PACKED_DESC_F_USED", bit=True)) * "its inverse; equal to avail when used",
        RSVD[...])                                             * "flags",
)

EVENT_SUPPRESSION = Struct(
    "off_wrap" / Bits(Int16ul,
        "off"  / F[14:0]                                       * "slot whose use is an event",
        "wrap" / F[15](RING("PACKED_EVENT_F_WRAP_CTR", bit=True)) * "wrap counter of that slot") * "place of the event",
    "flags" / Bits(Int16ul,
        "flags" / F[1:0](RING("PACKED_EVENT_FLAG_ENABLE", of="ENABLE"), RING("PACKED_EVENT_FLAG_DISABLE", of="DISABLE"),
                         RING("PACKED_EVENT_FLAG_DESC", of="DESC"), ENABLE=0, DISABLE=1, DESC=2) * "which events are wanted",
        RSVD[...])                                             * "flags",
)

SPLIT_FORMATS = (
    Descriptor("split_desc", SPLIT_DESCRIPTOR, "Descriptor", (UAPI, V("2.7.5")), "vmlinux:vring_desc"),
    Descriptor("avail", AVAIL, "Head of the available ring, written by the driver", (UAPI, V("2.7.6")), "vmlinux:vring_avail"),
)
SPLIT_WRITES = (
    Descriptor("used", USED, "Head of the used ring, written by the device", (UAPI, V("2.7.8")), "vmlinux:vring_used"),
    Descriptor("used_elem", USED_ELEMENT, "Element of the used ring", (UAPI, V("2.7.8")), "vmlinux:vring_used_elem"),
)
PACKED_FORMATS = (
    Descriptor("packed_desc", PACKED_DESCRIPTOR, "Descriptor; used ones are written in the same place", (UAPI, V("2.8.13")),
               "vmlinux:vring_packed_desc"),
    Descriptor("event_suppression", EVENT_SUPPRESSION, "What one side wants to be told of by the other", (UAPI, V("2.8.14")),
               "vmlinux:vring_packed_desc_event"),
)
# fmt: on

SPLIT = Ring(
    "split", "A virtqueue in three areas", base=("queue_desc", "queue_desc"), length="queue_size", head="", tail="notify",
    control="queue_enable", formats=SPLIT_FORMATS, device_writes=SPLIT_WRITES,
)  # fmt: skip
PACKED = Ring(
    "packed", "A virtqueue in one ring that both sides write", base=("queue_desc", "queue_desc"), length="queue_size", head="",
    tail="notify", control="queue_enable", formats=PACKED_FORMATS,
)  # fmt: skip
LEGACY = Ring(
    "legacy", "A split virtqueue in one piece", base=("queue_pfn", "queue_pfn"), length="queue_num", head="",
    tail="queue_notify", control="queue_pfn", formats=SPLIT_FORMATS, device_writes=SPLIT_WRITES,
)  # fmt: skip
