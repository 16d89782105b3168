"""Nothing that a guest does takes the device down: registers, shared memory and rings of random octets.

A bounded run from fixed seeds. What must hold: no exception leaves the model, it comes to rest, and after a reset by the bus it
serves a driver that behaves.
"""

from __future__ import annotations

import random

import pytest

from regmodel.bars.vmxnet3 import Command
from regmodel.function import ResetCause
from tests.emulators.nics.vmxnet3.station import (
    GROUPS,
    MEMORY,
    QUEUES,
    RX_DONE,
    RX_RINGS,
    SHARED,
    TX_DONE,
    TX_RINGS,
    Station,
)
from tests.emulators.nics.vmxnet3.test_receive import frame_to, large
from tests.emulators.nics.vmxnet3.test_transmit import FRAME
from tests.support.thorough import THOROUGH

SEEDS = 25 * THOROUGH
"""Guests."""
STEPS = 150
PLACES = [(SHARED, 800), (QUEUES, 1024), (TX_RINGS, 1024), (RX_RINGS, 1024), (TX_DONE, 1024), (RX_DONE, 1536), (GROUPS, 64)]


def spoil(s: Station, rng: random.Random) -> None:
    """A few octets, words or bits of what is shared."""
    base, size = rng.choice(PLACES)
    at = base + rng.randrange(size)
    match rng.randrange(4):
        case 0:
            s.put(at, rng.randbytes(rng.randrange(1, 9)))
        case 1:
            s.memory[at] ^= 1 << rng.randrange(8)
        case 2:
            s.put(at & ~7, rng.choice([0, 1, MEMORY - 8, MEMORY, 1 << 63, (1 << 64) - 1, 0x7FFF]).to_bytes(8, "little"))
        case 3:
            s.put(at & ~15, s.get(base, 16))


def touch(s: Station, rng: random.Random) -> None:
    """A register access of any kind."""
    bank = rng.choice((s.nic.pt, s.nic.vd))
    offset, size = rng.randrange(bank.bar.size), rng.choice((1, 2, 4, 4, 4, 8))
    if rng.random() < 0.7:
        offset = rng.choice([cell.offset for cell in bank])
    offset = min(offset, bank.bar.size - size)
    if rng.random() < 0.3:
        bank.read(offset, size)
    else:
        bank.write(offset, size, rng.choice([0, 1, SHARED, rng.getrandbits(8 * size), (1 << 8 * size) - 1]))


def step(s: Station, rng: random.Random) -> None:
    match rng.randrange(8):
        case 0 | 1:
            spoil(s, rng)
        case 2:
            touch(s, rng)
        case 3:
            s.command(rng.choice(list(Command)))
        case 4:
            s.command(Command.ACTIVATE_DEV)
        case 5:
            s.tx[0].add([FRAME, bytes(rng.randrange(1, 200))][: rng.randrange(1, 3)], om=rng.randrange(4),
                        hlen=rng.getrandbits(10), msscof=rng.getrandbits(14))  # fmt: skip
            s.write("txprod", rng.randrange(64))
        case 6:
            s.peer.transmit([frame_to(s, rng.randrange(60, 1500)) for _ in range(rng.randrange(1, 70))])
        case 7:
            s.peer.transmit([large(s, rng.randrange(1, 9000))])
    if rng.random() < 0.5:
        s.settle()
    if rng.random() < 0.2:
        s.host.clock.advance(rng.randrange(200_000_000))
        s.settle()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_guest_that_does_anything(seed: int) -> None:
    rng = random.Random(seed)
    s = Station(large=bool(seed & 1)).start(rng.randrange(1, 10), queues=2, devRead__misc__uptFeatures=0x1F)
    shared = s.get(0, 0x10000)
    for _ in range(STEPS):
        if rng.random() < 0.05:
            s.put(0, shared)
        step(s, rng)
    s.settle()
    s.nic.load(s.nic.save())
    s.nic.reset(ResetCause.BUS)
    s.host.deferred.clear()
    s.host.irqs.clear()
    s.wire()
    s.start()
    s.send(FRAME)
    assert s.wire() == [FRAME] and s.tx[0].done() == [0] and s.host.irqs == [0]
    s.arrive(frame_to(s, 700))
    assert [frame for _, frame in s.rx[0].take()] == [frame_to(s, 700)]
