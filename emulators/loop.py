"""The event loop of one port: sockets, timers, bursts, polls, in one thread.

Two kinds of code run in it, and the difference is the reason this loop exists:

- a **handler** is what a readable descriptor calls; register accesses come from one. It returns at once, always.
- a **burst** is deferred, timed or polled work. One burst runs at a time. It may *wait* for guest memory that is reached
  by message only: it is then suspended (bursts live in a greenlet), handlers go on being called, and no other burst
  starts until it has finished. So a model needs no locks and no re-entrancy, and a guest that waits for a register
  is answered even while the device waits for the guest.

Between two bursts the descriptors are looked at. Nothing in here knows what the descriptors or the bursts are for.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import select
import time
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

from greenlet import getcurrent, greenlet

Burst: TypeAlias = Callable[[], bool]
Action: TypeAlias = Callable[[], None]

MILLISECOND = 1_000_000
POLL_FASTEST = 20_000
"""A polled burst that found nothing is tried again after this many ns, then after twice as long, ..."""
POLL_SLOWEST = 6 * MILLISECOND
"""... up to this long: what comes after a pause waits for half of it. 160 wakes a second take a percent of a core where
others keep the caches filled with theirs, and most of that is the sleep itself."""
LONG = 20_000
"""ns of handlers after which the descriptors are looked at once more before a burst."""
_FINE = 10 * MILLISECOND
_FD_SETSIZE = 1024
_WRITABLE = select.EPOLLOUT
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP

_log = logging.getLogger("regmodel.loop")
_reported: set[tuple[str, str, int]] = set()


def report_once(log: logging.Logger, where: str, error: BaseException) -> None:
    """One line for an unexpected ``error`` in ``where``, once per place it is raised at; its traceback at debug level."""
    line = error.__traceback__
    while line is not None and line.tb_next is not None:
        line = line.tb_next
    kind = (where, type(error).__name__, line.tb_lineno if line else 0)
    if kind not in _reported:
        _reported.add(kind)
        log.error("%s failed: %s: %s (this is a defect of the device model; further ones like it are not logged)",
                  where, type(error).__name__, error)  # fmt: skip
        log.debug("%s failed", where, exc_info=error)


class TimerQueue:
    """Actions by time. ``now`` says what time it is, in ns."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.pending: list[tuple[int, int, Scheduled]] = []
        """A heap of (when, order, timer); empty when nothing is scheduled."""
        self._order = count()

    def call_at(self, when: int, action: Action, again: Callable[[], int] | None = None) -> Scheduled:
        """Run ``action`` once ``now() >= when`` (ns); equal times run in order of their scheduling."""
        timer = Scheduled(action, again)
        heapq.heappush(self.pending, (when, next(self._order), timer))
        return timer

    def next_due(self) -> int | None:
        """When the earliest live timer is due, in ns."""
        heap = self.pending
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def put_off(self) -> int:
        """What is due and would find nothing (``Scheduled.again``) is due later. For how many ns nothing is, or 0."""
        heap, now = self.pending, self.now()
        while heap and heap[0][0] <= now:
            timer = heap[0][2]
            if timer.action is None:
                heapq.heappop(heap)
            elif timer.again is not None and (pause := timer.again()):
                heapq.heapreplace(heap, (now + pause, next(self._order), timer))
            else:
                return 0
        return heap[0][0] - now if heap else 0

    def mark(self) -> int:
        """A place in the order of scheduling, for ``pop_due``."""
        return next(self._order)

    def pop_due(self, now: int, before: int | None = None) -> Action | None:
        """Take out the earliest action that is due at ``now`` (and was scheduled before the mark ``before``)."""
        due = self.next_due()
        if due is None or due > now or (before is not None and self.pending[0][1] > before):
            return None
        timer = heapq.heappop(self.pending)[2]
        action, timer.action = timer.action, None
        return action


class Scheduled:
    """A ``regmodel.function.Timer``.

    ``again`` is asked when it is due: in how many ns it is worth while, or 0 if it is now. It must neither wait nor fail.
    """

    __slots__ = ("action", "again")

    def __init__(self, action: Action, again: Callable[[], int] | None = None) -> None:
        self.action: Action | None = action
        self.again = again

    def cancel(self) -> None:
        """Never fire; harmless when it has fired."""
        self.action = None


class ManualClock:
    """A ``regmodel.function.Clock`` whose time passes only by ``advance``: for tests and for replay."""

    def __init__(self, start: int = 0) -> None:
        self._time = start
        self._timers = TimerQueue(self.now)

    def now(self) -> int:
        return self._time

    def call_at(self, when: int, action: Action) -> Scheduled:
        return self._timers.call_at(when, action)

    def advance(self, duration: int) -> None:
        """Let ``duration`` ns pass: what falls due runs in order, each at its own time."""
        end = self._time + duration
        while (due := self._timers.next_due()) is not None and due <= end:
            self._time = max(self._time, due)
            action = self._timers.pop_due(self._time)
            if action:
                action()
        self._time = end


class Completion:
    """What a burst waits for. Whoever has the answer calls ``complete``; ``value`` is then that answer."""

    __slots__ = ("done", "value")

    def __init__(self) -> None:
        self.done = False
        self.value: object = None

    def complete(self, value: object) -> None:
        """Only the first answer counts."""
        if not self.done:
            self.done, self.value = True, value


class Loop:
    """One port's loop, and its ``Clock``. ``now`` gives the time in ns; manual time makes tests deterministic.

    ``spin_ns``: after the last event, look at the descriptors without sleeping for that long. It halves the round
    trip of a register read and costs the core.
    """

    def __init__(self, *, now: Callable[[], int] = time.monotonic_ns, spin_ns: int = 0) -> None:
        self.now = now
        self.spin_ns = spin_ns
        self._epoll = select.epoll()
        self._fine_sleep = self._epoll.fileno() < _FD_SETSIZE  # select() takes no descriptor beyond
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readers: dict[int, Action] = {}
        self._writers: dict[int, Action] = {}
        self._timers = TimerQueue(now)
        self._deferred: dict[Burst, None] = {}
        self._worker: greenlet | None = None
        self._hub: greenlet | None = None
        self._awaited: Completion | None = None
        self._deadline = 0
        self._last_event = 0
        self._stopping = False
        self.add(self._wake, self._woken)

    # -- descriptors

    def add(self, fd: int, on_readable: Action, *, edge: bool = False) -> None:
        """Call ``on_readable`` while ``fd`` is readable or hung up (level-triggered). It must tolerate EAGAIN.

        ``edge``: only when something has come since the last call; then it must read, or have read, all there is.
        """
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET if edge else select.EPOLLIN)
        self._readers[fd] = on_readable

    def interest(self, fd: int, *, read: bool = True, on_writable: Action | None = None) -> None:
        """Change what is waited for on a descriptor that was added. A hang-up is reported in any case."""
        self._epoll.modify(fd, (select.EPOLLIN if read else 0) | (select.EPOLLOUT if on_writable else 0))
        if on_writable:
            self._writers[fd] = on_writable
        else:
            self._writers.pop(fd, None)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; call it before closing. Harmless when it was never added."""
        if self._readers.pop(fd, None):
            self._epoll.unregister(fd)
            self._writers.pop(fd, None)

    # -- time and work: the Clock, defer and poll of regmodel.function.Host

    def call_at(self, when: int, action: Action, again: Callable[[], int] | None = None) -> Scheduled:
        """Run ``action`` as a burst once ``now() >= when`` (ns), unless ``Scheduled.again`` puts it off."""
        return self._timers.call_at(when, action, again)

    def defer(self, burst: Burst) -> None:
        """Run ``burst`` once, however often deferred, and again as long as it returns True; one burst a turn, in order."""
        self._deferred[burst] = None

    def poll(self, burst: Burst, quiet: Callable[[], bool] | None = None) -> Polled:
        """Run ``burst`` over and over: each turn while it returns True, less and less often while it does not.

        ``quiet`` says, at once and without fail, that ``burst`` would find nothing. A loop that has nothing else to do asks
        it between two sleeps, which costs half of what it takes to set a burst going.
        """
        return Polled(self, burst, quiet)

    # -- waiting, for bursts only

    @property
    def may_wait(self) -> bool:
        """True in a burst, False in a handler."""
        return self._worker is not None and getcurrent() is self._worker

    def wait(self, completion: Completion, timeout_ns: int) -> bool:
        """Suspend the running burst until ``completion.done``; False when ``timeout_ns`` passed first.

        Raises RuntimeError outside of a burst: a handler that waits would stall the guest which it should answer.
        """
        if not self.may_wait or self._hub is None:
            raise RuntimeError("only a deferred burst, a timer or a poll may wait")
        if not completion.done:
            self._awaited, self._deadline = completion, self.now() + timeout_ns
            self._hub.switch()
            self._awaited = None
        return completion.done

    # -- running

    def run(self) -> None:
        """Serve until ``stop``; at once, if that came before (a signal between start-up and here)."""
        while not self._stopping:
            self.turn(None)
        self._stopping = False

    def stop(self) -> None:
        """Let ``run`` return after its turn. Safe from a signal handler."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def turn(self, timeout_ns: int | None = 0) -> bool:
        """Look at the descriptors, waiting at most ``timeout_ns`` (None: as long as nothing is due), then run bursts.

        True when anything was called. When a handler took long, others have their turn before the bursts: a client that
        waits for a register is kept waiting by one of the two, not by both.
        """
        events = self._look(timeout_ns)
        if events:
            start = self.now()
            self._handle(events)
            if self._deferred and self.now() - start > LONG:
                served = {fd for fd, _ in events}
                self._handle([event for event in self._epoll.poll(0) if event[0] not in served])
        if self._deferred or self._awaited or self._timers.pending:
            return self._work_once() or bool(events)
        return bool(events)

    def _handle(self, events: list[tuple[int, int]]) -> None:
        for fd, mask in events:
            if mask & _READABLE and (reader := self._readers.get(fd)):
                self._call(reader)
            if mask & _WRITABLE and (writer := self._writers.get(fd)):
                self._call(writer)

    def settle(self, turns: int = 10_000) -> None:
        """Turn until nothing is left to do now. Raises RuntimeError when that takes more than ``turns``."""
        for _ in range(turns):
            if not self.turn(0):
                return
        raise RuntimeError(f"still busy after {turns} turns")

    # -- a loop that is worked by the caller, between other things

    @property
    def watches(self) -> bool:
        """Whether anybody has added a descriptor."""
        return len(self._readers) > 1  # the first is our own

    def next_due(self) -> int | None:
        """When the earliest timer is due, in ns."""
        return self._timers.next_due()

    def work(self) -> bool:
        """Run what is deferred or due now, each once, without looking at the descriptors; True when there was anything."""
        worked = False
        for _ in range(len(self._deferred) or 1):
            if not (self._deferred or self._awaited or self._timers.pending) or not self._work_once():
                break
            worked = True
        return worked

    def close(self) -> None:
        """Give back the loop's own descriptors. What was added stays open: its owner closes it."""
        self._readers.clear()
        self._writers.clear()
        self._deferred.clear()
        if self._worker is not None and not self._worker.dead and getcurrent() is not self._worker:
            self._worker.throw()
        self._worker = None
        self._epoll.close()
        os.close(self._wake)

    # -- inside

    def _look(self, timeout_ns: int | None) -> list[tuple[int, int]]:
        timeout = self._patience(timeout_ns) if timeout_ns != 0 else 0
        if timeout == 0:
            return self._epoll.poll(0)
        if self.spin_ns:
            events = self._epoll.poll(0)
            if events:
                self._last_event = self.now()
            if events or self.now() - self._last_event < self.spin_ns:
                return events
        if timeout is None:
            return self._epoll.poll()
        if timeout >= _FINE or not self._fine_sleep:
            # epoll rounds up to whole milliseconds: sleep short of the deadline, the rest is slept finely next turn
            return self._epoll.poll(max(timeout // MILLISECOND - 1, 1) / 1000)
        while not select.select((self._epoll,), (), (), timeout / 1e9)[0]:
            if timeout_ns is not None or self._awaited is not None or not (timeout := self._timers.put_off()):
                return []
        return self._epoll.poll(0)

    def _patience(self, timeout_ns: int | None) -> int | None:
        """For how many ns there is nothing to do but descriptors; None is for ever."""
        if self._awaited is not None:
            left: int | None = 0 if self._awaited.done else max(self._deadline - self.now(), 0)
        elif self._deferred:
            return 0
        else:
            due = self._timers.next_due()
            left = None if due is None else max(due - self.now(), 0)
        if timeout_ns is None or left is None:
            return timeout_ns if left is None else left
        return min(left, timeout_ns)

    def _work_once(self) -> bool:
        """Give the bursts their share of a turn, or what a suspended one waited for."""
        awaited = self._awaited
        if awaited is not None:
            if not awaited.done and self.now() < self._deadline:
                return False
        elif not self._deferred:
            due = self._timers.next_due()
            if due is None or due > self.now():
                return False
        self._hub = getcurrent()
        if self._worker is None or self._worker.dead:
            self._awaited = None
            self._worker = greenlet(self._work)
        self._worker.switch()
        return True

    def _work(self) -> None:
        """The greenlet in which all bursts run. Each turn: the timers that are due, and the one burst that waited longest."""
        while True:
            if self._timers.pending:
                now, mark = self.now(), self._timers.mark()
                while action := self._timers.pop_due(now, mark):  # what these schedule for now, waits for the next turn
                    self._call(action)
            for burst in self._deferred:  # the first of them, and no more: a register of another function may be waiting
                del self._deferred[burst]
                self._run_burst(burst)
                break
            assert self._hub is not None
            self._hub.switch()

    def _run_burst(self, burst: Burst) -> None:
        try:
            if burst():
                self._deferred[burst] = None
        except Exception as error:
            report_once(_log, getattr(burst, "__qualname__", "a burst"), error)

    def _call(self, action: Action) -> None:
        try:
            action()
        except Exception as error:
            report_once(_log, getattr(action, "__qualname__", "a callback"), error)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)


class Polled:
    """A burst that is tried at an adaptive rate; ``cancel`` ends it. Made by ``Loop.poll``."""

    __slots__ = ("_again", "_burst", "_interval", "_loop", "_quiet", "_timer")

    def __init__(self, loop: Loop, burst: Burst, quiet: Callable[[], bool] | None) -> None:
        self._loop, self._burst, self._quiet, self._interval = loop, burst, quiet, POLL_FASTEST
        self._again = None if quiet is None else self._put_off
        self._timer: Scheduled | None = loop.call_at(loop.now(), self._try, self._again)

    def _try(self) -> None:
        found = False
        try:
            found = self._burst()
        except Exception as error:
            report_once(_log, getattr(self._burst, "__qualname__", "a polled burst"), error)
        if self._timer is None:
            return  # cancelled by the burst itself
        self._interval = POLL_FASTEST if found else min(self._interval * 2, POLL_SLOWEST)
        self._timer = self._loop.call_at(self._loop.now() + (0 if found else self._interval), self._try, self._again)

    def _put_off(self) -> int:
        """For how many ns it need not be tried; 0: it must be now."""
        if self._quiet is None or not self._quiet():
            return 0
        self._interval = min(self._interval * 2, POLL_SLOWEST)
        return self._interval

    def cancel(self) -> None:
        """Never again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
