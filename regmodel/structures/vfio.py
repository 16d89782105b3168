"""Structures and numbers of Linux' VFIO interface, described once; the codecs are derived from the description.

What a device is made of and how its interrupts are set, as <linux/vfio.h> lays it out (names as there). Two interfaces
speak in these structures: VFIO's ioctls, and vfio-user, which takes them over word for word (``vfio_user``). Layouts and
numbers only: no ioctl is made and nothing is opened in here. All numbers are in host byte order, which is little-endian on
every host this runs on.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from construct import Int16ul, Int32ul, Int64ul, Padding, Struct

from regmodel.layout import layout

NUM_REGIONS = 9
"""VFIO_PCI_NUM_REGIONS: six BARs, ROM, configuration space, VGA."""
NUM_IRQS = 5
"""VFIO_PCI_NUM_IRQS: INTx, MSI, MSI-X, ERR, REQ."""


API_VERSION = 0
"""VFIO_API_VERSION."""
TYPE1_IOMMU, TYPE1V2_IOMMU, NOIOMMU_IOMMU = 1, 3, 8
"""VFIO_TYPE1_IOMMU and so on: the kinds of IOMMU that a container may be given."""


def _io(number: int) -> int:
    """``_IO(VFIO_TYPE, VFIO_BASE + number)``: VFIO puts neither size nor direction into a request."""
    return ord(";") << 8 | 100 + number


class Ioctl(IntEnum):
    """Requests, by whose file they are for: VFIO_* of the container and of the group, VFIO_DEVICE_*, VFIO_IOMMU_*."""

    GET_API_VERSION = _io(0)
    CHECK_EXTENSION = _io(1)
    SET_IOMMU = _io(2)
    GROUP_GET_STATUS = _io(3)
    GROUP_SET_CONTAINER = _io(4)
    GROUP_UNSET_CONTAINER = _io(5)
    GROUP_GET_DEVICE_FD = _io(6)
    DEVICE_GET_INFO = _io(7)
    DEVICE_GET_REGION_INFO = _io(8)
    DEVICE_GET_IRQ_INFO = _io(9)
    DEVICE_SET_IRQS = _io(10)
    DEVICE_RESET = _io(11)
    IOMMU_GET_INFO = _io(12)
    IOMMU_MAP_DMA = _io(13)
    IOMMU_UNMAP_DMA = _io(14)


class GroupFlags(IntFlag):
    """VFIO_GROUP_FLAGS_*."""

    VIABLE = 1
    CONTAINER_SET = 2


class IommuFlags(IntFlag):
    """VFIO_IOMMU_INFO_*: which of the answer holds."""

    PGSIZES = 1
    CAPS = 2


class MapFlags(IntFlag):
    """VFIO_DMA_MAP_FLAG_*: what the device may do there."""

    READ = 1
    WRITE = 2


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


CAP_IOVA_RANGE = 1
"""VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE."""
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


Capability = Struct(  # struct vfio_info_cap_header
    "id"      / Int16ul * "which",
    "version" / Int16ul,
    "next"    / Int32ul * "offset of the next one, from the start of the information; 0: the last",
)  # fmt: skip

GroupStatus = Struct("argsz" / Int32ul, "flags" / Int32ul * "GroupFlags")  # struct vfio_group_status

IommuInfo = Struct(  # struct vfio_iommu_type1_info
    "argsz"        / Int32ul * "asked: room for the reply; answered: room that the full reply needs",
    "flags"        / Int32ul * "IommuFlags",
    "iova_pgsizes" / Int64ul * "bitmap of page sizes, in bytes",
    "cap_offset"   / Int32ul * "of the first capability, from the start of this structure",
    Padding(4),
)  # fmt: skip

IovaRanges = Struct(  # struct vfio_iommu_type1_info_cap_iova_range without its header
    "nr_iovas" / Int32ul * "how many IovaRange follow",
    Padding(4),
)  # fmt: skip

IovaRange = Struct("start" / Int64ul, "end" / Int64ul * "inclusive")  # struct vfio_iova_range

DmaMap = Struct(  # struct vfio_iommu_type1_dma_map
    "argsz" / Int32ul,
    "flags" / Int32ul * "MapFlags",
    "vaddr" / Int64ul * "of the process",
    "iova"  / Int64ul,
    "size"  / Int64ul * "bytes",
)  # fmt: skip

DmaUnmap = Struct(  # struct vfio_iommu_type1_dma_unmap
    "argsz" / Int32ul,
    "flags" / Int32ul * "UnmapFlags",
    "iova"  / Int64ul,
    "size"  / Int64ul * "asked: bytes; answered: bytes that were unmapped",
)  # fmt: skip

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

GROUP_STATUS = layout(GroupStatus).struct
IOMMU_INFO = layout(IommuInfo).struct
IOVA_RANGES = layout(IovaRanges).struct
IOVA_RANGE = layout(IovaRange).struct
DMA_MAP = layout(DmaMap).struct
DMA_UNMAP = layout(DmaUnmap).struct
DEVICE_INFO = layout(DeviceInfo).struct
REGION_INFO = layout(RegionInfo).struct
CAPABILITY = layout(Capability).struct
SPARSE_MMAP = layout(SparseMmap).struct
SPARSE_AREA = layout(SparseArea).struct
IRQ_INFO = layout(IrqInfo).struct
IRQ_SET = layout(IrqSet).struct
