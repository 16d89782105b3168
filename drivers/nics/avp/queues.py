"""Queues of packets: the host's buffers are filled or emptied by copying, packet by packet.

In here: descriptors, chains, tags, and the MAC filter, which in this interface is the driver's. Pointers are translated and
checked before anything behind them is touched; one that leads elsewhere is a ``RingError``.

Source: DPDK avp_ethdev.c ``avp_xmit_scattered_pkts``, ``avp_recv_scattered_pkts``, ``avp_dev_copy_to_buffers``,
``avp_dev_copy_from_buffers``, ``_avp_mac_filter``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from drivers.errors import RingError
from drivers.mempool import Indices, Mempool, RxFlag, TxFlag
from drivers.nics.avp.fifo import Consumer, Producer
from drivers.nics.avp.memory import SharedMemory
from regmodel.layout import layout
from regmodel.rings.avp import DESC
from regmodel.structures.avp import MAX_SEGMENTS

BURST = 64
"""Packets per burst (AVP_MAX_TX_BURST, AVP_MAX_RX_BURST)."""
SIZE = layout(DESC).size
_AT = layout(DESC).offsets
_FIRST = _AT["ol_flags"]
_ROW = struct.Struct("<HQQHBxHxxxxH")
"""From ol_flags to vlan_tci: flags, next, data, data_len, nb_segs, pkt_len, vlan_tci."""
assert (_AT["next"], _AT["data"], _AT["data_len"], _AT["nb_segs"], _AT["pkt_len"], _AT["vlan_tci"]) == (
    _FIRST + 2, _FIRST + 10, _FIRST + 18, _FIRST + 20, _FIRST + 22, _FIRST + 28)  # fmt: skip
TX_VLAN, RX_VLAN = (layout(DESC).field("ol_flags", name).mask for name in ("tx_vlan_pkt", "rx_vlan_pkt"))


class HostBuffers:
    """The host's buffers: ``address`` (of the host) is at offset ``at`` of ``memory``; each holds ``room`` octets."""

    def __init__(self, memory: SharedMemory, at: int, address: int, room: int) -> None:
        self.memory, self.room = memory, room
        self._shift = at - address

    def find(self, pointer: int, size: int, what: str) -> int:
        """Where ``size`` bytes at ``pointer`` are. Raises ``RingError``."""
        at = pointer + self._shift
        if not 0 <= at <= self.memory.size - size:
            raise RingError(f"{what} is at {pointer:#x} of the host, which BAR 2 does not show; reset()")
        return at

    def describe(self, pointer: int) -> tuple[int, ...]:
        """What a descriptor says, as ``_ROW``."""
        at = self.find(pointer, SIZE, "a descriptor")
        return _ROW.unpack(self.memory.read(at + _FIRST, _ROW.size))


class TransmitQueue:
    """One queue; ``detached`` says whether the device is away."""

    def __init__(
        self, buffers: HostBuffers, pool: Mempool, tx: Producer, alloc: Consumer, detached: Callable[[], bool]
    ) -> None:
        self.buffers, self.pool, self.tx, self.alloc, self._detached = buffers, pool, tx, alloc, detached
        self.packets = self.octets = self.errors = 0

    def burst(self, packets: Indices) -> int:
        """Send ``packets`` as long as there are buffers of the host; says how many."""
        if self._detached():
            return 0
        pool, room = self.pool, self.buffers.room
        slots, left = min(self.tx.space(), BURST), self.alloc.count()
        firsts: list[int] = []
        for packet in packets.tolist():
            content = pool.content(packet)
            segments = -(-len(content) // room)
            if not 0 < segments <= MAX_SEGMENTS:
                self.errors += 1
                break
            if len(firsts) == slots or segments > left:
                break
            left -= segments
            vlan = int(pool.vlan[packet]) if pool.tx_flags[packet] & TxFlag.VLAN else None
            firsts.append(self._fill(content, self.alloc.take(segments), vlan))
            self.packets += 1
            self.octets += len(content)
        sent = packets[: len(firsts)]
        self.tx.put(firsts)
        for packet in sent.tolist():
            pool.tx_flags[packet] &= TxFlag.CHAINED  # what the pool needs to give the chain back
        pool.free(sent)
        return len(firsts)

    def _fill(self, content: bytes, pointers: Sequence[int], vlan: int | None) -> int:
        buffers, room = self.buffers, self.buffers.room
        for i, pointer in enumerate(pointers):
            flags, _, data, *_ = buffers.describe(pointer)
            part = content[i * room : (i + 1) * room]
            buffers.memory.write(buffers.find(data, len(part), "a buffer"), part)
            first = i == 0
            following = pointers[i + 1] if i + 1 < len(pointers) else 0
            tagged = first and vlan is not None
            row = _ROW.pack(
                flags | TX_VLAN if tagged else flags & ~TX_VLAN, following, data, len(part), len(pointers) if first else 1,
                len(content) if first else len(part), (vlan or 0) if tagged else 0,
            )  # fmt: skip
            buffers.memory.write(buffers.find(pointer, SIZE, "a descriptor") + _FIRST, row)
        return pointers[0]

    def reclaim(self) -> int:
        """Packets were copied and their buffers given back at once: how many there is room for."""
        return 0 if self._detached() else min(self.tx.space(), self.alloc.count())


class ReceiveQueue:
    """One queue, which serves one or several of the host's in turn. ``wanted`` is the MAC filter."""

    def __init__(
        self, buffers: HostBuffers, pool: Mempool, pairs: Sequence[tuple[Consumer, Producer]], longest: int,
        wanted: Callable[[bytes], bool], detached: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.buffers, self.pool, self._pairs, self._wanted, self._detached = buffers, pool, pairs, wanted, detached
        self._longest = longest
        self._turn = 0
        self.packets = self.octets = self.errors = self.no_buffers = self.filtered = 0

    def move(self, buffers: HostBuffers, pairs: Sequence[tuple[Consumer, Producer]]) -> None:
        """The host has everything elsewhere now."""
        self.buffers, self._pairs, self._turn = buffers, pairs, 0

    def burst(self, out: Indices) -> int:
        """Packets of the host's queue whose turn it is, at most ``len(out)`` of them; says how many."""
        if self._detached():
            return 0
        rx, free = self._pairs[self._turn]
        self._turn = (self._turn + 1) % len(self._pairs)
        count = min(rx.count(), free.space(), len(out), BURST)
        if not count:
            return 0
        pointers = rx.take(count)
        taken = 0
        for pointer in pointers:
            packet = self._packet(pointer)
            if packet >= 0:
                out[taken] = packet
                taken += 1
        free.put(pointers)
        return taken

    def _packet(self, pointer: int) -> int:
        """A packet of the pool with what is behind ``pointer``; -1 where there is none for us."""
        content, flags, tci = self._content(pointer)
        if not self._wanted(content[:6]):
            self.filtered += 1
            return -1
        packet = self.pool.put(content)
        if packet < 0:
            self.no_buffers += 1
            return -1
        self.pool.rx_flags[packet] = RxFlag.VLAN_STRIPPED if flags & RX_VLAN else 0
        self.pool.vlan[packet] = tci if flags & RX_VLAN else 0
        self.packets += 1
        self.octets += len(content)
        return packet

    def _content(self, pointer: int) -> tuple[bytes, int, int]:
        """Octets, flags and tag of a packet. Raises ``RingError``."""
        buffers = self.buffers
        flags, following, data, size, segments, octets, tci = buffers.describe(pointer)
        if not 1 <= segments <= MAX_SEGMENTS or octets > self._longest:
            raise RingError(f"a packet has {segments} segments and {octets} octets; reset()")
        parts = [buffers.memory.read(buffers.find(data, size, "a buffer"), size)]
        while len(parts) < segments and following:
            _, following, data, size, *_ = buffers.describe(following)
            parts.append(buffers.memory.read(buffers.find(data, size, "a buffer"), size))
        content = b"".join(parts)
        if len(content) != octets or len(parts) < segments:
            raise RingError(f"a packet of {octets} octets has {len(content)} in its {len(parts)} segments; reset()")
        return content, flags, tci
