"""A transmit queue of a virtio network device: from buffers that the driver made available to frames for the switch.

In here: the burst. What a chain is belongs to ``queue``, what a header says to ``header``.

A doorbell starts a burst: up to 64 buffers, all frames to the switch in one call, one write to the used ring, at most one
interrupt (``notifications``). While there is work the driver is asked for no doorbells. Two ways lead through it: ``_plain``
for frames that are one descriptor with nothing to be done to them, ``_chains`` for everything else. What the driver left
undone, checksums and segmentation, is left undone here as well: the frame goes to the switch as ``Partial``, which finishes it
for whoever does not take it so.

Sources: VIRTIO 1.3, 5.1.6.2; Linux virtio_net.c ``xmit_skb`` and DPDK virtio_rxtx.c ``virtio_xmit_pkts``, which are the users;
QEMU hw/net/virtio-net.c ``virtio_net_flush_tx``, an independent reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain as flat
from struct import Struct

from emulators.fabric.offload import Partial
from emulators.nics.virtio.header import LEGACY, header_size, may_send, parse
from emulators.nics.virtio.notifications import Notifications
from emulators.nics.virtio.queue import Chain, Owner, Queue, QueueError
from emulators.nics.virtio.rss import Automatic
from regmodel.errors import DmaFault
from regmodel.function import Buffer
from regmodel.structures.virtio_features import Feature

BURST = 64
"""Buffers per burst, so that the sockets are looked at between."""
SHORTEST = 14
"""Octets of the shortest frame that has a header; here, shorter ones are dropped."""
LONGEST = 65536 + 512
"""Octets of the longest packet: an IP packet of 64 KiB and its headers. Here, longer ones are dropped."""

_plain_header = Struct("<H").unpack_from  # flags and gso_type: with both 0 there is nothing to be done


class TransmitQueue:
    """Virtqueue ``number``, which is odd. ``steering``, if any, is told which queue a flow is sent by."""

    def __init__(self, owner: Owner, number: int, queue: Queue, features: Feature) -> None:
        self.owner, self.host, self.pool, self.number, self.queue = owner, owner.host, owner.pool, number, queue
        self.header = header_size(features)
        self._allowed = may_send(features)
        self.steering: Automatic | None = None
        self.doorbells = self.bursts = self.frames = self.dropped = 0
        self._burst = self.burst
        self.notifications = Notifications(owner, number, queue)

    def notify(self) -> None:
        """A doorbell."""
        self.doorbells += 1
        self.look()

    def look(self) -> None:
        """See what the ring holds, unasked."""
        self.host.defer(self._burst)

    def close(self) -> None:
        """The queue is reset or broken."""
        self.queue.close()

    def counters(self) -> dict[str, int]:
        """By name, since the queue was enabled."""
        names = ("doorbells", "bursts", "frames", "dropped")
        return {name: getattr(self, name) for name in names} | {"interrupts": self.notifications.sent}

    # -- the burst

    def burst(self) -> bool:
        """Send what the ring holds, up to ``BURST`` buffers. True when it is to be looked at again."""
        if self.queue.closed:
            return False
        try:
            return self._send()
        except QueueError as error:
            self.queue.close()
            self.owner.broken(self.number, error)
            return False

    def _send(self) -> bool:
        queue = self.queue
        queue.quiet()
        run = queue.take_plain(BURST, writable=False)
        if run is None:
            taken = queue.take(BURST)
            frames: Sequence[Buffer] = self._frames(taken)
        elif run.heads:
            frames = self._plain(run.addresses, run.lengths)
        else:
            return queue.listen()
        if queue.closed:  # while the guest's memory was read
            return False
        if frames:
            if self.steering is not None:
                self.steering.learn(frames, self.number >> 1)
            self.host.packets.send(frames)
        if run is None:
            queue.give([(chain, 0) for chain in taken])
        else:
            queue.give_plain(run.heads, (0,) * len(run.heads))
        self.bursts += 1
        self.frames += len(frames)
        self.notifications.used()
        return not queue.closed

    def _plain(self, addresses: Sequence[int], lengths: Sequence[int]) -> Sequence[Buffer]:
        """The frames of buffers of one descriptor each."""
        size = self.header
        if min(lengths) >= size + SHORTEST and max(lengths) <= LONGEST:
            try:
                buffers = self.host.dma.gather(addresses, lengths)
            except DmaFault as fault:
                raise QueueError("tx-buffer-unreachable", fault=str(fault)) from None
            if not any(flat.from_iterable(map(_plain_header, buffers))):
                return [buffer[size:] for buffer in buffers]
        return self._frames([Chain(0, [part], []) for part in zip(addresses, lengths, strict=True)])

    def _frames(self, chains: Sequence[Chain]) -> list[Buffer]:
        """The frames of chains of any layout."""
        frames = []
        for chain in chains:
            frame = self._frame(chain)
            if frame is None:
                self.dropped += 1
            else:
                frames.append(frame)
        return frames

    def _frame(self, chain: Chain) -> Buffer | None:
        """The frame of one chain, or None when it is dropped. Raises ``QueueError`` for what QEMU's model gives up at, too."""
        size = self.header
        addresses, lengths = zip(*chain.readable, strict=True) if chain.readable else ((), ())
        octets = sum(lengths)
        if octets < size:
            raise QueueError("tx-header-short", queue=self.number, octets=octets)
        if not SHORTEST <= octets - size <= LONGEST:
            self._drop("tx-frame-length", octets - size)
            return None
        try:
            parts = self.host.dma.gather(addresses, lengths)
        except DmaFault as fault:
            raise QueueError("tx-buffer-unreachable", fault=str(fault)) from None
        if lengths[0] < size:  # a header in pieces, as no driver makes them
            parts = [b"".join(parts)]
        offload = parse(bytes(parts[0][:LEGACY]), self._allowed)
        if isinstance(offload, str):
            self._drop(offload, octets - size)
            return None
        parts[0] = parts[0][size:]
        frame = parts[0] if len(parts) == 1 else parts[1] if len(parts) == 2 and not parts[0] else b"".join(parts)
        if offload is None:
            return frame
        if offload.csum_start + offload.csum_offset + 2 > len(frame):
            self._drop("tx-checksum-outside", len(frame))
            return None
        return Partial(frame, offload)

    def _drop(self, kind: str, octets: int) -> None:
        self.host.diagnose(kind, queue=self.number, octets=octets)
