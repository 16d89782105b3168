"""What of a register two devices must agree on, read off the description: at once, in time, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.transports import Virtualised
from drivers.transports.decode import CONFIG, Decoder, Part, Place
from regmodel.access import OnRead, OnWrite
from regmodel.bits import Field
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.registers import Kind, Status, Window

ANSWERED = {
    Virtualised.BARS: ("bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "expansion_rom"),
    Virtualised.COMMAND: ("command",),
    Virtualised.MSI: ("msi_", "msix_"),
    Virtualised.CONFIG: ("",),
}
"""Registers of configuration space that somebody else answers for, by how their names begin."""


@dataclass(frozen=True)
class Rule:
    """The bits of one place. ``steady``: only software changes them, so two reads agree. ``settling``: hardware changes them
    in its own time, so the devices agree when they have had it. ``events``: reading clears them, so each device shows them
    once, in its own time. All others are not compared.

    ``again`` says that a read changes nothing but events, so that it may be repeated by who keeps account of these.
    """

    place: Place
    steady: int
    settling: int
    events: int
    again: bool


class Rules:
    """The rules of ``device``. ``exclude`` are registers, or ``register.field``, that are not compared; those of configuration
    space are written ``config:register``, and what a device writes into rings ``descriptor.part`` or ``descriptor.part.field``.

    Not compared either: what ``Conduct.free_running`` names, what is not implemented or not described, and what is virtualised.
    Raises ``UsageError`` for a name that the device does not have.
    """

    def __init__(self, device: Device, virtualised: frozenset[Virtualised], exclude: Iterable[str] = ()) -> None:
        self._decoder, self._virtualised = Decoder(device), virtualised
        self._excluded = {*device.conduct.free_running, *exclude}
        for name in exclude:
            _check(device, name)
        self._found: dict[tuple[int, int, int], Rule] = {}

    def rule(self, bar: int, offset: int, size: int) -> Rule:
        """What is compared of an access; ``bar`` may be ``decode.CONFIG``."""
        key = bar, offset, size
        if key not in self._found:
            self._found[key] = self._make(bar, self._decoder.place(*key))
        return self._found[key]

    def excludes(self, name: str) -> bool:
        """``name``, or something that it is part of, is not compared."""
        parts = name.split(".")
        return any(".".join(parts[:n]) in self._excluded for n in range(1, len(parts) + 1))

    def _make(self, bar: int, place: Place) -> Rule:
        events = place.mask(lambda p, f: self._compared(bar, p, f) and f.access.onread is OnRead.CLEAR)
        settling = place.mask(lambda p, f: self._compared(bar, p, f) and _hardware(p, f)) & ~events
        steady = place.mask(lambda p, f: self._compared(bar, p, f)) & ~events & ~settling
        sets = place.mask(lambda _, f: f.access.onread is OnRead.SET)
        return Rule(place, steady, settling, events, not sets and not any(p.entry.kind is Kind.COMMAND for p in place.parts))

    def _compared(self, bar: int, part: Part, f: Field) -> bool:
        if part.entry.status is not Status.IMPLEMENTED or part.entry.kind is Kind.DOORBELL:
            return False
        name = f"config:{part.name}" if bar == CONFIG else part.name
        if self.excludes(f"{name}.{f.name}"):
            return False
        if bar != CONFIG:
            return not (Virtualised.MSIX_TABLE in self._virtualised and part.name.startswith("msix_"))
        return not any(part.name.startswith(ANSWERED[v]) for v in self._virtualised if v in ANSWERED)


def _hardware(part: Part, f: Field) -> bool:
    """Somebody else than the driver may change it: hardware, or what a write to another register does."""
    shared = isinstance(part.entry, Window) or part.entry.of is not None or part.entry.kind is Kind.COMMAND
    return f.access.hardware or (shared and f.access.onwrite is not OnWrite.NOTHING)


def _check(device: Device, name: str) -> None:
    register, _, part = name.removeprefix("config:").partition(".")
    if register in device.schemas:
        _check_leaf(device, register, part)
        return
    bar = device.config if name.startswith("config:") else device.register_bar(register)[1]  # which says what was meant
    entry = bar.entries.get(register)
    if entry is None:
        raise UsageError(f"{device.name}: configuration space has no register {register!r}")
    if part and (isinstance(entry, Window) or part not in entry.named):
        raise UsageError(f"{device.name}: {register} has no field {part!r}")


def _check_leaf(device: Device, schema: str, path: str) -> None:
    known = {""}
    for leaf in layout(device.schema(schema)).leaves:
        known |= {leaf.path, *(f"{leaf.path}.{f.name}" for f in leaf.fields if f.name)}
    if path not in known:
        raise UsageError(f"{device.name}: {schema} has no {path!r}; it has {', '.join(sorted(known - {''}))}")
