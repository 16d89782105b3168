"""The event loop: order of things, time, waiting bursts, and that nothing unexpected ends it."""

from __future__ import annotations

import gc
import itertools
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from emulators.loop import LONG, POLL_SLOWEST, Completion, Loop, ManualClock

MS = 1_000_000


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def timed(clock):
    loop = Loop(now=clock.now)
    yield loop
    loop.close()


class TestBursts:
    def test_once_however_often_deferred(self, loop):
        runs = []

        def burst():
            runs.append(1)
            return False

        for _ in range(3):
            loop.defer(burst)
        loop.settle()
        assert runs == [1]
        loop.defer(burst)
        loop.settle()
        assert runs == [1, 1]

    @pytest.mark.parametrize(("long", "order"), [(False, "busy burst other"), (True, "busy other burst")])
    def test_a_long_handler_lets_others_before_the_burst(self, timed, clock, long, order):
        called = []
        busy, other = os.eventfd(1, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)

        def on_busy():  # stays readable, as the socket of a client does that has sent more
            called.append("busy")
            timed.defer(lambda: bool(called.append("burst")))
            os.eventfd_write(other, 1)
            clock.advance(LONG + 1 if long else 1)

        def on_other():
            called.append("other")
            os.eventfd_read(other)

        timed.add(busy, on_busy)
        timed.add(other, on_other)
        timed.turn()
        timed.remove(busy)
        timed.settle()
        timed.remove(other)
        os.close(busy)
        os.close(other)
        assert called == order.split()

    def test_bound_methods_are_one_burst(self, loop):
        class Model:
            runs = 0

            def burst(self):
                self.runs += 1
                return False

        model = Model()
        loop.defer(model.burst)
        loop.defer(model.burst)
        loop.settle()
        assert model.runs == 1

    def test_again_while_true_with_descriptors_looked_at_between(self, loop):
        near, far = os.pipe2(os.O_NONBLOCK)
        order = []
        loop.add(near, lambda: order.append(os.read(near, 10)))

        def burst():
            order.append("burst")
            if len(order) == 1:
                os.write(far, b"x")
            return len(order) < 4

        loop.defer(burst)
        loop.settle()
        assert order == ["burst", b"x", "burst", "burst"]
        loop.remove(near)
        os.close(near)
        os.close(far)

    def test_descriptors_are_looked_at_after_each_burst(self, loop):
        """A register access waits for one burst of one function at most, however many functions are busy."""
        near, far = os.pipe2(os.O_NONBLOCK)
        order = []
        loop.add(near, lambda: order.append(os.read(near, 10)))
        for i in range(5):
            loop.defer(lambda i=i: (order.append(i), i == 0 and os.write(far, b"x"))[0] is not None)
        loop.settle()
        assert order == [0, b"x", 1, 2, 3, 4]
        loop.remove(near)
        os.close(near)
        os.close(far)

    def test_fair(self, loop):
        order = []
        for name in "ab":
            loop.defer(lambda name=name: order.append(name) or len(order) < 6)
        loop.settle()
        assert "".join(order).startswith("ababab")

    def test_deferring_from_a_burst_runs_in_the_next_turn(self, loop):
        order = []
        loop.defer(lambda: loop.defer(lambda: order.append("second") is not None) or order.append("first") is not None)
        loop.turn()
        assert order == ["first"]
        loop.turn()
        assert order == ["first", "second"]

    def test_one_that_fails_does_not_stop_the_others(self, loop, caplog):
        order = []

        def fails():
            raise ValueError("broken model")

        for _ in range(3):
            loop.defer(fails)
            loop.defer(lambda: order.append(1) is not None)
            loop.call_at(0, fails)
            loop.settle()
        assert order == [1, 1, 1]
        errors = [r for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 1 and "broken model" in errors[0].getMessage() and "\n" not in errors[0].getMessage()


class TestTime:
    def test_manual_clock(self, clock):
        order = []
        clock.call_at(20, lambda: order.append((clock.now(), "b")))
        clock.call_at(10, lambda: order.append((clock.now(), "a")))
        clock.call_at(20, lambda: order.append((clock.now(), "c")))
        clock.call_at(15, lambda: clock.call_at(17, lambda: order.append((clock.now(), "nested"))))
        cancelled = clock.call_at(18, lambda: order.append("never"))
        clock.advance(9)
        assert order == []
        cancelled.cancel()
        clock.advance(100)
        assert order == [(10, "a"), (17, "nested"), (20, "b"), (20, "c")] and clock.now() == 109
        cancelled.cancel()

    def test_manual_time_in_a_loop(self, timed, clock):
        order = []
        timed.call_at(100, lambda: order.append(clock.now()))
        timed.settle()
        assert order == []
        clock.advance(150)
        timed.settle()
        assert order == [150]

    def test_rescheduling_for_now_does_not_hold_the_loop(self, timed):
        runs = []

        def again():
            runs.append(1)
            timed.call_at(timed.now(), again)

        timed.call_at(0, again)
        timed.turn()
        timed.turn()
        assert len(runs) == 2

    def test_a_timer_may_cancel_another_that_is_due(self, timed, clock):
        order = []
        timed.call_at(1, lambda: other.cancel())
        other = timed.call_at(2, lambda: order.append("never"))
        clock.advance(5)
        timed.settle()
        assert order == []

    @pytest.mark.parametrize("delay", [200_000, 3 * MS, 25 * MS])
    def test_real_timers_come_in_time(self, loop, delay):
        def late():
            fired = []
            start = loop.now()
            loop.call_at(start + delay, lambda: fired.append(loop.now()))
            while not fired:
                loop.turn(None)
            assert fired[0] >= start + delay
            return fired[0] - start - delay

        assert any(late() < MS for _ in range(200)), "one undisturbed round is enough: the machine is shared"

    def test_sleeping_costs_nothing(self, loop):
        loop.call_at(loop.now() + 50 * MS, loop.stop)
        before = time.process_time()
        loop.run()
        assert time.process_time() - before < 0.02


class TestPolls:
    def test_rate_falls_and_rises(self, timed, clock):
        times, found = [], []
        poll = timed.poll(lambda: times.append(clock.now()) or bool(found))
        for _ in range(2000):
            clock.advance(10_000)
            timed.turn()
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps == sorted(gaps) and gaps[0] <= 50_000 and gaps[-1] == POLL_SLOWEST
        found.append(1)
        clock.advance(POLL_SLOWEST)
        timed.turn()
        del times[:]
        for _ in range(10):
            timed.turn()
        assert len(times) == 10
        poll.cancel()
        poll.cancel()
        clock.advance(100 * MS)
        timed.settle()
        assert len(times) == 10

    def test_cancelled_by_itself(self, timed):
        runs = []

        def burst():
            runs.append(1)
            poll.cancel()
            return True

        poll = timed.poll(burst)
        timed.settle()
        assert runs == [1]

    def test_one_that_fails_is_tried_again(self, timed, clock, caplog):
        runs = []

        def burst():
            runs.append(1)
            raise ValueError("broken poll")

        timed.poll(burst)
        for _ in range(5):
            timed.settle()
            clock.advance(10 * MS)
        assert len(runs) >= 4 and caplog.text.count("broken poll") == 1

    def test_asked_in_its_place_whether_there_is_anything(self, timed, clock, monkeypatch):
        """While the loop sleeps. Time passes only in its sleep, so that nothing falls due before it has gone to sleep."""
        runs, asked, something = [], [], []

        def sleep(descriptors, _, __, seconds):
            assert clock.now() < 1000 * MS, "it goes on sleeping"
            clock.advance(round(seconds * 1e9))
            return [], [], []

        def quiet():
            asked.append(clock.now())
            return not something

        monkeypatch.setattr(select, "select", sleep)
        timed.poll(lambda: bool(runs.append(clock.now())), quiet)
        timed.call_at(60 * MS, lambda: something.append(clock.now()))
        timed.call_at(90 * MS, timed.stop)
        timed.run()
        assert something == [60 * MS] and clock.now() == 90 * MS, "other timers are not forgotten meanwhile"
        before, after = [when for when in asked if when < 60 * MS], [when for when in asked if when >= 60 * MS]
        gaps = [b - a for a, b in itertools.pairwise(before)]
        assert len(gaps) >= 6 and gaps == sorted(gaps) and gaps[-1] == POLL_SLOWEST, "asked less and less often"
        assert runs[:2] == [0, after[0]], "run at once, and then when there is something"

    def test_what_waits_is_not_held_up_by_it(self, loop):
        asked, ended = [], []

        def quiet():
            asked.append(loop.now())
            return len(asked) < 100

        def waits():
            before = len(asked)
            ended.append((loop.wait(Completion(), 5 * MS), len(asked) - before))
            loop.stop()
            return False

        loop.poll(lambda: False, quiet)
        loop.defer(waits)
        loop.run()
        assert ended == [(False, 0)], "the wait has its own end, and nobody asks meanwhile"


class TestWaiting:
    def test_handlers_go_on(self, loop):
        near, far = os.pipe2(os.O_NONBLOCK)
        order, completion = [], Completion()
        loop.add(near, lambda: order.append(os.read(near, 1)))

        def burst():
            order.append("waits")
            assert loop.may_wait
            order.append(loop.wait(completion, 10**12))
            order.append(completion.value)
            return False

        loop.defer(burst)
        loop.defer(lambda: order.append("other") is not None)
        loop.settle()
        os.write(far, b"1")
        loop.settle()
        assert order == ["waits", b"1"]
        completion.complete("answer")
        completion.complete("too late")
        loop.settle()
        assert order == ["waits", b"1", True, "answer", "other"]
        loop.remove(near)
        os.close(near)
        os.close(far)

    def test_timeout(self, timed, clock):
        result = []
        timed.defer(lambda: result.append(timed.wait(Completion(), 5 * MS)))
        timed.settle()
        clock.advance(5 * MS - 1)
        timed.settle()
        assert result == []
        clock.advance(1)
        timed.settle()
        assert result == [False]

    def test_real_timeout_ends_the_sleep(self, loop):
        result = []
        loop.defer(lambda: result.append(loop.wait(Completion(), 5 * MS)) or loop.stop())
        loop.run()
        assert result == [False]

    def test_not_from_a_handler_and_not_from_outside(self, loop):
        near, far = os.pipe2(os.O_NONBLOCK)
        errors = []

        def handler():
            os.read(near, 1)
            assert not loop.may_wait
            try:
                loop.wait(Completion(), 1)
            except RuntimeError as error:
                errors.append(error)

        loop.add(near, handler)
        loop.defer(lambda: False)
        os.write(far, b"x")
        loop.settle()
        assert len(errors) == 1
        with pytest.raises(RuntimeError):
            loop.wait(Completion(), 1)
        loop.remove(near)
        os.close(near)
        os.close(far)

    def test_closing_with_a_burst_that_waits(self):
        loop, ended = Loop(), []

        def burst():
            try:
                loop.wait(Completion(), 10**12)
            finally:
                ended.append(1)
            return False

        loop.defer(burst)
        loop.settle()
        loop.close()
        assert ended == [1]


class TestRunning:
    def test_stop_from_a_signal(self, loop):
        sender = threading.Timer(0.02, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        old = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
        try:
            sender.start()
            loop.run()
        finally:
            sender.join()
            signal.signal(signal.SIGUSR1, old)

    def test_no_thread(self):
        before = set(threading.enumerate())
        loop = Loop()
        loop.defer(lambda: False)
        loop.settle()
        assert set(threading.enumerate()) <= before
        loop.close()

    def test_spinning_sees_events_without_sleeping(self):
        clock = ManualClock()  # in real time the test itself may be off the processor for longer than the loop spins
        loop = Loop(now=clock.now, spin_ns=2 * MS)
        near, far = os.pipe2(os.O_NONBLOCK)
        loop.add(near, lambda: os.read(near, 10))
        os.write(far, b"x")
        for _ in range(10):
            loop.turn(None)  # would sleep for ever
            clock.advance(MS // 10)
        loop.close()
        spinning = Loop(spin_ns=2 * MS)
        spinning.call_at(spinning.now() + 10 * MS, spinning.stop)
        spinning.run()
        spinning.close()
        os.close(near)
        os.close(far)

    def test_a_callback_may_remove_another_descriptor(self, loop):
        pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(2)]
        order = []
        for i, (near, far) in enumerate(pipes):
            loop.add(near, lambda i=i: order.append(i) or [loop.remove(n) for n, _ in pipes])
            os.write(far, b"x")
        loop.settle()
        assert len(order) == 1
        for near, far in pipes:
            os.close(near)
            os.close(far)

    def test_closing_leaves_no_descriptor(self):
        gc.collect()  # what other tests left behind is not given back between the two counts
        before = len(list(Path("/proc/self/fd").iterdir()))
        Loop().close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
