"""What a driver must not do to a virtqueue: each has its name, and the device stops at it; and what no name was thought of for.

``test_anything_in_memory`` throws random and half-random rings at both formats: whatever they hold, there is a named error or
none, an end after as many bursts as the ring has buffers, and no octet outside of what is mapped is touched.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from random import Random

import pytest

from emulators.dma import BytesMemory, DmaMap
from emulators.nics.virtio import queue as queue_module
from emulators.nics.virtio.queue import LONGEST_INDIRECT, Layout, QueueError, open_queue
from emulators.nics.virtio.receive import ReceiveQueue
from emulators.nics.virtio.transmit import TransmitQueue
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.station import BASE, MODERN, OFFLOADS, Station
from tests.support.thorough import THOROUGH

NEXT, WRITE, INDIRECT, AVAIL = 1, 2, 4, 0x80
OUTSIDE = 0x4000_0000


class Split:
    """Descriptors, heads and index as the test says; a ring of 8."""

    def __init__(self, *, features: Feature = MODERN) -> None:
        self.station = Station(features, size=8)
        self.ring = self.station.transmit_driver
        self.memory = self.station.memory
        self.buffer = self.memory.take(4096, 16)

    def descriptors(self, *rows: tuple[int, int, int, int], at: int | None = None) -> None:
        for n, (address, length, flags, following) in enumerate(rows):
            entry = address.to_bytes(8, "little") + length.to_bytes(4, "little")
            self.memory.write((at or self.ring.desc) + 16 * n, entry + (flags | following << 16).to_bytes(4, "little"))

    def avail(self, index: int, *heads: int) -> None:
        for n, head in enumerate(heads):
            self.memory.write(self.ring.driver + 4 + 2 * n, head.to_bytes(2, "little"))
        self.memory.write(self.ring.driver + 2, index.to_bytes(2, "little"))

    def error(self) -> str:
        """What the device says, once; then it does nothing more."""
        self.station.tx.notify()
        self.station.settle()
        self.station.tx.notify()
        self.station.settle()
        ((queue, error),) = self.station.errors
        assert queue == 1 and self.station.tx.queue.closed
        return error.kind


class Packed(Split):
    """Descriptors with id instead of next."""

    def __init__(self, *, features: Feature = MODERN) -> None:
        super().__init__(features=features | Feature.RING_PACKED)

    def descriptors(self, *rows: tuple[int, int, int, int], at: int | None = None) -> None:
        for n, (address, length, flags, id_) in enumerate(rows):
            entry = address.to_bytes(8, "little") + length.to_bytes(4, "little")
            self.memory.write((at or self.ring.desc) + 16 * n, entry + (id_ | flags << 16).to_bytes(4, "little"))


# -- split

def test_a_head_beyond_the_table():
    ring = Split()
    ring.avail(1, 8)
    assert ring.error() == "head-beyond-table"


def test_an_index_that_jumps():
    ring = Split()
    ring.descriptors((ring.buffer, 80, 0, 0))
    ring.avail(9, *[0] * 8)
    assert ring.error() == "avail-index-jumps"


def test_a_chain_that_leaves_the_table():
    ring = Split()
    ring.descriptors((ring.buffer, 80, NEXT, 8))
    ring.avail(1, 0)
    assert ring.error() == "next-beyond-table"


@pytest.mark.parametrize("rows", [[(0, 0)], [(0, 1), (1, 0)], [(0, 1), (1, 2), (2, 1)]])
def test_a_loop_of_descriptors(rows):
    ring = Split()
    ring.descriptors(*[(ring.buffer, 80, NEXT, following) for _, following in rows])
    ring.avail(1, 0)
    assert ring.error() == "descriptor-loop"


def test_a_used_ring_outside_of_memory():
    ring = Split()
    ring.descriptors((ring.buffer, 80, 0, 0))
    ring.avail(1, 0)
    queue = ring.station.tx.queue
    queue.layout = queue.layout._replace(device=OUTSIDE)
    queue.listening = False
    assert ring.error() == "ring-unreachable"


def test_a_used_ring_that_may_not_be_written():
    ring = Split()
    ring.descriptors((ring.buffer, 80, 0, 0))
    ring.avail(1, 0)
    ring.station.dma.map(OUTSIDE, 4096, BytesMemory(4096), write=False)
    queue = ring.station.tx.queue
    queue.layout = queue.layout._replace(device=OUTSIDE)
    assert ring.error() == "ring-unreachable"


def test_an_available_ring_at_the_end_of_all_addresses():
    ring = Split()
    queue = open_queue(ring.station.dma, Layout(8, BASE, (1 << 64) - 4, BASE + 4096), MODERN)
    with pytest.raises(QueueError, match="ring-unreachable"):
        queue.take(1)


def test_a_table_that_links_to_itself():
    ring = Split()
    table = ring.memory.take(64, 16)
    ring.descriptors((table, 32, INDIRECT, 0))
    ring.descriptors((ring.buffer, 80, NEXT, 1), (ring.buffer, 80, NEXT, 0), at=table)
    ring.avail(1, 0)
    assert ring.error() == "descriptor-loop"


def test_a_doorbell_that_is_ahead_of_any_ring():
    ring = Split(features=MODERN | Feature.NOTIFICATION_DATA)
    queue = ring.station.tx.queue
    queue.check_notification(1 | 8 << 16)
    queue.check_notification(1 | 0xFFFF << 16)  # a late one
    with pytest.raises(QueueError, match="notification-beyond-ring"):
        queue.check_notification(1 | 9 << 16)


# -- packed

def test_a_chain_around_the_whole_packed_ring():
    ring = Packed()
    ring.descriptors(*[(ring.buffer, 80, NEXT | AVAIL, 0)] * 8)
    assert ring.error() == "descriptor-loop"


def test_a_wrap_counter_that_lies_within_a_chain():
    ring = Packed()
    ring.descriptors((ring.buffer, 80, NEXT | AVAIL, 0), (ring.buffer, 80, 1 << 15, 0))
    assert ring.error() == "chain-not-available"


def test_available_although_the_device_has_it():
    """The wrap counter of the second time around, on descriptors that were not given back."""
    ring = Packed()
    ring.descriptors(*[(ring.buffer, 80, AVAIL, n) for n in range(8)])
    queue = ring.station.tx.queue
    assert len(queue.take(8)) == 8
    ring.descriptors((ring.buffer, 80, 1 << 15, 0))
    assert queue.take_plain(8, writable=False) is None
    with pytest.raises(QueueError, match="ring-overrun"):
        queue.take(8)


def test_an_event_beyond_the_packed_ring():
    ring = Packed(features=MODERN | Feature.EVENT_IDX)
    ring.descriptors((ring.buffer, 80, AVAIL, 0))
    ring.memory.write(ring.ring.driver, (8 | 2 << 16).to_bytes(4, "little"))
    assert ring.error() == "place-beyond-ring"


def test_a_doorbell_beyond_the_packed_ring():
    queue = Packed().station.tx.queue
    queue.check_notification(1 | 7 << 16 | 1 << 31)
    with pytest.raises(QueueError, match="place-beyond-ring"):
        queue.check_notification(1 | 8 << 16)


def test_an_indirect_descriptor_within_a_packed_chain():
    ring = Packed()
    ring.descriptors((ring.buffer, 80, NEXT | AVAIL, 0), (ring.buffer, 32, INDIRECT | AVAIL, 0))
    assert ring.error() == "indirect-with-next"


def test_a_packed_ring_outside_of_memory():
    ring = Packed()
    queue = ring.station.tx.queue
    queue.layout = queue.layout._replace(desc=OUTSIDE)
    assert ring.error() == "ring-unreachable"


# -- both

both = pytest.mark.parametrize("kind", [Split, Packed])
MINE = {Split: 0, Packed: AVAIL}


def one(kind, address: int, length: int, flags: int, **features) -> Split:
    """A ring with one descriptor."""
    ring = kind(**features)
    ring.descriptors((address or ring.buffer, length, flags | MINE[kind], 0))
    ring.avail(1, 0) if kind is Split else None
    return ring


@both
def test_a_buffer_without_length(kind):
    assert one(kind, 0, 0, 0).error() == "zero-length-buffer"


@both
def test_a_buffer_that_runs_over(kind):
    assert one(kind, (1 << 64) - 79, 80, 0).error() == "buffer-beyond-address-space"


@both
def test_a_buffer_outside_of_memory(kind):
    assert one(kind, OUTSIDE, 80, 0).error() == "tx-buffer-unreachable"


@both
def test_a_receive_buffer_outside_of_memory(kind):
    station = one(kind, 0, 80, 0).station
    driver = station.receive_driver
    buffer = driver.place([], [100])
    buffer.writable = [(OUTSIDE, 100)]
    driver.add(buffer)
    driver.publish()
    station.rx.deliver([bytes(60)])
    assert [(queue, error.kind) for queue, error in station.errors] == [(0, "rx-buffer-unreachable")]


@both
@pytest.mark.parametrize("readable, writable", [([bytes(100)], []), ([], [11]), ([bytes(100)], [1])])
def test_a_receive_buffer_that_takes_no_header(kind, readable, writable):
    station = one(kind, 0, 80, 0).station
    driver = station.receive_driver
    driver.add(driver.place(readable, writable))
    driver.publish()
    station.rx.deliver([bytes(60)])
    assert [(queue, error.kind) for queue, error in station.errors] == [(0, "rx-buffer-without-room")]


@both
def test_a_header_cut_short(kind):
    assert one(kind, 0, 11, 0).error() == "tx-header-short"


@both
def test_nothing_to_read(kind):
    assert one(kind, 0, 80, WRITE).error() == "tx-header-short"


@both
def test_to_be_read_after_to_be_written(kind):
    ring = kind()
    mine = MINE[kind]
    ring.descriptors((ring.buffer, 80, WRITE | NEXT | mine, 1), (ring.buffer, 80, mine, 0))
    ring.avail(1, 0) if kind is Split else None
    assert ring.error() == "readable-after-writable"


@both
@pytest.mark.parametrize("length", [0, 8, 24])
def test_a_table_of_no_size(kind, length):
    assert one(kind, 0, length, INDIRECT).error() == "indirect-table-size"


@both
def test_a_table_without_end(kind):
    assert one(kind, 0, 0x100000, INDIRECT).error() == "indirect-table-too-long"


@both
@pytest.mark.parametrize("entries", [LONGEST_INDIRECT, LONGEST_INDIRECT + 1])
def test_a_table_longer_than_the_ring(kind, entries):
    """It is taken up to a limit that has nothing to do with the ring's 8, and the message says which."""
    ring = kind()
    table = ring.memory.take(16 * entries, 16)
    following = NEXT if kind is Split else 0
    ring.descriptors(*[(ring.buffer, 4, following, n + 1) for n in range(entries - 1)], (ring.buffer, 4, 0, 0), at=table)
    ring.descriptors((table, 16 * entries, INDIRECT | MINE[kind], 0))
    ring.avail(1, 0) if kind is Split else None
    if entries > LONGEST_INDIRECT:
        assert ring.error() == "indirect-table-too-long"
        causes = tomllib.loads((Path(__file__).resolve().parents[4] / "docs/guides/messages.toml").read_text())["diagnosis"]
        assert causes["indirect-table-too-long"][0] == f"An indirect table has more than {LONGEST_INDIRECT} entries."
        return
    ring.station.tx.notify()
    ring.station.settle()
    assert list(map(len, ring.station.sent)) == [4 * entries - 12] and not ring.station.errors


@both
def test_a_table_outside_of_memory(kind):
    assert one(kind, OUTSIDE, 32, INDIRECT).error() == "indirect-table-unreachable"


@both
def test_a_table_that_was_not_agreed_on(kind):
    assert one(kind, 0, 32, INDIRECT, features=Feature.VERSION_1).error() == "indirect-not-negotiated"


@both
def test_a_table_with_a_successor(kind):
    assert one(kind, 0, 32, INDIRECT | NEXT).error() == "indirect-with-next"


@both
def test_a_table_that_is_its_own_entry(kind):
    ring = kind()
    table = ring.memory.take(64, 16)
    ring.descriptors((table, 16, INDIRECT | MINE[kind], 0))
    ring.descriptors((table, 16, INDIRECT, 0), at=table)
    ring.avail(1, 0) if kind is Split else None
    assert ring.error() == "indirect-nested"


@both
def test_what_came_before_is_sent(kind):
    """Good chains of the burst in which the bad one stands."""
    ring = kind()
    mine = MINE[kind]
    ring.descriptors((ring.buffer, 80, mine, 0), (ring.buffer, 92, mine, 1), (ring.buffer, 0, mine, 2))
    ring.avail(3, 0, 1, 2) if kind is Split else None
    assert ring.error() == "zero-length-buffer"
    assert list(map(len, ring.station.sent)) == [68, 80]


def test_each_name_has_a_test():
    """Names of errors in the model's sources, and those that are spelled here."""
    here = Path(__file__).read_text()
    names = set()
    for path in Path(queue_module.__file__).parent.glob("*.py"):
        if path.stem in ("queue", "split", "packed", "transmit", "receive"):
            names |= set(re.findall(r'QueueError\(\s*"([a-z-]+)"', path.read_text()))
            names |= set(re.findall(r'QueueError\("[a-z-]+" if [^"]*else "([a-z-]+)"', path.read_text()))
    assert len(names) > 15 and not [name for name in names if f'"{name}"' not in here]


# -- anything

SEEDS = 400 * THOROUGH
"""Rings that are thrown at each format."""
SPACE, MAPPED = 0x8000, 0x6000
INTERESTING = (0, 1, 2, 7, 8, 12, 15, 16, 31, 32, 60, 1500, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)


class Watched(BytesMemory):
    """Memory of which only a part is mapped."""

    def __init__(self, content: bytearray) -> None:
        super().__init__(0)
        self.content = content
        self._view = memoryview(content)[:MAPPED]


def scramble(random: Random, content: bytearray, packed: bool) -> None:
    """Rings of 8 at 0, 0x1000 and 0x2000 that are partly sensible."""
    content[:] = random.randbytes(SPACE) if random.random() < 0.5 else bytes(SPACE)
    for n in range(random.randrange(40)):
        at = 16 * random.randrange(8) if random.random() < 0.7 else 16 * random.randrange(MAPPED // 16)
        address = random.choice((random.randrange(SPACE), 0, 16 * n, MAPPED - 8, random.getrandbits(64), (1 << 64) - 1))
        length = random.choice(INTERESTING)
        flags = random.choice((0, 0, NEXT, WRITE, INDIRECT, NEXT | WRITE, random.getrandbits(16)))
        if packed:
            flags |= random.choice((AVAIL, AVAIL, 1 << 15))
            word = length | random.getrandbits(4) << 32 | flags << 48
        else:
            word = length | flags << 32 | random.choice((0, n % 8, random.getrandbits(16))) << 48
        content[at : at + 16] = address.to_bytes(8, "little") + word.to_bytes(8, "little")
    content[0x1000:0x1004] = random.choice((bytes(4), bytes((0, 0, random.randrange(9), 0)), random.randbytes(4)))
    for n in range(8):
        content[0x1004 + 2 * n : 0x1006 + 2 * n] = random.choice((n, n, random.getrandbits(16))).to_bytes(2, "little")


class Witness(Station):
    """A station without drivers, on scrambled memory."""

    def __init__(self, random: Random, features: Feature, content: bytearray) -> None:
        super().__init__(features, size=8)
        self.dma = DmaMap()
        self.dma.enabled = True
        self.dma.map(0, MAPPED, Watched(content))
        layout = Layout(8, 0, 0x1000, random.choice((0x2000, 0x2000, MAPPED - 4, SPACE)))
        self.tx = TransmitQueue(self, 1, open_queue(self.dma, layout, features), features)
        self.rx = ReceiveQueue(self, 0, open_queue(self.dma, layout, features), features)

    def send(self, frames):
        assert all(14 <= len(frame) <= 0x10000 + 512 for frame in frames)
        super().send(frames)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_anything_in_memory(packed):
    kinds: set[str] = set()
    for seed in range(SEEDS):
        random = Random(seed)
        features = Feature.RING_PACKED if packed else Feature(0)
        for feature in (MODERN, Feature.EVENT_IDX, Feature.INDIRECT_DESC, Feature.IN_ORDER, OFFLOADS, Feature.MRG_RXBUF):
            features |= feature if random.random() < 0.6 else Feature(0)
        content = bytearray(SPACE)
        scramble(random, content, packed)
        outside = bytes(content[MAPPED:])
        station = Witness(random, features, content)
        for _ in range(3):
            station.tx.notify()
            for _ in range(64):  # the driver goes on writing while the device looks
                if not station.turn():
                    break
                content[random.randrange(MAPPED)] = random.getrandbits(8)
            station.rx.deliver([random.randbytes(random.choice((14, 60, 1514, 9000))) for _ in range(random.randrange(1, 5))])
            station.rx.notify()
        station.deferred.clear()
        kinds |= {error.kind for _, error in station.errors}
        assert len(station.errors) <= 2 and len({queue for queue, _ in station.errors}) == len(station.errors), seed
        assert bytes(content[MAPPED:]) == outside, seed
    assert len(kinds) > 8, f"too tame: {sorted(kinds)}"
