"""Faults to seed in a register block, so that whoever judges it can be judged: one small change of its Verilog at a time.

What lives here: kinds of fault, each a function that finds the lines of one register in which it can be made. They rely on how
the backend writes its lines, and on nothing else; a line that is not found makes no mutant. A mutant has the ports of the
original. Equivalent mutants (nobody could tell) are possible and are the judge's to explain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from regmodel.access import OnWrite
from regmodel.export.verilog import RegisterBlock
from regmodel.export.verilog.words import Plan, View

HEADING = re.compile(r"^    // ---- (0x[0-9a-f]+) ([^\s:]+)")


@dataclass(frozen=True)
class Mutant:
    """A fault of a ``kind``, in ``register``: each of ``edits`` is a line (from 0), what it was, and what it becomes."""

    kind: str
    register: str
    edits: tuple[tuple[int, str, str], ...]

    def __call__(self, verilog: str) -> str:
        """The mutant of the whole source."""
        lines = verilog.splitlines()
        for number, was, text in self.edits:
            assert lines[number] == was, self
            lines[number] = text
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        said = (f"{was.strip()} becomes {' '.join(text.split()) or 'nothing'}" for _, was, text in self.edits)
        return f"{self.kind} in {self.register}: {'; '.join(said)}"


Lines = list[tuple[int, str]]
Fault = Callable[[Plan, View, Lines], Iterator[tuple[int, str]]]
"""Yields (line number, what it becomes), one per mutant, for the lines of one register: those under its heading, those that
select it, those that show it."""


def mutants(block: RegisterBlock) -> Iterator[Mutant]:
    """All of them, register by register, in the order of ``FAULTS``."""
    source = block.text.splitlines()
    mine: dict[str, Lines] = {}
    path = ""
    for number, line in enumerate(source):
        if line.startswith("    // ----"):
            found = HEADING.match(line)
            path = found[2] if found else ""
        if path:
            mine.setdefault(path, []).append((number, line))
    for view in block.plan.views:
        selects = [(n, line) for n, line in enumerate(source) if re.match(rf"    wire (wr|rd)_{view.ident}(_lo|_hi)? ", line)]
        cases = "|".join(f"'h{word:x}" for word in view.words)
        shows = [(n, line) for n, line in enumerate(source) if re.search(rf"({cases}): r_data = ", line)]
        for kind, fault in FAULTS.items():
            if kind == "hidden-shown" and not _holds_hidden(block.plan, view):
                continue
            for number, text in fault(block.plan, view, [*mine[view.path], *selects, *shows]):
                edits = [(number, source[number], text)]
                if kind in SHOWN:
                    edits += [(n, source[n], t) for n, t in hidden_shown(block.plan, view, shows) if n != number]
                yield Mutant(kind, view.path, tuple(edits))


def _matching(pattern: str, lines: Lines) -> Iterator[tuple[int, str, re.Match[str]]]:
    for number, line in lines:
        found = re.search(pattern, line)
        if found:
            yield number, line, found


def _holds_hidden(plan: Plan, view: View) -> bool:
    """Some bit that a read hides can be 1."""
    hidden = sum(f.mask for f in view.entry.fields if not f.access.readable)
    never = (OnWrite.NOTHING, OnWrite.PULSE, OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS)
    fields = [f for state in plan.homes(view) for v in state.views for f in v.entry.fields]
    return any(f.mask & hidden for f in fields if f.access.hardware or f.access.onwrite not in never)


# -- state and resets ----------------------------------------------------------------------------------------------------


def wrong_reset(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """The value after power-on has one bit wrong, the lowest that a read shows."""
    shown = sum(f.mask for f in view.entry.fields if f.access.readable)
    for number, line, found in _matching(r"(if \(.*rst_power_on\) next_\w+ = \d+'h)([0-9a-f]+);", lines):
        value = int(found[2], 16) ^ (shown & -shown or 1)
        yield number, line.replace(found[0], f"{found[1]}{value:x};")


def lost_reset(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """One cause does not reach the register."""
    for number, line, found in _matching(r"if \(((rst_\w+) \| .*?)\) next_", lines):
        yield number, line.replace(found[1], found[1].replace(f"{found[2]} | ", "", 1))


def wrong_domain(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A reset which the register survives reaches it."""
    for number, line, found in _matching(r"if \((rst_bus \| rst_power_on)\) next_", lines):
        yield number, line.replace(found[1], f"rst_flr | {found[1]}")


def stuck_bit(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """The lowest and the highest bit that can change stay 0."""
    changing = sum(f.mask for f in view.entry.fields if f.access.readable and (f.access.writable or f.access.hardware))
    for number, line, found in _matching(r"^    always @\(posedge clk\) (r_\w+) <= (next_\w+);", lines):
        for bit in {changing & -changing, 1 << changing.bit_length() >> 1} - {0}:
            keep = (1 << view.entry.width) - 1 & ~bit
            yield number, line.replace(f"<= {found[2]}", f"<= {found[2]} & {view.entry.width}'h{keep:x}")


def lost_field(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A write does not reach one field."""
    for number, _, _ in _matching(r"^ +(if \(wr_\w+\) )?next_\S+ = .*w_data", lines):
        yield number, ""


def unlatched(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """What hardware stores is not kept."""
    for number, _, _ in _matching(r"^ +if \(hw_\w+__we\S*\) next_", lines):
        yield number, ""


# -- what accesses do ----------------------------------------------------------------------------------------------------


def clears_as_store(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Write 1 to clear (or 0, or to set, to toggle) stores instead."""
    for number, line, found in _matching(r"(next_\S+) = next_\S+ (?:& ~|& |\| |\^ )(w_data\S*);", lines):
        yield number, line.replace(found[0], f"{found[1]} = {found[2]};")


def clears_all(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Write 1 to clear clears whatever is written."""
    for number, line, found in _matching(r"(next_\S+) = next_\S+ & ~w_data\S*;", lines):
        yield number, line.replace(found[0], f"{found[1]} = {found[1]} & ~{found[1]};")


def read_keeps(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A read does not clear (or set)."""
    for number, line, found in _matching(rf"^    wire rd_{view.ident}\w* = (.*);", lines):
        yield number, line.replace(found[1], "1'b0")


def pulse_stays(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A pulse bit is stored (and a read shows it)."""
    for f in view.entry.fields:
        if f.access.onwrite is OnWrite.PULSE and f.width == 1:
            for number, line, found in _matching(rf"^( +(?:if \(wr_\w+\) )?(next_\w+\[{f.lsb}\]) = )1'h0;", lines):
                yield number, line.replace(found[0], f"{found[1]}w_data[{f.lsb % 32}];")


def lost_pulse(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Hardware is not told of a pulse, of a write, or of data."""
    for number, line, found in _matching(r"(hw_\w+__(?:pulse|data|written)\S* <=) .*;", lines):
        yield number, line.replace(found[0], f"{found[1]} 0;")


def hidden_shown(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A read shows bits that it should not."""
    for number, line, found in _matching(r": r_data = \((r_\w+) & \d+'h[0-9a-f]+\);", lines):
        yield number, line.replace(found[0], f": r_data = {found[1]};")


def reserved_stores(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """The lowest reserved bit stores what is written."""
    reserved = sum(f.mask for f in view.entry.fields if f.access.reserved)
    bit = (reserved & -reserved).bit_length() - 1
    if bit < 0 or not view.stores or len(view.words) > 1:
        return
    at = bit + 8 * (view.offset % 4)
    for number, line, found in _matching(r"^        (next_\w+) = (r_\w+);", lines):
        yield number, f"{line} if ({view.select('wr', view.words[0])}) {found[1]}[{bit}] = w_data[{at}];"


# -- locks ---------------------------------------------------------------------------------------------------------------

LOCK = r"^ +if \(wr_\w+.*?( & (~?)(?:\()?((?:before|after)_\w+(?:\[[\d:]+\])?)(?: != (\d+'h)([0-9a-f]+)\))?)"


def lock_ignored(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A write lands though the lock is shut."""
    for number, line, found in _matching(LOCK, lines):
        yield number, line.replace(found[1], "")


def wrong_lock(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Another value locks."""
    for number, line, found in _matching(LOCK, lines):
        other = f"({found[3]} != {found[4]}{int(found[5], 16) ^ 1:x})" if found[4] else f"{'' if found[2] else '~'}{found[3]}"
        yield number, line.replace(found[1], f" & {other}")


# -- causes and addresses ------------------------------------------------------------------------------------------------


def lost_cause(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Hardware's events do not arrive."""
    for number, line, found in _matching(r" \| (hw_\w+__set\S*);", lines):
        yield number, line.replace(found[0], f" | ({found[1]} & ~{found[1]});")


def cause_loses(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """An event of hardware is lost when software accesses the register in the same clock."""
    for number, line, found in _matching(r" \| (hw_\w+__set\S*);", lines):
        yield number, line.replace(found[0], f" | ((write_now | read_now) ? ({found[1]} & ~{found[1]}) : {found[1]});")


def off_by_one_word(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """An element of an array, but the first, is written one word too high."""
    if view.element:
        for number, line, found in _matching(r"^    wire wr_\w+ = .*\(word == (\d+'h)([0-9a-f]+)\)", lines):
            yield number, line.replace(f"{found[1]}{found[2]})", f"{found[1]}{int(found[2], 16) + 1:x})")


def neighbour_shown(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """A read shows the next register instead, unless that is the same in another place."""
    after = [v for v in plan.views if v.offset == view.offset + 4 and v.entry.width == view.entry.width == 32]
    if after and plan.homes(after[0]) and after[0].entry.banked_by is None:
        other = plan.homes(after[0])[0].ident
        for number, line, found in _matching(rf": r_data = .*\br_{view.ident}\b", lines) if other != view.ident else ():
            yield number, line.replace(found[0], re.sub(rf"\br_{view.ident}\b", f"r_{other}", found[0]))


def strobes_ignored(plan: Plan, view: View, lines: Lines) -> Iterator[tuple[int, str]]:
    """Narrow writes are taken for whole ones."""
    for number, line, _ in _matching(r"^    wire wr_\w+ = .*\(strb == 4'hf\)", lines):
        yield number, line.replace("(strb == 4'hf)", "(|strb)")


SHOWN = {"pulse-stays"}
"""Faults of bits that no read would show: it shows them, too."""
FAULTS: dict[str, Fault] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        wrong_reset, lost_reset, wrong_domain, stuck_bit, lost_field, unlatched, clears_as_store, clears_all, read_keeps,
        pulse_stays, lost_pulse, hidden_shown, reserved_stores, lost_cause, cause_loses, off_by_one_word, neighbour_shown,
        strobes_ignored, lock_ignored, wrong_lock,
    )
}  # fmt: skip
