"""What the server says its device is made of: DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO.

Nothing that it says is believed before it has been looked at: sizes, offsets and counts are checked against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.errors import NotSupported, UnsupportedReply
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.stream import close_all
from regmodel.function import Irq
from regmodel.structures import vfio
from regmodel.structures.vfio import DeviceFlags, IrqInfoFlags, RegionFlags
from regmodel.structures.vfio_user import Command

MAX_INFO = 65536
"""Bytes of region information that are looked at: some 4000 areas."""
CONFIG_REGION = 7


@dataclass(frozen=True)
class DeviceInfo:
    """``resettable``: it takes DEVICE_RESET. ``regions`` and ``irqs`` are how many indexes exist."""

    resettable: bool
    regions: int
    irqs: int


@dataclass(frozen=True)
class RegionInfo:
    """One region. Of its file, if there is one, ``areas`` may be mapped, each at ``offset`` plus its own.

    Sizes and offsets are in bytes; ``areas`` are (offset into the region, size).
    """

    index: int
    size: int
    writable: bool
    areas: tuple[tuple[int, int], ...] = ()
    offset: int = 0


def device_info(channel: Channel) -> DeviceInfo:
    """Raises ``NotSupported`` for what is no PCI device, ``UnsupportedReply``."""
    request = vfio.DEVICE_INFO.pack(vfio.DEVICE_INFO.size, 0, 0, 0)
    _, flags, regions, irqs = vfio.DEVICE_INFO.unpack(_ask(channel, Command.DEVICE_GET_INFO, request, vfio.DEVICE_INFO.size))
    if not flags & DeviceFlags.PCI or regions <= CONFIG_REGION:
        raise NotSupported(f"{channel.name}: the server's device is no PCI function (flags {flags:#x}, {regions} regions)")
    return DeviceInfo(bool(flags & DeviceFlags.RESET), regions, irqs)


def irq_count(channel: Channel, info: DeviceInfo, irq: Irq) -> int:
    """How many vectors can be delivered by eventfd."""
    if irq >= info.irqs:
        return 0
    request = vfio.IRQ_INFO.pack(vfio.IRQ_INFO.size, 0, irq, 0)
    _, flags, _, count = vfio.IRQ_INFO.unpack(_ask(channel, Command.DEVICE_GET_IRQ_INFO, request, vfio.IRQ_INFO.size))
    return int(count) if flags & IrqInfoFlags.EVENTFD else 0


def region_info(channel: Channel, index: int) -> tuple[RegionInfo, int]:
    """Region ``index``, and its file, which is the caller's to close (-1: none). Asks twice where there are capabilities.

    A region that the device does not have is of size 0.

    Raises ``UnsupportedReply`` when what it says cannot be.
    """
    room = vfio.REGION_INFO.size
    while True:
        request = vfio.REGION_INFO.pack(room, 0, index, 0, 0, 0)
        body, fds = channel.call_for_fds(Command.DEVICE_GET_REGION_INFO, request, f"DEVICE_GET_REGION_INFO of region {index}")
        try:
            if len(body) < vfio.REGION_INFO.size:
                raise _odd(channel, index, f"{len(body)} bytes")
            argsz, flags, found, at, size, offset = vfio.REGION_INFO.unpack_from(body)
            if found != index:
                raise _odd(channel, index, f"region {found}")
            if room < argsz <= MAX_INFO and flags & RegionFlags.CAPS:
                room = argsz
                continue
            writable = bool(flags & RegionFlags.WRITE)
            if not flags & RegionFlags.MMAP or len(fds) != 1 or not size:
                return RegionInfo(index, size, writable), -1
            areas = _areas(channel, index, body, at, size) if flags & RegionFlags.CAPS else ((0, size),)
            return RegionInfo(index, size, writable, areas, offset), fds.pop()
        finally:
            close_all(fds)


def _areas(channel: Channel, index: int, body: bytes, at: int, size: int) -> tuple[tuple[int, int], ...]:
    """The areas of the sparse-mmap capability in the chain from ``at``; all of the region when there is none."""
    seen: set[int] = set()
    while at:
        if at in seen or at < vfio.REGION_INFO.size or at + 8 > len(body):
            raise _odd(channel, index, f"a capability at {at}")
        seen.add(at)
        ident, _, after = vfio.CAPABILITY.unpack_from(body, at)
        if ident == vfio.CAP_SPARSE_MMAP:
            return _sparse(channel, index, body, at, size)
        at = after
    return ((0, size),)


def _sparse(channel: Channel, index: int, body: bytes, at: int, size: int) -> tuple[tuple[int, int], ...]:
    first = at + vfio.SPARSE_MMAP.size
    count = vfio.SPARSE_MMAP.unpack_from(body, at)[3] if first <= len(body) else 0
    if first > len(body) or first + count * vfio.SPARSE_AREA.size > len(body):
        raise _odd(channel, index, f"{count} areas in {len(body)} bytes")
    areas: list[tuple[int, int]] = []
    end = 0
    for offset, length in sorted(vfio.SPARSE_AREA.iter_unpack(body[first : first + count * vfio.SPARSE_AREA.size])):
        if not length:
            continue
        if offset < end or offset + length > size:
            raise _odd(channel, index, f"an area of {length:#x} bytes at {offset:#x}, beyond the region or in another")
        areas.append((offset, length))
        end = offset + length
    return tuple(areas)


def _ask(channel: Channel, command: Command, request: bytes, size: int) -> bytes:
    reply = channel.call(command, request, command.name)
    if len(reply) < size:
        raise UnsupportedReply(f"{channel.name}: {command.name} is answered with {len(reply)} bytes instead of {size}")
    return reply[:size]


def _odd(channel: Channel, index: int, what: str) -> UnsupportedReply:
    return UnsupportedReply(f"{channel.name}: DEVICE_GET_REGION_INFO of region {index} answered with {what}: a faulty server")


