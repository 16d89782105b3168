"""What a packet costs in the virtqueues of a network device: per format, direction, size and burst, in ns of this process.

Two devices stand alone with their memory in this process; their pools are on a real switch. A sender's frames go to ``sink:``,
which reads each of their bytes (transmit), or to a second device (receive, both counted). The guest's own work, filling and
taking rings, is done before and not counted.

    python -m tests.bench.virtio_ring
"""

from __future__ import annotations

import time

from emulators.dma import BytesMemory, DmaMap
from emulators.fabric.backends import parse
from emulators.fabric.offload import Gso, Offload, Partial
from emulators.fabric.switch import Switch
from emulators.loop import Loop, ManualClock
from emulators.nics.virtio.queue import Layout, QueueError, open_queue
from emulators.nics.virtio.receive import ReceiveQueue
from emulators.nics.virtio.transmit import TransmitQueue
from regmodel.function import OnDescriptor
from regmodel.structures.virtio_features import Feature

RING, ROOM = 256, 4096
AREAS, BUFFERS, MEMORY = 0x10000, 0x100000, 0x400000
MACS = tuple(bytes((2, 0, 0, 0, 0, n)) for n in range(3))
FORMATS = {
    "split": Feature.VERSION_1 | Feature.MRG_RXBUF | Feature.EVENT_IDX,
    "packed": Feature.VERSION_1 | Feature.MRG_RXBUF | Feature.EVENT_IDX | Feature.RING_PACKED,
}


class Bench:
    """A queue pair on a loop that never sleeps; ``fill`` makes buffers available as a driver does."""

    def __init__(self, switch: Switch, number: int, loop: Loop, features: Feature) -> None:
        self.pool = switch.add_pool(f"nic{number}")
        self.pool.macs = frozenset({MACS[number]})
        self.pool.transmit_enable = self.pool.receive_enable = self.pool.accept_untagged = True
        self.pool.max_frame = 9000
        self.pool.endpoint = self
        self.dma, self.clock, self.packets, self.host = DmaMap(), ManualClock(), self.pool, self
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.memory = BytesMemory(MEMORY)
        self.dma.map(0, MEMORY, self.memory)
        self.defer = loop.defer
        self.irqs = 0
        self.packed = Feature.RING_PACKED in features
        layouts = [Layout(RING, base, base + AREAS // 4, base + AREAS // 2) for base in (0, AREAS)]
        self.layouts = layouts
        self.rx = ReceiveQueue(self, 0, open_queue(self.dma, layouts[0], features), features)
        self.tx = TransmitQueue(self, 1, open_queue(self.dma, layouts[1], features), features)
        self.filled = [0, 0]

    def interrupt(self, queue: int) -> None:
        self.irqs += 1

    def broken(self, queue: int, error: QueueError) -> None:
        raise AssertionError(f"{error.kind} {error.detail}")

    def diagnose(self, kind: str, **detail: object) -> None:
        raise AssertionError(f"{kind} {detail}")

    def deliver(self, frames, *, loopback: bool) -> int:  # type: ignore[no-untyped-def]
        return self.rx.deliver(frames)

    def fill(self, queue: int, count: int, length: int, *, write: bool) -> None:
        """``count`` more buffers of one descriptor, all of them with an interrupt asked for."""
        layout, at = self.layouts[queue], self.filled[queue]
        words = memoryview(self.memory.content).cast("Q")
        halves = memoryview(self.memory.content).cast("H")
        for n in range(at, at + count):
            slot = n % RING
            words[layout.desc // 8 + 2 * slot] = BUFFERS + (queue * RING + slot) * ROOM
            if self.packed:
                mine = 0x80 if n // RING % 2 == 0 else 0x8000
                words[layout.desc // 8 + 2 * slot + 1] = length | slot << 32 | (mine | 2 * write) << 48
            else:
                words[layout.desc // 8 + 2 * slot + 1] = length | (2 * write) << 32
                halves[layout.driver // 2 + 2 + slot] = slot
        self.filled[queue] = at + count
        if self.packed:
            used = self.tx.queue.used if queue else self.rx.queue.used
            halves[layout.driver // 2] = used % RING | (used < RING) << 15
            halves[layout.driver // 2 + 1] = 2
        else:
            halves[layout.driver // 2 + 1] = self.filled[queue] & 0xFFFF
            halves[layout.driver // 2 + 2 + RING] = at & 0xFFFF


def segments(features: Feature, buffer: int, *, rounds: int = 500) -> tuple[float, float]:
    """ns per segment of 64 KiB: from 16 descriptors in an indirect table to a frame, and into buffers of so many octets."""
    loop = Loop()
    switch = Switch("port0")
    bench = Bench(switch, 0, loop, features | Feature.CSUM | Feature.HOST_TSO4 | Feature.INDIRECT_DESC)
    bench.pool.send = lambda frames: None  # type: ignore[method-assign]
    table, parts = 0x20000, 16
    words = memoryview(bench.memory.content).cast("Q")
    packed = Feature.RING_PACKED in features
    for n in range(parts):
        words[table // 8 + 2 * n] = BUFFERS + 0x1000 * n
        follow = n + 1 < parts and not packed
        words[table // 8 + 2 * n + 1] = 4096 | follow << 32 | (n + 1) % parts * (not packed) << 48
    bench.memory.content[BUFFERS : BUFFERS + 10] = bytes.fromhex("0101 3600 a805 2200 1000")
    spent = [0, 0]
    need = -(-65536 // buffer)
    frame = Partial(bytes(65500), Offload(True, 34, 16, Gso.TCPV4, False, 1448, 54))
    for _ in range(rounds):
        bench.fill(1, 1, 16 * parts, write=False)
        at = (bench.filled[1] - 1) % RING
        layout = bench.layouts[1]
        words[layout.desc // 8 + 2 * at] = table
        words[layout.desc // 8 + 2 * at + 1] |= 4 << (48 if packed else 32)
        bench.fill(0, need, buffer, write=True)
        started = time.process_time_ns()
        bench.tx.notify()
        loop.settle()
        middle = time.process_time_ns()
        bench.rx.deliver([frame])
        spent[1] += time.process_time_ns() - middle
        spent[0] += middle - started
    loop.close()
    assert bench.tx.frames == bench.rx.frames == rounds, (bench.tx.frames, bench.rx.frames)
    return spent[0] / rounds, spent[1] / rounds


def measure(features: Feature, size: int, burst: int, *, receive: bool, packets: int = 20_000) -> float:
    """ns per packet of ``size`` octets, ``burst`` per doorbell; ``receive``: by a second device, else the wire takes it."""
    loop = Loop()
    switch = Switch("port0")
    sender, receiver = (Bench(switch, n, loop, features) for n in (0, 1))
    switch.loopback = switch.replication = True
    switch.attach(parse("sink:"), loop)
    frame = bytes(12) + (MACS[1 if receive else 2] + MACS[0] + b"\x08\x00").ljust(size, b"\x55")
    for n in range(RING):
        at = BUFFERS + (RING + n) * ROOM
        sender.memory.content[at : at + len(frame)] = frame
    receiver.fill(0, RING, 1536, write=True)
    spent = 0
    for _ in range(0, packets, burst):
        sender.fill(1, burst, len(frame), write=False)
        started = time.process_time_ns()
        sender.tx.notify()
        loop.settle()
        spent += time.process_time_ns() - started
        if receive:
            receiver.fill(0, burst, 1536, write=True)
    loop.close()
    count = -(-packets // burst) * burst
    assert sender.tx.frames == count and receiver.rx.frames == (count if receive else 0)
    return spent / count


def main() -> None:
    for name, features in FORMATS.items():
        for receive in (False, True):
            print(f"{name}, from one device to another" if receive else f"{name}, from a device to the wire")
            for size in (60, 1500):
                times = {burst: measure(features, size, burst, receive=receive) for burst in (1, 8, 64)}
                figures = ", ".join(f"{burst:3} per doorbell {spent:6.0f} ns" for burst, spent in times.items())
                print(f"  {size:5} octets: {figures}")
        for buffer in (1536, 4096):
            sent, received = segments(features, buffer)
            print(f"{name}, segments of 64 KiB: {sent:.0f} ns sent, {received:.0f} ns received into buffers of {buffer}")


if __name__ == "__main__":
    main()
