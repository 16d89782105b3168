"""A transmit queue: packets that the device sends.

In here: the burst. Packets which are whole in one buffer and ask for nothing (the plain case) are handed over by column, any
other one after the other; VLAN tags are put in by software, as every driver of this device does. The device is notified once
per burst, if it wants to be, and is not asked to interrupt: what it has used is looked at when descriptors run low.

Sources: VIRTIO 1.3, 5.1.6.2; DPDK drivers/net/virtio/virtio_rxtx.c ``virtio_xmit_pkts``, ``virtqueue_enqueue_xmit``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.ethdev import QueueSetup
from drivers.mempool import HEADROOM, Indices, TxFlag
from drivers.nics.virtio import header
from drivers.nics.virtio.virtqueue import Piece, Virtqueue
from drivers.transports import Transport
from regmodel.errors import UsageError

LONGEST = 0xFFFF
"""Octets of a packet that is to be segmented: its IP header says its length in 16 bits, and nothing longer comes from it."""


class TransmitQueue:
    """Queue pair ``index`` on ``ring``. ``packets`` and ``octets`` count what was taken; ``header_size`` in octets.

    ``inline``: header and packet may share a descriptor; else each packet takes one more. ``notify`` tells the device of
    ``ring.position``.
    """

    def __init__(
        self, transport: Transport, index: int, ring: Virtqueue, setup: QueueSetup, header_size: int, *, inline: bool
    ) -> None:
        self.index, self.ring = index, ring
        self.packets = self.octets = 0
        self._notify: Callable[[int], None] | None = None
        self._pool, self._header, self._inline = setup.pool, header_size, inline
        self._coherent = transport.coherent
        self._headers: NDArray[Any] = header.columns(setup.pool, header_size)
        self._none = np.zeros((), self._headers.dtype)
        self._low = ring.size // 4  # fewer free ones than that: see what is done (DPDK's tx_free_thresh)

    def run(self, notify: Callable[[int], None]) -> None:
        """The device looks at the ring from now on."""
        self._notify = notify

    def release(self) -> None:
        """Give back all buffers and the ring, which the device does not touch any more."""
        self._give_back(self.ring.outstanding())
        self._headers = self._headers[:0].copy()  # no array may look into memory that is given back
        self.ring.release()

    # -- packets

    def burst(self, packets: Indices) -> int:
        """See ``drivers.ethdev``."""
        n, ring, pool = len(packets), self.ring, self._pool
        if ring.free < n or ring.free < self._low:
            self.reclaim()
        flags = pool.tx_flags[packets].tobytes()
        if flags.count(0) < n or not self._inline:
            return self._walk(packets)
        if n > ring.free:
            n = ring.free
            packets = packets[:n]
        if not n:
            return 0
        lengths = pool.length[packets]
        self._headers[packets] = self._none
        if not self._coherent:
            pool.sync_for_device(packets, self._header)
        ring.add(pool.iova[packets] - np.uint64(self._header), lengths + self._header, packets, written=False)
        self._tell()
        self.packets += n
        self.octets += int(lengths.sum())
        return n

    def _tell(self) -> None:
        if self.ring.publish() and self._notify is not None:
            self._notify(self.ring.position)

    def reclaim(self) -> int:
        """See ``drivers.ethdev``."""
        packets, _ = self.ring.take(self.ring.size)
        if len(packets):
            self._give_back(packets)
        return self.ring.free

    def _give_back(self, packets: Indices) -> None:
        """Sent packets, whole, to their pool."""
        flags = self._pool.tx_flags[packets].tobytes()
        if flags.count(0) < len(flags):
            buffers = self._pool.buffers_of(packets)
            self._pool.tx_flags[buffers] = 0
            packets = buffers
        self._pool.give(packets)

    # -- all that is not plain

    def _walk(self, packets: Indices) -> int:
        """One packet after the other (virtio_rxtx.c ``virtqueue_enqueue_xmit``)."""
        taken = 0
        for packet in packets.tolist():
            chain = self._pool.chain_of(packet)
            needed = len(chain) + (0 if self._inline else 1)
            if needed > self.ring.free and needed > self.reclaim():
                self._check_fits(packet, needed)
                break
            length = self._pool.packet_length(packet)
            if length > LONGEST:
                self._check_fits(packet, needed, length)
            self.ring.add_chain(self._pieces(packet, chain), packet)
            taken += 1
            self.octets += length
        self._tell()
        self.packets += taken
        return taken

    def _check_fits(self, packet: int, descriptors: int, length: int = 0) -> None:
        """Raises ``UsageError`` for a packet that can never go; those before it in its burst have been taken."""
        if descriptors > self.ring.size or length > LONGEST:
            self._tell()
            has = f"packet {packet} has {self._pool.packet_length(packet)} bytes and takes {descriptors} descriptors"
            raise UsageError(f"{has}, and transmit queue {self.index} takes {LONGEST} bytes in {self.ring.size}")

    def _pieces(self, packet: int, chain: list[int]) -> list[Piece]:
        """The stretches of memory of a packet, header first."""
        pool, size = self._pool, self._header
        header.ask(pool, self._headers, packet)
        tag = 0
        if pool.tx_flags[packet] & TxFlag.VLAN:
            tag = header.TAG
            record = self._headers[packet]
            for name in ("csum_start", "hdr_len"):
                if record[name]:
                    record[name] += tag
            asked = pool.heads[packet, HEADROOM - size :].copy()
            header.insert_tag(pool, packet)
            pool.heads[packet, HEADROOM - tag - size : HEADROOM - tag] = asked
        if not self._coherent:
            pool.sync_for_device(np.array(chain[:1], np.intp), size + tag)
            pool.sync_for_device(np.array(chain[1:], np.intp))
        addresses, lengths = pool.iova[chain].tolist(), pool.length[chain].tolist()
        ahead = size + tag
        first = addresses[0] - ahead, lengths[0] + ahead, False
        rest = [(address, length, False) for address, length in zip(addresses[1:], lengths[1:], strict=True)]
        if self._inline:
            return [first, *rest]
        return [(first[0], size, False), (first[0] + size, first[1] - size, False), *rest]
