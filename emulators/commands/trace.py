"""``regmodel trace``: what a running server and its guests say to each other, decoded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from regmodel.errors import UsageError


def trace(
    server: Annotated[Path, typer.Argument(help="a control socket, the vfio-user socket beside it, or a saved trace")],
    events: Annotated[
        str, typer.Option(help="which kinds, by comma: access dma descriptor irq mailbox packet reset diagnose")
    ] = "access,dma,descriptor,irq,mailbox,reset,diagnose",
    function: Annotated[str | None, typer.Option(help="of this function only")] = None,
    recent: Annotated[bool, typer.Option("--recent", help="print the last accesses from the always-on ring, and end")] = False,
    save: Annotated[Path | None, typer.Option(help="save the events as JSON lines, to be decoded later")] = None,
    pcapng: Annotated[Path | None, typer.Option(help="save the packets for Wireshark")] = None,
    count: Annotated[int | None, typer.Option(help="end after this many events", min=1)] = None,
) -> None:
    """Follow a running server: register accesses, DMA, descriptors, interrupts, mailbox messages and packets, decoded.

    \b
    regmodel trace /tmp/vf0.sock
    regmodel trace /tmp/vf0.sock --events mailbox
    regmodel trace /tmp/vf0.sock --save boot.jsonl --pcapng boot.pcapng
    regmodel trace boot.jsonl
    """
    from itertools import islice

    from emulators.control.client import ControlClient
    from emulators.control.decoder import Decoder
    from emulators.control.recorded import load

    with ExitStack() as stack:
        if server.is_file():
            hello, saved = load(server)
            stream: Iterator[dict[str, Any]] = iter(saved)
        else:
            client = stack.enter_context(ControlClient(server))
            hello = client.ask("hello")
            if recent:
                stream = _recent(client, hello, function)
            else:
                stream = client.events(_kinds(events, pcapng is not None))
        devices = _devices(hello)
        if function is not None and function not in devices:
            raise UsageError(f"there is no function {function!r}; there are {', '.join(devices)}")
        decoder = Decoder(devices)
        if function is not None:
            stream = (e for e in stream if e.get("function") in (function, None))
        if count is not None:
            stream = islice(stream, count)
        if save is not None:
            stream = _saving(stream, stack.enter_context(_created(save)), hello)
        if pcapng is not None:
            stream = _capturing(stream, pcapng, stack, hello.get("now", 0))
        for line in decoder.lines(stream):
            print(line, flush=sys.stdout.isatty())


def _kinds(text: str, packets: bool) -> list[Any]:
    from emulators.control.protocol import EVENT_KINDS

    kinds = [kind for kind in text.split(",") if kind]
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise UsageError(f"there are no {kind!r} events; choose from {', '.join(EVENT_KINDS)}")
    return kinds + (["packet"] if packets and "packet" not in kinds else [])


def _devices(hello: dict[str, Any]) -> dict[str, Any]:
    from regmodel.catalogue import find

    return {f["name"]: find(f["device"]) for f in hello["functions"]}


def _recent(client: Any, hello: dict[str, Any], function: str | None) -> Iterator[dict[str, Any]]:
    from emulators.control.protocol import EVENT_FIELDS

    for name in [f["name"] for f in hello["functions"] if function in (None, f["name"])]:
        for values in client.ask("recent", function=name):
            yield {"event": "access", **dict(zip(EVENT_FIELDS["access"], values, strict=True))}


def _created(path: Path) -> TextIO:
    """A new file that holds whole lines only, whenever and however we are stopped."""
    try:
        return path.open("w", buffering=1)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --save") from None


def _saving(events: Iterable[dict[str, Any]], out: TextIO, hello: dict[str, Any]) -> Iterator[dict[str, Any]]:
    out.write(json.dumps({"hello": hello}) + "\n")
    for event in events:
        out.write(json.dumps(event, separators=(",", ":")) + "\n")
        yield event


def _capturing(events: Iterable[dict[str, Any]], path: Path, stack: ExitStack, now: int) -> Iterator[dict[str, Any]]:
    """Packets go to the file, with the time of day; all else is passed on. ``now``: the server's clock at this moment, ns."""
    import time

    from emulators.fabric.backends.pcap import open_writer, write_frame

    try:
        writer = open_writer(str(path))
    except ValueError as error:
        raise UsageError(str(error)) from None
    stack.callback(writer.close)
    shift = time.time_ns() - now
    for event in events:
        if event["event"] == "packet":
            direction = 1 if event["direction"] == "in" else 2
            write_frame(writer, event["t"] + shift, bytes.fromhex(event["data"]), event["port"], direction)
        yield event
