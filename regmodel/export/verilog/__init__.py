"""A description as a register block in plain Verilog-2005: AXI4-Lite in front, one port per hardware field behind.

What lives here: the backend ``verilog`` and ``RegisterBlock``, which is one BAR in Verilog with the list of its ports for
whoever instantiates or simulates it. ``words`` says what stands at each address, ``fields`` what an access does to a field,
``ports`` what hardware sees, ``front`` is the bus, ``registers`` and ``windows`` write the text.

The block behaves as ``regmodel.bank`` does, one access per clock. What AXI4-Lite makes different:

- An access is one aligned word of 32 bits. A wider one is several, lowest address first, each complete in itself.
- An access carries byte strobes, and the BAR's policy is applied to them; strobes that are not an aligned run of 1, 2 or 4
  bytes are what the policy calls unaligned. A read has none in AXI4-Lite: it is of all four bytes, with all side effects,
  unless the bridge says otherwise (``front``).
- Half of a 64-bit register counts as all of it.
- Every access is answered OKAY, a miss as well: the bank has no other answer either.

What hardware does in the clock of an access: who wins a tie comes last, the other one first. A read returns the value
before that clock. A reset is last of all; of several at once the more thorough wins, power-on before all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from regmodel.catalogue import Description
from regmodel.export import chosen, tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import Exported, LeftOut, Omissions, left_out
from regmodel.export.verilog.ports import Port, ports_of
from regmodel.export.verilog.registers import write_module
from regmodel.export.verilog.words import LARGEST_WINDOW, Plan, identifier
from regmodel.registers import Bar, Window

_NO_REGISTER, _SOURCE = "a register block has registers and memory", "see the description"
LEFT_OUT: Omissions = {
    tree.Description: {
        "title": _SOURCE, "doc": _SOURCE, "drivers": _SOURCE, "sources": _SOURCE, "identity": _NO_REGISTER,
        "config": "configuration space belongs to the PCI core in front of it", "schemas": _NO_REGISTER,
        "rings": _NO_REGISTER, "mailboxes": _NO_REGISTER, "keys": _NO_REGISTER,
    },
    tree.Bar: {"index": "a block does not know which BAR it is"},
    tree.Register: {"whole": "it has one field", "sources": _SOURCE, "status": _SOURCE, "why": _SOURCE},
    tree.Field: {"sources": _SOURCE, "values": _SOURCE},
    tree.Window: {"sources": _SOURCE, "why": _SOURCE, "mappable": _NO_REGISTER, "members": "memory has words and no layout"},
}  # fmt: skip


@dataclass(frozen=True)
class RegisterBlock:
    """One BAR as module ``name``, which is no word of Verilog's. Raises ``DescriptionError`` for what has no place in one."""

    bar: Bar
    name: str

    @cached_property
    def plan(self) -> Plan:
        """What stands where, and what it is called."""
        return Plan(self.bar)

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The hardware side; bus, clock and resets are the same for every block."""
        return tuple(ports_of(self.plan))

    @cached_property
    def text(self) -> str:
        """The Verilog source."""
        return write_module(self.name, self.plan, self.ports)


def verilog(description: Description, bar: int | None) -> Exported:
    """One file per BAR, called as the module in it; none for a BAR that is but a large memory, unless it is asked for."""
    bars = chosen(description, bar)
    memories = {index: found for index, found in bars.items() if bar is None and _is_memory(found)}
    blocks = [block(description, index) for index in bars if index not in memories]
    omitted = [LeftOut(found.bar, "it is a memory, and no register block") for found in memories.values()]
    gone = tuple(f"{item.path}{c}" for item in omitted for c in ".:")
    said = (item for item in left_out(elaborate(description, bar), LEFT_OUT) if not item.path.startswith(gone))
    return Exported({f"{b.name}.v": b.text for b in blocks}, (*omitted, *said))


def _is_memory(bar: Bar) -> bool:
    return all(isinstance(entry, Window) and entry.size > LARGEST_WINDOW for entry in bar.entries.values())


def block(description: Description, index: int) -> RegisterBlock:
    """BAR ``index`` of a description as a register block called ``<device>_<bar>`` (with ``regs_`` before a digit)."""
    bar = chosen(description, index)[index]
    name = identifier(f"{description.name}_{bar.bar}".lower())
    return RegisterBlock(bar, f"regs_{name}" if name[0].isdigit() else name)
