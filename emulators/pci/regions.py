"""Regions of a function as its description gives them, and configuration accesses of any size on a bank.

Pure functions of a description: what happens on an access to a BAR is ``function``'s business.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping

from emulators.pci.shared import SharedMemory
from regmodel.bank import Bank
from regmodel.catalogue import Device
from regmodel.errors import DescriptionError
from regmodel.function import CONFIG_REGION, ROM_REGION, Memory, Region, RegionKind
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Window


def regions_of(
    device: Device, space: ConfigSpace, banks: Mapping[int, Bank], shared: Mapping[int, SharedMemory], rom: Memory
) -> tuple[Region, ...]:
    """All regions with a size, by index. Sizes are those which the base address registers answer to sizing.

    Raises ``DescriptionError``: ``bar-absent`` for a register file without base address register, ``bar-bank`` for one whose
    size differs from it, ``window-memory`` for a mappable window in memory that cannot be mapped.
    """
    specs = {spec.index: spec for spec in space.bar_specs}
    for index, bank in banks.items():
        path = f"{device.name}.{bank.bar.bar}"
        if index not in specs:
            raise DescriptionError("bar-absent", path, bank.bar.where, f"configuration space has no BAR {index}")
        if bank.bar.size != specs[index].size:
            text = f"{bank.bar.size:#x} bytes of registers in BAR {index} of {specs[index].size:#x}"
            raise DescriptionError("bar-bank", path, bank.bar.where, text)
    found = [_bar(device, spec, banks.get(spec.index), shared.get(spec.index)) for spec in space.bar_specs]
    if space.rom_size:
        found.append(Region(ROM_REGION, RegionKind.ROM, space.rom_size, writable=False, backing=rom))
    found.append(Region(CONFIG_REGION, RegionKind.CONFIG, space.size))
    return tuple(sorted(found, key=lambda region: region.index))


def _bar(device: Device, spec: BarSpec, bank: Bank | None, memory: SharedMemory | None) -> Region:
    if bank is None:
        return Region(spec.index, spec.kind, spec.size)
    areas = _mappable(bank)
    if not areas:
        return Region(spec.index, spec.kind, spec.size)
    if memory is None:
        path = f"{device.name}.{bank.bar.bar}"
        raise DescriptionError("window-memory", path, bank.bar.where, "a window is mappable, but its model shares no memory")
    return Region(spec.index, spec.kind, spec.size, mappable=areas, backing=memory, fd=memory.fd)


def _mappable(bank: Bank) -> tuple[tuple[int, int], ...]:
    """The windows that the description offers, cut to whole pages."""
    page = mmap.PAGESIZE
    areas = []
    for window in bank.bar.entries.values():
        if isinstance(window, Window) and window.mappable:
            first, end = -(-window.at // page) * page, (window.at + window.size) // page * page
            if first < end:
                areas.append((first, end - first))
    return tuple(sorted(areas))


def config_read(bank: Bank, offset: int, size: int) -> bytes:
    """``size`` bytes; those that no register claims, or that lie beyond the end, read 0 without being logged as misses."""
    data = bytearray()
    end = offset + size
    while offset < end:
        width = _width(offset, end)
        if any(bank.cell_at(byte) for byte in range(offset, offset + width)):
            data += bank.read(offset, width).to_bytes(width, "little")
        else:
            data += bytes(width)
        offset += width
    return bytes(data)


def config_write(bank: Bank, offset: int, data: bytes) -> None:
    """Store ``data``, lowest address first; bytes that no register claims are dropped."""
    at, end = offset, offset + len(data)
    while at < end:
        width = _width(at, end)
        if any(bank.cell_at(byte) for byte in range(at, at + width)):
            bank.write(at, width, int.from_bytes(data[at - offset : at - offset + width], "little"))
        at += width


def _width(offset: int, end: int) -> int:
    """The widest naturally aligned access at ``offset`` that does not pass ``end``, in bytes."""
    width = 4 if offset % 4 == 0 else 2 if offset % 2 == 0 else 1
    while offset + width > end:
        width //= 2
    return width
