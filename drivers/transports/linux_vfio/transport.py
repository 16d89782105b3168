"""``LinuxVfio``: a PCI function behind Linux VFIO, as a transport. Regions, configuration space, reset; the end of it all.

Registers of a BAR are mapped where VFIO offers it, and reached by ``pread`` and ``pwrite`` where it does not (I/O ports,
pages that VFIO keeps). A mapped register is a load or a store of this process, nothing more.

A page of a BAR whose memory decoding is off is not there: touching it ends the process (SIGBUS). So the decoding of mapped
BARs cannot be switched off here; whoever wants to see what a function answers then, opens it with ``mapped=False``.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import time
from collections.abc import Sequence
from typing import Self

from drivers.errors import DeviceGone, DriverError, NotSupported
from drivers.transports import DmaBuffer, MappedBar, Transport, Virtualised
from drivers.transports.access import check_config
from drivers.transports.capabilities import COMMAND, MEMORY_SPACE, bus_master_off
from drivers.transports.linux_vfio.binding import Binding
from drivers.transports.linux_vfio.container import Container, Pages, capabilities, query
from drivers.transports.linux_vfio.interrupts import Vectors
from drivers.transports.linux_vfio.system import System
from drivers.transports.mapped import Area, AreaBar
from regmodel.errors import UsageError
from regmodel.function import CONFIG_REGION, Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import Ioctl, RegionFlags

_BARS = 6


class Region:
    """One region of a device file: ``size`` and ``offset`` in bytes, the (offset, size) of what may be mapped."""

    def __init__(self, reply: bytearray) -> None:
        _, self.flags, self.index, first, self.size, self.offset = vfio.REGION_INFO.unpack_from(reply)
        self.mappable: list[tuple[int, int]] = []
        if self.flags & RegionFlags.MMAP:
            self.mappable = [(0, self.size)]
            if self.flags & RegionFlags.CAPS:
                for number, at in capabilities(reply, first):
                    if number == vfio.CAP_SPARSE_MMAP:
                        self.mappable = sorted(_areas(reply, at - vfio.CAPABILITY.size))


def _areas(reply: bytearray, at: int) -> list[tuple[int, int]]:
    _, _, _, count = vfio.SPARSE_MMAP.unpack_from(reply, at)
    rows = memoryview(reply)[at + vfio.SPARSE_MMAP.size :][: count * vfio.SPARSE_AREA.size]
    return [(offset, size) for offset, size in vfio.SPARSE_AREA.iter_unpack(rows) if size]


class RegionFile:
    """Accesses to a region by the device file: what is not mapped. VFIO refuses what the function does not decode."""

    def __init__(self, fd: int, offset: int, name: str) -> None:
        self._fd, self._offset, self._name = fd, offset, name

    def load(self, offset: int, size: int) -> int:
        """Ones where nothing decodes it, as on a bus."""
        try:
            data = os.pread(self._fd, size, self._offset + offset)
        except OSError as error:
            if error.errno == errno.EIO:
                return (1 << 8 * size) - 1
            raise _gone(self._name, error) from error
        if len(data) != size:
            raise DeviceGone(f"{self._name} answers a read at {offset:#x} with {len(data)} of {size} bytes: see `dmesg`")
        return int.from_bytes(data, "little")

    def store(self, offset: int, size: int, value: int) -> None:
        """Dropped where nothing decodes it."""
        try:
            os.pwrite(self._fd, value.to_bytes(size, "little"), self._offset + offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise _gone(self._name, error) from error


def _gone(name: str, error: OSError) -> DeviceGone:
    return DeviceGone(f"{name} does not answer ({os.strerror(error.errno or 0)}): unplugged or unbound? see `dmesg`")


class LinuxVfio(Transport):
    """The function that ``binding`` found. ``mapped=False``: no BAR is mapped, each access is a system call. ``physical``: see
    ``Container``.

    Raises what ``Container`` raises.
    """

    virtualised = frozenset(Virtualised)
    coherent = True

    def __init__(self, binding: Binding, system: System, *, mapped: bool = True, physical: bool = False) -> None:
        self.name = f"vfio:{binding.address}"
        self._system, self._mapped = system, mapped
        self._bars: dict[int, AreaBar] = {}
        self._maps: list[mmap.mmap] = []
        self._buffers: dict[int, Pages] = {}
        self._vectors: Vectors | None = None
        self._open = True
        self._container = Container(binding, system, physical=physical)
        try:
            self._fd = self._container.device()
            self._describe()
        except BaseException:
            self._container.close()
            raise

    def _describe(self) -> None:
        try:
            reply = query(vfio.DEVICE_INFO, self._asking(Ioctl.DEVICE_GET_INFO))
            _, self._flags, regions, irqs = vfio.DEVICE_INFO.unpack_from(reply)
            if not self._flags & vfio.DeviceFlags.PCI or regions <= CONFIG_REGION:
                raise NotSupported(f"{self.name} is no PCI function to VFIO")
            self._regions = [self._region(index) for index in range(CONFIG_REGION + 1)]
            self._counts = {irq: self._count(irq) for irq in Irq if irq < irqs}
        except BaseException:
            os.close(self._fd)
            raise
        config = self._regions[CONFIG_REGION]
        self._config = RegionFile(self._fd, config.offset, self.name)

    def _asking(self, request: Ioctl) -> _Ask:
        return _Ask(self._system, self._fd, request)

    def _region(self, index: int) -> Region:
        return Region(query(vfio.REGION_INFO, self._asking(Ioctl.DEVICE_GET_REGION_INFO), 0, index))

    def _count(self, irq: Irq) -> int:
        try:
            reply = query(vfio.IRQ_INFO, self._asking(Ioctl.DEVICE_GET_IRQ_INFO), 0, irq)
        except OSError:  # ERR of a function that is not PCI Express
            return 0
        return int(vfio.IRQ_INFO.unpack_from(reply)[3])

    # -- configuration space and registers

    def config_read(self, offset: int, size: int) -> int:
        self._check_config(offset, size)
        return self._config.load(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._check_config(offset, size, value)
        if self._maps and offset == COMMAND and not value & MEMORY_SPACE:
            raise UsageError(
                f"{self.name}: memory decoding cannot be switched off while BARs are mapped, an access would end this process; "
                "open it with mapped=False"
            )
        self._config.store(offset, size, value)

    def _check_config(self, offset: int, size: int, value: int = 0) -> None:
        self._check_open()
        check_config(self._regions[CONFIG_REGION].size, offset, size, value)

    def bar(self, index: int) -> MappedBar:
        self._check_open()
        if index not in self._bars:
            region = self._regions[index] if 0 <= index < _BARS else None
            if region is None or not region.size:
                raise UsageError(f"{self.name} has no BAR {index}")
            rest = RegionFile(self._fd, region.offset, self.name)
            self._bars[index] = AreaBar(index, region.size, self._map(region), rest)
        return self._bars[index]

    def _map(self, region: Region) -> list[Area]:
        if not self._mapped or not region.mappable:
            return []
        if not self.config_read(COMMAND, 2) & MEMORY_SPACE:
            raise UsageError(f"{self.name}: switch on memory decoding (command register) before BAR {region.index} is mapped")
        areas = []
        for offset, size in region.mappable:
            try:
                memory = mmap.mmap(self._fd, size, offset=region.offset + offset)
            except OSError as error:
                why = os.strerror(error.errno or 0)
                raise DriverError(f"{self.name}: BAR {region.index} cannot be mapped: {why}; see `dmesg`") from error
            self._maps.append(memory)
            areas.append(Area(offset, memoryview(memory)))
        return areas

    # -- memory

    def alloc(self, size: int) -> DmaBuffer:
        self._check_open()
        pages = self._container.alloc(size)
        self._buffers[pages.iova] = pages
        pages.on_free = self._freed
        return pages

    def _freed(self, pages: Pages) -> None:
        del self._buffers[pages.iova]

    # -- interrupts

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        self._check_open()
        return self._counts.get(irq, 0)

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        if not 1 <= count <= self.irq_vectors(irq):
            raise UsageError(f"{self.name} has {self.irq_vectors(irq)} {irq.name} vectors: {count} cannot be enabled")
        self.disable_irqs()
        try:
            self._vectors = Vectors(irq, count, self._set_irqs)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise DriverError(f"{self.name}: {count} {irq.name} vectors cannot be enabled: {why}; see `dmesg`") from error

    def _set_irqs(self, request: bytearray) -> None:
        self._system.ioctl(self._fd, Ioctl.DEVICE_SET_IRQS, request)

    def disable_irqs(self) -> None:
        self._check_open()
        vectors, self._vectors = self._vectors, None
        if vectors is not None:
            try:
                vectors.close()
            except OSError as error:
                raise _gone(self.name, error) from error

    def wait_irq(self, timeout: float) -> Sequence[int]:
        self._check_open()
        if self._vectors is None:
            time.sleep(max(timeout, 0))
            return []
        try:
            return self._vectors.wait(timeout)
        except OSError as error:
            raise _gone(self.name, error) from error

    # -- time and the end

    def reset(self) -> None:
        self._check_open()
        if not self._flags & vfio.DeviceFlags.RESET:
            raise NotSupported(f"{self.name} cannot be reset alone: neither the function nor its slot has a reset of its own")
        self.disable_irqs()
        bus_master_off(self)  # before: Linux restores what it finds (pci_try_reset_function)
        try:
            self._system.ioctl(self._fd, Ioctl.DEVICE_RESET)
        except OSError as error:
            raise DriverError(f"{self.name}: the reset fails: {os.strerror(error.errno or 0)}; see `dmesg`") from error

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0))

    def close(self) -> None:
        """Also leaves the function reset: VFIO does that when its last descriptor goes."""
        if not self._open:
            return
        with contextlib.ExitStack() as steps:  # last first; one that fails does not keep the others
            steps.callback(self._container.close)
            steps.callback(os.close, self._fd)
            steps.callback(self._forget)
            for pages in list(self._buffers.values()):
                steps.callback(pages.free)
            steps.callback(bus_master_off, self)
            steps.callback(self.disable_irqs)

    def _forget(self) -> None:
        """The mappings keep the device open, and with it the group: they go first."""
        self._open = False
        for bar in self._bars.values():
            bar.release()
        for memory in self._maps:
            with contextlib.suppress(BufferError):
                memory.close()

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self.name} has been closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ask:
    """One request of the device file, for ``query``."""

    def __init__(self, system: System, fd: int, request: Ioctl) -> None:
        self._system, self._fd, self._request = system, fd, request

    def __call__(self, buffer: bytearray) -> int:
        return self._system.ioctl(self._fd, self._request, buffer)
