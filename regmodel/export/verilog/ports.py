"""The hardware side of a register block: which ports a register has, from the axes of its access.

What lives here: names, widths and meaning of ports; no logic. Elements of an array, and instances of a bank, stand beside
each other in one vector, element 0 (and of it instance 0) in the least significant bits. For register ``r``, field ``f``:

- ``hw_r__f__value``: out, what the field holds.
- ``hw_r__f__next`` with ``hw_r__f__we``: in, hardware stores; for fields that hardware may change.
- ``hw_r__f__set``, ``hw_r__f__clr``: in, one per bit; for those of them whose bits are causes, cleared by writing or reading.
- ``hw_r__f__pulse``: out, the ones written to a pulse field; high for one clock, the one after the access.
- ``hw_r__written``: out, likewise; software wrote ``r``. The low half of a pair tells nothing, the high half speaks for both.
- ``hw_r__data``: out, likewise, what it wrote to a doorbell or command register; bytes that the access did not cover are 0.
- ``hw_r__read``: out, likewise; a read had a side effect.
- ``hw_low__high__committed``: out, the 64-bit value of a pair as of the last write of its high half, or reset.
- ``hw_w__addr`` in, ``hw_w__value`` out: a word of window ``w``; ``hw_w__next``, ``hw_w__we`` (one per byte): in, stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field
from regmodel.export.verilog.words import LANES, Memory, Plan, State, View, identifier
from regmodel.registers import Kind


class Role(Enum):
    """What a port is for: the last part of its name."""

    VALUE = "value"
    NEXT = "next"
    ENABLE = "we"
    SET = "set"
    CLEAR = "clr"
    PULSE = "pulse"
    WRITTEN = "written"
    DATA = "data"
    READ = "read"
    COMMITTED = "committed"
    ADDRESS = "addr"


INPUTS = frozenset({Role.NEXT, Role.ENABLE, Role.SET, Role.CLEAR, Role.ADDRESS})
REGISTERED = frozenset({Role.PULSE, Role.WRITTEN, Role.DATA, Role.READ, Role.COMMITTED})
PER_BIT = frozenset({OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS, OnWrite.ONE_SETS, OnWrite.ONE_TOGGLES})


@dataclass(frozen=True)
class Port:
    """``count`` times ``width`` bits in one vector. ``field`` is empty where the port is of the whole register."""

    name: str
    role: Role
    register: str
    field: str
    width: int
    count: int = 1

    @property
    def bits(self) -> int:
        return self.width * self.count

    def of(self, vector: int, index: int) -> int:
        """The value that belongs to element ``index``."""
        return vector >> index * self.width & (1 << self.width) - 1

    @property
    def declaration(self) -> str:
        """``input  wire [5:0] hw_x__f__next``."""
        way = "input  wire" if self.role in INPUTS else "output reg " if self.role in REGISTERED else "output wire"
        return f"{way} {f'[{self.bits - 1}:0] ' if self.bits > 1 else ''}{self.name}"

    def part(self, index: int, msb: int | None = None, lsb: int = 0) -> str:
        """The slice that belongs to element ``index``, or bits ``msb``..``lsb`` of it."""
        high = index * self.width + (self.width - 1 if msb is None else msb)
        return part(self.name, self.bits, high, index * self.width + lsb)


def part(name: str, width: int, msb: int, lsb: int) -> str:
    """Bits ``msb``..``lsb`` of a vector of ``width`` bits, without brackets where they are all of it."""
    if msb - lsb + 1 == width:
        return name
    return f"{name}[{msb}:{lsb}]" if msb > lsb else f"{name}[{lsb}]"


def field_port(register: str, name: str, role: Role) -> str:
    return f"hw_{identifier(register)}__{identifier(name)}__{role.value}"


def register_port(register: str, role: Role) -> str:
    return f"hw_{identifier(register)}__{role.value}"


def ports_of(plan: Plan) -> Iterator[Port]:
    """All ports of the hardware side, register by register. Raises ``DescriptionError`` ``verilog-name``."""
    for view in plan.views:
        if view.element:
            continue
        states = plan.owner(view.name)
        for port in (*_fields(plan, view, states), *_strobes(plan, view)):
            plan.claim(port.name, port.name, view.entry.where)
            yield port
    for memory in plan.memories:
        yield from _window(memory)


def has_value(f: Field) -> bool:
    """The field holds something that hardware does not know already."""
    return bool(f.name) and (f.access.hardware or f.access.onwrite not in (OnWrite.PULSE, OnWrite.NOTHING))


def has_events(f: Field) -> bool:
    """The bits of the field are set and cleared one by one."""
    return f.access.onwrite in PER_BIT or f.access.onread is not OnRead.NOTHING


def _fields(plan: Plan, view: View, states: list[State]) -> Iterator[Port]:
    def port(f: Field, role: Role, width: int, count: int) -> Port:
        return Port(field_port(view.name, f.name, role), role, view.name, f.name, width, count)

    event = view.entry.kind in (Kind.DOORBELL, Kind.COMMAND)
    for f in view.entry.fields:
        if states and states[0].driven(f):
            yield port(f, Role.NEXT, f.width, len(states))
            yield port(f, Role.ENABLE, 1, len(states))
            if has_events(f):
                yield port(f, Role.SET, f.width, len(states))
                yield port(f, Role.CLEAR, f.width, len(states))
        if states and has_value(f):
            yield port(f, Role.VALUE, f.width, len(states))
        if f.access.onwrite is OnWrite.PULSE and not (event or view.low_half) and f.name:
            yield port(f, Role.PULSE, f.width, len(view.entry.offsets))


def _strobes(plan: Plan, view: View) -> Iterator[Port]:
    def port(role: Role, width: int) -> Port:
        return Port(register_port(view.name, role), role, view.name, "", width, len(view.entry.offsets))

    if view.writable and not view.low_half:
        yield port(Role.WRITTEN, 1)
    if view.entry.kind in (Kind.DOORBELL, Kind.COMMAND):
        yield port(Role.DATA, view.entry.width)
    if view.read_acts:
        yield port(Role.READ, 1)
    if view.entry.pair is not None and not view.low_half:
        name = field_port(view.entry.pair[0], view.name, Role.COMMITTED)
        yield Port(name, Role.COMMITTED, view.name, "", 2 * view.entry.width, len(view.entry.offsets))


def _window(memory: Memory) -> Iterator[Port]:
    width = 8 * LANES
    for role, bits in (
        (Role.ADDRESS, max(1, (memory.words - 1).bit_length())),
        (Role.NEXT, width),
        (Role.ENABLE, LANES),
        (Role.VALUE, width),
    ):
        yield Port(register_port(memory.name, role), role, memory.name, "", bits)
