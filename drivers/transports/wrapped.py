"""What the transports that stand before or in place of another one share: BARs whose accesses are calls of their owner."""

from __future__ import annotations

from typing import Final, Protocol

from drivers.transports import Words
from drivers.transports.access import WIDTHS, check_bar


class Owner(Protocol):
    def bar_read(self, index: int, offset: int, size: int) -> int: ...

    def bar_write(self, index: int, offset: int, size: int, value: int) -> None: ...


class WrappedWords:
    """A BAR as words of ``width`` bytes."""

    __slots__ = ("_count", "_index", "_limit", "_owner", "_width")

    def __init__(self, owner: Owner, index: int, size: int, width: int) -> None:
        self._owner, self._index, self._width = owner, index, width
        self._count, self._limit = size // width, 1 << 8 * width

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"BAR {self._index} has no word {index}")
        return self._owner.bar_read(self._index, index * self._width, self._width)

    def __setitem__(self, index: int, value: int) -> None:
        if not 0 <= index < self._count:
            raise IndexError(f"BAR {self._index} has no word {index}")
        if not 0 <= value < self._limit:
            raise ValueError(f"{value:#x} is no unsigned number of {self._width} bytes")
        self._owner.bar_write(self._index, index * self._width, self._width, int(value))


class WrappedBar:
    """A ``MappedBar`` of ``size`` bytes: each access that it can take is one call of ``owner``."""

    def __init__(self, owner: Owner, index: int, size: int) -> None:
        self.index, self.size, self._owner = index, size, owner
        self.u8: Words
        self.u16: Words
        self.u32: Words
        self.u64: Words
        self.u8, self.u16, self.u32, self.u64 = (WrappedWords(owner, index, size, width) for width in WIDTHS)

    def read(self, offset: int, size: int) -> int:
        check_bar(self, offset, size)
        return self._owner.bar_read(self.index, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        check_bar(self, offset, size, value)
        self._owner.bar_write(self.index, offset, size, int(value))


CLOSED: Final = "has been closed"
