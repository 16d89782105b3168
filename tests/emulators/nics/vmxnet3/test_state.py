"""Saving and restoring in the middle of everything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from regmodel.errors import StateError
from regmodel.structures.vmxnet3 import Feature
from tests.emulators.nics.vmxnet3.station import PEER, Station, TxDriver
from tests.emulators.nics.vmxnet3.test_receive import MISC, frame_to, rss
from tests.emulators.nics.vmxnet3.test_transmit import FRAME, numbered


def moved(s: Station) -> Station:
    """Another NIC with the same memory, to which the state was moved."""
    state = json.loads(json.dumps(s.nic.save()))
    other = Station()
    other.memory[:] = s.memory
    other.queues, other.sizes = s.queues, s.sizes
    other.nic.load(state)
    other.tx, other.rx = s.tx, s.rx
    for driver in (*other.tx, *other.rx):
        driver.station = other
    return other


def test_a_nic_at_rest() -> None:
    s = Station().start(7, activate=False)
    s.write("dcr", 1)
    other = moved(s)
    assert other.nic.revision == 7 and other.nic.capabilities == 1 and not other.pool.receive_enable


def test_traffic_goes_on_where_it_was() -> None:
    s = Station().start(queues=2, rss=rss(2), **{f"{MISC}uptFeatures": int(Feature.RSS | Feature.RXCSUM)})
    s.send(*[numbered(i) for i in range(50)])
    s.arrive(*[frame_to(s, number=i) for i in range(40)])
    s.rx[0].take()
    s.tx[0].done()
    before = s.nic.stats()
    other = moved(s)
    assert other.nic.stats() == before
    for i in range(50):
        other.tx[0].add([numbered(i)])
    other.tx[0].ring()
    assert other.wire() == [numbered(i) for i in range(50)] and len(other.tx[0].done()) == 50
    frames = [frame_to(s, 500, i) for i in range(40)]
    other.arrive(*frames)
    assert [frame for _, frame in other.rx[0].take()] == frames


def test_work_that_waited_is_done_afterwards() -> None:
    s = Station().start()
    s.write("imr", 1, 0)
    s.arrive(*[frame_to(s, number=i) for i in range(70)])
    s.tx[0].add([FRAME])
    s.write("txprod", 1)
    s.host.deferred.clear()
    other = moved(s)
    other.settle()
    assert other.wire() == [FRAME]
    other.write("imr", 0, 0)
    assert other.host.irqs == [0]
    assert len(other.rx[0].take()) == 63
    other.write("rxprod", 5)
    other.settle()
    assert len(other.rx[0].take()) == 7


def test_settings_of_the_driver_survive() -> None:
    s = Station().start()
    s.write("macl", 0x04030202)
    s.write("mach", 0x0605)
    other = moved(s)
    assert other.pool.macs == {bytes.fromhex("020203040506")} and other.pool.accept_broadcast
    other.nic.deliver([bytes.fromhex("020203040506") + PEER + bytes(60)], loopback=False)
    assert len(other.rx[0].take()) == 1


def _without(state: dict[str, Any], *path: str) -> dict[str, Any]:
    inside: Any = state
    for step in path[:-1]:
        inside = inside[int(step)] if isinstance(inside, list) else inside[step]
    del inside[path[-1]]
    return state


@pytest.mark.parametrize("path", [("version",), ("pt",), ("transmit", "0", "ring"), ("receive", "0", "statistics"),
                                  ("interrupts", "pending"), ("filters", "mode")])  # fmt: skip
def test_a_damaged_image_changes_nothing(path: tuple[str, ...]) -> None:
    s = Station().start()
    s.send(FRAME)
    before = s.nic.save()
    with pytest.raises(StateError):
        s.nic.load(_without(json.loads(json.dumps(before)), *path))
    assert s.nic.save() == before
    s.wire()
    s.send(FRAME)
    assert s.wire() == [FRAME] and isinstance(s.tx[0], TxDriver)


def test_an_image_of_other_registers_changes_nothing() -> None:
    """A bank refuses it when half of the image has been taken on."""
    s = Station().start()
    image = json.loads(json.dumps(s.nic.save()))
    image["revision"], image["vd"]["bar"] = 1, 5
    before = s.nic.save()
    with pytest.raises(StateError, match=r"BAR|bar|5"):
        s.nic.load(image)
    assert s.nic.save() == before
    s.send(FRAME)
    assert s.wire() == [FRAME]
