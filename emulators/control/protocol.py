"""What is said on the control socket: one JSON object a line, each with the version ``"v": 1``.

A client sends requests, each answered by one reply with the same ``id``. After ``subscribe`` events come in between.
``docs/control-socket.md`` is generated from the models in here (``python -m emulators.control.protocol``).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

VERSION: Literal[1] = 1
MAX_LINE = 65536
"""Bytes of the longest line that a server reads; a client that sends a longer one is disconnected."""

EventKind = Literal["access", "dma", "irq", "mailbox", "packet", "reset", "diagnose"]
EVENT_KINDS: tuple[EventKind, ...] = ("access", "dma", "irq", "mailbox", "packet", "reset", "diagnose")


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    v: Literal[1] = VERSION


class _Request(_Line):
    id: int | str | None = Field(None, description="returned in the reply")


class Hello(_Request):
    """Who are you? The result names the server's version, its functions, their devices, sockets and BARs."""

    do: Literal["hello"]


class Stats(_Request):
    """All counters: messages, device errors, pools, switch, back end."""

    do: Literal["stats"]


class Coverage(_Request):
    """Which registers and bits of a function have been touched."""

    do: Literal["coverage"]
    function: str


class Recent(_Request):
    """The last accesses of a function, from its always-on ring, oldest first."""

    do: Literal["recent"]
    function: str
    count: int = Field(1000, ge=1, le=4096)


class Peek(_Request):
    """Registers of a function by path, without side effects; all of them when none is named."""

    do: Literal["peek"]
    function: str
    paths: list[str] = []


class Ctl(_Request):
    """Steer: the words of ``regmodel ctl SERVER ...``, e.g. ``["vf", "0", "mac", "02:00:00:00:00:01"]``."""

    do: Literal["ctl"]
    words: list[str] = Field(min_length=1, max_length=16)


class Subscribe(_Request):
    """Send events of these kinds from now on."""

    do: Literal["subscribe"]
    events: list[EventKind]


Request = Annotated[Hello | Stats | Coverage | Recent | Peek | Ctl | Subscribe, Field(discriminator="do")]
_requests: TypeAdapter[Request] = TypeAdapter(Request)


def parse(line: bytes) -> Request:
    """One request. Raises ``ValueError`` with one line that says what is wrong with it."""
    try:
        return _requests.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def reply(request_id: int | str | None, result: Any) -> bytes:
    """The line of a successful reply."""
    return line({"v": VERSION, "id": request_id, "ok": True, "result": result})


def refusal(request_id: int | str | None, error: str) -> bytes:
    """The line of a reply that says, in one line, why not."""
    return line({"v": VERSION, "id": request_id, "ok": False, "error": error})


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode() + b"\n"


EVENT_FIELDS: dict[EventKind, tuple[str, ...]] = {
    "access": ("t", "function", "bar", "op", "path", "offset", "size", "value"),
    "dma": ("t", "function", "op", "iova", "size"),
    "irq": ("t", "function", "irq", "vector"),
    "mailbox": ("t", "function", "sender", "words"),
    "packet": ("t", "port", "direction", "data"),
    "reset": ("t", "function", "cause"),
    "diagnose": ("t", "function", "kind", "detail"),
}
"""The members of each event, in order, after ``v`` and ``event``: ``t`` is ns of the server's monotonic clock, ``words`` are
numbers, ``data`` is hexadecimal. One more event, ``lost``, has a ``count`` of events that were dropped before it."""


def event(kind: EventKind, values: tuple[Any, ...]) -> bytes:
    """The line of one event."""
    return line({"v": VERSION, "event": kind, **dict(zip(EVENT_FIELDS[kind], values, strict=True))})


def document() -> str:
    """The documentation of this protocol, in Markdown."""
    out = ["# The control socket", "", (__doc__ or "").strip(), "", "## Requests", ""]
    for model in (Hello, Stats, Coverage, Recent, Peek, Ctl, Subscribe):
        name = model.model_fields["do"].annotation.__args__[0]  # type: ignore[union-attr]
        out += [f"### `{name}`", "", (model.__doc__ or "").strip(), ""]
        members = {k: f for k, f in model.model_fields.items() if k not in ("v", "id", "do")}
        for k, f in members.items():
            default = "" if f.is_required() else f", default {f.default!r}"
            out.append(f"- `{k}`: {_typename(f.annotation)}{default}")
        out += [""] if members else []
    out += ["## Events", "", "| event | members |", "| --- | --- |"]
    out += [f"| `{kind}` | {', '.join(f'`{f}`' for f in fields)} |" for kind, fields in EVENT_FIELDS.items()]
    out += ["| `lost` | `count` |", "", "## JSON Schema of a request", "", "```json"]
    out += [json.dumps(_requests.json_schema(), indent=1), "```", ""]
    return "\n".join(out)


def _typename(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation)) if not hasattr(annotation, "__args__") else str(annotation)


if __name__ == "__main__":
    print(document())
