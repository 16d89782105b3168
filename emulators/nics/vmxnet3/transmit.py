"""A transmit queue of VMXNET3: from descriptors that the guest wrote, to frames for the switch, to completions.

In here: the ring, what a packet is, when the queue stops. What is done to the octets of a packet is in ``offload``.

A doorbell starts a burst. One burst takes up to 64 descriptors, whole packets only, hands all frames to the switch in one
call, stores one run of completions and causes at most one interrupt. Two ways lead through it: ``_run`` reads all buffers of a
burst at once, ``_walk`` takes a burst in which something is wrong packet by packet, up to there. A driver makes the generation
of a packet's first descriptor valid last, so a packet that begins is all there: one without an end is an error.

Drivers ring the doorbell when ``txThreshold`` packets wait. That is 1 while the ring is at rest; while it is busy it is more
than any ring holds, for we look again anyway: see ``_rest``.

A burst may be suspended wherever it touches guest memory, and find the device stopped afterwards; then ``closed`` is set,
and it leaves without a trace.

Sources: Linux vmxnet3_drv.c ``vmxnet3_tq_xmit``, ``vmxnet3_map_pkt``, ``vmxnet3_tq_tx_complete`` (which wants a completion
for every packet, in order); DPDK vmxnet3_rxtx.c ``vmxnet3_xmit_pkts``; QEMU hw/net/vmxnet3.c ``vmxnet3_process_tx_queue``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from emulators.fabric.frames import HEADER, SHORTEST, VLAN_TYPE, padded
from emulators.fabric.offload import Partial, tagged
from emulators.host import Host
from emulators.nics.igb.words import mask, place
from emulators.nics.vmxnet3.offload import Cut, OffloadError, checksum, inner_checksum, inner_large, large
from emulators.nics.vmxnet3.ring import CommandRing, CompletionRing, command_ring
from emulators.nics.vmxnet3.shared import TX_AT, TxConf
from emulators.nics.vmxnet3.statistics import TxStatistics
from regmodel.errors import DmaFault
from regmodel.function import Buffer
from regmodel.rings.vmxnet3 import TSO_PACKET_MOST, TX_BUFFER_MOST, TX_COMP, TX_DESC, TX_PACKET_MOST
from regmodel.structures.vmxnet3 import QueueError

BURST = 64
"""Descriptors per burst, so that the sockets are looked at between."""
LOOKS = 4
"""How often a ring that has just run dry is looked at again before the driver is asked for doorbells."""
BUSY, AT_REST = 1 << 16, 1
"""txThreshold: more packets than fit into a ring, and every one."""

# The second word of a descriptor; masks are in place.
_LENGTH, _GEN = mask(TX_DESC, "buffer", "len"), mask(TX_DESC, "buffer", "gen")
_DTYPE, _OCO, _EXT1 = (mask(TX_DESC, "buffer", name) for name in ("dtype", "oco", "ext1"))
_MSSCOF, _HLEN, _OM, _TCI = (
    place(TX_DESC, "buffer", "msscof"), place(TX_DESC, "offload", "hlen"), place(TX_DESC, "offload", "om"),
    place(TX_DESC, "offload", "tci"),
)  # fmt: skip
_EOP, _CQ, _TI = (mask(TX_DESC, "offload", name) for name in ("eop", "cq", "ti"))
_PLAIN_MASK, _PLAIN = _DTYPE | _EOP | _CQ | _TI | _OM.mask, _EOP | _CQ
_ENCAP, _CSUM, _TSO = (mode << _OM.shift for mode in (1, 2, 3))
_SPECIAL = _OM.mask | _TI
_INDEX = place(TX_COMP, "index", "txdIdx").ones
_THRESHOLD = TX_AT["ctrl.txThreshold"]


class Stop(Exception):
    """A descriptor that cannot be: the queue stops with ``error``. ``kind`` names the diagnosis."""

    def __init__(self, kind: str, error: QueueError, **detail: object) -> None:
        super().__init__(kind)
        self.kind, self.error, self.detail = kind, error, detail


class Interrupt(Protocol):
    """The queue has done something that ``vector`` tells of; ``soon`` unless that can wait a little."""

    def __call__(self, vector: int, *, soon: bool) -> None: ...


class TransmitQueue:
    """Queue ``index``, from activation to the next stop of the device.

    ``interrupt`` is a cause; ``stopped(error)`` is called when the queue gives up.
    """

    def __init__(
        self, host: Host, index: int, conf: TxConf, interrupt: Interrupt, stopped: Callable[[QueueError], None]
    ) -> None:
        self.host, self.index, self.conf = host, index, conf
        self._interrupt, self._stopped = interrupt, stopped
        self.ring = CommandRing(conf.ring, conf.size, _GEN)
        self.completions = CompletionRing(conf.completions, conf.completions_size)
        self.statistics = TxStatistics()
        self.error: QueueError | None = None
        self.closed = False
        self._threshold = AT_REST
        self._dry = self._untold = 0
        self._burst = self.burst
        self.name = f"transmit {index}"
        self._completed = f"{self.name}, completions"

    def open(self) -> None:
        """Ask for doorbells. Raises ``DmaFault``."""
        self._ask(AT_REST)

    def doorbell(self) -> None:
        self.host.defer(self._burst)

    def close(self) -> None:
        """The device stops; a burst under way ends without a trace."""
        self.closed = True

    # -- the burst

    def burst(self) -> bool:
        """Send what the ring holds. True when there may be more."""
        if self.closed or self.error is not None:
            return False
        done: Sequence[int] = ()
        stop: Stop | None = None
        words: list[int] = []
        try:
            words = self._look()
            if not words:
                return self._rest()
            run = self._run(words)
            frames, done, taken, stop = self._walk(words) if run is None else (*run, None)
        except DmaFault as fault:
            frames, taken, stop = [], 0, Stop("tx-ring-unreachable", QueueError.TXD_INVALID, fault=str(fault))
        if self.closed:
            return False
        if frames:
            self.host.packets.send(frames)
        if self.closed:
            return False
        if stop is None:
            self.ring.take(self.host, taken, self.name, "tx_desc")
        else:
            self.ring.tell(self.host, taken + bool(words), self.name, "tx_desc")  # with the one that it stops at
            self.ring.advance(taken)
        self._untold += taken
        self._complete(done, stop)
        self._dry = 0
        if stop is None and taken >= BURST // 2:
            self._ask(BUSY)
        return stop is None

    def _look(self) -> list[int]:
        """The words of the descriptors to take now, which end with that of a packet where the ring has one."""
        ring, dma = self.ring, self.host.dma
        words = ring.entries(dma, min(BURST, ring.size))
        if len(words) == 2 * BURST and not words[-1] & _EOP:
            words = ring.entries(dma, min(BURST + TSO_PACKET_MOST, ring.size))
        return words

    def _rest(self) -> bool:
        """The ring is dry. Before doorbells are asked for, and once after, it is looked at again.

        The driver makes a descriptor valid and then reads the threshold; we write the threshold and then read the
        descriptor. Each may see what was before, but not for longer than the sockets take to be looked at.
        """
        if self._threshold == AT_REST:
            return False
        self._dry += 1
        if self._dry < LOOKS:
            return True
        self._ask(AT_REST)
        return True

    def _ask(self, threshold: int) -> None:
        if threshold != self._threshold or threshold == AT_REST:
            self._threshold, self._dry = threshold, 0
            self.host.dma.write(self.conf.at + _THRESHOLD, threshold.to_bytes(4, "little"))

    def _run(self, words: Sequence[int]) -> tuple[Sequence[Buffer], list[int], int] | None:
        """A burst in which nothing is wrong: frames, indices of the descriptors to complete, how many are taken; else None."""
        seconds, first, size = words[1::2], self.ring.next, self.ring.size
        different = set(seconds)
        plain = all(second & _PLAIN_MASK == _PLAIN and second & _LENGTH >= SHORTEST for second in different)
        ends = None if plain else _ends(seconds)
        if not plain and (ends is None or any(second & _DTYPE for second in different)):
            return None
        if ends is not None:
            seconds = seconds[: ends[-1]]
        taken = len(seconds)
        try:
            parts = self.host.dma.gather(words[0 : 2 * taken : 2], [second & _LENGTH or TX_BUFFER_MOST for second in seconds])
        except DmaFault:
            return None
        if ends is None:
            done = list(range(first, first + taken))
            self.statistics.count(parts, sum(map(len, parts)))
        else:
            done = [first + end - 1 for end in ends if seconds[end - 1] & _CQ]
            parts = self._packets(parts, seconds, ends)
        if done and done[-1] >= size:
            done = [at % size for at in done]
        return parts, done, taken

    def _packets(self, parts: Sequence[Buffer], seconds: Sequence[int], ends: Sequence[int]) -> list[Buffer]:
        """The frames of packets that are several descriptors long, or to which something is to be done."""
        frames: list[Buffer] = []
        counted: list[Buffer] = []
        octets = start = 0
        for end in ends:
            packet = parts[start] if end - start == 1 else b"".join(parts[start:end])
            if seconds[start] & _SPECIAL or len(packet) < SHORTEST:
                frames += self._special(parts[start:end], seconds[start])
            else:
                frames.append(packet)
                counted.append(packet)
                octets += len(packet)
            start = end
        self.statistics.count(counted, octets)
        return frames

    def _complete(self, done: Sequence[int], stop: Stop | None) -> None:
        """Store completions, cause the interrupt; stop when the burst met a ``stop``."""
        if done:
            try:
                self.completions.put(self.host, done, [0] * len(done), self._completed, "tx_comp_desc")
            except DmaFault as fault:
                stop = Stop("tx-completion-unreachable", QueueError.TXD_INVALID, fault=str(fault))
            if self.closed:
                return
            full = self._untold >= self.ring.size // 4  # the driver may be out of descriptors before long
            self._interrupt(self.conf.vector, soon=full)
            if full:
                self._untold = 0
        if stop is not None:
            self.error = stop.error
            self.host.diagnose(stop.kind, queue=self.index, descriptor=self.ring.next, **stop.detail)
            self._stopped(stop.error)

    # -- one packet after the other

    def _walk(self, words: Sequence[int]) -> tuple[list[Buffer], list[int], int, Stop | None]:
        """Frames, indices of the descriptors to complete, how many descriptors are taken, and why not more are."""
        frames: list[Buffer] = []
        done: list[int] = []
        taken = start = 0
        try:
            for at in range(0, len(words), 2):
                second = words[at + 1]
                if second & _DTYPE:
                    raise Stop("tx-descriptor-type", QueueError.DESC_NOT_SPT)
                if not second & _EOP:
                    continue
                packet = words[start : at + 2]
                self._check(len(packet) // 2, packet[1])
                frames += self._packet(packet)
                start, taken = at + 2, at // 2 + 1
                if second & _CQ:
                    done.append((self.ring.next + taken - 1) % self.ring.size & _INDEX)
                if self.closed or taken >= BURST:
                    break
            else:
                if start < len(words):
                    self._check((len(words) - start) // 2, words[start + 1])
                    raise Stop("tx-packet-without-end", QueueError.NOEOP)
        except Stop as stop:
            return frames, done, taken, stop
        except DmaFault as fault:
            return frames, done, taken, Stop("tx-buffer-unreachable", QueueError.TXD_INVALID, fault=str(fault))
        return frames, done, taken, None

    @staticmethod
    def _check(descriptors: int, first: int) -> None:
        """The driver has to copy a packet that takes more descriptors than this."""
        if descriptors > _most(first):
            raise Stop("tx-packet-descriptors", QueueError.BIG_PKT, descriptors=descriptors)

    def _packet(self, words: Sequence[int]) -> Sequence[Buffer]:
        """The frames of one packet. Raises ``DmaFault``."""
        seconds = words[1::2]
        parts = self.host.dma.gather(words[0::2], [second & _LENGTH or TX_BUFFER_MOST for second in seconds])
        return self._packets(parts, seconds, (len(parts),))

    def _special(self, parts: Sequence[Buffer], first: int) -> Sequence[Buffer]:
        """The frames of one packet to which something is to be done: its first descriptor says what."""
        if sum(map(len, parts)) < HEADER:
            return self._error("tx-runt")
        try:
            cut = self._offloaded(parts, first)
        except OffloadError as error:
            return self._error(error.kind)
        frames = cut.frames
        if first & _TI:
            tag = VLAN_TYPE + _TCI.of(first).to_bytes(2, "big")
            frames = [tagged(frame, tag) for frame in frames]
        frames = [_long_enough(frame) for frame in frames]
        if cut.packets:
            self.statistics.segmented(frames[0], cut.packets, cut.octets)
        else:
            self.statistics.add(frames[0], 1, len(frames[0]))
        return frames

    def _error(self, kind: str) -> Sequence[Buffer]:
        """A packet that makes no sense: it is dropped, counted and completed (as QEMU does), and the queue goes on."""
        self.statistics.values["pktsTxError"] += 1
        self.host.diagnose(kind, queue=self.index)
        return ()

    @staticmethod
    def _offloaded(parts: Sequence[Buffer], first: int) -> Cut:
        """What the descriptor's mode makes of the packet; ``packets`` is 0 where nothing is cut. Raises ``OffloadError``."""
        mode, inner = first & _OM.mask, first & _EXT1
        if mode == _TSO and not inner:
            return large(bytearray().join(parts), _HLEN.of(first), _MSSCOF.of(first))
        packet = parts[0] if len(parts) == 1 else b"".join(parts)
        if not mode:
            return Cut([packet], 0, 0)
        header, size = _HLEN.of(first), _MSSCOF.of(first)
        if mode == _CSUM:
            return Cut([inner_checksum(packet) if inner else checksum(packet, header, size)], 0, 0)
        if mode == _ENCAP and not size:
            return Cut([inner_checksum(packet)], 0, 0)
        return inner_large(packet, header, size, bool(first & _OCO))

    # -- state

    def save(self) -> dict[str, object]:
        return {
            "ring": self.ring.save(),
            "completions": self.completions.save(),
            "statistics": dict(self.statistics.values),
            "error": self.error,
            "threshold": self._threshold,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """A ring that has work goes on."""
        self.ring = command_ring(state["ring"], _GEN)
        loaded = CompletionRing.loaded(state["completions"])
        assert isinstance(loaded, CompletionRing)
        self.completions = loaded
        self.statistics.load(state["statistics"])
        self.error = None if state["error"] is None else QueueError(state["error"])
        self._threshold = int(state["threshold"])
        self.doorbell()


def _most(first: int) -> int:
    """Descriptors of the longest packet that may begin with this one."""
    return TSO_PACKET_MOST if first & _OM.mask in (_TSO, _ENCAP) else TX_PACKET_MOST


def _ends(seconds: Sequence[int]) -> list[int] | None:
    """Behind which descriptors packets end, up to a burst; None when one has no end, or too many descriptors."""
    ends = []
    start = 0
    for at, second in enumerate(seconds, 1):
        if second & _EOP:
            if at - start > TX_PACKET_MOST and at - start > _most(seconds[start]):
                return None
            ends.append(at)
            start = at
            if at >= BURST:
                return ends
    return ends if start == len(seconds) else None


def _long_enough(frame: Buffer) -> Buffer:
    """Padded with zeros, which leaves a checksum that is still to be taken as it is."""
    if not isinstance(frame, Partial):
        return padded(frame)
    if len(frame) >= SHORTEST or frame.offload.gso:
        return frame
    return Partial(frame.ljust(SHORTEST, b"\0"), frame.offload)
