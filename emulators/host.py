"""``Host``: all that a model may reach, as the front ends of this project give it.

DMA, clock, packets and interrupts are passed in; work goes to the loop of the port. What lives here besides is the one
place where a model complains about its guest: every complaint is counted by kind, told to whoever listens, and logged at
most once a second per kind, since a guest can be wrong a million times a second.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from emulators.loop import Burst, Loop
from emulators.pci.shared import SharedMemory
from regmodel.function import Buffer, Clock, Dma, OnDescriptor, Packets, Timer

_log = logging.getLogger("regmodel.device")
QUIET = 1_000_000_000
"""After a logged complaint, others of its kind are only counted for this many ns."""


class Signal(Protocol):
    """Something that delivers a message-signalled vector."""

    def __call__(self, vector: int) -> None: ...


class Nowhere:
    """``Packets`` that go nowhere, for a function without a wire."""

    def send(self, frames: Sequence[Buffer]) -> None: ...


class Host:
    """A ``regmodel.function.Host``, with the interrupt line of a legacy function (``line``) besides.

    ``diagnostics`` counts complaints by kind; ``on_diagnose(kind, detail)``, when set, is told each one, and ``on_descriptor``
    each descriptor.
    """

    def __init__(
        self, name: str, loop: Loop, dma: Dma, packets: Packets, signal: Signal, line: Callable[[bool], None],
        messages: Callable[[], bool] = lambda: False, inherited: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.dma, self.packets = name, dma, packets
        self.clock: Clock = loop
        self.defer: Callable[[Burst], None] = loop.defer
        """Run a burst soon, outside of any register access; again as long as it returns True. A doorbell does little else."""
        self.messages = messages
        """Whether MSI or MSI-X is enabled: a few devices mask and clear a cause differently then."""
        self._loop, self._signal, self._line = loop, signal, line
        self._inherited = dict(inherited or {})
        self.diagnostics: Counter[str] = Counter()
        self.on_diagnose: Callable[[str, Mapping[str, object]], None] | None = None
        self.on_descriptor: OnDescriptor | None = None
        self._quiet_until: dict[str, int] = {}
        self._unlogged: Counter[str] = Counter()

    def irq(self, vector: int) -> None:
        """Signal message-signalled vector ``vector`` (MSI-X or MSI, whichever is enabled) once."""
        self._signal(vector)

    def line(self, asserted: bool) -> None:
        """Drive the interrupt line: level, not edge. It stays as it was left."""
        self._line(asserted)

    def shared_memory(self, bar: int, size: int) -> SharedMemory:
        """``size`` bytes for a BAR that guests may map: new ones, or those that a former process has handed over."""
        return SharedMemory(size, f"{self.name} bar{bar}", inherited=self._inherited.pop(bar, None))

    def poll(self, burst: Burst, quiet: Callable[[], bool] | None = None) -> Timer:
        """Run ``burst`` over and over at an adaptive rate, unless ``quiet``."""
        return self._loop.poll(burst, quiet)

    def diagnose(self, kind: str, **detail: object) -> None:
        """Count, tell and (rate-limited) log that the guest did something which silicon would not accept."""
        self._report(logging.WARNING, kind, detail)

    def remark(self, kind: str, **detail: object) -> None:
        """The same for what silicon takes without a word, as a 1 in a reserved bit: drivers do it all the time."""
        self._report(logging.INFO, kind, detail)

    def _report(self, level: int, kind: str, detail: Mapping[str, object]) -> None:
        self.diagnostics[kind] += 1
        if self.on_diagnose is not None:
            self.on_diagnose(kind, detail)
        now = self.clock.now()
        if now < self._quiet_until.get(kind, now):
            self._unlogged[kind] += 1
            return
        self._quiet_until[kind] = now + QUIET
        more = self._unlogged.pop(kind, 0)
        _log.log(level, "%s: %s%s%s", self.name, kind, _phrase(detail), f" (and {more} more)" if more else "")


def _phrase(detail: Mapping[str, object]) -> str:
    """`` register=rdt[1] value=0x40``: numbers in hexadecimal, as registers are."""
    return "".join(
        f" {key}={value:#x}" if isinstance(value, int) and not isinstance(value, bool) else f" {key}={value}"
        for key, value in detail.items()
    )
