"""What a packet costs the Python driver: alone on bare rings, and with the model in the same thread, beside a plain loop.

The peer (``PlainLoop``) is what a user-space driver in Python looks like when it is written the obvious way: one object per
descriptor with properties, one object per buffer, ``struct`` for each access, over the same rings of 512 descriptors, in
bursts of 32 frames of 64 octets. The model is given what ``regmodel pmd --mode txonly`` sends: UDP over IPv4 with the right
header checksum, which it verifies, and no UDP checksum. Bare rings have no device: a few numpy stores mark descriptors done,
the same for both sides, and count for neither. Many short rounds, so that whatever else the machine does is done to all.

    python -m tests.bench.python_driver
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from drivers.ethdev import EthDev
from drivers.mempool import Mempool
from drivers.nics import driver_for
from drivers.pmd.frames import udp
from drivers.transports.in_process import open_functions
from regmodel.devices.igbvf import IGBVF

RING, BURST, SIZE = 512, 32, 64
RECEIVED = 0x63 | SIZE << 32
"""Second word of a received descriptor: DD, EOP, checks not done, the length (82576 datasheet, 7.1.5.2)."""
DONE = 1
LOOKS = 10_000
"""Looks at a ring in which a burst has to arrive."""


class BareRings:
    """A receive and a transmit ring that no device works on: ``fill`` and ``drain`` stand for one that needs no time."""

    def __init__(self, received: memoryview, sent: memoryview) -> None:
        self._received, self._sent = np.frombuffer(received, np.uint64), np.frombuffer(sent, np.uint32)
        self._at = 0

    def fill(self) -> None:
        """A burst has arrived."""
        self._received[2 * self._at + 1 : 2 * (self._at + BURST) : 2] = RECEIVED

    def drain(self) -> None:
        """A burst has been sent."""
        self._sent[4 * self._at + 3 : 4 * (self._at + BURST) : 4] |= DONE
        self._at = (self._at + BURST) % RING


# -- the peer

class RxDescriptor:
    __slots__ = ("_at", "_ring")

    def __init__(self, ring: memoryview, at: int) -> None:
        self._ring, self._at = ring, at

    @property
    def status(self) -> int:
        return int(struct.unpack_from("<I", self._ring, self._at + 8)[0])

    @property
    def length(self) -> int:
        return int(struct.unpack_from("<H", self._ring, self._at + 12)[0])

    def give(self, address: int) -> None:
        struct.pack_into("<QQ", self._ring, self._at, address, 0)


class TxDescriptor:
    __slots__ = ("_at", "_ring")

    def __init__(self, ring: memoryview, at: int) -> None:
        self._ring, self._at = ring, at

    @property
    def status(self) -> int:
        return int(struct.unpack_from("<I", self._ring, self._at + 12)[0])

    def give(self, address: int, command: int, options: int) -> None:
        struct.pack_into("<QII", self._ring, self._at, address, command, options)


class Packet:
    __slots__ = ("address", "size")

    def __init__(self, address: int) -> None:
        self.address, self.size = address, 0


class PlainLoop:
    """Receives and sends, a packet at a time."""

    def __init__(self) -> None:
        received, sent = memoryview(bytearray(16 * RING)), memoryview(bytearray(16 * RING))
        self.rings = BareRings(received, sent)
        self._free = [Packet(2048 * i) for i in range(4 * RING)]
        self._rx = [RxDescriptor(received, 16 * i) for i in range(RING)]
        self._tx = [TxDescriptor(sent, 16 * i) for i in range(RING)]
        self._rx_packets = [self._free.pop() for _ in range(RING)]
        self._tx_packets: list[Packet | None] = [None] * RING
        self._rx_at = self._tx_at = self._clean = 0

    def receive(self) -> list[Packet]:
        packets = []
        for _ in range(BURST):
            descriptor = self._rx[self._rx_at]
            if not descriptor.status & DONE:
                break
            packet = self._rx_packets[self._rx_at]
            packet.size = descriptor.length
            fresh = self._free.pop()
            descriptor.give(fresh.address)
            self._rx_packets[self._rx_at] = fresh
            packets.append(packet)
            self._rx_at = (self._rx_at + 1) % RING
        return packets

    def send(self, packets: list[Packet]) -> int:
        while self._clean != self._tx_at and self._tx[self._clean].status & DONE:
            packet = self._tx_packets[self._clean]
            assert packet is not None
            self._free.append(packet)
            self._clean = (self._clean + 1) % RING
        for packet in packets:
            self._tx_packets[self._tx_at] = packet
            self._tx[self._tx_at].give(packet.address, 0x2B300000 | packet.size, packet.size << 14)
            self._tx_at = (self._tx_at + 1) % RING
        return len(packets)

    def turn(self) -> int:
        """Forward a burst."""
        return self.send(self.receive())


# -- ours

class Cut:
    """A transport like the one inside, until ``cut``: from then on stores to registers go nowhere, and no device runs."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.live = inner, True
        self._bars: dict[int, CutBar] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def bar(self, index: int) -> CutBar:
        return self._bars.setdefault(index, CutBar(self, self._inner.bar(index)))

    def alloc(self, size: int) -> CutBuffer:
        return CutBuffer(self, self._inner.alloc(size))


class CutBar:
    def __init__(self, owner: Cut, inner: Any) -> None:
        self._inner, self.index, self.size = inner, inner.index, inner.size
        self.u8, self.u16, self.u32, self.u64 = (
            CutWords(owner, words) for words in (inner.u8, inner.u16, inner.u32, inner.u64)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class CutWords:
    def __init__(self, owner: Cut, inner: Any) -> None:
        self._owner, self._inner, self._last = owner, inner, 0

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> int:
        return int(self._inner[index])

    def __setitem__(self, index: int, value: int) -> None:
        if self._owner.live:
            self._inner[index] = value
        else:
            self._last = value


class CutBuffer:
    def __init__(self, owner: Cut, inner: Any) -> None:
        self._owner, self._inner = owner, inner
        self.iova, self.size, self.view, self.free = inner.iova, inner.size, inner.view, inner.free

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        if self._owner.live:
            self._inner.sync_for_device(offset, size)

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        if self._owner.live:
            self._inner.sync_for_cpu(offset, size)


def _started(transport: Any) -> tuple[EthDev, Mempool]:
    port = driver_for(IGBVF)(transport, IGBVF)
    pool = Mempool(transport, 4 * RING)
    port.configure()
    port.rx_queue_setup(0, pool, RING)
    port.tx_queue_setup(0, pool, RING)
    port.start()
    return port, pool


@contextmanager
def driver_alone() -> Iterator[tuple[Callable[[], int], BareRings]]:
    """``turn`` forwards a burst by the driver's own receive and transmit; the rings under it, which are bare."""
    (inner,) = open_functions(IGBVF, clock="manual")
    transport = Cut(inner)
    port, _ = _started(transport)
    port.link_wait()
    transport.live = False
    (receiver,), (sender,) = port._rx, port._tx
    rings = BareRings(receiver._memory.view, sender._memory.view)  # type: ignore[attr-defined]
    packets = np.empty(BURST, np.intp)

    def turn() -> int:
        return port.tx_burst(0, packets[: port.rx_burst(0, packets)])

    try:
        yield turn, rings
    finally:
        transport.live = True
        inner.close()


@contextmanager
def driver_and_model() -> Iterator[Callable[[], int]]:
    """``turn`` sends a burst from one VF and receives it at another of the same card, all in this thread."""
    transports = open_functions(IGBVF, 2)
    (a, pool), (b, sink) = (_started(transport) for transport in transports)
    for port in (a, b):
        port.link_wait()
    pool.octets[:, :SIZE] = np.frombuffer(udp(b.mac_addr, a.mac_addr, SIZE), np.uint8)
    packets = np.empty(BURST, np.intp)

    def turn() -> int:
        fresh = pool.alloc(BURST)
        pool.length[fresh] = SIZE
        a.tx_burst(0, fresh)
        got = 0
        for _ in range(LOOKS):
            n = b.rx_burst(0, packets)
            sink.free(packets[:n])
            got += n
            if got >= BURST:
                break
        else:
            raise AssertionError(f"{got} of {BURST} packets arrived")
        return got

    try:
        yield turn
    finally:
        for transport in transports:
            transport.close()


def on_bare_rings(turn: Callable[[], int], rings: BareRings, bursts: int) -> float:
    """ns per packet of ``turn``, the device's part not counted."""
    spent, clock = 0, time.perf_counter_ns
    for _ in range(bursts):
        rings.fill()
        start = clock()
        count = turn()
        spent += clock() - start
        rings.drain()
        if count != BURST:
            raise AssertionError(f"{count} of {BURST} packets were forwarded")
    return spent / bursts / BURST


def timed(turn: Callable[[], int], bursts: int) -> float:
    """ns per packet of ``turn``."""
    start = time.perf_counter_ns()
    for _ in range(bursts):
        turn()
    return (time.perf_counter_ns() - start) / bursts / BURST


def measure(rounds: int, bursts: int) -> tuple[list[float], list[float], list[float]]:
    """Packets per second in each round: the plain loop, the driver alone, the driver with the model."""
    plain = PlainLoop()
    results: tuple[list[float], list[float], list[float]] = ([], [], [])
    with driver_alone() as (alone, rings), driver_and_model() as both:
        on_bare_rings(plain.turn, plain.rings, 64), on_bare_rings(alone, rings, 64), timed(both, 64)
        for _ in range(rounds):
            for figures, ns in zip(
                results,
                (on_bare_rings(plain.turn, plain.rings, bursts), on_bare_rings(alone, rings, bursts), timed(both, bursts)),
                strict=True,
            ):
                figures.append(1e9 / ns)
    return results


def main() -> None:
    plain, alone, both = map(statistics.median, measure(31, 300))
    print(f"plain loop {plain / 1e6:.2f} Mpps, driver alone {alone / 1e6:.2f} Mpps ({alone / plain:.1f}x), "
          f"driver and model {both / 1e6:.2f} Mpps ({both / plain:.2f}x)")  # fmt: skip


if __name__ == "__main__":
    main()
