"""What descriptions claim by citing symbols, number by number: ``regmodel.sources.Symbol`` says what must be equal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from construct import Construct

from regmodel.bits import Field
from regmodel.catalogue import Description, Device
from regmodel.layout import layout
from regmodel.registers import Bar, Register
from regmodel.sources import Source, Symbol
from tests.support.symbols import Unresolved, value_of


@dataclass(frozen=True)
class Claim:
    """``symbol`` is said to be ``expected``, which is the ``what`` of the thing at ``path``."""

    path: str
    symbol: Symbol
    expected: int
    what: str

    def refuted(self, values: Mapping[Symbol, int | Unresolved]) -> str | None:
        """What is wrong with it, in one line; None if it holds."""
        value = value_of(self.symbol, values)
        if isinstance(value, Unresolved):
            return f"{self.path}: {value.why}"
        if value != self.expected:
            return f"{self.path}: {self.what} is {self.expected:#x} here, {value:#x} by {self.symbol}"
        return None


def refutations(claims: Iterable[Claim], values: Mapping[Symbol, int | Unresolved]) -> list[str]:
    return [wrong for claim in claims if (wrong := claim.refuted(values)) is not None]


def of_description(name: str, description: Description) -> Iterator[Claim]:
    """All claims of a device or of a fragment of one."""
    bars = dict(description.bars) | ({-1: description.config} if isinstance(description, Device) else {})
    for bar in bars.values():
        yield from of_bar(name, bar)
    for ring in description.rings:
        for descriptor in (*ring.formats, *ring.device_writes):
            yield from of_schema(f"{name}.{descriptor.name}", descriptor.schema)
    for box in description.mailboxes:
        yield from _numbers(f"{name}.{box.name}", box.sources, box.words, "number of words")
        for message in box.messages:
            yield from _numbers(f"{name}.{message.name}", message.sources, message.number, "number")
            yield from of_schema(f"{name}.{message.name}", message.schema)
    for structure, schema in description.structures.items():
        yield from of_schema(f"{name}.{structure}", schema)
    if isinstance(description, Device):
        yield from _numbers(name, description.sources, description.identity.device, "device")


def of_bar(name: str, bar: Bar) -> Iterator[Claim]:
    """Offsets, and fields, of all entries."""
    for register, entry in bar.entries.items():
        path = f"{name}.{bar.bar}.{register}"
        cited = bar.entries[entry.pair[0]] if isinstance(entry, Register) and entry.pair else entry  # a pair by its low half
        for symbol in _symbols(entry.sources):
            if symbol.index is None:
                yield Claim(path, symbol, cited.offsets[0], "offset")
                continue
            for i, offset in enumerate(cited.offsets):
                yield Claim(f"{path}[{i}]", _instance(symbol, symbol.index, i), offset, "offset")
        if isinstance(entry, Register):
            yield from of_fields(path, entry.fields)
        else:
            yield from of_schema(path, entry.subcon)


def _instance(symbol: Symbol, index: int | tuple[int, ...], i: int) -> Symbol:
    """The same function-like macro, ``i`` instances on: the last argument counts them."""
    return replace(symbol, index=index + i if isinstance(index, int) else (*index[:-1], index[-1] + i))


def of_schema(path: str, schema: Construct) -> Iterator[Claim]:
    """Fields of all words."""
    for leaf in layout(schema).leaves:
        yield from of_fields(f"{path}.{leaf.path}", leaf.fields)


def of_fields(path: str, fields: Iterable[Field]) -> Iterator[Claim]:
    """Masks, lowest bits, named values."""
    for field in fields:
        at = f"{path}.{field.name}"
        for symbol in _symbols(field.sources):
            if symbol.of is not None:
                yield Claim(f"{at}={symbol.of}", symbol, field.number(symbol.of) << field.lsb, "value")
            elif symbol.bit or symbol.name.endswith("_SHIFT"):
                yield Claim(at, symbol, field.lsb, "lowest bit")
            else:
                yield Claim(at, symbol, field.mask, "mask")


def _numbers(path: str, sources: Iterable[Source], number: int, what: str) -> Iterator[Claim]:
    yield from (Claim(path, symbol, number, what) for symbol in _symbols(sources))


def _symbols(sources: Iterable[Source]) -> Iterator[Symbol]:
    return (source for source in sources if isinstance(source, Symbol))
