"""The hardware side of a register block in terms of registers: what to put on which port so that hardware changes a field.

What lives here: the translation between paths (``rdt[1]``, fields, values) and ports; no simulation. It serves those who sit
outside of the simulation and those who are awaited in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from regmodel.bits import Field
from regmodel.conformance.accesses import ConformanceError
from regmodel.export.verilog import RegisterBlock
from regmodel.export.verilog.ports import Role, field_port, register_port
from regmodel.export.verilog.words import Memory, State

Signals: TypeAlias = Callable[[Sequence[str]], Sequence[int]]
"""Reads ports or other signals of the block, by name."""
TOLD = (Role.WRITTEN, Role.READ, Role.PULSE, Role.DATA)
"""Outputs that are high for one clock."""


@dataclass(frozen=True)
class Told:
    """What hardware was told by one output: ``written``, ``read`` (value 1), the ones of a ``pulse``, the ``data`` written."""

    role: str
    register: str
    field: str
    element: int
    value: int


class Hardware:
    """The hardware side of one block."""

    def __init__(self, block: RegisterBlock) -> None:
        self.block = block
        self.ports = {port.name: port for port in block.ports}
        self._states = {(s.owner.name, s.index): s for s in block.plan.states}
        self._memories = {m.name: m for m in block.plan.memories}

    def find(self, path: str) -> tuple[State | Memory, int]:
        """The storage behind ``bar0.eitr[1]`` or ``eitr[1]``, and the index in it (a word of a window).

        A bank counts its instances through: element times instances, plus instance.
        """
        name, _, index = path.removeprefix(f"{self.block.bar.bar}.").rstrip("]").partition("[")
        at = int(index or 0)
        memory = self._memories.get(name)
        if memory is not None and at < memory.words:
            return memory, at
        state = self._states.get((name, at))
        if state is None:
            raise ConformanceError(f"{self.block.name} stores nothing called {path}")
        return state, at

    def stores(self, path: str, value: int, mask: int, now: Signals, events: bool = False) -> dict[str, int]:
        """The inputs which for one clock make hardware store ``value`` under ``mask``; ``now`` reads ports.

        A field goes by value and write enable, or with ``events`` by setting and clearing its bits where it has such inputs.
        Reserved bits are left alone. Raises ``ConformanceError`` for bits that hardware cannot change.
        """
        found, at = self.find(path)
        if isinstance(found, Memory):
            lanes = sum(1 << b for b in range(4) if mask >> 8 * b & 0xFF)
            name = found.name
            return {
                register_port(name, Role.ADDRESS): at,
                register_port(name, Role.NEXT): value,
                register_port(name, Role.ENABLE): lanes,
            }
        inputs: dict[str, int] = {}
        for f in found.owner.entry.fields:
            if not f.mask & mask or f.access.reserved:
                continue
            if not found.driven(f):
                raise ConformanceError(f"{path}.{f.name}: hardware cannot change it ({f.access})")
            self._store(inputs, found, f, f.of(value), f.of(mask), now, events)
        return inputs

    def _store(
        self, inputs: dict[str, int], state: State, f: Field, value: int, mask: int, now: Signals, events: bool
    ) -> None:
        def put(role: Role, bits: int) -> None:
            port = self.ports[field_port(state.owner.name, f.name, role)]
            inputs[port.name] = inputs.get(port.name, 0) | bits << state.index * port.width

        whole = mask == (1 << f.width) - 1
        if field_port(state.owner.name, f.name, Role.SET) in self.ports and (events or not whole):
            put(Role.SET, value & mask)
            put(Role.CLEAR, ~value & mask)
        elif whole:
            put(Role.NEXT, value)
            put(Role.ENABLE, 1)
        else:
            port = self.ports[field_port(state.owner.name, f.name, Role.VALUE)]
            held = port.of(now([port.name])[0], state.index)
            put(Role.NEXT, (held & ~mask) | (value & mask))
            put(Role.ENABLE, 1)

    def events(self, path: str, sets: int, clears: int) -> dict[str, int]:
        """The inputs which for one clock set and clear single bits of a register, as causes are."""
        state, _ = self.find(path)
        assert isinstance(state, State)
        inputs: dict[str, int] = {}
        for f in state.owner.entry.fields:
            for role, bits in ((Role.SET, sets), (Role.CLEAR, clears)):
                port = self.ports.get(field_port(state.owner.name, f.name, role))
                if f.of(bits) and port is None:
                    raise ConformanceError(f"{path}.{f.name}: its bits are no events ({f.access})")
                if port is not None:
                    inputs[port.name] = inputs.get(port.name, 0) | f.of(bits) << state.index * port.width
        return inputs

    def value(self, path: str, now: Signals) -> int:
        """What a register holds: its ports, and for bits that have none the register itself."""
        found, at = self.find(path)
        assert isinstance(found, State), path
        seen = [(f, self.ports.get(field_port(found.owner.name, f.name, Role.VALUE))) for f in found.owner.entry.fields]
        shown = [(f, port) for f, port in seen if port is not None and f.name]
        word, *bits = now([f"r_{found.ident}", *(port.name for _, port in shown)])
        for (f, port), value in zip(shown, bits, strict=True):
            word = f.into(word, port.of(value, at))
        return word

    def told(self, name: str, bits: int) -> list[Told]:
        """What an output says when it is not 0."""
        port = self.ports[name]
        parts = ((i, port.of(bits, i)) for i in range(port.count))
        return [Told(port.role.value, port.register, port.field, i, value) for i, value in parts if value]

    @property
    def watched(self) -> tuple[str, ...]:
        """The outputs which tell something for one clock."""
        return tuple(p.name for p in self.block.ports if p.role in TOLD)

    @property
    def inputs(self) -> Mapping[str, int]:
        """All inputs, at rest."""
        return {p.name: 0 for p in self.block.ports if p.role in (Role.NEXT, Role.ENABLE, Role.SET, Role.CLEAR, Role.ADDRESS)}
