"""Drivers that do anything: accesses and rings at random. The device answers, may need a reset, and harms nobody else."""

from __future__ import annotations

from random import Random
from struct import pack

import pytest

from regmodel.bars.virtio import BAR0, BAR4
from regmodel.registers import Bar, Register
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.nic import BASE, LEGACY, MEMORY, MODERN, TRANSITIONAL, Driver, Nic, nics
from tests.support.thorough import THOROUGH

STEPS = 400
WIDTHS = (1, 2, 4, 8)


def places(bar: Bar) -> list[tuple[int, int]]:
    """Offset and size of all registers."""
    return [(at, entry.size) for entry in bar.entries.values() if isinstance(entry, Register) for at in entry.offsets]


def value(random: Random, size: int) -> int:
    """Something that may mean something: small numbers, single bits, addresses, all ones, anything."""
    most = (1 << 8 * size) - 1
    return random.choice((
        0, 1, most, random.randrange(16), 1 << random.randrange(8 * size), random.randrange(most + 1),
        BASE + 4096 * random.randrange(MEMORY // 4096), (BASE >> 12) + random.randrange(MEMORY >> 12),
    )) & most  # fmt: skip


def access(random: Random, nic: Nic, index: int, bar: Bar) -> None:
    at, size = random.choice(places(bar)) if random.random() < 0.9 else (random.randrange(bar.size), random.choice(WIDTHS))
    if random.random() < 0.3:
        assert 0 <= nic.function.region_read(index, at, size) < 1 << 8 * size
    else:
        nic.function.region_write(index, at, size, value(random, size))


def works(driver: Driver) -> None:
    """The peer can still send."""
    driver.transmit(b"\xff" * 6 + bytes(54))
    driver.nic.settle()
    assert len(driver.queues[1].poll()) == 1


@pytest.mark.parametrize("seed", range(6 * THOROUGH))
@pytest.mark.parametrize("device", [LEGACY, TRANSITIONAL, MODERN])
def test_registers_at_random(device: str, seed: int) -> None:
    random = Random(f"{device} {seed}")
    modern = device != LEGACY
    with nics(device, queue_pairs="2", **({"packed": "on", "rss": "on"} if modern else {})) as (nic, other):
        peer = Driver(other, modern=modern, size=256)
        peer.start(Feature.VERSION_1 if modern else Feature(0))
        if seed % 2:
            nic.content[:] = random.randbytes(4096) * (MEMORY // 4096)
        bars = [(i, bar) for i, bar in ((0, BAR0), (4, BAR4)) if i in nic.function.banks]
        for _ in range(STEPS):
            access(random, nic, *random.choice(bars))
            if random.random() < 0.1:
                nic.msix(random.random() < 0.5)
            if random.random() < 0.2:
                nic.alone.turn()
        nic.settle()
        works(peer)
        assert not other.diagnoses
        again = Driver(nic, modern=modern, size=nic.model.queue_size)
        nic.content[:] = bytes(MEMORY)
        nic.memory.at = 0
        again.start(Feature.VERSION_1 if modern else Feature(0))
        works(again)


@pytest.mark.parametrize("packed", [False, True])
def test_rings_at_random(packed: bool) -> None:
    """The areas of all queues are overwritten, word by word, while frames come and go."""
    kinds: set[str] = set()
    for seed in range(16 * THOROUGH):
        kinds |= overwritten(Random(seed), packed)
    assert len(kinds) >= 5, kinds


def descriptor(random: Random, packed: bool) -> bytes:
    """One that might be right."""
    address = random.choice((BASE + random.randrange(MEMORY), BASE + 16 * random.randrange(32), value(random, 8)))
    length, other = random.choice((0, 1, 16, 64, 2048, value(random, 4))), random.randrange(20)
    flags = random.randrange(8)
    if packed:
        flags |= random.choice((0x80, 0x8000, 0x8080, 0))
        return pack("<QIHH", address, length, other, flags)
    return pack("<QIHH", address, length, flags, other)


def overwritten(random: Random, packed: bool) -> set[str]:
    """What a device diagnosed whose rings are overwritten at random."""
    features = Feature.VERSION_1 | Feature.CTRL_VQ | Feature.CTRL_RX | Feature.INDIRECT_DESC | Feature.MRG_RXBUF
    features |= Feature.RING_PACKED if packed else Feature(0)
    with nics(packed="on") as (nic, other):
        driver, peer = Driver(nic), Driver(other)
        driver.start(features | random.choice((Feature.EVENT_IDX, Feature(0))))
        peer.start(features)
        driver.offer()
        for _ in range(150):
            queue = random.choice(list(driver.queues.values()))
            if random.random() < 0.8:
                nic.memory.write(queue.desc + 16 * random.randrange(6), descriptor(random, packed))
            else:
                size, area = random.choice((1, 2, 4, 8)), random.choice((queue.driver, queue.device))
                nic.memory.write(area + random.randrange(0, 40, size), value(random, size).to_bytes(size, "little"))
            if not packed and random.random() < 0.5:  # one more is available, else most of it would never be looked at
                queue.put16(queue.driver + 2, (queue.get16(queue.driver + 2) + 1) % 0x10000)
            driver.notify(random.randrange(3))
            if random.random() < 0.3:
                works(peer)
            nic.settle()
        works(peer)
        assert not other.diagnoses
        found = set(nic.diagnoses)
        nic.memory.at, driver.queues = 0, {}
        nic.content[:] = bytes(MEMORY)
        driver.start(features)
        works(driver)
    return found
