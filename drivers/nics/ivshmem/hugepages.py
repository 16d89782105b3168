"""The host's side of DPDK memory: hugepages, and memory zones reserved in them.

A stand-in for what EAL does on a host: pages of one size, contiguous for program and device. Nothing here needs real
hugepages; what matters to a guest are addresses and sizes.
"""

from __future__ import annotations

import mmap

from drivers.nics.ivshmem.errors import BadMemzone, NothingThere, OutOfHugepages
from drivers.nics.ivshmem.ring import NO_FLAGS, Ring, memsize
from drivers.nics.ivshmem.space import Memzone, Space
from regmodel.structures.ivshmem import CACHE_LINE, NAME, PAGE, RING_PREFIX, RingFlag

VIRTUAL, PHYSICAL = 0x7F00_0000_0000, 0x1_0000_0000
"""Where the first pages stand by default."""


class Hugepages:
    """``count`` pages of ``page_size`` bytes from virtual address ``addr`` and physical address ``phys_addr`` on.

    Several may share a ``space``, as pages of two sizes do. ``published`` tells, per page, in which device it is.
    """

    def __init__(
        self, count: int, page_size: int = 2 << 20, *, addr: int = VIRTUAL, phys_addr: int = PHYSICAL, socket: int = 0,
        space: Space | None = None,
    ) -> None:  # fmt: skip
        if page_size < PAGE or page_size & (page_size - 1) or addr % page_size or phys_addr % page_size or not addr:
            raise BadMemzone(f"hugepages of {page_size:#x} bytes stand at multiples of it, which is a power of two")
        self.count, self.page_size, self.addr, self.phys_addr, self.socket = count, page_size, addr, phys_addr, socket
        self.space = space or Space()
        self.zones: dict[str, Memzone] = {}
        self.published: dict[int, object] = {}
        self._used = 0
        self.size = count * page_size
        self._memory = mmap.mmap(-1, self.size)
        self.space.place(addr, memoryview(self._memory))

    def reserve(self, name: str, size: int, align: int = CACHE_LINE) -> Memzone:
        """A new memory zone. Raises ``BadMemzone``, ``OutOfHugepages`` (rte_memzone_reserve_aligned)."""
        if name in self.zones:
            raise BadMemzone(f"there is a memory zone {name!r} already")
        if not 0 < len(name.encode()) < NAME:
            raise BadMemzone(f"the name {name!r} of a memory zone has 1 to {NAME - 1} bytes")
        at, size = -(-self._used // align) * align, -(-max(size, 1) // CACHE_LINE) * CACHE_LINE
        if at + size > self.size:
            raise OutOfHugepages(f"{self.size - at} bytes are left of the hugepages, {name} wants {size}")
        self._used = at + size
        zone = Memzone(name, self.addr + at, self.phys_addr + at, size, self.page_size, socket_id=self.socket)
        self.zones[name] = zone
        return zone

    def ring(self, name: str, count: int, flags: RingFlag = NO_FLAGS) -> Ring:
        """A new ring in a memory zone of its own (rte_ring_create)."""
        return Ring.create(self.space, self.reserve(RING_PREFIX + name, memsize(count)), count, flags)

    def zone_at(self, addr: int) -> Memzone:
        """The memory zone that begins at ``addr``. Raises ``NothingThere`` (get_memzone_by_addr)."""
        for zone in self.zones.values():
            if zone.addr == addr:
                return zone
        raise NothingThere(f"no memory zone begins at {addr:#x}: only what was reserved in hugepages can be shared")

    def owns(self, addr: int) -> bool:
        return self.addr <= addr < self.addr + self.size

    def view(self, zone: Memzone) -> memoryview:
        """The memory of a zone, where it is now."""
        return self.space.view(zone.addr, zone.len)

    def close(self) -> None:
        """Give the memory back."""
        self.space.forget()
        self._memory.close()
