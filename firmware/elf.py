"""The loader: symbols of an ELF image, tables placed at them before it starts, answers read at them while and after it ran.

Works with any ELF file whose symbols have sizes, of either byte order; what the bytes mean is ``vectors``' business. An
address of the image is an offset in guest memory: it is linked where it is loaded, and paging is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from firmware.errors import FirmwareError
from regmodel.errors import UsageError


@dataclass(frozen=True)
class Symbol:
    """Where an object of the image is: guest address and size in bytes; ``file`` is its offset in the ELF file, or None
    where the file holds no bytes for it (``.bss``)."""

    name: str
    address: int
    size: int
    file: int | None


class Image:
    """An ELF file, and what to write into it."""

    def __init__(self, data: bytes, name: str = "image") -> None:
        self.name = name
        self.data = bytearray(data)
        self.symbols: Mapping[str, Symbol] = _symbols(data, name)

    @classmethod
    def read(cls, path: Path) -> Image:
        """The image in a file."""
        return cls(path.read_bytes(), path.name)

    def symbol(self, name: str) -> Symbol:
        """One symbol. Raises ``FirmwareError`` where the image has none of that name."""
        found = self.symbols.get(name)
        if found is None:
            raise FirmwareError(f"{self.name} has no symbol {name}: it is not the image that this loader was made for")
        return found

    def place(self, name: str, content: bytes, offset: int = 0) -> None:
        """Write ``content`` at a symbol. Raises ``UsageError`` where it does not fit, or is not in the file."""
        symbol = self.symbol(name)
        if symbol.file is None:
            raise UsageError(f"{name} of {self.name} has no bytes in the file: it can be written in guest memory only")
        if offset < 0 or offset + len(content) > symbol.size:
            raise UsageError(f"{offset + len(content)} bytes do not fit {name} of {self.name}, which has {symbol.size}")
        self.data[symbol.file + offset : symbol.file + offset + len(content)] = content


class GuestView:
    """Guest memory by the symbols of the image that runs in it. ``memory`` starts at guest address 0."""

    def __init__(self, image: Image, memory: memoryview) -> None:
        self._image, self._memory = image, memory

    def view(self, name: str) -> memoryview:
        """The bytes of a symbol, in place."""
        symbol = self._image.symbol(name)
        return self._memory[symbol.address : symbol.address + symbol.size]

    def words(self, name: str) -> memoryview:
        """The same as 32-bit words: an item is read and written by one access."""
        return self.view(name).cast("I")


def _symbols(data: bytes, name: str) -> dict[str, Symbol]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    found = {}
    try:
        elf = ELFFile(BytesIO(data))
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise FirmwareError(f"{name} has no symbol table: was it stripped?")
        for entry in table.iter_symbols():
            index, address, size = entry["st_shndx"], entry["st_value"], entry["st_size"]
            if not size or not isinstance(index, int):
                continue
            section = elf.get_section(index)
            held = section["sh_type"] != "SHT_NOBITS"
            offset = section["sh_offset"] + address - section["sh_addr"] if held else None
            found[entry.name] = Symbol(entry.name, address, size, offset)
    except (ELFError, ValueError, KeyError) as error:
        raise FirmwareError(f"{name} is no ELF file that can be loaded: {error or type(error).__name__}") from error
    return found
