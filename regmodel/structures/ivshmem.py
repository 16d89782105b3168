"""What DPDK's IVSHMEM library (up to 16.07) puts into the shared memory: which segments there are, rings, memory pools.

What lives here: layouts, limits and names, and their sources; data only. The host puts hugepages one behind the other into
BAR 2 and the metadata into its last pages; the guest maps each segment at the address that it has in the host, so that
pointers mean the same on both sides. ``rte_ring`` and ``rte_mempool`` are those of the 64-bit ABI of that release, with cache
lines of 64 bytes and without debugging (``CONFIG_RTE_LIBRTE_RING_DEBUG``, ``CONFIG_RTE_LIBRTE_MEMPOOL_DEBUG``).
"""

from __future__ import annotations

from enum import IntFlag

from construct import Array, Bytes, Construct, Int32sl, Int32ul, Int64ul, Padding, Struct

from regmodel.sources import Reading

LIBRARY = "lib/librte_ivshmem/rte_ivshmem"


def D(file: str, what: str) -> Reading:
    return Reading("dpdk v16.07", file, what)


METADATA_SOURCE = D(f"{LIBRARY}.h", "struct rte_ivshmem_metadata")
MEMZONE_SOURCE = D("lib/librte_eal/common/include/rte_memzone.h", "struct rte_memzone, RTE_LIBRTE_IVSHMEM")
RING_SOURCE = D("lib/librte_ring/rte_ring.h", "struct rte_ring")
MEMPOOL_SOURCE = D("lib/librte_mempool/rte_mempool.h", "struct rte_mempool, rte_mempool_objhdr, rte_mempool_memhdr")
WRITER = D(f"{LIBRARY}.c", "build_config, add_memzone_to_metadata, rte_ivshmem_metadata_cmdline_generate")
READER = D("lib/librte_eal/linuxapp/eal/eal_ivshmem.c", "rte_eal_ivshmem_init, read_metadata, map_all_segments")
CONFIG = D("config/defconfig_x86_64-ivshmem-linuxapp-gcc", "CONFIG_RTE_LIBRTE_IVSHMEM_MAX_*")
SOURCES = (METADATA_SOURCE, MEMZONE_SOURCE, RING_SOURCE, MEMPOOL_SOURCE, WRITER, READER, CONFIG)

MAGIC = 0x0BADC0DE
NAME = 32
"""Bytes of a name, its final 0 included (IVSHMEM_NAME_LEN, RTE_MEMZONE_NAMESIZE)."""
ENTRIES, FILES, DEVICES = 128, 32, 4
"""Memzones of one metadata file, files of one host, devices of one guest."""
MEMSEGS = 256
"""Segments of one guest, before and after merging (CONFIG_RTE_MAX_MEMSEG)."""
PAGES = 1 << 12
"""Hugepages of one metadata file (IVSHMEM_MAX_PAGES)."""
PAGE = 4096
"""Metadata and segments fill whole pages of this size."""
CACHE_LINE = 64

# fmt: off
MEMZONE = Struct(
    "name"         / Bytes(NAME)  * "of the memory zone, ended by 0",
    "phys_addr"    / Int64ul      * "physical address in the host",
    "addr"         / Int64ul      * "virtual address in the host, and in every guest",
    "ioremap_addr" / Int64ul      * "physical address in the guest, which fills it in",
    "len"          / Int64ul      * "bytes; 0 ends the table",
    "hugepage_sz"  / Int64ul      * "bytes of the pages below it",
    "socket_id"    / Int32sl      * "NUMA socket; -1: any",
    "flags"        / Int32ul      * "characteristics",
    "memseg_id"    / Int32ul      * "segment of the host that holds it",
) * "a named piece of hugepages; packed"

ENTRY = Struct("mz" / MEMZONE, Padding(4), "offset" / Int64ul * "of the memory zone in BAR 2") * (
    "a memory zone, and where a guest finds it")

METADATA: Construct = Struct(
    "magic_number" / Int32ul      * "0x0BADC0DE",
    "name"         / Bytes(NAME)  * "of the metadata file, ended by 0",
    Padding(4),
    "entry"        / Array(ENTRIES, ENTRY),
) * "what a guest finds in the last pages of BAR 2"

PROD = Struct(
    "watermark"  / Int32ul * "entries beyond which enqueuing warns",
    "sp_enqueue" / Int32ul * "1: one producer",
    "size"       / Int32ul * "a power of two",
    "mask"       / Int32ul * "size - 1",
    "head"       / Int32ul * "reserved up to here; counts on modulo 2^32",
    "tail"       / Int32ul * "filled up to here",
)
CONS = Struct(
    "sc_dequeue" / Int32ul * "1: one consumer",
    "size"       / Int32ul * "a power of two",
    "mask"       / Int32ul * "size - 1",
    "head"       / Int32ul * "taken up to here",
    "tail"       / Int32ul * "emptied up to here",
)
RING = Struct(
    "name"    / Bytes(NAME) * "of the ring, ended by 0",
    "flags"   / Int32ul     * "RING_F_*",
    Padding(4),
    "memzone" / Int64ul     * "pointer into memory of the host alone",
    Padding(16),
    "prod"    / PROD, "cons" / CONS,
    Padding(20),
) * "rte_ring; pointers follow, 64 bits each, size of them"

OBJHDR = Struct(
    "next"     / Int64ul * "pointer to the header of the next object of the pool, 0 for the last",
    "mp"       / Int64ul * "pointer to the pool",
    "physaddr" / Int64ul * "physical address of the object in the host",
) * "rte_mempool_objhdr, right before each object"

MEMPOOL = Struct(
    "name"              / Bytes(NAME) * "of the pool, ended by 0",
    "pool_data"         / Int64ul     * "pointer to the ring of free objects",
    "pool_config"       / Int64ul     * "0",
    "mz"                / Int64ul     * "pointer into memory of the host alone",
    "flags"             / Int32ul     * "MEMPOOL_F_*",
    "socket_id"         / Int32sl     * "NUMA socket; -1: any",
    "size"              / Int32ul     * "objects, at most",
    "cache_size"        / Int32ul     * "objects in a cache per core; 0: none",
    "elt_size"          / Int32ul     * "bytes of an object",
    "header_size"       / Int32ul     * "bytes before it",
    "trailer_size"      / Int32ul     * "bytes behind it",
    "private_data_size" / Int32ul     * "bytes behind this structure and the caches",
    "ops_index"         / Int32sl     * "which functions of the host; 0: ring_mp_mc",
    Padding(4),
    "local_cache"       / Int64ul     * "pointer to the caches",
    "populated_size"    / Int32ul     * "objects",
    Padding(4),
    "elt_first"         / Int64ul     * "pointer to the first object's header",
    "elt_last"          / Int64ul     * "pointer to the last one's next",
    "nb_mem_chunks"     / Int32ul     * "memory zones that hold objects",
    Padding(4),
    "mem_first"         / Int64ul     * "pointer into memory of the host alone",
    "mem_last"          / Int64ul     * "pointer into memory of the host alone",
    Padding(40),
) * "rte_mempool"
# fmt: on


class RingFlag(IntFlag):
    """RING.flags (rte_ring.h RING_F_*)."""

    SP_ENQ = 1
    SC_DEQ = 2


class MempoolFlag(IntFlag):
    """MEMPOOL.flags (rte_mempool.h MEMPOOL_F_*)."""

    NO_SPREAD = 0x01
    NO_CACHE_ALIGN = 0x02
    SP_PUT = 0x04
    SC_GET = 0x08
    POOL_CREATED = 0x10
    NO_PHYS_CONTIG = 0x20


RING_MOST = 0x0FFF_FFFF
"""Entries (RTE_RING_SZ_MASK)."""
RING_PREFIX, MEMPOOL_PREFIX = "RG_", "MP_"
"""How names of memory zones begin that hold a ring, a pool (RTE_RING_MZ_PREFIX, RTE_MEMPOOL_MZ_PREFIX)."""

STRUCTURES = {"metadata": METADATA, "metadata_entry": ENTRY, "memzone": MEMZONE, "rte_ring": RING, "rte_mempool": MEMPOOL,
              "rte_mempool_objhdr": OBJHDR}  # fmt: skip


def metadata_room() -> int:
    """Bytes at the end of BAR 2 that belong to the metadata: METADATA, up to whole pages."""
    return -(-int(METADATA.sizeof()) // PAGE) * PAGE
