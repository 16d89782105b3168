"""A ring of buffers for a receive queue, of which each has two: heads of packets, and what does not fit into the first.

In here: the ring as the driver fills it. What the device says about it stands in the completion ring (``receive``).

A descriptor belongs to the device once its bit ``gen`` is that of the lap, which begins with 1 and changes with each. One is
always left to us: a device that had them all would find the next lap's in front of it (vmxnet3_drv.c
``vmxnet3_rq_alloc_rx_buf``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivers.errors import RingError
from drivers.mempool import NONE, Indices, Mempool
from drivers.nics.spans import Spans
from drivers.nics.words import mask, value
from drivers.transports import Transport
from regmodel.layout import layout
from regmodel.rings.vmxnet3 import RX_DESC

SIZE = layout(RX_DESC).size
LARGEST = (1 << 14) - 1
"""Bytes of a buffer that a descriptor can tell (vmxnet3_defs.h ``VMXNET3_MAX_RX_BUF_SIZE``)."""
_GEN = mask(RX_DESC, "buffer", "gen")
HEAD, BODY = (value(RX_DESC, "buffer", "btype", name) for name in ("HEAD", "BODY"))


class BufferRing:
    """``count`` descriptors of ``kind`` (HEAD or BODY) for buffers of ``pool``; ``doorbell`` stores their producer index."""

    def __init__(self, doorbell: Callable[[int], None], transport: Transport, pool: Mempool, count: int, kind: int) -> None:
        self.count, self.room = count, min(pool.room, LARGEST)
        self.at = 0
        """The descriptor that the device completes next."""
        self._fill, self._lap = 0, 1
        self._doorbell, self._pool = doorbell, pool
        self._words = tuple(np.uint64(self.room | kind | _GEN * lap) for lap in (0, 1))
        self._memory = transport.alloc(SIZE * count)
        self.buffers: Indices = np.full(count, NONE, np.intp)
        columns = np.frombuffer(self._memory.view, np.uint64, 2 * count)
        self._spans = Spans(columns[0::2], columns[1::2], self.buffers)

    @property
    def iova(self) -> int:
        return self._memory.iova

    def refill(self, n: int) -> None:
        """Fresh buffers for the ``n`` descriptors that are ours, less the one which stays so."""
        while n:
            piece = min(n, self.count - self._fill)
            address, word, held = self._spans[self._fill, piece]
            fresh = self._pool.take(piece)
            held[...] = fresh
            address[...] = self._pool.iova[fresh]
            word[...] = self._words[self._lap]
            self._memory.sync_for_device(SIZE * self._fill, SIZE * piece)
            self._fill += piece
            n -= piece
            if self._fill == self.count:
                self._fill, self._lap = 0, self._lap ^ 1
        self.buffers[self._fill] = NONE

    def ring(self) -> None:
        """Tell the device how far it may go."""
        self._doorbell(self._fill)

    def advance(self, n: int) -> None:
        """The device is done with ``n`` descriptors."""
        at = self.at + n
        self.at = at if at < self.count else at - self.count

    def take(self, index: int, what: str) -> tuple[int, int]:
        """The buffer of descriptor ``index``, and how many descriptors are ours with it; those before it were left out."""
        ahead = (index - self.at) % self.count
        buffer = int(self.buffers[index]) if index < self.count else NONE
        if buffer == NONE or ahead > (self._fill - 1 - self.at) % self.count:
            raise RingError(f"{what} completes descriptor {index}, which it was not given; reset()")
        left_out = [(self.at + i) % self.count for i in range(ahead)]
        if left_out:
            self._pool.give(self.buffers[left_out])
            self.buffers[left_out] = NONE
        self.buffers[index] = NONE
        self.advance(ahead + 1)
        return buffer, ahead + 1

    def release(self) -> None:
        """Give back all buffers and the ring, which the device does not touch any more."""
        self._pool.give(self.buffers[self.buffers != NONE])
        self._spans.forget()
        self._memory.free()
