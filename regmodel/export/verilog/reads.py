"""The read side of a register block: what each word of the bus reads as.

What lives here: the read multiplexer and the view of a bank of registers. What reading does to a state is in ``registers``.
"""

from __future__ import annotations

from collections.abc import Iterator

from regmodel.export.verilog.decode import ALL, strobed, within
from regmodel.export.verilog.ports import part
from regmodel.export.verilog.words import LANES, Memory, Plan, View
from regmodel.registers import Kind, Miss


def shown(plan: Plan, view: View) -> Iterator[str]:
    """The instance of a bank that the index register selects; 0 beyond the last."""
    if view.entry.banked_by is None or not readable(view):
        return
    index, width = plan.index(view)
    yield f"reg [{view.entry.width - 1}:0] shown_{view.ident};"
    yield "always @* begin"
    yield f"    case ({index})"
    for state in plan.homes(view):
        if state.instance is not None and state.instance < 1 << width:
            yield f"        {width}'d{state.instance}: shown_{view.ident} = r_{state.ident};"
    yield f"        default: shown_{view.ident} = {view.entry.width}'h0;"
    yield "    endcase"
    yield "end"


def read_mux(plan: Plan) -> Iterator[str]:
    """What a read answers, by word; all of the word where it wants any byte of it."""
    miss = f"32'h{_miss(plan, 8 * LANES):x}"
    refused = _refused(plan)
    yield "// ---- what a read answers ----"
    yield "always @* begin"
    yield "    case (word)"
    for word in sorted(plan.words):
        here = f"{plan.address_width - 2}'h{word:x}"
        yield f"        {here}: r_data = {_value(plan, word)};"
    yield f"        default: r_data = {miss};"
    yield "    endcase"
    if refused:
        yield f"    if ({refused}) r_data = {miss};"
    yield "end"


def _refused(plan: Plan) -> str:
    """The condition that the policy does not let a read pass; empty where it lets all pass."""
    rows: dict[frozenset[int], list[int]] = {}
    for word in sorted(plan.words):
        taken = frozenset(strobes for strobes in range(1, 1 << LANES) if plan.takes(word, strobes))
        rows.setdefault(taken, []).append(word)
    rows.pop(frozenset(range(1, 1 << LANES)), None)
    if len(rows) == 1 and len(next(iter(rows.values()))) == len(plan.words):
        return f"~{strobed(next(iter(rows)), ALL)}"
    return " | ".join(f"({within(plan, words)} & ~{strobed(taken, ALL)})" for taken, words in rows.items())


def _miss(plan: Plan, width: int) -> int:
    return (1 << width) - 1 if plan.policy.unmapped is Miss.ONES else 0


def readable(view: View) -> int:
    """The bits that a read shows."""
    return 0 if view.entry.kind is Kind.DOORBELL else sum(f.mask for f in view.entry.fields if f.access.readable)


def _value(plan: Plan, word: int) -> str:
    """A word of the bus, put together from whatever stands there."""
    found: list[str] = []  # most significant byte first
    lane = LANES - 1
    while lane >= 0:
        owner = next((p for p in plan.words[word] if p.lanes(word) >> lane & 1), None)
        first = lane
        while first and next((p for p in plan.words[word] if p.lanes(word) >> first - 1 & 1), None) is owner:
            first -= 1
        width = 8 * (lane - first + 1)
        if owner is None:
            found.append(f"{width}'h{_miss(plan, width):x}")
        elif isinstance(owner, Memory):
            found.append(part(f"word_{owner.ident}", 8 * LANES, 8 * lane + 7, 8 * first))
        else:
            found.append(_shown_bits(plan, owner, 8 * (word * LANES + first - owner.offset), width))
        lane = first - 1
    return found[0] if len(found) == 1 else f"{{{', '.join(found)}}}"


def _shown_bits(plan: Plan, view: View, lsb: int, width: int) -> str:
    """``width`` bits of a view from ``lsb`` on, as a read shows them."""
    every = (1 << width) - 1
    mask = readable(view) >> lsb & every
    if not mask:
        return f"{width}'h0"
    name = f"shown_{view.ident}" if view.entry.banked_by else f"r_{plan.homes(view)[0].ident}"
    bits = part(name, view.entry.width, lsb + width - 1, lsb)
    return bits if mask == every else f"({bits} & {width}'h{mask:x})"
