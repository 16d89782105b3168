"""A transmit queue: a ring of packets that the device sends, in order, and a ring in which it says how far it has come.

In here: both rings, the burst, and what offloads make of descriptors. A descriptor belongs to the device once its bit ``gen``
is that of the lap, which begins with 1 and changes with each. So the first descriptor of what is not plain is written last.
A burst of packets which are whole in one buffer and ask for nothing (the plain case) is written by column, any other one
descriptor after the other. The doorbell (TXPROD) is rung once per burst, or as seldom as the device allows: it may change
txThreshold at any time, so that is read after each burst was handed over.

A completion is asked for (``cq``) by the last packet of a burst only; a device may complete more.

Sources: Linux vmxnet3/vmxnet3_drv.c ``vmxnet3_tq_xmit``, ``vmxnet3_map_pkt``, ``vmxnet3_tq_tx_complete``; DPDK vmxnet3_rxtx.c
``vmxnet3_xmit_pkts``; vmxnet3_defs.h ``Vmxnet3_TxDesc``, ``Vmxnet3_TxCompDesc``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.errors import RingError
from drivers.ethdev import QueueSetup
from drivers.mempool import MAX_ROOM, NONE, Indices, Mempool, TxFlag
from drivers.nics.spans import Spans
from drivers.nics.vmxnet3.area import Area
from drivers.nics.words import mask, shift, value
from drivers.transports import Transport
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.rings.vmxnet3 import TX_COMP, TX_DESC

Words: TypeAlias = NDArray[np.uint64]

SIZE = layout(TX_DESC).size
LARGEST = 1 << 14
"""Bytes of a buffer that a descriptor can tell (vmxnet3_defs.h ``VMXNET3_MAX_TX_BUF_SIZE``); all of them are written as 0."""
MOST, MOST_TSO = 16, 24
"""Descriptors of a packet (vmxnet3_defs.h ``VMXNET3_MAX_TXD_PER_PKT``), and of one that is to be segmented."""

# The second word of a descriptor: length and ownership in its low half, offloads in its high half.
_GEN = mask(TX_DESC, "buffer", "gen")
_EOP, _CQ, _TI = (mask(TX_DESC, "offload", name) for name in ("eop", "cq", "ti"))
_TCI, _HLEN = shift(TX_DESC, "offload", "tci"), shift(TX_DESC, "offload", "hlen")
_OM_CSUM, _OM_TSO = value(TX_DESC, "offload", "om", "CSUM"), value(TX_DESC, "offload", "om", "TSO")
_MSSCOF = shift(TX_DESC, "buffer", "msscof")
_LEN = LARGEST - 1

_LENGTHS = np.arange(MAX_ROOM + 1, dtype=np.uint64)
_WHOLE: Words = np.where((_LENGTHS > 0) & (_LENGTHS <= LARGEST), _LENGTHS & np.uint64(_LEN) | np.uint64(_EOP), np.uint64(0))
"""The second word of a whole packet by its length, in a lap of 0; 0 where there is no such word."""
_COMMANDS = (_WHOLE, np.where(_WHOLE > 0, _WHOLE | np.uint64(_GEN), np.uint64(0)))
"""The same by lap."""
_FLIP, _ASK = np.uint64(_GEN), np.uint64(_CQ)

_INDEX = layout(TX_COMP).field("index", "txdIdx").mask
_TOLD_AT = layout(TX_COMP).offsets["status"] // 4
_TOLD = layout(TX_COMP).field("status", "gen").mask
_CHECKSUM_AT = {TxFlag.TCP_CKSUM: 16, TxFlag.UDP_CKSUM: 6}
"""Where a layer 4 header has its checksum (RFC 793, RFC 768), in bytes."""
_OFFLOADS = TxFlag.VLAN | TxFlag.L4_MASK | TxFlag.TCP_SEG


class TransmitQueue:
    """Queue ``index``, which runs once the device is active. ``area`` is its ``Vmxnet3_TxQueueDesc``; ``doorbell``: TXPROD.

    ``sent`` counts packets taken.
    """

    def __init__(
        self, doorbell: Callable[[int], None], transport: Transport, index: int, setup: QueueSetup, area: Area
    ) -> None:
        self.index, self.area = index, area
        self.sent = 0
        self._doorbell = doorbell
        self._pool, self._count = setup.pool, setup.descriptors
        self._coherent = transport.coherent
        self._tail = self._clean = 0
        self._lap, self._commands = 1, _COMMANDS[1]
        self._free = self._count - 1
        self._low = self._count // 4  # fewer free ones than that: see what is done (DPDK's tx_free_thresh)
        self._taken = self._returned = self._odd = 0  # descriptors ever given and taken back; up to ``_odd`` not all were plain
        self._next, self._told = 0, _TOLD  # the completion that comes next, and its bit ``gen``
        self._deferred = 0
        self._memory = transport.alloc(SIZE * self._count)
        self._completions = transport.alloc(SIZE * self._count)
        self._buffers: Indices = np.full(self._count, NONE, np.intp)
        words: Words = np.frombuffer(self._memory.view, np.uint64, 2 * self._count)
        self._spans = Spans(words[0::2], words[1::2], self._buffers)
        self._reports = self._completions.view.cast("I")
        self._describe()

    # -- up and down

    def _describe(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_setup_driver_shared``. The data ring is not used: buffers are reached where they are."""
        area = self.area
        area["conf.txRingBasePA"], area["conf.compRingBasePA"] = self._memory.iova, self._completions.iova
        area["conf.txRingSize"] = area["conf.compRingSize"] = self._count
        area["conf.dataRingBasePA"] = area["conf.dataRingSize"] = area["conf.txDataRingDescSize"] = 0
        area["ctrl.txThreshold"] = 1

    def release(self) -> None:
        """Give back all buffers and the rings, which the device does not touch any more."""
        if self._returned < self._taken:
            self._release(self._taken - self._returned)
        self._spans.forget()  # no array may look into memory that is given back
        self._reports = memoryview(b"")
        self._memory.free()
        self._completions.free()

    # -- packets

    def burst(self, packets: Indices) -> int:
        """See ``drivers.ethdev``."""
        n = len(packets)
        if self._free < n or self._free < self._low:
            self.reclaim()
        flags = self._pool.tx_flags[packets].tobytes()
        if flags.count(0) < n:
            return self._walk(packets)
        if n > self._free:
            n = self._free
            packets = packets[:n]
        if not n:
            return 0
        commands = self._commands[self._pool.length[packets]]
        if not commands.all():
            return self._walk(packets)  # which says what is wrong with it
        tail, straight = self._tail, self._count - self._tail
        commands[n - 1] |= _ASK
        addresses = self._pool.iova[packets]
        if not self._coherent:
            self._pool.sync_for_device(packets)
        if n <= straight:
            self._give(tail, addresses, commands, packets)
        else:
            self._give(tail, addresses[:straight], commands[:straight], packets[:straight])
            self._give(0, addresses[straight:], commands[straight:] ^ _FLIP, packets[straight:])
        self._ring(n, n)
        self.sent += n
        return n

    def _give(self, at: int, addresses: Words, commands: Words, buffers: Indices) -> None:
        """Descriptors without a wrap. Commands are stored after addresses, one word each: they hand over."""
        n = len(buffers)
        address, command, held = self._spans[at, n]
        address[...] = addresses
        held[...] = buffers
        command[...] = commands
        self._memory.sync_for_device(SIZE * at, SIZE * n)

    def _ring(self, n: int, packets: int) -> None:
        """``n`` more descriptors are the device's, which make ``packets`` on the wire."""
        self._taken += n
        self._free -= n
        tail = self._tail + n
        if tail >= self._count:
            tail -= self._count
            self._lap ^= 1
            self._commands = _COMMANDS[self._lap]
        self._tail = tail
        self._deferred += packets
        self.area.sync_for_cpu("ctrl.txThreshold")
        ring = self._deferred >= self.area["ctrl.txThreshold"]
        if ring:
            self._deferred = 0
        self.area["ctrl.txNumDeferred"] = self._deferred
        self.area.sync_for_device("ctrl.txNumDeferred")
        if ring:
            self._doorbell(tail)

    def reclaim(self) -> int:
        """See ``drivers.ethdev`` (vmxnet3_drv.c ``vmxnet3_tq_tx_complete``)."""
        at, told, last, reports = self._next, self._told, NONE, self._reports
        outstanding = self._taken - self._returned
        while outstanding:
            straight = min(self._count - at, outstanding)
            self._completions.sync_for_cpu(SIZE * at, SIZE * straight)
            end = at + straight
            while at < end and reports[4 * at + _TOLD_AT] & _TOLD == told:
                last = reports[4 * at] & _INDEX
                at += 1
            if at < self._count:
                break
            at, told = 0, told ^ _TOLD
        if last != NONE:
            self._next, self._told = at, told
            done = (last - self._clean) % self._count + 1
            if last >= self._count or done > outstanding:
                said = f"transmit queue {self.index} completes descriptor {last} of {self._count}"
                raise RingError(f"{said}, and those that were given are {self._clean} to {self._tail}; reset()")
            self._release(done)
        return self._free

    def _release(self, n: int) -> None:
        """The first ``n`` descriptors that were given are ours again, their buffers the pool's."""
        at, count = self._clean, self._count
        end = at + n
        held = self._buffers[at:end] if end <= count else np.concatenate((self._buffers[at:], self._buffers[: end - count]))
        if self._returned < self._odd:
            self._pool.tx_flags[held] = 0
        self._pool.give(held)
        self._returned += n
        self._clean = end if end < count else end - count
        self._free += n

    # -- all that is not plain

    def _walk(self, packets: Indices) -> int:
        """One packet after the other (vmxnet3_rxtx.c ``vmxnet3_xmit_pkts``)."""
        pool = self._pool
        commands: list[int] = []
        held: list[int] = []
        taken = segments = 0
        for packet in packets.tolist():
            chain = pool.chain_of(packet)
            lengths = pool.length[chain].tolist()
            flags = int(pool.tx_flags[packet])
            self._check(packet, flags, lengths)
            needed = len(held) + len(chain)
            if needed > self._free and needed > self.reclaim():
                break
            pieces = [length & _LEN for length in lengths]
            if flags & _OFFLOADS:
                offload, made = self._offload(pool, packet, flags, sum(lengths))
                pieces[0] |= offload
                segments += made
            else:
                segments += 1
            pieces[-1] |= _EOP
            taken += 1
            commands += pieces
            held += chain
        if taken:
            commands[-1] |= _CQ
            self._store(commands, held, segments)
            self.sent += taken
        return taken

    def _check(self, packet: int, flags: int, lengths: list[int]) -> None:
        """Raises ``UsageError`` for a packet that can never go; then nothing of its burst has been taken."""
        most = min(MOST_TSO if flags & TxFlag.TCP_SEG else MOST, self._count - 1)
        if len(lengths) > most or not all(0 < length <= LARGEST for length in lengths):
            has = f"packet {packet} has {sum(lengths)} bytes in {len(lengths)} buffers"
            raise UsageError(f"{has}, and transmit queue {self.index} takes {most} buffers of 1 to {LARGEST} bytes")

    def _store(self, commands: list[int], held: list[int], segments: int) -> None:
        """Hand over ``commands`` of a lap of 0, the first one last: the device stops where it stands."""
        n, tail, straight = len(held), self._tail, self._count - self._tail
        buffers, words = np.array(held, np.intp), np.array(commands, np.uint64)
        words[:straight] ^= np.uint64(_GEN * self._lap)
        words[straight:] ^= np.uint64(_GEN * (self._lap ^ 1))
        first = int(words[0])
        words[0] ^= _FLIP
        addresses = self._pool.iova[buffers]
        if not self._coherent:
            self._pool.sync_for_device(buffers)
        self._give(tail, addresses[:straight], words[:straight], buffers[:straight])
        if n > straight:
            self._give(0, addresses[straight:], words[straight:], buffers[straight:])
        self._spans[tail, 1][1][0] = first
        self._memory.sync_for_device(SIZE * tail, SIZE)
        self._odd = self._taken + n
        self._ring(n, segments)

    @staticmethod
    def _offload(pool: Mempool, packet: int, flags: int, length: int) -> tuple[int, int]:
        """What a packet asks for, as bits of its first descriptor, and how many segments it makes.

        vmxnet3_drv.c ``vmxnet3_tq_xmit``; for TSO ``msscof`` is the MSS, for a checksum the place where it belongs.
        """
        command, segments = 0, 1
        if flags & TxFlag.VLAN:
            command |= _TI | int(pool.vlan[packet]) << _TCI
        header = int(pool.l2_len[packet]) + int(pool.l3_len[packet])
        if flags & TxFlag.TCP_SEG:
            header += int(pool.l4_len[packet])
            mss = int(pool.tso_segsz[packet])
            command |= _OM_TSO | header << _HLEN | mss << _MSSCOF
            segments = max(1, -(-(length - header) // max(1, mss)))
        elif at := _CHECKSUM_AT.get(flags & TxFlag.L4_MASK):
            command |= _OM_CSUM | header << _HLEN | (header + at) << _MSSCOF
        return command, segments
