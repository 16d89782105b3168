"""Accessors of more than one word: windows of a BAR, and pairs of registers that are one 64-bit value."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, TypeVar, cast, overload

from drivers.registers.words import NoSuchInstance
from drivers.transports import MappedBar
from regmodel.errors import UsageError
from regmodel.registers import Window


class Place:
    """One word of a window: ``path`` as in ``vmbmem[3]``, ``offset`` in bytes from the start of the BAR."""

    __slots__ = ("_index", "_words", "offset", "path", "word_size")

    def __init__(self, path: str, offset: int, words: Any, index: int, word_size: int) -> None:
        self.path, self.offset, self._words, self._index, self.word_size = path, offset, words, index, word_size

    def read(self) -> int:
        """One access."""
        return int(self._words[self._index])

    def __repr__(self) -> str:
        return f"<word {self.path} at {self.offset:#x}>"


P = TypeVar("P", bound=Place, covariant=True)


class WritablePlace(Place):
    """The same where the window stores."""

    __slots__ = ()

    def write(self, value: SupportsIndex, /) -> None:
        """One access. Raises ``UsageError`` for what does not fit."""
        self._words[self._index] = _fitting(self.path, operator.index(value), self.word_size)


def _fitting(path: str, value: int, size: int) -> int:
    if not 0 <= value < 1 << 8 * size:
        raise UsageError(f"{path}: {value:#x} does not fit {8 * size} bits")
    return value


class Memory(Sequence[P]):
    """A window: words of 32 bits where it lies so, else bytes. ``window[3]`` is a word, ``len`` their number."""

    _place: type[Place] = Place

    def __init__(self, name: str, window: Window, mapped: MappedBar) -> None:
        self.path, self.offset, self.size, self.window = name, window.at, window.size, window
        self.word_size = 1 if window.at % 4 or window.size % 4 else 4
        self._words = mapped.u8 if self.word_size == 1 else mapped.u32
        self._first = window.at // self.word_size

    def __len__(self) -> int:
        return self.size // self.word_size

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[P]: ...
    def __getitem__(self, index: int | slice) -> P | Sequence[P]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, count = operator.index(index), len(self)
        if not -count <= number < count:
            raise NoSuchInstance(f"there is no {self.path}[{number}]; the last is {self.path}[{count - 1}]")
        number %= count
        offset = self.offset + number * self.word_size
        place = self._place(f"{self.path}[{number}]", offset, self._words, self._first + number, self.word_size)
        return cast(P, place)

    def read_words(self, count: int | None = None, start: int = 0) -> list[int]:
        """``count`` words (all that follow, when None) from word ``start``: one access each."""
        end = len(self) if count is None else start + count
        self._check_span(start, end)
        words, first = self._words, self._first
        return [int(words[first + i]) for i in range(start, end)]

    def _check_span(self, start: int, end: int) -> None:
        if not 0 <= start <= end <= len(self):
            raise UsageError(f"{self.path} has words 0 to {len(self) - 1}, not {start} to {end - 1}")

    def parse(self) -> Any:
        """The whole window, one access per word, as its layout has it."""
        data = b"".join(word.to_bytes(self.word_size, "little") for word in self.read_words())
        return self.window.subcon.parse(data)

    def __repr__(self) -> str:
        return f"<window {self.path} at {self.offset:#x}, {self.size} bytes>"


class WritableMemory(Memory[WritablePlace]):
    """The same where the window stores."""

    _place = WritablePlace

    def write_words(self, values: Iterable[SupportsIndex], start: int = 0) -> None:
        """``values`` into the words from ``start``: one access each, lowest address first."""
        given = [_fitting(self.path, operator.index(value), self.word_size) for value in values]
        self._check_span(start, start + len(given))
        words, first = self._words, self._first + start
        for i, value in enumerate(given):
            words[first + i] = value


class Pair:
    """Two 32-bit halves as one 64-bit value: two accesses, low half first, so that the write of the high half commits it."""

    __slots__ = ("_high", "_low", "path")

    def __init__(self, path: str, low: Any, high: Any) -> None:
        self.path, self._low, self._high = path, low, high

    def read(self) -> int:
        """Both halves: two accesses. Not a snapshot where hardware changes the value between them."""
        low: int = self._low.read()
        high: int = self._high.read()
        return high << 32 | low

    def write(self, value: SupportsIndex, /) -> None:
        """Both halves: two accesses. Raises ``UsageError`` before the first for what does not fit 64 bits."""
        number = operator.index(value)
        if not 0 <= number < 1 << 64:
            raise UsageError(f"{self.path}: {number:#x} does not fit 64 bits")
        self._low.write(number & 0xFFFFFFFF)
        self._high.write(number >> 32)

    def __repr__(self) -> str:
        return f"<pair {self._low.path}, {self._high.path}>"
