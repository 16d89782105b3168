"""Interrupts: vector 0 for changes of the configuration, one vector per receive queue behind it; or the one pin, and ISR.

In here: which cause goes to which vector, and telling a storm from work. Nothing is armed until somebody asks for an
interrupt: a port that is polled has none. Where there are fewer vectors than queues, queues share the last one.

Sources: VIRTIO 1.3, 4.1.5.1.2 (vectors), 4.1.4.5 (ISR); Linux drivers/virtio/virtio_pci_common.c ``vp_find_vqs``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.errors import InterruptStorm, NotSupported
from drivers.nics.virtio.interface import NO_VECTOR, Interface
from drivers.nics.virtio.receive import ReceiveQueue
from drivers.transports import Transport
from regmodel.function import Irq

STORM, STORM_TIME = 256, 1.0
"""So many interrupts of a vector within so many seconds, with nothing to do behind any of them, are a storm."""
QUEUE, CONFIGURATION = 1, 2
"""Causes in ISR."""


class Interrupts:
    """``receivers`` are told of as queues; ``irq``: by message or by pin; None: by message where the device has them."""

    def __init__(
        self, interface: Interface, transport: Transport, receivers: Sequence[ReceiveQueue], counts: list[int], irq: Irq | None
    ) -> None:
        self._interface, self._transport, self._receivers = interface, transport, receivers
        vectors = transport.irq_vectors(Irq.MSIX) if irq is not Irq.INTX else 0
        self.irq = Irq.MSIX if vectors >= 2 else Irq.INTX
        if not transport.irq_vectors(self.irq) or irq not in (None, self.irq):
            raise NotSupported(f"{transport.name} has no interrupts of the kind that is asked for")
        self._vectors = min(vectors, 1 + len(receivers))
        self.counts = counts  # by receive queue; the last is the configuration's
        self.armed = False
        self._wanted = [False] * len(receivers)
        self._work: list[int | None] = [None] * (len(receivers) + 1)
        self._idle = [0] * (len(receivers) + 1)
        self._since = [0.0] * (len(receivers) + 1)

    def arm(self) -> None:
        """virtio_pci_common.c ``vp_request_msix_vectors``. Queues stay silent until ``enable``."""
        if self.irq is Irq.MSIX:
            self._transport.enable_irqs(self._vectors, Irq.MSIX)
            self._interface.msix_on = True
            self._interface.route(None, 0)
            for receiver in self._receivers:
                self._interface.route(2 * receiver.index, self._vector(receiver.index))
        else:
            self._transport.enable_irqs(1, Irq.INTX)
            self._interface.isr()  # what was pending is of no interest any more
        self.armed = True

    def _vector(self, queue: int) -> int:
        return min(1 + queue, self._vectors - 1)

    def disarm(self) -> None:
        """The queues' vectors go first, so that none fires that is not there."""
        if self.armed:
            if self.irq is Irq.MSIX:
                self._interface.route(None, NO_VECTOR)
                for receiver in self._receivers:
                    self._interface.route(2 * receiver.index, NO_VECTOR)
            self.forget()

    def forget(self) -> None:
        """The same without a word to the device, which will be reset."""
        if self.armed:
            self.armed = False
            self._interface.msix_on = False
            self._transport.disable_irqs()

    def enable(self, queue: int) -> None:
        self._wanted[queue] = True
        self._receivers[queue].ring.ask_interrupt(True)

    def disable(self, queue: int) -> None:
        self._wanted[queue] = False
        self._receivers[queue].ring.ask_interrupt(False)

    def wait(self, timeout: float) -> tuple[list[int], bool]:
        """The queues that have interrupted, silent now, and whether the configuration changed."""
        fired = self._transport.wait_irq(timeout)
        if not fired:
            return [], False
        if self.irq is Irq.MSIX:
            queues = [q for q, wanted in enumerate(self._wanted) if wanted and self._vector(q) in fired]
            changed = 0 in fired
        else:
            causes = self._interface.isr()
            queues = [q for q, wanted in enumerate(self._wanted) if wanted and causes & QUEUE]
            changed = bool(causes & CONFIGURATION)
        for queue in queues:
            self.disable(queue)
            self.counts[queue] += 1
            self._judge(queue, self._receivers[queue].packets)
        self.counts[-1] += changed
        return queues, changed

    def _judge(self, queue: int, work: int) -> None:
        """``work`` counts what there was to do for ``queue`` up to now. Raises ``InterruptStorm``; the queue is silent then."""
        now = self._transport.now()
        if work != self._work[queue] or now - self._since[queue] > STORM_TIME:
            self._work[queue], self._idle[queue], self._since[queue] = work, 0, now
            return
        self._idle[queue] += 1
        if self._idle[queue] >= STORM:
            self._idle[queue] = 0
            text = f"receive queue {queue} interrupted {STORM} times within {STORM_TIME:g} s with nothing to do"
            raise InterruptStorm(f"{text}: it is silent now; poll, or reset()")
