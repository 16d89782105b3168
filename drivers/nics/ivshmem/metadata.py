"""The host's side of DPDK's IVSHMEM library: metadata files, what is put into them, and the memory that a device shows.

The original writes hugepages and metadata into files, and a command line that has a patched QEMU lay them side by side in
BAR 2. Here they are laid so into memory which exists already (``publish``), that of a file or of a server, and the host goes
on with its hugepages there. The order of pages, the offsets and the refusals are the original's.

Source: DPDK 16.07 lib/librte_ivshmem/rte_ivshmem.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.nics.ivshmem.errors import (
    AlreadyShared,
    BadMemzone,
    MetadataExists,
    MetadataFull,
    NoSuchMetadata,
    NothingThere,
    OutOfHugepages,
    SegmentOutside,
    TooManyMetadata,
)
from drivers.nics.ivshmem.hugepages import Hugepages
from drivers.nics.ivshmem.mempool import Mempool
from drivers.nics.ivshmem.ring import Ring
from drivers.nics.ivshmem.space import Memzone
from regmodel.structures.ivshmem import ENTRIES, FILES, MAGIC, METADATA, NAME, PAGES, metadata_room

EMPTY = {
    "name": bytes(NAME), "phys_addr": 0, "addr": 0, "ioremap_addr": 0, "len": 0, "hugepage_sz": 0, "socket_id": 0, "flags": 0,
    "memseg_id": 0,
}  # fmt: skip


class Metadata:
    """One metadata file: memory zones, sorted by physical address, each with its offset in the device.

    ``offsets`` are those, by name of the zone; ``pages`` what the device shows, in order, as (address, size) in bytes.
    """

    def __init__(self, name: str, hugepages: Sequence[Hugepages]) -> None:
        self.name, self._hugepages = name, hugepages
        self.zones: list[Memzone] = []
        self.offsets: dict[str, int] = {}
        self.pages: list[tuple[int, int]] = []
        self.published = False

    # -- what is shared

    def add_memzone(self, zone: Memzone) -> None:
        """Raises ``BadMemzone``, ``MetadataFull``, ``OutOfHugepages`` (rte_ivshmem_metadata_add_memzone)."""
        if self.published:
            raise AlreadyShared(f"{self.name!r} has been published: memory can be added to a device before that only")
        if zone.len == 0:
            raise BadMemzone(f"memory zone {zone.name!r} is empty")
        if any(zone.addr < other.end and other.addr < zone.end for other in self.zones):
            raise BadMemzone(f"memory zone {zone.name!r} overlaps another one of {self.name!r}, or is there already")
        if len(self.zones) == ENTRIES:
            raise MetadataFull(f"{self.name!r} has {ENTRIES} entries, which are all that it can have")
        zones = sorted([*self.zones, zone], key=lambda z: z.phys_addr)
        self.pages, self.offsets = _lay_out(zones)
        self.zones = zones

    def add_ring(self, ring: Ring) -> None:
        """Raises ``NothingThere`` besides (rte_ivshmem_metadata_add_ring)."""
        self.add_memzone(self._zone_at(ring.addr))

    def add_mempool(self, pool: Mempool) -> None:
        """The pool, its objects, its ring (rte_ivshmem_metadata_add_mempool)."""
        for zone in pool.zones:
            self.add_memzone(self._zone_at(zone.addr))

    def _zone_at(self, addr: int) -> Memzone:
        for pages in self._hugepages:
            if pages.owns(addr):
                return pages.zone_at(addr)
        raise NothingThere(f"{addr:#x} is in no hugepage: only what was reserved in hugepages can be shared")

    # -- how it is shown

    @property
    def size(self) -> int:
        """Bytes of BAR 2 that it takes: a power of two."""
        shown = sum(size for _, size in self.pages) + metadata_room()
        return 1 << (shown - 1).bit_length()

    def build(self) -> bytes:
        """The metadata as a guest finds them."""
        entries = [{"mz": _fields(zone), "offset": self.offsets[zone.name]} for zone in self.zones]
        entries += [{"mz": EMPTY, "offset": 0}] * (ENTRIES - len(entries))
        name = self.name.encode()[: NAME - 1].ljust(NAME, b"\0")
        built: bytes = METADATA.build({"magic_number": MAGIC, "name": name, "entry": entries})
        return built

    def publish(self, memory: memoryview) -> None:
        """Lay hugepages and metadata into the memory of a device, and keep the hugepages there from now on.

        Raises ``SegmentOutside`` when it is too small, ``AlreadyShared`` for a page that another device has.
        """
        if self.published:
            raise AlreadyShared(f"{self.name!r} has been published already")
        if len(memory) < self.size:
            raise SegmentOutside(f"{self.name!r} takes {self.size:#x} bytes of memory, this device has {len(memory):#x}")
        for addr, _ in self.pages:
            self._owner(addr)
        offset = 0
        for addr, size in _runs(self.pages):
            owner = self._pages_at(addr)
            shown = memory[offset : offset + size]
            shown[:] = owner.space.view(addr, size)
            owner.space.place(addr, shown)
            offset += size
        for addr, _ in self.pages:
            self._owner(addr).published[addr] = self
        memory[offset : len(memory) - metadata_room()] = bytes(len(memory) - metadata_room() - offset)
        built = self.build().ljust(metadata_room(), b"\0")
        at = len(memory) - metadata_room()
        memory[at + 4 : at + len(built)] = built[4:]
        memory[at : at + 4] = built[:4]  # the magic number comes last: a guest may be looking
        self.published = True

    def _pages_at(self, addr: int) -> Hugepages:
        return next(pages for pages in self._hugepages if pages.owns(addr))

    def _owner(self, addr: int) -> Hugepages:
        owner = self._pages_at(addr)
        if addr in owner.published:
            raise AlreadyShared(f"the hugepage at {addr:#x} is in another device already: let its guests share that one")
        return owner


def _fields(zone: Memzone) -> Mapping[str, object]:
    return {
        "name": zone.name.encode()[: NAME - 1].ljust(NAME, b"\0"), "phys_addr": zone.phys_addr, "addr": zone.addr,
        "ioremap_addr": zone.ioremap_addr, "len": zone.len, "hugepage_sz": zone.hugepage_sz, "socket_id": zone.socket_id,
        "flags": zone.flags, "memseg_id": zone.memseg_id,
    }  # fmt: skip


def _lay_out(zones: Sequence[Memzone]) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """The pages below ``zones`` (by physical address), the largest first, and where that puts each zone (build_config)."""
    found: dict[int, int] = {}
    for zone in zones:
        first = zone.addr // zone.hugepage_sz * zone.hugepage_sz
        for addr in range(first, zone.end, zone.hugepage_sz):
            found.setdefault(addr, zone.hugepage_sz)
    if len(found) > PAGES:
        raise OutOfHugepages(f"the memory zones lie in {len(found)} hugepages; a metadata file knows {PAGES}")
    pages = sorted(found.items(), key=lambda page: -page[1])  # stable: contiguous pages stay so
    offsets, at = {}, 0
    for addr, size in pages:
        for zone in zones:
            if addr <= zone.addr < addr + size:
                offsets[zone.name] = at + zone.addr - addr
        at += size
    return pages, offsets


def _runs(pages: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours as one, so that what reaches over the edge of a page is in one piece."""
    runs: list[tuple[int, int]] = []
    for addr, size in pages:
        if runs and sum(runs[-1]) == addr:
            runs[-1] = runs[-1][0], runs[-1][1] + size
        else:
            runs.append((addr, size))
    return runs


class Host:
    """A DPDK application on the host: its hugepages, and up to 32 metadata files on them."""

    def __init__(self, *hugepages: Hugepages) -> None:
        self.hugepages = hugepages
        self.metadata: dict[str, Metadata] = {}

    def create(self, name: str) -> Metadata:
        """Raises ``TooManyMetadata``, ``MetadataExists``, ``BadMemzone`` (rte_ivshmem_metadata_create)."""
        if len(self.metadata) == FILES:
            raise TooManyMetadata(f"a host has at most {FILES} metadata files")
        if not 0 < len(name.encode()) < NAME:
            raise BadMemzone(f"the name {name!r} of a metadata file has 1 to {NAME - 1} bytes")
        if name in self.metadata:
            raise MetadataExists(f"there is a metadata file {name!r} already")
        self.metadata[name] = Metadata(name, self.hugepages)
        return self.metadata[name]

    def find(self, name: str) -> Metadata:
        """Raises ``NoSuchMetadata`` (get_config_by_name)."""
        if name not in self.metadata:
            raise NoSuchMetadata(f"there is no metadata file {name!r}; there are {', '.join(self.metadata) or 'none'}")
        return self.metadata[name]

    def dump(self, name: str) -> str:
        """One line per entry (rte_ivshmem_metadata_dump)."""
        found = self.find(name)
        return "\n".join(
            f"Entry {i}: name:<{z.name}>, phys:{z.phys_addr:#x}, len:{z.len:#x}, virt:{z.addr:#x}, off:{at:#x}"
            for i, (z, at) in enumerate((zone, found.offsets[zone.name]) for zone in found.zones)
        )
