"""``EthDev``: the states of a port, what may be asked in which, the checks of arguments, what a reset has to restore."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from enum import Flag
from types import TracebackType
from typing import Self

import numpy as np

from drivers.errors import LinkDown, MailboxRefused, NotSupported
from drivers.ethdev.prepare import prepare
from drivers.ethdev.terms import Event, Info, Link, QueueSetup, RxOffload, RxQueue, Settings, State, Stats, TxOffload, TxQueue
from drivers.mempool import Indices, Mempool
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import UsageError

COMMAND, MEMORY_AND_MASTER = 0x04, 0x06
"""The command register of configuration space (PCI 3.0, 6.2.2): decode memory, issue DMA."""


class EthDev(ABC):
    """A port. Opening it finds the device and its address, and moves no packet. A context manager: leaving it closes it.

    All methods raise ``UsageError`` for what makes no sense, ``NotSupported`` for what this device cannot do, and the
    errors of ``drivers.errors`` when the device does not play along.
    """

    driver = "?"

    def __init__(self, transport: Transport, device: Device) -> None:
        self.transport, self.device = transport, device
        self.state = State.OPEN
        self.settings = Settings()
        self._rx: tuple[RxQueue, ...] = ()
        self._tx: tuple[TxQueue, ...] = ()
        self._rx_setups: dict[int, QueueSetup] = {}
        self._tx_setups: dict[int, QueueSetup] = {}
        self._stats_base, self._xstats_base = Stats(), dict[str, int]()
        transport.config_write(COMMAND, 2, transport.config_read(COMMAND, 2) | MEMORY_AND_MASTER)

    # -- what it is

    @abstractmethod
    def info(self) -> Info:
        """What this port can do."""

    @property
    @abstractmethod
    def mac_addr(self) -> bytes:
        """The address of the port, six bytes."""

    @property
    def reset_needed(self) -> bool:
        """The device has lost its settings: no packet will pass until ``reset``. ``watch`` and ``link_get`` find out."""
        return False

    # -- from open to started and back

    def configure(
        self,
        rx_queues: int = 1,
        tx_queues: int = 1,
        *,
        rx_offloads: RxOffload = RxOffload.NONE,
        tx_offloads: TxOffload = TxOffload.NONE,
        mtu: int = 1500,
    ) -> None:
        """How many queues, and which offloads will be asked for. What was set up before is forgotten, filters are not."""
        self._only(State.OPEN, State.CONFIGURED)
        info = self.info()
        for what, count, most in (("receive", rx_queues, info.max_rx_queues), ("transmit", tx_queues, info.max_tx_queues)):
            if not 0 <= count <= most:
                raise UsageError(f"{info.device} has up to {most} {what} queues, not {count}")
        if not rx_queues and not tx_queues:
            raise UsageError("a port without any queue does nothing")
        lacking = (rx_offloads & ~info.rx_offloads) or (tx_offloads & ~info.tx_offloads)
        if lacking:
            raise NotSupported(f"{info.device} has no offload {_names(lacking)}; info() says what it has")
        self._check_mtu(mtu)
        s = self.settings
        s.rx_queues, s.tx_queues, s.rx_offloads, s.tx_offloads, s.mtu = rx_queues, tx_queues, rx_offloads, tx_offloads, mtu
        s.vlan_strip = RxOffload.VLAN_STRIP in rx_offloads
        self._rx_setups, self._tx_setups = {}, {}
        self.state = State.CONFIGURED

    def rx_queue_setup(self, queue: int, pool: Mempool, descriptors: int | None = None, *, drop: bool = True) -> None:
        """Receive into buffers of ``pool``. ``drop``: packets that find no descriptor do not hold up those behind them.

        Without ``descriptors`` a ring has 512 of them, or as many as there can be.
        """
        self._only(State.CONFIGURED)
        self._check_queue("receive", queue, self.settings.rx_queues)
        info = self.info()
        descriptors = info.rx_descriptors.default if descriptors is None else descriptors
        info.rx_descriptors.check(descriptors)
        if pool.room < info.min_rx_room:
            raise UsageError(f"{info.device} receives into buffers of {info.min_rx_room} bytes or more, not {pool.room}")
        if pool.count < descriptors:
            raise UsageError(f"a pool of {pool.count} buffers cannot fill {descriptors} descriptors")
        self._check_pool(pool)
        self._rx_setups[queue] = QueueSetup(pool, descriptors, drop)

    def tx_queue_setup(self, queue: int, pool: Mempool, descriptors: int | None = None) -> None:
        """Send buffers of ``pool``; ``descriptors`` as above."""
        self._only(State.CONFIGURED)
        self._check_queue("transmit", queue, self.settings.tx_queues)
        known = self.info().tx_descriptors
        descriptors = known.default if descriptors is None else descriptors
        known.check(descriptors)
        self._check_pool(pool)
        self._tx_setups[queue] = QueueSetup(pool, descriptors)

    def start(self) -> None:
        """Bring the port up, with all that was asked for before."""
        self._only(State.CONFIGURED)
        for what, made, count in (
            ("receive", self._rx_setups, self.settings.rx_queues),
            ("transmit", self._tx_setups, self.settings.tx_queues),
        ):
            for queue in range(count):
                if queue not in made:
                    raise UsageError(f"{what} queue {queue} has not been set up")
        self._start()
        self.state = State.STARTED

    def stop(self) -> None:
        """Stop all queues; buffers go back to their pools. The queues stay set up."""
        self._only(State.STARTED)
        self.state = State.CONFIGURED
        self._stop()

    def reset(self) -> None:
        """Recover a device that lost its settings, or just start over: all that was asked for holds again, rings are empty."""
        self._only(State.OPEN, State.CONFIGURED, State.STARTED)
        if self.state is State.STARTED:
            self._abandon()
            self._start()
        else:
            self._reset()
            self._restore()

    def close(self) -> None:
        """Stop, and let go of the device. Pools and transport are the user's to close. Harmless the second time."""
        if self.state is State.STARTED:
            self.stop()
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:  # the device may be gone: what went wrong first matters more
            try:
                self.close()
            except Exception as second:
                if error is not None and type(second) is not type(error):
                    error.add_note(f"and closing the port: {second}")

    # -- packets

    def rx_burst(self, queue: int, out: Indices) -> int:
        """Received packets into ``out``, as many as there are and fit; says how many. They are the caller's now."""
        if queue >= len(self._rx):
            raise self._not_running("receive", queue)
        return self._rx[queue].burst(out)

    def tx_prepare(self, queue: int, packets: Indices) -> int:
        """Make packets ready for the offloads that they ask for: call it before ``tx_burst`` for those that ask for any."""
        self._check_queue("transmit", queue, self.settings.tx_queues)
        pool, info = self._tx_setups[queue].pool, self.info()
        for packet in packets.tolist():
            prepare(pool, packet, info)
        return len(packets)

    def tx_burst(self, queue: int, packets: Indices) -> int:
        """Send packets, in order; says how many were taken. Their buffers go back to the pool when they are sent."""
        if queue >= len(self._tx):
            raise self._not_running("transmit", queue)
        return self._tx[queue].burst(packets if packets.dtype == np.intp else packets.astype(np.intp))

    def tx_done_cleanup(self, queue: int) -> int:
        """Give the buffers of sent packets back now rather than when descriptors run low. How many descriptors are free."""
        if queue >= len(self._tx):
            raise self._not_running("transmit", queue)
        return self._tx[queue].reclaim()

    # -- filters and modes; all may be set in any state but CLOSED

    def promiscuous_set(self, on: bool) -> None:
        """Receive packets to all addresses."""
        self._alive()
        self._promiscuous(on)
        self.settings.promiscuous = on

    def allmulticast_set(self, on: bool) -> None:
        """Receive packets to all multicast addresses."""
        self._alive()
        self._allmulticast(on)
        self.settings.allmulticast = on

    def mc_addr_list_set(self, addresses: Iterable[bytes]) -> None:
        """Receive packets to these multicast addresses; the list replaces the one before."""
        self._alive()
        wanted = [_address(a) for a in addresses]
        for a in wanted:
            if not a[0] & 1:
                raise UsageError(f"{a.hex(':')} is no multicast address")
        self._mc_addr_list(wanted)
        self.settings.mc_addrs = wanted

    def mac_addr_set(self, address: bytes) -> None:
        """Use this address."""
        self._alive()
        address = _unicast(address)
        self._mac_addr_set(address)
        self.settings.mac = address

    def mac_addr_add(self, address: bytes) -> None:
        """Receive packets to this address, too."""
        self._alive()
        address, s = _unicast(address), self.settings
        if address == self.mac_addr or address in s.more_macs:
            return
        if len(s.more_macs) + 1 >= self.info().max_mac_addrs:
            raise UsageError(f"{self.device.name} has room for {self.info().max_mac_addrs} addresses, its own included")
        self._mac_addr_add(address)
        s.more_macs.append(address)

    def mac_addr_clear(self) -> None:
        """Receive packets to the port's own address only."""
        self._alive()
        self._mac_addr_clear()
        self.settings.more_macs.clear()

    def vlan_filter(self, vid: int, on: bool = True) -> None:
        """Receive packets of this VLAN, or no longer."""
        self._alive()
        if not 0 <= vid <= 4095:
            raise UsageError(f"a VLAN is 0 to 4095, not {vid}")
        self._vlan_filter(vid, on)
        (self.settings.vlans.add if on else self.settings.vlans.discard)(vid)

    def vlan_strip_set(self, on: bool) -> None:
        """Take the tags out of received packets."""
        self._alive()
        self._vlan_strip(on)
        self.settings.vlan_strip = on

    def mtu_set(self, mtu: int) -> None:
        """The largest packet, in bytes without Ethernet header and FCS; a VLAN tag may come on top."""
        self._alive()
        self._check_mtu(mtu)
        self._mtu(mtu)
        self.settings.mtu = mtu

    # -- link, statistics, interrupts

    def link_get(self, wait: float = 0.0) -> Link:
        """The link, after waiting up to ``wait`` seconds for it to come up."""
        self._alive()
        end = self.transport.now() + wait
        while True:
            late = self.transport.now() >= end
            link = self._link()
            if link.up or late:
                return link
            self.transport.sleep(0.01)

    def link_wait(self, timeout: float = 5.0) -> Link:
        """The same for those who cannot go on without. Raises ``LinkDown``."""
        link = self.link_get(timeout)
        if not link.up:
            because = "the device has lost its settings: call reset()" if self.reset_needed else "see to the other end"
            raise LinkDown(f"{self.transport.name}: the link has not come up within {timeout:g} s; {because}")
        return link

    def stats(self) -> Stats:
        """Since the port was opened, or since ``stats_reset``."""
        self._alive()
        return self._stats() - self._stats_base

    def stats_reset(self) -> None:
        self._alive()
        self._stats_base = self._stats()

    def xstats(self) -> dict[str, int]:
        """All that this device counts, by name."""
        self._alive()
        return {name: value - self._xstats_base.get(name, 0) for name, value in self._xstats().items()}

    def xstats_reset(self) -> None:
        self._alive()
        self._xstats_base = dict(self._xstats())

    def watch(self) -> Event:
        """Look after the port: link, PF, rings, counters that would wrap. Call it about once a second.

        Raises ``DeviceGone``, and ``RingError`` when a ring is not as it was left.
        """
        self._alive()
        return self._watch()

    def rx_intr_enable(self, queue: int) -> None:
        """One interrupt when the next packet arrives; enable again after each, then look at the queue, then wait."""
        self._only(State.STARTED)
        self._check_queue("receive", queue, self.settings.rx_queues)
        self._rx_intr(queue, True)

    def rx_intr_disable(self, queue: int) -> None:
        self._only(State.STARTED)
        self._check_queue("receive", queue, self.settings.rx_queues)
        self._rx_intr(queue, False)

    def intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        """The receive queues that have interrupted, and what ``watch`` found if it was for the port; waits up to ``timeout`` s.

        Raises ``InterruptStorm`` when a vector fires on and on without any work behind it; the vector is masked then.
        """
        self._only(State.STARTED)
        return self._intr_wait(timeout)

    # -- checks

    def _only(self, *states: State) -> None:
        if self.state not in states:
            raise UsageError(f"{self.transport.name}: the port is {self.state.value}")

    def _alive(self) -> None:
        if self.state is State.CLOSED:
            raise UsageError(f"{self.transport.name}: the port is closed")

    def _check_queue(self, what: str, queue: int, count: int) -> None:
        if not 0 <= queue < count:
            raise UsageError(f"{count} {what} queues were configured: there is no queue {queue}")

    def _check_mtu(self, mtu: int) -> None:
        info = self.info()
        if not info.min_mtu <= mtu <= info.max_mtu:
            raise UsageError(f"{info.device} has an MTU of {info.min_mtu} to {info.max_mtu} bytes, not {mtu}")

    def _check_pool(self, pool: Mempool) -> None:
        if pool.transport is not self.transport:
            raise UsageError("this pool lies behind another transport: the device cannot reach it; copy packets between ports")

    def _not_running(self, what: str, queue: int) -> UsageError:
        if self.state is not State.STARTED:
            return UsageError(f"{self.transport.name}: the port is {self.state.value}")
        if queue < (self.settings.rx_queues if what == "receive" else self.settings.tx_queues):
            return UsageError(f"{self.transport.name}: {what} queue {queue} does not run: reset() again")
        return UsageError(f"{self.transport.name}: there is no {what} queue {queue}")

    def _cannot(self, what: str) -> NotSupported:
        return NotSupported(f"{self.device.name} cannot {what}")

    def _restore(self) -> None:
        """After a reset: tell the device everything that differs from what it came with."""
        s = self.settings
        if s.mac is not None and s.mac != self.mac_addr:
            try:
                self._mac_addr_set(s.mac)
            except MailboxRefused:  # the host has set another one since: it stays
                s.mac = None
        for address in s.more_macs:
            self._mac_addr_add(address)
        for vid in sorted(s.vlans):
            self._vlan_filter(vid, True)
        if s.mc_addrs:
            self._mc_addr_list(s.mc_addrs)
        if s.allmulticast:
            self._allmulticast(True)
        if s.promiscuous:
            self._promiscuous(True)
        self._mtu(s.mtu)

    # ------------------------------------------------------------------ what a driver implements

    @abstractmethod
    def _reset(self) -> None:
        """Bring the device to the state of a fresh one that may be talked to; ``reset_needed`` is False then."""

    @abstractmethod
    def _start(self) -> None:
        """``_reset``, ``_restore``, then the queues that are set up: fill ``_rx`` and ``_tx``. Undone when it raises."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop queues and interrupts, give buffers back, empty ``_rx`` and ``_tx``."""

    @abstractmethod
    def _abandon(self) -> None:
        """The same without a word to the device, which will be reset."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the device."""

    @abstractmethod
    def _link(self) -> Link: ...

    @abstractmethod
    def _stats(self) -> Stats:
        """Since the port was opened."""

    @abstractmethod
    def _watch(self) -> Event: ...

    def _xstats(self) -> dict[str, int]:
        return {}

    def _mtu(self, mtu: int) -> None:
        raise self._cannot("change its MTU")

    def _promiscuous(self, on: bool) -> None:
        raise self._cannot("be promiscuous")

    def _allmulticast(self, on: bool) -> None:
        raise self._cannot("receive all multicast")

    def _mc_addr_list(self, addresses: Sequence[bytes]) -> None:
        raise self._cannot("filter multicast addresses")

    def _mac_addr_set(self, address: bytes) -> None:
        raise self._cannot("change its address")

    def _mac_addr_add(self, address: bytes) -> None:
        raise self._cannot("receive for a second address")

    def _mac_addr_clear(self) -> None:
        raise self._cannot("receive for a second address")

    def _vlan_filter(self, vid: int, on: bool) -> None:
        raise self._cannot("filter VLANs")

    def _vlan_strip(self, on: bool) -> None:
        raise self._cannot("decide whether VLAN tags are stripped")

    def _rx_intr(self, queue: int, on: bool) -> None:
        raise self._cannot("interrupt")

    def _intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        raise self._cannot("interrupt")


def _names(flags: Flag) -> str:
    return ", ".join(str(flag.name) for flag in type(flags) if flag and flag in flags)


def _address(address: bytes) -> bytes:
    if len(address) != 6:
        raise UsageError(f"a MAC address has six bytes, not {len(address)}")
    return bytes(address)


def _unicast(address: bytes) -> bytes:
    address = _address(address)
    if address[0] & 1 or not any(address):
        raise UsageError(f"{address.hex(':')} is no address of a station")
    return address
