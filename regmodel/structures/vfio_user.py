"""The messages of vfio-user, described once in construct; the codecs of the data path are derived from the description.

Only wire formats live here: layouts, numbers, limits of the protocol, for whoever stands at either end of the socket. What
a message *does* is the server's and the client's own. The structures that the protocol takes over from the kernel (device,
region and interrupt information) are in ``vfio``. No socket is opened in here.

This room, and not one for messages: a mailbox is how two functions of a device talk, and is part of the device; this is how
a device is carried, and belongs to none.

Source of everything: "vfio-user Protocol Specification", QEMU docs/interop/vfio-user.rst, whose sections carry the names
of the commands below. All numbers are in host byte order, which is little-endian on every host this runs on.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from construct import Int8ul, Int16ul, Int32ul, Int64ul, Struct

from regmodel.layout import layout


class Command(IntEnum):
    """Section "Commands"."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    DIRTY_PAGES = 14
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


COMMANDS = max(Command) + 1

# Flags of the header (section "Header")
TYPE = 0xF
COMMAND, REPLY = 0, 1
NO_REPLY = 0x10
ERROR = 0x20

# Limits
MAX_MSG_FDS = 16
"""QEMU takes no more than this for ``max_msg_fds`` (hw/vfio-user/proxy.c, VFIO_USER_MAX_MAX_FDS)."""
MAX_DATA_XFER_SIZE = 1 << 20
"""Bytes in one read or write message; also what the protocol assumes of a peer that does not say (section "Version")."""
MAX_DMA_MAPS = 65535
PAGE_SIZE = 4096


class DmaFlags(IntFlag):
    """Section "VFIO_USER_DMA_MAP"."""

    READ = 1
    WRITE = 2


Header = Struct(
    "id"      / Int16ul * "echoed in the reply",
    "command" / Int16ul * "a Command",
    "size"    / Int32ul * "bytes of the whole message, this header included",
    "flags"   / Int32ul * "bits 3:0 type, 4 no reply wanted, 5 error reply",
    "errno"   / Int32ul * "of an error reply",
)  # fmt: skip

Version = Struct(
    "major" / Int16ul * "must be the same on both sides",
    "minor" / Int16ul * "the reply may be lower. JSON and a NUL may follow",
)

MapRequest = Struct(
    "argsz"   / Int32ul * "size of this structure",
    "flags"   / Int32ul * "DmaFlags",
    "offset"  / Int64ul * "into the file that comes along",
    "address" / Int64ul * "first bus address",
    "size"    / Int64ul * "bytes",
)  # fmt: skip

UnmapRequest = Struct(
    "argsz"   / Int32ul * "room for the reply, which repeats this structure",
    "flags"   / Int32ul * "UnmapFlags",
    "address" / Int64ul * "as mapped",
    "size"    / Int64ul * "as mapped",
)  # fmt: skip

RegionAccess = Struct(
    "offset" / Int64ul * "into the region",
    "region" / Int32ul * "index",
    "count"  / Int32ul * "bytes of data; they follow in a write and in the reply to a read",
)  # fmt: skip

WriteMulti = Struct("wr_cnt" / Int64ul * "how many SingleWrite follow")

SingleWrite = RegionAccess + Struct("data" / Int64ul * "the low count bytes")

DmaAccess = Struct(
    "address" / Int64ul,
    "count"   / Int64ul * "bytes of data; they follow in a write and in the reply to a read",
)  # fmt: skip

DmaAccess10 = Struct(  # QEMU 10.1 and 10.2: VFIOUserDMARW in hw/vfio-user/protocol.h
    "address" / Int64ul,
    "count"   / Int32ul * "bytes of data; they follow at once, and the message is 4 bytes longer than they need",
)  # fmt: skip

HEADER = layout(Header).struct
VERSION = layout(Version).struct
DMA_MAP = layout(MapRequest).struct
DMA_UNMAP = layout(UnmapRequest).struct
REGION_ACCESS = layout(RegionAccess).struct
WRITE_MULTI = layout(WriteMulti).struct
SINGLE_WRITE = layout(SingleWrite).struct
DMA_ACCESS = layout(DmaAccess).struct
DMA_ACCESS_10 = layout(DmaAccess10).struct

REGION_DATA = {
    width: layout(Header + RegionAccess + Struct("data" / word)).struct
    for width, word in ((1, Int8ul), (2, Int16ul), (4, Int32ul), (8, Int64ul))
}
"""A whole region access of 1, 2, 4 or 8 bytes in one unpack: a REGION_WRITE, or the reply to a REGION_READ."""
