"""DMA_MAP and DMA_UNMAP: which memory of one client the function may reach, and where its bytes come from."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TypeAlias

from emulators.dma import DmaMapError, Ranges
from emulators.vfio_user.memory import FileMemory, Files
from emulators.vfio_user.message_dma import MessageDma, MessageMemory
from emulators.vfio_user.observer import Observer
from emulators.vfio_user.refused import Refused
from emulators.vfio_user.sharing import only_private
from regmodel.function import Function
from regmodel.structures import vfio_user as wire
from regmodel.structures.vfio import UnmapFlags
from regmodel.structures.vfio_user import DmaFlags

_PERMISSIONS = int(DmaFlags.READ | DmaFlags.WRITE)
GuestMemory: TypeAlias = FileMemory | MessageMemory


class Maps:
    """The maps of one client (process ``pid``). The function is told of each, and of its end."""

    def __init__(self, function: Function, files: Files, messages: MessageDma, pid: int, observer: Observer | None) -> None:
        self.observer = observer
        self._function, self._files, self._messages, self._pid = function, files, messages, pid
        self._ranges: Ranges[GuestMemory] = Ranges()
        self._flags: dict[int, int] = {}
        self._known_shared: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._ranges)

    def map(self, body: memoryview, fds: list[int]) -> bytes:
        """DMA_MAP. The descriptor stays the caller's. Raises ``Refused`` with nothing changed."""
        if len(body) < wire.DMA_MAP.size:
            raise Refused(errno.EINVAL, "short DMA_MAP")
        argsz, flags, offset, iova, size = wire.DMA_MAP.unpack_from(body)
        if argsz < wire.DMA_MAP.size or not flags or flags & ~_PERMISSIONS:
            raise Refused(errno.EINVAL, f"DMA_MAP with argsz {argsz}, flags {flags:#x}")
        if len(fds) > 1:
            raise Refused(errno.EINVAL, f"DMA_MAP with {len(fds)} descriptors")
        if not size or (iova | size | offset) % wire.PAGE_SIZE:
            raise Refused(errno.EINVAL, f"DMA_MAP of {size:#x} bytes at {iova:#x}, file offset {offset:#x}: not whole pages")
        if len(self._ranges) >= wire.MAX_DMA_MAPS:
            raise Refused(errno.ENOSPC, f"more than {wire.MAX_DMA_MAPS} DMA maps")
        read, write = bool(flags & DmaFlags.READ), bool(flags & DmaFlags.WRITE)
        memory: GuestMemory
        if fds:
            self._require_shared(fds[0])
            memory = self._files.lend(fds[0], offset, size, iova, write=write)
        else:
            memory = MessageMemory(self._messages, iova, size)
        try:
            self._add(iova, size, memory, read, write)
        except BaseException:
            memory.release()
            raise
        self._flags[iova] = flags
        if self.observer is not None:
            kind = "messages" if isinstance(memory, MessageMemory) else "file" if memory.view is None else "mapped"
            self.observer.dma_mapped(iova, size, "r" * read + "w" * write, kind)
        return b""

    def image(self, fds: list[int]) -> list[list[int]]:
        """All maps, for another process: iova, size, flags, number of a descriptor in ``fds`` or -1, offset in its file."""
        rows = []
        for start, end, memory in self._ranges:
            fd, offset = memory.place if isinstance(memory, FileMemory) else (-1, 0)
            if fd >= 0 and fd not in fds:
                fds.append(fd)
            rows.append([start, end - start, self._flags[start], fds.index(fd) if fd >= 0 else -1, offset])
        return rows

    def adopt(self, rows: Iterable[Sequence[int]], fds: Sequence[int]) -> None:
        """Take on the maps of ``image``; ``fds`` stay the caller's. Raises ``Refused``."""
        for iova, size, flags, number, offset in rows:
            body = wire.DMA_MAP.pack(wire.DMA_MAP.size, flags, offset, iova, size)
            self.map(memoryview(body), [fds[number]] if number >= 0 else [])

    def unmap(self, body: memoryview) -> bytes:
        """DMA_UNMAP: the body of the reply, which repeats the request. Raises ``Refused`` with nothing changed.

        The specification wants the range of one former map. QEMU behind a virtual IOMMU sends what Linux accepts: a range
        that covers all of a domain's maps, when the guest changes the domain (QEMU hw/i386/intel_iommu.c
        ``vtd_address_space_unmap``; Linux vfio_iommu_type1.c ``vfio_dma_do_unmap``). Were it refused, the device would
        go on reaching pages that the guest has given to others.
        """
        if len(body) < wire.DMA_UNMAP.size:
            raise Refused(errno.EINVAL, "short DMA_UNMAP")
        argsz, flags, iova, size = wire.DMA_UNMAP.unpack_from(body)
        if argsz < wire.DMA_UNMAP.size:
            raise Refused(errno.EINVAL, f"DMA_UNMAP with argsz {argsz}")
        if flags == UnmapFlags.ALL:
            if iova or size:
                raise Refused(errno.EINVAL, "DMA_UNMAP of everything, with a range")
            self.clear()
        elif flags:
            both = UnmapFlags.ALL | UnmapFlags.GET_DIRTY_BITMAP
            raise Refused(errno.EINVAL if flags == both else errno.ENOTSUP, f"DMA_UNMAP with flags {flags:#x}")
        else:
            try:
                rows = self._ranges.take(iova, size)
            except DmaMapError as error:
                raise Refused(errno.ENOENT, f"DMA_UNMAP: {error}") from error
            self._drop_all(rows)
        return bytes(body[: wire.DMA_UNMAP.size])

    def clear(self) -> None:
        """Unmap everything."""
        rows = list(self._ranges)
        self._ranges.clear()
        self._drop_all(rows)

    # -- inside

    def _add(self, iova: int, size: int, memory: GuestMemory, read: bool, write: bool) -> None:
        try:
            self._ranges.add(iova, size, memory)
        except DmaMapError as error:
            raise Refused(errno.EEXIST if error.code == "overlap" else errno.EINVAL, f"DMA_MAP: {error}") from error
        try:
            self._function.dma_map(iova, size, memory, read=read, write=write)
        except BaseException:
            self._ranges.remove(iova, size)
            raise

    def _drop_all(self, rows: Iterable[tuple[int, int, GuestMemory]]) -> None:
        with ExitStack() as all_of_them:  # one that fails does not keep the others
            for start, end, memory in rows:
                all_of_them.callback(self._drop, start, end - start, memory)

    def _drop(self, iova: int, size: int, memory: GuestMemory) -> None:
        self._flags.pop(iova, None)
        try:
            self._function.dma_unmap(iova, size)
        finally:
            memory.release()
        if self.observer is not None:
            self.observer.dma_unmapped(iova, size)

    def _require_shared(self, fd: int) -> None:
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino)
        if key in self._known_shared:
            return
        if only_private(self._pid, *key):
            raise Refused(
                errno.EINVAL,
                "guest memory is private to QEMU, so guest and device would not see each other's writes: start QEMU with "
                "-object memory-backend-memfd,id=mem,size=SIZE,share=on -machine memory-backend=mem",
            )
        self._known_shared.add(key)
