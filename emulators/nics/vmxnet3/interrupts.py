"""Interrupts of VMXNET3: masks, auto-masking, the INTx cause, and the one bit in memory that holds all of them back.

In here: what becomes of a cause. A vector that has a cause and is not masked (IMR) is sent; with auto-masking it masks
itself then, until the driver, done with its rings, unmasks it. Without messages the line goes up instead, and down when
the driver reads ICR, which is where auto-masking happens in that case.

A cause that can wait (``later``) is held for a while, if the driver wants the vector moderated, and is lost in any other that
the vector tells of meanwhile.

IC_DISABLE_ALL is a bit of shared memory, and nobody tells the device when it falls: drivers unmask their vectors first and
clear it then. A vector that it holds back is tried again a little later.

Sources: Linux vmxnet3_drv.c ``vmxnet3_enable_all_intrs``, ``vmxnet3_intr``, ``vmxnet3_msix_rx``; QEMU hw/net/vmxnet3.c
``vmxnet3_trigger_interrupt``, ``vmxnet3_clear_interrupt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulators.host import Host
from regmodel.bank import Bank, Cause, Path
from regmodel.errors import DmaFault
from regmodel.function import Timer

FIRST_RETRY, LAST_RETRY = 100_000, 16_000_000
"""ns until IC_DISABLE_ALL is looked at again; twice as long each time."""

HELD = 100_000
"""ns for which a cause that can wait is held back: less than a guest takes to make a large packet or two, which is what
Linux lets a TCP connection have on the way through a NIC."""


class Interrupts:
    """``imr`` is in ``pt`` (BAR 0), ``icr`` in ``vd`` (BAR 1). A vector that the device lacks is never sent."""

    def __init__(self, pt: Bank, vd: Bank, host: Host) -> None:
        self.host = host
        self._icr = vd["icr"]
        masks = pt.all("imr")
        self.vectors = len(masks)
        self._words, self._masks = masks[0].store, [cell.index for cell in masks]
        self._pending = 0
        self._asserted = 0
        self._control = 0
        self._auto_mask = self._running = False
        self._held = self._moderated = 0
        self._release: Timer | None = None
        self._retry: Timer | None = None
        self._patience = FIRST_RETRY
        pt.on_write("imr", self._mask_written)
        vd.on_read("icr", self._icr_read)

    def start(self, auto_mask: bool, control: int, moderated: int) -> None:
        """``control`` is the address of the word with IC_DISABLE_ALL, ``moderated`` a set of vectors: bit n is vector n."""
        self._auto_mask, self._control, self._moderated, self._running = auto_mask, control, moderated, True

    def stop(self) -> None:
        """The queues rest; what is pending is forgotten, masks stay."""
        self._running = False
        self._pending = self._held = 0
        self._deassert(self._asserted)
        for timer in (self._retry, self._release):
            if timer is not None:
                timer.cancel()
        self._retry = self._release = None

    def cause(self, vector: int) -> None:
        """Something happened that ``vector`` tells of: at most once per burst and queue."""
        if vector < self.vectors and self._running:
            self._pending |= 1 << vector
            self._evaluate(vector)

    def later(self, vector: int) -> None:
        """The same for what can wait a little."""
        if not self._moderated >> vector & 1:
            self.cause(vector)
        elif vector < self.vectors and self._running:
            self._held |= 1 << vector
            if self._release is None:
                self._release = self.host.clock.call_at(self.host.clock.now() + HELD, self._released)

    def _released(self) -> None:
        self._release = None
        held, self._held = self._held, 0
        for vector in range(held.bit_length()):
            if held >> vector & 1:
                self.cause(vector)

    # -- registers

    def _mask_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        vector = path.instance
        if new & 1:
            self._deassert(1 << vector)
        elif self._pending >> vector & 1:
            self._evaluate(vector)

    def _icr_read(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """The line goes down, and its vectors mask themselves."""
        for vector in range(self.vectors):
            if self._asserted >> vector & 1:
                self._pending &= ~(1 << vector)
                if self._auto_mask:
                    self._words[self._masks[vector]] = 1
        self._deassert(self._asserted)

    # -- signalling

    def _evaluate(self, vector: int) -> None:
        """Send a pending vector if it may be sent."""
        if self._words[self._masks[vector]] & 1:
            return
        if self._held_back():
            self._try_again()
            return
        self._pending &= ~(1 << vector)
        self._held &= ~(1 << vector)
        if self.host.messages():
            if self._auto_mask:
                self._words[self._masks[vector]] = 1
            self.host.irq(vector)
        else:
            self._asserted |= 1 << vector
            self._icr.value = 1
            self.host.line(True)

    def _deassert(self, vectors: int) -> None:
        if self._asserted & vectors:
            self._asserted &= ~vectors
            if not self._asserted:
                self._icr.value = 0
                self.host.line(False)

    def _held_back(self) -> bool:
        try:
            return bool(self.host.dma.read(self._control, 1)[0] & 1)
        except DmaFault as fault:
            self.host.diagnose("interrupt-control-unreachable", fault=str(fault))
            return False

    def _try_again(self) -> None:
        if self._retry is None:
            self._retry = self.host.clock.call_at(self.host.clock.now() + self._patience, self._tried_again)
            self._patience = min(2 * self._patience, LAST_RETRY)

    def _tried_again(self) -> None:
        self._retry = None
        for vector in range(self.vectors):
            if self._pending >> vector & 1:
                self._evaluate(vector)
        if self._retry is None:
            self._patience = FIRST_RETRY

    # -- resets and state

    def reset(self) -> None:
        """After the registers took on their reset values."""
        self.stop()
        self._auto_mask = False

    def save(self) -> dict[str, object]:
        return {"pending": self._pending | self._held, "asserted": self._asserted, "auto_mask": self._auto_mask}

    def load(self, state: Mapping[str, Any], control: int, moderated: int, running: bool) -> None:
        """After the registers were loaded; ``control`` and ``moderated`` as for ``start``."""
        self.stop()
        self._control, self._moderated, self._running = control, moderated, running
        self._auto_mask = bool(state["auto_mask"])
        self._pending = int(state["pending"])
        self._asserted = int(state["asserted"])
        self.host.line(bool(self._asserted))
        if running:
            self._tried_again()
