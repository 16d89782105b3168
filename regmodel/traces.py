"""A trace that ``regmodel trace --save`` has written: what the server was, and its events in order.

What lives here: reading such a file and finding what is wrong with it. What each event says is in docs/control-socket.md;
showing it is up to others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from regmodel.errors import UsageError

Event = dict[str, Any]

MEMBERS: Mapping[str, Mapping[str, type]] = {
    "access": {"t": int, "function": str, "bar": int, "op": str, "path": str, "offset": int, "size": int, "value": int},
    "dma": {"t": int, "function": str, "op": str, "iova": int, "size": int},
    "descriptor": {
        "t": int, "function": str, "op": str, "ring": str, "index": int, "name": str, "data": str,
    },
    "irq": {"t": int, "function": str, "irq": str, "vector": int},
    "mailbox": {"t": int, "function": str, "sender": str, "words": list},
    "packet": {"t": int, "port": str, "direction": str, "data": str},
    "reset": {"t": int, "function": str, "cause": str},
    "diagnose": {"t": int, "function": str, "kind": str, "detail": dict},
    "lost": {"count": int},
}
"""The members that an event of each kind has at least. Kinds that are not here are of a newer server, and passed over."""
BITS: Mapping[str, int] = {"t": 64, "bar": 8, "offset": 32, "value": 64, "count": 64}
"""How wide the numbers are that registers, captures and waveforms are made of. None is negative."""
WIDTHS = (1, 2, 4, 8)
"""Bytes of an access. What is longer, of configuration space first of all, becomes several before it is one."""
_HEX = re.compile("([0-9a-f]{2})*")


class Trace(NamedTuple):
    """What ``regmodel trace --save`` wrote: the server's answer to ``hello``, and the events."""

    hello: dict[str, Any]
    events: list[Event]

    @property
    def functions(self) -> dict[str, str]:
        """The device of each function."""
        return {f["name"]: f["device"] for f in self.hello["functions"]}


def load(path: Path) -> Trace:
    """A saved trace. Raises ``UsageError`` which names the line that is none."""
    remedy = f"make one with `regmodel trace SERVER --save {path.name}`"
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}): name another trace") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}:1: this is no text, so it is no trace; {remedy}") from None
    lines = [json_or_none(line) for line in text.splitlines()] or [None]
    hello = lines[0].get("hello") if isinstance(lines[0], dict) else None
    if not (isinstance(hello, dict) and _functions(hello.get("functions"))):
        raise UsageError(f"{path}:1: this is no head of a trace, {{\"hello\": ...}}; {remedy}")
    for number, event in enumerate(lines[1:], 2):
        wrong = problem(event)
        if wrong:
            raise UsageError(f"{path}:{number}: this is no event of a trace: {wrong}; {remedy}")
    return Trace(hello, [event for event in lines[1:] if event is not None])


def json_or_none(line: str) -> Any:
    """What a line of JSON says; None for what is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def problem(event: object) -> str:
    """What is wrong with an event, "" for nothing."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "it is no JSON object with an event in it"
    for name, kind in MEMBERS.get(event["event"], {}).items():
        if type(event.get(name)) is not kind:  # true is no number
            return f"its {name} is no {kind.__name__}" if name in event else f"it has no {name}"
        wrong = _wrong(name, event[name])
        if wrong:
            return wrong
    if event["event"] == "access" and event["size"] not in WIDTHS:
        return "its size is not 1, 2, 4 or 8"
    return ""


def _wrong(name: str, value: Any) -> str:
    """What is wrong with a member that has the right type."""
    if name == "data" and not _HEX.fullmatch(value):
        return "its data are no bytes in hexadecimal"
    if name in BITS and not 0 <= value < 1 << BITS[name]:
        return f"its {name} is no number of {BITS[name]} bits"
    if name == "words" and not (value and all(type(word) is int and 0 <= word < 1 << 32 for word in value)):
        return "its words are no numbers of 32 bits"
    if isinstance(value, str) and not value.isprintable():
        return f"its {name} is no text of one line"
    return ""


def _functions(found: object) -> bool:
    return isinstance(found, list) and all(
        isinstance(f, dict) and isinstance(f.get("name"), str) and isinstance(f.get("device"), str) for f in found
    )
