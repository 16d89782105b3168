"""A card put together: description, model, PCI functions, packet back ends. What carries the functions is not in here.

``regmodel serve`` puts such a card on sockets (``emulators.serve``), a driver of this process takes it as it is
(``emulators.alone``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from emulators.fabric.backends import parse
from emulators.loop import Loop
from emulators.model import Card, Closing, Particular, Slot, load_card
from emulators.pci.function import PciFunction
from regmodel.catalogue import Device
from regmodel.errors import UsageError

Plugged = list[tuple[Slot, PciFunction]]


def plug(
    device: Device, loop: Loop, count: int, *, ports: int = 1, options: Mapping[str, str] | None = None, prefix: str = "",
    inherited: Sequence[Mapping[int, int]] = (),
) -> tuple[Card, Plugged]:
    """A card of ``ports`` Ethernet ports and its first ``count`` functions, with their slots; ``prefix`` goes before each name.
    ``inherited`` is what a former process has handed over of the memory of each (``PciFunction``).

    Raises ``UsageError``.
    """
    card = load_card(device, loop, **({"ports": ports} if ports > 1 else {}), **(options or {}))
    if count > len(card.slots):
        raise UsageError(f"a card of {ports} ports has {len(card.slots)} {device.name} functions, not {count}")
    plugged: Plugged = []
    try:
        for number, slot in enumerate(card.slots[:count]):
            given = inherited[number] if inherited else None
            what = slot.device if isinstance(slot, Particular) else device
            plugged.append((slot, PciFunction(what, loop, slot, name=f"{prefix}{slot.name}", inherited=given)))
    except BaseException:
        detach([card])
        for _, function in plugged:
            function.close()
        raise
    return card, plugged


def attach(cards: Iterable[Card], nets: Sequence[str], loop: Loop) -> None:
    """Back ends on the uplinks of all ports, in order; ports beyond the last of ``nets`` get none. Raises ``UsageError``."""
    ports = [port for card in cards for port in card.ports]
    if len(nets) > len(ports):
        raise UsageError(f"{len(nets)} --net for {len(ports)} ports: give one per port, or --ports")
    for port, net in zip(ports, nets, strict=False):
        port.switch.attach(parse(net), loop)


def attach_again(cards: Iterable[Card], nets: Sequence[str], loop: Loop) -> list[str]:
    """The same after ``let_go``, for each port whose back end can be opened again; why the others cannot."""
    problems = []
    for port, net in zip([port for card in cards for port in card.ports], nets, strict=False):
        try:
            port.switch.attach(parse(net), loop)
        except UsageError as error:
            problems.append(str(error))
    return problems


def let_go(cards: Iterable[Card]) -> list[list[bytes]]:
    """Take the back ends away for another process to open; what has arrived comes in first. For each port, in order, what still
    waits for its far end. Call it in a burst.
    """
    return [port.switch.uplink.let_go() for card in cards for port in card.ports]


def catch_up(cards: Iterable[Card], waiting: Sequence[Sequence[bytes]]) -> None:
    """Have the back ends of all ports send what waited for the far ends of those before them."""
    for port, frames in zip((port for card in cards for port in card.ports), waiting, strict=False):
        port.switch.uplink.catch_up(frames)


def detach(cards: Iterable[Card]) -> None:
    """Take the back ends away; they close their files and sockets, and so do cards that have some."""
    for card in cards:
        if isinstance(card, Closing):
            card.close()
        for port in card.ports:
            with contextlib.suppress(OSError):
                port.switch.detach()
