"""What AVP's tables hold: the memory map of BAR 4 and the device information of BAR 5; versions and limits.

What lives here: layouts, data only, little-endian, with the padding that a C compiler puts in. Names are those of DPDK's
header; ``tests/regmodel/test_avp.py`` has every offset checked by a compiler.

An address of these tables is the host's. ``phys`` ones are looked up in the memory map: the regions of BAR 2 follow each other
in the order of the map, so a driver finds host address ``p`` of region ``i`` at ``p - maps[i].phys_addr`` behind the lengths
of all regions before. Buffers are named by their *virtual* address on the host: what is at ``mbuf_va + n`` there, the guest
finds ``n`` bytes behind the place of ``mbuf_phys`` (DPDK avp_ethdev.c ``avp_dev_translate_address``,
``avp_dev_translate_buffer``).
"""

from __future__ import annotations

from construct import Array, Bytes, Const, Construct, Int8ul, Int32ul, Int64ul, Padding, Struct

from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.sources import symbols

S = symbols("libdpdk-dev", "include/dpdk/rte_avp_common.h", "RTE_AVP_")

MEMMAP_MAGIC, MEMMAP_VERSION, MAX_MAPS = 0x20131969, 1, 2048
DEVICE_MAGIC = 0x20131975
NAME_SIZE, MAX_MEMPOOLS = 32, 8
MAX_QUEUES, MAX_SEGMENTS = 8, 5
"""RTE_AVP_MAX_QUEUES of each kind, RTE_AVP_MAX_MBUF_SEGMENTS of one packet."""
MAX_PACKET = 9238
"""Octets of the longest packet without FCS (DPDK guides/nics/avp.rst)."""
HOST_VERSION, GUEST_VERSION = (1, 0, 1), (1, 2, 13)
"""Release, major, minor (RTE_AVP_CURRENT_HOST_VERSION, RTE_AVP_CURRENT_GUEST_VERSION)."""
MODE_GUEST = 1


def make_version(release: int, major: int, minor: int) -> int:
    """RTE_AVP_MAKE_VERSION. What is left without the minor number decides whether two sides fit."""
    return (release & 0xFFFF) << 16 | (major & 0xFF) << 8 | minor & 0xFF


def strip_minor(version: int) -> int:
    """RTE_AVP_STRIP_MINOR_VERSION: a driver takes a host whose number is not greater than its own."""
    return version >> 8


# fmt: off
def version() -> Construct:
    return Bits(Int32ul,
        "minor"   / F[7:0]                            * "sides fit whatever it is",
        "major"   / F[15:8]                           * "a guest takes no host whose number is greater than its own",
        "release" / F[31:16]                          * "weighs more than the major number")


def features() -> Construct:
    return Bits(Int32ul, "vlan_offload" / F[0](S("FEATURE_VLAN_OFFLOAD")) * "tags are taken out and put in", RSVD[...])


MEMORY = (
    "addr"      / Int64ul                             * "virtual address on the host",
    "phys_addr" / Int64ul                             * "physical address on the host",
    "length"    / Int64ul                             * "bytes",
)

MEMMAP_INFO = Struct(
    "magic"     / Const(MEMMAP_MAGIC, Int32ul)        * "says that this is a memory map",
    "version"   / Const(MEMMAP_VERSION, Int32ul)      * "of this format",
    "nb_maps"   / Int32ul                             * "regions that are valid",
    Padding(4),
    "maps"      / Array(MAX_MAPS, Struct(*MEMORY))    * "regions, in the order in which BAR 2 shows them",
) * "memory of the host that BAR 2 shows"

DEVICE_INFO = Struct(
    "magic"         / Const(DEVICE_MAGIC, Int32ul)    * "says that this is device information",
    "version"       / version()                       * "of the host",
    "ifname"        / Bytes(NAME_SIZE)                * "name of the interface on the host",
    "tx_phys"       / Int64ul                         * "first of the queues of packets that the guest sends",
    "rx_phys"       / Int64ul                         * "first of those of packets that it receives",
    "alloc_phys"    / Int64ul                         * "first of those of empty buffers for it to send with",
    "free_phys"     / Int64ul                         * "first of those of buffers that it has received and emptied",
    "features"      / features()                      * "what there is",
    "min_rx_queues" / Int8ul                          * "receive queues at least",
    "num_rx_queues" / Int8ul                          * "recommended",
    "max_rx_queues" / Int8ul                          * "at most",
    "min_tx_queues" / Int8ul                          * "transmit queues at least",
    "num_tx_queues" / Int8ul                          * "recommended",
    "max_tx_queues" / Int8ul                          * "at most",
    Padding(2),
    "tx_size"       / Int32ul                         * "bytes from one queue to the next",
    "rx_size"       / Int32ul                         * "the same",
    "alloc_size"    / Int32ul                         * "the same",
    "free_size"     / Int32ul                         * "the same",
    Padding(4),
    "req_phys"      / Int64ul                         * "queue of requests to the host",
    "resp_phys"     / Int64ul                         * "queue of its responses",
    "sync_phys"     / Int64ul                         * "where request and response stand",
    "sync_va"       / Int64ul                         * "the same place, as the two queues name it",
    "mbuf_va"       / Int64ul                         * "first byte of the buffers, as queues and descriptors name it",
    "mbuf_phys"     / Int64ul                         * "the same place",
    "pool"          / Array(MAX_MEMPOOLS, Struct(*MEMORY)) * "where there are several areas of buffers",
    "ethaddr"       / Bytes(6)                        * "the one MAC address",
    "mode"          / Int8ul                          * "0 host, 1 guest, 2 trace",
    Padding(1),
    "mbuf_size"     / Int32ul                         * "octets of a packet that one buffer holds",
    Padding(4),
    "device_id"     / Int64ul                         * "another one for each time that the device is made",
    "max_rx_pkt_len" / Int32ul                        * "octets of the longest packet that the host sends",
    Padding(4),
) * "what the device is, and where its queues are"
# fmt: on

STRUCTURES = {"memmap_info": MEMMAP_INFO, "info": DEVICE_INFO}
