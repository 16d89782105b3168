"""VFIO without a kernel: a ``/sys`` and ``/dev`` in a folder, and ioctls over an ordinary file.

Only what the transport asks for: the registers behind it are bytes. What the real one does is seen in a guest
(``tests/guest``); here are its refusals and its odd answers, which a guest does not give on demand.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from drivers.transports.linux_vfio.system import System
from regmodel.function import Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import DeviceFlags, GroupFlags, Ioctl, RegionFlags

ADDRESS = "0000:00:02.0"
GROUP = "7"
BAR_SIZE = 0x4000
CONFIG_SIZE = 0x1000
SPACING = 0x10000
"""From one region of the device's file to the next."""
RW = RegionFlags.READ | RegionFlags.WRITE


class Kernel:
    """``system`` is to be given to the transport; attributes say what this kernel is like, ``calls`` what it was asked."""

    def __init__(self, folder: Path, identity: str = "8086:10ca") -> None:
        self.system = System(folder / "sys", folder / "dev", self.ioctl)
        self.place = folder / "sys/bus/pci/devices" / ADDRESS
        self.calls: list[Ioctl] = []
        self.viable = True
        self.version = 0
        self.kinds = {vfio.TYPE1_IOMMU, vfio.TYPE1V2_IOMMU}
        self.ranges: list[tuple[int, int]] | None = [(0, 0xFEDFFFFF), (0xFEF00000, (1 << 48) - 1)]
        self.page_sizes = 0x40201000
        self.flags = DeviceFlags.RESET | DeviceFlags.PCI
        self.regions: dict[int, tuple[RegionFlags, int, list[tuple[int, int]]]] = {
            0: (RW | RegionFlags.MMAP, BAR_SIZE, []),
            3: (RW | RegionFlags.MMAP | RegionFlags.CAPS, BAR_SIZE, [(0x3000, 0x1000), (0x1000, 0x1000)]),
            4: (RW, 0x20, []),
            7: (RW, CONFIG_SIZE, []),
        }
        self.vectors = {Irq.MSIX: 3, Irq.ERR: 1, Irq.REQ: 1}
        self.armed: dict[int, list[int]] = {}
        self.mapped: dict[int, tuple[int, int]] = {}
        self.fails: dict[Ioctl, int] = {}
        self._plug(folder, identity)
        self.file = os.memfd_create("device", os.MFD_CLOEXEC)
        os.ftruncate(self.file, 9 * SPACING)
        os.pwrite(self.file, b"\x02", 7 * SPACING + 4)  # memory decoding is on, as vfio-pci leaves it

    def _plug(self, folder: Path, identity: str) -> None:
        (folder / "dev/vfio").mkdir(parents=True)
        for name in ("vfio", GROUP):
            (folder / "dev/vfio" / name).touch()
        self.add(ADDRESS, "vfio-pci", identity)

    def add(self, address: str, driver: str, identity: str = "8086:10c9", group: str = GROUP) -> Path:
        """One more function."""
        sys = self.system.sys
        place, members = sys / "bus/pci/devices" / address, sys / "kernel/iommu_groups" / group / "devices"
        place.mkdir(parents=True)
        members.mkdir(parents=True, exist_ok=True)
        for name, value in zip(("vendor", "device"), identity.split(":"), strict=True):
            (place / name).write_text(f"0x{value}\n")
        (place / "iommu_group").symlink_to(members.parent)
        (members / address).symlink_to(place)
        if driver:
            self.bind(place, driver)
        return place

    def file_of(self, name: str) -> Path:
        """A group's file, or the container's."""
        return self.system.dev / "vfio" / name

    def bind(self, place: Path, driver: str) -> None:
        (place / "driver").unlink(missing_ok=True)
        if driver:
            where = self.system.sys / "bus/pci/drivers" / driver
            where.mkdir(parents=True, exist_ok=True)
            (place / "driver").symlink_to(where)

    def close(self) -> None:
        os.close(self.file)

    # -- the kernel

    def ioctl(self, fd: int, request: int, argument: int | bytearray, /) -> int:
        call = Ioctl(request)
        self.calls.append(call)
        if call in self.fails:
            raise OSError(self.fails[call], os.strerror(self.fails[call]))
        if isinstance(argument, int):
            return self._plain(call, argument)
        answer = getattr(self, f"_{call.name.lower()}")
        return int(answer(argument) or 0)

    def _plain(self, call: Ioctl, argument: int) -> int:
        if call is Ioctl.GET_API_VERSION:
            return self.version
        if call is Ioctl.CHECK_EXTENSION:
            return int(argument in self.kinds)
        return 0

    def _group_get_status(self, argument: bytearray) -> None:
        flags = GroupFlags.VIABLE if self.viable else 0
        argument[:] = vfio.GROUP_STATUS.pack(vfio.GROUP_STATUS.size, flags)

    def _group_set_container(self, argument: bytearray) -> None:
        assert len(argument) == 4

    def _group_get_device_fd(self, argument: bytearray) -> int:
        assert bytes(argument) == ADDRESS.encode() + b"\0"
        return os.dup(self.file)

    def _iommu_get_info(self, argument: bytearray) -> None:
        flags, first, tail = vfio.IommuFlags.PGSIZES, 0, b""
        if self.ranges is not None:
            flags, first = flags | vfio.IommuFlags.CAPS, vfio.IOMMU_INFO.size
            other = vfio.CAPABILITY.pack(3, 1, first + 16) + bytes(8)  # one that we do not know stands first
            tail = other + vfio.CAPABILITY.pack(vfio.CAP_IOVA_RANGE, 1, 0) + vfio.IOVA_RANGES.pack(len(self.ranges))
            tail += b"".join(vfio.IOVA_RANGE.pack(*r) for r in self.ranges)
        self._reply(argument, vfio.IOMMU_INFO.pack(vfio.IOMMU_INFO.size + len(tail), flags, self.page_sizes, first) + tail)

    def _iommu_map_dma(self, argument: bytearray) -> None:
        _, flags, address, iova, size = vfio.DMA_MAP.unpack(argument)
        assert flags == vfio.MapFlags.READ | vfio.MapFlags.WRITE and address % 4096 == 0
        self.mapped[iova] = (address, size)

    def _iommu_unmap_dma(self, argument: bytearray) -> None:
        _, _, iova, size = vfio.DMA_UNMAP.unpack(argument)
        assert self.mapped.pop(iova)[1] == size

    def _device_get_info(self, argument: bytearray) -> None:
        self._reply(argument, vfio.DEVICE_INFO.pack(vfio.DEVICE_INFO.size, self.flags, 9, 5))

    def _device_get_region_info(self, argument: bytearray) -> None:
        index = vfio.REGION_INFO.unpack_from(argument)[2]
        flags, size, areas = self.regions.get(index, (RegionFlags(0), 0, []))
        tail = b""
        if areas:
            tail = vfio.SPARSE_MMAP.pack(vfio.CAP_SPARSE_MMAP, 1, 0, len(areas))
            tail += b"".join(vfio.SPARSE_AREA.pack(*area) for area in areas)
        first = vfio.REGION_INFO.size if tail else 0
        head = vfio.REGION_INFO.pack(vfio.REGION_INFO.size + len(tail), flags, index, first, size, index * SPACING)
        self._reply(argument, head + tail)

    def _device_get_irq_info(self, argument: bytearray) -> None:
        index = vfio.IRQ_INFO.unpack_from(argument)[2]
        self._reply(argument, vfio.IRQ_INFO.pack(vfio.IRQ_INFO.size, 1, index, self.vectors.get(Irq(index), 0)))

    def _device_set_irqs(self, argument: bytearray) -> None:
        argsz, flags, index, _, count = vfio.IRQ_SET.unpack_from(argument)
        assert argsz == len(argument)
        if flags & vfio.IrqSetFlags.DATA_EVENTFD:
            data = memoryview(argument)[vfio.IRQ_SET.size :].cast("I")
            assert len(data) == count
            self.armed[index] = [os.dup(fd) for fd in data]
        elif not count:
            for fd in self.armed.pop(index, []):
                os.close(fd)

    def _reply(self, argument: bytearray, reply: bytes) -> None:
        """As the kernel: as much as fits, the capabilities whole or not at all, and in ``argsz`` what would have."""
        room = int.from_bytes(argument[:4], "little")
        assert room == len(argument) >= min(len(reply), 16)
        if room < len(reply):
            argument[:4] = reply[:4]
        else:
            argument[: len(reply)] = reply

    def fire(self, irq: Irq, vector: int) -> None:
        os.eventfd_write(self.armed[irq][vector], 1)


def busy() -> dict[Ioctl, int]:
    """What a group answers that somebody else has."""
    return {Ioctl.GROUP_SET_CONTAINER: errno.EBUSY}
