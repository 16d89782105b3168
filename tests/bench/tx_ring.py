"""What a packet costs in the rings of an igb VF: per direction, frame size and burst, in ns of this process's time.

The VF stands alone with its memory in this process; its pool is one of a real switch, which looks at each frame and hands
it to ``sink:``, which reads each of its bytes (transmit), or into which a second VF sends (receive, both VFs counted). The
guest's own work, filling and taking descriptors, is done before and not counted.

    python -m tests.bench.tx_ring
"""

from __future__ import annotations

import time
from collections.abc import Callable

from emulators.dma import BytesMemory, DmaMap
from emulators.fabric.backends import parse
from emulators.fabric.switch import Switch
from emulators.loop import Loop, ManualClock
from emulators.nics.igb.vf import IgbVf
from regmodel.bank import Bank
from regmodel.devices.igbvf import IGBVF
from regmodel.function import OnDescriptor, ResetCause

RING = 1024
TX_AT, RX_AT, TX_BUFFERS, RX_BUFFERS, MEMORY = 0x0, 0x4000, 0x10000, 0x400000, 0x800000
MACS = tuple(bytes((2, 0, 0, 0, 0, n)) for n in range(3))
UDP = bytes.fromhex("4500 002e 0000 0000 4011 66bd 0a000001 0a000002 0009 0009 001a 0000")
ENABLE = 1 << 25


class Bench:
    """One VF on a loop that never sleeps."""

    def __init__(self, switch: Switch, number: int, loop: Loop) -> None:
        self.pool = switch.add_pool(f"vf{number}")
        self.pool.macs = frozenset({MACS[number]})
        self.pool.transmit_enable = self.pool.receive_enable = True
        self.pool.accept_untagged = True
        self.pool.max_frame = 9000
        self.dma, self.clock, self.packets = DmaMap(), ManualClock(), self.pool
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.memory = BytesMemory(MEMORY)
        self.dma.map(0, MEMORY, self.memory)
        self.defer, self.poll = loop.defer, loop.poll
        self.irqs = 0
        self.link = self
        self.up = True
        self.vfs = 7
        self.vf = IgbVf(IGBVF, self, self)

    def irq(self, vector: int) -> None:
        self.irqs += 1

    def diagnose(self, kind: str, **detail: object) -> None:
        raise AssertionError(f"{kind} {detail}")

    def mailbox(self, bank: Bank, interrupt: Callable[[], None]) -> None: ...

    def vf_reset(self, cause: ResetCause) -> None: ...

    def write(self, name: str, value: int) -> None:
        self.vf.bank.write(self.vf.bank[name].offset, 4, value)

    def start(self, frame: bytes, *, offload: bool = False) -> None:
        """Rings full of one frame and of free buffers."""
        words = memoryview(self.memory.content).cast("Q")
        for i in range(RING):
            buffer = TX_BUFFERS + 2048 * i
            self.memory.content[buffer : buffer + len(frame)] = frame
            words[TX_AT // 8 + 2 * i] = buffer
            words[TX_AT // 8 + 2 * i + 1] = len(frame) | 3 << 20 | 0b00101011 << 24 | (offload and 1 << 41)
            words[RX_AT // 8 + 2 * i] = RX_BUFFERS + 2048 * i
        self.write("ivar0", 0x8081)
        for name in ("eiac", "eims"):
            self.write(name, 7)
        for way, at in (("t", TX_AT), ("r", RX_AT)):
            self.write(f"{way}dlen", 16 * RING)
            self.write(f"{way}dbal", at)
            self.write("srrctl", 1 << 25 | 2)
            self.write(f"{way}xdctl", ENABLE)
        self.refill()

    def refill(self) -> None:
        """All receive descriptors are free again."""
        words = memoryview(self.memory.content).cast("Q")
        for i in range(RING):
            words[RX_AT // 8 + 2 * i] = RX_BUFFERS + 2048 * i
            words[RX_AT // 8 + 2 * i + 1] = 0
        head = self.vf.bank["rdh"].value
        self.write("rdt", (head - 1) % RING)


def measure(size: int, burst: int, *, to_vf: bool, offload: bool = False, packets: int = 20_000) -> float:
    """ns per packet of ``size`` octets, ``burst`` per doorbell; ``to_vf``: received by a second VF, else by the wire."""
    loop = Loop()
    switch = Switch("port0")
    sender, receiver = Bench(switch, 0, loop), Bench(switch, 1, loop)
    switch.loopback = switch.replication = True
    switch.attach(parse("sink:"), loop)
    frame = (MACS[1 if to_vf else 2] + MACS[0] + b"\x08\x00" + UDP).ljust(size, b"\0")
    sender.start(frame, offload=offload)
    receiver.start(frame)
    tail, spent = 0, 0
    for done in range(0, packets, burst):
        tail = (tail + burst) % RING
        started = time.process_time_ns()
        sender.write("tdt", tail)
        loop.settle()
        spent += time.process_time_ns() - started
        if to_vf and done // 512 != (done + burst) // 512:
            receiver.refill()
    loop.close()
    count = -(-packets // burst) * burst
    assert sender.vf.bank["vfgptc"].value == count and receiver.vf.bank["vfgprc"].value == (count if to_vf else 0)
    return spent / count


def main() -> None:
    for to_vf in (False, True):
        print("from one VF to another" if to_vf else "from a VF to the wire")
        for size in (60, 1500):
            figures = ", ".join(f"{burst:3} per doorbell {measure(size, burst, to_vf=to_vf):6.0f} ns" for burst in (1, 8, 64))
            print(f"  {size:5} octets: {figures}")


if __name__ == "__main__":
    main()
