"""The mailbox, with a guest that is a thread: what is asked is answered in order, and silence is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from emulators.qemu import live
from emulators.qemu.errors import GuestDied, GuestTimeout
from emulators.qemu.live import Live
from firmware import format as f
from firmware.format import Op, Status
from firmware.vectors import Program, Result, Vector, known_as, unpack_vectors
from regmodel.layout import layout

REPLIES = 64 // 4
VECTOR, RESULT = f.VECTOR.sizeof(), f.RESULT.sizeof()


class Guest:
    """Memory of a guest and, unless ``silent``, the guest. It echoes the value of each vector; value 13 is refused."""

    def __init__(self) -> None:
        self.memory = {"mailbox": memoryview(bytearray(f.MAILBOX.sizeof())), "targets": memoryview(bytearray(32 * 16))}
        self.seen: list[Vector] = []
        self.alive = True
        self._turn = threading.Lock()
        self.name, self.program, self.guest = "thread", Program(), self
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def view(self, name: str) -> memoryview:
        return self.memory[name]

    def words(self, name: str) -> memoryview:
        return self.memory[name].cast("I")

    def wait_for(self, state: f.State) -> None:
        assert state is f.State.SERVING

    @contextmanager
    def silent(self) -> Iterator[None]:
        """The guest does nothing meanwhile, and is waited for only as long as it is certain not to answer."""
        with self._turn, mock.patch.object(live, "ANSWER_TIMEOUT", 0.001):
            yield

    def _serve(self) -> None:
        while self.alive:
            with self._turn:
                answered = self._answer()
            if not answered:
                time.sleep(50e-6)

    def _answer(self) -> bool:
        """Answer one request, if there is any."""
        box, words = self.view("mailbox"), self.words("mailbox")
        if words[REPLIES] == words[0]:
            return False
        slot = words[REPLIES] % f.SLOTS
        (vector,) = unpack_vectors(bytes(box[128 + slot * VECTOR : 128 + (slot + 1) * VECTOR]))
        self.seen.append(vector)
        status = Status.REFUSED if vector.value == 13 else Status.OK
        at = 128 + f.SLOTS * VECTOR + slot * RESULT
        box[at : at + RESULT] = layout(f.RESULT).struct.pack(status, 0, 0, 0, vector.value)
        words[REPLIES] += 1
        return True

    def end(self) -> None:
        self.alive = False
        self._thread.join()


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.end()


def numbered(value: int) -> Vector:
    return Vector(Op.NOP, value=value)


def open_live(guest: Any) -> Live:
    return Live(guest)


def test_each_request_has_its_own_answer(guest: Guest) -> None:
    box = open_live(guest)
    assert [box.ask(numbered(n)).value for n in range(3 * f.SLOTS)] == list(range(3 * f.SLOTS))
    assert [v.value for v in guest.seen] == list(range(3 * f.SLOTS))


def test_what_is_posted_is_done_before_what_is_asked(guest: Guest) -> None:
    box = open_live(guest)
    for n in range(100, 100 + 3 * f.SLOTS):
        box.post(numbered(n))
    assert box.ask(numbered(7)) == Result(Status.OK, 0, 0, 7)
    assert [v.value for v in guest.seen] == [*range(100, 100 + 3 * f.SLOTS), 7]
    assert box.flush() == []


def test_what_failed_among_the_posted_is_told_once(guest: Guest) -> None:
    box = open_live(guest)
    for n in [*range(13), 13, *range(14, 100), 13]:
        box.post(numbered(n))
    assert box.flush() == [(numbered(13), Result(Status.REFUSED, 0, 0, 13))] * 2
    assert box.flush() == []


def test_a_second_mailbox_goes_on_where_the_first_was(guest: Guest) -> None:
    assert open_live(guest).ask(numbered(1)).value == 1
    assert open_live(guest).ask(numbered(2)).value == 2


def test_counters_may_wrap(guest: Guest) -> None:
    words = guest.words("mailbox")
    with guest.silent():
        words[0] = words[REPLIES] = 0xFFFFFFFE
    box = open_live(guest)
    # The guest of this test counts in Python, where 32 bits overflow: it ends here, and the image's C goes on.
    assert box.ask(numbered(5)).value == 5
    assert words[REPLIES] == words[0] == 0xFFFFFFFF


def test_silence_is_told_and_what_comes_late_is_not_taken_for_another_answer(guest: Guest) -> None:
    box = open_live(guest)
    with guest.silent(), pytest.raises(GuestTimeout, match="thread did not answer in 0 s"):
        box.ask(numbered(1))
    assert box.ask(numbered(2)).value == 2


def test_one_that_hangs_is_not_given_more_than_the_mailbox_holds(guest: Guest) -> None:
    box = open_live(guest)
    with guest.silent():
        for n in range(f.SLOTS):
            with pytest.raises(GuestTimeout, match="did not answer"):
                box.ask(numbered(n))
        with pytest.raises(GuestTimeout, match="has not answered 64 requests"):
            box.ask(numbered(99))


def test_a_machine_that_died_is_told(guest: Guest) -> None:
    box = open_live(guest)
    guest.end()
    with pytest.raises(GuestDied, match="QEMU is gone; it was asked to read target 0"):
        box.ask(Vector(Op.READ, width=4))


def test_a_target_is_added_where_the_guest_looks_for_it(guest: Guest) -> None:
    box = open_live(guest)
    number = box.target(known_as(0x8086, 0x10CA, 1))
    row = f.TARGET.parse(bytes(guest.view("targets")[16 * number : 16 * number + 16]))
    assert (row.match, row.vendor, row.device, row.index, row.found) == (f.Match.ID, 0x8086, 0x10CA, 1, f.NONE)


def test_the_guest_is_told_to_stop(guest: Guest) -> None:
    open_live(guest).stop()
    assert guest.words("mailbox")[1] == 1
