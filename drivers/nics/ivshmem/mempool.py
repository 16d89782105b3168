"""``rte_mempool`` of DPDK 16.07 in shared memory, of the kind whose free objects are in a ring and which has no caches.

In here: create, attach, get, put, and the memory of an object.

Source: DPDK 16.07 lib/librte_mempool/rte_mempool.c ``rte_mempool_calc_obj_size``, ``mempool_add_elem``,
``rte_mempool_populate_phys``; rte_mempool_ring.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from drivers.nics.ivshmem.errors import MempoolDamaged, NothingThere
from drivers.nics.ivshmem.ring import Ring, memsize
from drivers.nics.ivshmem.space import Memzone, Space, text
from regmodel.layout import layout
from regmodel.structures.ivshmem import (
    CACHE_LINE,
    MEMPOOL,
    MEMPOOL_PREFIX,
    NAME,
    OBJHDR,
    RING_PREFIX,
    MempoolFlag,
    RingFlag,
)

if TYPE_CHECKING:
    from drivers.nics.ivshmem.hugepages import Hugepages

HEADER: Final = layout(MEMPOOL).size
OBJHDR_SIZE: Final = layout(OBJHDR).size
NO_FLAGS: Final = MempoolFlag(0)


def object_sizes(size: int) -> tuple[int, int, int]:
    """Bytes before an object of ``size`` bytes, of it, and behind it, without spreading over memory channels."""
    header, element = _up(OBJHDR_SIZE, CACHE_LINE), _up(size, 8)
    return header, element, -(header + element) % CACHE_LINE


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


class Mempool:
    """The pool at ``addr`` of ``space``. ``zones`` are what has to be shared for others to use it, where this side knows.

    Raises ``MempoolDamaged``, ``RingDamaged``, ``NothingThere`` when it cannot be one.
    """

    def __init__(self, space: Space, addr: int, zones: tuple[Memzone, ...] = ()) -> None:
        self._space, self.addr, self.zones = space, addr, zones
        found = MEMPOOL.parse(bytes(space.view(addr, HEADER)))
        self.name, self.size, self.populated = text(found.name), found.size, found.populated_size
        self.elt_size, self.cache_size = found.elt_size, found.cache_size
        self.flags = MempoolFlag(found.flags & 0x3F)
        self.objects = found.header_size, found.elt_size, found.trailer_size
        if self.populated > self.size or found.header_size < OBJHDR_SIZE or not found.elt_size:
            text_ = f"{self.populated} of {self.size} objects, {found.header_size} bytes before each of {found.elt_size}"
            raise MempoolDamaged(f"pool {self.name!r} cannot be: {text_}")
        self.ring = Ring(space, found.pool_data)
        if self.ring.size <= self.populated:
            raise MempoolDamaged(f"pool {self.name!r}: a ring of {self.ring.size} entries cannot hold {self.populated} objects")

    @classmethod
    def create(
        cls, pages: Hugepages, name: str, count: int, size: int, *, flags: MempoolFlag = NO_FLAGS, private: int = 0
    ) -> Mempool:
        """``count`` objects of ``size`` bytes, in three memory zones: the pool, its ring, its objects."""
        flags |= MempoolFlag.NO_SPREAD | MempoolFlag.POOL_CREATED
        room = _up(private, CACHE_LINE)
        zone = pages.reserve(MEMPOOL_PREFIX + name, HEADER + room)
        entries = 1 << count.bit_length()
        one = RingFlag.SP_ENQ if MempoolFlag.SP_PUT in flags else RingFlag(0)
        other = RingFlag.SC_DEQ if MempoolFlag.SC_GET in flags else RingFlag(0)
        queue = pages.reserve(f"{RING_PREFIX}{MEMPOOL_PREFIX}{name}", memsize(entries))
        ring = Ring.create(pages.space, queue, entries, one | other)
        header, element, trailer = object_sizes(size)
        total = header + element + trailer
        chunk = pages.reserve(f"{MEMPOOL_PREFIX}{name}_0", count * total)
        objects = [chunk.addr + header + i * total for i in range(count)]
        headers = [at - OBJHDR_SIZE for at in objects]
        for at, following in zip(headers, [*headers[1:], 0], strict=True):
            phys = chunk.phys_addr + at + OBJHDR_SIZE - chunk.addr
            pages.space.view(at, OBJHDR_SIZE)[:] = OBJHDR.build({"next": following, "mp": zone.addr, "physaddr": phys})
        pages.space.view(zone.addr, HEADER)[:] = MEMPOOL.build(
            {
                "name": name.encode()[: NAME - 1].ljust(NAME, b"\0"), "pool_data": ring.addr, "pool_config": 0, "mz": 0,
                "flags": int(flags), "socket_id": pages.socket, "size": count, "cache_size": 0, "elt_size": element,
                "header_size": header, "trailer_size": trailer, "private_data_size": room, "ops_index": 0,
                "local_cache": zone.addr + HEADER, "populated_size": count, "elt_first": headers[0] if headers else 0,
                "elt_last": headers[-1] if headers else 0, "nb_mem_chunks": 1, "mem_first": 0, "mem_last": 0,
            }
        )  # fmt: skip
        ring.enqueue_bulk(objects)
        return cls(pages.space, zone.addr, (zone, chunk, queue))

    def __len__(self) -> int:
        """Objects that are free."""
        return len(self.ring)

    def get(self, count: int) -> list[int]:
        """Pointers to ``count`` objects, or to none when there are fewer. Raises ``MempoolDamaged``."""
        return [self._own(pointer) for pointer in self.ring.dequeue_bulk(count)]

    def put(self, pointers: Sequence[int]) -> None:
        """Give objects back. Raises ``MempoolDamaged`` for what is none of this pool, and when it is full already."""
        if not self.ring.enqueue_bulk([self._own(pointer) for pointer in pointers]):
            raise MempoolDamaged(f"pool {self.name!r}: {len(pointers)} objects are too many: some were given back twice")

    def view(self, pointer: int) -> memoryview:
        """The memory of an object. Raises ``MempoolDamaged``."""
        return self._space.view(self._own(pointer), self.elt_size)

    def _own(self, pointer: int) -> int:
        """``pointer``, if what stands before it says that it is one of ours and all of it is there."""
        try:
            self._space.view(pointer, self.elt_size)
            owner = OBJHDR.parse(bytes(self._space.view(pointer - OBJHDR_SIZE, OBJHDR_SIZE))).mp
        except NothingThere as error:
            raise MempoolDamaged(f"pool {self.name!r}: {error}") from None
        if owner != self.addr:
            raise MempoolDamaged(f"pool {self.name!r}: the object at {pointer:#x} says that it belongs to {owner:#x}")
        return pointer
