"""What a judge must know of a device beyond its registers one by one: what stirs when a bit is written, what stays quiet.

A register file says how each bit behaves by itself. It does not say that CTRL.RST resets the file, that a mailbox request
makes somebody else write to the memory beside it, or that a bit which hardware may set stays alone while no queue runs.
That knowledge is data, stands beside the device's description (``Device.conduct``) and cites its source like everything
else there. The conformance suite reads it; no behaviour and no test enters.

Names are ``register``, ``register.field`` or ``register[0].field``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regmodel.function import ResetCause
from regmodel.sources import Source

if TYPE_CHECKING:
    from regmodel.registers import Entry


@dataclass(frozen=True)
class Effect:
    """Writing a 1 to ``register.field`` makes the device do something that registers show.

    ``resets`` is the reset that it does, which takes ``seconds`` at most. ``changes`` are registers of which nothing is
    known afterwards.
    """

    field: str
    why: str
    resets: ResetCause | None = None
    changes: tuple[str, ...] = ()
    seconds: float = 0.0
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Held:
    """Tests of registers leave ``register.field`` at its reset value, because of what it would set going."""

    field: str
    why: str


@dataclass(frozen=True)
class Touched:
    """Somebody else, such as the driver of the PF, writes to ``register.field`` after resets by these ``causes``."""

    field: str
    why: str
    causes: tuple[ResetCause, ...]
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Excluded:
    """``test`` (a name, or ``*``) is not done on ``register``. A judge that can do it all the same reports it as needless."""

    test: str
    register: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Interrupts:
    """The interrupt block: registers which have one bit per MSI-X vector in ``field``, and the throttle of each vector.

    A vector is signalled when its bit becomes set in ``cause`` and ``mask`` together. ``auto_clear`` and ``auto_mask`` name
    the bits of these two that a message clears; setting a cause by ``set_cause`` takes the latter back. ``interval`` is
    the field of ``throttle`` (an array by vector) that keeps messages apart, in ``unit`` seconds.
    """

    field: str
    cause: str
    set_cause: str
    mask: str
    mask_clear: str
    auto_clear: str
    auto_mask: str
    throttle: str
    interval: str
    unit: float
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """One request and what comes back. ``fields`` are of the first word of ``message`` and of its other words.

    ``reply`` are the fields of the first word that the answer has to have, besides the message's number.
    """

    name: str
    message: str
    fields: Mapping[str, object]
    reply: Mapping[str, int]
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How the parties of ``mailbox`` pass messages: fields of its control register, by what they are for.

    ``opening`` is what a function says first: only then is it listened to, and may it send and receive.
    """

    mailbox: str
    own: str
    others: str
    request: str
    acknowledge: str
    arrived: str
    taken: str
    in_reset: str
    was_reset: str
    opening: Exchange
    unheard: Exchange
    """What is refused, or left without an answer, before the opening."""
    exchanges: tuple[Exchange, ...] = ()
    route: tuple[str, str] = ("", "")
    """Fields that give the mailbox a vector: which one, and that it is so."""
    unknown: int = 0
    """A first word that no message has."""
    seconds: float = 0.5
    """The longest that the peer takes."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How a queue of ``ring`` is set going and a descriptor of it is filled. Paths are of the schema, with dots.

    ``setup`` are fields (``register.field``) to write before ``enable`` is set. ``constant`` are fields of every descriptor,
    ``address``, ``length``, ``whole`` (bytes of the packet) and ``last`` those that say where the packet is; ``done`` and
    ``got`` (bytes) are of the format that the device writes back.
    """

    ring: str
    enable: str
    setup: Mapping[str, int]
    format: str
    constant: Mapping[str, int]
    address: str
    length: str = ""
    whole: str = ""
    last: str = ""
    written: str = ""
    done: str = ""
    got: str = ""
    counter: str = ""
    """A register that counts packets of all queues."""
    route: tuple[str, str] = ("", "")
    """Fields that give the first queue a vector: which one, and that it is so."""
    inward: bool = False
    """Packets come in: descriptors are offered before there is anything."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How one device behaves as a whole."""

    effects: tuple[Effect, ...] = ()
    held: tuple[Held, ...] = ()
    touched: tuple[Touched, ...] = ()
    quiet: tuple[str, ...] = ()
    """Hardware changes these in consequence of something only: while nothing is set going they keep their value."""
    free_running: tuple[str, ...] = ()
    """Hardware changes these all the time, even what a hardware-side port stores there."""
    excluded: tuple[Excluded, ...] = ()
    interrupts: Interrupts | None = None
    talk: Talk | None = None
    traffic: tuple[Traffic, ...] = ()


def base_of(name: str) -> str:
    """The register of ``register[0].field``."""
    return name.partition(".")[0].partition("[")[0]


def find_field(entries: Mapping[str, Entry], name: str) -> tuple[str, int | None, int]:
    """The register, the element of an array (None for all) and the bits that a name means. Raises KeyError."""
    register, _, part = name.partition(".")
    register, _, index = register.partition("[")
    entry = entries[register]
    mask = entry.named[part].mask if part else (1 << 8 * entry.size) - 1
    return register, int(index[:-1]) if index else None, mask
