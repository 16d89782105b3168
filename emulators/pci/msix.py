"""MSI-X: which vector may be sent, which waits, and where its pending bit stands.

PCI Express Base 5.0 §6.1.4 and §7.7.2. The table and the pending bits are registers of the bank that holds them, under the
names that ``regmodel.capabilities.msix_table`` gives; the messages themselves are ``Trigger`` objects of the peer, since
whoever armed a vector knows its address and data.

Two kinds of peer exist. One writes the table through the BAR, as a driver on a bus does: from its first such write on, the
mask bits count. The other (QEMU, as a VFIO client) keeps the table to itself: it arms a vector when the guest unmasks
it, and what is asked of us is to keep a vector pending that is not armed. Arming also means that MSI-X is on, as VFIO's
own ``SET_IRQS`` does (Linux: vfio_msi_enable in drivers/vfio/pci/vfio_pci_intrs.c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from regmodel.bank import Bank, Cause, Path
from regmodel.errors import StateError
from regmodel.function import ResetCause, Trigger

REGISTERS = ("msix_address", "msix_upper_address", "msix_data", "msix_vector_control", "msix_pending")


class Msix:
    """The vectors of one function. ``config`` holds the capability, ``bank`` the table and the pending bits.

    ``observer(vector, sent)``, when set by ``observe``, is told each signal: sent, or kept pending.
    """

    def __init__(self, config: Bank, bank: Bank, vectors: int) -> None:
        self.bank, self.vectors = bank, vectors
        self._control = config["msix_message_control"]
        self._masks = [bank["msix_vector_control", v] for v in range(vectors)]
        self._triggers: list[Trigger | None] = [None] * vectors
        self._table_written = False
        self._open = self._live = False
        self._observer: Callable[[int, bool], None] | None = None
        self._send: list[Callable[[], None]] = []
        config.on_write("msix_message_control", self._control_written)
        bank.on_write("msix_vector_control", self._mask_written)
        self._refresh_all()

    # -- what the model and the peer do

    def signal(self, vector: int) -> None:
        """Send ``vector``, or keep it pending until it may be sent. Raises IndexError when there is no such vector."""
        self._send[vector]()

    def arm(self, start: int, triggers: Sequence[Trigger | None]) -> None:
        """From vector ``start``, send through ``triggers``; None disarms."""
        self._triggers[start : start + len(triggers)] = triggers
        if any(t is not None for t in triggers) and not self.enabled:
            self._control.set(enable=1)
            self._refresh_all()
            return
        for vector in range(start, start + len(triggers)):
            self._refresh(vector)

    @property
    def enabled(self) -> bool:
        return bool(self._control.get("enable"))

    def gate(self, is_open: bool) -> None:
        """Whether the function may send messages at all: in D0, with bus mastering on."""
        if is_open != self._open:
            self._open = is_open
            self._refresh_all()

    def pending(self, vector: int) -> bool:
        return bool(self.bank["msix_pending", vector // 64].value >> vector % 64 & 1)

    def observe(self, observer: Callable[[int, bool], None] | None) -> None:
        self._observer = observer
        self._refresh_all()

    def reset(self, cause: ResetCause) -> None:
        """Table and pending bits as after ``cause``; what the peer armed stays armed."""
        if cause in (ResetCause.POWER_ON, ResetCause.BUS):
            self._table_written = False  # the next peer may be of the other kind
        for name in REGISTERS:
            for cell in self.bank.all(name):
                value, mask = cell.reset_values[cause]
                cell.value = (cell.value & ~mask) | (value & mask)
        self._refresh_all()

    def save(self) -> dict[str, object]:
        """What the banks do not hold."""
        return {"table_written": self._table_written}

    def load(self, state: Mapping[str, Any]) -> None:
        """Call it when both banks have been loaded. Raises ``StateError``."""
        if not isinstance(state.get("table_written"), bool):
            raise StateError("the saved state of MSI-X is damaged: it does not say who owns the table")
        self._table_written = state["table_written"]
        self._refresh_all()

    # -- inside: ``_send`` holds, per vector, what a signal does just now

    def _control_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if old != new:
            self._refresh_all()

    def _mask_written(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if self._table_written:
            self._refresh(path.instance)
        else:
            self._table_written = True
            self._refresh_all()

    def _refresh_all(self) -> None:
        self._live = self._open and self.enabled and not self._control.get("function_mask")
        self._send = [partial(self._pend, vector) for vector in range(self.vectors)]
        for vector in range(self.vectors):
            self._refresh(vector)

    def _refresh(self, vector: int) -> None:
        trigger = self._triggers[vector]
        if trigger is None or not self._live or (self._table_written and self._masks[vector].value & 1):
            self._send[vector] = partial(self._pend, vector)
            return
        self._send[vector] = trigger if self._observer is None else partial(self._tell, trigger, vector)
        cell = self.bank["msix_pending", vector // 64]
        bit = 1 << vector % 64
        if cell.value & bit:
            cell.value &= ~bit
            self._send[vector]()

    def _pend(self, vector: int) -> None:
        self.bank["msix_pending", vector // 64].value |= 1 << vector % 64
        if self._observer is not None:
            self._observer(vector, False)

    def _tell(self, trigger: Trigger, vector: int) -> None:
        trigger()
        if self._observer is not None:
            self._observer(vector, True)
