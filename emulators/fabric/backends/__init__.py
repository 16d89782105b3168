"""The packet back ends for the uplink of a port: what stands at the far end of the cable. One small file each.

In here: the registry and ``parse``. A back end is a class with ``USAGE``, made from its ``Options``; it follows
``emulators.fabric.uplink.Backend``. It never blocks, its queues are bounded, and what is lost is counted.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from emulators.fabric.backends.options import Options
from emulators.fabric.uplink import Backend
from regmodel.errors import UsageError


class Kind(Protocol):
    """A class of back ends."""

    USAGE: str

    def __call__(self, options: Options) -> Backend: ...


BACKENDS = {
    "none": "none:None_",
    "tap": "tap:Tap",
    "pcap": "pcap:Pcap",
    "dgram": "dgram:Dgram",
    "stream": "stream:Stream",
    "patch": "patch:Patch",
    "vhost-user": "vhost_user:VhostUser",
    "gen": "gen:Gen",
    "sink": "sink:Sink",
}
"""By the first word of the specification: module and class. A module is imported when it is asked for."""


def parse(spec: str) -> Backend:
    """The back end that ``--net SPEC`` names, not yet open. Raises ``UsageError`` which lists what can be written."""
    name = spec.partition(":")[0]
    if name not in BACKENDS:
        raise UsageError(f"--net {spec}: no such back end; write one of {', '.join(usages())}")
    kind = _load(name)
    return kind(Options(spec, kind.USAGE))


def usages() -> list[str]:
    """How each back end is written, for ``--help``."""
    return [_load(name).USAGE for name in BACKENDS]


def _load(name: str) -> Kind:
    module, _, kind = BACKENDS[name].partition(":")
    found: Kind = getattr(import_module(f"{__name__}.{module}"), kind)
    return found
