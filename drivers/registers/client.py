"""``Registers``: all registers of a device as attributes, bound to a transport.

What lives here: which accessor stands where (arrays, banks, pairs, windows). What an accessor does is in ``words`` and
``memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from drivers.registers.memory import Memory, Pair, Place, WritableMemory
from drivers.registers.shape import Shape, spelled
from drivers.registers.words import Array, Latch, Word, word_class
from drivers.transports import MappedBar, Transport, Virtualised, Words
from regmodel.catalogue import Description, Device
from regmodel.errors import UsageError
from regmodel.registers import Bar, Register, Window

OURS = frozenset({"transport", "description", "forget"})
_classes: dict[int, tuple[Register, type[Word]]] = {}


class NoSuchRegister(UsageError, AttributeError):
    """A register that the device does not have."""


class Face:
    """The registers, windows and pairs that ``device`` describes, by name; an array where the description has one.

    ``dev.status.lu`` is one read, ``dev.rdt[0].write(5)`` one write, ``dev.vmbmem[3].read()`` one word of a window. A pair
    of 32-bit halves is one 64-bit accessor under the common part of its names (``dsal``, ``dsah``: ``dev.dsa``), beside its
    halves. A bank of registers is an array whose access writes the index register first. Construction makes no access.

    Raises ``UsageError`` where two BARs have a register of the same name.
    """

    transport: Transport
    description: Description

    def __init__(self, device: Description, transport: Transport) -> None:
        self.transport, self.description = transport, device
        self._latches: list[Latch] = []
        for index, bar in device.bars.items():
            if isinstance(device, Device) and index == device.msix_bar and _is_hidden(bar, transport):
                continue
            for name, accessor in self._accessors(bar, transport.bar(index)):
                attribute = spelled(name, OURS)
                if attribute in self.__dict__:
                    raise UsageError(f"{device.name} has two registers {name}: describe them in one BAR or rename one")
                self.__dict__[attribute] = accessor

    def _accessors(self, bar: Bar, mapped: MappedBar) -> Iterator[tuple[str, Any]]:
        latches: dict[tuple[str, int], Latch] = {}
        made: dict[str, Any] = {}
        for name, entry in bar.entries.items():
            if isinstance(entry, Window):
                made[name] = window_class(entry)(name, entry, mapped)
            else:
                words = [self._word(bar, mapped, name, i, entry, latches) for i in range(len(entry.offsets))]
                made[name] = Array(name, words) if entry.is_array else words[0]
        self._latches += latches.values()
        yield from made.items()
        for low, high in dict.fromkeys(e.pair for e in bar.entries.values() if isinstance(e, Register) and e.pair):
            yield pair_name(low, high), _pair(pair_name(low, high), made[low], made[high])

    def _word(
        self, bar: Bar, mapped: MappedBar, name: str, i: int, entry: Register, latches: dict[tuple[str, int], Latch]
    ) -> Any:
        offset, path = entry.offsets[i], f"{name}[{i}]" if entry.is_array else name
        words = words_of(mapped, entry.size)
        load: Callable[[], int] = partial(words.__getitem__, offset // entry.size)
        store: Callable[[int], None] = partial(words.__setitem__, offset // entry.size)
        make = class_of(bar, name, entry)
        if entry.banked_by is None:
            latch = latches.setdefault((entry.of or name, i), Latch())
            return make(path, offset, load, store, latch, self.transport)
        select, count = entry.banked_by
        index = bar.entries[select]
        choose = partial(words_of(mapped, index.size).__setitem__, index.offsets[0] // index.size)
        return Array(
            path,
            [
                make(f"{path}[{n}]", offset, _selected_load(choose, n, load), _selected_store(choose, n, store),
                     latches.setdefault((f"{name}[{i}]", n), Latch()), self.transport)
                for n in range(count)
            ],
        )  # fmt: skip

    def forget(self) -> None:
        """Empty all latches: what was seen before a reset is of no interest after it."""
        for latch in self._latches:
            latch.bits = 0

    def __repr__(self) -> str:
        return f"<registers of {self.description.name} through {self.transport.name}>"


class Registers(Face):
    """A ``Face`` of any device: mypy takes every name, and a wrong one is told at run time, with what was meant."""

    def __getattr__(self, name: str) -> Any:  # only reached where there is no such register
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            self.description.register_bar(name)
        except UsageError as error:
            raise NoSuchRegister(str(error)) from None
        raise NoSuchRegister(f"{name} lies in the MSI-X BAR, which {self.transport.name} keeps to itself")


def class_of(bar: Bar, name: str, entry: Register) -> type[Word]:
    """The accessor class of a register, made once per description."""
    found = _classes.get(id(entry))
    if found is None or found[0] is not entry:
        found = _classes[id(entry)] = (entry, word_class(Shape(name, entry, bar.docs_of[name])))
    return found[1]


def window_class(entry: Window) -> type[Memory[Place]]:
    """What stands for a window: with ``write_words`` only where it can be written."""
    return WritableMemory if entry.access.writable else Memory


def words_of(mapped: MappedBar, size: int) -> Words:
    """The view of a BAR whose items are ``size`` bytes."""
    return {1: lambda: mapped.u8, 2: lambda: mapped.u16, 4: lambda: mapped.u32, 8: lambda: mapped.u64}[size]()


def pair_name(low: str, high: str) -> str:
    """``rdbal`` and ``rdbah`` are ``rdba``; names that do not differ in a last l and h are joined."""
    return low[:-1].rstrip("_") if low[:-1] == high[:-1] and low[-1:] + high[-1:] == "lh" else f"{low}_{high}"


def _pair(name: str, low: Any, high: Any) -> Pair | Array[Pair]:
    if not isinstance(low, Array):
        return Pair(name, low, high)
    return Array(name, [Pair(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(low, high, strict=True))])


def _selected_load(choose: Callable[[int], None], number: int, load: Callable[[], int]) -> Callable[[], int]:
    def selected() -> int:
        choose(number)
        return load()

    return selected


def _selected_store(choose: Callable[[int], None], number: int, store: Callable[[int], None]) -> Callable[[int], None]:
    def selected(value: int) -> None:
        choose(number)
        store(value)

    return selected


def _is_hidden(bar: Bar, transport: Transport) -> bool:
    """The BAR holds nothing but the MSI-X table and pending bits, and somebody else answers for these."""
    return Virtualised.MSIX_TABLE in transport.virtualised and all(name.startswith("msix_") for name in bar.entries)
