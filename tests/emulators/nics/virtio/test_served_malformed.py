"""What drivers must not do, over the vfio-user server: one diagnosis with a name, DEVICE_NEEDS_RESET, and nobody else harmed.

Three NICs of one server. The driver of the first breaks a rule; the other two exchange frames before, meanwhile and
afterwards. A table of malformations, each for both formats of a ring where both can have it; every other name that a ring
can be refused by is in ``test_broken_rings``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regmodel.structures.virtio_features import Feature
from tests.emulators.nics.served import Function, serving
from tests.emulators.nics.virtio.nic import BASE, DRIVER_OK, FEATURES_OK, MEMORY, MODERN, NEEDS_RESET, Driver, Nic
from tests.emulators.nics.virtio.reference import Memory

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 0x80, 0x8000
SIZE = 16
OUTSIDE = 0x4000_0000
FEATURES = Feature.VERSION_1 | Feature.INDIRECT_DESC
BROADCAST = b"\xff" * 6 + bytes(54)


class Reached(Nic):
    """A NIC behind a socket; interrupts are not asked for."""

    def __init__(self, function: Function) -> None:
        self.function = function  # type: ignore[assignment]
        self.model = SimpleNamespace(msix_enabled=False)  # type: ignore[assignment]
        self.memory = Memory(function.memory, BASE)  # type: ignore[arg-type]

    def msix(self, on: bool = True) -> None:
        assert not on

    @property
    def diagnoses(self) -> dict[str, int]:
        return self.function.diagnoses  # type: ignore[attr-defined,no-any-return]

    def settle(self) -> None:
        self.function.settle()  # type: ignore[attr-defined]


class Ring:
    """The first transmit queue of the driver that breaks rules: descriptors as they are told, in either format."""

    def __init__(self, driver: Driver, packed: bool) -> None:
        self.driver, self.packed, self.queue = driver, packed, driver.queues[1]
        self.memory = driver.nic.memory
        self.buffer = self.memory.take(4096, 16)

    def descriptors(self, *rows: tuple[int, int, int, int], at: int | None = None) -> None:
        """(address, length, flags, next) each; where the ring is packed, the last is the buffer id."""
        mine = AVAIL if self.packed and at is None else 0
        for n, (address, length, flags, last) in enumerate(rows):
            word = flags | mine | last << 16 if not self.packed else last | (flags | mine) << 16
            entry = address.to_bytes(8, "little") + length.to_bytes(4, "little") + word.to_bytes(4, "little")
            self.memory.write((at or self.queue.desc) + 16 * n, entry)

    def offer(self, count: int = 1, *heads: int) -> None:
        """A split ring has ``count`` chains available; a packed one says so in its descriptors."""
        if not self.packed:
            for n, head in enumerate(heads or range(count)):
                self.queue.put16(self.queue.driver + 4 + 2 * n, head)
            self.queue.put16(self.queue.driver + 2, count)


def loop(ring: Ring) -> None:
    ring.descriptors(*[(ring.buffer, 80, NEXT, 1 - n % 2) for n in range(SIZE if ring.packed else 2)])
    ring.offer()


def longer_than_the_ring(ring: Ring) -> None:
    """Each descriptor has a successor, to the last one."""
    ring.descriptors(*[(ring.buffer, 80, NEXT, (n + 1) % SIZE) for n in range(SIZE)])
    ring.offer()


def table_in_itself(ring: Ring) -> None:
    table = ring.memory.take(64, 16)
    ring.descriptors((table, 16, INDIRECT, 0))
    ring.descriptors((table, 16, INDIRECT, 0), at=table)
    ring.offer()


def one(address: int | None, length: int, flags: int = 0) -> Callable[[Ring], None]:
    """A chain of one descriptor."""
    def give(ring: Ring) -> None:
        ring.descriptors((ring.buffer if address is None else address, length, flags, 0))
        ring.offer()

    return give


def table_loop(ring: Ring) -> None:
    table = ring.memory.take(64, 16)
    ring.descriptors((table, 32, INDIRECT, 0))
    ring.descriptors((ring.buffer, 80, NEXT, 1), (ring.buffer, 80, NEXT, 0), at=table)
    ring.offer()


def index_jump(ring: Ring) -> None:
    ring.descriptors((ring.buffer, 80, 0, 0))
    ring.offer(SIZE + 1, *[0] * SIZE)


def wrap_lie(ring: Ring) -> None:
    """A chain whose second descriptor has the wrap counter of another round."""
    ring.descriptors((ring.buffer, 80, NEXT, 0), (ring.buffer, 80, AVAIL | USED, 0))


SPLIT, PACKED, BOTH = ((False,), (True,), (False, True))
MALFORMED: dict[str, tuple[tuple[bool, ...], str, Callable[[Ring], None]]] = {
    "a loop of descriptors": (BOTH, "descriptor-loop", loop),
    "a chain longer than the ring": (BOTH, "descriptor-loop", longer_than_the_ring),
    "an indirect table that points to itself": (BOTH, "indirect-nested", table_in_itself),
    "an indirect table with a loop": (SPLIT, "descriptor-loop", table_loop),
    "a buffer of no length": (BOTH, "zero-length-buffer", one(None, 0)),
    "a buffer that overflows": (BOTH, "buffer-beyond-address-space", one((1 << 64) - 79, 80)),
    "a buffer outside of memory": (BOTH, "tx-buffer-unreachable", one(OUTSIDE, 80)),
    "an index that jumps": (SPLIT, "avail-index-jumps", index_jump),
    "a head beyond the ring": (SPLIT, "head-beyond-table", lambda ring: ring.offer(1, SIZE)),
    "a wrap counter that lies": (PACKED, "chain-not-available", wrap_lie),
}
CASES = [(what, packed) for what, (formats, _, _) in MALFORMED.items() for packed in formats]


@pytest.fixture
def three(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Driver]]:
    packed = bool(getattr(request, "param", False))
    with serving(tmp_path, MODERN, 3, BASE, MEMORY, **({"packed": "on"} if packed else {})) as functions:
        drivers = [Driver(Reached(function), size=SIZE) for function in functions]
        for driver in drivers[1:]:
            driver.start(FEATURES, msix=False)
        exchange(drivers)
        yield drivers


def exchange(drivers: list[Driver]) -> None:
    """The second and the third NIC hear each other, and have nothing to complain about."""
    for sender, receiver in (drivers[1:], drivers[:0:-1]):
        receiver.offer(count=1)
        sender.transmit(BROADCAST)
        sender.nic.settle()
        assert receiver.received() == [BROADCAST] and len(sender.queues[1].poll()) == 1
        assert not sender.status & NEEDS_RESET and not sender.nic.diagnoses


def broken(drivers: list[Driver], kind: str) -> None:
    """The first has said so once, and does nothing any more; the others go on; a reset ends it."""
    first = drivers[0]
    assert first.nic.diagnoses == {kind: 1}
    assert first.status & NEEDS_RESET
    first.notify(1)
    first.notify(0)
    exchange(drivers)
    assert first.nic.diagnoses == {kind: 1} and first.status & NEEDS_RESET
    first.status = 0
    first.queues.clear()
    first.start(FEATURES, msix=False)
    first.transmit(BROADCAST)
    first.nic.settle()
    assert len(first.queues[1].poll()) == 1 and not first.status & NEEDS_RESET


@pytest.mark.parametrize(("what", "three"), CASES, indirect=["three"], ids=[f"{w}, {('split', 'packed')[p]}" for w, p in CASES])
def test_a_ring_that_cannot_be(what: str, three: list[Driver], request: pytest.FixtureRequest) -> None:
    packed = request.node.callspec.params["three"]
    _, kind, break_it = MALFORMED[what]
    first = three[0]
    first.start(FEATURES | (Feature.RING_PACKED if packed else Feature(0)), msix=False)
    break_it(Ring(first, packed))
    first.notify(1)
    first.nic.settle()
    broken(three, kind)


@pytest.mark.parametrize("address", [OUTSIDE, (1 << 64) - 16], ids=["outside of memory", "over the end of addresses"])
@pytest.mark.parametrize("area", ["desc", "driver", "device"])
def test_a_queue_that_is_not_in_memory(area: str, address: int, three: list[Driver]) -> None:
    first = three[0]
    assert first.accept(FEATURES)
    for number in (0, 1):
        queue: Any = first.place(number)
        if number:
            setattr(queue, area, address)
        nic = first.nic
        nic.write("queue_select", number)
        nic.write("queue_size", SIZE)
        for name in ("desc", "driver", "device"):
            nic.write(f"queue_{name}", getattr(queue, name))
        nic.write("queue_enable", 1)
        first.queues[number] = queue
    first.status = first.status | DRIVER_OK
    ring = first.queues[1]
    if area != "driver":
        ring.put16(ring.driver + 2, 1)
    first.notify(1)
    first.nic.settle()
    broken(three, "ring-unreachable")


def test_a_feature_that_was_not_offered(three: list[Driver]) -> None:
    """FEATURES_OK does not stick: that is the error state of a device that is not live yet (VIRTIO 1.3, 3.1.1)."""
    first = three[0]
    assert not first.accept(FEATURES | Feature.RING_PACKED)
    assert not first.status & FEATURES_OK and first.nic.diagnoses == {"feature-not-offered": 1}
    exchange(three)
    first.start(FEATURES, msix=False)
