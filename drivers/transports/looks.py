"""The tolerant replay: what the driver does must be what was recorded, how often it looks need not.

*Actions* change the device: writes, resets, memory that is allocated, freed or handed over with new contents, interrupts that
are enabled or disabled. They must come as recorded. *Looks* are reads, memory taken from the device, and waiting; those
recorded between two actions are one poll, of any length:

- A register gives the values that it gave in this poll, one after the other, each once; then the last one again, without the
  bits that reading clears. So a loop ends with the value that ended it then, after as many turns as there were values.
- Memory gives one recorded step of changes per look, then no more.
- Waiting gives the vectors that were told in this poll, a batch per call; then time is up.
- What was not looked at before the next action is not lost: it is there in the next poll.
- Time stands still but for ``sleep``, for a wait in vain and for a tick per question; it never falls behind the recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from drivers.errors import ReplayMismatch
from drivers.transports.decode import CONFIG, Decoder
from drivers.transports.handover import Change
from drivers.transports.recording import Entry, Recording

TICK: Final = 10e-6
"""Seconds that pass when the time is asked for, so that a loop with a deadline ends."""
PATIENCE: Final = 1_000_000
"""Looks without an action after which the driver is taken to wait for what will not come."""
READS: Final = ("read", "config_read")
CONSTANT: Final = ("bar", "irq_vectors")

Key: TypeAlias = tuple[Any, ...]


class Poll:
    """The looks between two actions. ``action`` ends it; None at the end of the recording."""

    def __init__(self) -> None:
        self.reads: dict[Key, deque[Entry]] = {}
        self.memory: dict[int, deque[Entry]] = {}
        self.vectors: deque[Entry] = deque()
        self.until = 0.0
        self.action: Entry | None = None


class Tolerant:
    """See the module."""

    def __init__(self, recording: Recording, decoder: Decoder) -> None:
        self._recording, self._decoder = recording, decoder
        self._constant = {(e.verb, *e.arguments): e for e in recording.entries if e.verb in CONSTANT}
        self._polls = deque(self._split(recording.entries))
        self._poll = self._polls.popleft()
        self._last: dict[Key, int] = {}
        self._clock = next((float(e.result) for e in recording.entries if e.verb == "now"), 0.0)
        self._looks = 0

    def _split(self, entries: Sequence[Entry]) -> list[Poll]:
        polls = [Poll()]
        for entry in entries:
            poll = polls[-1]
            if entry.verb in READS:
                self._add_read(poll.reads.setdefault((entry.verb, *entry.arguments), deque()), entry)
            elif entry.verb == "to_cpu":
                if entry.result:
                    poll.memory.setdefault(entry.arguments[0], deque()).append(entry)
            elif entry.verb == "wait_irq":
                if entry.result:
                    poll.vectors.append(entry)
            elif entry.verb == "now":
                poll.until = max(poll.until, float(entry.result))
            elif _acts(entry.verb, entry.arguments):
                poll.action = entry
                polls.append(Poll())
        return polls

    def _add_read(self, queue: deque[Entry], entry: Entry) -> None:
        """A value that is no news is left out: the driver may see it once or a hundred times."""
        news = not queue or queue[-1].result != entry.result or isinstance(entry.result, dict)
        if news or entry.result & self._clears(entry.verb, entry.arguments):
            queue.append(entry)

    def _clears(self, verb: str, arguments: Sequence[int]) -> int:
        """The bits that reading clears."""
        where = arguments if verb == "read" else (CONFIG, *arguments)
        return self._decoder.place(*where).clears

    def call(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        """See ``replay.Script``."""
        if _acts(verb, arguments):
            return self._act(verb, arguments)
        self._looks += 1
        if self._looks > PATIENCE:
            raise self._mismatch(f"the driver has looked {PATIENCE} times since, last: {self._decoder.call(verb, arguments)}")
        match verb:
            case "read" | "config_read":
                return self._read(verb, arguments)
            case "to_cpu":
                return self._take(*arguments)
            case "wait_irq":
                if self._poll.vectors:
                    return self._poll.vectors.popleft().give()
                self._clock += arguments[0]
                return []
            case "sleep":
                self._clock += arguments[0]
                return None
            case "now":
                self._clock += TICK
                return self._clock
            case "to_device":
                return None
        known = self._constant.get((verb, *arguments))
        if known is None:
            raise self._mismatch(f"the driver: {self._decoder.call(verb, arguments)}")
        return known.give()

    def _read(self, verb: str, arguments: tuple[Any, ...]) -> int:
        key = (verb, *arguments)
        queue = self._poll.reads.get(key)
        if queue:
            value: int = queue.popleft().give()
            self._last[key] = value
            return value
        if key not in self._last:
            raise self._mismatch(f"the driver: {self._decoder.call(verb, arguments)}, which was never read before that")
        return self._last[key] & ~self._clears(verb, arguments)

    def _take(self, iova: int, offset: int, size: int) -> list[Change]:
        """The next step of changes, as far as it lies in what is asked for; the rest stays."""
        steps = self._poll.memory.get(iova)
        if not steps:
            return []
        step, end = steps.popleft(), offset + size
        changed: list[Change] = step.give()
        mine = [(at, data) for at, data in changed if offset <= at and at + len(data) <= end]
        rest = [change for change in changed if change not in mine]
        if rest:
            steps.appendleft(replace(step, result=rest))
        return mine

    def _act(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        action = self._poll.action
        if action is None and verb == "close" and self._recording.cut:
            return None
        if action is None:
            raise self._mismatch(f"the driver: {self._decoder.call(verb, arguments)}")
        if (action.verb, action.arguments) != (verb, arguments):
            what = self._decoder.deviation((action.verb, action.arguments, action.result), verb, arguments)
            raise ReplayMismatch(f"{self._recording.path}, line {action.line}: {what}")
        self._looks = 0
        self._clock = max(self._clock, self._poll.until)
        done, self._poll = self._poll, self._polls.popleft()
        self._carry(done)
        return action.give()

    def _carry(self, done: Poll) -> None:
        """What nobody looked at goes to the front of the next poll."""
        poll = self._poll
        poll.vectors.extendleft(reversed(done.vectors))
        for iova, steps in done.memory.items():
            poll.memory.setdefault(iova, deque()).extendleft(reversed(steps))
        for key, left in done.reads.items():
            values = [e.result for e in left if not isinstance(e.result, dict)]
            if not values:
                continue
            clears, missed = self._clears(key[0], key[1:]), 0
            for value in values:
                missed |= value & clears
            queue = poll.reads.setdefault(key, deque())
            first = queue.popleft() if queue and not isinstance(queue[0].result, dict) else left[-1]
            base = first.result if isinstance(first.result, int) else values[-1]
            queue.appendleft(replace(first, result=base | missed))

    def _mismatch(self, what: str) -> ReplayMismatch:
        action = self._poll.action
        path = self._recording.path
        if action is None:
            cut = " (it was cut off)" if self._recording.cut else ""
            return ReplayMismatch(f"{path}: the recording has ended{cut}; {what}")
        recorded = self._decoder.call(action.verb, action.arguments, action.result)
        return ReplayMismatch(f"{path}, line {action.line}: recorded: {recorded}; {what}")


def _acts(verb: str, arguments: Sequence[Any]) -> bool:
    """The call changes something: to hand over memory that has not changed does not."""
    if verb == "to_device":
        return bool(arguments[3])
    return verb not in (*READS, *CONSTANT, "to_cpu", "wait_irq", "sleep", "now")
