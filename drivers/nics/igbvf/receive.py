"""A receive queue: a ring of free buffers that the device fills, in order.

In here: the ring and its burst. A burst reads what was written back as a column; where all packets are whole and in one
buffer (the plain case) everything else is done by column, too, else one descriptor after the other. Consumed descriptors
get fresh buffers at once, and RDT is stored once per burst. Headers are not split off.

The device owns the descriptors from ours (``_at``) up to RDT, exclusive: the one at RDT has a buffer and waits.

Sources: DS 7.1.5 (descriptors), 8.10 (registers); Linux igbvf/netdev.c ``igbvf_configure_rx``, ``igbvf_clean_rx_irq``;
DPDK igb_rxtx.c ``eth_igbvf_rx_init``, ``eth_igb_recv_pkts``, ``eth_igb_recv_scattered_pkts``.
"""

from __future__ import annotations

import numpy as np

from drivers.errors import RingError
from drivers.ethdev import QueueSetup, RxOffload
from drivers.mempool import NONE, Indices, PacketType, RxFlag, TxFlag
from drivers.nics.spans import Spans
from drivers.nics.words import mask, shift
from drivers.registers.igbvf import Igbvf
from drivers.transports import Transport
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.rings.igb import RX_READ, RX_WRITEBACK

SIZE = layout(RX_READ).size
PTHRESH, HTHRESH, WTHRESH = 16, 8, 1
"""igbvf.h ``IGBVF_RX_PTHRESH`` and its like; WTHRESH is 1 for an erratum of the 82576 (igb_rxtx.c ``eth_igbvf_rx_init``)."""
ENABLE_TIME = 0.1
"""Seconds for RXDCTL.ENABLE to read back. No driver of this family waits for it; that of the next does, 10 ms (DPDK
ixgbe_rxtx.c ``ixgbevf_dev_rxtx_start``)."""
LONGEST = 16 * 1024
"""Octets in which a packet must have ended; the longest that the device receives has 9.5 KiB (DS table 1-1)."""
KIB = 1024

_DD, _EOP, _IXSM, _VP, _UDPCS, _L4CS, _IPCS, _LB, _L4E, _IPE = (
    mask(RX_WRITEBACK, "status_error", name)
    for name in ("dd", "eop", "ixsm", "vp", "udpcs", "l4cs", "ipcs", "lb", "l4e", "ipe")
)
_BROKEN = sum(mask(RX_WRITEBACK, "status_error", name) for name in ("ce", "se", "seq", "cxe", "rxe"))
"""The frame is damaged (igbvf/vf.h ``E1000_RXDEXT_ERR_FRAME_ERR_MASK``)."""
_TYPES = (
    ("ipv4", PacketType.IPV4),
    ("ipv4_ex", PacketType.IPV4_EXT),
    ("ipv6", PacketType.IPV6),
    ("ipv6_ex", PacketType.IPV6_EXT),
    ("tcp", PacketType.TCP),
    ("udp", PacketType.UDP),
    ("sctp", PacketType.SCTP),
)
_STRIPPED = RxFlag.VLAN_STRIPPED
_STATUS, _LENGTH = 0xFFFF_FFFF, shift(RX_WRITEBACK, "length")
"""Within the second 64 bits of a write-back."""
_STATUS_AT = layout(RX_WRITEBACK).offsets["status_error"] // 4
_ETQF, _RSS = mask(RX_WRITEBACK, "pkt_info", "etqf"), mask(RX_WRITEBACK, "pkt_info", "rss_type")


def flags_of(status: int) -> int:
    """``RxFlag`` of the last descriptor of a packet (netdev.c ``igbvf_rx_checksum_adv``)."""
    flags = 0
    if status & _IPCS and not status & _IXSM:
        flags |= RxFlag.IP_CKSUM_BAD if status & _IPE else RxFlag.IP_CKSUM_GOOD
    if status & (_L4CS | _UDPCS) and not status & _IXSM:
        flags |= RxFlag.L4_CKSUM_BAD if status & _L4E else RxFlag.L4_CKSUM_GOOD
    if status & _VP:
        flags |= RxFlag.VLAN_STRIPPED
    if status & _LB:
        flags |= RxFlag.LOOPBACK
    return flags


class _Plain(dict[int, int]):
    """Flags by status for packets that are whole, in one buffer and undamaged; -1 for any other status."""

    def __missing__(self, status: int) -> int:
        plain = status & _DD and status & _EOP and not status & _BROKEN
        self[status] = flags = flags_of(status) if plain else -1
        return flags


class _Types(dict[int, int]):
    """``PacketType`` by the first 16 bits of a write-back."""

    def __missing__(self, info: int) -> int:
        found = 0 if info & _ETQF else sum(kind for name, kind in _TYPES if info & mask(RX_WRITEBACK, "pkt_info", name))
        self[info] = found
        return found


_plain, _types = _Plain(), _Types()


class ReceiveQueue:
    """Queue ``index``, running once it is made. ``taken`` counts packets handed out; ``swapped``: tags of loopback packets are
    big-endian (I350: netdev.c ``igbvf_receive_skb``)."""

    def __init__(
        self, registers: Igbvf, transport: Transport, index: int, setup: QueueSetup, offloads: RxOffload, *, swapped: bool
    ) -> None:
        self.index, self.registers, self.swapped = index, registers, swapped
        self.taken = self.errors = self.no_buffers = 0
        self._transport, self._pool, self._drop, self._count = transport, setup.pool, setup.drop, setup.descriptors
        self._room = setup.pool.room // KIB * KIB
        self._with_types = bool(offloads & RxOffload.PACKET_TYPE)
        self._with_rss = bool(offloads & RxOffload.RSS_HASH)
        self._coherent = transport.coherent
        self._store_tail = registers.rdt[index].store
        self._at = 0
        self._first = self._last = NONE  # the packet whose end has not come yet
        self._octets = 0  # of it
        self._memory = transport.alloc(SIZE * self._count)
        view = self._memory.view
        given = np.frombuffer(view, layout(RX_READ).dtype, self._count)
        taken = np.frombuffer(view, layout(RX_WRITEBACK).dtype, self._count)
        self._status, self._length, self._tag = taken["status_error"], taken["length"], taken["vlan"]
        self._info, self._hash = taken["pkt_info"], taken["rss"]
        self._words = view.cast("I")
        self._tagged: int | bool = False  # the last burst looked at has VLAN tags
        self._buffers: Indices = np.full(self._count, NONE, np.intp)
        results = np.frombuffer(view, np.uint64, 2 * self._count)[1::2]  # status, length and tag
        self._spans = Spans(results, self._buffers, given["pkt_addr"], given["hdr_addr"])
        try:
            self._start()
        except BaseException:
            self.release()
            raise

    # -- up and down

    def _start(self) -> None:
        """netdev.c ``igbvf_configure_rx`` and ``igbvf_setup_srrctl``; the device was reset, so the queue is disabled.

        The ring begins at RDH: QEMU's igb lets that survive the reset of a VF (hw/net/igb_core.c ``igb_vf_reset``), and it is
        read-only, though igbvf writes 0 to it.
        """
        r, q = self.registers, self.index
        base = self._memory.iova
        r.rdbal[q].write(base & 0xFFFF_FFFF)
        r.rdbah[q].write(base >> 32)
        r.rdlen[q].write(SIZE * self._count)
        r.srrctl[q].write(bsizepacket=self._room // KIB, desctype="ADV_ONEBUF", drop_en=int(self._drop))
        self._at = head = r.rdh[q].read()
        if head >= self._count:
            text = f"RDH[{q}] is {head} after a reset, beyond a ring of {self._count} descriptors: configure a larger one"
            raise RingError(text)
        if self._pool.available < self._count:
            text = f"the pool has {self._pool.available} free buffers and receive queue {q} takes {self._count}: make it larger"
            raise UsageError(text)
        r.rdt[q].write(head)
        r.rxdctl[q].write(pthresh=PTHRESH, hthresh=HTHRESH, wthresh=WTHRESH, enable=1)
        r.rxdctl[q].wait(enable=1, timeout=ENABLE_TIME)
        self._refill(self._count - head)
        if head:
            self._refill(head)
        self._store_tail((head or self._count) - 1)

    def stop(self) -> None:
        """netdev.c ``igbvf_down``."""
        with self.registers.rxdctl[self.index].modify() as control:
            control.enable = 0

    def release(self) -> None:
        """Give back all buffers and the ring, which the device does not touch any more."""
        held = self._buffers[self._buffers != NONE]
        self._pool.give(held)
        if self._first != NONE:
            self._pool.free(np.array([self._first], np.intp))
        self._spans.forget()  # no array may look into memory that is given back
        self._status = self._length = self._tag = self._info = self._hash = np.zeros(0, np.uint64)
        self._words = memoryview(b"")
        self._memory.free()

    def check(self, head: int) -> None:
        """Look whether the ring is as it was left; ``head`` is RDH. Raises ``RingError``."""
        if head >= self._count:
            raise RingError(f"RDH[{self.index}] is {head}, and the ring has {self._count} descriptors; reset()")
        tail = (self._at - 1) % self._count
        self._memory.sync_for_cpu(SIZE * tail, SIZE)
        if int(self._status[tail]) & _DD:
            text = f"receive descriptor {tail} of queue {self.index} was written back and had not been given; reset()"
            raise RingError(text)

    # -- packets

    def burst(self, out: Indices) -> int:
        """See ``drivers.ethdev``."""
        wanted, at, count = len(out), self._at, self._count
        straight = count - at
        if wanted <= straight:
            used, got = self._piece(at, wanted, out)
        else:
            used, got = self._piece(at, straight, out)
            if used == straight:
                more, packets = self._after_the_wrap(min(wanted - straight, at), out, got)
                used, got = used + more, got + packets
        if used:
            self._store_tail((self._at or count) - 1)
            self.taken += got
        return got

    def _after_the_wrap(self, most: int, out: Indices, got: int) -> tuple[int, int]:
        """The rest of a burst. What is wrong there is told by the next burst, where this one has packets."""
        try:
            return self._piece(0, most, out[got:])
        except RingError:
            if not got:
                self._store_tail(self._count - 1)
                raise
            return 0, 0

    def _piece(self, at: int, most: int, out: Indices) -> tuple[int, int]:
        """Up to ``most`` descriptors without a wrap: how many were used, how many packets they made."""
        pool = self._pool
        if most > pool.available:
            most = self._short_of_buffers(at, most)
        if not most:
            return 0, 0
        self._memory.sync_for_cpu(SIZE * at, SIZE * most)
        if not self._words[_STATUS_AT + 4 * at]:  # as the driver left it: not done
            return 0, 0
        n, flags, lengths = self._look(at, most)
        if flags is None:
            return self._walk(at, n, out)
        _, buffers, _, _ = self._spans[at, n]
        out[:n] = buffers
        pool.length[buffers] = lengths
        pool.rx_flags[buffers] = flags
        if self._tagged:
            self._tags(buffers, at)
        if self._with_types or self._with_rss:
            self._parsed(buffers, at)
        if not self._coherent:
            pool.sync_for_cpu(buffers)
        self._refill(n)
        return n, n

    def _look(self, at: int, most: int) -> tuple[int, int | list[int] | None, int | Indices]:
        """How many descriptors are done, their flags and lengths: one number each where all are alike.

        The flags are None where not all is plain.
        """
        raw = self._spans[at, most][0].tobytes()
        first = raw[:8]
        if raw == first * most:
            word = int.from_bytes(first, "little")
            flags, length = _plain[word & _STATUS], word >> _LENGTH & 0xFFFF
            self._tagged = flags & _STRIPPED
            plain = flags >= 0 and length <= self._room and self._first == NONE
            return most, flags if plain else None, length
        words = memoryview(raw).cast("I").tolist()[::2]
        n = words.index(0) if 0 in words else most
        known = [_plain[word] for word in words[:n]]
        lengths = np.frombuffer(raw, np.uint16)[_LENGTH // 16 : 4 * n : 4].astype(np.intp)
        self._tagged = any([flags & _STRIPPED for flags in known])  # noqa: C419 - half the time of a generator
        plain = min(known) >= 0 and lengths.max() <= self._room and self._first == NONE
        return n, known if plain else None, lengths

    def _refill(self, count: int) -> None:
        """Fresh buffers for ``count`` descriptors from ours on, which do not wrap; ours is behind them then."""
        at = self._at
        end = at + count
        _, buffers, packet_address, header_address = self._spans[at, count]
        fresh = self._pool.take(count)
        buffers[...] = fresh
        packet_address[...] = self._pool.iova[fresh]
        header_address[...] = 0  # and with it the status
        self._memory.sync_for_device(SIZE * at, SIZE * count)
        self._at = end if end < self._count else 0

    def _short_of_buffers(self, at: int, most: int) -> int:
        """No descriptor is consumed that could not get a fresh buffer."""
        self._memory.sync_for_cpu(SIZE * at, SIZE)
        if not self._pool.available and int(self._status[at]) & _DD:
            self.no_buffers += 1
        return min(most, self._pool.available)

    # -- all that is not plain

    def _walk(self, at: int, n: int, out: Indices) -> tuple[int, int]:
        """One descriptor after the other (igb_rxtx.c ``eth_igb_recv_scattered_pkts``)."""
        pool, got, used = self._pool, 0, 0
        buffers = self._buffers[at : at + n]
        columns = (buffers, self._length[at : at + n], self._status[at : at + n])
        for buffer, length, status in zip(*(column.tolist() for column in columns), strict=True):
            whole = length + (0 if self._first == NONE else self._octets)
            if not status & _DD:
                break
            if length > self._room or whole > LONGEST:
                if used:  # first hand out what is good
                    break
                raise self._impossible(length, whole)
            pool.length[buffer] = length
            if self._first == NONE:
                self._first = buffer
            else:
                pool.next[self._last] = buffer
                pool.tx_flags[self._last] |= TxFlag.CHAINED
            self._last = buffer
            self._octets = whole
            if status & _EOP:
                got += self._complete(at + used, status, out, got)
            used += 1
        if not self._coherent:
            pool.sync_for_cpu(buffers[:used])
        if used:
            self._refill(used)
        return used, got

    def _impossible(self, length: int, whole: int) -> RingError:
        what = f"a write-back of receive queue {self.index} says {length} octets, and its buffers have {self._room}"
        if length <= self._room:
            what = f"a packet of receive queue {self.index} has {whole} octets and no end, and the longest has {LONGEST}"
        return RingError(f"{what}; reset()")

    def _complete(self, at: int, status: int, out: Indices, place: int) -> int:
        """The packet ends here; 1 when it is a good one."""
        pool = self._pool
        first = np.array([self._first], np.intp)
        self._first = NONE
        if status & _BROKEN:
            self.errors += 1
            pool.free(first)
            return 0
        out[place] = first[0]
        pool.rx_flags[first] = flags_of(status)
        if status & _VP:
            self._tags(first, at)
        if self._with_types or self._with_rss:
            self._parsed(first, at)
        return 1

    def _tags(self, buffers: Indices, at: int) -> None:
        end = at + len(buffers)
        tags = self._tag[at:end].copy()
        if self.swapped:
            local = self._status[at:end] & _LB != 0
            tags[local] = tags[local].byteswap()
        self._pool.vlan[buffers] = tags

    def _parsed(self, buffers: Indices, at: int) -> None:
        """Packet types and hashes, for who has asked for them."""
        pool, end = self._pool, at + len(buffers)
        infos = self._info[at:end].tolist()
        if self._with_types:
            pool.packet_type[buffers] = [_types[info] for info in infos]
        if self._with_rss:
            pool.rss[buffers] = self._hash[at:end]
            pool.rx_flags[buffers] |= np.array([RxFlag.RSS_HASH if info & _RSS else 0 for info in infos], np.uint8)
