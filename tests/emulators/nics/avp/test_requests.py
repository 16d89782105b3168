"""The request channel: configuration, start and stop, what is refused, and how it ends when a guest breaks it."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from emulators.nics.avp.card import Properties
from regmodel.devices.avp import AVP
from regmodel.errors import UsageError
from regmodel.mailboxes.avp import MAILBOX
from regmodel.structures.avp import MAX_PACKET
from tests.emulators.nics.avp.station import PEER, Station, frame, tagged


def test_a_driver_finds_what_it_looks_for() -> None:
    station = Station().probe()
    i = station.info
    assert (i.version.release, i.version.major, i.version.minor) == (1, 0, 1)
    assert i.ethaddr == station.mac and i.mode == 1
    assert (i.max_rx_queues, i.max_tx_queues, i.min_rx_queues) == (8, 8, 1)
    assert (i.mbuf_size, i.max_rx_pkt_len) == (2048, MAX_PACKET)
    assert i.ifname.rstrip(b"\0") == b"avp-nic0"
    assert len(station.maps) == 3
    assert sum(length for _, _, length in station.maps) <= 16 << 20
    places = [station.fifo(role, n) for role in ("tx", "rx", "alloc", "free") for n in range(8)]
    assert len({*places, station.req, station.resp, station.sync, station.mbuf}) == 36


def test_nothing_is_looked_at_before_a_driver_shows_itself() -> None:
    station = Station()
    assert not station.host.polled
    station.probe()
    assert len(station.host.polled) == 1


def test_a_port_without_a_driver_that_listens_is_looked_at_too() -> None:
    """A driver need not use interrupts; but it has to read where the queues are."""
    station = Station()
    station.table(5, 4)
    assert station.host.polled


def test_configure_start_stop_shut_down() -> None:
    station = Station().probe()
    assert station.link(True) == -errno.EINVAL, "not configured yet"
    assert station.configure(4) == 0
    assert [station.count(station.fifo("alloc", n)) for n in range(5)] == [511, 511, 511, 511, 0]
    assert not station.nic.up
    assert station.link(True) == 0 and station.nic.up
    assert station.link(False) == 0 and not station.nic.up
    assert station.shut_down() == 0 and station.nic.config is None


def longest(station: Station) -> int:
    """Octets of the longest of three packets that is delivered."""
    station.arrive(*[frame(n, size, to=station.mac) for n, size in enumerate((1014, 1514, 3014))])
    return max(map(len, station.frames()))


def test_the_mtu_is_that_of_a_driver_not_of_the_port() -> None:
    """It stays through stop and start, and through a migration, whose driver does not say it again; not beyond shutdown."""
    station = Station().start(1)
    assert longest(station) == 3014
    assert station.mtu(1000) == 0
    assert longest(station) == 1014
    assert station.link(False) == 0 and station.link(True) == 0
    assert longest(station) == 1014
    station.nic.control(["migrate"])
    assert station.handle_interrupt() == 1
    station.pass_time(25)
    assert station.handle_interrupt() == 2
    assert longest(station) == 1014
    assert station.shut_down() == 0
    station.start(1)
    assert longest(station) == 3014
    assert station.mtu(1500) == 0 and station.configure(1, up=True) == 0
    assert longest(station) == 1514, "a new configuration is no new driver"


@pytest.mark.parametrize("before", ["nothing", "shutdown"])
def test_a_port_that_is_not_configured_cannot_be_started(before: str) -> None:
    station = Station().probe() if before == "nothing" else Station().start(1)
    if before == "shutdown":
        assert station.shut_down() == 0
    assert station.link(True) == -errno.EINVAL and not station.nic.up
    assert station.host.diagnosed == {"not-configured": 1}


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        ({"driver_version": {"release": 0, "major": 9, "minor": 0}}, errno.EPROTONOSUPPORT, "driver-too-old"),
        ({"device_id": 7}, errno.ENODEV, "another-device"),
        ({"features": {"vlan_offload": 1}}, errno.EINVAL, "feature-not-offered"),
        ({"driver_type": {"type": 4}}, errno.EINVAL, "driver-type-unknown"),
        ({"num_tx_queues": 0}, errno.EINVAL, "queues-not-offered"),
        ({"num_tx_queues": 5}, errno.EINVAL, "queues-not-offered"),
        ({"num_rx_queues": 1}, errno.EINVAL, "queues-not-offered"),
        ({"num_rx_queues": 5}, errno.EINVAL, "queues-not-offered"),
    ],
)
def test_configurations_that_are_refused(changes: dict[str, Any], code: int, why: str) -> None:
    station = Station(tx_queues="4", rx_queues="4", min_rx_queues="2", vlan="off").probe()
    assert station.configure(2, **changes) == -code
    assert station.host.diagnosed == {why: 1} and station.nic.config is None
    assert station.configure(2) == 0, "and the channel goes on"


def test_a_newer_host_refuses_older_drivers_and_takes_newer_ones() -> None:
    old = {"driver_version": {"release": 1, "major": 1, "minor": 99}}
    assert Station(version="1.2.0").probe().configure(1, **old) == -errno.EPROTONOSUPPORT
    assert Station(version="1.1.99").probe().configure(1, **old) == 0
    assert Station(version="1.2.99").probe().configure(1) == 0, "minor numbers do not count"


def test_unknown_requests_are_answered() -> None:
    station = Station().probe()
    assert station.request((9).to_bytes(4, "little").ljust(36, b"\0")) == -errno.EOPNOTSUPP
    assert station.host.diagnosed == {"request-unknown": 1}


def test_mtu() -> None:
    station = Station().start()
    assert [station.mtu(mtu) for mtu in (67, 68, MAX_PACKET - 14, MAX_PACKET - 13)] == [-errno.EINVAL, 0, 0, -errno.EINVAL]
    assert station.mtu(1500) == 0
    right = [frame(1, 1514, to=station.mac), tagged(frame(2, 1514, to=station.mac), 5)]
    station.arrive(*right, frame(3, 1515, to=station.mac), tagged(frame(4, 1515, to=station.mac), 5))
    assert station.frames() == right


def test_the_address_cannot_be_changed() -> None:
    """BAR 5 is not to be written."""
    station = Station().probe()
    before = station.table(5, 376)
    for at in range(0, 376, 4):
        station.nic.banks[5].write(at, 4, 0xFFFFFFFF)
    assert station.table(5, 376) == before


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("fifo-index", lambda s: s.put(s.req, 16)),
        ("fifo-index", lambda s: s.put(s.req, 0xFFFFFFFF)),
        ("request-address", lambda s: s.add(s.req, s.info.sync_va + 8)),
        ("fifo-index", lambda s: (s.put(s.resp + 4, 77), s.add(s.req, s.info.sync_va))),
        ("fifo-read-beyond-write", lambda s: (s.put(s.resp + 4, 5), s.add(s.req, s.info.sync_va))),
    ],
)
def test_a_broken_channel_is_named_and_stays_quiet(kind: str, damage: Any) -> None:
    station = Station().start()
    damage(station)
    station.settle()
    assert station.host.diagnosed == {kind: 1}
    assert kind in station.nic.control(["status"])["errors"]
    station.put(station.req, station.get(station.req + 4) + 1 & 15)
    station.settle()
    assert station.host.diagnosed == {kind: 1}, "one diagnosis"
    station.arrive(frame(to=station.mac))
    station.send(frame(3))
    assert station.frames() and station.wire() == [frame(3)], "packets do not care"


def test_messages_are_told_to_who_watches() -> None:
    station = Station()
    seen: list[tuple[str, str, list[int]]] = []
    station.card.on_mailbox = lambda slot, sender, words: seen.append((slot, sender, words))
    station.start()
    names = [(sender, getattr(MAILBOX.find(words[0], sender), "name", None)) for _, sender, words in seen]
    assert names == [("guest", "cfg_device"), ("host", "cfg_device_response"), ("guest", "cfg_network_if"),
                     ("host", "cfg_network_if_response")]  # fmt: skip
    assert [words[8] for _, sender, words in seen if sender == "host"] == [0, 0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"colour": "red"}, "no option 'colour'"),
        ({"rx_queues": "9"}, "from 1 to 8"),
        ({"queue_size": "500"}, "power of two"),
        ({"patience": "0"}, "from 1 to 40"),
        ({"version": "1.x"}, "release.major.minor"),
        ({"version": "70000.1.1"}, "release.major.minor"),
        ({"vlan": "maybe"}, "on or off"),
        ({"mbuf_size": "1024"}, "5 buffers"),
        ({"min_rx_queues": "4", "rx_queues": "2"}, "2 receive queues"),
    ],
)
def test_options_that_there_are_not(options: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Properties.parse(AVP, options)


def test_resets_forget_the_driver() -> None:
    from regmodel.function import ResetCause

    station = Station().start(2)
    station.arrive(frame(to=station.mac))
    station.nic.reset(ResetCause.FLR)
    assert not station.host.polled and station.read("interrupt_mask") == 0
    station.arrive(frame(to=station.mac))
    station.start(1)
    assert station.frames() == []
    station.arrive(frame(5, to=station.mac))
    assert station.frames() == [frame(5, to=station.mac)]
    assert PEER not in station.mac
