"""What is said on the control socket: one JSON object a line, each with the version ``"v": 1``.

A client sends requests, each answered by one reply with the same ``id``. After ``subscribe`` events come in between.
``docs/control-socket.md`` is generated from what is in here (``python -m emulators.control.protocol``).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

VERSION: Literal[1] = 1
MAX_LINE = 65536
"""Bytes of the longest line that a server reads; a client that sends a longer one is disconnected."""

EventKind = Literal["access", "dma", "descriptor", "irq", "mailbox", "packet", "reset", "diagnose"]
EVENT_KINDS: tuple[EventKind, ...] = ("access", "dma", "descriptor", "irq", "mailbox", "packet", "reset", "diagnose")


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
    """Registers of a function by path, without side effects; all of them when none is named. Those of configuration space
    have ``config.`` before their names.
    """

    do: Literal["peek"]
    function: str
    paths: list[str] = []


class Rings(_Request):
    """Rings of a function that registers tell nothing about: ``name``; ``waiting`` entries of ``size``, from ``head`` on, are
    the device's. Without side effects.
    """

    do: Literal["rings"]
    function: str


class Ctl(_Request):
    """Steer: the words of ``regmodel ctl SERVER ...``, e.g. ``["vf", "0", "mac", "02:00:00:00:00:01"]``."""

    do: Literal["ctl"]
    words: list[str] = Field(min_length=1, max_length=16)


class HandOver(_Request):
    """Hand all devices over to the process that listens at ``to``, a Unix socket, and stop; guests go on. The reply says that
    it has begun: drivers may have to let go first. ``regmodel serve --take-over`` is that process.
    """

    do: Literal["hand_over"]
    to: str


class Subscribe(_Request):
    """Send events of these kinds from now on."""

    do: Literal["subscribe"]
    events: list[EventKind]


Request = Annotated[Hello | Stats | Coverage | Recent | Peek | Rings | Ctl | HandOver | Subscribe, Field(discriminator="do")]
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
    "descriptor": ("t", "function", "op", "ring", "index", "name", "data"),
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


EVENT_ABOUT: dict[EventKind, str] = {
    "access": "the guest read or wrote a register; `bar` 7 is configuration space, `path` is empty where no register is",
    "dma": "the device transferred (`op` is `read` or `write`), or guest memory came or went (`unmap`, or `map` with "
    "permissions and how we reach it)",
    "descriptor": "the device took a descriptor out of a `ring` (`op` is `fetch`) or gave one back (`write-back`): its place "
    "there, the `name` of its format, and all of its bytes as they lie in memory "
    "(a packed virtqueue is given back without an address: 0)",
    "irq": "an interrupt was sent: INTX, MSI or MSIX, and which of them",
    "mailbox": "a message was handed over by `sender`: all of its 32-bit words",
    "packet": "a frame without FCS came `in` to the switch from a VF, the PF or the uplink (`port`), or went `out` to it",
    "reset": "the function was reset, and by what",
    "diagnose": "the guest did what silicon does not answer for; `kind` is a stable name",
}
"""What each kind of event says."""

_INTRODUCTION = """\
`regmodel serve` opens one Unix stream socket of mode 0600: `--control PATH`, by default the path of its first `--socket` with
`.ctl` behind it. Any number of clients may be connected. `regmodel trace` and `regmodel ctl` are two of them; this page is all
that a third one needs. It is generated (`python -m emulators.control.protocol`).

Both sides say JSON objects, one a line, in UTF-8, each with the version `"v": 1`. A server refuses members and versions that
it does not know; it may add members to replies and events within a version, so clients pass over what they do not know. A
request is at most 65536 bytes long. Requests are answered in order, each with the `id` that it had:

```
> {"v":1,"id":1,"do":"ctl","words":["link","down"]}
< {"v":1,"id":1,"ok":true,"result":null}
> {"v":1,"id":2,"do":"coverage","function":"vf9"}
< {"v":1,"id":2,"ok":false,"error":"there is no function 'vf9'; there are vf0"}
```

After `subscribe`, events come in between. A client that does not keep up loses events, which `lost` counts; it never holds up
the port."""


def document() -> str:
    """The documentation of this protocol, in Markdown."""
    out = ["# The control socket", "", _INTRODUCTION, "", "## Requests", ""]
    for model in (Hello, Stats, Coverage, Recent, Peek, Rings, Ctl, HandOver, Subscribe):
        name = model.model_fields["do"].annotation.__args__[0]  # type: ignore[union-attr]
        out += [f"### `{name}`", "", (model.__doc__ or "").strip(), ""]
        members = {k: f for k, f in model.model_fields.items() if k not in ("v", "id", "do")}
        for k, f in members.items():
            default = "" if f.is_required() else f", default {f.default!r}"
            out.append(f"- `{k}`: {_typename(f.annotation)}{default}")
        out += [""] if members else []
    out += ["## Events", "", "`t` is in ns of the server's monotonic clock, as `now` of `hello`.", ""]
    out += ["| event | members | |", "| --- | --- | --- |"]
    out += [f"| `{k}` | {', '.join(f'`{f}`' for f in fields)} | {EVENT_ABOUT[k]} |" for k, fields in EVENT_FIELDS.items()]
    out += ["| `lost` | `count` | events that this client missed before this one |", ""]
    out += ["## JSON Schema of a request", "", "```json"]
    out += [json.dumps(_requests.json_schema(), indent=1), "```", ""]
    return "\n".join(out)


def _typename(annotation: Any) -> str:
    text = str(annotation) if hasattr(annotation, "__args__") else annotation.__name__
    return text.replace("typing.Literal", "one of ")


if __name__ == "__main__":
    print(document())
