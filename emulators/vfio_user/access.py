"""Region accesses: what REGION_READ, REGION_WRITE and REGION_WRITE_MULTI do to a ``Function``.

All bounds are checked here, against the regions the function declares, so a function never sees an access outside of
them. Only accesses of 1, 2, 4 and 8 bytes exist on a bus; longer transfers to a BAR are made of aligned double words.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from emulators.vfio_user.refused import Refused
from regmodel.function import CONFIG_REGION, Function, Region, RegionKind
from regmodel.structures import vfio_user as wire

WIDTHS = (1, 2, 4, 8)


class RegionAccess:
    """The regions of one function, by index."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.regions = {region.index: region for region in function.regions() if region.size}
        self.posted_limits = {
            index: region.size
            for index, region in self.regions.items()
            if region.writable and region.kind in (RegionKind.MEMORY, RegionKind.IO)
        }
        """Sizes of the regions that a posted write may go to without further looks at it."""

    def read(self, body: memoryview) -> bytes:
        """REGION_READ: the body of the reply. Raises ``Refused``."""
        if len(body) < wire.REGION_ACCESS.size:
            raise Refused(errno.EINVAL, "short REGION_READ")
        offset, index, count = wire.REGION_ACCESS.unpack_from(body)
        region = self._region(offset, index, count)
        if index == CONFIG_REGION:
            data = self._function.config_read(offset, count)
        elif count in WIDTHS:
            data = self._function.region_read(index, offset, count).to_bytes(count, "little")
        elif region.backing is not None:
            data = bytes(region.backing.read(offset, count))
        else:
            read = self._function.region_read
            data = b"".join(read(index, at, size).to_bytes(size, "little") for at, size in _pieces(offset, count))
        return wire.REGION_ACCESS.pack(offset, index, len(data)) + data

    def write(self, body: memoryview) -> bytes:
        """REGION_WRITE: the body of the reply. Raises ``Refused`` with nothing written."""
        if len(body) < wire.REGION_ACCESS.size:
            raise Refused(errno.EINVAL, "short REGION_WRITE")
        offset, index, count = wire.REGION_ACCESS.unpack_from(body)
        data = body[wire.REGION_ACCESS.size :]
        if len(data) != count:
            raise Refused(errno.EINVAL, f"REGION_WRITE of {count} bytes with {len(data)} bytes of data")
        region = self._region(offset, index, count)
        if not region.writable:
            raise Refused(errno.EINVAL, f"region {index} cannot be written")
        if index == CONFIG_REGION:
            self._function.config_write(offset, bytes(data))
        elif region.backing is not None and count not in WIDTHS:
            region.backing.write(offset, data)
        else:
            write = self._function.region_write
            for at, size in [(offset, count)] if count in WIDTHS else _pieces(offset, count):
                write(index, at, size, int.from_bytes(data[at - offset : at - offset + size], "little"))
        return wire.REGION_ACCESS.pack(offset, index, count)

    def write_multi(self, body: memoryview) -> bytes:
        """REGION_WRITE_MULTI: the body of the reply. Raises ``Refused`` with nothing written."""
        if len(body) < wire.WRITE_MULTI.size:
            raise Refused(errno.EINVAL, "short REGION_WRITE_MULTI")
        (count,) = wire.WRITE_MULTI.unpack_from(body)
        entries = body[wire.WRITE_MULTI.size :]
        if count * wire.SINGLE_WRITE.size != len(entries):
            raise Refused(errno.EINVAL, f"REGION_WRITE_MULTI of {count} writes with {len(entries)} bytes")
        writes = []
        for offset, index, width, value in wire.SINGLE_WRITE.iter_unpack(entries):
            region = self._region(offset, index, width)
            if not region.writable or width not in WIDTHS:
                raise Refused(errno.EINVAL, f"REGION_WRITE_MULTI of {width} bytes to region {index}")
            writes.append((index, offset, width, value & (1 << 8 * width) - 1))
        for index, offset, width, value in writes:
            if index == CONFIG_REGION:
                self._function.config_write(offset, value.to_bytes(width, "little"))
            else:
                self._function.region_write(index, offset, width, value)
        return wire.WRITE_MULTI.pack(count)

    def _region(self, offset: int, index: int, count: int) -> Region:
        region = self.regions.get(index)
        if region is None:
            raise Refused(errno.EINVAL, f"access to region {index}, which this device does not have")
        if not 0 < count <= wire.MAX_DATA_XFER_SIZE or offset + count > region.size:
            raise Refused(errno.EINVAL, f"access to {count} bytes at {offset:#x} of region {index} ({region.size:#x} bytes)")
        return region


def _pieces(offset: int, count: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of naturally aligned accesses of at most a double word."""
    end = offset + count
    while offset < end:
        size = min(4, offset & -offset or 4)
        while offset + size > end:
            size //= 2
        yield offset, size
        offset += size
