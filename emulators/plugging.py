"""A card put together: description, model, PCI functions, packet back ends. What carries the functions is not in here.

``regmodel serve`` puts such a card on sockets (``emulators.serve``), a driver of this process takes it as it is
(``emulators.alone``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from emulators.fabric.backends import parse
from emulators.loop import Loop
from emulators.model import Card, Slot, load_card
from emulators.pci.function import PciFunction
from regmodel.catalogue import Device
from regmodel.errors import UsageError

Plugged = list[tuple[Slot, PciFunction]]


def plug(
    device: Device, loop: Loop, count: int, *, ports: int = 1, options: Mapping[str, str] | None = None, prefix: str = ""
) -> tuple[Card, Plugged]:
    """A card of ``ports`` Ethernet ports and its first ``count`` functions, with their slots; ``prefix`` goes before each name.

    Raises ``UsageError``.
    """
    card = load_card(device, loop, **({"ports": ports} if ports > 1 else {}), **(options or {}))
    if count > len(card.slots):
        raise UsageError(f"a card of {ports} ports has {len(card.slots)} {device.name} functions, not {count}")
    slots = card.slots[:count]
    return card, [(slot, PciFunction(device, loop, slot, name=f"{prefix}{slot.name}")) for slot in slots]


def attach(cards: Iterable[Card], nets: Sequence[str], loop: Loop) -> None:
    """Back ends on the uplinks of all ports, in order; ports beyond the last of ``nets`` get none. Raises ``UsageError``."""
    ports = [port for card in cards for port in card.ports]
    if len(nets) > len(ports):
        raise UsageError(f"{len(nets)} --net for {len(ports)} ports: give one per port, or --ports")
    for port, net in zip(ports, nets, strict=False):
        port.switch.attach(parse(net), loop)


def detach(cards: Iterable[Card]) -> None:
    """Take the back ends away; they close their files and sockets."""
    for card in cards:
        for port in card.ports:
            with contextlib.suppress(OSError):
                port.switch.detach()
