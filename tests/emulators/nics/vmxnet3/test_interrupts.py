"""Masks, auto-masking, INTx with its cause, IC_DISABLE_ALL, and which vector is whose."""

from __future__ import annotations

import pytest

from emulators.nics.vmxnet3.interrupts import HELD
from regmodel.bars.vmxnet3 import Command
from regmodel.function import ResetCause
from tests.emulators.nics.vmxnet3.station import SHARED, Sizes, Station
from tests.emulators.nics.vmxnet3.test_transmit import FRAME

CONTROL = SHARED + 8 + 72 + 28
"""IntrConf.intrCtrl."""
AUTO = "devRead__intrConf__autoMask"


def test_a_masked_vector_waits() -> None:
    s = Station().start()
    s.write("imr", 1, 0)
    s.send(FRAME)
    assert not s.host.irqs
    s.write("imr", 0, 0)
    assert s.host.irqs == [0] and s.read("imr") == 1, "and masks itself"
    s.write("imr", 0, 0)
    assert s.host.irqs == [0], "once"


@pytest.mark.parametrize("auto", [0, 1])
def test_auto_masking(auto: int) -> None:
    s = Station().start(**{AUTO: auto})
    for _ in range(3):
        s.send(FRAME)
    assert s.host.irqs == ([0] if auto else [0, 0, 0]) and s.read("imr") == auto
    s.write("imr", 0, 0)
    assert s.host.irqs == ([0, 0] if auto else [0, 0, 0])


def test_each_queue_has_its_vector() -> None:
    s = Station().start(queues=3)
    for i in (2, 0, 1):
        s.tx[i].add([FRAME])
        s.tx[i].ring()
    s.card.ports[0].switch.link.set_admin(False)
    s.settle()
    assert s.host.irqs == [2, 0, 1, 3]


def test_a_vector_that_there_is_not_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Station()
    right = s.tx_conf
    monkeypatch.setattr(s, "tx_conf", lambda i: right(i) | {"conf": right(i)["conf"] | {"intrIdx": 0xDE}})
    s.start()
    s.send(FRAME)
    assert s.tx[0].done() == [0] and not s.host.irqs
    assert s.host.diagnosed == {"shared-vector": 1}


def test_all_vectors_are_held_back_by_one_bit_in_memory() -> None:
    s = Station().start()
    s.put(CONTROL, b"\x01")
    s.send(FRAME)
    assert not s.host.irqs
    s.host.clock.advance(50_000_000)
    assert not s.host.irqs
    s.put(CONTROL, b"\x00")
    s.host.clock.advance(20_000_000)
    assert s.host.irqs == [0], "nobody says that the bit fell"
    assert s.host.clock._timers.next_due() is None


def test_with_many_queues_the_bit_is_elsewhere() -> None:
    s = Station(large=True).start(queues=9)
    s.put(CONTROL, b"\x01")
    s.send(FRAME)
    assert s.host.irqs == [0]
    s.write("imr", 0, 0)
    s.put(SHARED + 720 + 4, b"\x01")
    s.send(FRAME)
    assert s.host.irqs == [0]


@pytest.mark.parametrize("auto", [0, 1])
def test_without_messages_the_line_goes_up_until_icr_is_read(auto: int) -> None:
    s = Station()
    s.host.with_messages = False
    s.start(**{AUTO: auto})
    s.send(FRAME)
    assert s.host.level and not s.host.irqs and s.read("imr") == 0
    assert (s.read("icr"), s.read("icr")) == (1, 0) and not s.host.level
    assert s.read("imr") == auto, "it masks itself when the driver comes"
    s.send(FRAME)
    assert s.host.level == (not auto)
    s.write("imr", 0, 0)
    assert s.host.level


def test_masking_takes_the_line_down() -> None:
    s = Station()
    s.host.with_messages = False
    s.start()
    s.send(FRAME)
    s.write("imr", 1, 0)
    assert not s.host.level and s.read("icr") == 0


@pytest.mark.parametrize("how", ["quiesce", "reset", "bus"])
def test_a_stop_takes_everything_back(how: str) -> None:
    s = Station()
    s.host.with_messages = False
    s.start()
    s.send(FRAME)
    s.put(CONTROL, b"\x01")
    s.card.ports[0].switch.link.set_admin(False)
    s.settle()
    if how == "bus":
        s.nic.reset(ResetCause.BUS)
    else:
        s.command(Command.QUIESCE_DEV if how == "quiesce" else Command.RESET_DEV)
    assert not s.host.level and s.read("icr") == 0 and s.host.clock._timers.next_due() is None
    s.put(CONTROL, b"\x00")
    s.host.clock.advance(100_000_000)
    assert not s.host.level


LEVELS = "devRead__intrConf__modLevels"
ADAPTIVE = bytes((8, 0)).ljust(25, b"\0")
"""Vector 0 is moderated (upt1_defs.h UPT1_IML_ADAPTIVE)."""


def moderated() -> Station:
    return Station().start(sizes=Sizes(tx=64, tx_done=64), **{LEVELS: ADAPTIVE, AUTO: 0})


def test_transmit_completions_of_a_moderated_vector_are_told_a_little_later_and_at_once() -> None:
    s = moderated()
    for n in range(3):
        s.send(FRAME)
        assert s.tx[0].done() == [n], "completions do not wait"
    assert not s.host.irqs
    s.host.clock.advance(HELD - 1)
    assert not s.host.irqs
    s.host.clock.advance(1)
    assert s.host.irqs == [0]
    s.host.clock.advance(10 * HELD)
    assert s.host.irqs == [0]


def test_a_driver_whose_ring_fills_is_told_at_once() -> None:
    s = moderated()
    s.send(*[FRAME] * 15)
    assert not s.host.irqs
    s.send(FRAME)
    assert s.host.irqs == [0], "a quarter of the ring"
    s.host.clock.advance(HELD)
    assert s.host.irqs == [0], "and not twice"


def test_reception_is_told_at_once_and_tells_of_what_was_held() -> None:
    s = moderated()
    s.send(FRAME)
    s.arrive(s.mac + FRAME[6:])
    assert s.host.irqs == [0]
    s.host.clock.advance(HELD)
    assert s.host.irqs == [0]


def test_what_is_held_when_the_device_stops_is_never_told() -> None:
    s = moderated()
    s.send(FRAME)
    s.command(Command.QUIESCE_DEV)
    s.host.clock.advance(HELD)
    assert not s.host.irqs


def test_what_is_held_survives_in_saved_state() -> None:
    s = moderated()
    s.send(FRAME)
    state = s.nic.save()
    s.host.clock.advance(HELD)
    s.host.irqs.clear()
    s.nic.load(state)
    assert s.host.irqs == [0]
    s.send(FRAME)
    assert s.host.irqs == [0], "and so does the moderation"
    s.host.clock.advance(HELD)
    assert s.host.irqs == [0, 0]
