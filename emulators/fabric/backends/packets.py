"""A descriptor that carries one frame per read and one per write: what TAP devices and datagram sockets have in common.

In here: bursts, the bounded queue, and what happens when the far end is away. Which descriptor it is, ``tap`` and
``dgram`` say.

A readable descriptor only defers the burst that reads it: frames lead to guest memory, and only a burst may wait for
that (``emulators.loop``). Bursts go on until there is nothing left, so that the loop has to tell of what is new only.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from emulators.fabric.backends.options import Options
from emulators.fabric.offload import Partial, Takes
from emulators.fabric.uplink import Wire
from emulators.loop import Loop, Scheduled
from regmodel.errors import UsageError
from regmodel.function import Buffer

BURST = 64
"""Frames taken from a descriptor before the loop looks at the others."""

MOST_LAST = 64
"""Bursts that are read at the end; a network that goes on sending does not keep us here."""

LONGEST = 4096 + 65536
"""Octets: no frame that a TAP device or a datagram carries is longer (QEMU's NET_BUFSIZE)."""

QUEUE = 1024
"""Frames that wait for a far end which does not keep up."""

RETRY, RETRY_SLOWEST = 20_000, 4_000_000
"""ns until a full far end is tried again, twice as long each time nothing went out. By timer, since an unconnected UNIX
socket is always *writable*."""

REOPEN = 1_000_000_000
"""ns until a lost descriptor is opened again."""

log = logging.getLogger("regmodel.fabric")


class FarEnd:
    """Is the far end there? Counts each failure, logs each change once."""

    def __init__(self, spec: str) -> None:
        self.spec, self.there, self.failures = spec, True, 0

    def failed(self, why: str, count: int = 1) -> None:
        self.failures += count
        if self.there:
            self.there = False
            log.warning("--net %s: %s; frames are lost until that changes", self.spec, why)

    def worked(self) -> None:
        if not self.there:
            self.there = True
            log.info("--net %s: the far end is back", self.spec)


class PacketBackend:
    """The common half. A subclass opens a descriptor, reads one frame into a buffer, writes one frame."""

    takes = Takes.NONE

    def __init__(self, options: Options) -> None:
        self.spec, self.options = options.spec, options
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0)
        self.far = FarEnd(options.spec)
        self._queue: deque[bytes] = deque()
        self._arena = memoryview(bytearray(BURST * 2048 + LONGEST))
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._fd = -1
        self._timer: Scheduled | None = None
        self._pause = RETRY
        self._again: Scheduled | None = None

    # -- for the subclass

    def _start(self) -> int:
        """Open; the descriptor, non-blocking. Raises ``UsageError``."""
        raise NotImplementedError

    def _stop(self, fd: int) -> None:
        """Close what ``_start`` opened and returned."""
        raise NotImplementedError

    def _read(self, buffer: memoryview) -> int:
        """One frame into ``buffer``: its length. Raises BlockingIOError when there is none, OSError for trouble."""
        raise NotImplementedError

    def _write(self, frame: Buffer) -> None:
        """One frame. Raises BlockingIOError when it has to wait, OSError for trouble."""
        raise NotImplementedError

    def _lost(self, error: OSError) -> bool:
        """True when the descriptor is no good any more after this error of ``_read``: it is closed."""
        return False

    def _hush(self) -> None:
        """Have the kernel refuse what others send us from now on, where it can tell them so."""

    # -- Backend

    def open(self, loop: Loop, wire: Wire) -> None:
        self._loop, self._wire = loop, wire
        self._fd = self._start()
        loop.add(self._fd, self._readable, edge=True)

    def close(self) -> None:
        if self._loop is not None and self._fd >= 0:
            self._loop.remove(self._fd)
            self._stop(self._fd)
            self._fd = -1
        self._loop = self._wire = None
        self._queue.clear()
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._timer = self._again = None

    def let_go(self) -> Sequence[Buffer]:
        """See ``Parting``."""
        if self._fd >= 0:
            self._hush()
        for _ in range(MOST_LAST):
            if not self._burst():
                break
        waiting = list(self._queue)
        self.close()
        return waiting

    def counters(self) -> dict[str, Any]:
        return {**self.counts, "queued": len(self._queue), "failures": self.far.failures}

    def send(self, frames: Sequence[Buffer]) -> int:
        written = 0 if self._queue else self._write_all(frames)
        waiting = frames[written : written + QUEUE - len(self._queue)]
        self._queue.extend(frame if isinstance(frame, Partial) else bytes(frame) for frame in waiting)
        if waiting and self._timer is None and self._loop is not None:
            self._pause = RETRY
            self._timer = self._loop.call_at(self._loop.now() + RETRY, self._retry)
        return written + len(waiting)

    # -- inside

    def _write_all(self, frames: Sequence[Buffer]) -> int:
        """Write until it would block; how many are gone, in one way or the other."""
        failed = 0
        for index, frame in enumerate(frames):
            try:
                self._write(frame)
            except BlockingIOError:
                self.counts["frames_out"] += index - failed
                return index
            except OSError as error:
                failed += 1
                self.far.failed(error.strerror or str(error))
        self.counts["frames_out"] += len(frames) - failed
        if failed < len(frames):
            self.far.worked()
        return len(frames)

    def _retry(self) -> None:
        self._timer = None
        written = self._write_all(tuple(islice(self._queue, BURST)))
        for _ in range(written):
            self._queue.popleft()
        self._pause = RETRY if written else min(self._pause * 2, RETRY_SLOWEST)
        if self._queue and self._loop is not None:
            pause = 0 if written == BURST else self._pause
            self._timer = self._loop.call_at(self._loop.now() + pause, self._retry)

    def _readable(self) -> None:
        if self._loop is not None:
            self._loop.defer(self._burst)

    def _burst(self) -> bool:
        """Read up to ``BURST`` frames and hand them in; True when there may be more."""
        if self._wire is None or self._fd < 0:
            return False
        frames, more = self._read_all()
        if frames:
            self.counts["frames_in"] += len(frames)
            self._wire.receive(frames)
        return more

    def _read_all(self) -> tuple[list[Buffer], bool]:
        """A burst, each frame behind the other in the arena, and whether there may be more."""
        frames: list[Buffer] = []
        offset = 0
        for _ in range(BURST):
            if offset + LONGEST > len(self._arena):
                break
            try:
                size = self._read(self._arena[offset : offset + LONGEST])
            except BlockingIOError:
                return frames, False
            except OSError as error:
                self.far.failed(error.strerror or str(error))
                if self._lost(error):
                    self._reopen()
                    return frames, False
                continue
            frames.append(self._arena[offset : offset + size])
            offset += size
        return frames, True

    def _reopen(self) -> None:
        """The descriptor is dead: close it, and try for another until there is one."""
        if self._loop is None:
            return
        if self._fd >= 0:
            self._loop.remove(self._fd)
            self._stop(self._fd)
            self._fd = -1
        try:
            self._fd = self._start()
        except UsageError:
            self._again = self._loop.call_at(self._loop.now() + REOPEN, self._reopen)
        else:
            self._loop.add(self._fd, self._readable, edge=True)
