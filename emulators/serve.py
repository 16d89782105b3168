"""Puts a served card together: description, model, PCI function, vfio-user socket, packet back end, control socket.

This is the only place that knows all of these rooms. ``Running`` is what ``regmodel serve``, the demo and the tests start,
and what the control socket looks at and steers.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulators.control.events import (
    Accesses,
    Descriptors,
    Diagnoses,
    MailboxMessages,
    Packets,
    ServerEvents,
    WatchedDma,
    access_event,
)
from emulators.control.protocol import EventKind
from emulators.control.server import ControlServer, Emit
from emulators.handover import Giving
from emulators.loop import Loop
from emulators.model import Card, Ringed, Slot, Staying
from emulators.pci.function import PciFunction
from emulators.plugging import attach, detach, plug
from emulators.vfio_user.memory import Files
from emulators.vfio_user.server import Server
from regmodel.bank import Bank
from regmodel.catalogue import Device
from regmodel.errors import DmaFault, UsageError
from regmodel.function import CONFIG_REGION
from regmodel.structures.vfio_user import Command

_log = logging.getLogger("regmodel.serve")
CONFIG = "config."
"""Before the names of registers of configuration space, some of which a BAR has as well."""


@dataclass(frozen=True)
class Wanted:
    """One device to serve: ``spec`` as the user named it, the description that it named, and the socket to serve it on."""

    spec: str
    device: Device
    socket: Path


class Served:
    """One function that is being served."""

    def __init__(self, name: str, wanted: Wanted, card: Card, slot: Slot, function: PciFunction, server: Server) -> None:
        self.name, self.wanted, self.card, self.slot = name, wanted, card, slot
        self.function, self.server = function, server

    @property
    def device(self) -> Device:
        """The description of what is served: that of ``wanted``, or what the user's options have made of it."""
        return self.function.device

    def banks(self) -> dict[int, Bank]:
        """All register files by region index, configuration space included."""
        return {**self.function.banks, CONFIG_REGION: self.function.config}


class Running:
    """Devices being served by one loop. Everything listens as soon as it is made; ``loop.run()`` serves.

    ``nets`` are ``--net`` forms, one per port in order; ports without one have no uplink. Devices of one kind are the VFs
    of one card of ``ports`` ports. ``inherited`` is shared memory of each, by BAR, that another process handed over. Raises
    ``UsageError``; nothing is left behind then.
    """

    def __init__(
        self,
        loop: Loop,
        wanted: Sequence[Wanted],
        *,
        nets: Sequence[str] = (),
        ports: int = 1,
        control: Path | None = None,
        trust_memory: bool = False,
        dma_wire: str = "spec",
        options: Mapping[str, str] | None = None,
        inherited: Sequence[Mapping[int, int]] = (),
    ) -> None:
        self.loop = loop
        self.nets, self.options = list(nets), dict(options or {})
        self._giving: Giving | None = None
        self.served: list[Served] = []
        self.cards: list[Card] = []
        self.control_server: ControlServer | None = None
        try:
            self._build(wanted, ports, options or {}, trust_memory, dma_wire, inherited)
            attach(self.cards, nets, self.loop)
            if control is not None:
                self.control_server = ControlServer(loop, control, self)
        except BaseException:
            self.close()
            raise

    def _build(
        self, wanted: Sequence[Wanted], ports: int, options: Mapping[str, str], trust_memory: bool, dma_wire: str,
        inherited: Sequence[Mapping[int, int]],
    ) -> None:  # fmt: skip
        files = Files(trust=trust_memory)
        kinds = list(dict.fromkeys(w.spec for w in wanted))
        for kind in kinds:
            same = [w for w in wanted if w.spec == kind]
            prefix = f"{kind}." if len(kinds) > 1 else ""
            given = [memory for memory, w in zip(inherited, wanted, strict=True) if w.spec == kind] if inherited else ()
            card, plugged = plug(
                same[0].device, self.loop, len(same), ports=ports, options=options, prefix=prefix, inherited=given
            )
            self.cards.append(card)
            for w, (slot, function) in zip(same, plugged, strict=True):
                server = Server(self.loop, function, w.socket, files=files, dma_wire=dma_wire)
                self.served.append(Served(function.name, w, card, slot, function, server))

    def close(self) -> None:
        """Stop serving; sockets disappear, clients are disconnected, shared memory is given back."""
        if self.control_server is not None:
            self.control_server.close()
        for served in self.served:
            served.server.close()
        detach(self.cards)
        for served in self.served:
            served.function.close()

    def find(self, name: str) -> Served:
        """A served function by name. Raises ``UsageError`` listing them."""
        for served in self.served:
            if served.name == name:
                return served
        raise UsageError(f"there is no function {name!r}; there are {', '.join(s.name for s in self.served)}")

    # -- what the control socket looks at and steers (emulators.control.server.Steerable) ------------------------------

    def describe(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "regmodel": version("regmodel"),
            "now": self.loop.now(),
            "functions": [
                {
                    "name": s.name,
                    "device": s.wanted.spec,
                    "id": str(s.device.identity),
                    "socket": str(s.wanted.socket.absolute()),
                    "connected": s.server.connection is not None,
                    "bars": {index: bar.size for index, bar in s.device.bars.items()},
                }
                for s in self.served
            ],
        }

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            s.name: {
                "device errors": dict(s.function.host.diagnostics),
                "messages": _messages(s.server),
            }
            for s in self.served
        }
        for number, card in enumerate(self.cards):
            found["card" if len(self.cards) == 1 else f"card {number}"] = card.stats()
        return found

    def coverage(self, function: str) -> dict[str, Any]:
        return {str(index): bank.coverage() for index, bank in self.find(function).banks().items()}

    def recent(self, function: str, count: int) -> list[tuple[Any, ...]]:
        served = self.find(function)
        rows = [access_event(served.name, index, record) for index, bank in served.banks().items() for record in bank.ring]
        return sorted(rows)[-count:]

    def peek(self, function: str, paths: Sequence[str]) -> dict[str, int]:
        banks = self.find(function).banks()
        cells = {f"{CONFIG * (i == CONFIG_REGION)}{cell.path}": cell for i, bank in banks.items() for cell in bank}
        unknown = [path for path in paths if path not in cells]
        if unknown:
            raise UsageError(f"{function} has no register {unknown[0]!r}")
        return {path: cells[path].value for path in paths or cells}

    def rings(self, function: str) -> list[dict[str, Any]]:
        model = self.find(function).function.model
        try:
            return [ring._asdict() for ring in model.rings()] if isinstance(model, Ringed) else []
        except DmaFault:  # the guest has just taken its memory back
            return []

    def control(self, words: Sequence[str]) -> Any:
        if len(self.cards) > 1:
            if words[0] != "card" or len(words) < 3 or not words[1].isdigit() or int(words[1]) >= len(self.cards):
                raise UsageError(f"several cards are served; say which: card 0..{len(self.cards) - 1} {' '.join(words)}")
            return self.cards[int(words[1])].control(words[2:])
        return self.cards[0].control(words)

    def hand_over(self, path: str) -> None:
        """Hand everything over to the process that listens at ``path``, and stop serving. Raises ``UsageError``."""
        if self._giving is not None:
            raise UsageError("this server is being handed over already")
        for served in self.served:
            if isinstance(served.function.model, Staying):
                raise UsageError(f"{served.name} cannot be handed over: {served.function.model.stays}")
        self._giving = Giving(self, path, self._handed_over)
        self._giving.begin()

    def _handed_over(self, well: bool) -> None:
        self._giving = None
        if well:
            _log.info("handed over to another process")
            self.loop.stop()

    def watch(self, kinds: Collection[EventKind], emit: Emit) -> None:
        for served in self.served:
            for index, bank in served.banks().items():
                bank.observer = Accesses(served.name, index, emit) if "access" in kinds else None
            host = served.function.host
            wants_server = {"dma", "irq", "reset"} & set(kinds)
            dma = served.function.dma
            host.dma = WatchedDma(served.name, self.loop, dma, emit) if "dma" in kinds else dma
            host.on_descriptor = Descriptors(served.name, self.loop, emit) if "descriptor" in kinds else None
            served.server.observer = ServerEvents(served.name, self.loop, kinds, emit) if wants_server else None
            host.on_diagnose = Diagnoses(served.name, self.loop, emit) if "diagnose" in kinds else None
        for number, card in enumerate(self.cards):
            names = {s.slot.name: s.name for s in self.served if s.card is card}
            card.on_mailbox = MailboxMessages(names, self.loop, emit) if "mailbox" in kinds else None
            where = f"card{number}." if len(self.cards) > 1 else ""
            for index, port in enumerate(card.ports):
                prefix = f"{where}port{index}." if len(card.ports) > 1 else where
                port.switch.observer = Packets(prefix, self.loop, emit) if "packet" in kinds else None


def _messages(server: Server) -> dict[str, int]:
    """How many messages of each command the client has sent."""
    if server.connection is None:
        return {}
    return {command.name.lower(): server.connection.messages[command] for command in Command}
