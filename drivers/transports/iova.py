"""The addresses that a driver gives its DMA memory: one allocator for all transports, so that all of them give the same.

Nothing in here touches memory or a device. It hands out I/O virtual addresses (IOVAs, what the device puts on the bus) the
way a recording needs it: the same sequence of ``alloc`` and ``free`` gives the same addresses, on every transport.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

from drivers.errors import NotSupported
from regmodel.errors import UsageError

PAGE: Final = 4096
START: Final = 0x1000_0000
END: Final = 1 << 39
"""The least address width that an IOMMU in the field has: VT-d with three-level tables (VT-d specification, CAP.SAGAW)."""
MSI_WINDOW: Final = (0xFEE0_0000, 0xFEF0_0000)
"""A write in here is an interrupt on x86, not memory (Intel SDM volume 3, Message Address Register Format)."""


class IovaAllocator:
    """Page-aligned addresses from ``START`` up, first fit: the lowest hole that is large enough.

    ``usable`` are half-open address ranges which the platform can translate (VFIO reports them); None means all. ``page``
    is the alignment of addresses and sizes in bytes.
    """

    def __init__(self, usable: Iterable[tuple[int, int]] | None = None, *, page: int = PAGE) -> None:
        if page < 1 or page & (page - 1):
            raise UsageError(f"a page of {page} bytes is not a power of two")
        self.page = page
        self._taken: list[tuple[int, int]] = []  # (first, end), sorted; reserved ones may overlap
        self._sizes: dict[int, int] = {}
        for first, end in _outside(usable):
            insort(self._taken, (first, end))

    def round(self, size: int) -> int:
        """``size`` in bytes, up to whole pages. Raises ``UsageError`` unless it is positive."""
        if size < 1:
            raise UsageError(f"{size} bytes of DMA memory cannot be allocated")
        return -(-size // self.page) * self.page

    def alloc(self, size: int) -> int:
        """The lowest free address with room for ``size`` bytes. Raises ``NotSupported`` when there is none."""
        size = self.round(size)
        at = -(-START // self.page) * self.page
        for first, end in self._taken:
            if first - at >= size:
                break
            at = max(at, -(-end // self.page) * self.page)
        if at + size > END:
            raise NotSupported(f"no IOVA range of {size} bytes is free below {END:#x}; allocate less or free some")
        insort(self._taken, (at, at + size))
        self._sizes[at] = size
        return at

    def free(self, iova: int) -> int:
        """Give back what ``alloc`` gave; its size in bytes. Raises ``UsageError`` for any other address."""
        size = self._sizes.pop(iova, None)
        if size is None:
            raise UsageError(f"IOVA {iova:#x} is not allocated")
        del self._taken[bisect_left(self._taken, (iova, iova + size))]
        return size

    @property
    def allocated(self) -> dict[int, int]:
        """Sizes in bytes by address, in order of allocation."""
        return dict(self._sizes)


def _outside(usable: Iterable[tuple[int, int]] | None) -> list[tuple[int, int]]:
    """What may never be handed out: the interrupt window, and the gaps between the usable ranges."""
    taken = [MSI_WINDOW]
    if usable is not None:
        at = 0
        for first, end in sorted(usable):
            if first > at:
                taken.append((at, first))
            at = max(at, end)
        if at < END:
            taken.append((at, END))
    return taken
