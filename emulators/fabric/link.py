"""The link of a port: up while the administrator wants it and the back end has a carrier.

In here: that state and who is told. The register and mailbox consequences (STATUS.LU, the PF's ping) are the listener's.
"""

from __future__ import annotations

from collections.abc import Callable

LinkListener = Callable[[bool], None]


class Link:
    """Two causes, one state. Listeners are called with the new state, on changes only, in the order they came."""

    def __init__(self) -> None:
        self._admin = self._carrier = True
        self._listeners: list[LinkListener] = []

    @property
    def up(self) -> bool:
        return self._admin and self._carrier

    def listen(self, listener: LinkListener) -> None:
        self._listeners.append(listener)

    def set_admin(self, up: bool) -> None:
        """What the host's administrator wants: ``ctl link up|down``."""
        before, self._admin = self.up, up
        self._tell(before)

    def set_carrier(self, up: bool) -> None:
        """What the back end sees: a peer that is there, a cable that is plugged."""
        before, self._carrier = self.up, up
        self._tell(before)

    def _tell(self, before: bool) -> None:
        if self.up != before:
            for listener in tuple(self._listeners):
                listener(not before)
