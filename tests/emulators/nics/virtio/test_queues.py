"""Both formats of virtqueue against the reference driver: the same messages, whatever the layout, the order and the timing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.nics.virtio.queue import DESCRIPTOR, INDIRECT, NEXT, WRITE, Chain, crossed, legacy_layout
from regmodel.layout import layout
from regmodel.rings.virtio import PACKED_DESCRIPTOR, SPLIT_DESCRIPTOR
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.station import MODERN, Station
from tests.support.thorough import THOROUGH

FORMATS = [
    Feature(0), Feature.EVENT_IDX, Feature.RING_PACKED, Feature.RING_PACKED | Feature.EVENT_IDX,
    Feature.IN_ORDER, Feature.IN_ORDER | Feature.EVENT_IDX, Feature.RING_PACKED | Feature.IN_ORDER,
    Feature.RING_PACKED | Feature.IN_ORDER | Feature.EVENT_IDX,
]  # fmt: skip
every_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name or "split")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(st.integers(1, 8), min_size=1, max_size=6), st.booleans()),
        st.tuples(st.just("turn")),
        st.tuples(st.just("settle")),
        st.tuples(st.just("reap")),
    ),
    max_size=60,
)


@given(format_=st.sampled_from(FORMATS), size=st.sampled_from([1, 2, 8, 16]), pieces=st.sampled_from([1, 1 << 11]), steps=steps)
@settings(max_examples=150 * THOROUGH)
def test_every_message_arrives_once_and_in_order(format_, size, pieces, steps):
    """No doorbell, no interrupt and no buffer is lost, however the two sides take turns."""
    station = Station(MODERN | format_, size=size, pieces=pieces)
    driver = station.transmit_driver
    sent, number, asleep = [], 0, False
    driver.want_interrupts(True)
    for step in steps:
        if step[0] == "send":
            number += 1
            frame = b"".join(bytes([number & 0xFF] * 13 + [n]) * length for n, length in enumerate(step[1]))
            message = bytes(12) + frame
            cuts = [0, *sorted({(5 + 7 * length) % len(message) for length in step[1]} - {0}), len(message)]
            if station.transmit([message[a:b] for a, b in pairwise(cuts)], indirect=step[2]):
                sent.append(frame)
        elif step[0] == "turn":
            station.turn()
        elif step[0] == "settle":
            station.settle()
            assert station.sent == sent, "a doorbell was lost"
            if asleep and driver.outstanding:
                assert 1 in station.interrupts, "an interrupt was lost"
        else:
            driver.poll()
            station.interrupts.clear()
            asleep = not driver.want_interrupts(True)
    station.settle()
    driver.poll()
    assert station.sent == sent and not driver.outstanding and not station.errors


@every_format
@pytest.mark.parametrize("size", [1, 2, 16, 32])
def test_many_times_around_the_ring(format_, size):
    station = Station(MODERN | format_, size=size)
    mark = station.memory.at
    for n in range(5 * size + 3):
        station.memory.at = mark
        frame = n.to_bytes(2, "big") * 20
        assert station.transmit([bytes(12), frame], indirect=True)
        station.settle()
        assert station.sent.pop() == frame
        ((_, written),) = station.transmit_driver.poll()
        assert written == 0


def test_a_packed_ring_has_any_size():
    station = Station(MODERN | Feature.RING_PACKED, size=7)
    for n in range(50):
        assert station.transmit([bytes(12) + bytes([n]) * 60])
        station.settle()
        station.transmit_driver.poll()
    assert [frame[0] for frame in station.sent] == list(range(50))


@every_format
def test_what_is_not_taken_stays(format_):
    station = Station(MODERN | format_)
    for n in range(5):
        station.transmit([bytes([n])], indirect=True)
    queue = station.tx.queue
    first, second = queue.take(2), queue.take(9)
    assert len(first) == 2 and len(second) == 3
    queue.untake(second)
    assert [chain.readable for chain in queue.take(9)] == [chain.readable for chain in second]


@every_format
def test_plain_only_when_all_are(format_):
    station = Station(MODERN | format_)
    queue = station.tx.queue
    assert not queue.take_plain(64, writable=False).heads
    station.transmit([b"one"])
    station.transmit([b"two"])
    assert queue.take_plain(64, writable=True) is None
    run = queue.take_plain(64, writable=False)
    assert list(run.lengths) == [3, 3]
    queue.give_plain(run.heads, (0, 0))
    station.transmit([b"one"])
    station.transmit([b"two", b"parts"])
    assert queue.take_plain(64, writable=False) is None
    assert [len(chain.readable) for chain in queue.take(64)] == [1, 2]


@every_format
def test_a_closed_queue_does_nothing(format_):
    station = Station(MODERN | format_)
    station.transmit([b"one"])
    queue = station.tx.queue
    queue.close()
    before = bytes(station.content)
    assert queue.take(9) == [] and not queue.take_plain(9, writable=False).heads
    queue.give([(Chain(0, [], []), 0)])
    queue.quiet()
    assert not queue.listen() and not queue.should_interrupt()
    assert bytes(station.content) == before


@every_format
def test_state_goes_on_elsewhere(format_):
    station = Station(MODERN | format_)
    for _ in range(11):
        station.transmit([b"0123"])
        queue = station.tx.queue
        queue.give([(chain, 0) for chain in queue.take(1)])
        other = station.queue(station.transmit_driver)
        other.load(queue.save())
        station.tx.queue = other
        assert len(station.transmit_driver.poll()) == 1


def test_a_doorbell_is_asked_for_only_when_idle():
    for format_ in FORMATS:
        station = Station(MODERN | format_)
        assert station.transmit_driver.add(station.transmit_driver.place([bytes(80)], []))
        assert station.transmit_driver.publish()
        station.tx.notify()
        station.turn()  # sent, and looks once more
        assert station.transmit([bytes(80)]) and station.tx.doorbells == 1
        station.settle()
        assert len(station.sent) == 2
        assert station.transmit([bytes(80)]) and station.tx.doorbells == 2


@every_format
def test_one_interrupt_per_burst(format_):
    station = Station(MODERN | format_)
    for _ in range(4):
        for _ in range(10):
            station.transmit([bytes(80)])
        station.transmit_driver.want_interrupts(True)
        station.settle()
        assert station.interrupts == [1]
        station.interrupts.clear()
        station.transmit_driver.poll()
    station.transmit_driver.want_interrupts(False)
    if Feature.EVENT_IDX not in format_ or Feature.RING_PACKED in format_:
        station.transmit([bytes(80)])
        station.settle()
        assert not station.interrupts


def test_crossed_is_the_specifications_formula():
    for modulus in (4, 10):
        for old in range(modulus):
            for count in range(1, modulus):
                passed = [(old + n) % modulus for n in range(count)]
                for event in range(modulus):
                    assert crossed(event, (old + count) % modulus, old, modulus) == (event in passed)


def test_constants_are_those_of_the_description():
    for schema in (SPLIT_DESCRIPTOR, PACKED_DESCRIPTOR):
        assert layout(schema).size == DESCRIPTOR
        bits = {name: 1 << layout(schema).field("flags", name).lsb for name in ("next", "write", "indirect")}
        assert bits == {"next": NEXT, "write": WRITE, "indirect": INDIRECT}


def test_a_legacy_queue_is_in_one_piece():
    """The numbers of a queue of 256 as Linux lays it out (virtio_ring.h ``vring_init``, 4096)."""
    assert legacy_layout(0x12, 256) == (256, 0x12000, 0x13000, 0x14000)
    assert legacy_layout(1, 8) == (8, 0x1000, 0x1080, 0x2000)
