"""The description of IVSHMEM against figures that its sources give in numbers."""

from __future__ import annotations

import pytest

from regmodel.catalogue import find
from regmodel.devices.ivshmem import doorbell, legacy, msix_places, plain
from regmodel.layout import layout
from regmodel.mailboxes.ivshmem import MESSAGE, MESSAGES
from regmodel.structures.ivshmem import ENTRY, MEMPOOL, MEMZONE, METADATA, OBJHDR, RING, metadata_room


def test_sizes_that_a_compiler_gives() -> None:
    """gcc on x86-64, of the structures of DPDK 16.07 with CONFIG_RTE_LIBRTE_IVSHMEM."""
    sizes = [layout(s).size for s in (MEMZONE, ENTRY, METADATA, RING, MEMPOOL, OBJHDR)]
    assert sizes == [84, 96, 12328, 128, 192, 24]
    assert metadata_room() == 16384


@pytest.mark.parametrize(
    ("schema", "offsets"),
    [
        (METADATA, {"magic_number": 0, "name": 4, "entry[0].mz.name": 40, "entry[0].offset": 128, "entry[127].offset": 12320}),
        (MEMZONE, {"phys_addr": 32, "addr": 40, "ioremap_addr": 48, "len": 56, "hugepage_sz": 64, "memseg_id": 80}),
        (RING, {"flags": 32, "memzone": 40, "prod.watermark": 64, "prod.tail": 84, "cons.sc_dequeue": 88, "cons.tail": 104}),
        (MEMPOOL, {"pool_data": 32, "flags": 56, "elt_size": 72, "local_cache": 96, "elt_first": 112, "nb_mem_chunks": 128,
                   "mem_first": 136}),
    ],
)  # fmt: skip
def test_offsets_that_a_compiler_gives(schema: object, offsets: dict[str, int]) -> None:
    found = layout(schema).offsets
    assert {path: found[path] for path in offsets} == offsets


@pytest.mark.parametrize(
    ("vectors", "places"), [(1, (0x800, 0x1000)), (128, (0x800, 0x1000)), (129, (0x810, 0x1000)), (2048, (0x8000, 0x10000))]
)
def test_msix_is_where_qemu_puts_it(vectors: int, places: tuple[int, int]) -> None:
    """hw/pci/msix.c ``msix_init_exclusive_bar``."""
    assert msix_places(vectors) == places
    spec = doorbell(1 << 20, vectors).config.msix
    assert spec is not None and (spec.table, spec.pba, spec.vectors) == ((1, 0), (1, places[0]), vectors)


def test_the_three_kinds() -> None:
    kinds = {name: find(name) for name in ("ivshmem-plain", "ivshmem-doorbell", "ivshmem")}
    assert {(d.identity.vendor, d.identity.device, d.identity.subsystem) for d in kinds.values()} == {(0x1AF4, 0x1110, 0x1100)}
    assert [d.identity.revision for d in kinds.values()] == [1, 1, 0]
    assert [sorted(d.bars) for d in kinds.values()] == [[0, 2], [0, 1, 2], [0, 2]]
    assert [d.config.pin for d in kinds.values()] == [0, 0, 1]
    assert [d.bars[0].size for d in kinds.values()] == [256] * 3
    assert plain(1 << 16).bars[2].size == 1 << 16 and legacy(1 << 16, 4).msix_vectors == 4


def test_messages_are_numbered_as_the_specification_does() -> None:
    assert [m.number for m in MESSAGES] == [1, 2, 3, 4, 5, 6]
    assert all(m.schema.sizeof() == 8 for m in MESSAGES)
    assert MESSAGE.build({"number": -1}) == b"\xff" * 8 and MESSAGE.parse(bytes([5, 1, 0, 0, 0, 0, 0, 0])).number == 261
