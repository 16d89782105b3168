"""What a device is made of, and where all devices are found.

A ``Device`` gathers what the data rooms describe: identity, configuration space, BARs, rings, mailboxes, structures,
sources. It says by name which class in ``emulators`` behaves like it, so that nothing in here needs to import one.

Devices are found through the entry-point group ``regmodel.devices`` (ours as well as yours), or as ``path/to/file.py:NAME``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from construct import Construct

from regmodel.access import declaring_line
from regmodel.conduct import WHOLE, Conduct, base_of, knows
from regmodel.errors import DescriptionError, UsageError
from regmodel.handshakes import Handshake
from regmodel.keys import Keys
from regmodel.registers import Bar, Entry
from regmodel.sources import Source

GROUP = "regmodel.devices"


@dataclass(frozen=True)
class Identity:
    """What enumeration reads. ``class_code`` is base class, sub-class and programming interface in 24 bits."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"


@dataclass(frozen=True)
class Descriptor:
    """One format of a ring's entries. ``btf`` names the kernel type (``module:type.member``) that must agree with it; where
    kernels renamed it, all of its names: ``module:new|old``.
    """

    name: str
    schema: Construct
    doc: str
    sources: tuple[Source, ...]
    btf: str | None = None


@dataclass(frozen=True)
class Ring:
    """A descriptor ring: its formats, and the registers (arrays by queue) that place it.

    ``base`` are the low and high address registers, ``length`` is in bytes; ``device_writes`` are the formats that the
    device writes back in place.
    """

    name: str
    doc: str
    base: tuple[str, str]
    length: str
    head: str
    tail: str
    control: str
    formats: tuple[Descriptor, ...]
    device_writes: tuple[Descriptor, ...] = ()


@dataclass(frozen=True)
class Message:
    """One mailbox message. ``schema`` describes all of its words; ``sender`` and ``receiver`` are parties of the channel
    as its specification calls them, e.g. ``VF`` and ``PF``.
    """

    name: str
    number: int
    sender: str
    receiver: str
    schema: Construct
    doc: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Mailbox:
    """A message channel and what is said through it.

    ``control`` is the register that hands a message over, ``memory`` the window of ``words`` 32-bit words that holds it;
    they are empty where messages travel through rings (admin queues, VMBus).
    """

    name: str
    doc: str
    control: str = ""
    memory: str = ""
    words: int = 0
    messages: tuple[Message, ...] = ()
    sources: tuple[Source, ...] = ()

    def find(self, number: int, sender: str) -> Message | None:
        """The message that ``sender`` numbers so, or None."""
        return next((m for m in self.messages if m.number == number and m.sender == sender), None)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a device's interface, whole or a fragment of it, behind whatever front end: it can be shown and
    decoded. Nothing in here says that it is a PCI function or that something behaves like it: ``Device`` does.

    Raises ``DescriptionError``: ``schema-duplicate``, ``place-unknown``, ``handshake-unknown``, ``conduct-unknown``.
    """

    name: str
    title: str
    doc: str
    bars: Mapping[int, Bar] = field(default_factory=dict)
    rings: tuple[Ring, ...] = ()
    mailboxes: tuple[Mailbox, ...] = ()
    structures: Mapping[str, Construct] = field(default_factory=dict)
    """Layouts that are neither BAR, ring nor message, by name."""
    keys: tuple[Keys, ...] = ()
    conduct: Conduct = field(default_factory=Conduct)
    """What a judge must know of it beyond its registers one by one."""
    handshakes: tuple[Handshake, ...] = ()
    """In which order drivers use it."""
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        where = declaring_line()
        seen: dict[str, Construct] = {}
        for name, schema in self._named_schemas():
            if seen.setdefault(name, schema) is not schema:
                text = "two descriptors, messages or structures have this name"
                raise DescriptionError("schema-duplicate", f"{self.name}.{name}", where, text)
        known = {name for bar in self.bars.values() for name in bar.entries}
        named = [(r.name, place) for r in self.rings for place in (*r.base, r.length, r.head, r.tail, r.control)]
        named += [(box.name, place) for box in self.mailboxes for place in (box.control, box.memory)]
        for owner, place in named:
            if place and place not in known:
                text = f"no BAR has a register or window {place}"
                raise DescriptionError("place-unknown", f"{self.name}.{owner}", where, text)
        for handshake in self.handshakes:
            for missing in sorted(handshake.named() - known - seen.keys()):
                text = f"handshake {handshake.name!r} names {missing}, which is no register, descriptor or message"
                raise DescriptionError("handshake-unknown", f"{self.name}.{missing}", where, text)
        for listed, name, line in self.conduct.named():
            whole = listed not in WHOLE or name == base_of(name)
            if not (whole and any(knows(entries, name) for entries in self._files())):
                text = f"named in {listed}, but neither a BAR nor configuration space has it{self._near(name, listed)}"
                raise DescriptionError("conduct-unknown", f"{self.name}.{name}", line, text)

    def _files(self) -> tuple[Mapping[str, Entry], ...]:
        """The registers of each register file."""
        return tuple(bar.entries for bar in self.bars.values())

    def _near(self, name: str, listed: str) -> str:
        """What may have been meant by a name in a list of the conduct."""
        import difflib

        every = {register: entry for entries in self._files() for register, entry in entries.items()}
        known = [*every]
        if listed not in WHOLE:
            known += [f"{register}.{part}" for register, entry in every.items() for part in getattr(entry, "named", ())]
        near = difflib.get_close_matches(name, known, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _named_schemas(self) -> Iterator[tuple[str, Construct]]:
        for ring in self.rings:
            yield from ((d.name, d.schema) for d in (*ring.formats, *ring.device_writes))
        for box in self.mailboxes:
            yield from ((m.name, m.schema) for m in box.messages)
        yield from self.structures.items()

    @property
    def schemas(self) -> dict[str, Construct]:
        """Everything with a layout that is no BAR, by name: descriptors, messages, structures."""
        return dict(self._named_schemas())

    def schema(self, name: str) -> Construct:
        """One of ``schemas``. Raises ``UsageError`` listing what there is."""
        if name not in self.schemas:
            raise UsageError(f"{self.name} has no descriptor or message {name!r}; it has {', '.join(self.schemas)}")
        return self.schemas[name]

    def register_bar(self, name: str) -> tuple[int, Bar]:
        """The BAR (index and description) that holds register ``name``. Raises ``UsageError`` listing near names."""
        for index, bar in self.bars.items():
            if name in bar.entries:
                return index, bar
        import difflib

        every = [entry for bar in self.bars.values() for entry in bar.entries]
        near = difflib.get_close_matches(name, every, n=3) or every[:5]
        hint = f"did you mean {', '.join(near)}? `regmodel show {self.name}` lists all"
        raise UsageError(f"{self.name} has no register {name!r}; {hint}")


@dataclass(frozen=True, kw_only=True)
class Device(Description):
    """A PCI function, whole. ``model`` is ``module:attribute`` of what behaves like it, looked up by whoever emulates it."""

    identity: Identity
    config: Bar
    model: str
    msix_vectors: int = 0
    msix_bar: int | None = None
    variant: Mapping[str, Any] = field(default_factory=dict)
    """What differs between silicon variants of one family, by name (queues, byte orders)."""
    drivers: tuple[str, ...] = ()
    """Stock drivers it was proven with: Linux modules and DPDK PMDs."""
    proven: tuple[str, ...] = ()
    """What else it was proven with, in words: where there is no driver, a device of somebody else, or sources."""

    def _files(self) -> tuple[Mapping[str, Entry], ...]:
        return (*super()._files(), self.config.entries)


def devices() -> dict[str, Device]:
    """All installed devices by name."""
    return {ep.name: ep.load() for ep in sorted(entry_points(group=GROUP), key=lambda ep: ep.name)}


def find(name: str) -> Device:
    """A device by its name, or by ``path/to/file.py:NAME``. Raises ``UsageError`` which says what there is."""
    found = describe(name)
    if not isinstance(found, Device):
        raise UsageError(f"{name} is a description and no regmodel.catalogue.Device: it can be shown and decoded only")
    return found


def describe(name: str) -> Description:
    """The same for what is only to be shown or decoded: a device or a fragment of one."""
    if ".py:" in name:
        return _from_file(name)
    for ep in entry_points(group=GROUP):
        if ep.name == name:
            found = ep.load()
            if not isinstance(found, Description):
                raise UsageError(f"entry point {ep.value} of group {GROUP} is no regmodel.catalogue.Device")
            return found
    known = ", ".join(sorted(ep.name for ep in entry_points(group=GROUP)))
    raise UsageError(f"unknown device {name!r}; known: {known}; or name a description as path/to/file.py:NAME")


def _from_file(name: str) -> Description:
    path, _, attribute = name.rpartition(":")
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file (devices from a file are named path/to/file.py:NAME)")
    spec = importlib.util.spec_from_file_location(f"regmodel_device_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Description):
        raise UsageError(f"{path} has no regmodel.catalogue.Device or Description named {attribute!r}")
    return found
