"""State: saved and loaded in the middle of things, refused when it is not ours; live migration, and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emulators.nics.avp.migration import HELD_MOST
from regmodel.errors import StateError, UsageError
from regmodel.function import ResetCause
from tests.emulators.nics.avp.station import PEER, Station, flow, frame, tagged


def moved(station: Station, *, memory: bool = True, **options: str) -> Station:
    """Another port that goes on where ``station`` is, and its driver, who has not noticed."""
    state = json.loads(json.dumps(station.nic.save()))
    other = Station(**options)
    other.nic.load(state)
    other.info, other.maps, other.queues = station.info, station.maps, station.queues
    other.req, other.resp, other.sync, other.mbuf = station.req, station.resp, station.sync, station.mbuf
    return other


def test_a_loaded_port_goes_on() -> None:
    station = Station().start(2, vlan=True)
    station.mtu(3000)
    unread = [tagged(flow(n, to=station.mac), n) for n in range(12)] + [frame(1, 3000, to=station.mac)]
    station.arrive(*unread)
    first = station.fill([frame(7), frame(8)], 1)[0]
    other = moved(station)
    assert other.mac == station.mac
    other.add(other.fifo("tx", 1), first)
    other.settle()
    assert other.wire() == [frame(7) + frame(8)]
    got = [(found, row.vlan_tci) for queue in (0, 1) for found, row in other.receive(queue)]
    assert sorted(got) == sorted([(flow(n, to=station.mac), n) for n in range(12)] + [(frame(1, 3000, to=station.mac), 0)])
    other.settle()
    assert other.nic.buffers.left == other.nic.buffers.count - 2 * 511
    other.arrive(frame(2, 3014, to=station.mac), frame(3, 3015, to=station.mac))
    assert [len(found) for found in other.frames()] == [3014]
    assert other.link(False) == 0


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda s: s.update(version=2), "version 2"),
        (lambda s: s.update(device="vmxnet3"), "of 'vmxnet3'"),
        (lambda s: s.pop("requests"), "damaged"),
        (lambda s: s.update(memory="eJw"), "damaged"),
        (lambda s: s["buffers"].update(owner=""), "damaged"),
        (lambda s: s["transmit"].pop(), "damaged"),
        (lambda s: s["transmit"][0].update(tx=[512, 0]), "damaged"),
        (lambda s: s["receive"][0].update(put=s["receive"][0]["tags"]), "damaged"),
        (lambda s: s["migration"].update(lengths=s["migration"]["held"], held="!"), "damaged"),
        (lambda s: s["config"].update(colour=3), "damaged"),
    ],
)
def test_state_that_is_not_ours_changes_nothing(damage: Any, text: str) -> None:
    station = Station().start(1)
    station.arrive(frame(1, to=station.mac))
    state = json.loads(json.dumps(station.nic.save()))
    damage(state)
    with pytest.raises(StateError, match=text):
        station.nic.load(state)
    assert station.frames() == [frame(1, to=station.mac)]
    station.send(frame(2))
    assert station.wire() == [frame(2)]


def test_migration_arranges_everything_anew_and_loses_nothing() -> None:
    station = Station().start(2, vlan=True)
    before = {(role, n): station.fifo(role, n) for role in ("tx", "rx", "alloc", "free") for n in range(2)}
    places, address = (station.req, station.sync, station.mbuf), station.info.mbuf_va
    unread = [tagged(flow(n, to=station.mac), 5) for n in range(10)] + [frame(1, 4000, to=station.mac)]
    station.arrive(*unread)
    late = station.fill([frame(7)])[0]
    station.nic.control(["migrate"])
    assert station.handle_interrupt() == 1
    station.add(station.fifo("tx"), late)  # a sender that had not noticed yet
    during = [flow(n, to=station.mac) for n in range(20, 25)]
    station.arrive(*during)
    station.pass_time(25)
    assert station.wire() == [frame(7)], "what was sent before the queues came to rest goes out"
    assert station.handle_interrupt() == 2
    station.settle()
    assert (station.req, station.sync, station.mbuf) != places and station.info.mbuf_va != address
    assert all(station.fifo(role, n) != at for (role, n), at in before.items())
    got = station.frames()
    assert len(got) == 16 and sorted(got) == sorted([flow(n, to=station.mac) for n in range(10)] + unread[10:] + during)
    status = station.nic.control(["status"])["migration"]
    assert status == {"status": "ATTACHED", "ack": "ATTACHED", "held": 0, "problem": ""}
    station.send(frame(9), queue=1)
    assert station.wire() == [frame(9)]


def test_migration_of_a_port_without_room_for_what_was_kept() -> None:
    """It comes as the driver makes room."""
    station = Station(queue_size="16").start(1)
    station.nic.control(["migrate"])
    station.handle_interrupt()
    came = [frame(n, to=station.mac) for n in range(40)]
    station.arrive(*came)
    station.pass_time(25)
    station.handle_interrupt()
    got: list[bytes] = []
    for _ in range(10):
        got += station.frames()
        station.pass_time(2)
    assert got == came
    station.arrive(frame(99, to=station.mac))
    assert station.frames() == [frame(99, to=station.mac)]


def detached(station: Station) -> None:
    """The driver acknowledges, and it takes longer than it should need; nothing moves."""
    station.nic.control(["migrate"])
    station.handle_interrupt()
    station.pass_time(200)
    assert station.nic.arrangement.generation == 0 and station.read("interrupt_status") == 0


def test_a_sender_that_is_stopped_in_the_middle_of_a_burst() -> None:
    """It has taken buffers and will put them into its queue: they are looked for where they were, and their packet goes out."""
    station = Station().start(2)
    pointers = station.fill([frame(1, 2000), frame(2, 500)], 1)
    station.describe(pointers[0], pkt_len=2500)
    detached(station)
    station.add(station.fifo("tx", 1), pointers[0])
    station.pass_time(25)
    assert station.wire() == [frame(1, 2000) + frame(2, 500)] and station.nic.arrangement.generation == 1
    station.handle_interrupt()
    station.send(frame(3), queue=1)
    assert station.wire() == [frame(3)]


def test_a_driver_whose_accesses_are_messages_takes_its_time() -> None:
    """As long as there are some, it is waited for; also for the next one of a thread that has no buffers."""
    station = Station().start(1)
    (pointer,) = station.fill([frame(1)])
    detached(station)
    for _ in range(25):
        station.nic.banks[2].read(station.buffer(pointer), 8)
        station.pass_time(90)
    assert station.nic.arrangement.generation == 0, "2.25 s"
    station.add(station.fifo("tx"), pointer)
    station.pass_time(30)
    assert station.wire() == [frame(1)] and station.nic.arrangement.generation == 1


def test_a_driver_that_goes_on_for_ever_is_not_waited_for() -> None:
    station = Station().start(1)
    station.fill([frame(1)])
    detached(station)
    for expected in (*[0] * 108, 1, 1, 1):
        station.nic.banks[2].read(0, 8)
        station.pass_time(90)
        assert station.nic.arrangement.generation in (expected, 0), "after 10 s"
    assert station.nic.arrangement.generation == 1


def test_a_receiver_that_is_stopped_in_the_middle_of_a_burst() -> None:
    """What it has taken it has; the rest comes again."""
    station = Station().start(1)
    came = [frame(n, 3000, to=station.mac) for n in range(3)]
    station.arrive(*came)
    (pointer,) = station.take(station.fifo("rx"), 1)
    detached(station)
    station.add(station.fifo("free"), pointer)
    station.pass_time(25)
    assert station.nic.arrangement.generation == 1
    station.handle_interrupt()
    station.settle()
    assert station.frames() == came[1:]


def test_a_driver_that_has_lost_buffers_is_migrated_too() -> None:
    station = Station().start(1)
    station.fill([frame(1)])
    detached(station)
    station.pass_time(1000)
    assert station.nic.arrangement.generation == 1 and station.read("interrupt_status") == 2


def test_a_driver_that_acknowledges_again_and_again_wins_no_time() -> None:
    station = Station().start(1)
    station.fill([frame(1)])
    detached(station)
    for _ in range(85):
        station.write("migration_ack", 1)
        station.pass_time(10)
    assert station.nic.arrangement.generation == 1


def test_a_driver_may_be_given_longer() -> None:
    station = Station(patience="30").start(1)
    said: list[str] = []
    station.nic.detach(said.append)
    station.pass_time(29_999)
    assert said == []
    station.write("migration_ack", 1)
    station.pass_time(40)
    assert said == [""]


def test_a_driver_that_is_asked_again_while_it_gets_what_came() -> None:
    """The second time ends like the first, and nothing is lost."""
    station = Station(queue_size="16").start(1)
    came = [frame(n, to=station.mac) for n in range(40)]
    said: list[str] = []
    station.nic.detach(said.append)
    station.arrive(*came)
    station.write("migration_ack", 3)
    station.nic.detach(said.append)  # what came is about to be handed over
    station.pass_time(2999)
    assert said == ["the driver acknowledged an error"] and station.frames() == []
    station.pass_time(2)
    assert said[1:] == ["the driver does not acknowledge that it is to let go"]
    got: list[bytes] = []
    for _ in range(10):
        got += station.frames()
        station.pass_time(2)
    assert got == came


def with_a_stuck_queue(damage: Callable[[Station], None] = lambda station: None) -> tuple[Station, list[bytes], list[bytes]]:
    """Migrated, of two receive queues of 15 packets; more was kept than they have room for, first of all for queue 0.

    What was kept for each is returned, too. ``damage`` is done before any of it is handed over.
    """
    station = Station(queue_size="16").start(2)
    flows = [flow(number, to=station.mac) for number in range(8)]
    many = [packet[:-2] + turn.to_bytes(2, "big") for turn in range(20) for packet in flows]
    shares = station.nic.shares(many)
    station.nic.control(["migrate"])
    station.handle_interrupt()
    station.arrive(*shares[0][:20], *shares[1], *shares[0][20:])
    station.pass_time(25)
    station.handle_interrupt()
    damage(station)
    return station, shares[0], shares[1]


def test_a_receive_queue_that_does_not_drain_holds_up_no_other() -> None:
    """It gets what was kept for it when it drains at last, in order; the other one gets all that comes at once."""
    station, zero, one = with_a_stuck_queue()
    assert len(zero) > 30 and len(one) > 30
    got: list[bytes] = []
    for _ in range(len(one)):
        got += station.frames_of(1)
        station.pass_time(2)
    assert got == one
    station.arrive(*zero[:4], *one[:4])
    assert station.frames_of(1) == one[:4], "without a look of its own"
    assert station.nic.control(["status"])["migration"]["held"] == len(zero) - 15 + 4
    got = []
    for _ in range(len(zero)):
        got += station.frames_of(0)
        station.pass_time(2)
    assert got == [*zero, *zero[:4]] and not station.nic.migration.holds and not station.host.diagnosed


def test_what_is_kept_for_a_queue_that_does_not_drain_is_bounded() -> None:
    station, zero, one = with_a_stuck_queue()
    for _ in range(300):
        station.arrive(*zero[:64])
    station.pass_time(2)
    assert station.nic.control(["status"])["migration"]["held"] <= HELD_MOST // 2 + len(one)
    station.frames_of(1)
    station.pass_time(2)
    assert station.frames_of(1) == one[15:30]
    station.nic.reset(ResetCause.FLR)
    assert station.nic.migration.kept() == [] and not station.nic.migration.holds


def test_what_was_kept_for_a_queue_that_stopped_is_given_up() -> None:
    station, _, one = with_a_stuck_queue(lambda s: s.put(s.fifo("rx", 0) + 4, 0xFFFF))
    got: list[bytes] = []
    for _ in range(len(one)):
        got += station.frames_of(1)
        station.pass_time(2)
    assert got == one and not station.nic.migration.holds
    assert station.host.diagnosed == {"fifo-index": 1}


def test_a_second_migration_while_a_queue_has_not_got_all_of_the_first() -> None:
    """And saved and loaded meanwhile, into fewer queues: each flow stays in order, nothing is lost."""
    station, zero, one = with_a_stuck_queue()
    other = moved(station, queue_size="16")
    got = other.frames_of(1)
    other.pass_time(2)
    got += other.frames_of(1)
    assert got == one[:30], "who loads it goes on handing over"
    other.nic.control(["migrate"])
    other.handle_interrupt()
    other.arrive(zero[0])
    other.pass_time(25)
    other.queues = 1
    other.handle_interrupt()
    got = []
    for _ in range(len(zero) + len(one)):
        got += other.frames_of(0)
        other.pass_time(2)
    theirs = set(zero)
    assert [packet for packet in got if packet in theirs] == [*zero, zero[0]]
    assert [packet for packet in got if packet not in theirs] == one[30:]


def test_what_came_before_the_next_process_and_before_its_driver_comes_back() -> None:
    """A driver lets go with shutdown_device, as DPDK's does; until it has configured again, all that comes is kept for it."""
    station, done = Station().start(1), list[str]()
    station.nic.detach(done.append)
    assert station.handle_interrupt() == 1
    came = [frame(n, to=station.mac) for n in range(20)]
    station.arrive(*came[:10])
    station.pass_time(25)
    assert done == [""]
    other = moved(station)
    other.nic.attach()
    other.settle()
    other.arrive(*came[10:])
    other.pass_time(5)
    assert other.handle_interrupt() == 2
    other.settle()
    assert other.frames() == came


def test_a_port_that_is_down_is_migrated_too() -> None:
    station = Station().probe()
    station.configure(1)
    station.nic.control(["migrate"])
    assert station.read("interrupt_status") == 2 and station.read("migration_status") == 1
    assert station.shut_down() == 0
    station.write("migration_ack", 1)
    station.pass_time(25)
    assert station.read("interrupt_status") == 2
    station.probe()
    assert station.configure(1) == 0
    station.write("migration_ack", 2)
    station.settle()
    station.arrive(frame(1, to=station.mac))
    assert station.frames() == [] and not station.nic.migration.holds
    station.link(True)
    station.arrive(frame(2, to=station.mac))
    assert station.frames() == [frame(2, to=station.mac)]


@pytest.mark.parametrize("answer", [3, None])
def test_a_driver_that_will_not_let_go_keeps_the_device(answer: int | None) -> None:
    """And what has come meanwhile, in order."""
    station = Station().start(1)
    station.nic.control(["migrate"])
    station.arrive(frame(8, to=station.mac), frame(9, to=station.mac))
    assert station.frames() == []
    if answer is not None:
        station.write("migration_ack", answer)
    else:
        station.pass_time(3001)
    assert station.host.diagnosed == {"migration-refused": 1}
    assert station.nic.control(["status"])["generation"] == 0
    assert station.read("migration_status") == 2, "harmless to a driver that has not let go"
    station.arrive(frame(1, to=station.mac))
    assert station.frames() == [frame(n, to=station.mac) for n in (8, 9, 1)]


def test_a_driver_that_cannot_come_back_is_named() -> None:
    station = Station().start(1)
    station.nic.control(["migrate"])
    station.handle_interrupt()
    station.pass_time(25)
    station.write("migration_ack", 3)
    assert station.nic.control(["status"])["migration"]["problem"] == "the driver could not take the device up again"


def test_a_reset_ends_a_migration() -> None:
    station = Station().start(1)
    said: list[str] = []
    station.nic.detach(said.append)
    station.nic.detach(said.append)
    assert said == ["a migration is under way already"]
    station.nic.reset(ResetCause.FLR)
    assert said[1:] == [""] and station.read("migration_status") == 0
    station.start(1)


def test_interrupts_by_line_and_by_message() -> None:
    station = Station().start(1)
    station.nic.control(["migrate"])
    assert station.host.irqs == [0] and not station.host.level
    station.handle_interrupt()
    station.host.with_messages = False
    station.pass_time(25)
    assert station.host.level and station.host.irqs == [0]
    station.write("interrupt_mask", 0)
    assert not station.host.level
    station.write("interrupt_mask", 0xFFFFFFFF)
    assert station.host.level
    assert station.read("interrupt_status") == 2 and not station.host.level
    assert station.read("interrupt_status") == 0


def test_words_that_there_are_not() -> None:
    with pytest.raises(UsageError, match="knows 'status' and 'migrate'"):
        Station().nic.control(["dance"])
    assert PEER
