"""The conformance suite inside of a simulator: the same checks that are run from outside, awaited in a cocotb test."""

from __future__ import annotations

from typing import Any

import cocotb

from emulators.rtl.hardware import Hardware
from emulators.rtl.inside import Block
from regmodel.conformance import accesses as do
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Abilities
from regmodel.conformance.suite import REGISTER_TESTS, judge
from regmodel.function import ResetCause
from tests.emulators.rtl.test_directed import BLOCK, DEVICE

BUS = Abilities(resets=frozenset(ResetCause), alone=True, sizes=frozenset({1, 2, 4}), files=frozenset({0}), raw_config=False)
"""What a bus master and the reset wires can do."""


@cocotb.test()
async def suite(dut: Any) -> None:
    """All that can be judged from the bus passes; who uses the block has wired its reset bit back to it."""
    hardware = Hardware(BLOCK)
    block = Block(dut, hardware.inputs, hardware.watched)
    await block.start()

    async def perform(access: do.Access) -> int:
        value = 0
        match access:
            case do.Read(_, offset, size):
                value = await block.read(offset, size)
            case do.Write(_, offset, size, data):
                await block.write(offset, size, data)
            case do.Reset(cause):
                await block.reset(cause)
            case do.Wait():
                pass
            case _:
                raise do.ConformanceError(f"nobody asked for {access}")
        if any(t.role == "pulse" and t.field == "rst" for name, bits in block.take() for t in hardware.told(name, bits)):
            await block.reset(ResetCause.SOFTWARE)
        return value

    report = await do.arun(judge(DEVICE, BUS, tests=REGISTER_TESTS), perform)
    assert report.passed, report.summary
    passed = {(row.test, row.register) for row in report.rows if row.outcome is Outcome.PASS}
    assert {("csr_bit_bash", "bar0.ctrl"), ("csr_side_effects", "bar0.ctrl"), ("reset_domains", "bar0.low")} <= passed, passed
    assert {"csr_hw_reset", "csr_rw", "csr_aliasing", "csr_access_width", "mem_walk"} <= {test for test, _ in passed}
