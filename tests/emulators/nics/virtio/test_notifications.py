"""When used buffer notifications go: at once after a silence, else a little later, and not at all when they are not needed."""

from __future__ import annotations

import pytest

from emulators.nics.virtio.notifications import RECEIVED, SENT, SILENCE
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.station import MODERN, Station

FORMATS = [Feature.EVENT_IDX, Feature.EVENT_IDX | Feature.RING_PACKED, Feature.RING_PACKED, Feature(0)]
every_format = pytest.mark.parametrize("format_", FORMATS, ids=str)


def turns(station: Station) -> None:
    """Until there is nothing to do, in no time."""
    while station.turn():
        pass


def sent(station: Station) -> None:
    """One frame goes; the driver takes back what was sent before and wants to be told of this one."""
    station.transmit_driver.poll()
    station.transmit_driver.want_interrupts(True)
    assert station.transmit([bytes(80)])
    turns(station)


@every_format
def test_the_first_goes_at_once_and_the_next_waits(format_: Feature) -> None:
    station = Station(MODERN | format_)
    sent(station)
    assert station.interrupts == [1]
    sent(station)
    station.clock.advance(SENT - 1)
    assert station.interrupts == [1]
    station.clock.advance(1)
    assert station.interrupts == [1, 1] and station.tx.counters()["interrupts"] == 2
    station.clock.advance(SILENCE)
    sent(station)
    assert station.interrupts == [1, 1, 1]


@every_format
def test_several_are_one(format_: Feature) -> None:
    station = Station(MODERN | format_)
    sent(station)
    station.transmit_driver.poll()
    station.transmit_driver.want_interrupts(True)
    for _ in range(5):
        assert station.transmit([bytes(80)])
        turns(station)
        station.clock.advance(SENT // 10)
    station.clock.advance(SENT)
    assert station.interrupts == [1, 1] and len(station.sent) == 6


def test_what_the_driver_took_meanwhile_needs_none() -> None:
    station = Station(MODERN | Feature.EVENT_IDX)
    sent(station)
    sent(station)
    station.transmit_driver.poll()
    station.transmit_driver.want_interrupts(True)  # of what comes next
    station.clock.advance(SENT)
    assert station.interrupts == [1]


def test_received_frames_wait_for_less_time() -> None:
    station = Station(MODERN)
    for _ in range(2):
        assert station.offer([2048])
    station.receive_driver.want_interrupts(True)
    assert station.rx.deliver([bytes(80)]) == 1 and station.interrupts == [0]
    assert station.rx.deliver([bytes(80)]) == 1 and station.interrupts == [0]
    station.clock.advance(RECEIVED)
    assert station.interrupts == [0, 0] and RECEIVED < SENT


def test_a_queue_that_was_closed_says_nothing() -> None:
    station = Station(MODERN)
    sent(station)
    sent(station)
    station.tx.close()
    station.clock.advance(SENT)
    assert station.interrupts == [1]


def test_a_driver_that_breaks_its_ring_meanwhile() -> None:
    station = Station(MODERN | Feature.EVENT_IDX)
    sent(station)
    sent(station)
    station.dma.clear()
    station.clock.advance(SENT)
    assert [(number, error.kind) for number, error in station.errors] == [(1, "ring-unreachable")]
    assert station.tx.queue.closed
