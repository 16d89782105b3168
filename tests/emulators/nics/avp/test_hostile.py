"""Guests that write nonsense into shared memory: one named diagnosis, the queue stops, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regmodel.devices.avp import AVP
from regmodel.mailboxes.avp import DEVICE
from regmodel.structures.avp import GUEST_VERSION
from tests.emulators.nics.avp.station import MILLISECOND, Station, frame
from tests.support.thorough import THOROUGH


def sent(station: Station, **changes: Any) -> None:
    """A packet whose descriptor says something else."""
    pointers = station.fill([frame(1, 100)], 1)
    station.describe(pointers[0], **changes)
    station.add(station.fifo("tx", 1), pointers[0])


def twice(station: Station) -> None:
    pointers = station.fill([frame(1)], 1)
    station.add(station.fifo("tx", 1), pointers[0], pointers[0])


def circle(station: Station) -> None:
    first, second = station.fill([frame(1), frame(2)], 1)
    station.describe(second, next=first)
    station.describe(first, nb_segs=3, pkt_len=180)
    station.add(station.fifo("tx", 1), first)


def of_another_queue(station: Station) -> None:
    station.add(station.fifo("tx", 1), station.fill([frame(1)], 0)[0])


def chained_to_another_queue(station: Station) -> None:
    mine, theirs = station.fill([frame(1)], 1)[0], station.fill([frame(2)], 0)[0]
    station.describe(mine, next=theirs, nb_segs=2, pkt_len=120)
    station.add(station.fifo("tx", 1), mine)


def data_at(station: Station, shift: int) -> None:
    (pointer,) = station.fill([frame(1, 100)], 1)
    station.describe(pointer, data=(station.descriptor(pointer).data + shift) % (1 << 64))
    station.add(station.fifo("tx", 1), pointer)


def not_taken(station: Station) -> None:
    """A buffer that the guest has not said it took: it would come back to a full queue."""
    pointers = station.fill([frame(1)], 1)
    station.put(station.fifo("alloc", 1) + 4, 0)
    station.add(station.fifo("tx", 1), *pointers)


TX: dict[str, tuple[str, Callable[[Station], None]]] = {
    "index": ("fifo-index", lambda s: s.put(s.fifo("tx", 1), 512)),
    "index of all ones": ("fifo-index", lambda s: s.put(s.fifo("tx", 1), 0xFFFFFFFF)),
    "pointer of nothing": ("buffer-unknown", lambda s: s.add(s.fifo("tx", 1), 0)),
    "pointer before": ("buffer-unknown", lambda s: s.add(s.fifo("tx", 1), s.info.mbuf_va - 2112)),
    "pointer behind": ("buffer-unknown", lambda s: s.add(s.fifo("tx", 1), s.info.mbuf_va + 2112 * s.nic.buffers.count)),
    "pointer into": ("buffer-unknown", lambda s: s.add(s.fifo("tx", 1), s.info.mbuf_va + 8)),
    "free buffer": ("buffer-not-lent", lambda s: s.add(s.fifo("tx", 1), s.info.mbuf_va + 2112 * (s.nic.buffers.count - 1))),
    "buffer of another queue": ("buffer-not-lent", of_another_queue),
    "chain to another queue": ("buffer-not-lent", chained_to_another_queue),
    "twice": ("buffer-twice", twice),
    "circle": ("buffer-twice", circle),
    "data outside of BAR 2": ("segment-outside", lambda s: data_at(s, 1 << 40)),
    "data before": ("segment-outside", lambda s: data_at(s, -65)),
    "data at the end of all": ("segment-outside", lambda s: data_at(s, -1 - s.info.mbuf_va)),
    "data of the next buffer": ("segment-outside", lambda s: data_at(s, 2112)),
    "too much data": ("segment-outside", lambda s: sent(s, data_len=2049, pkt_len=2049)),
    "most data": ("segment-outside", lambda s: sent(s, data_len=0xFFFF, pkt_len=0xFFFF)),
    "length": ("packet-length", lambda s: sent(s, pkt_len=101)),
    "no segment": ("segments", lambda s: sent(s, nb_segs=0)),
    "six segments": ("segments", lambda s: sent(s, nb_segs=6)),
    "chain ends": ("chain-ends", lambda s: sent(s, nb_segs=2)),
    "not taken out of alloc": ("alloc-overfilled", not_taken),
    "chain leads nowhere": ("buffer-unknown", lambda s: sent(s, nb_segs=2, next=4711)),
}  # fmt: skip


@pytest.mark.parametrize("what", TX)
def test_what_a_sender_may_not_do(what: str) -> None:
    kind, damage = TX[what]
    station = Station().start(2)
    damage(station)
    station.settle()
    station.wire()
    assert station.host.diagnosed == {kind: 1}, station.host.details
    assert [queue["error"] for queue in station.nic.stats()["transmit"]] == ["", kind]
    assert station.host.details[kind]["queue"] == "tx1"
    lives_on(station)
    assert station.configure(2, up=True) == 0, "a new configuration clears it"
    station.send(frame(9), queue=1)
    assert station.wire() == [frame(9)] and station.host.diagnosed == {kind: 1}


def test_a_sender_that_takes_more_buffers_than_there_are() -> None:
    """With eight queues there are fewer than slots."""
    station = Station().start(8)
    pointer = station.fill([frame(1)])[0]
    station.put(station.fifo("alloc") + 4, station.get(station.fifo("alloc")) + 1)
    station.add(station.fifo("tx"), pointer)
    station.settle()
    assert station.host.diagnosed == {"fifo-read-beyond-write": 1}
    assert station.wire() == [frame(1)], "what was sent was sent"


def returned(station: Station, *pointers: int) -> None:
    station.add(station.fifo("free", 1), *pointers)


def taken(station: Station, size: int = 60) -> list[int]:
    """Packets taken out of queue 1, not yet given back."""
    from tests.emulators.nics.avp.station import flow

    for number in range(64):
        station.arrive(flow(number, to=station.mac).ljust(size, b"\0"))
    at = station.fifo("rx", 1)
    return station.take(at, station.count(at))


def a_further_segment(station: Station) -> None:
    first = taken(station, 3000)[0]
    returned(station, station.descriptor(first).next)


def one_after_the_other(station: Station) -> None:
    pointer = taken(station)[0]
    for _ in range(2):
        returned(station, pointer)
        station.settle()


RX: dict[str, tuple[str, Callable[[Station], None]]] = {
    "index": ("fifo-index", lambda s: s.put(s.fifo("free", 1), 9999)),
    "pointer of nothing": ("buffer-unknown", lambda s: returned(s, 1)),
    "what was not lent": ("buffer-not-lent", lambda s: returned(s, s.info.mbuf_va + 2112 * (s.nic.buffers.count - 1))),
    "a buffer to send with": ("buffer-not-lent", lambda s: returned(s, s.take(s.fifo("alloc", 1), 1)[0])),
    "twice": ("buffer-twice", lambda s: returned(s, *[taken(s)[0]] * 2)),
    "twice, one after the other": ("buffer-not-lent", one_after_the_other),
    "a further segment": ("buffer-not-lent", a_further_segment),
}  # fmt: skip


@pytest.mark.parametrize("what", RX)
def test_what_a_receiver_may_not_do(what: str) -> None:
    kind, damage = RX[what]
    station = Station().start(2)
    damage(station)
    station.settle()
    assert station.host.diagnosed == {kind: 1}, station.host.details
    assert [queue["error"] for queue in station.nic.stats()["receive"]] == ["", kind]
    station.receive(0)
    lives_on(station)


@pytest.mark.parametrize(("index", "kind"), [(512, "fifo-index"), (7, "fifo-read-beyond-write")])
def test_a_receiver_that_reads_what_there_is_not(index: int, kind: str) -> None:
    station = Station().start(1)
    station.put(station.fifo("rx") + 4, index)
    station.arrive(frame(1, to=station.mac))
    assert station.host.diagnosed == {kind: 1}
    station.send(frame(2))
    assert station.wire() == [frame(2)]


def test_a_receiver_that_stops_takes_nothing_more_and_is_named_once() -> None:
    """What comes back is looked at before packets are put in; both of its queues are damaged."""
    station = Station().start(1)
    station.put(station.fifo("free"), 9999)
    station.put(station.fifo("rx") + 4, 9999)
    station.arrive(frame(1, to=station.mac))
    assert station.host.diagnosed == {"fifo-index": 1}
    assert station.get(station.fifo("rx")) == 0 and station.nic.stats()["receive"][0]["packets"] == 0


def test_what_the_host_keeps_to_itself_cannot_be_changed() -> None:
    """Its own indices, the lengths of queues, its own chains."""
    station = Station().start(1)
    for role, word in (("tx", 4), ("alloc", 0), ("rx", 0), ("free", 4)):
        station.put(station.fifo(role) + word, 77)
        station.put(station.fifo(role) + 8, 3)
        station.put(station.fifo(role) + 12, 1)
    station.put(station.fifo("tx") + 8, 512)
    before = station.nic.buffers.left
    station.arrive(frame(1, to=station.mac))
    assert station.get(station.fifo("rx")) == 1, "its index is told anew with each packet"
    assert station.nic.buffers.left == before - 1 and not station.host.diagnosed


def lives_on(station: Station) -> None:
    """Queue 0, requests and registers do as ever."""
    errors = dict(station.host.diagnosed)
    station.send(frame(5))
    assert station.wire() == [frame(5)]
    assert station.link(True) == 0
    station.arrive(frame(6, to=station.mac))
    station.frames_of(0)
    assert station.read("migration_status") == 0 and dict(station.host.diagnosed) == errors


WORDS = st.one_of(st.sampled_from([0, 1, 2, 15, 16, 17, 0xFFFF, 0xFFFFFFFF]), st.integers(0, 0xFFFFFFFF))


REGISTERS = [(at, width) for at in (0, 4, 8, 12, 16, 20, 24) for width in (1, 2, 4, 8)]


def in_a_queue(data: st.DataObject, station: Station) -> None:
    role, word = data.draw(st.sampled_from(["tx", "rx", "alloc", "free"])), data.draw(st.integers(0, 35))
    station.put(station.fifo(role, data.draw(st.integers(0, 7))) + 4 * word, data.draw(WORDS))


def in_a_descriptor(data: st.DataObject, station: Station) -> None:
    at = station.mbuf + 2112 * data.draw(st.integers(0, 40)) + data.draw(st.integers(7, 15)) * 4
    station.put(at, data.draw(WORDS))


def pointer(data: st.DataObject, station: Station) -> None:
    """Into a queue, as a driver would."""
    shift = data.draw(st.sampled_from([0, 2112, 2112 * 3, 2112 * 60, 5, 1 << 33, -2112]))
    at = station.fifo(data.draw(st.sampled_from(["tx", "free"])), data.draw(st.integers(0, 1)))
    write = station.get(at) & 15
    station.put(at + 16 + 8 * write, station.info.mbuf_va + shift, 8)
    station.put(at, write + 1 & 15)


def in_the_channel(data: st.DataObject, station: Station) -> None:
    at = data.draw(st.sampled_from([station.req, station.resp])) + 4 * data.draw(st.integers(0, 4))
    station.put(at, data.draw(WORDS))


def in_a_request(data: st.DataObject, station: Station) -> None:
    station.put(station.sync + 4 * data.draw(st.integers(0, 8)), data.draw(WORDS))
    station.put(station.req, station.get(station.req) + 1 & 15)


def configuration(data: st.DataObject, station: Station) -> None:
    """cfg_device, of which some fields are wrong; asked for as a driver does, who does not look at the answer."""
    release, major, minor = GUEST_VERSION
    fields = {
        "device_id": station.info.device_id, "driver_type": {"type": 1},
        "driver_version": {"release": release, "major": major, "minor": minor},
        "features": {"vlan_offload": data.draw(st.integers(0, 1))}, "num_tx_queues": 2, "num_rx_queues": 2, "if_up": 1,
    }  # fmt: skip
    request = bytearray(DEVICE.build({"config": fields, "result": -95}))
    for _ in range(data.draw(st.integers(0, 3))):
        at = 4 * data.draw(st.integers(1, 7))
        value = data.draw(st.integers(0, 9).map(lambda queues: queues << 16 | 2) | WORDS)
        request[at : at + 4] = value.to_bytes(4, "little")
    station.memory[station.sync : station.sync + len(request)] = request
    write = station.get(station.req) & 15
    station.put(station.req + 16 + 8 * write, station.info.sync_va, 8)
    station.put(station.req, write + 1 & 15)


def register(data: st.DataObject, station: Station) -> None:
    """An access to one of BAR 0, of any width, or beside it."""
    at, width = data.draw(st.sampled_from(REGISTERS))
    at += data.draw(st.sampled_from([0, 0, 0, 1, 2, 4]))
    if at + width > AVP.bars[0].size:
        return
    if data.draw(st.booleans()):
        station.nic.registers.write(at, width, data.draw(st.integers(0, 3) | WORDS) & (1 << 8 * width) - 1)
    else:
        assert 0 <= station.nic.registers.read(at, width) < 1 << 8 * width


def migration(data: st.DataObject, station: Station) -> None:
    """The host moves the device, or goes on with that: the driver acknowledges, or something else, or waits too long."""
    match data.draw(st.integers(0, 4)):
        case 0:
            station.write("interrupt_mask", 0xFFFF_FFFF)
            station.nic.migration.around()
            if data.draw(st.booleans()):  # so far as it goes without further ado
                station.write("migration_ack", 1)
                station.host.clock.advance(data.draw(st.sampled_from([0, 25 * MILLISECOND])))
        case 1:
            station.write("migration_ack", station.read("migration_status"))
        case 2:
            station.write("migration_ack", data.draw(WORDS))
        case 3:
            station.host.clock.advance(data.draw(st.sampled_from([MILLISECOND, 25 * MILLISECOND, 3_100 * MILLISECOND])))
        case _:
            station.nic.load(json.loads(json.dumps(station.nic.save())))


DOINGS = (in_a_queue, in_a_descriptor, pointer, in_the_channel, in_a_request, configuration, register, migration)


@settings(max_examples=150 * THOROUGH, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fuzz(data: st.DataObject) -> None:
    """Whatever is written into registers, heads, slots, descriptors and requests, a migration under way or not: no exception,
    books that add up, and a reset mends all of it.
    """
    station = Station(queue_size="16").start(2)
    station.send(frame(1), frame(2, 5000))
    for _ in range(data.draw(st.integers(1, 12))):
        data.draw(st.sampled_from(DOINGS))(data, station)
        if data.draw(st.booleans()):
            station.arrive(frame(3, 3000, to=station.mac), frame(4, to=station.mac))
    station.settle()
    station.wire()
    buffers = station.nic.buffers
    assert buffers.left == int((buffers.owner == -1).sum()) <= buffers.count
    from regmodel.function import ResetCause

    station.nic.reset(ResetCause.FLR)
    station.start(2)
    station.send(frame(8))
    station.arrive(frame(9, to=station.mac))
    assert station.wire() == [frame(8)] and frame(9, to=station.mac) in station.frames()
