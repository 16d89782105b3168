"""Packet buffers: one block of DMA memory, and what is known of each buffer in columns.

In here: ``Mempool`` and the meaning of its columns, which are those of DPDK's ``rte_mbuf``. A packet is an index into the
pool, or a chain of them; no object exists per packet. Not in here: rings, registers, and what a device does with any of it.

Who has a buffer owns its columns: the user between ``rx_burst`` or ``alloc`` and ``tx_burst`` or ``free``, else the pool or
a device. Indices are ``numpy.intp``, since numpy converts any other type at each use (five times the cost of the use itself),
and so are lengths, which are looked up by.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.transports import Transport
from regmodel.errors import UsageError
from regmodel.function import Buffer

Indices: TypeAlias = NDArray[np.intp]

NONE = -1
"""No buffer."""
MAX_ROOM = 0xFFC0
"""Bytes of the largest buffer: a length has 16 bits."""
HEADROOM = 64
"""Bytes before each buffer that are the driver's (``RTE_PKTMBUF_HEADROOM``): virtio-net puts its header there."""


class RxFlag:
    """What the device said of a received packet, in column ``rx_flags`` (``RTE_MBUF_F_RX_*``).

    Plain numbers, as all flags of packets: numpy takes no others into a column of bytes, and ``enum.Flag`` takes a
    microsecond to combine two. ``names`` spells them out.
    """

    IP_CKSUM_GOOD = 0x01
    IP_CKSUM_BAD = 0x02
    L4_CKSUM_GOOD = 0x04
    L4_CKSUM_BAD = 0x08
    L4_CKSUM_NONE = 0x0C  # the payload is good, though its checksum has not been filled in (a guest of the same host sent it)
    VLAN_STRIPPED = 0x10  # the tag is in column ``vlan`` and no longer in the packet
    RSS_HASH = 0x20  # ``rss`` is valid
    LOOPBACK = 0x40  # from another function of the same port; DPDK has no such flag


class TxFlag:
    """What the device is asked to do to a packet, in column ``tx_flags`` of its first buffer (``RTE_MBUF_F_TX_*``).

    ``CHAINED`` alone is set in every buffer but the last one: ``next`` is valid. All are 0 in a fresh buffer.
    """

    CHAINED = 0x01
    VLAN = 0x02  # insert ``vlan``
    IP_CKSUM = 0x04  # insert the IPv4 header checksum
    IPV6 = 0x08  # the packet is IPv6
    TCP_CKSUM = 0x10
    UDP_CKSUM = 0x20
    SCTP_CKSUM = 0x30
    L4_MASK = 0x30  # one of these three, or 0 for none
    TCP_SEG = 0x40  # cut into segments of ``tso_segsz``; implies TCP_CKSUM


class PacketType:
    """What the device's parser found, in column ``packet_type`` (``RTE_PTYPE_*``, one bit each)."""

    IPV4 = 0x01
    IPV4_EXT = 0x02
    IPV6 = 0x04
    IPV6_EXT = 0x08
    TCP = 0x10
    UDP = 0x20
    SCTP = 0x40


def names(kind: type[RxFlag | TxFlag | PacketType], flags: int) -> list[str]:
    """The flags of ``kind`` that are set, for people."""
    return [name for name, bits in vars(kind).items() if isinstance(bits, int) and flags & bits == bits]


class Mempool:
    """``count`` buffers of ``room`` bytes, which the device behind ``transport`` can reach.

    Columns, by buffer index: ``iova`` (bus address), ``length`` (bytes in this buffer), ``next``, ``tx_flags``, ``rx_flags``,
    ``vlan`` (the whole TCI), ``packet_type``, ``rss``; what offloads need to know: ``l2_len``, ``l3_len``, ``l4_len``,
    ``tso_segsz`` (bytes). ``data[i]`` is the memory of buffer ``i``; ``octets`` is all of it, a row per buffer. ``heads`` are
    the ``HEADROOM`` bytes before each, which are the driver's and whose content means nothing between two of its uses.

    Raises ``UsageError`` for sizes that no pool can have.
    """

    def __init__(self, transport: Transport, count: int, room: int = 2048) -> None:
        if count < 1 or not 64 <= room <= MAX_ROOM or room % 64:
            text = f"a pool has 1 or more buffers of 64 to {MAX_ROOM} bytes, in 64, not {count} of {room}"
            raise UsageError(text)
        self.transport, self.count, self.room = transport, count, room
        self.stride = stride = HEADROOM + room
        self.memory = transport.alloc(count * stride)
        view = self.memory.view
        self.data: Sequence[memoryview] = tuple(view[i * stride + HEADROOM : (i + 1) * stride] for i in range(count))
        rows: NDArray[np.uint8] = np.frombuffer(view, np.uint8, count * stride).reshape(count, stride)
        self.heads, self.octets = rows[:, :HEADROOM], rows[:, HEADROOM:]
        first = np.uint64(self.memory.iova + HEADROOM)
        self.iova: NDArray[np.uint64] = np.arange(count, dtype=np.uint64) * np.uint64(stride) + first
        self.length = np.zeros(count, np.intp)
        self.next = np.full(count, NONE, np.intp)
        self.tx_flags = np.zeros(count, np.uint8)
        self.rx_flags = np.zeros(count, np.uint8)
        self.vlan = np.zeros(count, np.uint16)
        self.packet_type = np.zeros(count, np.uint8)
        self.rss = np.zeros(count, np.uint32)
        self.l2_len, self.l3_len = np.zeros(count, np.uint8), np.zeros(count, np.uint16)
        self.l4_len, self.tso_segsz = np.zeros(count, np.uint8), np.zeros(count, np.uint16)
        self._stack = np.arange(count - 1, -1, -1, dtype=np.intp)
        self.available = count
        """How many buffers are free."""

    # -- in bulk

    def alloc(self, count: int) -> Indices:
        """``count`` fresh buffers, or an empty array when fewer are free (``rte_pktmbuf_alloc_bulk``)."""
        return self.take(count).copy() if count <= self.available else self._stack[:0]

    def free(self, packets: Indices) -> None:
        """Give packets back, chains whole (``rte_pktmbuf_free_bulk``). Raises ``UsageError`` when they were free already."""
        flags = self.tx_flags[packets].tobytes()
        if flags.count(0) < len(flags):
            packets = self.buffers_of(packets)
            self.tx_flags[packets] = 0
        self.give(packets)

    def take(self, count: int) -> Indices:
        """For drivers: ``count`` buffers, of which there must be as many. Valid until the next call of this pool."""
        self.available = end = self.available - count
        return self._stack[end : end + count]

    def give(self, buffers: Indices) -> None:
        """For drivers: give back buffers whose ``tx_flags`` are 0, as they are."""
        start = self.available
        self.available = end = start + len(buffers)
        if end > self.count:
            self.available = start
            raise UsageError("more buffers were given back than the pool has: a packet was freed or sent twice")
        self._stack[start:end] = buffers

    # -- one packet: for tests, files and the slow path

    def put(self, packet: Buffer) -> int:
        """A fresh packet with this content, chained where one buffer is too small; ``NONE`` when the pool is empty."""
        room = self.room
        buffers = self.alloc(max(1, -(-len(packet) // room))).tolist()
        for place, i in enumerate(buffers):
            piece = packet[place * room : (place + 1) * room]
            self.data[i][: len(piece)] = piece
            self.length[i] = len(piece)
        self.chain(buffers)
        return buffers[0] if buffers else NONE

    def chain(self, buffers: Sequence[int]) -> None:
        """Make these buffers one packet, in this order (``rte_pktmbuf_chain``)."""
        for i, following in pairwise(buffers):
            self.next[i] = following
            self.tx_flags[i] |= TxFlag.CHAINED

    def chain_of(self, packet: int) -> list[int]:
        """The buffers of one packet, in order."""
        buffers = [packet]
        while self.tx_flags[buffers[-1]] & TxFlag.CHAINED:
            buffers.append(int(self.next[buffers[-1]]))
            if len(buffers) > self.count:
                raise UsageError(f"the chain of buffer {packet} has no end")
        return buffers

    def buffers_of(self, packets: Indices) -> Indices:
        """All buffers of several packets, one after the other."""
        return np.array([i for packet in packets.tolist() for i in self.chain_of(packet)], np.intp)

    def packet_length(self, packet: int) -> int:
        """Bytes of a packet over all of its buffers (``rte_pktmbuf_pkt_len``)."""
        return sum(int(self.length[i]) for i in self.chain_of(packet))

    def content(self, packet: int) -> bytes:
        """A copy of a packet's bytes."""
        return b"".join(self.data[i][: self.length[i]] for i in self.chain_of(packet))

    def close(self) -> None:
        """Give the memory back. No device may have any of the buffers, and no view of them may be used any more."""
        self.data = ()
        self.heads = self.octets = np.zeros((0, 0), np.uint8)
        self.memory.free()

    # -- transports that are not coherent

    def sync_for_device(self, buffers: Indices, ahead: int = 0) -> None:
        """Hand over what is in these buffers, and ``ahead`` bytes of headroom, where ``Transport.coherent`` is False."""
        for i, size in zip(buffers.tolist(), self.length[buffers].tolist(), strict=True):
            self.memory.sync_for_device(i * self.stride + HEADROOM - ahead, size + ahead)

    def sync_for_cpu(self, buffers: Indices, ahead: int = 0) -> None:
        """Take over what the device stored in these buffers."""
        for i, size in zip(buffers.tolist(), self.length[buffers].tolist(), strict=True):
            self.memory.sync_for_cpu(i * self.stride + HEADROOM - ahead, size + ahead)
