"""The Verilog text of a register block, register by register.

What lives here: how states, views and pieces (``words``) are put into always blocks. What an access does to a field comes
from ``fields``, the bus from ``front``, windows from ``windows``. Lines have no state but their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from regmodel.access import OnWrite, Tie
from regmodel.bits import Field, Lock
from regmodel.export.verilog.decode import NEVER, decoder
from regmodel.export.verilog.fields import ON_READ, ON_WRITE, hardware_events, unspent
from regmodel.export.verilog.front import RESETS, THOROUGH_LAST, UNUSED, bus_ports, front
from regmodel.export.verilog.ports import Port, Role, field_port, has_events, part, register_port
from regmodel.export.verilog.reads import read_mux, readable, shown
from regmodel.export.verilog.windows import window
from regmodel.export.verilog.words import LANES, Piece, Plan, State, View
from regmodel.function import ResetCause
from regmodel.registers import Kind


def write_module(name: str, plan: Plan, ports: Sequence[Port]) -> str:
    """The whole file."""
    bar = plan.bar
    by_name = {port.name: port for port in ports}
    blocks = [
        f"// Registers of {bar.bar}, {bar.size:#x} bytes{f': {bar.about}' if bar.about else ''}. Generated: do not edit.\n"
        f"{PORTS}module {name} (\n{_declarations(plan, ports)}\n);\n",
        front(plan.address_width),
        _text(decoder(plan)),
    ]
    for view in plan.views:
        blocks.append(_text(_register(plan, view, by_name)))
    blocks += [_text(window(plan, memory)) for memory in plan.memories]
    blocks.append(_text(read_mux(plan)))
    unused = ", ".join(["1'b0", *UNUSED, "w_data", "strb", "lanes", *_unread(plan)])
    blocks.append(f"    wire unused = &{{{unused}}};\nendmodule\n")
    return "`default_nettype none\n" + "\n".join(blocks) + "`default_nettype wire\n"


PORTS = """\
//
// The hardware side. Elements of an array stand beside each other, the first in the least significant bits.
//   hw_<register>__<field>__value      what the field holds
//   hw_<register>__<field>__next, __we hardware stores into it
//   hw_<register>__<field>__set, __clr hardware sets and clears single bits; setting wins
//   hw_<register>__<field>__pulse      the ones that software wrote, in the clock after the access
//   hw_<register>__written, __data     software wrote the register (what, to a doorbell or command), likewise
//   hw_<register>__read                software read it with a side effect, likewise
// Where software and hardware change a field in the same clock, `Access.tie` of its description says who wins.
"""


def _declarations(plan: Plan, ports: Sequence[Port]) -> str:
    """The ports of the bus, then those of the hardware side under the name of their register."""
    lines = [f"    {declaration}," for declaration in bus_ports(plan.address_width)]
    for register, some in groupby(ports, key=lambda port: port.register):
        lines += [f"    // {register}", *(f"    {port.declaration}," for port in some)]
    last = max(i for i, line in enumerate(lines) if line.endswith(","))
    lines[last] = lines[last].removesuffix(",")
    return "\n".join(lines)


def _text(lines: Iterator[str]) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def _unread(plan: Plan) -> Iterator[str]:
    """Constants and helpers which nothing may come to look at, or at some bits only."""
    yield from sorted(plan.keys)
    yield from (f"r_{state.ident}" for state in plan.states if state.constant is not None)
    yield from (f"{wire}_{memory.ident}" for memory in plan.memories for wire in ("at", "word"))
    yield from (f"shown_{view.ident}" for view in plan.views if view.entry.banked_by and readable(view))


# -- one register --------------------------------------------------------------------------------------------------------


def _register(plan: Plan, view: View, ports: dict[str, Port]) -> Iterator[str]:
    """A register, array element, alias or doorbell: its legend, its storage, and what it tells hardware."""
    yield from _legend(plan, view)
    if view.entry.of is None:
        for state in plan.homes(view):
            yield from _state(plan, state, ports)
    yield from shown(plan, view)
    yield from _told(plan, view, ports)


def _legend(plan: Plan, view: View) -> Iterator[str]:
    """What the description says, in a comment; the fields of an array are listed once."""
    entry = view.entry
    what = "" if entry.kind is Kind.PLAIN else f" ({entry.kind.value}{f' of {entry.of}' if entry.of else ''})"
    bank = f" ({entry.banked_by[1]} of them, selected by {entry.banked_by[0]})" if entry.banked_by else ""
    doc = plan.bar.docs_of.get(view.name, "")
    yield f"// ---- {view.offset:#06x} {view.path}{what}{bank}{': ' if doc else ''}{' '.join(doc.split())}"
    if view.element:
        return
    width = max(len(f.name) for f in entry.fields)
    for f in entry.fields:
        doc = "; ".join(part for part in (f.behaviour, " ".join(f.doc.split())) if part)
        yield f"//   {f.range:>7} {f.name or '-':{width}} {f.access.name:5} {doc}"


def _state(plan: Plan, state: State, ports: dict[str, Port]) -> Iterator[str]:
    """One word of storage: the combinational ``next_x``, and the register ``r_x`` that takes it on."""
    ident, width = state.ident, state.width
    if state.constant is not None:
        yield f"wire [{width - 1}:0] r_{ident} = {width}'h{state.constant:x};"
        yield from _values(state, ports)
        return
    looked = {when: f"{when}_{ident}" for when in ("before", "after") if f"{when}_{ident}" in plan.keys}
    yield f"reg [{width - 1}:0] {', '.join([f'r_{ident}', f'next_{ident}', *looked.values()])};"
    if state.uninitialised:
        yield f"initial r_{ident} = {width}'h0;"
    yield from _spent(plan, state)
    yield "always @* begin"
    yield f"    next_{ident} = r_{ident};"
    for line in (
        *_hardware(state, ports, Tie.SOFTWARE),
        *_look(looked.get("before"), state),
        *(line for view in state.views for line in _software(plan, state, view)),
        *_look(looked.get("after"), state),
        *_hardware(state, ports, Tie.HARDWARE),
        *_resets(state),
    ):
        yield f"    {line}"
    yield "end"
    yield f"always @(posedge clk) r_{ident} <= next_{ident};"
    yield from _values(state, ports)


def _look(name: str | None, state: State) -> Iterator[str]:
    """The state at this point, for locks to which it has the key."""
    if name is not None:
        yield f"{name} = next_{state.ident};"


def _values(state: State, ports: dict[str, Port]) -> Iterator[str]:
    """What hardware sees of each field."""
    for f in state.owner.entry.fields:
        value = ports.get(field_port(state.owner.name, f.name, Role.VALUE))
        if f.name and value is not None:
            yield f"assign {value.part(state.index)} = {part(f'r_{state.ident}', state.width, f.msb, f.lsb)};"


def _software(plan: Plan, state: State, view: View) -> Iterator[str]:
    """What accesses through one address do to the state."""
    for word in view.words:
        reads: list[str] = []
        writes: dict[Lock | None, list[str]] = {}
        whole = plan.whole(view, word)
        for piece in view.pieces(word):
            now = part(f"next_{state.ident}", state.width, piece.msb, piece.lsb)
            lanes = None if whole else _bus("lanes", piece)
            read = ON_READ.get(piece.field.access.onread)
            if read is not None:
                reads.append(f"{now} = {read(now, lanes, piece.width)};")
            write = ON_WRITE.get(piece.field.access.onwrite)
            if write is not None and view.stores:
                if piece.field.access.onwrite is OnWrite.ONCE:
                    lanes = unspent(_spent_bits(state, piece), lanes)
                line = f"{now} = {write(now, _bus('w_data', piece), lanes, piece.width)};"
                writes.setdefault(piece.field.lock, []).append(line)
        chosen = _selected(plan, state)
        yield from _when(view.select("rd", word) + chosen, reads)
        for lock, lines in writes.items():
            yield from _when(view.select("wr", word) + chosen + _open(plan, view, state, lock), lines)


def _hardware(state: State, ports: dict[str, Port], tie: Tie) -> Iterator[str]:
    """What hardware does to the fields in which software (or hardware) wins."""
    for f in state.owner.entry.fields:
        if f.access.tie is not tie or not state.driven(f):
            continue

        def port(role: Role, f: Field = f) -> str:
            return ports[field_port(state.owner.name, f.name, role)].part(state.index)

        now = part(f"next_{state.ident}", state.width, f.msb, f.lsb)
        yield f"if ({port(Role.ENABLE)}) {now} = {port(Role.NEXT)};"
        if has_events(f):
            yield f"{now} = {hardware_events(now, port(Role.SET), port(Role.CLEAR))};"


def _resets(state: State) -> Iterator[str]:
    """The values after each cause, the most thorough one last; fields that survive keep theirs."""
    entry, width = state.owner.entry, state.width
    every, now = (1 << width) - 1, f"next_{state.ident}"
    rows = [
        (entry.reset_value(cause), sum(f.mask for f in entry.fields if cause not in f.survives), cause)
        for cause in THOROUGH_LAST
    ]
    for (value, mask), same in groupby(rows, key=lambda row: row[:2]):
        if not mask:
            continue
        kept = f"({now} & {width}'h{every & ~mask:x})" if value & mask else f"{now} & {width}'h{every & ~mask:x}"
        left = f"{width}'h{value:x}" if mask == every else f"{kept} | {width}'h{value & mask:x}" if value & mask else kept
        yield f"if ({_any(RESETS[cause] for _, _, cause in same)}) {now} = {left};"


def _any(conditions: Iterator[str]) -> str:
    return " | ".join(conditions)


def _when(condition: str, lines: list[str]) -> Iterator[str]:
    if len(lines) == 1:
        yield f"if ({condition}) {lines[0]}"
    elif lines:
        yield f"if ({condition}) begin"
        yield from (f"    {line}" for line in lines)
        yield "end"


def _bus(vector: str, piece: Piece) -> str:
    """The bits of a vector of the bus that are ``piece``."""
    return part(vector, 8 * LANES, piece.bus + piece.width - 1, piece.bus)


def _selected(plan: Plan, state: State) -> str:
    """`` & (r_select == 3)`` for an instance of a bank, else nothing."""
    if state.instance is None:
        return ""
    index, width = plan.index(state.owner)
    return f" & ({index} == {width}'d{state.instance})" if state.instance < 1 << width else f" & {NEVER}"


# -- locks ---------------------------------------------------------------------------------------------------------------


def _open(plan: Plan, view: View, state: State, lock: Lock | None) -> str:
    """`` & ~(before_gate[2:0] == 3'h5)``: a write through ``view`` finds the lock open; nothing where there is none."""
    if lock is None:
        return ""
    wire, holder = plan.key(view, state, lock)
    key = holder.owner.entry.named[lock.field]
    held = part(wire, holder.width, key.msb, key.lsb)
    if key.width == 1:
        return f" & {'~' if lock.value else ''}{held}"
    return f" & ({held} != {key.width}'h{lock.value:x})"


def _any_open(plan: Plan, view: View, lock: Lock | None) -> str:
    """The same for the instance of a bank that is selected."""
    states = plan.homes(view)
    if lock is None or len(states) == 1:
        return _open(plan, view, states[0], lock) if states else ""
    terms = (f"{_selected(plan, s)}{_open(plan, view, s, lock)}".removeprefix(" & ") for s in states)
    return f" & ({' | '.join(f'({term})' for term in terms)})"


# -- write-once ----------------------------------------------------------------------------------------------------------


def _spent_bits(state: State, piece: Piece) -> str:
    f = piece.field
    return part(f"spent_{state.ident}__{f.name}", f.width, piece.msb - f.lsb, piece.lsb - f.lsb)


def _spent(plan: Plan, state: State) -> Iterator[str]:
    """Which bits of the write-once fields have been written since a reset that reaches them."""
    view = state.owner
    for f in view.entry.fields:
        if f.access.onwrite is not OnWrite.ONCE:
            continue
        name = f"spent_{state.ident}__{f.name}"
        yield f"reg {_range(f.width)}{name};"
        if ResetCause.POWER_ON in f.survives:
            yield f"initial {name} = {f.width}'h0;"
        yield "always @(posedge clk) begin"
        for word in view.words:
            for piece in view.pieces(word):
                if piece.field is f:
                    spent = _spent_bits(state, piece)
                    taken = view.select("wr", word) + _open(plan, view, state, f.lock)
                    yield f"    if ({taken}) {spent} <= {spent} | {_bus('lanes', piece)};"
        resets = [RESETS[cause] for cause in THOROUGH_LAST if cause not in f.survives]
        if resets:
            yield f"    if ({_any(iter(resets))}) {name} <= {f.width}'h0;"
        yield "end"


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


# -- what hardware is told -----------------------------------------------------------------------------------------------


def _told(plan: Plan, view: View, ports: dict[str, Port]) -> Iterator[str]:
    """Outputs that are high for the clock after an access: it was written, it was read, which pulses, what data."""
    chosen = _exists(plan, view)
    lines: list[str] = []

    def tell(role: Role, selects: str) -> None:
        port = ports.get(register_port(view.name, role))
        if port is not None:
            some = " | ".join(view.select(selects, word) for word in view.words)
            lines.append(f"{port.part(view.element)} <= {f'({some})' if chosen and len(view.words) > 1 else some}{chosen};")

    tell(Role.WRITTEN, "wr")
    tell(Role.READ, "rd")
    for piece in view.pieces() if view.writable else ():
        f = piece.field
        select = view.select("wr", piece.word) + chosen + _any_open(plan, view, f.lock)
        mask = f"{{{piece.width}{{{select}}}}}" if piece.width > 1 else select
        lanes = "" if plan.whole(view, piece.word) else f" & {_bus('lanes', piece)}"
        written = f"{mask} & {_bus('w_data', piece)}{lanes}"
        pulse = ports.get(field_port(view.name, f.name, Role.PULSE))
        data = ports.get(register_port(view.name, Role.DATA))
        if f.name and pulse is not None and f.access.onwrite is OnWrite.PULSE:
            lines.append(f"{pulse.part(view.element, piece.msb - f.lsb, piece.lsb - f.lsb)} <= {written};")
        if data is not None:
            lines.append(f"{data.part(view.element, piece.msb, piece.lsb)} <= {written};")
    lines += _commit(plan, view, ports)
    if len(lines) == 1:
        yield f"always @(posedge clk) {lines[0]}"
    elif lines:
        yield "always @(posedge clk) begin"
        yield from (f"    {line}" for line in lines)
        yield "end"


def _exists(plan: Plan, view: View) -> str:
    """`` & (r_select < 4)`` for a bank, whose missing instances are told of to nobody; else nothing."""
    if view.entry.banked_by is None:
        return ""
    index, width = plan.index(view)
    count = view.entry.banked_by[1]
    return f" & ({index} < {width}'d{count})" if count < 1 << width else ""


def _commit(plan: Plan, view: View, ports: dict[str, Port]) -> Iterator[str]:
    """The 64-bit value of a pair, taken when its high half is written, or reset."""
    if view.entry.pair is None or view.entry.pair[1] != view.name:
        return
    low, high = (plan.next_of(name, view.element) for name in view.entry.pair)
    port = ports[field_port(view.entry.pair[0], view.name, Role.COMMITTED)]
    when = " | ".join([*([view.select("wr", view.words[0])] if view.writable else []), *RESETS.values()])
    yield f"if ({when}) {port.part(view.element)} <= {{{high}, {low}}};"
