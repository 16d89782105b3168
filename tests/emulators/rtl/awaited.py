"""A cocotb test as others would write it: awaitable accesses to the block of ``test_directed``, on both channels at once."""

from __future__ import annotations

import itertools
from typing import Any

import cocotb

from emulators.rtl.inside import Block
from regmodel.function import ResetCause


@cocotb.test()
async def channels(dut: Any) -> None:
    """Reads and writes in flight together, the master not always ready: nothing is lost, nothing is done twice."""
    block = Block(dut)
    await block.start()
    for pauses in ((0,), (0, 1), (1, 1, 0), (0, 0, 1)):
        for channel in (block.axi.write_if.b_channel, block.axi.read_if.r_channel, block.axi.write_if.w_channel):
            channel.set_pause_generator(itertools.cycle(pauses))
        writes = [cocotb.start_soon(block.axi.write(0x10, n.to_bytes(4, "little"))) for n in range(1, 40)]
        reads = [cocotb.start_soon(block.axi.read(0x10, 4)) for _ in range(60)]
        for task in writes:
            await task
        seen = [int.from_bytes((await task).data, "little") for task in reads]
        assert seen == sorted(seen), "reads saw writes in another order"
        assert len(set(seen)) > 10, f"the channels did not take turns: {seen}"
        assert block.value("r_low") == 39
        await block.reset(ResetCause.FLR)
        assert await block.read(0x10, 4) == 0
