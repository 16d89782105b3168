"""MSI: up to 32 messages that software grants, with masking where the capability has it.

PCI Express Base 5.0 §6.1.4 and §7.7.1. As with MSI-X, a message is a ``Trigger`` of the peer, arming means enabling, and a
vector that cannot be sent waits. Without per-vector masking there is no register to see it wait in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regmodel.bank import Bank, Cause, Path
from regmodel.errors import StateError
from regmodel.function import ResetCause, Trigger


class Msi:
    """The messages of one function whose configuration space is ``config``. ``vectors`` is how many it asks for."""

    def __init__(self, config: Bank, vectors: int) -> None:
        self.vectors = vectors
        self._config = config
        self._control = config["msi_message_control"]
        self._maskable = "msi_mask_bits" in config.bar.entries
        self._triggers: list[Trigger | None] = [None] * vectors
        self._open = False
        self._waiting = 0
        self._observer: Callable[[int, bool], None] | None = None
        config.on_write("msi_message_control", self._changed)
        if self._maskable:
            config.on_write("msi_mask_bits", self._changed)

    @property
    def enabled(self) -> bool:
        return bool(self._control.get("enable"))

    @property
    def granted(self) -> int:
        """How many messages software lets the function use; more than it asked for are not used."""
        return min(1 << self._control.get("multiple_message_enable"), self.vectors)

    def signal(self, vector: int) -> None:
        """Send ``vector``, or keep it pending. Raises IndexError when there is no such vector.

        A function that was granted fewer messages than it has vectors replaces only as many low bits of the message data
        as it was granted (§6.1.4.3), so vectors share messages.
        """
        if not 0 <= vector < self.vectors:
            raise IndexError(vector)
        self._waiting |= 1 << vector % self.granted
        self._flush()
        if self._observer is not None:
            self._observer(vector, not self._waiting >> vector % self.granted & 1)

    def arm(self, start: int, triggers: Sequence[Trigger | None]) -> None:
        """From vector ``start``, send through ``triggers``; None disarms."""
        self._triggers[start : start + len(triggers)] = triggers
        if any(t is not None for t in triggers) and not self.enabled:
            armed = max(v for v, trigger in enumerate(self._triggers) if trigger is not None) + 1
            self._control.set(enable=1, multiple_message_enable=(armed - 1).bit_length())
        self._flush()

    def gate(self, is_open: bool) -> None:
        """Whether the function may send messages at all: in D0, with bus mastering on."""
        self._open = is_open
        self._flush()

    def observe(self, observer: Callable[[int, bool], None] | None) -> None:
        self._observer = observer

    def reset(self, cause: ResetCause) -> None:
        """Forget what is pending; the registers are configuration space's. What the peer armed stays armed."""
        if cause is not ResetCause.SOFTWARE:
            self._waiting = 0
            self._flush()

    def save(self) -> dict[str, object]:
        """What configuration space does not hold."""
        return {"pending": self._waiting}

    def load(self, state: Mapping[str, Any]) -> None:
        """Call it when configuration space has been loaded. Raises ``StateError``."""
        waiting = state.get("pending")
        if not isinstance(waiting, int) or not 0 <= waiting < 1 << self.vectors:
            raise StateError("the saved state of MSI is damaged: its pending bits")
        self._waiting = waiting
        self._flush()

    # -- inside

    def _changed(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        self._flush()

    def _flush(self) -> None:
        """Send what waits and may be sent, and show what goes on waiting."""
        if self._waiting and self._open and self.enabled:
            masked = self._config["msi_mask_bits"].value if self._maskable else 0
            for vector in range(self.granted):
                trigger = self._triggers[vector]
                if self._waiting & ~masked & 1 << vector and trigger is not None:
                    self._waiting &= ~(1 << vector)
                    trigger()
        if self._maskable:
            self._config["msi_pending_bits"].value = self._waiting
