"""A session: a port that is set up, its streams, and the loop that gives each of them turns."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.ethdev import EthDev, Event, RxOffload, State, Stats, TxOffload
from drivers.mempool import Mempool
from drivers.pmd.forwarding import MODES, Mode, Observer, Stream
from regmodel.errors import UsageError

ROOM, OVERHEAD = 2048, 26
"""Octets: a buffer; what of a frame is not MTU (Ethernet header, two tags, FCS)."""
LOOK = 256
"""Turns between two looks at the clock: a look costs as much as a small burst."""
PATIENCE, NAP = 64, 50e-6
"""After so many turns without a packet the loop sleeps that many seconds: a port that is idle costs no core."""
SECOND = 1.0
"""Between two looks after the port (link, PF, counters), and two reports."""
INTERRUPT_WAIT = 0.2
"""Seconds until a port that sleeps for interrupts is looked after all the same."""


@dataclass(kw_only=True)
class Options:
    """What the command line says. ``mtu`` in octets; ``size`` (octets), ``flows``, ``peer`` are of frames that a mode makes."""

    mode: str = "io"
    burst: int = 32
    queues: int = 1
    descriptors: int | None = None
    buffers: int = 2048
    size: int = 64
    flows: int = 1024
    mtu: int = 1500
    peer: bytes = bytes.fromhex("020000000000")
    interrupts: bool = False
    promiscuous: bool = False
    allmulticast: bool = False
    mac: bytes | None = None
    vlans: tuple[int, ...] = ()
    loops: list[bytes] | None = None


@dataclass(frozen=True)
class Rates:
    """What the port moved in ``seconds``: statistics at their begin and end."""

    seconds: float
    before: Stats
    after: Stats

    @property
    def per_second(self) -> tuple[float, float, float, float]:
        """Packets and bits received, packets and bits sent."""
        moved = self.after - self.before
        ipackets, ibytes, opackets, obytes = (
            value / max(self.seconds, 1e-9) for value in (moved.ipackets, moved.ibytes, moved.opackets, moved.obytes)
        )
        return ipackets, 8 * ibytes, opackets, 8 * obytes


class Session:
    """``port`` and what is done with it; whoever opened it closes its transport. ``tell`` gets one line for each event."""

    def __init__(
        self,
        port: EthDev,
        options: Options,
        *,
        tell: Callable[[str], None] = lambda line: None,
        observer: Observer | None = None,
    ) -> None:
        self.port, self.options, self._tell, self._observer = port, options, tell, observer
        self.streams: list[Stream] = []
        self.modes: list[Mode] = []
        self.mode = options.mode
        self.stopping = self._closed = False
        self._former_handlers: dict[int, Any] = {}
        self.pool = self._set_up()
        self.set_mode(options.mode)

    def _set_up(self) -> Mempool:
        o, port, info = self.options, self.port, self.port.info()
        longest = o.mtu + OVERHEAD
        rx = RxOffload.SCATTER & info.rx_offloads if longest > ROOM else RxOffload.NONE
        port.configure(o.queues, o.queues, rx_offloads=rx, tx_offloads=TxOffload.MULTI_SEGS & info.tx_offloads, mtu=o.mtu)
        room = max(ROOM, -(-o.size // 64) * 64)
        rings = 2 * (o.descriptors or max(info.rx_descriptors.default, info.tx_descriptors.default))
        pool = Mempool(port.transport, max(o.buffers, o.queues * (rings + 2 * o.burst)), room)
        for queue in range(o.queues):
            port.rx_queue_setup(queue, pool, o.descriptors)
            port.tx_queue_setup(queue, pool, o.descriptors)
        if o.mac is not None:
            port.mac_addr_set(o.mac)
        if o.promiscuous:
            port.promiscuous_set(True)
        if o.allmulticast:
            port.allmulticast_set(True)
        for vid in o.vlans:
            port.vlan_filter(vid)
        return pool

    def stop_on_interrupt(self) -> None:
        """Until it is closed, Ctrl-C and SIGTERM end the run, which is summed up then, instead of the process."""

        def stop(number: int, frame: object) -> None:
            self.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM):
            former = signal.signal(number, stop)
            self._former_handlers.setdefault(number, former)

    def set_mode(self, name: str) -> None:
        """What is done from the next ``run`` on. Raises ``UsageError``."""
        if name not in MODES:
            raise UsageError(f"there is no mode {name!r}; there are {', '.join(MODES)}")
        o = self.options
        self.streams = [
            Stream(
                port=self.port, queue=queue, pool=self.pool, burst=o.burst, size=o.size, flows=o.flows, peer=o.peer,
                loops=o.loops, observer=self._observer,
            )
            for queue in range(o.queues)
        ]  # fmt: skip
        self.mode = name
        self.modes = [MODES[name](stream) for stream in self.streams]

    def start(self) -> None:
        """Start the port, unless it runs."""
        if self.port.state is not State.STARTED:
            self.port.start()

    def run(
        self,
        *,
        seconds: float | None = None,
        packets: int | None = None,
        report: Callable[[Rates], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> Rates:
        """Forward until time is up, ``packets`` were moved, or ``stopping`` is set; what was moved meanwhile.

        ``report`` is called once a second, ``idle`` at each look at the clock.
        """
        now = self.port.transport.now
        turns = [mode.turn for mode in self.modes]
        first = before = self.port.stats()
        start = last = now()
        end = float("inf") if seconds is None else start + seconds
        most = float("inf") if packets is None else packets
        self.stopping, moved, empty = False, 0, 0
        while not self.stopping:
            for _ in range(LOOK):
                count = 0
                for turn in turns:
                    count += turn()
                moved += count
                empty = 0 if count else empty + 1
                if empty >= PATIENCE or moved >= most:
                    break
            at = now()
            if at >= end or moved >= most:
                break
            if at - last >= SECOND:
                self._heed(self.port.watch())
                after = self.port.stats()
                if report is not None:
                    report(Rates(at - last, before, after))
                last, before = at, after
            if idle is not None:
                idle()
            if empty >= PATIENCE:
                self._rest(end - at)
        return Rates(now() - start, first, self.port.stats())

    def _rest(self, left: float) -> None:
        """There is nothing to do: sleep a little, or until a packet interrupts, for ``left`` seconds at most."""
        port = self.port
        if not self.options.interrupts or not self.modes[0].receives:
            port.transport.sleep(min(NAP, left))
            return
        for queue in range(self.options.queues):
            port.rx_intr_enable(queue)
        # what came before they were enabled raises no interrupt: a turn before the wait
        if not sum(mode.turn() for mode in self.modes):
            _, event = port.intr_wait(min(INTERRUPT_WAIT, left))
            self._heed(event)

    def _heed(self, event: Event) -> None:
        name = self.port.transport.name
        if Event.LINK in event:
            link = self.port.link_get()
            self._tell(f"{name}: the link is {'up' if link.up else 'down'} ({link.changes} changes so far)")
        if Event.RESET in event:
            self._tell(f"{name}: the PF has reset the device; it is being set up again")
            self.port.reset()

    def stop(self) -> None:
        """Stop the port, if it runs."""
        if self.port.state is State.STARTED:
            self.port.stop()

    def close(self) -> None:
        """Stop and close the port, and give the pool back. Harmless the second time."""
        try:
            self.port.close()
        finally:  # a device that is gone keeps neither memory nor Ctrl-C
            if not self._closed:
                self._closed = True
                for number, former in self._former_handlers.items():
                    signal.signal(number, former)
                self.pool.close()
