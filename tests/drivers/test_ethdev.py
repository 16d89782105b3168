"""What is the same in every driver: states, arguments, what a driver lacks, what a reset restores. The device is a list."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from drivers.errors import MailboxRefused, NotSupported
from drivers.ethdev import Descriptors, EthDev, Event, Info, Link, RxOffload, State, Stats, TxOffload
from drivers.mempool import Indices, Mempool
from drivers.nics import driver_for
from drivers.nics.igbvf import IgbVf
from drivers.transports import Transport
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.errors import UsageError
from tests.drivers.test_mempool import Allocator


class Quiet(Allocator):
    """A transport that remembers its command register."""

    name = "quiet"

    def __init__(self) -> None:
        self.command = 0x0010
        self.time = 0.0

    def config_read(self, offset: int, size: int) -> int:
        return self.command

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.command = value

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Queue:
    def burst(self, packets: Indices) -> int:
        return len(packets)

    def reclaim(self) -> int:
        return 1


class Least(EthDev):
    """A driver that implements what it must; ``calls`` is what it was asked for."""

    driver = "least"

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.quiet = Quiet()
        self.link = Link(False)
        self.counted = Stats()
        self.start_error: Exception | None = None
        super().__init__(cast(Transport, self.quiet), IGBVF)

    def info(self) -> Info:
        return Info(
            driver="least", device="igbvf", max_rx_queues=2, max_tx_queues=1,
            rx_descriptors=Descriptors(32, 512, 8), tx_descriptors=Descriptors(32, 512, 8), max_mtu=9000, min_rx_room=1024,
            rx_offloads=RxOffload.CHECKSUM, tx_offloads=TxOffload.MULTI_SEGS,
        )  # fmt: skip

    @property
    def mac_addr(self) -> bytes:
        return b"\x02\0\0\0\0\1"

    def _reset(self) -> None:
        self.calls.append("reset")

    def _start(self) -> None:
        self.calls.append("start")
        if self.start_error:
            raise self.start_error
        self._reset()
        self._restore()
        self._rx, self._tx = (Queue(),) * self.settings.rx_queues, (Queue(),) * self.settings.tx_queues

    def _stop(self) -> None:
        self.calls.append("stop")
        self._rx = self._tx = ()

    def _abandon(self) -> None:
        self.calls.append("abandon")

    def _close(self) -> None:
        self.calls.append("close")

    def _link(self) -> Link:
        return self.link

    def _stats(self) -> Stats:
        return Stats(**vars(self.counted))

    def _watch(self) -> Event:
        return Event.NONE

    def _mtu(self, mtu: int) -> None:
        self.calls.append(("mtu", mtu))


class Able(Least):
    """One that can do more, and refuses VLAN 13 and, on demand, an address."""

    refuse_mac = False

    def _mac_addr_set(self, address: bytes) -> None:
        if self.refuse_mac:
            raise MailboxRefused("no")
        self.calls.append(("mac", address))

    def _vlan_filter(self, vid: int, on: bool) -> None:
        if vid == 13:
            raise MailboxRefused("no")
        self.calls.append(("vlan", vid, on))

    def _mc_addr_list(self, addresses: Any) -> None:
        self.calls.append(("mc", addresses))

    def _allmulticast(self, on: bool) -> None:
        self.calls.append(("allmulticast", on))


def ready(port: Least) -> Mempool:
    pool = Mempool(port.transport, 128, 2048)
    port.configure()
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    return pool


def test_opening_lets_the_device_issue_dma() -> None:
    assert Least().quiet.command == 0x0016


def test_a_life() -> None:
    port = Least()
    assert port.state is State.OPEN
    ready(port)
    port.start()
    assert port.state is State.STARTED
    some = np.arange(3)
    assert port.rx_burst(0, some) == 3 == port.tx_burst(0, some) and port.tx_done_cleanup(0) == 1
    port.stop()
    port.start()
    port.close()
    port.close()
    asked = [call for call in port.calls if isinstance(call, str)]
    assert asked == ["start", "reset", "stop", "start", "reset", "stop", "close"]


def test_indices_of_another_type_are_converted() -> None:
    port = Least()
    ready(port)
    port.start()
    assert port.tx_burst(0, np.arange(3, dtype=np.uint32)) == 3  # type: ignore[arg-type]


def test_what_may_not_be_done_when() -> None:
    port = Least()
    pool = Mempool(port.transport, 128, 2048)
    out = np.empty(4, np.intp)
    for early in (
        port.start, port.stop, lambda: port.rx_queue_setup(0, pool), lambda: port.rx_burst(0, out),
        lambda: port.tx_burst(0, out), lambda: port.tx_done_cleanup(0),
        lambda: port.rx_intr_enable(0), lambda: port.intr_wait(0),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"the port is open: configure\(\) comes next"):
            early()
    ready(port)
    port.start()
    for late in (port.configure, port.start, lambda: port.tx_queue_setup(0, pool)):
        with pytest.raises(UsageError, match="the port is started"):
            late()
    for action in (lambda: port.rx_burst(1, out), lambda: port.tx_burst(1, out), lambda: port.tx_done_cleanup(1)):
        with pytest.raises(UsageError, match=r"there is no .* queue 1"):
            action()
    port.close()
    for over in (port.start, port.reset, port.watch, port.stats, port.link_get, lambda: port.mtu_set(1000), port.configure):
        with pytest.raises(UsageError, match="the port is closed"):
            over()


def test_start_needs_all_queues() -> None:
    port = Least()
    port.configure(2, 1)
    pool = Mempool(port.transport, 128, 2048)
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    with pytest.raises(UsageError, match="receive queue 1 has not been set up"):
        port.start()
    assert port.state is State.CONFIGURED and "start" not in port.calls


def test_a_start_that_fails_may_be_tried_again() -> None:
    port = Least()
    ready(port)
    port.start_error = MailboxRefused("no")
    with pytest.raises(MailboxRefused):
        port.start()
    assert port.state is State.CONFIGURED
    port.start_error = None
    port.start()


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda p, b: p.configure(3, 1), "up to 2 receive queues, not 3"),
        (lambda p, b: p.configure(1, -1), "up to 1 transmit queues, not -1"),
        (lambda p, b: p.configure(0, 0), "without any queue"),
        (lambda p, b: p.configure(mtu=9001), "MTU of 68 to 9000 bytes, not 9001"),
        (lambda p, b: p.rx_queue_setup(1, b), "1 receive queues were configured: there is no queue 1"),
        (lambda p, b: p.tx_queue_setup(-1, b), "there is no queue -1"),
        (lambda p, b: p.rx_queue_setup(0, b, 24), "32 to 512 descriptors, a multiple of 8, not 24"),
        (lambda p, b: p.tx_queue_setup(0, b, 100), "a multiple of 8, not 100"),
        (lambda p, b: p.rx_queue_setup(0, b, 256), "a pool of 128 buffers cannot fill 256 descriptors"),
        (lambda p, b: p.rx_queue_setup(0, Mempool(p.transport, 64, 512), 32), "1024 bytes or more, not 512"),
        (lambda p, b: p.rx_queue_setup(0, Mempool(cast(Transport, Quiet()), 64), 32), "behind another transport"),
        (lambda p, b: p.mac_addr_set(b"\x02\0\0"), "six bytes, not 3"),
        (lambda p, b: p.mac_addr_set(bytes(6)), "no address of a station"),
        (lambda p, b: p.mac_addr_set(b"\x01\0\0\0\0\1"), "no address of a station"),
        (lambda p, b: p.mc_addr_list_set([b"\x02\0\0\0\0\1"]), "is no multicast address"),
        (lambda p, b: p.vlan_filter(4096), "a VLAN is 0 to 4095, not 4096"),
        (lambda p, b: p.mtu_set(67), "not 67"),
    ],
)  # fmt: skip
def test_arguments(action: Any, text: str) -> None:
    port = Able()
    pool = ready(port)
    port.calls.clear()
    with pytest.raises(UsageError, match=text):
        action(port, pool)
    assert not port.calls, "the device was not asked"


def test_offloads_are_asked_for_by_name() -> None:
    with pytest.raises(NotSupported, match=r"igbvf has no offload VLAN_STRIP, RSS_HASH"):
        Least().configure(rx_offloads=RxOffload.VLAN_STRIP | RxOffload.RSS_HASH | RxOffload.CHECKSUM)
    with pytest.raises(NotSupported, match="TCP_TSO"):
        Least().configure(tx_offloads=TxOffload.TCP_TSO)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda p: p.promiscuous_set(True), "be promiscuous"),
        (lambda p: p.allmulticast_set(True), "receive all multicast"),
        (lambda p: p.mc_addr_list_set([]), "filter multicast"),
        (lambda p: p.mac_addr_set(b"\x02\0\0\0\0\2"), "change its address"),
        (lambda p: p.vlan_filter(1), "filter VLANs"),
        (lambda p: p.vlan_strip_set(True), "VLAN tags are stripped"),
        (lambda p: p.intr_wait(0), "interrupt"),
        (lambda p: p.rx_intr_enable(0), "interrupt"),
    ],
)
def test_what_a_driver_lacks(action: Any, text: str) -> None:
    port = Least()
    ready(port)
    port.start()
    with pytest.raises(NotSupported, match=f"igbvf cannot .*{text}"):
        action(port)


def test_a_reset_restores_what_was_granted() -> None:
    port = Able()
    ready(port)
    port.mac_addr_set(b"\x02\0\0\0\0\x09")
    port.vlan_filter(5)
    port.vlan_filter(4)
    port.vlan_filter(6)
    port.vlan_filter(6, False)
    with pytest.raises(MailboxRefused):
        port.vlan_filter(13)
    port.mc_addr_list_set([b"\x01\0\0\0\0\1"])
    port.allmulticast_set(True)
    port.mtu_set(4000)
    wanted = [
        ("mac", b"\x02\0\0\0\0\x09"), ("vlan", 4, True), ("vlan", 5, True), ("mc", [b"\x01\0\0\0\0\1"]),
        ("allmulticast", True), ("mtu", 4000),
    ]  # fmt: skip
    port.calls.clear()
    port.reset()
    assert port.calls == ["reset", *wanted]
    port.start()
    port.calls.clear()
    port.reset()
    assert port.calls == ["abandon", "start", "reset", *wanted]


def test_an_address_that_is_refused_after_a_reset_is_given_up() -> None:
    """The host may have set another one meanwhile: the port has that, and everything else is restored."""
    port = Able()
    ready(port)
    port.mac_addr_set(b"\x02\0\0\0\0\x09")
    port.refuse_mac = True
    port.calls.clear()
    port.reset()
    assert port.calls == ["reset", ("mtu", 1500)] and port.settings.mac is None


def test_a_reset_that_fails_may_be_tried_again() -> None:
    port = Least()
    ready(port)
    port.start()
    port.start_error = MailboxRefused("no")
    port._rx = ()
    with pytest.raises(MailboxRefused):
        port.reset()
    with pytest.raises(UsageError, match=r"receive queue 0 does not run: reset\(\) again"):
        port.rx_burst(0, np.empty(4, np.intp))
    port.start_error = None
    port.reset()
    assert port.rx_burst(0, np.empty(4, np.intp)) == 4


def test_link_is_waited_for() -> None:
    port = Least()
    assert not port.link_get(wait=0.5).up and 0.5 <= port.quiet.time < 0.52
    port.link = Link(True, 1000)
    assert port.link_get(wait=5.0).up and port.quiet.time < 0.52


def test_statistics_since_the_last_reset() -> None:
    port = Least()
    port.counted = Stats(ipackets=5, obytes=7)
    assert port.stats() == Stats(ipackets=5, obytes=7)
    port.stats_reset()
    port.counted = Stats(ipackets=9, obytes=7)
    assert port.stats() == Stats(ipackets=4)


def test_drivers_are_found_by_the_name_of_their_device() -> None:
    assert driver_for(IGBVF) is IgbVf is driver_for(IGBVF_I350)


def test_no_driver() -> None:
    from tests.emulators.pci.testdevice import DEVICE

    with pytest.raises(NotSupported, match=r"no driver for .* there are drivers for avp, igbvf, igbvf-i350, "):
        driver_for(DEVICE)
