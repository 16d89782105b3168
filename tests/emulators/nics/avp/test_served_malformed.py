"""What drivers must not do, over the vfio-user server: one diagnosis with a name, the queue stops, and nobody else is harmed.

Three ports of one server. The driver of the first breaks a rule, in memory that it maps as a guest does; the other two exchange
frames before, meanwhile and afterwards. The rules are those of ``test_hostile``; here all that a port has in common with others
is between them: the process, its loop, and the switch.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regmodel.bars.avp import MEMORY_SIZE
from regmodel.devices.avp import AVP
from regmodel.mailboxes.avp import NETWORK_IF, REQUEST_SIZE
from tests.emulators.nics.avp.station import Station, frame
from tests.emulators.nics.avp.test_hostile import RX, TX
from tests.emulators.nics.served import Function, serving

BROADCAST = b"\xff" * 6
REQUESTS = 16
OLD = {"release": 0, "major": 9, "minor": 0}


def place(name: str) -> int:
    """The offset of a register in BAR 0."""
    register: Any = AVP.bars[0].entries[name]
    return int(register.offsets[0])


class Reached(Station):
    """The driver of ``Station``, whose device is behind a socket. What arrives is sent by ``neighbour_port``."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.memory = function.mapped(2)
        self.nic = function.served.function.model
        self.host = SimpleNamespace(diagnosed=function.served.function.host.diagnostics)  # type: ignore[assignment]
        self.info: Any = None
        self.queues, self.vlan = 1, False
        self.neighbour_port: Reached | None = None

    def write(self, name: str, value: int) -> None:
        self.function.region_write(0, place(name), 4, value)

    def read(self, name: str) -> int:
        return self.function.region_read(0, place(name), 4)

    def table(self, bar: int, size: int) -> bytes:
        return b"".join(self.function.region_read(bar, at, 4).to_bytes(4, "little") for at in range(0, size, 4))

    def settle(self) -> None:
        self.function.pass_time()

    @property
    def mac(self) -> bytes:  # type: ignore[override]
        return bytes(self.info.ethaddr)

    def arrive(self, *frames: bytes) -> None:
        assert self.neighbour_port is not None
        self.neighbour_port.send(*frames)

    @property
    def diagnoses(self) -> dict[str, int]:
        return self.function.diagnoses


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Reached]]:
    with serving(tmp_path, "avp", 3, 0, 4096) as functions:
        ports = [Reached(function) for function in functions]
        ports[0].neighbour_port = ports[1]
        for port in ports:
            port.start(2)
        exchange(ports)
        yield ports


def exchange(ports: list[Reached]) -> None:
    """The second and the third hear each other, and have nothing to complain about."""
    for sender, receiver in (ports[1:], ports[:0:-1]):
        receiver.frames()
        packet = frame(7, 3000, to=BROADCAST)
        sender.send(packet)
        assert receiver.frames() == [packet] and not sender.diagnoses


def serves(port: Reached) -> None:
    """A driver that starts anew, and does it right, is served."""
    port.function.reset()
    before = port.diagnoses
    port.start(2)
    port.send(frame(8, to=BROADCAST), queue=1)
    port.arrive(frame(9, to=port.mac))
    assert frame(9, to=port.mac) in port.frames() and port.diagnoses == before


def refused(ports: list[Reached], kind: str) -> None:
    """The first has said so once; the others go on; a reset ends it."""
    first = ports[0]
    assert first.diagnoses == {kind: 1}
    exchange(ports)
    assert first.diagnoses == {kind: 1}
    serves(first)
    exchange(ports)


BROKEN = {**{("transmit", what): rule for what, rule in TX.items()}, **{("receive", what): rule for what, rule in RX.items()}}


@pytest.mark.parametrize(("side", "what"), BROKEN)
def test_what_a_driver_may_not_do(side: str, what: str, three: list[Reached]) -> None:
    kind, damage = BROKEN[side, what]
    first = three[0]
    damage(first)
    first.settle()
    errors = {name: [queue["error"] for queue in first.nic.stats()[name]] for name in ("transmit", "receive")}
    assert errors.pop(side) == ["", kind] and list(errors.values()) == [["", ""]]
    first.send(frame(5, to=BROADCAST))
    assert frame(5, to=BROADCAST) in three[2].frames(), "its other queue works"
    refused(three, kind)


@pytest.mark.parametrize(("index", "kind"), [(512, "fifo-index"), (0xFFFF_FFFF, "fifo-index"), (7, "fifo-read-beyond-write")])
def test_a_receiver_that_reads_what_there_is_not(index: int, kind: str, three: list[Reached]) -> None:
    first = three[0]
    for queue in (0, 1):
        first.frames_of(queue)
        assert first.count(first.fifo("rx", queue)) == 0
    first.put(first.fifo("rx") + 4, first.get(first.fifo("rx")) + index & 511 if index < 512 else index)
    first.arrive(*[frame(n, to=first.mac) for n in range(8)])
    refused(three, kind)


CHANNEL: dict[str, tuple[str, Callable[[Station], object]]] = {
    "an index beyond the channel": ("fifo-index", lambda s: s.put(s.req, REQUESTS)),
    "an index of all ones": ("fifo-index", lambda s: s.put(s.req, 0xFFFF_FFFF)),
    "an index of responses beyond the channel": ("fifo-index", lambda s: (s.put(s.resp + 4, 77), s.add(s.req, s.info.sync_va))),
    "responses that have not come": (
        "fifo-read-beyond-write", lambda s: (s.put(s.resp + 4, s.get(s.resp + 4) + 5), s.add(s.req, s.info.sync_va)),
    ),
    "a request that is elsewhere": ("request-address", lambda s: s.add(s.req, s.info.sync_va + 8)),
    "a request outside of BAR 2": ("request-address", lambda s: s.add(s.req, s.info.sync_va + MEMORY_SIZE)),
    "a request nowhere": ("request-address", lambda s: s.add(s.req, 0)),
    "responses that nobody takes": ("responses-full", lambda s: [ask(s) for _ in range(REQUESTS)]),
}  # fmt: skip


def ask(station: Station) -> None:
    """To be started, without waiting for the answer."""
    station.memory[station.sync : station.sync + REQUEST_SIZE] = NETWORK_IF.build({"if_up": 1, "result": -95})
    station.add(station.req, station.info.sync_va)
    station.settle()


@pytest.mark.parametrize("what", CHANNEL)
def test_a_channel_of_requests_that_is_broken(what: str, three: list[Reached]) -> None:
    kind, damage = CHANNEL[what]
    first = three[0]
    damage(first)
    first.settle()
    assert kind in first.nic.control(["status"])["errors"]
    first.send(frame(5, to=BROADCAST))
    assert frame(5, to=BROADCAST) in three[2].frames(), "packets do not care"
    refused(three, kind)


BAD_REQUESTS: dict[str, tuple[str, int, Callable[[Station], int]]] = {
    "of no kind": ("request-unknown", errno.EOPNOTSUPP, lambda s: s.request(bytes(REQUEST_SIZE))),
    "of all ones": ("request-unknown", errno.EOPNOTSUPP, lambda s: s.request(b"\xff" * REQUEST_SIZE)),
    "of another device": ("another-device", errno.ENODEV, lambda s: s.configure(2, device_id=7)),
    "by an old driver": ("driver-too-old", errno.EPROTONOSUPPORT, lambda s: s.configure(2, driver_version=OLD)),
    "by a driver that there is not": ("driver-type-unknown", errno.EINVAL, lambda s: s.configure(2, driver_type={"type": 99})),
    "for no queues": ("queues-not-offered", errno.EINVAL, lambda s: s.configure(2, num_tx_queues=0)),
    "for 65535 queues": ("queues-not-offered", errno.EINVAL, lambda s: s.configure(2, num_rx_queues=0xFFFF)),
    "for an MTU of nothing": ("mtu", errno.EINVAL, lambda s: s.mtu(0)),
    "for an MTU of all ones": ("mtu", errno.EINVAL, lambda s: s.mtu(0xFFFF_FFFF)),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_a_request_that_is_refused(what: str, three: list[Reached]) -> None:
    """The driver is told why, and works on with what it had."""
    kind, code, make = BAD_REQUESTS[what]
    first = three[0]
    first.frames()
    assert make(first) == -code and first.diagnoses == {kind: 1}
    assert first.link(True) == 0
    first.send(frame(5, to=BROADCAST))
    assert frame(5, to=BROADCAST) in three[2].frames()
    first.arrive(frame(6, to=first.mac))
    assert first.frames() == [frame(6, to=first.mac)]
    refused(three, kind)
