"""The forwarding modes: what is done with a burst of packets. One class each, a row of ``MODES`` each.

A *stream* is a receive queue and a transmit queue of the port. A mode is handed one stream and takes turns; each turn moves up
to a burst. Modes work on whole columns of the pool, so that a packet costs no object; only ``icmpecho``, which answers
seldom, and capture files look at packets one by one.

Meaning of the modes: DPDK, testpmd user guide, "set fwd"; a port that is alone forwards to itself there, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from drivers.ethdev import EthDev
from drivers.mempool import NONE, Indices, Mempool
from drivers.pmd import frames

Observer = Callable[[Mempool, Indices], None]
"""Told of each burst that was received, before it goes on."""


@dataclass(kw_only=True)
class Stream:
    """From receive queue ``queue`` to transmit queue ``queue`` of a port, both of which use ``pool``.

    ``size`` (octets), ``flows`` and ``peer`` (whom to address) are of frames that a mode makes; ``loops`` are those of a
    capture file, to be sent over and over.
    """

    port: EthDev
    queue: int
    pool: Mempool
    burst: int = 32
    size: int = 64
    flows: int = 1024
    peer: bytes = bytes.fromhex("020000000000")
    loops: list[bytes] | None = None
    observer: Observer | None = None
    received: int = 0
    sent: int = 0
    dropped: int = 0
    packets: Indices = field(init=False)

    def __post_init__(self) -> None:
        self.packets = np.empty(self.burst, np.intp)

    def receive(self) -> int:
        """Packets into ``self.packets``; how many."""
        count = self.port.rx_burst(self.queue, self.packets)
        if count:
            self.received += count
            if self.observer is not None:
                self.observer(self.pool, self.packets[:count])
        return count

    def transmit(self, packets: Indices) -> int:
        """Send them; what finds no descriptor is dropped, as testpmd does."""
        taken = self.port.tx_burst(self.queue, packets)
        self.sent += taken
        if taken < len(packets):
            self.dropped += len(packets) - taken
            self.pool.free(packets[taken:])
        return taken


class Mode:
    """One way to forward. ``turn`` says how many packets it moved."""

    name: ClassVar[str]
    about: ClassVar[str]
    receives: ClassVar[bool] = True
    transmits: ClassVar[bool] = True

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def turn(self) -> int:
        raise NotImplementedError


class RxOnly(Mode):
    name, about = "rxonly", "receive, and drop"
    transmits = False

    def turn(self) -> int:
        s = self.stream
        count = s.receive()
        if count:
            s.pool.free(s.packets[:count])
        return count


class Io(Mode):
    name, about = "io", "send what was received, as it is"

    def turn(self) -> int:
        s = self.stream
        count = s.receive()
        if count:
            s.transmit(s.packets[:count])
        return count


class MacSwap(Mode):
    name, about = "macswap", "send what was received, source and destination address swapped"

    def turn(self) -> int:
        s = self.stream
        count = s.receive()
        if count:
            packets = s.packets[:count]
            octets = s.pool.octets
            octets[packets, :12] = np.roll(octets[packets, :12], 6, axis=1)
            s.transmit(packets)
        return count


class TxOnly(Mode):
    name, about = "txonly", "send UDP frames, all alike, or those of --pcap-in over and over"
    receives = False

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._next = 0
        if stream.loops is None:
            _fill(stream.pool, frames.table(stream.peer, stream.port.mac_addr, stream.size, 1))

    def turn(self) -> int:
        s = self.stream
        if s.loops is not None:
            return self._replay(s.loops)
        packets = _fresh(s)
        if not len(packets):
            return 0
        s.pool.length[packets] = s.size
        return s.transmit(packets)

    def _replay(self, loops: list[bytes]) -> int:
        s = self.stream
        made: list[int] = []
        for _ in range(s.burst):
            packet = s.pool.put(loops[self._next])
            if packet == NONE:
                s.port.tx_done_cleanup(s.queue)
                break
            made.append(packet)
            self._next = (self._next + 1) % len(loops)
        return s.transmit(np.array(made, np.intp)) if made else 0


class FlowGen(Mode):
    name, about = "flowgen", "send UDP frames of many flows; what is received is dropped"

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._frames = frames.table(stream.peer, stream.port.mac_addr, stream.size, stream.flows)
        self._next = 0

    def turn(self) -> int:
        s = self.stream
        count = s.receive()
        if count:
            s.pool.free(s.packets[:count])
        packets = _fresh(s)
        if len(packets):
            flows = (self._next + np.arange(len(packets))) % len(self._frames)
            self._next = int(flows[-1] + 1) % len(self._frames)
            s.pool.octets[packets, : s.size] = self._frames[flows]
            s.pool.length[packets] = s.size
            count += s.transmit(packets)
        return count


class IcmpEcho(Mode):
    name, about = "icmpecho", "answer ARP and ICMP echo requests for any IPv4 address; the rest is dropped"

    def turn(self) -> int:
        s = self.stream
        count = s.receive()
        if not count:
            return 0
        packets = s.packets[:count]
        answers = [frames.answer(s.pool.content(packet), s.port.mac_addr) for packet in packets.tolist()]
        s.pool.free(packets)
        made = [packet for reply in answers if reply is not None and (packet := s.pool.put(reply)) != NONE]
        if made:
            s.transmit(np.array(made, np.intp))
        return count


MODES: dict[str, type[Mode]] = {mode.name: mode for mode in (Io, MacSwap, RxOnly, TxOnly, FlowGen, IcmpEcho)}
"""By the name that ``--mode`` takes."""


def _fill(pool: Mempool, rows: frames.Octets) -> None:
    """Every buffer of the pool holds the first row: in a mode that takes no packets from the port, none comes back changed."""
    pool.octets[:, : rows.shape[1]] = rows[0]


def _fresh(stream: Stream) -> Indices:
    """A burst of buffers, or none while the device has them all."""
    packets = stream.pool.alloc(stream.burst)
    if not len(packets):
        stream.port.tx_done_cleanup(stream.queue)
        packets = stream.pool.alloc(stream.burst)
    return packets
