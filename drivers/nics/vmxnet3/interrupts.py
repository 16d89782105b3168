"""Interrupts: one vector per receive queue, from 0, one behind them for events, and one that stays masked.

In here: which queue has which vector, masks, and telling a storm from work. Nothing is armed until somebody asks for an
interrupt: a port that is polled has none. Transmit queues are polled always; theirs is the vector that stays masked.

Who masks a vector when its message goes out is the device's to say (GET_CONF_INTR): itself (autoMask) or the driver.

Sources: Linux vmxnet3/vmxnet3_drv.c ``vmxnet3_alloc_intr_resources``, ``vmxnet3_request_irqs``, ``vmxnet3_enable_all_intrs``,
``vmxnet3_msix_rx``, ``vmxnet3_msix_event``.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.errors import InterruptStorm
from drivers.nics.vmxnet3.shared import Shared
from drivers.registers.vmxnet3 import Vmxnet3
from drivers.transports import Transport
from regmodel.function import Irq

STORM, STORM_TIME = 256, 1.0
"""So many interrupts of a vector within so many seconds, with nothing to do behind any of them, are a storm."""


class Interrupts:
    """``queues`` receive queues. ``automatic``: the device masks what it has sent."""

    def __init__(
        self, registers: Vmxnet3, transport: Transport, shared: Shared, queues: int, automatic: bool, counts: list[int]
    ) -> None:
        self._registers, self._transport, self._shared = registers, transport, shared
        self._automatic = automatic
        self.queues = queues
        self.events = queues  # its vector
        self.armed = False
        self.counts = counts  # by receive queue; the last is that of events
        self._work: list[int | None] = [None] * (queues + 1)
        self._idle = [0] * (queues + 1)
        self._since = [0.0] * (queues + 1)

    def arm(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_enable_all_intrs``; but only events are unmasked."""
        self._transport.enable_irqs(self.queues + 1, Irq.MSIX)
        self._shared.allow_interrupts(True)
        self.armed = True
        self.enable(self.events)

    def disarm(self) -> None:
        """vmxnet3_drv.c ``vmxnet3_disable_all_intrs``."""
        if self.armed:
            self._shared.allow_interrupts(False)
            for vector in range(self.queues + 1):
                self.disable(vector)
            self.forget()

    def forget(self) -> None:
        """The same without a word to the device, which will be reset."""
        if self.armed:
            self.armed = False
            self._transport.disable_irqs()

    def enable(self, vector: int) -> None:
        self._registers.imr[vector].write(0)

    def disable(self, vector: int) -> None:
        self._registers.imr[vector].write(masked=1)

    def wait(self, timeout: float) -> Sequence[int]:
        """The vectors that fired. They are masked."""
        fired = self._transport.wait_irq(timeout)
        for vector in fired:
            self.counts[-1 if vector == self.events else vector] += 1
            if not self._automatic:
                self.disable(vector)
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
            source = "events" if vector == self.events else f"receive queue {vector}"
            raise InterruptStorm(
                f"vector {vector} ({source}) fired {STORM} times within {STORM_TIME:g} s with nothing to do: it is masked now; "
                f"poll, or reset()"
            )
