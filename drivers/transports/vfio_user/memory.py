"""DMA memory: pages that the server maps by their descriptor, or, when it gets none, asks for by message.

The memory is ours in both cases. ``HostMemory`` answers the server's DMA_READ and DMA_WRITE for all of it, since a server
may ask for what it could have mapped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress

from drivers.errors import NotSupported
from drivers.transports.iova import IovaAllocator
from drivers.transports.vfio_user.channel import Channel
from drivers.transports.vfio_user.version import Session
from regmodel.errors import DmaFault, RegmodelError, UsageError
from regmodel.structures import vfio_user as wire
from regmodel.structures.vfio_user import Command, DmaFlags

LOOK_EVERY = 64
"""A server that maps our memory and yet asks for some of it is seen at the latest after so many hand-overs of one buffer;
from its first command on, at each. A look costs a system call, 0.5 us."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_READ_WRITE = int(DmaFlags.READ | DmaFlags.WRITE)


class VfioUserBuffer:
    """A ``DmaBuffer``."""

    def __init__(self, memory: Memory, iova: int, pages: mmap.mmap, asks: bool) -> None:
        self.iova, self.size, self.view = iova, len(pages), memoryview(pages)
        self._memory, self._pages = memory, pages
        self._channel = memory.channel
        self._countdown = 1 if asks else LOOK_EVERY

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        """Nothing to do: the server sees the pages, or asks for their content when it wants it."""

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        """What the server has written by message before now is there on return."""
        self._countdown -= 1
        if not self._countdown:
            self._channel.serve()
            self._countdown = 1 if self._channel.asked else LOOK_EVERY

    def free(self) -> None:
        self._memory.free(self)

    def release(self) -> None:
        """Give the pages back, unless somebody still looks at them: then they go with the last view."""
        with suppress(BufferError):
            self.view.release()
            self._pages.close()


class Memory:
    """All DMA memory of one connection. ``share``: the server gets descriptors. Is the channel's ``HostMemory``."""

    def __init__(self, channel: Channel, session: Session, *, share: bool) -> None:
        self.channel = channel
        self._share = share and session.max_msg_fds > 0
        self._most = session.max_dma_maps
        self._iova = IovaAllocator(page=session.page)
        self._buffers: dict[int, VfioUserBuffer] = {}
        self._starts: list[int] = []  # of _buffers, sorted
        channel.memory = self

    def alloc(self, size: int) -> VfioUserBuffer:
        """Zeroed pages, mapped at the server. Raises ``UsageError``, ``NotSupported``, and what the channel raises."""
        if len(self._buffers) >= self._most:
            raise NotSupported(f"{self.channel.name}: the server takes no more than {self._most} DMA maps: free some memory")
        iova = self._iova.alloc(size)
        try:
            buffer = self._share_pages(iova, self._iova.round(size))
        except BaseException:
            self._iova.free(iova)
            raise
        self._buffers[iova] = buffer
        self._starts = sorted(self._buffers)
        return buffer

    def free(self, buffer: VfioUserBuffer) -> None:
        """Raises ``UsageError`` when that was done before."""
        if self._buffers.get(buffer.iova) is not buffer:
            raise UsageError(f"the DMA memory at {buffer.iova:#x} is not allocated")
        if not self.channel.is_over:  # a server that has gone has let go of everything
            request = wire.DMA_UNMAP.pack(wire.DMA_UNMAP.size, 0, buffer.iova, buffer.size)
            self.channel.call(Command.DMA_UNMAP, request, f"DMA_UNMAP of {buffer.iova:#x}")
        self._forget(buffer)

    def close(self) -> None:
        """Free everything; a server that does not answer does not keep us."""
        for buffer in list(self._buffers.values()):
            try:
                self.free(buffer)
            except RegmodelError:
                self.channel.close()
                self._forget(buffer)

    # -- what the server asks for (``channel.HostMemory``)

    def dma_read(self, iova: int, size: int) -> bytes:
        return b"".join([bytes(piece) for piece in self._pieces(iova, size)])

    def dma_write(self, iova: int, data: memoryview) -> None:
        at = 0
        for piece in list(self._pieces(iova, len(data))):
            piece[:] = data[at : at + len(piece)]
            at += len(piece)

    # -- inside

    def _share_pages(self, iova: int, size: int) -> VfioUserBuffer:
        request = wire.DMA_MAP.pack(wire.DMA_MAP.size, _READ_WRITE, 0, iova, size)
        what = f"DMA_MAP of {size:#x} bytes"
        if not self._share:
            pages = mmap.mmap(-1, size)
            self.channel.call(Command.DMA_MAP, request, what)
            return VfioUserBuffer(self, iova, pages, True)
        fd = os.memfd_create("regmodel-dma", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)  # so that the server may map it without fear
            pages = mmap.mmap(fd, size, mmap.MAP_SHARED)
            self.channel.call(Command.DMA_MAP, request, what, (fd,))
        finally:
            os.close(fd)
        return VfioUserBuffer(self, iova, pages, False)

    def _forget(self, buffer: VfioUserBuffer) -> None:
        del self._buffers[buffer.iova]
        self._starts = sorted(self._buffers)
        self._iova.free(buffer.iova)
        buffer.release()

    def _pieces(self, iova: int, size: int) -> Iterator[memoryview]:
        """The bytes at ``iova``, buffer by buffer. Raises ``DmaFault`` at the first that is not ours."""
        end = iova + size
        while iova < end:
            found = bisect_right(self._starts, iova) - 1
            buffer = self._buffers[self._starts[found]] if found >= 0 else None
            offset = iova - buffer.iova if buffer else 0
            if buffer is None or offset >= buffer.size:
                raise DmaFault(iova, end - iova, "no DMA memory of this client")
            piece = buffer.view[offset : offset + end - iova]
            yield piece
            iova += len(piece)
