"""What a packet costs in the rings of a VMXNET3: per way and burst, in ns of this process, median of all bursts.

Two queue pairs stand alone with their memory in this process; their pools are on a real switch. A sender's frames go to
``sink:``, which reads each of their bytes (transmit), or to a second NIC (receive, both counted). The guest's own work, filling
and taking rings, is done before and not counted. Packets are laid out as Linux does: up to 128 octets in the data ring, what
is longer in that and a buffer, large ones in pages.

    python -m tests.bench.vmxnet3_ring
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from emulators.dma import BytesMemory, DmaMap
from emulators.fabric.backends import parse
from emulators.fabric.offload import Gso, Offload, Partial, Takes
from emulators.fabric.switch import Switch
from emulators.loop import Loop, ManualClock
from emulators.nics.vmxnet3.marks import look, look_partial
from emulators.nics.vmxnet3.receive import ReceiveQueue
from emulators.nics.vmxnet3.shared import RxConf, TxConf
from emulators.nics.vmxnet3.transmit import TransmitQueue
from regmodel.function import Buffer, OnDescriptor

RING, HEAD, PAGE, DATA = 512, 1536, 4096, 128
QUEUE, TX, TX_DONE, RX, BODIES, RX_DONE = 0x800, 0x10000, 0x20000, 0x30000, 0x40000, 0x50000
DATA_RING, BUFFERS, MEMORY = 0x80000, 0x100000, 0x800000
MACS = tuple(bytes((2, 0, 0, 0, 0, n)) for n in range(3))
GEN, EOP_CQ, BODY = 1 << 14, 3 << 44, 1 << 14
"""In the second word of a transmit descriptor: gen, eop and cq; of a receive one: btype, its gen being bit 31."""
CSUM, TSO = 2, 3


class Bench:
    """A queue pair on a loop that never sleeps; ``send`` and ``refill`` are the guest's driver."""

    def __init__(self, switch: Switch, number: int, loop: Loop) -> None:
        self.pool = switch.add_pool(f"nic{number}")
        self.pool.macs = frozenset({MACS[number]})
        self.pool.transmit_enable = self.pool.receive_enable = self.pool.accept_untagged = True
        self.pool.max_frame = 9000
        self.pool.endpoint = self
        self.dma, self.clock, self.packets = DmaMap(), ManualClock(), self.pool
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.memory = BytesMemory(MEMORY)
        self.words = memoryview(self.memory.content).cast("Q")
        self.dma.map(0, MEMORY, self.memory)
        self.defer = loop.defer
        self.sent = self.given = self.spare = self.irqs = 0
        rx = RxConf(QUEUE + 256, (RX, BODIES), (RING, RING), RX_DONE, 2 * RING, 0, 0, 0)
        self.tx = TransmitQueue(self, 0, TxConf(QUEUE, TX, RING, TX_DONE, RING, 0), self.interrupt, self.stopped)
        self.rx = ReceiveQueue(self, 0, rx, 1, 0, True, self.interrupt, self.stopped)
        self.tx.open()

    def interrupt(self, vector: int, *, soon: bool = True) -> None:
        self.irqs += 1

    def stopped(self, error: object) -> None:
        raise AssertionError(error)

    def diagnose(self, kind: str, **detail: object) -> None:
        raise AssertionError(f"{kind} {detail}")

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        return self.rx.deliver(frames, look(frames, True)[0])

    def send(self, packet: Sequence[tuple[int, int]], offload: int = 0) -> None:
        """One packet of parts (address, octets); ``offload`` is in the second word of its first descriptor."""
        for i, (address, octets) in enumerate(packet):
            at = TX // 8 + 2 * (self.sent % RING)
            self.words[at] = address
            last = EOP_CQ if i == len(packet) - 1 else 0
            gen = GEN if self.sent // RING % 2 == 0 else 0
            self.words[at + 1] = octets & 0x3FFF | gen | last | (offload if i == 0 else 0)
            self.sent += 1

    def refill(self, heads: int, bodies: int = 0) -> None:
        """So many more buffers in both rings."""
        for n in range(self.given, self.given + heads):
            at = RX // 8 + 2 * (n % RING)
            self.words[at], self.words[at + 1] = BUFFERS + PAGE * (n % RING), HEAD | (n // RING % 2 == 0) << 31
        for n in range(self.spare, self.spare + bodies):
            at = BODIES // 8 + 2 * (n % RING)
            self.words[at], self.words[at + 1] = BUFFERS + PAGE * (n % RING), PAGE | BODY | (n // RING % 2 == 0) << 31
        self.given, self.spare = self.given + heads, self.spare + bodies

    def frame(self, n: int, head: bytes, octets: int) -> list[tuple[int, int]]:
        """Where frame ``n`` of ``octets`` is laid, as a driver does."""
        data, buffer = DATA_RING + DATA * (n % RING), BUFFERS + PAGE * (n % RING)
        self.memory.content[data : data + len(head)] = head
        return [(data, octets)] if octets <= DATA else [(data, DATA), (buffer, octets - DATA)]


def measure(octets: int, burst: int, *, receive: bool, offload: int = 0, packets: int = 20_000) -> float:
    """ns per packet of ``octets``, ``burst`` per doorbell; ``receive``: by a second NIC, else the wire takes it."""
    loop, switch = Loop(), Switch("port0", partial=True)
    sender, receiver = (Bench(switch, n, loop) for n in (0, 1))
    switch.loopback = switch.replication = True
    switch.attach(parse("sink:"), loop)
    switch.uplink.backend.takes = Takes.ALL  # type: ignore[union-attr,misc]  # as TAP does
    head = MACS[1 if receive else 2] + MACS[0] + bytes.fromhex("0800 45") + bytes(8) + b"\x06"
    receiver.refill(RING - 1)
    spent = []
    for first in range(0, packets, burst):
        for n in range(first, first + burst):
            sender.send(sender.frame(n, head, octets), offload)
        started = time.process_time_ns()
        sender.tx.doorbell()
        loop.settle()
        spent.append(time.process_time_ns() - started)
        if receive:
            receiver.refill(burst)
    loop.close()
    count = -(-packets // burst) * burst
    sent, got = sender.tx.statistics.values["ucastPktsTxOK"], receiver.rx.statistics.values["ucastPktsRxOK"]
    assert sent == count and got == (count if receive else 0), (sent, got)
    return statistics.median(spent) / burst


def segments(rounds: int = 500) -> tuple[float, float]:
    """ns per segment of 64 KiB: from seventeen descriptors to a frame, and into pages of ring 2."""
    loop, switch = Loop(), Switch("port0", partial=True)
    bench = Bench(switch, 0, loop)
    bench.pool.send = lambda frames: None  # type: ignore[method-assign]
    header = bytes(12) + bytes.fromhex("0800 4500 0000 0000 4000 4006 0000 0a000001 0a000002") + bytes(12) + b"\x50"
    packet = [(DATA_RING, 54), *((BUFFERS + PAGE * n, PAGE) for n in range(15)), (BUFFERS + PAGE * 15, 4000)]
    bench.memory.content[DATA_RING : DATA_RING + len(header)] = header
    what = Offload(True, 34, 16, Gso.TCPV4, False, 1448, 54)
    frame = Partial(header.ljust(65500, b"\0"), what)
    bench.pool.takes = Takes.ALL
    bench.refill(RING - 1, RING - 1)
    spent: list[list[int]] = [[], []]
    for _ in range(rounds):
        bench.send(packet, 1448 << 18 | 54 << 32 | TSO << 42)
        started = time.process_time_ns()
        bench.tx.doorbell()
        loop.settle()
        middle = time.process_time_ns()
        large, mark = look_partial(frame, True)
        bench.rx.deliver([large], [mark])
        spent[1].append(time.process_time_ns() - middle)
        spent[0].append(middle - started)
        bench.refill(1, 16)
    loop.close()
    assert bench.rx.statistics.values["LROPktsRxOK"] == rounds, bench.rx.statistics.values
    assert bench.tx.statistics.values["TSOPktsTxOK"] == rounds * 46, bench.tx.statistics.values
    return statistics.median(spent[0]), statistics.median(spent[1])


def main() -> None:
    for what, octets, receive, offload in (
        ("to the wire, 60 octets", 60, False, 0), ("to the wire, 1500 octets", 1500, False, 0),
        ("to the wire, 1500 octets, checksum", 1500, False, 50 << 18 | 34 << 32 | CSUM << 42),
        ("to another NIC, 60 octets", 60, True, 0), ("to another NIC, 1500 octets", 1500, True, 0),
    ):  # fmt: skip
        times = {burst: measure(octets, burst, receive=receive, offload=offload) for burst in (1, 8, 64)}
        print(f"{what:36}", ", ".join(f"{burst:3} per doorbell {spent:6.0f} ns" for burst, spent in times.items()))
    sent, received = segments()
    print(f"segments of 64 KiB: {sent:.0f} ns sent, {received:.0f} ns received")


if __name__ == "__main__":
    main()
