"""What drivers must not do, over the vfio-user server: one diagnosis with a name, an error for the driver, nobody else harmed.

Three NICs of one server. The driver of the first breaks a rule; the other two exchange frames before, meanwhile and
afterwards. What is wrong with the shared area makes ACTIVATE_DEV fail; what is wrong in a ring stops its queue with an error
code, and ECR says so. More of both is in ``test_activation``, ``test_transmit`` and ``test_receive``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regmodel.bars.vmxnet3 import Command
from regmodel.devices.vmxnet3 import VMXNET3
from regmodel.structures.vmxnet3 import RSS_CONF, Event, Feature, QueueError
from tests.emulators.nics.served import Function, serving
from tests.emulators.nics.vmxnet3.station import DATA, HEADS, MEMORY, RX_RINGS, TX_RINGS, Sizes, Station
from tests.emulators.nics.vmxnet3.test_transmit import FRAME

BROADCAST = b"\xff" * 6 + FRAME[6:]
MISC = "devRead__misc__"
OUTSIDE = 0x4000_0000


class Reached(Station):
    """The driver of ``Station``, whose device is behind a socket."""

    def __init__(self, function: Function) -> None:
        self.function, self.memory = function, function.memory  # type: ignore[assignment]
        self.queues, self.sizes = 1, Sizes()

    def _place(self, name: str, index: int) -> tuple[int, int]:
        number = 0 if name in VMXNET3.bars[0].entries else 1
        register: Any = VMXNET3.bars[number].entries[name]
        return number, register.offsets[index]

    def write(self, name: str, value: int, index: int = 0) -> None:
        number, at = self._place(name, index)
        self.function.region_write(number, at, 4, value)

    def read(self, name: str, index: int = 0) -> int:
        number, at = self._place(name, index)
        return self.function.region_read(number, at, 4)

    def settle(self) -> None:
        self.function.settle()

    @property
    def diagnoses(self) -> dict[str, int]:
        return self.function.diagnoses


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Reached]]:
    with serving(tmp_path, "vmxnet3", 3, 0, MEMORY) as functions:
        nics = [Reached(function) for function in functions]
        for nic in nics[1:]:
            nic.start()
        exchange(nics)
        yield nics


def exchange(nics: list[Reached]) -> None:
    """The second and the third NIC hear each other, and have nothing to complain about."""
    for sender, receiver in (nics[1:], nics[:0:-1]):
        sender.send(BROADCAST)
        assert [frame for _, frame in receiver.rx[0].take()] == [BROADCAST] and len(sender.tx[0].done()) == 1
        assert not sender.diagnoses and not sender.read("ecr")


def serves(nic: Reached) -> None:
    """A driver that starts anew, and says it right, is served."""
    nic.command(Command.QUIESCE_DEV)
    nic.command(Command.RESET_DEV)
    nic.start()
    nic.send(FRAME)
    assert nic.tx[0].done() == [0]


SHARED_AREAS: dict[str, tuple[str, dict[str, int]]] = {
    "magic": ("shared-magic", {"magic": 0xBABEFEE0}),
    "too few octets of queue descriptors": ("shared-queue-descriptors", {f"{MISC}queueDescLen": 511}),
    "no queues": ("shared-queues", {f"{MISC}numTxQueues": 0}),
    "more queues than there are": ("shared-queues", {f"{MISC}numRxQueues": 200}),
    "queue descriptors outside of memory": ("shared-unreachable", {f"{MISC}queueDescPA": OUTSIDE}),
    "queue descriptors that overflow": ("shared-unreachable", {f"{MISC}queueDescPA": (1 << 64) - 128}),
    "an MTU of 2 to the 31": ("shared-mtu", {f"{MISC}mtu": 1 << 31}),
    "a multicast table of part of an address": ("multicast-table", {"devRead__rxFilterConf__mfTableLen": 7}),
}


@pytest.mark.parametrize("what", SHARED_AREAS)
def test_a_shared_area_that_cannot_be(what: str, three: list[Reached]) -> None:
    kind, changes = SHARED_AREAS[what]
    first = three[0]
    first.start(activate=False, **changes)
    assert first.command(Command.ACTIVATE_DEV) == 1
    refused(three, kind)


@pytest.mark.parametrize("at", [OUTSIDE, MEMORY - 100, (1 << 64) - 8], ids=["outside", "at the end", "overflowing"])
def test_a_shared_area_outside_of_memory(at: int, three: list[Reached]) -> None:
    first = three[0]
    first.start(activate=False)
    first.write("dsal", at & 0xFFFF_FFFF)
    first.write("dsah", at >> 32)
    assert first.command(Command.ACTIVATE_DEV) == 1
    refused(three, "shared-unreachable")


RINGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a transmit ring outside of memory": ("tx", "shared-unreachable", {"txRingBasePA": OUTSIDE}),
    "a transmit ring over the end of memory": ("tx", "shared-unreachable", {"txRingBasePA": MEMORY - 512}),
    "a transmit ring of no entries": ("tx", "ring-layout", {"txRingSize": 0}),
    "a transmit ring longer than there may be": ("tx", "ring-layout", {"txRingSize": 1 << 31}),
    "completions outside of memory": ("tx", "shared-unreachable", {"compRingBasePA": MEMORY - 512}),
    "completions of no entries": ("tx", "ring-layout", {"compRingSize": 0}),
    "a receive ring outside of memory": ("rx", "shared-unreachable", {"rxRingBasePA": [OUTSIDE, RX_RINGS]}),
    "a receive ring over the end of memory": ("rx", "shared-unreachable", {"rxRingBasePA": [MEMORY - 512, RX_RINGS]}),
    "a receive ring that overflows": ("rx", "shared-unreachable", {"rxRingBasePA": [(1 << 64) - 512, RX_RINGS]}),
    "a receive ring of no entries": ("rx", "ring-layout", {"rxRingSize": [0, 32]}),
    "a receive ring longer than there may be": ("rx", "ring-layout", {"rxRingSize": [1 << 31, 32]}),
    "a second receive ring outside of memory": ("rx", "shared-unreachable", {"rxRingBasePA": [RX_RINGS, OUTSIDE]}),
    "a second receive ring of an odd size": ("rx", "ring-layout", {"rxRingSize": [64, 33]}),
    "receive completions outside of memory": ("rx", "shared-unreachable", {"compRingBasePA": OUTSIDE}),
    "receive completions over the end of memory": ("rx", "shared-unreachable", {"compRingBasePA": MEMORY - 512}),
    "receive completions of no entries": ("rx", "ring-layout", {"compRingSize": 0}),
    "more receive completions than there may be": ("rx", "ring-layout", {"compRingSize": 1 << 31}),
    "a data ring outside of memory": ("rx", "shared-unreachable", {"rxDataRingBasePA": OUTSIDE}),
    "a data ring over the end of memory": ("rx", "shared-unreachable", {"rxDataRingBasePA": MEMORY - 64 * DATA + 1}),
    "a data ring that overflows": ("rx", "shared-unreachable", {"rxDataRingBasePA": (1 << 64) - 2 * DATA}),
    "a data ring of an odd size": ("rx", "ring-data", {"rxDataRingDescSize": 127}),
    "a data ring larger than there may be": ("rx", "ring-data", {"rxDataRingDescSize": 2112}),
}


def change(nic: Reached, way: str, changes: dict[str, Any]) -> None:
    """All but this is shared as it should be, and the device is not activated yet."""
    right: Callable[[int], dict[str, Any]] = getattr(nic, f"{way}_conf")

    def wrong(i: int) -> dict[str, Any]:
        conf = right(i)
        conf["conf"] |= changes
        return conf

    setattr(nic, f"{way}_conf", wrong)
    nic.start(activate=False)
    setattr(nic, f"{way}_conf", right)


@pytest.mark.parametrize("what", RINGS)
def test_a_ring_that_cannot_be(what: str, three: list[Reached]) -> None:
    way, kind, changes = RINGS[what]
    first = three[0]
    change(first, way, changes)
    assert first.command(Command.ACTIVATE_DEV) == 1
    refused(three, kind)


@pytest.mark.parametrize("whose", ["tx", "rx", "events"])
def test_a_vector_that_there_is_not(whose: str, three: list[Reached]) -> None:
    """Noted once, and never sent; DPDK, which polls, has none for its transmit queues."""
    first = three[0]
    if whose == "events":
        first.start(activate=False, devRead__intrConf__eventIntrIdx=25)
    else:
        change(first, whose, {"intrIdx": 0xDE})
    assert first.command(Command.ACTIVATE_DEV) == 0
    first.write("imr", 0)
    first.send(FRAME)
    assert first.tx[0].done() == [0] and first.diagnoses == {"shared-vector": 1}
    exchange(three)
    assert [frame for _, frame in first.rx[0].take()] == [BROADCAST] * 2 and first.diagnoses == {"shared-vector": 1}


def test_no_data_ring_to_receive_into(three: list[Reached]) -> None:
    """Entries of 0 bytes: that is how a driver has none, and everything goes to buffers."""
    first = three[0]
    change(first, "rx", {"rxDataRingDescSize": 0, "rxDataRingBasePA": OUTSIDE})
    assert first.command(Command.ACTIVATE_DEV) == 0
    three[1].send(BROADCAST)
    assert [(row.index.rqID, frame) for row, frame in first.rx[0].take()] == [(0, BROADCAST)]
    assert [frame for _, frame in three[2].rx[0].take()] == [BROADCAST]
    three[1].tx[0].done()
    exchange(three)
    assert not first.diagnoses


@pytest.mark.parametrize(
    "changes",
    [{"dataRingBasePA": OUTSIDE, "dataRingSize": 64}, {"dataRingBasePA": TX_RINGS, "txDataRingDescSize": 0},
     {"dataRingBasePA": TX_RINGS, "txDataRingDescSize": 127}],
    ids=["outside of memory", "entries of no bytes", "entries of an odd size"],
)  # fmt: skip
def test_where_a_data_ring_to_send_from_is_said_to_be_does_not_matter(changes: dict[str, int], three: list[Reached]) -> None:
    """Its entries are reached by the addresses in descriptors, as any buffer is; a wrong one is a wrong buffer."""
    first = three[0]
    change(first, "tx", changes)
    assert first.command(Command.ACTIVATE_DEV) == 0
    first.send(FRAME)
    assert first.tx[0].done() == [0] and not first.diagnoses
    first.tx[0].place = lambda part: OUTSIDE  # type: ignore[method-assign]
    first.tx[0].add([FRAME])
    first.tx[0].ring()
    stopped(three, "tx", "tx-buffer-unreachable", QueueError.TXD_INVALID)


@pytest.mark.parametrize("at", [OUTSIDE, MEMORY - 8, (1 << 64) - 8], ids=["outside", "at the end", "overflowing"])
def test_an_rss_configuration_outside_of_memory(at: int, three: list[Reached]) -> None:
    first = three[0]
    features = {f"{MISC}uptFeatures": int(Feature.RXCSUM | Feature.RSS)}
    place = {"confVer": 1, "confLen": RSS_CONF.sizeof(), "confPA": at}
    first.start(queues=2, activate=False, devRead__rssConfDesc=place, **features)
    assert first.command(Command.ACTIVATE_DEV) == 1
    refused(three, "shared-unreachable")


def test_an_rss_configuration_that_moves_outside_of_memory(three: list[Reached]) -> None:
    """Told while the device works: the command is refused, and the first queue receives everything."""
    first = three[0].start(queues=2)
    assert isinstance(first, Reached)
    place = {"confVer": 1, "confLen": RSS_CONF.sizeof(), "confPA": OUTSIDE}
    first.share(devRead__rssConfDesc=place, **{f"{MISC}uptFeatures": int(Feature.RXCSUM | Feature.RSS)})
    first.command(Command.UPDATE_FEATURE)
    assert first.diagnoses == {"shared-unreachable": 1}
    exchange(three)
    assert [frame for _, frame in first.rx[0].take()] == [BROADCAST] * 2 and not first.rx[1].take()
    assert first.diagnoses == {"shared-unreachable": 1}
    serves(first)


def refused(three: list[Reached], kind: str) -> None:
    first = three[0]
    assert first.diagnoses == {kind: 1}
    first.send(FRAME)
    assert not first.tx[0].done(), "it rests"
    exchange(three)
    assert first.diagnoses == {kind: 1}
    serves(first)


def endless(nic: Reached) -> None:
    """Every descriptor of the ring begins or goes on with one packet, which never ends: the ring is a loop."""
    nic.tx[0].add([FRAME] * (nic.sizes.tx - 1), eop=0)


def elsewhere(address: int) -> Callable[[Reached], None]:
    def give(nic: Reached) -> None:
        nic.tx[0].place = lambda part: address  # type: ignore[method-assign]
        nic.tx[0].add([FRAME])

    return give


def all_at_once(nic: Reached) -> None:
    """Generations lie: the driver says of all descriptors, those included that it has never filled, that they are ours."""
    nic.put(TX_RINGS, b"".join(bytes(8) + (0x4000 | 64).to_bytes(4, "little") + bytes(4) for _ in range(nic.sizes.tx)))


DESCRIPTORS: dict[str, tuple[str, QueueError, Callable[[Reached], object]]] = {
    "a packet without end, around the whole ring": ("tx-packet-descriptors", QueueError.BIG_PKT, endless),
    "generations that lie": ("tx-packet-descriptors", QueueError.BIG_PKT, all_at_once),
    "a packet without end": ("tx-packet-without-end", QueueError.NOEOP, lambda nic: nic.tx[0].add([FRAME] * 3, eop=0)),
    "a packet of too many descriptors": ("tx-packet-descriptors", QueueError.BIG_PKT, lambda nic: nic.tx[0].add([FRAME] * 17)),
    "a type that there is not": ("tx-descriptor-type", QueueError.DESC_NOT_SPT, lambda nic: nic.tx[0].add([FRAME], dtype=1)),
    "a buffer outside of memory": ("tx-buffer-unreachable", QueueError.TXD_INVALID, elsewhere(OUTSIDE)),
    "a buffer over the end of memory": ("tx-buffer-unreachable", QueueError.TXD_INVALID, elsewhere(MEMORY - 10)),
    "a buffer that overflows": ("tx-buffer-unreachable", QueueError.TXD_INVALID, elsewhere((1 << 64) - 10)),
}


@pytest.mark.parametrize("what", DESCRIPTORS)
def test_a_descriptor_that_cannot_be(what: str, three: list[Reached]) -> None:
    kind, error, break_it = DESCRIPTORS[what]
    first = three[0].start()
    assert isinstance(first, Reached)
    break_it(first)
    first.tx[0].ring()
    stopped(three, "tx", kind, error)


@pytest.mark.parametrize("what", ["outside", "overflows", "short"])
def test_a_receive_buffer_that_cannot_be(what: str, three: list[Reached]) -> None:
    first = three[0].start()
    assert isinstance(first, Reached)
    ring = first.rx[0]
    address = {"outside": OUTSIDE, "overflows": (1 << 64) - 10, "short": HEADS}[what]
    ring.head = 100 if what == "short" else ring.head
    ring._buffer = lambda ring_, at: (address, ring.head, 0)  # type: ignore[method-assign]
    ring.fill, ring.gen = [0, 0], [1, 1]
    for _ in range(8):
        ring.give(0)
    three[1].send(BROADCAST * 5)
    assert [frame for _, frame in three[2].rx[0].take()] == [BROADCAST * 5], "a burst that somebody else gets, too"
    three[1].tx[0].done()
    kinds = ("rx-descriptor", QueueError.SMALL_BUF) if what == "short" else ("rx-unreachable", QueueError.DESC_NOT_SPT)
    stopped(three, "rx", *kinds)


def stopped(three: list[Reached], way: str, kind: str, error: QueueError) -> None:
    """The first says so once and everywhere, and does nothing any more; the others go on; a reset ends it."""
    first = three[0]
    assert first.diagnoses == {kind: 1}
    assert first.read("ecr") == first.shared.ecr == (Event.TQERR if way == "tx" else Event.RQERR)
    status = first.queue_desc(way).status
    assert (status.stopped, status.error) == (1, error)
    first.write("txprod", 1)
    first.settle()
    exchange(three)
    assert first.diagnoses == {kind: 1}
    serves(first)


def test_a_doorbell_that_jumps_is_told_and_changes_nothing(three: list[Reached]) -> None:
    """Descriptors have generations: an index beyond the ring is noticed, and is no error of the queue."""
    first = three[0].start()
    assert isinstance(first, Reached)
    first.tx[0].add([FRAME])
    first.write("txprod", first.sizes.tx)
    first.settle()
    assert first.diagnoses == {"doorbell-beyond-ring": 1} and first.tx[0].done() == [0]
    exchange(three)
