"""What runs inside of the simulator: awaitable accesses to a register block, and the loop that does them for others.

What lives here: ``Block`` for those who write a cocotb test themselves, and ``serve``, the one cocotb test that ``Simulation``
starts. It imports cocotb, so nothing outside of a simulation imports it.

Everything happens between falling edges of the clock: inputs change there, outputs have settled there, and the block sees
exactly one rising edge in between.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, SimTimeoutError, ValueChange, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from regmodel.export.verilog.front import RESETS
from regmodel.function import ResetCause

PERIOD = 10
"""Of the clock, in steps of the simulation: the block has no notion of seconds."""
PATIENCE = 1000
"""Clocks within which an access must be answered."""


class Block:
    """A register block in the simulation, ``dut``; ``inputs`` are its hardware-side inputs, ``watched`` the outputs to note."""

    def __init__(self, dut: Any, inputs: Iterable[str] = (), watched: Iterable[str] = ()) -> None:
        self.dut, self.inputs = dut, tuple(inputs)
        self.seen: list[tuple[str, int]] = []
        """(name, bits) of each watched output that was not 0, in order of time."""
        self._watched = tuple(watched)
        self._strobes = 0

    async def start(self) -> None:
        """Start the clock and reset the block as power-on does. To be awaited once, before anything else."""
        for name in (*RESETS.values(), *self.inputs):
            getattr(self.dut, name).value = 0
        self.dut.rst_power_on.value = 1
        self._want(0xF)
        Clock(self.dut.clk, PERIOD, unit="step", impl="gpi").start(start_high=False)  # no edge before the inputs are there
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.axi = AxiLiteMaster(AxiLiteBus.from_prefix(self.dut, "s_axil"), self.dut.clk, self.dut.rst_power_on)
        await FallingEdge(self.dut.clk)
        self.dut.rst_power_on.value = 0
        await FallingEdge(self.dut.clk)
        for name in self._watched:
            cocotb.start_soon(self._watch(name))

    async def read(self, offset: int, size: int, during: Mapping[str, int] | None = None) -> int:
        """One read access of the bus. ``during`` are inputs for the clock in which its (first) word is read."""
        value = 0
        for first, count in words(offset, size):
            self._want(((1 << count) - 1) << first % 4)
            data = await self._access(self.axi.read(first, count), self.dut.read_now, during)
            value |= int.from_bytes(data.data, "little") << 8 * (first - offset)
            during = None
        self._want(0xF)
        return value

    def _want(self, strobes: int) -> None:
        """Which bytes the reads to come want. Most want all: no need to say so each time."""
        if strobes != self._strobes:
            self._strobes = strobes
            self.dut.s_axil_arstrb.value = strobes

    async def write(self, offset: int, size: int, value: int, during: Mapping[str, int] | None = None) -> None:
        """One write access of the bus."""
        await self._access(self.axi.write(offset, value.to_bytes(size, "little")), self.dut.write_now, during)

    async def _access(self, access: Any, now: Any, during: Mapping[str, int] | None) -> Any:
        """Raises ``TimeoutError`` when the block does not answer."""
        tied = cocotb.start_soon(self._tie(now, during)) if during else None
        try:
            answer = await with_timeout(access, PATIENCE * PERIOD, "step")
        except SimTimeoutError:
            await FallingEdge(self.dut.clk)
            raise TimeoutError(f"no answer within {PATIENCE} clocks") from None
        if tied is not None:
            await tied
        await FallingEdge(self.dut.clk)
        return answer

    async def _tie(self, now: Any, during: Mapping[str, int]) -> None:
        while not now.value:
            await FallingEdge(self.dut.clk)
        await self.pulse(during)

    async def pulse(self, inputs: Mapping[str, int]) -> None:
        """Put values on inputs for one clock, now or from the next falling edge on."""
        if self.dut.clk.value:
            await FallingEdge(self.dut.clk)
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        await FallingEdge(self.dut.clk)
        for name in inputs:
            getattr(self.dut, name).value = 0

    async def reset(self, *causes: ResetCause) -> None:
        """Reset by one cause, or by several at once, for one clock."""
        await self.pulse({RESETS[cause]: 1 for cause in causes})
        await FallingEdge(self.dut.clk)

    def value(self, name: str) -> int:
        """Any signal of the block. Raises ``ValueError`` when it has unknown bits."""
        found = getattr(self.dut, name).value
        if not found.is_resolvable:
            raise ValueError(f"{name} is {found}")
        return int(found)

    def take(self) -> list[tuple[str, int]]:
        """What was seen since the last time."""
        found, self.seen = self.seen, []
        return found

    async def _watch(self, name: str) -> None:
        signal = getattr(self.dut, name)
        while True:
            await ValueChange(signal)
            await ReadOnly()
            if bits := int(signal.value):
                self.seen.append((name, bits))


def words(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """The (first byte, count) of each word of the bus that an access covers, lowest address first."""
    at, end = offset, offset + size
    while at < end:
        count = min(end, at - at % 4 + 4) - at
        yield at, count
        at += count


async def perform(block: Block, request: Mapping[str, Any]) -> Any:
    """One request of the loop: ``op`` and what it needs."""
    match request["op"]:
        case "read":
            return await block.read(request["offset"], request["size"], request.get("during"))
        case "write":
            await block.write(request["offset"], request["size"], request["value"], request.get("during"))
        case "reset":
            await block.reset(*map(ResetCause, request["causes"]))
        case "pulse":
            await block.pulse(request["inputs"])
        case "set":
            for name, value in request["inputs"].items():
                getattr(block.dut, name).value = value
            await FallingEdge(block.dut.clk)
        case "values":
            return [block.value(name) for name in request["names"]]
        case other:
            raise ValueError(f"unknown request {other!r}")
    return 0


@cocotb.test()
async def serve(dut: Any) -> None:
    """Do what the other end of the socket asks, one JSON line each, until it hangs up. Time stands still in between."""
    link = socket.socket(fileno=int(os.environ["REGMODEL_RTL_FD"]))
    with link, link.makefile("rw", encoding="utf-8") as lines:
        hello = json.loads(lines.readline())
        block = Block(dut, hello["inputs"], hello["watched"])
        await block.start()
        print(json.dumps({"answer": 0}), file=lines, flush=True)
        for line in lines:
            try:
                reply = {"answer": await perform(block, json.loads(line))}
            except (TimeoutError, ValueError) as error:  # what a block does wrong: no answer, unknown bits
                reply = {"error": str(error)}
            except Exception as error:  # what is wrong here: a KeyError's text alone says nothing
                reply = {"error": f"{type(error).__name__}: {error}"}
            if block.seen:
                reply["seen"] = block.take()
            print(json.dumps(reply), file=lines, flush=True)
