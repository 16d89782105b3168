"""From what a user writes after ``--via`` to an open transport. Each transport registers itself; none is named in here.

A transport is an entry point of group ``regmodel.transports``: its name is the scheme, its value ``module:open``, called as
``open(rest, device, **options)`` with what follows the colon.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import UsageError

GROUP = "regmodel.transports"
FORMS = {"vfio": "vfio:BDF", "vfio-user": "vfio-user:SOCKET", "replay": "replay:FILE", "tee": "tee:OURS,THEIRS"}
"""How the schemes that want something behind the colon are written."""


def open_transport(via: str, device: Device, **options: Any) -> Transport:
    """The function of ``device`` that ``via`` names: ``inprocess``, ``vfio-user:SOCKET``, ``vfio:BDF``, ``replay:FILE``.

    Raises ``UsageError`` for what no transport understands, and whatever the transport raises (``drivers.errors``).
    """
    scheme, _, rest = via.partition(":")
    known = schemes()
    if scheme not in known:
        raise UsageError(f"--via {via}: no such transport; write one of {', '.join(FORMS.get(s, s) for s in sorted(known))}")
    if not rest and scheme in FORMS:
        raise UsageError(f"--via {via}: write it as {FORMS[scheme]}")
    opener: Callable[..., Transport] = known[scheme].load()
    if unknown := not_taken(opener, options):
        raise UsageError(f"--via {via}: it has no option {unknown[0]!r}")
    return opener(rest, device, **options)


def not_taken(opener: Callable[..., Any], options: Mapping[str, Any]) -> list[str]:
    """The names of those ``options`` that ``opener`` has no parameter for, sorted."""
    allowed = inspect.signature(opener).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in allowed.values())
    return [] if takes_any else sorted(options.keys() - allowed.keys())


def schemes() -> dict[str, EntryPoint]:
    """What is installed, by scheme."""
    return {ep.name: ep for ep in entry_points(group=GROUP)}
