"""The driver against hosts that are wrong: tables, versions, queues, responses; each is one named error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.errors import DriverError, MailboxRefused, MailboxTimeout, RingError, UnsupportedReply
from drivers.nics.avp import Avp
from regmodel.devices.avp import AVP
from regmodel.errors import UsageError
from tests.drivers.nics.avp.bench import Bench, frame


def poke(bench: Bench, bar: int, at: int, value: int, size: int = 4) -> None:
    bench.model().banks[bar].memory[at : at + size] = value.to_bytes(size, "little")


@pytest.mark.parametrize(
    ("bar", "at", "value", "text"),
    [
        (4, 0, 0x20131975, "no memory map of version 1: magic 0x20131975"),
        (4, 4, 2, "no memory map of version 1"),
        (4, 8, 2049, "2049 regions"),
        (4, 32, 1 << 30, "more than BAR 2 shows"),
        (5, 0, 0, "no device information"),
        (5, 4, 0x00010300, "version 1.3.0 and this driver of 1.2.13"),
        (5, 352, 0, "a buffer of the host holds 0 octets"),
        (5, 108, 0x7F, "where the host says that its request queue is"),
    ],
)
def test_tables_that_cannot_be(bench: Bench, bar: int, at: int, value: int, text: str) -> None:
    poke(bench, bar, at, value)
    with pytest.raises(UnsupportedReply, match=text):
        bench.open()


def test_a_newer_minor_version_is_fine() -> None:
    bench = Bench(version="1.2.99")
    bench.side()
    bench.close()


def test_a_newer_host_is_refused_by_its_version() -> None:
    bench = Bench(version="2.0.0")
    with pytest.raises(UnsupportedReply, match="needs a newer driver"):
        bench.open()
    bench.close()


def test_a_host_that_does_not_answer(bench: Bench) -> None:
    port = bench.open()
    model = bench.model()
    model.requests.error = "broken by this test"
    start = port.transport.now()
    with pytest.raises(MailboxTimeout, match="does not answer shutdown_device within"):
        port.reset()
    assert port.transport.now() - start == pytest.approx(0.5, abs=0.01)


def test_a_host_may_be_given_longer(bench: Bench) -> None:
    port = Avp(bench.transports[0], AVP, patience=7)
    bench.model().requests.error = "broken by this test"
    start = port.transport.now()
    with pytest.raises(MailboxTimeout, match="does not answer shutdown_device within 7 s"):
        port.reset()
    assert 7 <= port.transport.now() - start < 8


@pytest.mark.parametrize("patience", [0, -1, float("inf"), float("nan")])
def test_a_patience_that_is_none(bench: Bench, patience: float) -> None:
    with pytest.raises(UsageError, match=r"a patience of \S+ s: give a number of seconds above 0"):
        Avp(bench.transports[0], AVP, patience=patience)


def test_a_host_that_refuses(bench: Bench) -> None:
    bench.model().device_id += 1
    with pytest.raises(MailboxRefused, match="refuses cfg_device: ENODEV"):
        bench.side()


def test_requests_are_answered_soon(bench: Bench) -> None:
    """The driver looks every 5 ms, the host every 6 ms when idle."""
    side = bench.side()
    side.port.transport.sleep(1.0)
    side.port.mtu_set(1400)
    assert side.port.requests.took <= 0.011


DAMAGE: dict[str, tuple[Callable[[Any], None], type[DriverError], str]] = {
    "write": (lambda q: q.rx._head.__setitem__(0, 512), RingError, "slot 512 comes next"),
    "descriptor": (lambda q: q.rx._slots.__setitem__(0, 5), RingError, "a descriptor is at 0x5"),
    "data": (lambda q: q.buffers.table["data"].__setitem__(int(q._put[0]), 7), RingError, "a buffer is at 0x7"),
    "segments": (lambda q: q.buffers.table["nb_segs"].__setitem__(int(q._put[0]), 6), RingError, "6 segments"),
    "chain": (lambda q: q.buffers.table["nb_segs"].__setitem__(int(q._put[0]), 2), RingError, "1 segments"),
    "length": (lambda q: q.buffers.table["pkt_len"].__setitem__(int(q._put[0]), 61), RingError, "packet of 61 octets has 60"),
}


INDICES: dict[str, Callable[[Any], Any]] = {
    "tx": lambda model: (model.transmit[0].tx._head, 1), "alloc": lambda model: (model.transmit[0].alloc._head, 0),
    "rx": lambda model: (model.receive[0].rx._head, 0), "free": lambda model: (model.receive[0].free._head, 1),
}  # fmt: skip


@pytest.mark.parametrize("index", [512, 0xFFFF_FFFF])
@pytest.mark.parametrize("queue", INDICES)
def test_indices_of_the_host_that_are_out_of_range(bench: Bench, queue: str, index: int) -> None:
    """Whoever looks at the queue finds out, and touches nothing; it works again once the index is right."""
    a, b = bench.pair()
    packet = frame(b.port.mac_addr, a.port.mac_addr, 60, 1)
    head, word = INDICES[queue](bench.model(0 if queue in ("tx", "alloc") else 1))
    if queue == "free":
        a.send(packet)
    right, head[word] = head[word], index
    with pytest.raises(RingError, match=rf"slot {index} comes next in queue {queue}0, which has 512"):
        a.send(packet) if queue in ("tx", "alloc") else b.receive()
    head[word] = right
    if queue != "free":
        a.send(packet)
    assert b.receive() == [packet]


@pytest.mark.parametrize("what", DAMAGE)
def test_queues_that_cannot_be(bench: Bench, what: str) -> None:
    damage, error, text = DAMAGE[what]
    a, b = bench.pair()
    a.send(frame(b.port.mac_addr, a.port.mac_addr, 60, 1))
    damage(bench.model(1).receive[0])
    with pytest.raises(error, match=text):
        b.receive()


def test_a_port_that_is_closed_leaves_nothing(bench: Bench) -> None:
    side = bench.side()
    side.port.close()
    model = bench.model()
    assert not model.listening and model.config is None
    bench.side()
