"""A card for a driver that lives in the same process: no socket, no second thread.

Device and driver take turns in one thread. The driver says when it is the device's turn, by handing memory over, by reading
a register or by waiting; what the device has to do then is a round of bursts, and costs next to nothing when there is none.
Time is the host's, or passes only while the driver waits: then a run is the same each time.

``open_functions`` is what entry point ``model`` of group ``regmodel.functions`` names: drivers cannot import it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from emulators.loop import Loop, ManualClock
from emulators.model import Card
from emulators.pci.function import PciFunction
from emulators.plugging import attach, detach, plug
from regmodel.catalogue import Device
from regmodel.errors import UsageError

LOOK = 100_000
"""In real time, descriptors of packet back ends are looked at when so many ns have passed; when waiting, at once."""
STEP = 1_000
"""In manual time, a wait lasts at least so many ns: a device that never runs out of work does not stop the clock."""


class Alone:
    """A card, its ``functions`` and their loop, worked by whoever drives them."""

    def __init__(self, loop: Loop, card: Card, functions: Sequence[PciFunction], clock: ManualClock | None = None) -> None:
        self.loop, self.card, self.functions, self.clock = loop, card, functions, clock
        self._next_look = 0
        self._closed = False

    @property
    def function(self) -> PciFunction:
        """The first, which is the only one of most cards."""
        return self.functions[0]

    def turn(self) -> bool:
        """Let the devices do what they can do now, each burst once; True when there was anything."""
        worked = self.loop.work()
        if self.loop.watches and self.loop.now() >= self._next_look:
            self._next_look = self.loop.now() + (0 if self.clock else LOOK)
            worked = self.loop.turn(0) or worked
        return worked

    def wait(self, seconds: float) -> None:
        """Let time pass until the devices do something, at most ``seconds``."""
        duration = max(round(seconds * 1e9), int(seconds > 0))  # a rest smaller than a nanosecond passes too
        if self.clock is None:
            self.loop.turn(duration)
        else:
            due = self.loop.next_due()
            self.clock.advance(duration if due is None else min(max(due - self.clock.now(), STEP), duration))
            self.turn()

    def now(self) -> float:
        """Seconds."""
        return self.loop.now() / 1e9

    def close(self) -> None:
        """Unplug everything. Harmless the second time."""
        if not self._closed:
            self._closed = True
            detach([self.card])
            for function in self.functions:
                function.close()
            self.loop.close()


def open_functions(
    device: Device,
    count: int = 1,
    *,
    net: str | Sequence[str] = (),
    ports: int = 1,
    clock: str = "real",
    **options: str,
) -> Alone:
    """The first ``count`` functions of one new card of ``device``.

    ``net`` is what ``regmodel serve --net`` takes, for each port; ``clock`` is ``real`` or ``manual``; ``options`` are
    those of the card. Raises ``UsageError``.
    """
    if clock not in ("real", "manual"):
        raise UsageError(f"clock is 'real' or 'manual', not {clock!r}")
    manual = ManualClock() if clock == "manual" else None
    loop = Loop(now=manual.now if manual else time.monotonic_ns)
    card: Card | None = None
    try:
        card, plugged = plug(device, loop, count, ports=ports, options=options)
        attach([card], [net] if isinstance(net, str) else net, loop)
    except BaseException:
        detach([card] if card else [])
        loop.close()
        raise
    return Alone(loop, card, [function for _, function in plugged], manual)
