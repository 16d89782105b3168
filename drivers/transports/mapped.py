"""``MappedBar`` over memory that is mapped into this process, whole or in parts; calls for what is not mapped.

Nothing in here knows who mapped it: Linux VFIO, a vfio-user server's file, a test. A BAR that is mapped whole costs what a
``memoryview`` costs, since its words *are* one: item access of a cast ``memoryview`` is one load or one store of that width
(``struct.pack_into``, slices and ``ctypes.memmove`` are not). Words are in host byte order, which is the bus' on every host
this runs on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from drivers.transports import MappedBar, Words
from drivers.transports.access import WIDTHS, check_bar

FORMATS: Final[dict[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Native formats of ``memoryview.cast``, by width in bytes."""


class Unmapped(Protocol):
    """One access of 1, 2, 4 or 8 bytes to what is not mapped; offsets are in bytes, from the start of the BAR."""

    def load(self, offset: int, size: int) -> int: ...

    def store(self, offset: int, size: int, value: int) -> None: ...


@dataclass(frozen=True)
class Area:
    """``view`` (of format ``B``) shows the BAR from ``offset`` on. Both ends lie at multiples of eight bytes."""

    offset: int
    view: memoryview


class PartWords:
    """A BAR as words of one width, some of them mapped."""

    __slots__ = ("_areas", "_count", "_limit", "_rest", "_width")

    def __init__(self, areas: Sequence[Area], rest: Unmapped, size: int, width: int) -> None:
        self._areas = [(a.offset // width, (a.offset + len(a.view)) // width, a.view.cast(FORMATS[width])) for a in areas]
        self._rest, self._width, self._count, self._limit = rest, width, size // width, 1 << 8 * width

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        for first, end, view in self._areas:
            if first <= index < end:
                return view[index - first]
        self._check(index, 0)
        return self._rest.load(index * self._width, self._width)

    def __setitem__(self, index: int, value: int) -> None:
        for first, end, view in self._areas:
            if first <= index < end:
                view[index - first] = value
                return
        self._check(index, value)
        self._rest.store(index * self._width, self._width, value)

    def _check(self, index: int, value: int) -> None:
        if not 0 <= index < self._count:
            raise IndexError(f"there is no word {index}")
        if not 0 <= value < self._limit:
            raise ValueError(f"{value:#x} is no unsigned number of {self._width} bytes")

    def release(self) -> None:
        for _, _, view in self._areas:
            view.release()


class AreaBar:
    """A ``MappedBar`` of ``size`` bytes, of which ``areas`` (by offset, disjoint) are mapped; ``rest`` takes the others."""

    def __init__(self, index: int, size: int, areas: Sequence[Area], rest: Unmapped) -> None:
        self.index, self.size = index, size
        self._words: dict[int, memoryview | PartWords] = {}
        whole = len(areas) == 1 and areas[0].offset == 0 and len(areas[0].view) == size
        for width in WIDTHS:
            self._words[width] = areas[0].view.cast(FORMATS[width]) if whole else PartWords(areas, rest, size, width)
        self._areas = areas
        self.u8: Words
        self.u16: Words
        self.u32: Words
        self.u64: Words
        self.u8, self.u16, self.u32, self.u64 = (self._words[width] for width in WIDTHS)

    def read(self, offset: int, size: int) -> int:
        check_bar(self, offset, size)
        return self._words[size][offset // size]

    def write(self, offset: int, size: int, value: int) -> None:
        check_bar(self, offset, size, value)
        self._words[size][offset // size] = value

    def release(self) -> None:
        """No access any more: whoever still has the words gets an error, not a fault."""
        for words in self._words.values():
            words.release()
        for area in self._areas:
            with contextlib.suppress(BufferError):  # somebody made a view of his own
                area.view.release()


def whole(bar: MappedBar) -> memoryview | None:
    """All bytes of a BAR in place, for a driver that looks at memory of the device; None where it is not mapped whole."""
    view: object = getattr(bar, "view", bar.u8)
    return view if isinstance(view, memoryview) else None
