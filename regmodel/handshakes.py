"""How two sides come to an understanding: a reset, a message and its answer, a queue that is set going. Data, step by step.

A register file does not say in which order a driver uses it. A ``Handshake`` does, names the registers and messages of each
step, and cites where a driver takes it; documents draw it, tests hold that all it names exists. No behaviour enters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from regmodel.access import declaring_line
from regmodel.sources import Source


@dataclass(frozen=True)
class Step:
    """``sender`` does ``what`` to ``receiver`` (both of ``Handshake.parties``; the same party twice: it does so by itself).

    ``names`` are what it touches: registers (``rxdctl``, ``rxdctl.enable``), descriptors, messages or structures.
    """

    sender: str
    receiver: str
    what: str
    names: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Handshake:
    """Steps between ``parties``, in order."""

    name: str
    doc: str
    parties: tuple[str, ...]
    steps: tuple[Step, ...]
    sources: tuple[Source, ...] = ()
    where: str = field(default_factory=declaring_line)

    def named(self) -> set[str]:
        """All registers and schemas that its steps touch, fields left away."""
        return {name.partition(".")[0] for step in self.steps for name in step.names}
