"""The elaborated tree: a description as plain data, which every format is written from and read into.

What lives here: the nodes. They hold names, numbers and texts only, no object of the description language, so a tree can be
compared, stored as JSON (``docs/schema/description.json`` is the schema of it) and made from a file of another tool.
``elaborate`` makes one of a description; nothing in here knows how.

Attributes that hold their default say nothing: two trees are equal when they say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Cause = Literal["power-on", "bus", "flr", "software"]
Causes = tuple[Cause, ...]
OnWrite = Literal["nothing", "store", "one_clears", "zero_clears", "one_sets", "one_toggles", "once", "pulse"]
OnRead = Literal["nothing", "clear", "set"]


class Node(BaseModel):
    """The root of all nodes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Access(Node):
    """What software and hardware do to a bit. ``name`` is the datasheet's word for it, the axes are what counts."""

    name: str
    readable: bool = True
    onwrite: OnWrite = "store"
    onread: OnRead = "nothing"
    hardware: bool = False
    tie: Literal["software", "hardware"] = "software"
    reserved: bool = False


class Lock(Node):
    """Shut while ``key``, which is ``register.field`` of the same BAR or a register that is one number, holds ``value``."""

    key: str
    value: int = 1


class Field(Node):
    """Bits of a word, from ``lsb``. Without an access in descriptors and messages. Without a name: reserved, and remarkable."""

    name: str
    lsb: int
    width: int
    access: Access | None = None
    doc: str = ""
    values: dict[str, int] = {}
    survives: Causes = ()
    """Resets that leave it alone, beside those that the whole register survives."""
    lock: Lock | None = None
    """It ignores writes while this is shut."""
    sources: tuple[str, ...] = ()

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.lsb


class Repeat(Node):
    """An array of ``count``, each ``stride`` bytes behind the one before."""

    stride: int
    count: int


class Bank(Node):
    """The index register ``select`` says which of ``count`` instances is seen."""

    select: str
    count: int


class Register(Node):
    """A register or array of registers at ``offset`` bytes. Bits without a field are reserved and keep their reset value."""

    name: str
    kind: Literal["register", "alias", "doorbell", "command"] = "register"
    doc: str = ""
    offset: int
    width: int = 32
    array: Repeat | None = None
    whole: bool = False
    """It is one number: its only field, ``value``, was given no name."""
    fields: tuple[Field, ...]
    resets: dict[Cause, int] = {}
    """By cause; others do as power-on. 0 where power-on is absent."""
    survives: Causes = ()
    alias_of: str = ""
    banked: Bank | None = None
    pair: tuple[str, str] | None = None
    """The low and the high half of one 64-bit value that takes effect when the high half is written."""
    status: Literal["implemented", "unimplemented", "undocumented"] = "implemented"
    why: str = ""
    sources: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of one instance."""
        return self.width // 8


class Member(Node):
    """A part of a structure: a number, bytes, or (``members``) a structure. ``size`` is of one, without arrays around it."""

    name: str
    doc: str = ""
    offset: int
    """In bytes, from the structure that it is in."""
    size: int
    type: Literal["unsigned", "signed", "bytes", "structure"] = "unsigned"
    big_endian: bool = False
    arrays: tuple[Repeat, ...] = ()
    """Outermost first."""
    fields: tuple[Field, ...] = ()
    must: int | None = None
    """The only number that it may hold."""
    values: dict[str, int] = {}
    members: tuple[Member, ...] = ()


class Window(Node):
    """Memory of ``size`` bytes inside a BAR, with a layout or without."""

    name: str
    kind: Literal["window"]
    doc: str = ""
    offset: int
    size: int
    access: Access
    mappable: bool = False
    survives: Causes = ()
    why: str = ""
    sources: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


class Policy(Node):
    """What accesses do that are not exactly one register."""

    unmapped: Literal["zeros", "ones"] = "zeros"
    partial: Literal["lanes", "ignore"] = "lanes"
    unaligned: Literal["lanes", "ignore"] = "lanes"
    wide: Literal["split", "ignore"] = "split"


class Moved(Node):
    """While ``when`` holds, the ``gone`` bytes from ``first`` are not there, and what is behind them stands lower."""

    first: int
    gone: int
    when: str


Entry = Register | Window


class Bar(Node):
    """A register file of ``size`` bytes; entries are in order of declaration. ``index`` is the base address register's."""

    name: str
    index: int = 0
    doc: str = ""
    size: int
    policy: Policy = Policy()
    moved: Moved | None = None
    entries: tuple[Entry, ...]

    @property
    def registers(self) -> tuple[Register, ...]:
        return tuple(e for e in self.entries if isinstance(e, Register))

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(e for e in self.entries if isinstance(e, Window))


class Schema(Node):
    """The layout of a descriptor, a message or another structure in memory, of ``size`` bytes."""

    name: str
    role: Literal["descriptor", "message", "structure"]
    doc: str = ""
    size: int
    members: tuple[Member, ...]
    sources: tuple[str, ...] = ()


class Ring(Node):
    """A descriptor ring: the registers that place it, and the formats (schemas) that are in it."""

    name: str
    doc: str = ""
    base: tuple[str, str]
    length: str
    head: str
    tail: str
    control: str
    formats: tuple[str, ...]
    device_writes: tuple[str, ...] = ()


class Message(Node):
    """Which schema a mailbox message has, and who says it to whom."""

    name: str
    number: int
    sender: str
    receiver: str


class Mailbox(Node):
    """A channel of messages; ``words`` of 32 bits."""

    name: str
    doc: str = ""
    control: str = ""
    memory: str = ""
    words: int = 0
    messages: tuple[Message, ...] = ()
    sources: tuple[str, ...] = ()


class Key(Node):
    """A named text value; ``path`` has numbers in braces."""

    name: str
    path: str
    grammar: str
    doc: str = ""
    sources: tuple[str, ...] = ()


class Identity(Node):
    """What PCI enumeration reads."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0


class Description(Node):
    """A device, or a fragment of one. ``format`` is the version of this tree."""

    format: Literal[1] = 1
    name: str
    title: str = ""
    doc: str = ""
    identity: Identity | None = None
    bars: tuple[Bar, ...] = ()
    config: Bar | None = None
    schemas: tuple[Schema, ...] = ()
    rings: tuple[Ring, ...] = ()
    mailboxes: tuple[Mailbox, ...] = ()
    keys: tuple[Key, ...] = ()
    drivers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


_PLACES = ("bars", "entries", "fields", "members", "schemas")
"""Attributes which hold what has a name of its own; a path goes through them silently."""


def children(node: Node, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each attribute that says something, as (attribute, path, value); a list of nodes one by one.

    A path is made of names, then of an attribute: ``bar0.ctrl.rst`` is a field, ``bar0.ctrl.rst:access:onwrite`` what it does.
    """
    for name, about in type(node).model_fields.items():
        value = getattr(node, name)
        if value in (about.default, ()):
            continue
        above = (f"{path}." if path else "") if name in _PLACES else f"{path}:{name}"
        if name == "config":
            yield name, above, value  # a structure may have the name, too
        elif isinstance(value, tuple) and value and isinstance(value[0], Node):
            for i, item in enumerate(value):
                yield name, above + (_label(item, i) if name in _PLACES else f".{_label(item, i)}"), item
        elif isinstance(value, dict):
            yield from ((name, f"{above}.{key}", item) for key, item in value.items())
        else:
            yield name, above, value


def _label(node: Node, index: int) -> str:
    """A name; the bits of a field that has none."""
    return getattr(node, "name", "") or (f"[{node.lsb + node.width - 1}:{node.lsb}]" if isinstance(node, Field) else str(index))


def flatten(node: Node, path: str = "") -> dict[str, Any]:
    """All that a tree says as one value per path, for whatever compares trees."""
    found: dict[str, Any] = {}
    for _, at, value in children(node, path):
        found |= flatten(value, at) if isinstance(value, Node) else {at: value}
    return found
