"""Structures and numbers of Linux' VFIO interface, described once; the codecs are derived from the description.

What a device is made of and how its interrupts are set, as <linux/vfio.h> lays it out (names as there). Two interfaces
speak in these structures: VFIO's ioctls, and vfio-user, which takes them over word for word (``vfio_user``). Layouts and
numbers only: no ioctl is made and nothing is opened in here. All numbers are in host byte order, which is little-endian on
every host this runs on.
"""

from __future__ import annotations

from enum import IntFlag

from construct import Int16ul, Int32ul, Int64ul, Padding, Struct

from regmodel.layout import layout

NUM_REGIONS = 9
"""VFIO_PCI_NUM_REGIONS: six BARs, ROM, configuration space, VGA."""
NUM_IRQS = 5
"""VFIO_PCI_NUM_IRQS: INTx, MSI, MSI-X, ERR, REQ."""


class DeviceFlags(IntFlag):
    """VFIO_DEVICE_FLAGS_*."""

    RESET = 1
    PCI = 2


class RegionFlags(IntFlag):
    """VFIO_REGION_INFO_FLAG_*."""

    READ = 1
    WRITE = 2
    MMAP = 4
    CAPS = 8


CAP_SPARSE_MMAP = 1
"""VFIO_REGION_INFO_CAP_SPARSE_MMAP."""


class UnmapFlags(IntFlag):
    """VFIO_DMA_UNMAP_FLAG_*."""

    GET_DIRTY_BITMAP = 1
    ALL = 2


class IrqInfoFlags(IntFlag):
    """VFIO_IRQ_INFO_*."""

    EVENTFD = 1
    MASKABLE = 2
    AUTOMASKED = 4
    NORESIZE = 8


class IrqSetFlags(IntFlag):
    """VFIO_IRQ_SET_*: one of the first three and one of the others."""

    DATA_NONE = 1
    DATA_BOOL = 2
    DATA_EVENTFD = 4
    MASK = 8
    UNMASK = 16
    TRIGGER = 32


DeviceInfo = Struct(  # struct vfio_device_info
    "argsz"       / Int32ul,
    "flags"       / Int32ul * "DeviceFlags",
    "num_regions" / Int32ul,
    "num_irqs"    / Int32ul,
)  # fmt: skip

RegionInfo = Struct(  # struct vfio_region_info
    "argsz"      / Int32ul * "asked: room for the reply; answered: room that the full reply needs",
    "flags"      / Int32ul * "RegionFlags",
    "index"      / Int32ul,
    "cap_offset" / Int32ul * "of the first capability, from the start of this structure",
    "size"       / Int64ul * "bytes",
    "offset"     / Int64ul * "of the region in its file",
)  # fmt: skip

SparseMmap = Struct(  # struct vfio_region_info_cap_sparse_mmap with its vfio_info_cap_header
    "id"       / Int16ul * "CAP_SPARSE_MMAP",
    "version"  / Int16ul * "1",
    "next"     / Int32ul * "0: the last capability",
    "nr_areas" / Int32ul * "how many SparseArea follow",
    Padding(4),
)  # fmt: skip

SparseArea = Struct("offset" / Int64ul, "size" / Int64ul)  # struct vfio_region_sparse_mmap_area

IrqInfo = Struct(  # struct vfio_irq_info
    "argsz" / Int32ul,
    "flags" / Int32ul * "IrqInfoFlags",
    "index" / Int32ul,
    "count" / Int32ul * "vectors",
)  # fmt: skip

IrqSet = Struct(  # struct vfio_irq_set
    "argsz" / Int32ul * "of this structure and the booleans after it",
    "flags" / Int32ul * "IrqSetFlags",
    "index" / Int32ul,
    "start" / Int32ul * "first vector",
    "count" / Int32ul * "vectors",
)  # fmt: skip

DEVICE_INFO = layout(DeviceInfo).struct
REGION_INFO = layout(RegionInfo).struct
SPARSE_MMAP = layout(SparseMmap).struct
SPARSE_AREA = layout(SparseArea).struct
IRQ_INFO = layout(IrqInfo).struct
IRQ_SET = layout(IrqSet).struct
