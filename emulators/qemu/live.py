"""Requests to a guest image that runs: one vector at a time, through the mailbox in the guest's memory.

A request costs a store, the guest's look at it and a look at its answer: a few us on an idle machine, and what the access
itself takes. Requests that nobody waits for are posted, as writes are on the bus. May not enter: what is asked (``reached``),
what the image can do (``firmware.format``).
"""

from __future__ import annotations

import os
import time
from typing import Final

from emulators.qemu.errors import GuestDied, GuestTimeout
from emulators.qemu.firmware import FirmwareMachine
from firmware import format as f
from firmware.vectors import Result, Target, Vector, unpack_results
from regmodel.errors import UsageError
from regmodel.layout import layout

ANSWER_TIMEOUT: Final = 10.0
"""Seconds; beyond what the request itself may take. QEMU is in the way, and so is the device's server."""
_SPIN, _YIELD = 200, 100  # looks at the answer before the processor is left to others, and before sleeping
_NAP = 20e-6


class Live:
    """The mailbox of ``machine``, which was made with ``Mode.SERVE`` and is running."""

    def __init__(self, machine: FirmwareMachine) -> None:
        self.machine = machine
        machine.wait_for(f.State.SERVING)
        box = machine.guest.view("mailbox")
        offsets = {name: _offset(name) for name in ("vectors", "results")}
        self._words = machine.guest.words("mailbox")
        self._reply_word = _offset("replies") // 4
        self._codec = layout(f.VECTOR).struct
        self._vectors = box[offsets["vectors"] : offsets["vectors"] + f.SLOTS * self._codec.size]
        self._results = box[offsets["results"] : offsets["results"] + f.SLOTS * _RESULT]
        self._made = int(self._words[0])
        self._posted: list[tuple[int, Vector]] = []  # with their slots
        self._failed: list[tuple[Vector, Result]] = []
        self._taken: dict[int, int] = {}  # DMA memory: sizes by address

    def ask(self, vector: Vector) -> Result:
        """Have one vector executed, after all that were posted. Raises ``GuestDied``, ``GuestTimeout``."""
        slot = self._put(vector)
        self._wait(vector)
        return self._result(slot)

    def post(self, vector: Vector) -> None:
        """Have one vector executed soon: by the time that ``ask`` or ``flush`` returns."""
        if len(self._posted) == f.SLOTS - 2:  # one slot is left for a request that is asked
            self._wait(vector)
        self._posted.append((self._put(vector), vector))

    def flush(self) -> list[tuple[Vector, Result]]:
        """Wait for what was posted; what of it, since the last flush, did not end with ``Status.OK``."""
        if self._posted:
            self._wait(self._posted[-1][1])
        failed, self._failed = self._failed, []
        return failed

    def _put(self, vector: Vector) -> int:
        if self._made - int(self._words[self._reply_word]) & 0xFFFFFFFF >= f.SLOTS:  # it hangs, and was told so before
            raise GuestTimeout(f"{self.machine.name} has not answered {f.SLOTS} requests: {vector}")
        slot = self._made % f.SLOTS
        self._codec.pack_into(self._vectors, slot * self._codec.size, *vector)
        self._made += 1
        self._words[0] = self._made & 0xFFFFFFFF  # from here it is the guest's
        return slot

    def _result(self, slot: int) -> Result:
        return unpack_results(self._results[slot * _RESULT : (slot + 1) * _RESULT])[0]

    def _wait(self, vector: Vector) -> None:
        """Until all is answered; ``vector`` is what to complain about."""
        self._wait_for_answers(vector)
        for slot, posted in self._posted:
            result = self._result(slot)
            if not result.ok:
                self._failed.append((posted, result))
        self._posted.clear()

    def _wait_for_answers(self, vector: Vector) -> None:
        words, at, number = self._words, self._reply_word, self._made & 0xFFFFFFFF
        for _ in range(_SPIN):
            if words[at] == number:
                return
        for _ in range(_YIELD):
            if words[at] == number:
                return
            os.sched_yield()
        end = time.monotonic() + ANSWER_TIMEOUT + vector.limit / 1e6
        while words[at] != number:
            if not self.machine.alive:
                raise GuestDied(f"{self.machine.name}: QEMU is gone; it was asked to {vector}")
            if time.monotonic() > end:
                raise GuestTimeout(f"{self.machine.name} did not answer in {ANSWER_TIMEOUT:.0f} s: {vector}")
            time.sleep(_NAP)

    def target(self, target: Target) -> int:
        """Number one more target while the guest runs. Raises ``UsageError`` when there are too many."""
        number = self.machine.program.target(target)
        row = (target.match, target.parent, target.index, target.vendor, target.device, target.bdf, f.NONE, 0)
        codec = layout(f.TARGET).struct
        codec.pack_into(self.machine.guest.view("targets"), number * codec.size, *row)
        return number

    def take(self, size: int) -> int:
        """The address of the lowest free ``size`` bytes of DMA memory, which all functions share. Raises ``UsageError``."""
        symbol = self.machine.image.symbol("dma_buffer")
        at = symbol.address
        for first, taken in sorted(self._taken.items()):
            if first - at >= size:
                break
            at = first + taken
        if at + size > symbol.address + symbol.size:
            raise UsageError(f"no {size} bytes of the guest's {symbol.size} bytes of DMA memory are free")
        self._taken[at] = size
        return at

    def give_back(self, address: int) -> None:
        """What ``take`` gave."""
        del self._taken[address]

    def stop(self) -> None:
        """Let the guest end the machine."""
        self._words[1] = 1


_RESULT = int(f.RESULT.sizeof())


def _offset(name: str) -> int:
    """Where a member of the mailbox begins, in bytes."""
    at = 0
    for part in f.MAILBOX.subcons:
        if part.name == name:
            return at
        at += int(part.sizeof())
    raise KeyError(name)
