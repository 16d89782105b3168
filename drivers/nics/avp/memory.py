"""The memory that the host shares (BAR 2), and the host's addresses in it.

In here: words and bytes of BAR 2, the memory map of BAR 4 and the device information of BAR 5. Words of queues are loaded and
stored once each; packets and descriptors, which belong to one side at a time, are copied.

Source: DPDK avp_ethdev.c ``avp_dev_check_regions``, ``avp_dev_translate_address``, ``avp_dev_version_check``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.errors import UnsupportedReply
from drivers.transports import MappedBar, Transport
from drivers.transports.mapped import whole
from regmodel.function import Buffer
from regmodel.layout import Layout, layout
from regmodel.structures.avp import (
    DEVICE_INFO,
    DEVICE_MAGIC,
    GUEST_VERSION,
    MAX_MAPS,
    MEMMAP_INFO,
    MEMMAP_MAGIC,
    MEMMAP_VERSION,
    make_version,
    strip_minor,
)

MEMORY_BAR, MEMMAP_BAR, DEVICE_BAR = 2, 4, 5
_INFO, _MAP = layout(DEVICE_INFO), layout(MEMMAP_INFO)
_WORD = 8


class SharedMemory:
    """BAR 2 by offset, in bytes."""

    def __init__(self, bar: MappedBar) -> None:
        self.size = bar.size
        self._u8, self._u32, self._u64 = bar.u8, bar.u32, bar.u64
        self._view = whole(bar)

    def load(self, at: int) -> int:
        """One 32-bit word, in one access."""
        return self._u32[at // 4]

    def store(self, at: int, value: int) -> None:
        """One 32-bit word, in one access."""
        self._u32[at // 4] = value

    def load_pointer(self, at: int) -> int:
        return self._u64[at // _WORD]

    def store_pointer(self, at: int, value: int) -> None:
        self._u64[at // _WORD] = value

    def read(self, at: int, size: int) -> bytes:
        """A copy of ``size`` bytes."""
        if self._view is not None:
            return bytes(self._view[at : at + size])
        first, last = at // _WORD, -(-(at + size) // _WORD)
        words = b"".join(self._u64[i].to_bytes(_WORD, "little") for i in range(first, last))
        return words[at - first * _WORD : at - first * _WORD + size]

    def write(self, at: int, data: Buffer) -> None:
        """Store ``data``."""
        if self._view is not None:
            self._view[at : at + len(data)] = data
            return
        done, size = 0, len(data)
        while done < size:
            if (at + done) % _WORD == 0 and size - done >= _WORD:
                self._u64[(at + done) // _WORD] = int.from_bytes(data[done : done + _WORD], "little")
                done += _WORD
            else:
                self._u8[at + done] = data[done]
                done += 1


def member(table: Layout, data: Buffer, path: str) -> int:
    """A number of a structure."""
    leaf = table.leaf(path)
    return int.from_bytes(data[leaf.offset : leaf.offset + leaf.size], "little")


@dataclass(frozen=True)
class Tables:
    """What BARs 4 and 5 say: ``info`` by member, ``mac``; and where BAR 2 has what the host names."""

    info: Mapping[str, int]
    mac: bytes
    _regions: tuple[tuple[int, int, int], ...]  # offset in BAR 2, physical address, bytes

    @classmethod
    def read(cls, transport: Transport) -> Tables:
        """Raises ``UnsupportedReply`` for magic numbers and versions that this driver does not know, and for what cannot be."""
        info = _table(transport, DEVICE_BAR, 0, _INFO.size)
        head = _table(transport, MEMMAP_BAR, 0, _MAP.leaf("maps[0].addr").offset)
        magic, version, count = (member(_MAP, head, name) for name in ("magic", "version", "nb_maps"))
        if magic != MEMMAP_MAGIC or version != MEMMAP_VERSION or count > MAX_MAPS:
            text = f"BAR {MEMMAP_BAR} is no memory map of version {MEMMAP_VERSION}"
            raise UnsupportedReply(f"{transport.name}: {text}: magic {magic:#x}, version {version}, {count} regions")
        _check(transport, member(_INFO, info, "magic"), member(_INFO, info, "version"))
        if not member(_INFO, info, "mbuf_size"):
            raise UnsupportedReply(f"{transport.name}: BAR {DEVICE_BAR} says that a buffer of the host holds 0 octets")
        mac = _INFO.leaf("ethaddr")
        names = [leaf.path for leaf in _INFO.leaves if not leaf.is_bytes and "[" not in leaf.path]
        simple = {name: member(_INFO, info, name) for name in names}
        return cls(simple, bytes(info[mac.offset : mac.offset + mac.size]), _regions(transport, count))

    def offset(self, physical: int, size: int, what: str) -> int:
        """Where BAR 2 has ``size`` bytes at a physical address of the host. Raises ``UnsupportedReply``."""
        for at, start, length in self._regions:
            if start <= physical and physical + size <= start + length:
                return at + physical - start
        raise UnsupportedReply(f"the memory map has no {size} bytes at {physical:#x}, where the host says that its {what} is")


def _check(transport: Transport, magic: int, version: int) -> None:
    ours = make_version(*GUEST_VERSION)
    if magic != DEVICE_MAGIC:
        raise UnsupportedReply(f"{transport.name}: BAR {DEVICE_BAR} holds no device information: magic {magic:#x}")
    if strip_minor(version) > strip_minor(ours):
        text = f"the host is of version {_dotted(version)} and this driver of {_dotted(ours)}: it needs a newer driver"
        raise UnsupportedReply(f"{transport.name}: {text}")


def _regions(transport: Transport, count: int) -> tuple[tuple[int, int, int], ...]:
    found: list[tuple[int, int, int]] = []
    first, second = (_MAP.leaf(f"maps[{i}].addr").offset for i in (0, 1))
    rows = _table(transport, MEMMAP_BAR, first, count * (second - first))
    at = 0
    for row in range(0, len(rows), second - first):
        _, start, length = (int.from_bytes(rows[row + i : row + i + _WORD], "little") for i in (0, 8, 16))
        found.append((at, start, length))
        at += length
    if at > transport.bar(MEMORY_BAR).size:
        raise UnsupportedReply(f"{transport.name}: the memory map has {at:#x} bytes, more than BAR {MEMORY_BAR} shows")
    return tuple(found)


def _table(transport: Transport, bar: int, at: int, size: int) -> bytes:
    words = transport.bar(bar).u32
    data: list[Any] = [words[i].to_bytes(4, "little") for i in range(at // 4, -(-(at + size) // 4))]
    return b"".join(data)


def _dotted(version: int) -> str:
    return f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}"
