"""INTx: a level, carried to a peer that hears edges only.

PCI Express Base 5.0 §7.5.1.1.3 (Interrupt Disable), §7.5.1.1.4 (Interrupt Status) and §6.1.2. The status bit shows the
line whether or not it may be driven. A peer of VFIO's kind takes one edge, masks the interrupt on its side, and says
``unmask`` when it listens again (linux/vfio.h, VFIO_IRQ_INFO_AUTOMASKED): if the line is still high, it is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from regmodel.bank import Bank
from regmodel.errors import StateError
from regmodel.function import Trigger


class Intx:
    """The interrupt line of one function whose configuration space is ``config``."""

    def __init__(self, config: Bank) -> None:
        self._status = config["status"]
        self._trigger: Trigger | None = None
        self._open = False
        self._told = False
        self._observer: Callable[[int, bool], None] | None = None

    @property
    def asserted(self) -> bool:
        """The level, as the status register shows it."""
        return bool(self._status.get("interrupt_status"))

    def drive(self, asserted: bool) -> None:
        """Set the level."""
        if asserted != self.asserted:
            self._status.set(interrupt_status=int(asserted))
            self._update()

    def arm(self, trigger: Trigger | None) -> None:
        """Tell level changes through ``trigger``; None disarms."""
        self._trigger, self._told = trigger, False
        self._update()

    def unmask(self) -> None:
        """The peer has taken the last one and listens again."""
        self._told = False
        self._update()

    def gate(self, is_open: bool) -> None:
        """Whether the line may be driven: in D0, not disabled, and neither MSI nor MSI-X in use."""
        if is_open != self._open:
            self._open = is_open
            self._update()

    def observe(self, observer: Callable[[int, bool], None] | None) -> None:
        self._observer = observer

    def save(self) -> dict[str, object]:
        """What configuration space does not hold."""
        return {"told": self._told}

    def load(self, state: Mapping[str, Any]) -> None:
        """Call it when configuration space has been loaded. Raises ``StateError``."""
        if not isinstance(state.get("told"), bool):
            raise StateError("the saved state of INTx is damaged: it does not say what the peer was told")
        self._told = state["told"]
        self._update()

    def _update(self) -> None:
        if self._open and self.asserted and not self._told and self._trigger is not None:
            self._told = True
            self._trigger()
            if self._observer is not None:
                self._observer(0, True)
