"""Interrupts of one VF: causes, masks, auto-clear and auto-mask, moderation, and which vector a cause goes to.

In here: EICR and the registers around it. A cause sets its bit in EICR; a vector is signalled when its bit becomes set in
EICR *and* EIMS, not sooner than EITR allows. Signalling clears the bits of EICR that EIAC names and, since a stock PF sets
GPIE.EIAME, the bits of EIMS that EIAM names. MSI-X masking and pending bits are the PCI function's and do not enter here.

Sources: 82576 datasheet, chapter 7.3 (mapping, moderation, auto-masking); Linux
igb/igb_main.c ``igb_configure_msix`` (GPIE) and igbvf/netdev.c ``igbvf_intr_msix_tx``, which relies on EICS undoing EIAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from regmodel.bank import Bank, Cause, Cell, Path
from regmodel.function import Host, Timer

MICROSECOND = 1_000
COUNTER_UNIT = 4 * MICROSECOND
"""EITR.Counter shows the upper ten bits of a counter of microseconds."""


class Interrupts:
    """The interrupt block of a VF with ``vectors`` MSI-X vectors. ``queues`` causes each way, and the mailbox."""

    def __init__(self, bank: Bank, host: Host, *, queues: int, vectors: int) -> None:
        self.host, self.vectors = host, vectors
        self.auto_mask = True  # GPIE.EIAME, a register of the PF
        self._words = bank["eicr"].store  # all registers by index: this is done for every burst
        self._eicr, self._eims = bank["eicr"].index, bank["eims"].index
        self._eiac, self._eiam = bank["eiac"].index, bank["eiam"].index
        self._ivar, self._ivar_misc = bank["ivar0"], bank["ivar_misc"]
        self._eitr = bank.all("eitr")
        self._known = (1 << vectors) - 1
        self._asserted = 0  # EICR & EIMS as it was when last looked at: vectors are signalled on its edges
        self._interval = [0] * vectors  # EITR.Interval, in ns
        self._ready = [0] * vectors  # when EITR allows the next signal, in ns
        self._timers: list[Timer | None] = [None] * vectors
        self.receive = [0] * queues
        """The bit of EICR for each receive queue (IVAR0), 0 where none is allocated."""
        self.transmit = [0] * queues
        self.mailbox = 0
        bank.on_write("eics", self._eics_written)
        bank.on_write("eitr", self._eitr_written)
        bank.before_read("eitr", self._show_counter)
        for name in ("eims", "eimc", "eicr"):
            bank.on_write(name, self._changed)
        bank.on_read("eicr", self._changed)
        for name in ("ivar0", "ivar_misc"):
            bank.on_write(name, self._route)

    def cause(self, bits: int) -> None:
        """Set ``bits`` of EICR: at most once per burst and queue. 0 is the cause of a queue without a vector."""
        if bits:
            self._words[self._eicr] |= bits
            self._evaluate()

    # -- registers

    def _eics_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """A cause set by software also takes back what auto-masking did (82576 datasheet, EIAM).

        EICS is described as another view of EICR, so ``new`` may hold causes that were pending before: their masks are
        taken back as well, which costs the guest an interrupt that it was about to ask for.
        """
        bits = new & self._known
        self._words[self._eims] |= bits & self._words[self._eiam]
        self.cause(bits)

    def _changed(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._evaluate()

    def _route(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """IVAR0 and IVAR_MISC: which vector takes which cause."""
        for queue in range(len(self.receive)):
            self.receive[queue] = self._allocated(self._ivar, f"_rx{queue}")
            self.transmit[queue] = self._allocated(self._ivar, f"_tx{queue}")
        self.mailbox = self._allocated(self._ivar_misc, "")

    def _allocated(self, ivar: Cell, entry: str) -> int:
        """The bit of EICR that one entry of an IVAR register says; 0 when it says none, or one that does not exist."""
        vector = ivar.get(f"int_alloc{entry}")
        if not ivar.get(f"int_alloc_val{entry}"):
            return 0
        if vector >= self.vectors:
            self.host.diagnose("interrupt-vector-absent", register=str(ivar.path), vector=vector)
            return 0
        return 1 << vector

    def _eitr_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        """Without CNT_IGNR the running counter is loaded with what was written: 0 lets the next interrupt pass."""
        vector, cell = path.instance, self._eitr[path.instance]
        if vector >= self.vectors:
            return
        fields = cell.fields
        self._interval[vector] = fields["interval"].of(new) * MICROSECOND
        if not fields["cnt_ingr"].of(new):
            self._ready[vector] = self.host.clock.now() + fields["moderation_counter"].of(new) * COUNTER_UNIT
            self._rearm(vector)

    def _show_counter(self, path: Path) -> None:
        vector = path.instance
        if vector < self.vectors:
            left = max(self._ready[vector] - self.host.clock.now(), 0)
            self._eitr[vector].set(moderation_counter=min(left // COUNTER_UNIT, 0x3FF))

    # -- signalling

    def _evaluate(self) -> None:
        """Signal the vectors that became pending and unmasked."""
        words = self._words
        pending = words[self._eicr] & words[self._eims] & self._known
        fresh, self._asserted = pending & ~self._asserted, pending
        if fresh:
            for vector in range(self.vectors):
                if fresh >> vector & 1:
                    self._due(vector)

    def _due(self, vector: int) -> None:
        """Signal ``vector`` now, or when its EITR interval is over."""
        if self._timers[vector] is None:
            if not self._ready[vector] or self._ready[vector] <= self.host.clock.now():
                self._signal(vector)
            else:
                self._timers[vector] = self.host.clock.call_at(self._ready[vector], partial(self._expired, vector))

    def _expired(self, vector: int) -> None:
        self._timers[vector] = None
        if self._asserted >> vector & 1:
            self._due(vector)

    def _rearm(self, vector: int) -> None:
        """The moment at which a waiting vector may be signalled has changed."""
        timer, self._timers[vector] = self._timers[vector], None
        if timer is not None:
            timer.cancel()
            self._expired(vector)

    def _signal(self, vector: int) -> None:
        bit, words = 1 << vector, self._words
        interval = self._interval[vector]
        if interval:
            self._ready[vector] = self.host.clock.now() + interval
        if words[self._eiac] & bit:
            words[self._eicr] &= ~bit
            self._asserted &= ~bit
        if self.auto_mask and words[self._eiam] & bit:
            words[self._eims] &= ~bit
            self._asserted &= ~bit
        self.host.irq(vector)

    # -- resets and state

    def reset(self) -> None:
        """After the registers took on their reset values: nothing pends, nothing is moderated."""
        for timer in self._timers:
            if timer is not None:
                timer.cancel()
        self._timers = [None] * self.vectors
        self._ready = [0] * self.vectors
        self._interval = [cell.get("interval") * MICROSECOND for cell in self._eitr]
        self._asserted = self._words[self._eicr] & self._words[self._eims] & self._known
        self._reroute()

    def _reroute(self) -> None:
        self._route(self._ivar.path, 0, 0, 4, Cause.RESET)

    def save(self) -> dict[str, object]:
        """How long each vector has still to wait, in ns; all else is in the registers."""
        now = self.host.clock.now()
        return {"asserted": self._asserted, "wait": [max(ready - now, 0) for ready in self._ready]}

    def load(self, state: Mapping[str, Any]) -> None:
        """After the registers were loaded. Vectors that waited for their interval go on waiting."""
        self.reset()
        now = self.host.clock.now()
        self._asserted = int(state["asserted"])
        self._ready = [now + int(wait) for wait in state["wait"]]
        for vector in range(self.vectors):
            if self._asserted >> vector & 1 and self._ready[vector] > now:
                self._due(vector)
