"""What descriptions say of a device at work names things that exist, and leaves nothing out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pytest

from regmodel.bits import Bits
from regmodel.catalogue import Device, devices
from regmodel.conduct import Exchange, Generations, Traffic, Virtqueue, find_field
from regmodel.conformance.records import locate
from regmodel.registers import Register

W = TypeVar("W", Traffic, Virtqueue, Generations)
WORKING = [d for d in devices().values() if d.conduct.interrupts or d.conduct.talk or d.conduct.traffic]
each = pytest.mark.parametrize("device", WORKING, ids=lambda device: device.name)


def register(device: Device, name: str) -> Register:
    found = device.register_bar(name)[1].entries[name]
    assert isinstance(found, Register)
    return found


def fields(schema: Any, prefix: str = "") -> Iterator[str]:
    """The paths of a descriptor, as ``Traffic`` writes them."""
    for member in schema.subcons:
        word = member
        while hasattr(word, "subcon") and not isinstance(word, Bits):
            word = word.subcon
        yield f"{prefix}{member.name}"
        if isinstance(word, Bits):
            yield from (f"{prefix}{member.name}.{name}" for name in word.named)


def test_there_are_some() -> None:
    assert {"igbvf", "igbvf-i350", "virtio-net", "vmxnet3"} <= {device.name for device in WORKING}


@each
def test_interrupts(device: Device) -> None:
    what = device.conduct.interrupts
    if what is None:
        return
    for name in (what.cause, what.set_cause, what.mask, what.mask_clear, what.auto_clear, what.auto_mask):
        assert register(device, name).named[what.field].width >= device.msix_vectors
    assert register(device, what.set_cause).of == what.cause and register(device, what.mask_clear).of == what.mask
    assert len(register(device, what.throttle).offsets) >= device.msix_vectors
    assert what.interval in register(device, what.throttle).named and what.sources
    for route in what.routes:
        for name in (route.vector, route.valid):
            find_field(device.register_bar(name.partition(".")[0])[1].entries, name)
    queues = {(t.ring, n) for t in device.conduct.traffic for n in range(_queues(device, t.ring))}
    assert {(r.ring, r.queue) for r in what.routes if r.ring} == queues, "a queue whose cause has no vector"
    assert any(not r.ring for r in what.routes) == bool(device.mailboxes)


def _queues(device: Device, ring: str) -> int:
    return len(register(device, next(r.tail for r in device.rings if r.name == ring)).offsets)


def of(device: Device, kind: type[W]) -> list[W]:
    return [way for way in device.conduct.traffic if isinstance(way, kind)]


def field(device: Device, name: str) -> None:
    """Raises KeyError for one that there is not."""
    find_field(device.register_bar(name.partition(".")[0])[1].entries, name)


@each
def test_packets_go_through_every_ring(device: Device) -> None:
    """Of rings of completions nobody gives anything to."""
    assert {t.ring for t in device.conduct.traffic} == {r.name for r in device.rings if r.tail}
    assert all(t.sources and (t.room or not t.inward) for t in device.conduct.traffic)


@each
def test_descriptors_that_are_written_back(device: Device) -> None:
    for traffic in of(device, Traffic):
        ring = next(r for r in device.rings if r.name == traffic.ring)
        given = next(set(fields(f.schema)) for f in ring.formats if f.name == traffic.format)
        back = next(set(fields(f.schema)) for f in ring.device_writes if f.name == traffic.written)
        assert {*traffic.constant, traffic.address, *traffic.last} | {traffic.length, traffic.whole} - {""} <= given
        assert {traffic.done, traffic.got, traffic.end} - {""} <= back
        for name in (traffic.enable, *traffic.setup, *({traffic.counter, traffic.octets, traffic.dropped} - {""})):
            field(device, name)


@each
def test_virtqueues(device: Device) -> None:
    for way in of(device, Virtqueue):
        front = way.front
        known = {front.status, front.offered, front.accepted, front.queue, front.size, front.vector, front.told}
        for name in {*known, *front.words, *front.areas, front.enable} - {""}:
            field(device, name)
        assert not way.merged or locate(way.schema, way.merged)
        assert bool(way.features >> 34 & 1) == way.packed, "RING_PACKED is what makes it so"


@each
def test_rings_with_generations(device: Device) -> None:
    for way in of(device, Generations):
        for name in (*way.registers, way.command, *way.setup, way.mask):
            field(device, name)
        given = {way.address, way.length, way.generation, way.kind, *way.last} - {""}
        assert all(locate(way.format, path) for path in given)
        assert all(locate(way.written, path) for path in {way.index, way.told, way.got, way.end} - {""})
        for block, path in (way.counter, way.octets, way.vector, *way.speaks, *([way.dropped] if way.inward else [])):
            assert locate(way.memory[block].schema, path)
        for one in way.memory.values():
            assert all(locate(one.schema, path) for path in one.values) and bool(one.size) != bool(one.schema)
            assert {v for v in one.values.values() if isinstance(v, str)} <= set(way.memory)


@each
def test_talk(device: Device) -> None:
    talk = device.conduct.talk
    if talk is None:
        return
    box = next(m for m in device.mailboxes if m.name == talk.mailbox)
    control = register(device, box.control).named
    of_memory, events = (talk.own, talk.others), (talk.request, talk.acknowledge, talk.arrived, talk.taken)
    assert {*of_memory, *events, talk.in_reset, talk.was_reset} <= set(control)
    names = {m.name for m in box.messages}
    said = [talk.opening, talk.claim, *talk.unheard, *(e for group in talk.exchanges.values() for e in group)]
    assert {e.message for e in said} - {""} <= names and talk.unasked in names
    assert all(e.sources and bool(e.message) != bool(e.words) for e in said)


@each
def test_every_message_is_said_and_granted_and_refused_where_it_can_be(device: Device) -> None:
    talk = device.conduct.talk
    if talk is None:
        return
    box = next(m for m in device.mailboxes if m.name == talk.mailbox)
    ours = {m.name for m in box.messages if m.sender == "VF"}
    every = [e for group in talk.exchanges.values() for e in group]

    def replied(form: str) -> set[str]:
        return {e.message for e in every if e.message and isinstance(e.reply, Mapping) and e.reply.get(form)}

    assert replied(talk.granted) | {talk.opening.message} == ours, "a message that is never granted"
    assert ours - replied(talk.refused) <= {talk.opening.message, "set_multicast", "set_lpe"}, "which a stock PF never refuses"

    def unknown(exchange: Exchange) -> bool:
        return bool(exchange.words) and box.find(exchange.words[0], "VF") is None

    assert any(unknown(e) and e.reply for e in every) and any(e.words and e.reply is None for e in every)
