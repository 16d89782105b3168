"""When the driver is told of used buffers: at once, or a little later together with what comes next.

In here: moderation, which is about time. Whether the driver wants to be told at all is said by the ring (``queue``).

A guest spends more on an interrupt than on a packet. So one that follows another soon waits a little, and many of those that
waited are not needed any more, because the driver came by and moved its event index on: a driver that takes received frames
frees what was sent as well (Linux virtio_net.c ``virtnet_poll_cleantx``). An interrupt after a silence goes at once, so that a
packet that is alone is as fast as it can be. The specification says when a notification must be sent, not how soon (VIRTIO 1.3,
2.7.7.2); adapters in silicon have a register for it.
"""

from __future__ import annotations

from emulators.nics.virtio.queue import Owner, Queue, QueueError

SILENCE = 1_000_000
"""ns after an interrupt of a queue; within, the next one waits."""
RECEIVED, SENT = 30_000, 50_000
"""ns that it waits, on a receive and on a transmit queue."""


class Notifications:
    """Used buffer notifications of virtqueue ``number``; ``sent`` counts them."""

    def __init__(self, owner: Owner, number: int, queue: Queue) -> None:
        self.owner, self.number, self.queue = owner, number, queue
        self.sent = 0
        self._clock = owner.host.clock
        self._delay = SENT if number & 1 else RECEIVED
        self._silent_from = self._clock.now()
        self._due = False

    def used(self) -> None:
        """Buffers were given back. Raises ``QueueError``."""
        if self._due:
            return
        now = self._clock.now()
        if now >= self._silent_from:
            self._tell(now)
        else:
            self._due = True
            self._clock.call_at(now + self._delay, self._later)

    def _later(self) -> None:
        self._due = False
        try:
            self._tell(self._clock.now())
        except QueueError as error:
            self.queue.close()
            self.owner.broken(self.number, error)

    def _tell(self, now: int) -> None:
        if self.queue.should_interrupt():
            self.sent += 1
            self._silent_from = now + SILENCE
            self.owner.interrupt(self.number)
