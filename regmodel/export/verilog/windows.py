"""Windows of a register block: memory that the bus and hardware share.

What lives here: one byte-writable array of words per window. Hardware sees one word at a time, chosen by ``hw_w__addr``, which
counts from the first word of the BAR that the window has bytes in. Where both store into a byte at once, software wins.
"""

from __future__ import annotations

from collections.abc import Iterator

from regmodel.export.verilog.decode import stores_byte
from regmodel.export.verilog.front import RESETS, THOROUGH_LAST
from regmodel.export.verilog.ports import Role, register_port
from regmodel.export.verilog.words import LANES, Memory, Plan
from regmodel.function import ResetCause


def window(plan: Plan, memory: Memory) -> Iterator[str]:
    """The memory, its side of the bus, its side of the hardware, its resets."""
    entry, ident, top = memory.entry, memory.ident, plan.address_width - 1
    depth = max(1, (memory.words - 1).bit_length())
    size = 8 * LANES << depth
    doc = " ".join(plan.bar.docs_of.get(memory.name, "").split())
    yield f"// ---- {entry.at:#06x} {memory.name} (window of {entry.size} bytes, {entry.access}){': ' if doc else ''}{doc}"
    yield f"reg [{size - 1}:0] m_{ident};"
    if ResetCause.POWER_ON in entry.survives:
        yield f"initial m_{ident} = {size}'h0;"
    yield f"wire [{top}:2] at_{ident} = word - {plan.address_width - 2}'h{memory.base:x};"
    index = f"at_{ident}[{depth + 1}:2]"
    addr = register_port(memory.name, Role.ADDRESS)
    yield f"wire [31:0] word_{ident} = m_{ident}[{{{index}, 5'h0}} +: 32];"
    yield f"assign {register_port(memory.name, Role.VALUE)} = m_{ident}[{{{addr}, 5'h0}} +: 32];"
    yield "always @(posedge clk) begin"
    for lane in range(LANES):
        enable = f"{register_port(memory.name, Role.ENABLE)}[{lane}]"
        data = f"{register_port(memory.name, Role.NEXT)}[{8 * lane + 7}:{8 * lane}]"
        yield f"    if ({enable}) m_{ident}[{{{addr}, 5'd{8 * lane}}} +: 8] <= {data};"
    if entry.access.writable:
        for lane in range(LANES):
            here = stores_byte(plan, memory, lane)
            if here:
                target = f"m_{ident}[{{{index}, 5'd{8 * lane}}} +: 8]"
                yield f"    if (write_now & {here}) {target} <= w_data[{8 * lane + 7}:{8 * lane}];"
    resets = [RESETS[cause] for cause in THOROUGH_LAST if cause not in entry.survives]
    if resets:
        yield f"    if ({' | '.join(resets)}) m_{ident} <= {size}'h0;"
    yield "end"
