"""The VFIO structures and numbers against the kernel's own header, by way of a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from enum import EnumType
from pathlib import Path

from construct import Construct, Struct

from regmodel.function import CONFIG_REGION, ROM_REGION, Irq
from regmodel.layout import layout
from regmodel.structures import vfio
from tests.support.inputs import missing

HEADER = Path("/usr/include/linux/vfio.h")

STRUCTURES: dict[str, Construct] = {
    "vfio_group_status": vfio.GroupStatus,
    "vfio_iommu_type1_info": vfio.IommuInfo,
    "vfio_info_cap_header": vfio.Capability,
    "vfio_iova_range": vfio.IovaRange,
    "vfio_iommu_type1_dma_map": vfio.DmaMap,
    "vfio_iommu_type1_dma_unmap": vfio.DmaUnmap,
    "vfio_device_info": vfio.DeviceInfo,
    "vfio_region_info": vfio.RegionInfo,
    "vfio_region_sparse_mmap_area": vfio.SparseArea,
    "vfio_irq_info": vfio.IrqInfo,
    "vfio_irq_set": vfio.IrqSet,
}

NUMBERS: dict[str, int] = {
    **{f"VFIO_{request.name}": request for request in vfio.Ioctl},
    **{f"VFIO_GROUP_FLAGS_{flag.name}": flag for flag in vfio.GroupFlags},
    **{f"VFIO_IOMMU_INFO_{flag.name}": flag for flag in vfio.IommuFlags},
    **{f"VFIO_DMA_MAP_FLAG_{flag.name}": flag for flag in vfio.MapFlags},
    **{f"VFIO_DMA_UNMAP_FLAG_{flag.name}": flag for flag in vfio.UnmapFlags},
    **{f"VFIO_DEVICE_FLAGS_{flag.name}": flag for flag in vfio.DeviceFlags},
    **{f"VFIO_REGION_INFO_FLAG_{flag.name}": flag for flag in vfio.RegionFlags},
    **{f"VFIO_IRQ_INFO_{flag.name}": flag for flag in vfio.IrqInfoFlags},
    **{f"VFIO_IRQ_SET_{'ACTION_' if flag >= 8 else ''}{flag.name}": flag for flag in vfio.IrqSetFlags},
    **{f"VFIO_PCI_{irq.name}_IRQ_INDEX": irq for irq in Irq},
    "VFIO_API_VERSION": vfio.API_VERSION,
    "VFIO_TYPE1_IOMMU": vfio.TYPE1_IOMMU,
    "VFIO_TYPE1v2_IOMMU": vfio.TYPE1V2_IOMMU,
    "VFIO_NOIOMMU_IOMMU": vfio.NOIOMMU_IOMMU,
    "VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE": vfio.CAP_IOVA_RANGE,
    "VFIO_REGION_INFO_CAP_SPARSE_MMAP": vfio.CAP_SPARSE_MMAP,
    "VFIO_PCI_NUM_REGIONS": vfio.NUM_REGIONS,
    "VFIO_PCI_NUM_IRQS": vfio.NUM_IRQS,
    "VFIO_PCI_CONFIG_REGION_INDEX": CONFIG_REGION,
    "VFIO_PCI_ROM_REGION_INDEX": ROM_REGION,
}


def expected() -> dict[str, int]:
    """C expressions and what they must be. Headers that structures of capabilities begin with are part of their offsets."""
    found = dict(NUMBERS)
    header = vfio.CAPABILITY.size
    for name, schema in STRUCTURES.items():
        for leaf in layout(schema).leaves:
            found[f"offsetof(struct {name}, {leaf.path})"] = leaf.offset
            found[f"sizeof(((struct {name} *)0)->{leaf.path})"] = leaf.size
    found["offsetof(struct vfio_iommu_type1_info_cap_iova_range, nr_iovas)"] = header
    found["offsetof(struct vfio_iommu_type1_info_cap_iova_range, iova_ranges)"] = header + vfio.IOVA_RANGES.size
    found["offsetof(struct vfio_region_info_cap_sparse_mmap, nr_areas)"] = layout(vfio.SparseMmap).offsets["nr_areas"]
    found["offsetof(struct vfio_region_info_cap_sparse_mmap, areas)"] = vfio.SPARSE_MMAP.size
    found["offsetof(struct vfio_irq_set, data)"] = vfio.IRQ_SET.size
    for name, size in (("group_status", vfio.GROUP_STATUS.size), ("iommu_type1_dma_map", vfio.DMA_MAP.size),
                       ("iommu_type1_dma_unmap", vfio.DMA_UNMAP.size), ("region_info", vfio.REGION_INFO.size),
                       ("irq_info", vfio.IRQ_INFO.size), ("iova_range", vfio.IOVA_RANGE.size),
                       ("region_sparse_mmap_area", vfio.SPARSE_AREA.size)):  # fmt: skip
        found[f"sizeof(struct vfio_{name})"] = size
    return found


def evaluate(folder: Path, expressions: list[str]) -> list[int]:
    """What a C compiler makes of them."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        missing(f"a C compiler or {HEADER}", "install the Debian packages gcc, libc6-dev and linux-libc-dev")
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({e}));\n' for e in expressions)
    source = folder / "numbers.c"
    source.write_text(f"#include <stddef.h>\n#include <stdio.h>\n#include <linux/vfio.h>\nint main(void) {{\n{lines}}}\n")
    program = folder / "numbers"
    subprocess.run([compiler, "-o", program, source], check=True, timeout=60)
    said = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60)
    return [int(line) for line in said.stdout.split()]


def test_the_header_of_the_kernel_agrees(tmp_path: Path) -> None:
    wanted = expected()
    found = dict(zip(wanted, evaluate(tmp_path, list(wanted)), strict=True))
    assert found == {name: int(value) for name, value in wanted.items()}


def test_every_structure_and_enumeration_of_the_room_is_compared() -> None:
    structures = {name for name, thing in vars(vfio).items() if isinstance(thing, Struct)}
    by_hand = {"IovaRanges", "SparseMmap"}  # what follows the header of a capability
    assert {name for name in structures if not any(vars(vfio)[name] is schema for schema in STRUCTURES.values())} == by_hand
    members = {member for kind in vars(vfio).values() if isinstance(kind, EnumType) for member in kind}
    assert members and all(any(member is number for number in NUMBERS.values()) for member in members)
