"""One address space for host and guest: pointers in shared memory are virtual addresses of the host.

The original maps each segment at the address that it has in the host. Here a pointer is translated instead, which works in
any process; what lies behind it is the same memory.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from drivers.nics.ivshmem.errors import NothingThere


@dataclass(frozen=True)
class Memzone:
    """A named piece of memory: rte_memzone. Addresses and sizes are in bytes."""

    name: str
    addr: int
    phys_addr: int
    len: int
    hugepage_sz: int
    ioremap_addr: int = 0
    socket_id: int = -1
    flags: int = 0
    memseg_id: int = 0

    @property
    def end(self) -> int:
        return self.addr + self.len


class Space:
    """Stretches of memory by address. ``generation`` counts up whenever memory moves: views are to be taken anew then."""

    def __init__(self) -> None:
        self.generation = 0
        self._starts: list[int] = []
        self._views: list[memoryview] = []

    def place(self, addr: int, view: memoryview) -> None:
        """From now on ``view`` stands at ``addr``; what stood there before, whole or in part, has moved here."""
        end = addr + len(view)
        kept = [(addr, view)]
        for start, old in zip(self._starts, self._views, strict=True):
            before, behind = old[: max(addr - start, 0)], old[max(end - start, 0) :]
            kept += [(start, before)] if before else []
            kept += [(max(end, start), behind)] if behind else []
        kept.sort(key=lambda stretch: stretch[0])
        self._starts, self._views = [start for start, _ in kept], [part for _, part in kept]
        self.generation += 1

    def view(self, addr: int, size: int) -> memoryview:
        """``size`` bytes at ``addr``. Raises ``NothingThere`` unless one stretch holds them all."""
        at = bisect_right(self._starts, addr) - 1
        if at >= 0 and size >= 0:
            start, view = self._starts[at], self._views[at]
            if addr - start + size <= len(view):
                return view[addr - start : addr - start + size]
        raise NothingThere(f"{size} bytes at {addr:#x} are in no segment: whoever wrote this pointer meant other memory")

    def forget(self) -> None:
        """Let go of all memory."""
        self._starts, self._views = [], []
        self.generation += 1


def text(name: bytes) -> str:
    """A name as C has it: up to the first 0. Bytes that are no ASCII are shown as escapes."""
    return name.split(b"\0")[0].decode("ascii", "backslashreplace")
