"""Calls of a transport in words: the register for its offset, the fields for its value. For messages, not for data paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drivers.transports.handover import Change
from regmodel.access import OnRead
from regmodel.bits import Field
from regmodel.catalogue import Description, Device
from regmodel.registers import Bar, Entry, Register

CONFIG = -1
"""Stands for configuration space where others say the number of a BAR."""
WIDEST = 64
"""Bits that an access has at most: of a window of megabytes no more are looked at."""


@dataclass(frozen=True)
class Part:
    """A register or window that an access touches: its fields stand ``shift`` bits higher in the word accessed."""

    path: str
    entry: Entry
    shift: int

    @property
    def fields(self) -> Sequence[Field]:
        if isinstance(self.entry, Register):
            return self.entry.fields
        return (Field(self.entry.access, 0, min(8 * self.entry.size, WIDEST)),)

    @property
    def name(self) -> str:
        """Without its index."""
        return self.path.partition("[")[0]


@dataclass(frozen=True)
class Place:
    """What an access of ``size`` bytes hits: ``path`` (``rdt[1]``, or the bare offset), and the parts that are described."""

    path: str
    size: int
    parts: tuple[Part, ...] = ()

    def mask(self, select: Callable[[Part, Field], bool]) -> int:
        """The bits of all fields that ``select`` likes."""
        found = 0
        for part in self.parts:
            for f in part.fields:
                if select(part, f):
                    found |= f.mask << part.shift if part.shift >= 0 else f.mask >> -part.shift
        return found & (1 << 8 * self.size) - 1

    @cached_property
    def clears(self) -> int:
        """The bits that reading clears."""
        return self.mask(lambda _, f: f.access.onread is OnRead.CLEAR)

    def fields(self, word: int, mask: int | None = None) -> str:
        """The fields of ``word`` that are not 0, or those that touch ``mask``: `` (lu=1 speed=MB1000)``."""
        said = []
        for part in self.parts:
            if not isinstance(part.entry, Register) or part.entry.sole:
                continue
            own = word >> part.shift if part.shift >= 0 else word << -part.shift
            want = own if mask is None else mask >> part.shift if part.shift >= 0 else mask << -part.shift
            said += [_field(f, own) for f in part.entry.fields if f.mask & want and (f.name or mask is not None)]
        return f" ({' '.join(said)})" if said else ""


def _field(f: Field, word: int) -> str:
    return f"{f.name or f.range}={f.values.get(f.of(word), f.of(word))}"


class Decoder:
    """What the offsets of one device mean."""

    def __init__(self, device: Description) -> None:
        self._places: dict[tuple[int, int, int], Place] = {}
        self._bars: dict[int, Bar] = dict(device.bars)
        if isinstance(device, Device):
            self._bars[CONFIG] = device.config

    def place(self, bar: int, offset: int, size: int) -> Place:
        """What an access of ``size`` bytes at ``offset`` hits."""
        key = bar, offset, size
        if key not in self._places:
            self._places[key] = self._find(bar, offset, size)
        return self._places[key]

    def _find(self, index: int, offset: int, size: int) -> Place:
        bar = self._bars.get(index)
        parts = []
        for path, _, at, entry in bar.placed() if bar else ():
            if at < offset + size and offset < at + entry.size:
                if not isinstance(entry, Register):
                    path = f"{path}[{(offset - at) // 4}]" if size == 4 else f"{path}+{offset - at:#x}"
                    at = offset
                parts.append(Part(path, entry, 8 * (at - offset)))
        where = "configuration space" if index == CONFIG else f"BAR {index}"
        path = ", ".join(part.path for part in parts) or f"{where}+{offset:#x} ({size} bytes)"
        return Place(path, size, tuple(parts))

    def call(self, verb: str, arguments: Sequence[Any], *result: Any) -> str:
        """One call, as ``write rdt[0] = 0x5 (rdt=5)``; with its ``result`` where one is given."""
        match verb, *arguments:
            case ["read" | "write", bar, offset, size, *value]:
                return self._access(verb, self.place(bar, offset, size), [*value, *result] if verb == "read" else value)
            case ["config_read" | "config_write", offset, size, *value]:
                word = [*value, *result] if verb == "config_read" else value
                return self._access(verb.removeprefix("config_"), self.place(CONFIG, offset, size), word)
            case ["to_device", iova, offset, size, changed]:
                return f"hand {iova + offset:#x} to {iova + offset + size:#x} to the device{_changed(iova, changed)}"
            case ["to_cpu", iova, offset, size]:
                what = _changed(iova, result[0]) if result and isinstance(result[0], list) else ""
                return f"take {iova + offset:#x} to {iova + offset + size:#x} from the device{what}"
            case ["free", iova]:
                return f"free({iova:#x})"
        said = f"{verb}({', '.join(str(a) for a in arguments)})"
        return f"{said} -> {result[0]}" if result and result[0] is not None else said

    def deviation(self, recorded: tuple[str, tuple[Any, ...], Any], verb: str, arguments: tuple[Any, ...]) -> str:
        """What was recorded (verb, arguments, result), and what the driver did instead."""
        then, given, result = recorded
        if then == verb == "to_device" and given[0] == arguments[0] and given[3] != arguments[3]:
            return memory_difference(given[0], given[3], arguments[3])
        return f"recorded: {self.call(then, given, result)}; the driver: {self.call(verb, arguments)}"

    def _access(self, verb: str, place: Place, value: Sequence[Any]) -> str:
        if value and isinstance(value[0], int):
            return f"{verb} {place.path} = {value[0]:#x}{place.fields(value[0])}"
        return f"{verb} {place.path}"


def _changed(iova: int, changed: Sequence[Change]) -> str:
    if not changed:
        return ", unchanged"
    at, data = changed[0]
    more = f" and {len(changed) - 1} more places" if len(changed) > 1 else ""
    return f": {iova + at:#x} holds {data[:16].hex(' ', -4)}{'…' if len(data) > 16 else ''}{more}"


def memory_difference(iova: int, recorded: Sequence[Change], given: Sequence[Change]) -> str:
    """Where two hand-overs of one buffer first differ: the 8 bytes from there, ``--`` where nothing was written."""
    then, now = ({at + i: byte for at, data in changed for i, byte in enumerate(data)} for changed in (recorded, given))
    first = min(at for at in then.keys() | now.keys() if then.get(at) != now.get(at))

    def shown(written: dict[int, int]) -> str:
        return " ".join(f"{written[at]:02x}" if at in written else "--" for at in range(first, first + 8))

    return f"recorded: memory from {iova + first:#x} on is handed over as {shown(then)}; the driver: {shown(now)}"
