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
