"""The card of NICs without a PF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from emulators.host import Host
from emulators.loop import Loop
from emulators.standalone import StandaloneCard, StandaloneSlot, standalone
from regmodel.catalogue import Device
from regmodel.errors import StateError, UsageError
from tests.emulators.pci import testdevice


class Nic(testdevice.TestModel):
    """Takes what is addressed to it, and broadcasts."""

    def __init__(self, device: Device, host: Host, slot: StandaloneSlot[Mapping[str, str]]) -> None:
        super().__init__(device, host)
        self.slot = slot
        self.heard: list[bytes] = []
        assert slot.mac is not None
        slot.pool.macs = frozenset({slot.mac})
        slot.pool.accept_broadcast = slot.pool.accept_untagged = True
        slot.pool.transmit_enable = slot.pool.receive_enable = True

    def deliver(self, frames: Sequence[bytes], *, loopback: bool) -> int:
        self.heard += [bytes(f) for f in frames]
        return len(frames)

    def control(self, words: Sequence[str]) -> object:
        return list(words)

    def stats(self) -> Mapping[str, Any]:
        return {"heard": len(self.heard)}


def chosen(device: Device, options: Mapping[str, str]) -> Mapping[str, str]:
    if set(options) - {"depth"}:
        raise UsageError(f"{device.name} has no option {min(options)!r}: it has depth")
    return options


Card = standalone(Nic, chosen)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def plugged(card: StandaloneCard[Any], loop: Loop, number: int) -> Any:
    slot = card.slots[number]
    return slot.build(Host(slot.name, loop, None, slot.packets, lambda vector: None, lambda level: None))  # type: ignore[arg-type]


def test_two_nics_hear_each_other_and_the_wire(loop: Loop) -> None:
    card = Card(testdevice.DEVICE, loop, depth="3")
    first, second = plugged(card, loop, 0), plugged(card, loop, 1)
    assert first.slot.properties == {"depth": "3"}
    frame = second.slot.mac + first.slot.mac + b"\x08\x00" + bytes(46)
    first.slot.pool.transmit([frame])
    card.switch.receive([b"\xff" * 6 + frame[6:]])
    assert second.heard == [frame, b"\xff" * 6 + frame[6:]] and first.heard == second.heard[1:]
    stats = card.control(["stats"])
    assert stats["nics"] == {"nic0": {"heard": 1}, "nic1": {"heard": 2}}  # type: ignore[index]
    for model in (first, second):
        model.shared[2].close()


@pytest.mark.parametrize(("mac", "expected"), [("none", None), ("02:00:00:00:00:fe", "0200000000ff")])
def test_addresses_are_what_the_user_says(loop: Loop, mac: str, expected: str | None) -> None:
    found = Card(testdevice.DEVICE, loop, mac=mac).slots[1].mac
    assert found == (bytes.fromhex(expected) if expected else None)
    seeded = [Card(testdevice.DEVICE, loop, seed=seed).slots[0].mac for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]


def test_words_go_to_the_port_or_to_a_nic(loop: Loop) -> None:
    card = Card(testdevice.DEVICE, loop)
    model = plugged(card, loop, 0)
    card.control(["link", "down"])
    assert not card.switch.link.up and not card.slots[0].link.up
    assert card.control(["nic", "0", "say", "it"]) == ["say", "it"]
    for words in ([], ["nic"], ["nic", "1", "x"], ["nic", "0"], ["link", "sideways"], ["vf", "0", "mac"]):
        with pytest.raises(UsageError):
            card.control(words)
    model.shared[2].close()


def test_what_such_a_card_refuses(loop: Loop) -> None:
    for options in ({"ports": 2}, {"colour": "red"}, {"mac": "red"}):
        with pytest.raises(UsageError):
            Card(testdevice.DEVICE, loop, **options)


def test_the_state_belongs_to_its_device(loop: Loop) -> None:
    card = Card(testdevice.DEVICE, loop)
    card.load(card.save())
    with pytest.raises(StateError, match="not of 'testdevice' version 1"):
        card.load({"version": 1, "device": "igbvf"})
