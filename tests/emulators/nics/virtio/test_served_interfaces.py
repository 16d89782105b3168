"""Broken queues of each kind, by each interface, over the vfio-user server: one diagnosis, and nobody else is harmed.

As ``test_served_malformed``, which has the transmit queue of a modern driver in both formats; here are receive and control
queues too, and drivers of the legacy interface, who are not told that the device needs a reset: it stands still until they
reset it (VIRTIO 1.3, 2.1.2: that bit came with the modern interface).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.served import serving
from tests.emulators.nics.virtio.nic import BASE, DRIVER_OK, LEGACY, MEMORY, MODERN, NEEDS_RESET, TRANSITIONAL, Driver
from tests.emulators.nics.virtio.test_served_malformed import (
    BROADCAST,
    MALFORMED,
    NEXT,
    OUTSIDE,
    SIZE,
    WRITE,
    Reached,
    Ring,
    exchange,
    index_jump,
    loop,
    one,
)

RX, TX, CONTROL = range(3)
WORD = 1 << 64


class Interface(NamedTuple):
    """A device, and the interface by which it is driven."""

    device: str
    modern: bool

    @property
    def features(self) -> Feature:
        found = Feature.INDIRECT_DESC | Feature.CTRL_VQ | Feature.CTRL_RX
        return found | Feature.VERSION_1 if self.modern else found


INTERFACES = {
    "legacy": Interface(LEGACY, False), "transitional, driven as legacy": Interface(TRANSITIONAL, False),
    "transitional, driven as modern": Interface(TRANSITIONAL, True), "modern": Interface(MODERN, True),
}  # fmt: skip


@pytest.fixture(params=INTERFACES)
def interface(request: pytest.FixtureRequest) -> Interface:
    return INTERFACES[request.param]


@pytest.fixture
def three(tmp_path: Path, interface: Interface) -> Iterator[list[Driver]]:
    with serving(tmp_path, interface.device, 3, BASE, MEMORY, queue_size=str(SIZE)) as functions:
        drivers = [Driver(Reached(function), modern=interface.modern, size=SIZE) for function in functions]
        for driver in drivers:
            driver.start(interface.features, msix=False)
        exchange(drivers)
        yield drivers


def endless(ring: Ring) -> None:
    """Buffers to write into, each of which has a successor."""
    ring.descriptors((ring.buffer, 80, NEXT | WRITE, 1), (ring.buffer, 80, NEXT | WRITE, 0))
    ring.offer()


def answered(address: int | None, length: int, room: int = 1) -> Callable[[Ring], None]:
    """A command at ``address``, and ``room`` for its answer."""
    def give(ring: Ring) -> None:
        there = ring.buffer if address is None else address
        ring.descriptors((there, length, NEXT, 1), (ring.buffer + 64, room, WRITE, 0))
        ring.offer()

    return give


def answered_elsewhere(ring: Ring) -> None:
    ring.descriptors((ring.buffer, 3, NEXT, 1), (OUTSIDE, 1, WRITE, 0))
    ring.offer()


QUEUES: dict[str, tuple[int, str, Callable[[Ring], None]]] = {
    **{f"transmit: {what}": (TX, kind, make) for what, (formats, kind, make) in MALFORMED.items() if False in formats},
    "receive: a loop of descriptors": (RX, "descriptor-loop", endless),
    "receive: a buffer outside of memory": (RX, "rx-buffer-unreachable", one(OUTSIDE, 2048, WRITE)),
    "receive: a buffer over the end of memory": (RX, "rx-buffer-unreachable", one(BASE + MEMORY - 20, 2048, WRITE)),
    "receive: a buffer that overflows": (RX, "buffer-beyond-address-space", one(WORD - 79, 80, WRITE)),
    "receive: a buffer that is not to be written": (RX, "rx-buffer-without-room", one(None, 2048)),
    "receive: an index that jumps": (RX, "avail-index-jumps", index_jump),
    "receive: a head beyond the ring": (RX, "head-beyond-table", lambda ring: ring.offer(1, SIZE)),
    "control: a loop of descriptors": (CONTROL, "descriptor-loop", loop),
    "control: a command without an answer": (CONTROL, "control-without-answer", one(None, 3)),
    "control: a command of one octet": (CONTROL, "control-length", answered(None, 1)),
    "control: a command longer than any": (CONTROL, "control-length", answered(None, (1 << 16) + 1)),
    "control: a command outside of memory": (CONTROL, "control-unreachable", answered(OUTSIDE, 3)),
    "control: an answer outside of memory": (CONTROL, "control-unreachable", answered_elsewhere),
    "control: an index that jumps": (CONTROL, "avail-index-jumps", index_jump),
    "control: a head beyond the ring": (CONTROL, "head-beyond-table", lambda ring: ring.offer(1, SIZE)),
}  # fmt: skip


@pytest.mark.parametrize("what", QUEUES)
def test_a_queue_that_is_broken(what: str, three: list[Driver], interface: Interface) -> None:
    number, kind, break_it = QUEUES[what]
    first = three[0]
    ring = Ring(first, packed=False)
    ring.queue = first.queues[number]
    break_it(ring)
    first.notify(number)
    first.nic.settle()
    stands_still(three, kind, interface)


def stands_still(three: list[Driver], kind: str, interface: Interface) -> None:
    """The first has said so once, and does nothing any more; the others go on; a reset ends it."""
    first = three[0]
    exchange(three)
    assert first.nic.diagnoses == {kind: 1}
    assert bool(first.status & NEEDS_RESET) == interface.modern and first.status & DRIVER_OK
    for number in (RX, TX, CONTROL):
        first.notify(number)
    exchange(three)
    assert first.nic.diagnoses == {kind: 1}
    serves(first, interface)
    assert first.nic.diagnoses == {kind: 1}


def serves(first: Driver, interface: Interface) -> None:
    first.status = 0
    first.queues.clear()
    first.start(interface.features, msix=False)
    works(first)


def works(driver: Driver) -> None:
    driver.transmit(BROADCAST)
    driver.nic.settle()
    assert len(driver.queues[TX].poll()) == 1
    assert driver.command(b"\0\0\1") == 0 and not driver.status & NEEDS_RESET


def test_features_after_driver_ok(three: list[Driver], interface: Interface) -> None:
    """What was negotiated holds until a reset: writing it again is told, once, and changes nothing."""
    first = three[0]
    stats = first.nic.function.served.function.model.stats  # type: ignore[attr-defined]
    before, status = stats()["features"], first.status
    if interface.modern:
        for n in range(2):
            first.nic.write("driver_feature_select", n)
            first.nic.write("driver_feature", 0)
        first.status = 3
    else:
        first.nic.write("guest_features", 0)
        assert first.nic.read("guest_features") == 0, "the register holds what is written"
    kind = "status-bit-cleared" if interface.modern else "features-after-driver-ok"
    assert first.nic.diagnoses == {kind: 1}
    first.status = status
    assert first.status == status and stats()["features"] == before
    works(first)
    for driver in three[1:]:
        driver.received()
    exchange(three)
    assert first.nic.diagnoses == {kind: 1}
    serves(first, interface)
