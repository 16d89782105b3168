"""A receive queue: free buffers that the device fills, a packet into one of them or merged from several.

In here: the burst. Headers are read as columns; where all packets are whole and in one buffer (the plain case) everything
else is done by column, too. Consumed buffers get fresh ones at once, and the device is notified once per burst, if it wants
to be.

Sources: VIRTIO 1.3, 5.1.6.3 and 5.1.6.4; DPDK drivers/net/virtio/virtio_rxtx.c ``virtio_recv_pkts``,
``virtio_recv_mergeable_pkts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.ethdev import QueueSetup
from drivers.mempool import NONE, Indices, TxFlag
from drivers.nics.virtio import header
from drivers.nics.virtio.virtqueue import Virtqueue
from drivers.transports import Transport


class ReceiveQueue:
    """Queue pair ``index`` on ``ring``. ``packets`` and ``octets`` count what was handed out; ``header_size`` in octets.

    ``inline``: header and packet may share a descriptor; else each buffer takes two. ``merges``: a packet may take several
    buffers, of which the first alone has a header. It runs once it is filled.
    """

    def __init__(
        self, transport: Transport, index: int, ring: Virtqueue, setup: QueueSetup, header_size: int,
        *, inline: bool, merges: bool,
    ) -> None:  # fmt: skip
        self.index, self.ring = index, ring
        self.packets = self.octets = self.errors = self.no_buffers = 0
        self._pool, self._room, self._header, self._inline = setup.pool, setup.pool.room, header_size, inline
        self._most = min(setup.descriptors, ring.size if inline else ring.size // 2)
        self._coherent = transport.coherent
        self._headers: NDArray[Any] = header.columns(setup.pool, header_size)
        self._merges = merges
        self._given = self._room if merges else self._room + header_size
        """Octets that the device may fill. Where it merges, a buffer's worth: what has no header must fit behind its place."""
        self._first = self._last = NONE  # the packet whose end has not come yet
        self._missing = 0  # so many buffers of it
        self._notify: Callable[[int], None] | None = None

    def fill(self, notify: Callable[[int], None]) -> None:
        """Let packets come; ``notify`` tells the device of ``ring.position``."""
        self._notify = notify
        self._refill(self._most)

    def release(self) -> None:
        """Give back all buffers and the ring, which the device does not touch any more."""
        self._pool.give(self.ring.outstanding())
        if self._first != NONE:
            self._pool.free(np.array([self._first], np.intp))
        self._headers = self._headers[:0].copy()  # no array may look into memory that is given back
        self.ring.release()

    # -- packets

    def burst(self, out: Indices) -> int:
        """See ``drivers.ethdev``."""
        most = len(out)
        if most > self._pool.available:
            self._short_of_buffers()
            most = self._pool.available
        buffers, lengths = self.ring.take(most)
        n = len(buffers)
        if not n:
            return 0
        octets = lengths.astype(np.intp) - self._header
        self._pool.length[buffers] = octets
        if not self._coherent:
            self._pool.sync_for_cpu(buffers, self._header)
        headers = self._headers[buffers]
        if self._is_plain(headers, octets):
            out[:n] = buffers
            self._pool.rx_flags[buffers] = header.RX_FLAGS[headers["flags"]]
            self.packets += n
            self.octets += int(octets.sum())
            got = n
        else:
            got = self._walk(buffers, lengths, headers, out)
        self._refill(n)
        return got

    def _is_plain(self, headers: NDArray[Any], octets: Indices) -> bool:
        """All packets are whole, in one buffer, of a possible length."""
        if self._first != NONE or octets.min() < 0 or octets.max() > self._room:
            return False
        return not self._merges or bool((headers["num_buffers"] == 1).all())

    def _refill(self, count: int) -> None:
        fresh = self._pool.take(count).copy()
        addresses = self._pool.iova[fresh]
        size = self._header
        if self._inline:
            self.ring.add(addresses - np.uint64(size), self._given, fresh, written=True)
        else:
            for address, buffer in zip(addresses.tolist(), fresh.tolist(), strict=True):
                self.ring.add_chain(((address - size, size, True), (address, self._room, True)), buffer)
        if self.ring.publish() and self._notify is not None:
            self._notify(self.ring.position)

    def _short_of_buffers(self) -> None:
        """No buffer is consumed that could not be replaced."""
        if not self._pool.available and self.ring.pending():
            self.no_buffers += 1

    # -- all that is not plain

    def _walk(self, buffers: Indices, lengths: NDArray[Any], headers: NDArray[Any], out: Indices) -> int:
        """One buffer after the other (virtio_rxtx.c ``virtio_recv_mergeable_pkts``)."""
        pool, got = self._pool, 0
        for place, (buffer, length) in enumerate(zip(buffers.tolist(), lengths.tolist(), strict=True)):
            start = self._first == NONE
            if start:
                self._missing = int(headers["num_buffers"][place]) if self._merges else 1
            octets = length - self._header
            if not start:
                octets = self._move_up(buffer, length)
            if not 0 <= octets <= self._room or not self._missing:
                self._drop(buffer)
                continue
            pool.length[buffer] = octets
            if start:
                self._first = buffer
                pool.rx_flags[buffer] = header.RX_FLAGS[headers["flags"][place]]
            else:
                pool.next[self._last] = buffer
                pool.tx_flags[self._last] |= TxFlag.CHAINED
            self._last = buffer
            self._missing -= 1
            if not self._missing:
                out[got] = self._first
                self.packets += 1
                self.octets += pool.packet_length(self._first)
                self._first = NONE
                got += 1
        return got

    def _move_up(self, buffer: int, length: int) -> int:
        """A buffer that goes on with a packet has no header: what is in the place of one belongs to the packet."""
        pool, size = self._pool, self._header
        if length > self._room:
            return length  # cannot be: it was given that much and the header
        head = pool.heads[buffer, -size:].tobytes()
        whole = head[: min(size, length)] + bytes(pool.data[buffer][: max(length - size, 0)])
        pool.data[buffer][:length] = whole
        return length

    def _drop(self, buffer: int) -> None:
        """What the device says of this buffer cannot be: it is lost, and what it goes on with."""
        self.errors += 1
        lost = [buffer]
        if self._first != NONE:
            lost += self._pool.chain_of(self._first)
            self._first = NONE
        given = np.array(lost, np.intp)
        self._pool.tx_flags[given] = 0
        self._pool.give(given)
