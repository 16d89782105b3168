"""What a device is made of, as the client asks it: DEVICE_GET_INFO and DEVICE_GET_REGION_INFO."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from emulators.vfio_user.refused import Refused
from regmodel.function import Region
from regmodel.structures import vfio
from regmodel.structures.vfio import DeviceFlags, RegionFlags


def device_info(body: memoryview) -> bytes:
    """DEVICE_GET_INFO: a PCI device that can be reset, with all of VFIO's regions and interrupt indexes."""
    if len(body) < vfio.DEVICE_INFO.size or vfio.DEVICE_INFO.unpack_from(body)[0] < vfio.DEVICE_INFO.size:
        raise Refused(errno.EINVAL, "short DEVICE_GET_INFO")
    flags = DeviceFlags.RESET | DeviceFlags.PCI
    return vfio.DEVICE_INFO.pack(vfio.DEVICE_INFO.size, flags, vfio.NUM_REGIONS, vfio.NUM_IRQS)


def region_info(body: memoryview, regions: Mapping[int, Region], max_fds: int) -> tuple[bytes, Sequence[int]]:
    """DEVICE_GET_REGION_INFO: the body of the reply, and the descriptor that goes with it.

    A client without room for the capabilities gets the structure alone, with the size that it needs and, already valid,
    the offset of the capabilities: QEMU refuses the device otherwise.
    """
    if len(body) < vfio.REGION_INFO.size:
        raise Refused(errno.EINVAL, "short DEVICE_GET_REGION_INFO")
    argsz, _, index, *_ = vfio.REGION_INFO.unpack_from(body)
    if argsz < vfio.REGION_INFO.size or index >= vfio.NUM_REGIONS:
        raise Refused(errno.EINVAL, f"DEVICE_GET_REGION_INFO of region {index}, argsz {argsz}")
    region = regions.get(index)
    if region is None:
        return vfio.REGION_INFO.pack(vfio.REGION_INFO.size, 0, index, 0, 0, 0), ()
    flags = RegionFlags.READ
    if region.writable:
        flags |= RegionFlags.WRITE
    capabilities, fds = b"", ()  # type: tuple[bytes, Sequence[int]]
    if region.mappable and region.fd is not None and max_fds > 0:
        flags |= RegionFlags.MMAP
        fds = (region.fd,)
        if region.mappable != ((0, region.size),):
            flags |= RegionFlags.CAPS
            capabilities = _sparse(region.mappable)
    room = vfio.REGION_INFO.size + len(capabilities)
    at = vfio.REGION_INFO.size if capabilities else 0
    reply = vfio.REGION_INFO.pack(room, flags, index, at, region.size, 0)
    return (reply + capabilities if room <= argsz else reply), fds


def _sparse(areas: Sequence[tuple[int, int]]) -> bytes:
    head = vfio.SPARSE_MMAP.pack(vfio.CAP_SPARSE_MMAP, 1, 0, len(areas))
    return head + b"".join(vfio.SPARSE_AREA.pack(offset, size) for offset, size in areas)
