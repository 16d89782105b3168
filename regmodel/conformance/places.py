"""Which registers there are to test, what may be written to each, and why something is left out.

Everything that is left out has a reason, derived from the description where it can be: reserved for another test because
writing there acts, held because it would set the device going, answered by somebody else on this target. Reasons that no
description holds come from ``Device.conduct``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from regmodel.access import OnRead, OnWrite
from regmodel.catalogue import Description, Device
from regmodel.conduct import Conduct, Effect, Held, find_field, knows
from regmodel.function import CONFIG_REGION, RegionKind, ResetCause
from regmodel.registers import Bar, Entry, Kind, Register, Window

ACCESS_SIZES = frozenset({1, 2, 4, 8})
PUT_BACK = ("command", *(f"bar{i}" for i in range(6)), "expansion_rom", "interrupt_line")
"""Registers of configuration space that whoever resets a function writes again, so that its BARs answer."""

QUIET = ("aer_header_log",)
"""What hardware may change in any function, and does when an error occurs: none does while a function is tested."""

MOST_UNITS = 1024
"""Accesses by which memory is covered."""

DECODING = 3
"""COMMAND while a function is tested: I/O and memory BARs answer, and it may not issue DMA."""


@dataclass(frozen=True)
class Abilities:
    """What a target can do beyond reading and writing, and what stands between it and the device."""

    resets: frozenset[ResetCause] = frozenset({ResetCause.FLR})
    """The causes that ``Reset`` takes."""
    ports: bool = False
    """It takes ``Drive`` and ``Observe``."""
    tells: bool = False
    """It takes ``Told``: its hardware side hears of accesses."""
    clocked: bool = False
    """It takes ``During``: its hardware side may act in the clock of an access."""
    interrupts: bool = False
    """It takes ``Listen`` and ``Fired``."""
    memory: bool = False
    """It takes ``Allocate``, ``Store`` and ``Load``, and the device may issue DMA."""
    peer: bool = False
    """Somebody is behind the device's mailboxes: the driver of a PF."""
    peer_resets: bool = False
    """It takes ``ResetPeer``."""
    wire: bool = False
    """It takes ``Inject`` and ``Heard``: there is somebody else on the wire."""
    alone: bool = False
    """Nothing is behind the registers: what hardware writes, the judge writes."""
    sizes: frozenset[int] = ACCESS_SIZES
    """Bytes of an access that it can carry to a BAR."""
    write_sizes: frozenset[int] | None = None
    """The same for writes; None where they do not differ."""
    unaligned: bool = False
    files: frozenset[int] | None = None
    """The BARs (and 7, configuration space) that it reaches; None for all."""
    raw_config: bool = True
    """BARs may be moved and the function reset through configuration space; they answer again under ``bars``."""
    bars: Mapping[str, int] = field(default_factory=dict)
    """What the BAR registers hold while it works (``bar0``, ``bar1``, ...); 0 where it does not matter."""
    interactive: bool = True
    """The next access may depend on the last answer."""
    virtualised: Mapping[str, str] = field(default_factory=dict)
    """What somebody else answers, and who: keys are CONFIG, BARS, COMMAND, MSI, MSIX_TABLE."""

    @classmethod
    def all(cls) -> Self:
        """Those of a target that can do everything."""
        return cls(
            frozenset(ResetCause), ports=True, tells=True, clocked=True, interrupts=True, memory=True, peer=True,
            peer_resets=True, wire=True, unaligned=True,
        )  # fmt: skip

    @property
    def put_back(self) -> tuple[str, ...]:
        """Registers that are written again behind a reset. Who has configuration space to himself needs COMMAND only."""
        return PUT_BACK[:1] if self.raw_config and not self.bars else PUT_BACK

    @property
    def writes(self) -> frozenset[int]:
        """Bytes of a write that it can carry to a BAR."""
        return self.sizes if self.write_sizes is None else self.write_sizes


@dataclass(frozen=True)
class Place:
    """One register, array element or window. ``path`` is what reports call it."""

    file: int
    name: str
    element: int
    path: str
    offset: int
    entry: Entry
    held: int
    """Bits that tests leave at their reset value."""
    notes: tuple[str, ...]
    """Why those."""
    rest: int
    """What the register holds between tests: its reset value, but for what keeps BARs answering."""

    @cached_property
    def size(self) -> int:
        return int(self.entry.size)

    @cached_property
    def full(self) -> int:
        return (1 << 8 * self.size) - 1

    @cached_property
    def units(self) -> tuple[tuple[int, int], ...]:
        """The accesses (offset, size) that cover it: one for a register; for memory its words, or bytes if it is uneven.

        Of memory that has more than ``MOST_UNITS``: those at both ends, one for each address line, and some in between.
        """
        if isinstance(self.entry, Register):
            return ((self.offset, self.size),)
        unit = 1 if self.offset % 4 or self.size % 4 else 4
        every = range(0, self.size, unit)
        if len(every) > MOST_UNITS:
            ends, part = MOST_UNITS // 4, len(every) // (MOST_UNITS // 4)
            lines = (1 << bit for bit in range(self.size.bit_length()) if 1 << bit in every)
            every = sorted({*every[:ends], *every[-ends:], *every[::part], *lines})  # type: ignore[assignment]
        return tuple((self.offset + at, unit) for at in every)

    @cached_property
    def register(self) -> Register:
        assert isinstance(self.entry, Register)
        return self.entry

    @property
    def owner(self) -> str:
        """The register whose state it shows: another one's for an alias."""
        return self.register.of or self.name

    @cached_property
    def writable(self) -> int:
        """The bits that a write may change and a test may write."""
        if isinstance(self.entry, Window):
            return self.full if self.entry.access.writable else 0
        return sum(f.mask for f in self.entry.fields if f.access.writable) & ~self.held

    @cached_property
    def reset(self) -> int:
        """The value after power-on, the one that tests go back to."""
        return 0 if isinstance(self.entry, Window) else self.entry.reset_value(ResetCause.POWER_ON)

    def bits(self, *behaviours: OnWrite | OnRead) -> int:
        """The bits with any of these behaviours, held ones not among them."""
        if isinstance(self.entry, Window):
            return 0
        return ~self.held & sum(
            f.mask for f in self.entry.fields if f.access.onwrite in behaviours or f.access.onread in behaviours
        )

    def legal(self, value: int) -> int:
        """``value``, with the held bits at rest."""
        return (value & ~self.held | self.rest & self.held) & self.full

    @cached_property
    def stores(self) -> bool:
        """Writing it is storing, in whole or in part: going back is possible."""
        return bool(self.bits(OnWrite.STORE)) or isinstance(self.entry, Window)


def conduct_of(device: Description, raw: bool, alone: bool = False) -> Conduct:
    """What is known of a device's conduct, with what the PCI specifications say of every function.

    ``raw``: the function may be reset and its BARs moved through configuration space. ``alone``: nothing is behind the
    registers, so that nothing can be set going, and nothing runs, but what resets registers.
    """
    own = device.conduct
    if alone:
        resets = tuple(replace(e, changes=()) for e in own.effects if e.resets is not None)
        own = replace(own, effects=resets, held=(), same=(), touched=(), free_running=())
    if not isinstance(device, Device):
        return own
    known = device.config.entries
    memory = "BARs would not answer, or at another address; see bar_sizing"
    held = [Held(f"command.{f}", memory) for f in ("io_space", "memory_space")]
    held += [Held("command.bus_master", "the device could issue DMA")]
    held += [Held(f"bar{i}.address", memory) for i in range(6)] + [Held("expansion_rom", memory)]
    held += [Held("pm_control_status.power_state", "the device would sleep")]
    held += [Held(f"{r}.enable", "interrupts would be messages") for r in ("msix_message_control", "msi_message_control")]
    effects = []
    flr = Effect("pcie_device_control.initiate_flr", "resets the function", ResetCause.FLR, seconds=0.1)
    if raw:
        effects.append(flr)
    else:
        held.append(Held(flr.field, "resets the function, which this target does in another way"))
    held = [h for h in held if _exists(known, h.field)]
    effects = [e for e in effects if _exists(known, e.field) and _writable(known, e.field)]
    quiet = (*own.quiet, *(name for name in QUIET if name in known))
    return replace(own, effects=(*own.effects, *effects), held=(*own.held, *held), quiet=quiet)


def _exists(entries: Mapping[str, Entry], name: str) -> bool:
    register, _, part = name.partition(".")
    entry = entries.get(register)
    return isinstance(entry, Register) and (not part or part in entry.named)


def _writable(entries: Mapping[str, Entry], name: str) -> bool:
    """A device without function level reset has the bit that would do it, but nobody can write it."""
    register, _, part = name.partition(".")
    entry = entries[register]
    return isinstance(entry, Register) and entry.named[part].access.writable


class Ground:
    """All places of a device that a target reaches."""

    def __init__(self, device: Description, abilities: Abilities) -> None:
        self.device, self.abilities = device, abilities
        self.test = ""
        """The test that runs."""
        self.conduct = conduct_of(device, abilities.raw_config, abilities.alone)
        every = {**device.bars, **({CONFIG_REGION: device.config} if isinstance(device, Device) else {})}
        self.files: dict[int, Bar] = {
            i: bar for i, bar in every.items() if abilities.files is None or i in abilities.files
        }
        specs = device.config.bar_specs if isinstance(device, Device) else ()
        self.ports = frozenset(spec.index for spec in specs if spec.kind is RegionKind.IO)
        """Files of which an access is at most 4 bytes: the processor has no instruction for more."""
        self.places = tuple(self._all())
        self.by_path = {place.path: place for place in self.places}
        self._windows = [p for p in self.places if isinstance(p.entry, Window)]
        self._registers = [p for p in self.places if isinstance(p.entry, Register)]
        self._sharing: dict[tuple[int, str, int], list[Place]] = {}
        for p in self._registers:
            self._sharing.setdefault((p.file, p.owner, p.element), []).append(p)
        self._bytes = {(p.file, byte): p for p in self.registers() for byte in range(p.offset, p.offset + p.size)}

    def _all(self) -> Iterator[Place]:
        for file, bar in self.files.items():
            left: dict[str, list[tuple[int, str]]] = {}
            acting = [(e.field, f"{e.field}: a 1 acts ({e.why})") for e in self.conduct.effects]
            for name, why in [*acting, *((h.field, f"{h.field}: {h.why}") for h in self.conduct.held)]:
                if knows(bar.entries, name):
                    register, _, mask = find_field(bar.entries, name)
                    left.setdefault(register, []).append((mask, why))
            prefix = "config" if file == CONFIG_REGION else f"bar{file}"
            names = {id(e): n for n, e in bar.entries.items()}
            for path, element, offset, entry in bar.placed():
                found = left.get(names[id(entry)], [])
                held = 0
                for mask, _ in found:
                    held |= mask
                name, notes = names[id(entry)], tuple(why for _, why in found)
                rest = 0 if isinstance(entry, Window) else entry.reset_value(ResetCause.POWER_ON)
                if file == CONFIG_REGION:
                    rest = DECODING if name == "command" else self.abilities.bars.get(name, rest)
                yield Place(file, name, element, f"{prefix}.{path}", offset, entry, held, notes, rest)

    def at(self, file: int, byte: int) -> Place | None:
        """What stands at a byte."""
        found = self._bytes.get((file, byte))
        if found is None:
            found = next((w for w in self._windows if w.file == file and 0 <= byte - w.offset < w.size), None)
        return found

    def registers(self, file: int | None = None) -> list[Place]:
        """All but windows."""
        return [p for p in self._registers if file in (None, p.file)]

    def sharing(self, place: Place) -> list[Place]:
        """The registers over the state behind a register, itself among them."""
        return self._sharing[place.file, place.owner, place.element]

    def windows(self) -> list[Place]:
        return [p for p in self.places if isinstance(p.entry, Window)]

    def writable(self) -> list[Place]:
        """Registers with a bit that a write may change."""
        return [p for p in self.registers() if p.writable]

    def untestable(self, test: str, place: Place) -> str:
        """Why ``test`` is not done on a place by somebody's decision; empty if it is."""
        for e in self.conduct.excluded:
            if e.test in (test, "*") and e.register == place.name:
                return e.why
        return ""

    def barred(self, place: Place) -> str:
        """Why the test that runs may not touch a place, not even for the sake of another one; empty if it may."""
        return self.virtual(place) or self.untestable(self.test, place)

    def virtual(self, place: Place) -> str:
        """Who answers for a place in the device's stead; empty if nobody does."""
        return self.abilities.virtualised.get(self._part(place), "") if self.abilities.virtualised else ""

    def _part(self, place: Place) -> str:
        if place.file == CONFIG_REGION:
            for part, starts in (("COMMAND", "command"), ("MSI", "msi"), ("BARS", ("bar", "expansion_rom"))):
                if place.name.startswith(starts) and part in self.abilities.virtualised:
                    return part
            return "CONFIG"
        table = place.name.startswith("msix_") and place.file == getattr(self.device, "msix_bar", None)
        return "MSIX_TABLE" if table else ""

    def doorbell(self, place: Place) -> bool:
        return place.entry.kind in (Kind.DOORBELL, Kind.COMMAND)
