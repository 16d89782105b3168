"""BTF, the type information that Linux carries in its image and modules (kernel ``Documentation/bpf/btf.rst``), read enough
to know where each member of a structure stands.

A module's BTF is split: its type numbers and string offsets go on where those of ``vmlinux`` end.
"""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

MAGIC = 0xEB9F
INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, VOLATILE, CONST, RESTRICT, FLOAT, TYPE_TAG, ENUM64 = (
    1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16, 18, 19)  # fmt: skip
# Bytes behind the 12 of a type: fixed, and for each of its ``vlen`` parts.
_TAIL = {INT: (4, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12),
         17: (4, 0), ENUM64: (0, 12)}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A number inside of a structure: ``path`` (``lower.csum_ip.csum``), and where, in bits."""

    path: str
    offset: int
    width: int


class Btf:
    """The types of one image; ``base`` is that of ``vmlinux`` for a module."""

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        magic, _, _, header, type_at, type_size, string_at, string_size = struct.unpack_from("<HBBIIIII", data)
        assert magic == MAGIC, f"no BTF: magic is {magic:#x}"
        self.base = base
        self.first = base.last if base else 1  # type 0 is void
        self.first_string = base.last_string if base else 0
        self.types = data[header + type_at : header + type_at + type_size]
        self.strings = data[header + string_at : header + string_at + string_size]
        self.last_string = self.first_string + string_size
        self.at = self._index()
        self.last = self.first + len(self.at)

    def _index(self) -> list[int]:
        """The offset of each type."""
        places, at, unpack = [], 0, struct.Struct("<4xI").unpack_from
        while at < len(self.types):
            places.append(at)
            (info,) = unpack(self.types, at)
            fixed, each = _TAIL.get(info >> 24 & 0x1F, (0, 0))
            at += 12 + fixed + each * (info & 0xFFFF)
        return places

    def string(self, offset: int) -> str:
        if offset < self.first_string:
            assert self.base is not None
            return self.base.string(offset)
        at = offset - self.first_string
        return self.strings[at : self.strings.index(b"\0", at)].decode()

    def type(self, number: int) -> tuple[Btf, int, str, int, int, int, bool]:
        """(who owns it, offset, name, kind, vlen, size or type, kind flag)."""
        if number < self.first:
            assert self.base is not None
            return self.base.type(number)
        at = self.at[number - self.first]
        name, info, size = struct.unpack_from("<III", self.types, at)
        return self, at, self.string(name), info >> 24 & 0x1F, info & 0xFFFF, size, bool(info >> 31)

    def find(self, name: str) -> int:
        """The number of the structure or union ``name``. Raises KeyError."""
        for number in range(self.first, self.last):
            _, _, found, kind, *_ = self.type(number)
            if found == name and kind in (STRUCT, UNION):
                return number
        if self.base is not None:
            return self.base.find(name)
        raise KeyError(name)

    def named(self) -> set[str]:
        """The names of all structures and unions of this image itself."""
        types = (self.type(number) for number in range(self.first, self.last))
        return {name for _, _, name, kind, *_ in types if name and kind in (STRUCT, UNION)}

    def parts(self, name: str) -> set[str]:
        """A type and all named ones that lie inside of it, without the alternatives of unions."""
        found: set[str] = set()
        todo = [self.find(name)]
        while todo:
            owner, at, name, kind, count, inner, _ = self.type(todo.pop())
            if kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG):
                todo.append(inner)
            elif kind == ARRAY:
                todo.append(struct.unpack_from("<I", owner.types, at + 12)[0])
            elif kind == STRUCT:
                found.add(name)
                todo += [struct.unpack_from("<4xI", owner.types, at + 12 + 12 * i)[0] for i in range(count)]
        return found - {""}

    def has(self, path: str) -> bool:
        """There is such a ``type`` or ``type.member``."""
        try:
            return bool(self.inside(path))
        except KeyError:
            return False

    def size(self, number: int) -> int:
        """Bytes of a type."""
        owner, at, _, kind, _, size, _ = self.type(number)
        if kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG):
            return self.size(size)
        if kind == ARRAY:
            element, _, count = struct.unpack_from("<III", owner.types, at + 12)
            return self.size(element) * int(count)
        return 8 if kind == PTR else size

    def members(self, number: int, path: str = "", offset: int = 0, width: int = 0) -> Iterator[Member]:
        """Every number inside of the type, alternatives of unions included; an array is one member."""
        owner, at, _, kind, count, size, flag = self.type(number)
        if kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG):
            yield from self.members(size, path, offset, width)
        elif kind in (STRUCT, UNION):
            for i in range(count):
                name_at, inner, place = struct.unpack_from("<III", owner.types, at + 12 + 12 * i)
                bits, place = (place >> 24, place & 0xFFFFFF) if flag else (0, place)
                name = owner.string(name_at)
                yield from self.members(inner, ".".join(filter(None, (path, name))), offset + place, bits)
        else:
            yield Member(path, offset, width or 8 * self.size(number))

    def inside(self, path: str) -> tuple[int, list[Member]]:
        """Size in bytes and members of ``type`` or ``type.member``. Raises KeyError."""
        name, *rest = path.split(".")
        number, offset = self.find(name), 0
        for part in rest:
            owner, at, _, _, count, _, _ = self.type(number)
            for i in range(count):
                name_at, inner, place = struct.unpack_from("<III", owner.types, at + 12 + 12 * i)
                if owner.string(name_at) == part:
                    number, offset = inner, place
                    break
            else:
                raise KeyError(path)
        assert offset == 0, f"{path} does not begin its union"
        return self.size(number), list(self.members(number))


def read(image: Path, base: Btf | None = None) -> Btf:
    """The BTF of a kernel image or of a module (``.ko`` or ``.ko.xz``)."""
    data = lzma.decompress(image.read_bytes()) if image.suffix == ".xz" else image.read_bytes()
    section = ELFFile(io.BytesIO(data)).get_section_by_name(".BTF")
    assert section is not None, f"{image} has no section .BTF"
    return Btf(section.data(), base)
