"""Interrupts: one vector per receive queue, from 0, and the one behind them for the mailbox.

In here: which cause goes to which vector, masks, moderation, and telling a storm from work. Nothing is armed until somebody
asks for an interrupt: a port that is polled has none.

A vector is masked by its own message (EIAM) and its cause cleared (EIAC), until it is enabled again.

Sources: DS 7.3; Linux igbvf/netdev.c ``igbvf_configure_msix``, ``igbvf_irq_enable``, ``igbvf_msix_other``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.errors import InterruptStorm
from drivers.registers.igbvf import Igbvf
from drivers.transports import Transport
from regmodel.function import Irq

STORM, STORM_TIME = 256, 1.0
"""So many interrupts of a vector within so many seconds, with nothing to do behind any of them, are a storm."""


class Interrupts:
    """``queues`` receive queues; ``interval``: us that pass at least between two messages of a vector, or 0."""

    def __init__(
        self, registers: Igbvf, transport: Transport, queues: int, interval: int, counts: list[int]
    ) -> None:
        self._registers, self._transport = registers, transport
        self.queues, self.interval = queues, interval
        self.mailbox = queues  # its vector
        self.armed = False
        self.counts = counts  # by receive queue; the last is the mailbox's
        self._work: list[int | None] = [None] * (queues + 1)
        self._idle = [0] * (queues + 1)
        self._since = [0.0] * (queues + 1)

    def arm(self) -> None:
        """netdev.c ``igbvf_configure_msix``, ``igbvf_up``, ``igbvf_irq_enable``. Only the mailbox is unmasked."""
        r, vectors = self._registers, self.queues + 1
        self._transport.enable_irqs(vectors, Irq.MSIX)
        routes = {f"int_alloc_rx{q}": q for q in range(self.queues)} | {f"int_alloc_val_rx{q}": 1 for q in range(self.queues)}
        r.ivar0.write(**routes)
        r.ivar_misc.write(int_alloc=self.mailbox, int_alloc_val=1)
        for vector in range(vectors):
            r.eitr[vector].write(interval=self.interval)
        r.eicr.read()  # what was pending is of no interest any more
        r.eiac.write(msix=(1 << vectors) - 1)
        r.eiam.write(msix=(1 << vectors) - 1)
        self.armed = True
        self.enable(self.mailbox)

    def disarm(self) -> None:
        """netdev.c ``igbvf_irq_disable``."""
        if self.armed:
            self._registers.eimc.write(msix=(1 << (self.queues + 1)) - 1)
            self._registers.eiac.write(msix=0)
            self.forget()

    def forget(self) -> None:
        """The same without a word to the device, which will be reset."""
        if self.armed:
            self.armed = False
            self._transport.disable_irqs()

    def enable(self, vector: int) -> None:
        self._registers.eims.write(msix=1 << vector)

    def disable(self, vector: int) -> None:
        self._registers.eimc.write(msix=1 << vector)

    def wait(self, timeout: float) -> Sequence[int]:
        """The vectors that fired."""
        fired = self._transport.wait_irq(timeout)
        for vector in fired:
            self.counts[-1 if vector == self.mailbox else vector] += 1
        return fired

    def judge(self, vector: int, work: int) -> None:
        """``work`` counts what there was to do for ``vector`` up to now. Raises ``InterruptStorm``, the vector masked."""
        now = self._transport.now()
        if work != self._work[vector] or now - self._since[vector] > STORM_TIME:
            self._work[vector], self._idle[vector], self._since[vector] = work, 0, now
            return
        self._idle[vector] += 1
        if self._idle[vector] >= STORM:
            self._idle[vector] = 0
            self.disable(vector)
            source = "the mailbox" if vector == self.mailbox else f"receive queue {vector}"
            raise InterruptStorm(
                f"vector {vector} ({source}) fired {STORM} times within {STORM_TIME:g} s with nothing to do: it is masked now; "
                f"poll, or reset()"
            )
