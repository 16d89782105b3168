"""A type-1 container with one group in it: the IOMMU domain of a function, and what may be mapped there.

In here: opening in the order that VFIO asks for, valid addresses, map and unmap. The device itself is ``transport``'s.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct

from drivers.errors import DriverError, NotSupported, NotViable, PermissionDenied
from drivers.transports.iova import PAGE, IovaAllocator
from drivers.transports.linux_vfio.binding import Binding, strangers
from drivers.transports.linux_vfio.system import System
from regmodel.errors import UsageError
from regmodel.structures import vfio
from regmodel.structures.vfio import Ioctl

READ_WRITE = vfio.MapFlags.READ | vfio.MapFlags.WRITE
MOST = 1 << 20
"""Bytes of a reply with capabilities; what asks for more is not understood."""


class Container:
    """Opened for the group of ``binding``. Raises ``PermissionDenied``, ``NotViable``, ``NotSupported``.

    ``physical``: memory is that of the machine at the very address that the function is told, for functions which pass the
    IOMMU by.
    """

    def __init__(self, binding: Binding, system: System, *, physical: bool = False) -> None:
        self._binding, self._system = binding, system
        self._memory = -1
        self._files = contextlib.ExitStack()
        try:
            self.group = self._open(binding.device_file)
            self._require_viable()
            self.fd = self._open(system.dev / "vfio/vfio")
            self._join()
            usable, page = self._limits()
            self.iova = IovaAllocator(usable, page=page)
            if physical:
                self._memory = self._open(system.dev / "mem")
        except BaseException:
            self.close()
            raise

    def device(self) -> int:
        """A descriptor of the function itself."""
        name = bytearray(self._binding.address.encode() + b"\0")
        try:
            return self._system.ioctl(self.group, Ioctl.GROUP_GET_DEVICE_FD, name)
        except OSError as error:
            taken = error.errno in (errno.EBUSY, errno.ENODEV)
            why = "it is in use or was just unbound" if taken else os.strerror(error.errno or 0)
            raise NotViable(f"VFIO does not hand out {self._binding.address}: {why}; see `dmesg`") from error

    def alloc(self, size: int) -> Pages:
        """Zeroed pages that the function reaches. Raises ``PermissionDenied``, ``NotSupported``, ``UsageError``."""
        iova = self.iova.alloc(size)
        try:
            pages = Pages(self, iova, self.iova.round(size), self._memory)
        except PermissionError:
            self.iova.free(iova)
            reserve = f"boot with memmap=64M${iova & -(64 << 20):#x}, within memory that the machine has"
            raise PermissionDenied(f"the memory at {iova:#x} is the kernel's: {reserve}") from None
        request = bytearray(vfio.DMA_MAP.pack(vfio.DMA_MAP.size, READ_WRITE, pages.address, iova, pages.size))
        try:
            self._system.ioctl(self.fd, Ioctl.IOMMU_MAP_DMA, request)
        except OSError as error:
            self.iova.free(iova)
            pages.release()
            raise _map_failed(error, pages.size) from error
        return pages

    def unmap(self, pages: Pages) -> None:
        """Take ``pages`` back from the function."""
        self.iova.free(pages.iova)
        request = bytearray(vfio.DMA_UNMAP.pack(vfio.DMA_UNMAP.size, 0, pages.iova, pages.size))
        with contextlib.suppress(OSError):  # the IOMMU forgets it with the container at the latest
            self._system.ioctl(self.fd, Ioctl.IOMMU_UNMAP_DMA, request)

    def close(self) -> None:
        """Let go of container and group, in this order of opening backwards."""
        self._files.close()

    # -- inside

    def _open(self, path: Path) -> int:
        try:
            fd = self._system.open(path)
        except PermissionError:
            who = "root" if path.name == "vfio" else f"`sudo chown $USER {path}`"
            raise PermissionDenied(f"{path} may not be opened by you: {who} may; or run as root") from None
        except FileNotFoundError:
            raise NotViable(f"{path} does not exist: modprobe vfio-pci vfio_iommu_type1") from None
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise NotViable(f"{path} is open elsewhere: `lsof {path}` says where (a virtual machine, DPDK?)") from None
            raise DriverError(f"{path} cannot be opened: {os.strerror(error.errno or 0)}") from error
        self._files.callback(os.close, fd)
        return fd

    def _require_viable(self) -> None:
        status = bytearray(vfio.GROUP_STATUS.pack(vfio.GROUP_STATUS.size, 0))
        self._system.ioctl(self.group, Ioctl.GROUP_GET_STATUS, status)
        if not vfio.GROUP_STATUS.unpack(status)[1] & vfio.GroupFlags.VIABLE:
            others = ", ".join(strangers(self._binding, self._system)) or "another function"
            raise NotViable(
                f"IOMMU group {self._binding.group} of {self._binding.address} is not viable: bind {others} of the same "
                "group to vfio-pci or to no driver"
            )

    def _join(self) -> None:
        call = self._system.ioctl
        version = call(self.fd, Ioctl.GET_API_VERSION)
        if version != vfio.API_VERSION:
            raise NotSupported(f"this kernel speaks version {version} of VFIO, this transport {vfio.API_VERSION}")
        kinds = (vfio.TYPE1V2_IOMMU, vfio.TYPE1_IOMMU)
        kind = next((k for k in kinds if call(self.fd, Ioctl.CHECK_EXTENSION, k) > 0), None)
        if kind is None:
            raise NotSupported("this kernel offers no type-1 IOMMU to VFIO: modprobe vfio_iommu_type1")
        container = bytearray(self.fd.to_bytes(4, "little"))
        try:
            call(self.group, Ioctl.GROUP_SET_CONTAINER, container)
            call(self.fd, Ioctl.SET_IOMMU, kind)
        except OSError as error:
            if error.errno == errno.EPERM:
                raise PermissionDenied(
                    "the IOMMU of this machine does not isolate interrupts; as root, if you trust the device: "
                    "echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
                ) from error
            raise NotViable(
                f"IOMMU group {self._binding.group} cannot be used: {os.strerror(error.errno or 0)}; `lsof "
                f"{self._binding.device_file}` says who has it, `dmesg` why"
            ) from error

    def _limits(self) -> tuple[list[tuple[int, int]] | None, int]:
        """Usable ranges of addresses (None: not told) and the page size, as type 1 reports them."""
        reply = query(vfio.IOMMU_INFO, lambda b: self._system.ioctl(self.fd, Ioctl.IOMMU_GET_INFO, b))
        _, flags, sizes, first = vfio.IOMMU_INFO.unpack_from(reply)
        smallest = sizes & -sizes if flags & vfio.IommuFlags.PGSIZES and sizes else PAGE
        ranges = None
        if flags & vfio.IommuFlags.CAPS:
            for number, at in capabilities(reply, first):
                if number == vfio.CAP_IOVA_RANGE:
                    (count,) = vfio.IOVA_RANGES.unpack_from(reply, at)
                    rows = memoryview(reply)[at + vfio.IOVA_RANGES.size :][: count * vfio.IOVA_RANGE.size]
                    ranges = [(start, last + 1) for start, last in vfio.IOVA_RANGE.iter_unpack(rows)]
        return ranges, max(smallest, mmap.PAGESIZE)


class Pages:
    """Memory of this process, pinned while the function may reach it. A ``DmaBuffer``; ``address`` is the process' own.

    It is shared and not private memory: a fork would otherwise leave the function with the child's copy.
    """

    def __init__(self, owner: Container, iova: int, size: int, physical: int = -1) -> None:
        """``physical`` is a file of the machine's memory, of which these pages are to be those at ``iova``; -1 for none."""
        self.iova, self.size = iova, size
        self._owner: Container | None = owner
        if physical < 0:
            self._memory = mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0))
        else:
            self._memory = mmap.mmap(physical, size, mmap.MAP_SHARED, offset=iova)
            self._memory[:] = bytes(size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.view = memoryview(self._memory)
        self.on_free: Callable[[Pages], None] = lambda pages: None

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        """Nothing to do where DMA is coherent and stores are seen in order, as on x86."""

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        """Nothing to do, likewise."""

    def free(self) -> None:
        if self._owner is None:
            raise UsageError(f"the DMA memory at {self.iova:#x} is not allocated")
        owner, self._owner = self._owner, None
        owner.unmap(self)
        self.on_free(self)
        self.release()

    def release(self) -> None:
        """Give the memory back, unless somebody still has a view of it: then with the last view."""
        with contextlib.suppress(BufferError):
            self.view.release()
            self._memory.close()


def query(head: Struct, call: Callable[[bytearray], int], *asked: int) -> bytearray:
    """The whole reply to a request that says in ``argsz`` how much room it has: asked again when that was too little.

    ``asked`` are the members after ``argsz``. Raises ``OSError``, ``NotSupported``.
    """
    room = head.size
    for _ in range(3):
        buffer = bytearray(room)
        buffer[:4] = room.to_bytes(4, "little")
        for number, value in enumerate(asked, 1):
            buffer[4 * number : 4 * number + 4] = value.to_bytes(4, "little")
        call(buffer)
        needed = int.from_bytes(buffer[:4], "little")
        if needed <= room:
            return buffer
        if needed > MOST:
            break
        room = needed
    raise NotSupported("VFIO describes itself in more bytes than this transport understands")


def capabilities(reply: bytearray, first: int) -> Iterator[tuple[int, int]]:
    """(number, offset behind the header) of each capability in a chain; the first at ``first``, none when that is 0."""
    at, last = first, 0
    while last < at <= len(reply) - vfio.CAPABILITY.size:  # the kernel appends, so a chain goes upwards
        number, _, following = vfio.CAPABILITY.unpack_from(reply, at)
        yield number, at + vfio.CAPABILITY.size
        at, last = following, at


def _map_failed(error: OSError, size: int) -> DriverError:
    if error.errno in (errno.ENOMEM, errno.EPERM):
        soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        limit = "no limit" if soft == resource.RLIM_INFINITY else f"a limit of {soft} bytes"
        return PermissionDenied(
            f"{size} bytes of DMA memory cannot be locked, with {limit} (RLIMIT_MEMLOCK): raise it with `ulimit -l` or in "
            "/etc/security/limits.conf"
        )
    if error.errno == errno.ENOSPC:
        return NotSupported("the IOMMU takes no more maps: allocate fewer and larger buffers, or raise dma_entry_limit of "
                            "vfio_iommu_type1")  # fmt: skip
    return DriverError(f"{size} bytes of DMA memory cannot be mapped: {os.strerror(error.errno or 0)}; see `dmesg`")
