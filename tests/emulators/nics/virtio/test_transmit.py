"""Transmit: headers of all sizes in chains of any layout, what is left to be done to a frame, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from struct import pack

import pytest

from emulators.fabric.offload import Gso, Offload, Partial, Takes
from emulators.nics.virtio.header import header_size, may_send
from emulators.nics.virtio.transmit import BURST, LONGEST
from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.virtio.station import MODERN, OFFLOADS, Station

FRAME = bytes(range(100)) * 3
LEGACY = Feature(0)


def header(size: int = 12, flags: int = 0, gso: int = 0, hdr_len: int = 0, gso_size: int = 0, start: int = 0, offset: int = 0):
    return pack("<BBHHHH", flags, gso, hdr_len, gso_size, start, offset).ljust(size, b"\0")


def cut(message: bytes, *at: int) -> list[bytes]:
    edges = [0, *at, len(message)]
    return [message[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("features, size", [
    (LEGACY, 10), (Feature.MRG_RXBUF, 12), (Feature.VERSION_1, 12), (Feature.VERSION_1 | Feature.HASH_REPORT, 20),
])  # fmt: skip
def test_header_sizes(features, size):
    assert header_size(features) == size
    station = Station(features)
    station.transmit([bytes(size) + FRAME])
    station.transmit([bytes(size), FRAME])
    station.settle()
    assert station.sent == [FRAME, FRAME] and station.bursts == 1


@pytest.mark.parametrize("packed", [Feature(0), Feature.RING_PACKED], ids=["split", "packed"])
@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("at", [(), (12,), (10,), (5,), (1, 2, 3), (11, 13), (12, 26, 100), (40,)])
def test_any_layout(packed, indirect, at):
    station = Station(MODERN | OFFLOADS | packed)
    for flags in (0, 1):
        station.transmit(cut(header(12, flags=flags, start=14, offset=2) + FRAME, *at), indirect=indirect)
    station.settle()
    assert station.sent == [FRAME, FRAME]
    assert station.sent[1].offload == Offload(True, 14, 2)


@pytest.mark.parametrize("gso, kind, ecn", [
    (1, Gso.TCPV4, False), (4, Gso.TCPV6, False), (5, Gso.UDP_L4, False), (0x81, Gso.TCPV4, True), (0x84, Gso.TCPV6, True),
])  # fmt: skip
def test_segmentation_is_left_to_the_switch(gso, kind, ecn):
    station = Station(MODERN | OFFLOADS)
    station.transmit([header(12, 1, gso, 54, 1448, 34, 16), bytes(60000)], indirect=True)
    station.settle()
    (frame,) = station.sent
    assert isinstance(frame, Partial) and len(frame) == 60000
    assert frame.offload == Offload(True, 34, 16, kind, ecn, 1448, 54)


@pytest.mark.parametrize("features, words, kind", [
    (LEGACY, (1, 0, 0, 0, 14, 2), "tx-checksum-not-negotiated"),
    (Feature.CSUM, (1, 1, 0, 1448, 14, 2), "tx-segmentation-not-negotiated"),
    (Feature.CSUM | Feature.HOST_TSO4, (1, 4, 0, 1448, 14, 2), "tx-segmentation-not-negotiated"),
    (Feature.CSUM | Feature.HOST_TSO4, (1, 0x81, 0, 1448, 14, 2), "tx-segmentation-not-negotiated"),
    (OFFLOADS, (1, 3, 0, 1448, 14, 2), "tx-segmentation-not-negotiated"),
    (OFFLOADS, (1, 77, 0, 1448, 14, 2), "tx-segmentation-not-negotiated"),
    (OFFLOADS, (0, 1, 0, 1448, 14, 2), "tx-segmentation-without-checksum"),
    (OFFLOADS, (1, 1, 0, 0, 14, 2), "tx-segment-size"),
    (OFFLOADS, (1, 0, 0, 0, 299, 0), "tx-checksum-outside"),
    (OFFLOADS, (1, 0, 0, 0, 0xFFFF, 0xFFFF), "tx-checksum-outside"),
])  # fmt: skip
def test_what_was_not_agreed_on_is_dropped(features, words, kind):
    station = Station(MODERN | features)
    station.transmit([pack("<BBHHHHxx", *words) + FRAME])
    station.transmit([bytes(12) + FRAME])
    station.settle()
    assert station.sent == [FRAME] and station.diagnoses == {kind: 1}
    assert station.tx.counters() == {"doorbells": 2, "interrupts": 1, "bursts": 1, "frames": 1, "dropped": 1}
    assert len(station.transmit_driver.poll()) == 2 and not station.errors


@pytest.mark.parametrize("octets", [0, 13, LONGEST + 1])
def test_frames_of_no_length_are_dropped(octets):
    station = Station(MODERN)
    station.transmit([bytes(12) + bytes(octets)])
    station.transmit([bytes(12), FRAME])
    station.settle()
    assert station.sent == [FRAME] and station.diagnoses == {"tx-frame-length": 1}


def test_legacy_gso_stands_for_all_of_tcp():
    """VIRTIO 1.3, 5.1.3.2: VIRTIO_NET_F_GSO."""
    assert may_send(Feature.CSUM | Feature.GSO) == Takes.CSUM | Takes.TSO4 | Takes.TSO6 | Takes.ECN


def test_bursts_are_limited():
    station = Station(MODERN, size=128)
    for _ in range(BURST + 10):
        station.transmit([bytes(12) + bytes(60)])
    station.turn()
    assert len(station.sent) == BURST
    station.settle()
    assert len(station.sent) == BURST + 10


def test_a_queue_that_is_reset_in_the_middle_leaves_no_trace():
    station = Station(MODERN)
    station.transmit([bytes(12) + FRAME])
    station.on_send = station.tx.close
    station.settle()
    assert len(station.sent) == 1 and not station.transmit_driver.poll() and not station.interrupts


def test_doorbells_and_bursts_of_a_stream():
    """A driver that sends while the device works rings once."""
    station = Station(MODERN | Feature.EVENT_IDX, size=256)
    for _ in range(100):
        station.transmit([bytes(12) + FRAME])
        station.turn()
        station.transmit_driver.poll()
    assert station.tx.doorbells == 1 and len(station.sent) == 100
