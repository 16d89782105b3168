"""Guest memory as a device sees it: which bus addresses are mapped, to which bytes, with which permission.

A PCI function owns one ``DmaMap`` and hands it to its model as ``Host.dma``. Where the bytes come from (a mapped memfd, a
file, messages on a socket, a bytearray) is the business of the ``Memory`` behind each range and does not enter here.

This is the data path. A guest without an IOMMU has a handful of ranges; one with an IOMMU maps page by page and has
thousands, so ranges are found by bisection and the last one found is remembered: one for single accesses, which are to
rings, and one for those of a burst, which are to buffers; for reads and writes each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from regmodel.errors import DmaFault, RegmodelError
from regmodel.function import Buffer, Memory

ADDRESS_END = 1 << 64
T = TypeVar("T")


class DmaMapError(RegmodelError):
    """A map or unmap that contradicts the maps there are. ``code`` is ``overlap``, ``absent``, ``cut`` or ``range``."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Ranges(Generic[T]):
    """Disjoint ranges of addresses, each with something attached. Lookup is O(log n)."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._rows: list[tuple[int, int, T]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, int, T]]:
        """All (start, end, thing), by address; a copy, so the table may be changed meanwhile."""
        return iter(list(self._rows))

    def add(self, start: int, size: int, thing: T) -> None:
        """Raises ``DmaMapError``: ``range`` when it is empty or beyond 64 bits, ``overlap`` when part of it is taken."""
        end = start + size
        if not 0 <= start < end <= ADDRESS_END:
            raise DmaMapError("range", f"{size:#x} bytes at {start:#x} are not a range of 64-bit addresses")
        at = bisect_right(self._starts, start)
        for row in self._rows[max(at - 1, 0) : at + 1]:
            if row[0] < end and start < row[1]:
                raise DmaMapError("overlap", f"{start:#x} to {end:#x} overlaps the map {row[0]:#x} to {row[1]:#x}")
        self._starts.insert(at, start)
        self._rows.insert(at, (start, end, thing))

    def remove(self, start: int, size: int) -> T:
        """Take out exactly one former range. Raises ``DmaMapError`` ``absent``."""
        at = bisect_right(self._starts, start) - 1
        if at < 0 or self._rows[at][:2] != (start, start + size):
            raise DmaMapError("absent", f"{size:#x} bytes at {start:#x} are not mapped as one range")
        del self._starts[at]
        return self._rows.pop(at)[2]

    def take(self, start: int, size: int) -> list[tuple[int, int, T]]:
        """Take out all ranges that lie within; (start, end, thing) of each.

        Raises ``DmaMapError``, with nothing taken: ``absent`` when there is none, ``cut`` when an edge cuts one in two.
        """
        end = start + size
        first = bisect_left(self._starts, start)
        last = bisect_left(self._starts, end)
        for row in self._rows[max(first - 1, 0) : first] + self._rows[first:last][-1:]:
            if row[0] < start < row[1] or row[0] < end < row[1]:
                raise DmaMapError("cut", f"{size:#x} bytes at {start:#x} cut the map {row[0]:#x} to {row[1]:#x} in two")
        if first >= last:
            raise DmaMapError("absent", f"nothing is mapped in the {size:#x} bytes at {start:#x}")
        taken = self._rows[first:last]
        del self._starts[first:last], self._rows[first:last]
        return taken

    def find(self, address: int) -> tuple[int, int, T] | None:
        """The (start, end, thing) that holds ``address``."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0 and address < self._rows[at][1]:
            return self._rows[at]
        return None

    def clear(self) -> None:
        self._starts.clear()
        self._rows.clear()


@dataclass(frozen=True, slots=True)
class Mapped:
    """One range: its owner, its bytes in place where there are any (read-only where the device may not write)."""

    memory: Memory
    view: memoryview | None
    readable: bool
    writable: bool


_NOTHING = (1, 0, memoryview(b""))  # a last hit that never hits


class DmaMap:
    """A ``regmodel.function.Dma`` over a table of ranges; refuses everything while bus mastering is off."""

    def __init__(self) -> None:
        self._ranges: Ranges[Mapped] = Ranges()
        self._enabled = False
        self._read_start, self._read_end, self._read_view = self._gathered = _NOTHING
        self._write_start, self._write_end, self._write_view = self._scattered = _NOTHING

    # -- what the function does with it

    @property
    def enabled(self) -> bool:
        """The bus master enable bit of the function; off at first."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._enabled = on
        self._forget()

    def __len__(self) -> int:
        return len(self._ranges)

    def __iter__(self) -> Iterator[tuple[int, int, Mapped]]:
        return iter(self._ranges)

    def map(self, iova: int, size: int, memory: Memory, *, read: bool = True, write: bool = True) -> None:
        """Make ``memory`` reachable at ``iova`` (bytes), for reads and/or writes by the device. Raises ``DmaMapError``."""
        view = memory.view
        if view is not None:
            view = view[:size]
            if not write:
                view = view.toreadonly()
        self._ranges.add(iova, size, Mapped(memory, view, read, write))

    def unmap(self, iova: int, size: int) -> None:
        """Take back exactly one former map; no reference to its memory is kept. Raises ``DmaMapError``."""
        self._ranges.remove(iova, size)
        self._forget()

    def clear(self) -> None:
        """Take back all maps."""
        self._ranges.clear()
        self._forget()

    # -- what the model does with it: regmodel.function.Dma

    def view(self, iova: int, size: int, *, write: bool = False) -> memoryview | None:
        """The bytes in place if one directly reachable map holds them all, else None: then use ``read`` and ``write``.

        Raises ``DmaFault`` when nothing is mapped at ``iova``, without permission, or while bus mastering is off.
        """
        if write:
            if self._write_start <= iova and iova + size <= self._write_end:
                at = iova - self._write_start
                return self._write_view[at : at + size]
        elif self._read_start <= iova and iova + size <= self._read_end:
            at = iova - self._read_start
            return self._read_view[at : at + size]
        return self._look_up(iova, size, write)

    def read(self, iova: int, size: int) -> Buffer:
        """``size`` bytes; a view in place where one map holds them all, else a copy. Raises ``DmaFault``."""
        if self._read_start <= iova and iova + size <= self._read_end:
            at = iova - self._read_start
            return self._read_view[at : at + size]
        found = self._look_up(iova, size, False)
        if found is not None:
            return found
        pieces = [memory.read(at, length) for memory, at, length in self._pieces(iova, size, False)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, iova: int, data: Buffer) -> None:
        """Store ``data``. Raises ``DmaFault``, with nothing stored, for what the maps refuse."""
        size = len(data)
        if self._write_start <= iova and iova + size <= self._write_end:
            at = iova - self._write_start
            self._write_view[at : at + size] = data
            return
        found = self._look_up(iova, size, True)
        if found is not None:
            found[:] = data
            return
        done, source = 0, memoryview(data)
        for memory, at, length in self._pieces(iova, size, True):
            memory.write(at, source[done : done + length])
            done += length

    def gather(self, addresses: Sequence[int], sizes: Sequence[int]) -> list[Buffer]:
        """``read`` of each, in order. Raises ``DmaFault``."""
        found: list[Buffer] = []
        start, end, view = self._gathered
        for iova, size in zip(addresses, sizes, strict=True):
            if start <= iova and iova + size <= end:
                at = iova - start
                found.append(view[at : at + size])
            else:
                found.append(self.read(iova, size))  # which may wait, and find other maps afterwards
                self._gathered = start, end, view = self._read_start, self._read_end, self._read_view
        return found

    def scatter(self, addresses: Sequence[int], data: Sequence[Buffer]) -> None:
        """``write`` of each, in order. Raises ``DmaFault``, with all before it stored."""
        start, end, view = self._scattered
        for iova, piece in zip(addresses, data, strict=True):
            if start <= iova and (last := iova + len(piece)) <= end:
                view[iova - start : last - start] = piece
            else:
                self.write(iova, piece)
                self._scattered = start, end, view = self._write_start, self._write_end, self._write_view

    # -- inside

    def _forget(self) -> None:
        self._read_start, self._read_end, self._read_view = self._gathered = _NOTHING
        self._write_start, self._write_end, self._write_view = self._scattered = _NOTHING

    def _look_up(self, iova: int, size: int, write: bool) -> memoryview | None:
        """``view`` for whatever is not in the range of the last hit; remembers the range it finds."""
        if size < 0:
            raise DmaFault(iova, size, "negative size")
        start, end, mapped = self._checked(iova, size, iova, write)
        if mapped.view is None or iova + size > end:
            return None
        if write:
            self._write_start, self._write_end, self._write_view = start, end, mapped.view
        else:
            self._read_start, self._read_end, self._read_view = start, end, mapped.view
        return mapped.view[iova - start : iova - start + size]

    def _checked(self, iova: int, size: int, address: int, write: bool) -> tuple[int, int, Mapped]:
        """The range at ``address``, or the fault of the whole access."""
        if not self._enabled:
            raise DmaFault(iova, size, "bus mastering is off")
        row = self._ranges.find(address)
        if row is None:
            raise DmaFault(iova, size, f"nothing is mapped at {address:#x}")
        if not (row[2].writable if write else row[2].readable):
            raise DmaFault(iova, size, f"the map at {row[0]:#x} may not be {'written' if write else 'read'}")
        return row

    def _pieces(self, iova: int, size: int, write: bool) -> list[tuple[Memory, int, int]]:
        """(memory, offset, length) of each map that the access touches, all checked before the first is used."""
        pieces = []
        at, last = iova, iova + size
        while at < last:
            start, end, mapped = self._checked(iova, size, at, write)
            length = min(end, last) - at
            pieces.append((mapped.memory, at - start, length))
            at += length
        return pieces


class BytesMemory:
    """A ``Memory`` of this process: for tests and for devices that are driven without a guest."""

    def __init__(self, content: int | bytearray) -> None:
        self.content = bytearray(content)
        self._view = memoryview(self.content)

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def view(self) -> memoryview:
        return self._view

    def read(self, offset: int, size: int) -> Buffer:
        return self._view[offset : offset + size]

    def write(self, offset: int, data: Buffer) -> None:
        self._view[offset : offset + len(data)] = data
