"""The messages of vhost-user, described once in construct; the codecs that a front end needs are derived from them.

Only wire formats live here: layouts, numbers, limits of the protocol, for whoever stands at either end of the socket. A
*front end* owns the memory with the virtqueues and drives them; a *back end* is the device. What the rings in that memory
look like is in ``regmodel.rings.virtio``, what stands before each frame and the feature bits in ``virtio_net``.

Source of everything: "Vhost-user Protocol", QEMU docs/interop/vhost-user.rst, whose sections and names are those below. All
numbers are in host byte order, which is little-endian on every host this runs on.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from construct import Array, Int32ul, Int64ul, Struct

from regmodel.layout import layout


class Request(IntEnum):
    """Section "Front-end message types": those that a network device has a use for."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


F_PROTOCOL_FEATURES = 1 << 30
"""The bit among the device's features that says that there are ``ProtocolFeature``. VIRTIO itself leaves it unused."""


class ProtocolFeature(IntFlag):
    """Section "Protocol features"."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    CROSS_ENDIAN = 1 << 6
    CRYPTO_SESSION = 1 << 7
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    INFLIGHT_SHMFD = 1 << 12
    RESET_DEVICE = 1 << 13
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16


# Flags of the header (section "Header")
VERSION_MASK, VERSION = 0x3, 0x1
REPLY = 0x4
NEED_REPLY = 0x8

# Bits of the u64 of SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR
VRING_INDEX = 0xFF
NO_FD = 0x100

# Limits
MEMORY_REGIONS = 8
"""Regions in one message, each with its file descriptor (section "Memory regions description")."""

# fmt: off
Header = Struct(
    "request" / Int32ul * "a Request, in the reply the same",
    "flags"   / Int32ul * "bits 1:0 version, 2 reply, 3 a reply is wanted (with REPLY_ACK)",
    "size"    / Int32ul * "octets of the payload, which follows",
)

Number = Struct("u64" / Int64ul * "a 64-bit integer: features, a vring index, 0 for success")

VringState = Struct(
    "index" / Int32ul * "which vring: 2 * n receives in queue pair n, 2 * n + 1 transmits",
    "num"   / Int32ul * "its size, the next available index, or 1 for enabled",
)

VringAddress = Struct(
    "index"      / Int32ul * "which vring",
    "flags"      / Int32ul * "bit 0: log writes to the used ring",
    "descriptor" / Int64ul * "user address of the descriptor table",
    "used"       / Int64ul * "user address of the used ring",
    "available"  / Int64ul * "user address of the available ring",
    "log"        / Int64ul * "guest address for logging",
)

MemoryRegion = Struct(
    "guest_address" / Int64ul * "what descriptors call its first octet",
    "size"          / Int64ul * "octets",
    "user_address"  / Int64ul * "what SET_VRING_ADDR calls its first octet",
    "mmap_offset"   / Int64ul * "where it begins in the file that comes along",
)

MemoryTable = Struct("num_regions" / Int32ul * "at most 8, which follow", "padding" / Int32ul)

OneRegion = Struct("memory" / Struct(
    "table"  / MemoryTable,
    "region" / Array(1, MemoryRegion)) * "SET_MEM_TABLE with one region")
# fmt: on

HEADER = layout(Header).struct
NUMBER = layout(Number).struct
VRING_STATE = layout(VringState).struct
VRING_ADDRESS = layout(VringAddress).struct
ONE_REGION = layout(OneRegion).struct
