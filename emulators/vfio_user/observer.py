"""What a running server tells whoever looks at it: the trace, the control socket, a test.

Nobody looking costs one comparison with None per event. An observer must not raise, wait, or keep a buffer.
"""

from __future__ import annotations

from typing import Protocol

from regmodel.function import Irq, ResetCause


class Observer(Protocol):
    """Events of one server, in the order in which they happen."""

    def connected(self, pid: int) -> None:
        """A client (process ``pid``, 0 when unknown) has connected."""

    def disconnected(self, reason: str) -> None:
        """It has gone; its maps and interrupts are gone too."""

    def dma_mapped(self, iova: int, size: int, permissions: str, kind: str) -> None:
        """A range of ``size`` bytes. ``permissions``: ``r``, ``rw``; ``kind``: ``mapped``, ``file`` or ``messages``."""

    def dma_unmapped(self, iova: int, size: int) -> None: ...

    def irqs_armed(self, irq: Irq, start: int, count: int, armed: bool) -> None:
        """Vectors ``start`` to ``start + count - 1`` were armed, or disarmed."""

    def irq_fired(self, irq: Irq, vector: int) -> None: ...

    def reset(self, cause: ResetCause) -> None:
        """The client reset the device (a function level reset is a configuration write and is not told here)."""

    def refused(self, command: str, errno: int, why: str) -> None:
        """A message got an error reply (or would have, had it wanted one)."""
