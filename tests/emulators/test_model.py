"""How a device's card is found, and the card of a device with a single function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from emulators.host import Host, Nowhere
from emulators.loop import Loop
from emulators.model import SingleCard, load_card, single
from regmodel.errors import RegmodelError, StateError, UsageError
from tests.emulators.pci import testdevice


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tests.emulators.pci.testdevice", "is not written as module:attribute"),
        (":card", "is not written as module:attribute"),
        ("emulators.nics.nothing:Card", "cannot be imported"),
        ("tests.emulators.pci.testdevice:Nothing", "has no Nothing"),
        ("tests.emulators.pci.testdevice:IDENTITY", "is no class or function"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(loop: Loop, model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_card(replace(testdevice.DEVICE, model=model), loop)
    assert isinstance(caught.value, RegmodelError)
    assert str(caught.value).startswith("testdevice: ") and "\n" not in str(caught.value)


def test_options_that_a_card_does_not_take_are_one_line(loop: Loop) -> None:
    with pytest.raises(UsageError, match=r"does not take these options: .*ports"):
        load_card(testdevice.DEVICE, loop, ports=2)


class Listener(testdevice.TestModel):
    def deliver(self, frames: list[bytes], *, loopback: bool) -> int:
        self.heard = [bytes(f) for f in frames]
        return len(frames)


def test_the_single_function_hears_every_frame(loop: Loop) -> None:
    card = single(Listener)(testdevice.DEVICE, loop)
    assert isinstance(card, SingleCard)
    (slot,) = card.slots
    host = Host("x", loop, None, slot.packets, lambda vector: None, lambda level: None)  # type: ignore[arg-type]
    model = slot.build(host)
    frames = [bytes.fromhex(d) + bytes(54) for d in ("020000000001", "ffffffffffff", "01005e000001")]
    card.ports[0].switch.receive(frames)
    assert model.heard == frames
    assert card.ports[0].control("stats")
    model.shared[2].close()


def test_what_a_port_without_pf_knows(loop: Loop) -> None:
    port = load_card(testdevice.DEVICE, loop).ports[0]
    port.control("link", "down")
    assert not port.switch.link.up
    for words in (("vf", "0", "mac"), ("link",), ("link", "sideways"), ("stats", "x")):
        with pytest.raises(UsageError, match="without PF"):
            port.control(*words)


def test_the_state_of_a_single_card(loop: Loop) -> None:
    card = load_card(testdevice.DEVICE, loop)
    card.load(card.save())
    with pytest.raises(StateError):
        card.load({"version": 2})


def test_nowhere_takes_frames() -> None:
    Nowhere().send([b"x"])
