"""Which register an access is for, and whether the policy of the BAR lets it pass: conditions on word and strobes.

What lives here: the wires ``wr_*`` and ``rd_*``, and the expressions that windows use instead. What follows is not in here.
"""

from __future__ import annotations

from collections.abc import Iterator

from regmodel.export.verilog.ports import part
from regmodel.export.verilog.words import LANES, Memory, Plan

ALL = (1 << LANES) - 1
NEVER = "1'b0"


def decoder(plan: Plan) -> Iterator[str]:
    """The wires of all registers; each is high in the clock in which an access changes or tells something."""
    yield "// ---- what is accessed, under the policy of the BAR ----"
    for view in plan.views:
        for word in view.words:
            here = f"{within(plan, [word])} & {strobed(plan.reaches(view, word), view.lanes(word))}"
            if view.writable:
                yield f"wire {view.select('wr', word)} = write_now & {here};"
            if view.read_acts:
                yield f"wire {view.select('rd', word)} = read_now & {here};"


def stores_byte(plan: Plan, memory: Memory, lane: int) -> str:
    """The condition that an access covers into byte ``lane`` of the word of a window that it addresses; empty for never."""
    rows: dict[frozenset[int], list[int]] = {}
    for word in range(memory.base, memory.base + memory.words):
        if memory.lanes(word) >> lane & 1:
            taken = frozenset(strobes for strobes in plan.reaches(memory, word) if strobes >> lane & 1)
            rows.setdefault(taken, []).append(word)
    terms = [f"{within(plan, words)} & {strobed(taken, 1 << lane)}" for taken, words in rows.items() if taken]
    return terms[0] if len(terms) == 1 else f"({' | '.join(f'({t})' for t in terms)})" if terms else ""


def strobed(taken: frozenset[int], lanes: int) -> str:
    """The condition that the strobes of an access are among ``taken``, where something has ``lanes``."""
    if not taken:
        return NEVER
    if taken == {ALL}:
        return f"(strb == {LANES}'h{ALL:x})"
    if taken == {strobes for strobes in range(1, ALL + 1) if strobes & lanes}:
        bits = part("strb", LANES, lanes.bit_length() - 1, (lanes & -lanes).bit_length() - 1)
        return bits if lanes.bit_count() == 1 else f"(|{bits})"
    table = sum(1 << strobes for strobes in taken)  # one bit for each of the 16 values
    return f"(|(16'h{table:04x} & (16'h1 << strb)))"


def within(plan: Plan, words: list[int]) -> str:
    """The condition that the word of the bus is one of ``words``, which ascend."""
    runs: list[tuple[int, int]] = []
    for word in words:
        if runs and runs[-1][1] == word - 1:
            runs[-1] = (runs[-1][0], word)
        else:
            runs.append((word, word))
    terms = [_run(plan.address_width - 2, first, last) for first, last in runs]
    return terms[0] if len(terms) == 1 else f"({' | '.join(terms)})"


def _run(width: int, first: int, last: int) -> str:
    if first == last:
        return f"(word == {width}'h{first:x})"
    ends = [f"(word >= {width}'h{first:x})"] if first else []
    ends += [f"(word <= {width}'h{last:x})"] if last < (1 << width) - 1 else []
    return f"({' & '.join(ends)})" if len(ends) > 1 else ends[0] if ends else "1'b1"
