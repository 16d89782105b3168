"""BARs behind a socket: an access is one message of its width; areas that the server lets us map are ``transports.mapped``.

Writes are posted where a bus would post them: to memory, not to I/O space. A function with a mapped area gets no posted
writes at all, as QEMU does it: a store to the mapped area could overtake a message.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from drivers.transports import MappedBar, Words
from drivers.transports.access import WIDTHS, check_bar
from drivers.transports.mapped import Area, AreaBar
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.info import RegionInfo


class MessageWords:
    """A BAR as words of ``width`` bytes. ``posted``: nobody answers a write."""

    __slots__ = ("_count", "_limit", "_load", "_region", "_store", "_width")

    def __init__(self, channel: Channel, region: int, size: int, width: int, posted: bool) -> None:
        self._load, self._store = channel.read, channel.post if posted else channel.write
        self._region, self._width, self._count, self._limit = region, width, size // width, 1 << 8 * width

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        if 0 <= index < self._count:
            return self._load(self._region, index * self._width, self._width)
        raise IndexError(f"BAR {self._region} has no word {index}")

    def __setitem__(self, index: int, value: int) -> None:
        if 0 <= index < self._count:
            if 0 <= value < self._limit:
                self._store(self._region, index * self._width, self._width, value)
                return
            raise ValueError(f"{value:#x} is no unsigned number of {self._width} bytes")
        raise IndexError(f"BAR {self._region} has no word {index}")


class MessageBar:
    """A ``MappedBar`` of which nothing is mapped."""

    def __init__(self, channel: Channel, index: int, size: int, *, posted: bool) -> None:
        self.index, self.size = index, size
        self._words = {width: MessageWords(channel, index, size, width, posted) for width in WIDTHS}
        self.u8: Words
        self.u16: Words
        self.u32: Words
        self.u64: Words
        self.u8, self.u16, self.u32, self.u64 = self._words.values()

    def read(self, offset: int, size: int) -> int:
        check_bar(self, offset, size)
        return self._words[size][offset // size]

    def write(self, offset: int, size: int, value: int) -> None:
        check_bar(self, offset, size, value)
        self._words[size][offset // size] = value


class Unmapped:
    """What is between the mapped areas of a BAR, by messages that are waited for."""

    def __init__(self, channel: Channel, region: int) -> None:
        self._channel, self._region = channel, region

    def load(self, offset: int, size: int) -> int:
        return self._channel.read(self._region, offset, size)

    def store(self, offset: int, size: int, value: int) -> None:
        self._channel.write(self._region, offset, size, value)


def make_bar(channel: Channel, info: RegionInfo, areas: Sequence[Area], *, posted: bool) -> MappedBar:
    """The BAR of which ``areas`` are mapped."""
    if areas:
        return AreaBar(info.index, info.size, areas, Unmapped(channel, info.index))
    return MessageBar(channel, info.index, info.size, posted=posted)


def map_areas(info: RegionInfo, fd: int) -> list[Area]:
    """Map what can be mapped of a region; the rest stays with messages. ``fd`` stays the caller's.

    A server that makes its file shorter afterwards takes us with it (SIGBUS): to map is to trust, as with any BAR.
    """
    found: list[Area] = []
    for at, size in info.areas:
        start = info.offset + at
        if (at | start) % mmap.PAGESIZE or size % 8 or not _reaches(fd, start + size):
            continue
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if info.writable else 0)
        try:
            found.append(Area(at, memoryview(mmap.mmap(fd, size, mmap.MAP_SHARED, protection, offset=start))))
        except (OSError, ValueError, OverflowError):
            continue  # a file of a kind that cannot be mapped: there are messages
    return found


def _reaches(fd: int, end: int) -> bool:
    """Whether a mapping of ``fd`` up to ``end`` is backed: behind the end of a file, an access would kill us (SIGBUS)."""
    status = os.fstat(fd)
    return not status.st_size or end <= status.st_size  # what has no size is a device
