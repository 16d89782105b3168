"""Transports of a few lines: register files without a device behind them, and reads that follow a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from drivers.transports import Transport
from regmodel.bank import Bank
from regmodel.catalogue import Description
from regmodel.registers import Bar

Access = tuple[str, int, int, int]
"""("read" or "write", offset, size, value)."""


class FakeWords:
    """A BAR as words of ``width`` bytes, each access of which is told to ``log``."""

    def __init__(self, bar: FakeBar, width: int) -> None:
        self.bar, self.width = bar, width

    def __getitem__(self, index: int) -> int:
        return self.bar.read(index * self.width, self.width)

    def __setitem__(self, index: int, value: int) -> None:
        self.bar.write(index * self.width, self.width, value)

    def __len__(self) -> int:
        return self.bar.size // self.width


class FakeBar:
    def __init__(self, index: int, bar: Bar, transport: Fake) -> None:
        self.index, self.size, self.bank, self.transport = index, bar.size, Bank(bar), transport
        self.u8, self.u16, self.u32, self.u64 = (FakeWords(self, width) for width in (1, 2, 4, 8))

    def read(self, offset: int, size: int) -> int:
        cell = self.bank.cell_at(offset)
        script = self.transport.scripts.get(cell.path if cell else "", [])
        value = script.pop(0) if script else self.bank.read(offset, size)
        self.transport.accesses.append(("read", offset, size, value))
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        self.transport.accesses.append(("write", offset, size, value))
        self.bank.write(offset, size, value)


class Fake:
    """The register files of a description, on a clock that only ``sleep`` moves. ``accesses`` is all that was done.

    ``scripts`` gives, by path, what the next reads of a register answer; ``on_sleep`` runs in each ``sleep``.
    """

    name = "fake"
    virtualised: frozenset[Any] = frozenset()

    def __init__(self, device: Description) -> None:
        self.bars = {index: FakeBar(index, bar, self) for index, bar in device.bars.items()}
        self.accesses: list[Access] = []
        self.scripts: dict[str, list[int]] = {}
        self.on_sleep: Callable[[], None] = lambda: None
        self.time = 0.0

    def bar(self, index: int) -> FakeBar:
        return self.bars[index]

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.on_sleep()

    def cell(self, name: str, index: int = 0) -> Any:
        """The state behind a register, without access."""
        for bar in self.bars.values():
            if name in bar.bank.bar.entries:
                return bar.bank[name, index]
        raise KeyError(name)

    def script(self, path: str, values: Iterable[int]) -> None:
        self.scripts[path] = list(values)

    def did(self) -> list[Access]:
        """What was done since the last call."""
        done, self.accesses = self.accesses, []
        return done

    @property
    def transport(self) -> Transport:
        """Itself, as what a register client takes: it has all that such a client uses."""
        return cast(Transport, self)
