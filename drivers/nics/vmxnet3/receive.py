"""A receive queue: two rings of free buffers that the device fills, and a ring in which it says what it has put where.

In here: the completion ring and the burst. Heads of packets go into the first ring of buffers, and what does not fit into the
second one, if the port scatters. A burst reads what was completed as a column; where all packets are whole and in one buffer
(the plain case) everything else is done by column, too, else one completion after the other. Descriptors whose buffers were
taken get fresh ones at once; the doorbells (RXPROD, RXPROD2) are rung where the device asks for it (updateRxProd).

Sources: Linux vmxnet3/vmxnet3_drv.c ``vmxnet3_rq_rx_complete``, ``vmxnet3_rx_csum``, ``vmxnet3_rq_init``; DPDK vmxnet3_rxtx.c
``vmxnet3_recv_pkts``, ``vmxnet3_rx_offload``; vmxnet3_defs.h ``Vmxnet3_RxDesc``, ``Vmxnet3_RxCompDesc``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivers.errors import RingError
from drivers.ethdev import QueueSetup, RxOffload
from drivers.mempool import NONE, Indices, PacketType, RxFlag, TxFlag
from drivers.nics.spans import Spans
from drivers.nics.vmxnet3.area import Area
from drivers.nics.vmxnet3.buffers import BODY, HEAD, BufferRing
from drivers.nics.words import mask, shift
from drivers.transports import DmaBuffer, Transport
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.rings.vmxnet3 import RX_COMP

SIZE = layout(RX_COMP).size
LONGEST = 1 << 16
"""Octets in which a packet must have ended: an IP packet has no more, coalesced or not."""
LEAST_RING = 32
"""Descriptors of a ring that is not used (vmxnet3_defs.h ``VMXNET3_RING_SIZE_ALIGN``)."""

_INDEX, _EOP, _SOP, _QUEUE, _CNC = (mask(RX_COMP, "index", name) for name in ("rxdIdx", "eop", "sop", "rqID", "cnc"))
_QUEUE_AT, _RSS = shift(RX_COMP, "index", "rqID"), mask(RX_COMP, "index", "rssType")
_LEN, _ERR, _TS, _TCI = (mask(RX_COMP, "data", name) for name in ("len", "err", "ts", "tci"))
_TCI_AT = shift(RX_COMP, "data", "tci")
_GEN = mask(RX_COMP, "what", "gen")
_V4, _V6, _TCP, _UDP, _IPC, _TUC = (mask(RX_COMP, "what", name) for name in ("v4", "v6", "tcp", "udp", "ipc", "tuc"))
_TYPES = ((_V4, PacketType.IPV4), (_V6, PacketType.IPV6), (_TCP, PacketType.TCP), (_UDP, PacketType.UDP))
_KNOWN = _ERR | _TS | _V4 | _V6 | _TCP | _UDP | _IPC | _TUC
"""What of the second 64 bits of a completion makes flags and types."""
_PATTERN = np.uint32(_INDEX | _EOP | _SOP | _QUEUE | _CNC)


def flags_of(word: int, unchecked: int) -> int:
    """``RxFlag`` by the second 64 bits of a completion; ``unchecked`` is its bit ``cnc``.

    vmxnet3_rxtx.c ``vmxnet3_rx_offload``. Of IPv6 there is no header checksum.
    """
    flags = RxFlag.VLAN_STRIPPED if word & _TS else 0
    if unchecked or not word & (_V4 | _V6):
        return flags
    if word & _V4:
        flags |= RxFlag.IP_CKSUM_GOOD if word & _IPC else RxFlag.IP_CKSUM_BAD
    if word & _TUC:
        flags |= RxFlag.L4_CKSUM_GOOD
    elif word & (_TCP | _UDP):
        flags |= RxFlag.L4_CKSUM_BAD
    return flags


class _Plain(dict[int, int]):
    """Flags by what is known of a packet; -1 for one that is damaged."""

    def __init__(self, unchecked: int) -> None:
        super().__init__()
        self._unchecked = unchecked

    def __missing__(self, known: int) -> int:
        self[known] = flags = -1 if known & _ERR else flags_of(known, self._unchecked)
        return flags


class _Types(dict[int, int]):
    """``PacketType`` by what is known of a packet."""

    def __missing__(self, known: int) -> int:
        self[known] = found = sum(kind for bit, kind in _TYPES if known & bit)
        return found


_plain, _types = (_Plain(0), _Plain(_CNC)), _Types()


class ReceiveQueue:
    """Queue ``index`` of ``queues``, which runs from ``begin`` on. ``area`` is its ``Vmxnet3_RxQueueDesc``, ``doorbells`` store
    RXPROD and RXPROD2. ``data``: bytes of each piece of a data ring, into which short packets go, or 0.

    ``taken`` counts packets handed out.
    """

    def __init__(
        self, doorbells: tuple[Callable[[int], None], Callable[[int], None]], transport: Transport, index: int, queues: int,
        setup: QueueSetup, offloads: RxOffload, area: Area, data: int = 0,
    ) -> None:  # fmt: skip
        self.index, self.area = index, area
        self.taken = self.errors = self.no_buffers = 0
        self._pool, self._queues, self._data = setup.pool, queues, data
        self._scatter = RxOffload.SCATTER in offloads
        self._with_types, self._with_rss = RxOffload.PACKET_TYPE in offloads, RxOffload.RSS_HASH in offloads
        self._coherent = transport.coherent
        count, second = setup.descriptors, setup.descriptors if self._scatter else LEAST_RING
        self._heads = BufferRing(doorbells[0], transport, setup.pool, count, HEAD)
        self._bodies = BufferRing(doorbells[1], transport, setup.pool, second, BODY)
        self._count = count + second
        self._at, self._lap = 0, 1
        self._first = self._last = NONE  # the packet whose end has not come yet
        self._octets = 0  # of it
        self._copies: DmaBuffer | None = transport.alloc(count * data) if data else None
        self._memory = transport.alloc(SIZE * self._count)
        view = self._memory.view
        words, halves = np.frombuffer(view, np.uint64, 2 * self._count), np.frombuffer(view, np.uint32, 4 * self._count)
        self._spans = Spans(words[1::2], halves[0::4])
        self._hash, self._words = halves[1::4], view.cast("I")
        self._told_at = layout(RX_COMP).offsets["what"] // 4
        pattern = np.arange(count, dtype=np.uint32) | np.uint32(_EOP | _SOP | index << _QUEUE_AT)
        self._patterns = Spans(pattern)
        self._describe()

    # -- up and down

    def _describe(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_setup_driver_shared``."""
        area = self.area
        for number, ring in enumerate((self._heads, self._bodies)):
            area[f"conf.rxRingBasePA[{number}]"], area[f"conf.rxRingSize[{number}]"] = ring.iova, ring.count
        area["conf.compRingBasePA"], area["conf.compRingSize"] = self._memory.iova, self._count
        area["conf.rxDataRingBasePA"] = self._copies.iova if self._copies is not None else 0
        area["conf.rxDataRingDescSize"] = self._data

    def fill(self) -> None:
        """Buffers for all descriptors, before the device becomes active. Raises ``UsageError``."""
        rings = (self._heads, self._bodies) if self._scatter else (self._heads,)
        wanted = sum(ring.count - 1 for ring in rings)
        if self._pool.available < wanted:
            has = f"the pool has {self._pool.available} free buffers and receive queue {self.index} takes {wanted}"
            raise UsageError(f"{has}: make it larger")
        for ring in rings:
            ring.refill(ring.count - 1)

    def begin(self) -> None:
        """The device is active, or wants to be told of fresh buffers."""
        self._heads.ring()
        self._bodies.ring()

    def release(self) -> None:
        """Give back all buffers and the rings, which the device does not touch any more."""
        if self._first != NONE:
            self._pool.free(np.array([self._first], np.intp))
        self._spans.forget()  # no array may look into memory that is given back
        self._hash, self._words = np.zeros(0, np.uint32), memoryview(b"")
        self._heads.release()
        self._bodies.release()
        self._memory.free()
        if self._copies is not None:
            self._copies.free()

    # -- packets

    def burst(self, out: Indices) -> int:
        """See ``drivers.ethdev``."""
        wanted, straight = len(out), self._count - self._at
        if wanted <= straight:
            used, got = self._piece(wanted, out)
        else:
            used, got = self._piece(straight, out)
            if used == straight:
                try:
                    more, packets = self._piece(min(wanted - straight, self._count - straight), out[got:])
                except RingError:  # told by the next burst, where this one has packets
                    if not got:
                        raise
                    more, packets = 0, 0
                used, got = used + more, got + packets
        if used:
            self.area.sync_for_cpu("ctrl.updateRxProd")
            if self.area["ctrl.updateRxProd"]:
                self.begin()
            self.taken += got
        return got

    def _piece(self, most: int, out: Indices) -> tuple[int, int]:
        """Up to ``most`` completions without a wrap: how many were used, how many packets they made."""
        at, pool, heads = self._at, self._pool, self._heads
        if most > pool.available:
            most = self._short_of_buffers(most)
        if not most:
            return 0, 0
        self._memory.sync_for_cpu(SIZE * at, SIZE * most)
        if self._words[4 * at + self._told_at] >> 31 != self._lap:
            return 0, 0
        words = memoryview(self._spans[at, most][0].tobytes()).cast("Q").tolist()
        lap, n = self._lap, 0
        for word in words:
            if word >> 63 != lap:
                break
            n += 1
        del words[n:]
        if self._first != NONE or n > heads.count - heads.at or (unchecked := self._plainly(at, n)) < 0:
            return self._walk(words, out)
        plain = _plain[unchecked]
        flags = [plain[word & _KNOWN] for word in words]
        lengths = [word & _LEN for word in words]
        if min(flags) < 0 or max(lengths) > heads.room or not min(lengths):
            return self._walk(words, out)
        buffers = heads.buffers[heads.at : heads.at + n].copy()
        out[:n] = buffers
        pool.length[buffers] = lengths
        pool.rx_flags[buffers] = flags
        self._parsed(buffers, words, at)
        if not self._coherent:
            pool.sync_for_cpu(buffers)
        heads.advance(n)
        heads.refill(n)
        self._used(n)
        return n, n

    def _plainly(self, at: int, n: int) -> int:
        """``n`` packets fill the next buffers of the first ring in turn, one each: 1 if none was checked, 0 if all, else -1."""
        found = (self._spans[at, n][1] & _PATTERN ^ self._patterns[self._heads.at, n][0]).tobytes()
        if found == found[:4] * n:
            return {0: 0, _CNC: 1}.get(int.from_bytes(found[:4], "little"), -1)
        return -1

    def _used(self, n: int) -> None:
        at = self._at + n
        if at == self._count:
            at, self._lap = 0, self._lap ^ 1
        self._at = at

    def _short_of_buffers(self, most: int) -> int:
        """No buffer is taken out of a ring that could not get a fresh one."""
        self._memory.sync_for_cpu(SIZE * self._at, SIZE)
        if not self._pool.available and self._words[4 * self._at + self._told_at] >> 31 == self._lap:
            self.no_buffers += 1
        return min(most, self._pool.available)

    def _parsed(self, buffers: Indices, words: list[int], at: int) -> None:
        """Tags, and types and hashes for who has asked for them."""
        pool = self._pool
        if any([word & _TS for word in words]):  # noqa: C419 - half the time of a generator
            pool.vlan[buffers] = [(word & _TCI) >> _TCI_AT for word in words]
        if self._with_types:
            pool.packet_type[buffers] = [_types[word & _KNOWN] for word in words]
        if self._with_rss:
            end = at + len(words)
            pool.rss[buffers] = self._hash[at:end]
            hashed = self._spans[at, len(words)][1] & np.uint32(_RSS) != 0
            pool.rx_flags[buffers] |= np.where(hashed, RxFlag.RSS_HASH, 0).astype(np.uint8)

    # -- all that is not plain

    def _walk(self, words: list[int], out: Indices) -> tuple[int, int]:
        """One completion after the other (vmxnet3_rxtx.c ``vmxnet3_recv_pkts``)."""
        got, used, free = 0, 0, self._pool.available
        spent = {self._heads: 0, self._bodies: 0}
        indices = self._spans[self._at, len(words)][1].tolist()
        try:
            for word, index in zip(words, indices, strict=True):
                got += self._one(word, index, self._at + used, spent, out, got)
                used += 1
        except RingError:
            if not used:
                raise  # else it is told by the next burst
        finally:
            for ring, n in spent.items():
                ring.refill(min(n, free))
            self._used(used)
        return used, got

    def _one(self, word: int, index: int, at: int, spent: dict[BufferRing, int], out: Indices, place: int) -> int:
        """One completion; 1 when a good packet ends with it."""
        pool, length = self._pool, word & _LEN
        which, number = divmod(((index & _QUEUE) >> _QUEUE_AT) - self.index, self._queues)
        what = f"receive queue {self.index}"
        if number or not 0 <= which <= (2 if self._data else 1):
            raise RingError(f"{what} completes a buffer of queue {(index & _QUEUE) >> _QUEUE_AT}; reset()")
        ring = self._bodies if which == 1 else self._heads
        if length > (self._data if which == 2 else ring.room) or self._octets + length > LONGEST:
            whole = f"{self._octets + length} octets so far" if self._octets else f"{ring.room} at most"
            raise RingError(f"a completion of {what} says {length} octets, with {whole}; reset()")
        buffer, done = ring.take(index & _INDEX, what)
        spent[ring] += done
        if which == 2:
            self._copy(buffer, index & _INDEX, length)
        pool.length[buffer] = length
        if index & _SOP and self._first != NONE:  # the one before it has no end
            self._drop()
        if self._first == NONE and not (index & _SOP and length):  # it was left out, or has no beginning
            pool.give(np.array([buffer], np.intp))
            self.errors += bool(index & _EOP and word & _ERR)
            return 0
        self._append(buffer, length)
        if not index & _EOP:
            return 0
        if word & _ERR:
            self._drop()
            return 0
        return self._complete(word, index, at, out, place)

    def _append(self, buffer: int, length: int) -> None:
        if self._first == NONE:
            self._first = buffer
        else:
            self._pool.next[self._last] = buffer
            self._pool.tx_flags[self._last] |= TxFlag.CHAINED
        self._last = buffer
        self._octets += length
        if not self._coherent:
            self._pool.sync_for_cpu(np.array([buffer], np.intp))

    def _copy(self, buffer: int, index: int, length: int) -> None:
        """The packet is short and stands in the data ring."""
        assert self._copies is not None
        at = index * self._data
        self._copies.sync_for_cpu(at, length)
        self._pool.data[buffer][:length] = self._copies.view[at : at + length]

    def _drop(self) -> None:
        self.errors += 1
        self._pool.free(np.array([self._first], np.intp))
        self._first, self._octets = NONE, 0

    def _complete(self, word: int, index: int, at: int, out: Indices, place: int) -> int:
        """The packet ends here, and is a good one."""
        first = np.array([self._first], np.intp)
        self._first, self._octets = NONE, 0
        out[place] = first[0]
        self._pool.rx_flags[first] = flags_of(word, index & _CNC)
        self._parsed(first, [word], at)
        return 1
