"""``patch:``: two ports of one process on one cable."""

from __future__ import annotations

import gc

import pytest

from emulators.fabric.backends import parse, patch
from emulators.fabric.counters import Drop
from emulators.fabric.offload import Partial, Takes
from emulators.fabric.switch import Switch
from emulators.loop import Loop
from regmodel.errors import UsageError

from .test_offload import BROADCAST, Taker, expected, partial
from .wires import NearEnd, numbered, plugged


def port(name: str, takes: Takes) -> tuple[Switch, Taker]:
    switch, taker = Switch(name), Taker(takes)
    switch.loopback = switch.replication = True
    pool = switch.add_pool("vf0")
    pool.endpoint, pool.takes = taker, takes
    pool.transmit_enable = pool.receive_enable = pool.accept_broadcast = True
    return switch, taker


def test_two_ports_are_one_segment_while_both_are_there(loop: Loop) -> None:
    (one, first), (two, second) = port("one", Takes.NONE), port("two", Takes.NONE)
    one.attach(parse("patch:x"), loop)
    assert not one.link.up
    one.pools[0].transmit(numbered(1))
    assert one.uplink.lost[Drop.LINK_DOWN] == 1
    two.attach(parse("patch:x"), loop)
    assert one.link.up and two.link.up
    one.pools[0].transmit(numbered(5))
    two.pools[0].transmit(numbered(3))
    assert (second.got, first.got) == (numbered(5), numbered(3))
    assert one.counters()["uplink"]["backend"] == {"spec": "patch:x", "frames_in": 3, "frames_out": 5, "plugged": True}
    two.detach()
    assert not one.link.up
    assert two.link.up  # a cable to nowhere
    two.attach(parse("patch:x"), loop)
    assert one.link.up
    one.detach()
    assert not two.link.up


def test_partial_frames_cross_as_they_are_and_are_finished_where_nobody_takes_them(loop: Loop) -> None:
    for takes in (Takes.ALL, Takes.NONE):
        (one, _), (two, taker) = port("one", Takes.ALL), port("two", takes)
        one.attach(parse(f"patch:{takes.value}"), loop)
        two.attach(parse(f"patch:{takes.value}"), loop)
        frame = partial(BROADCAST, 1448)
        one.pools[0].transmit([frame])
        if takes:
            assert taker.got == [frame]
            assert isinstance(taker.got[0], Partial)
        else:
            assert taker.got == expected(BROADCAST, 1448)
        assert one.uplink.tx.frames == two.uplink.rx.frames == 1


def test_names_and_loops_are_apart(loop: Loop) -> None:
    other = Loop()
    with plugged("patch:x", loop) as (_, near), plugged("patch:y", loop) as (_, away), plugged("patch:x", other) as (_, far):
        assert [near.carrier, away.carrier, far.carrier] == [[False]] * 3
    other.close()


def test_a_third_end_is_refused_and_changes_nothing(loop: Loop) -> None:
    with plugged("patch:x", loop) as (one, _), plugged("patch:x", loop) as (_, near):
        with pytest.raises(UsageError, match="the cable x has two ends already: choose another NAME"):
            parse("patch:x").open(loop, NearEnd())
        assert one.send(numbered(2)) == 2
        assert near.frames == numbered(2)
        assert near.carrier == [True]
    with plugged("patch:x", loop) as (one, near):
        assert one.send(numbered(1)) == 0
        assert near.carrier == [False]


def test_no_loop_is_kept_by_its_cables() -> None:
    loop = Loop()
    with plugged("patch:x", loop):
        assert loop in patch._cables
    loop.close()
    before = len(patch._cables)
    del loop
    gc.collect()
    assert len(patch._cables) == before - 1
