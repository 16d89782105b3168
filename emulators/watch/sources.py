"""Where what is shown comes from: a running server, asked a few times a second, or a trace, all at once.

A running server pays for being looked at only while somebody looks: registers are peeked, which has no side effects;
accesses are read from the ring that is always on, so their number costs nothing; messages, resets and complaints, which are
rare, come as events, and packets only where they are asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from emulators.control.client import ControlClient
from emulators.control.decoder import Decoder
from emulators.control.protocol import EVENT_FIELDS, EventKind
from emulators.control.recorded import load
from emulators.watch.described import name_of
from regmodel.bank import Bank
from regmodel.catalogue import Device, find
from regmodel.function import CONFIG_REGION

LOG = 400
"""Accesses that one update shows; more than that in a tenth of a second are more than anybody reads."""
COVERAGE = 1.0
"""Seconds between two looks at the coverage, which is larger than all the rest."""
Update = dict[str, Any]
Touched = tuple[int, int, list[str]]


class Source(Protocol):
    """What the page shows. ``devices`` are by function."""

    devices: dict[str, Device]
    live: bool

    def updates(self, rate: float, *, packets: bool) -> Iterator[Update]:
        """Changes, ``rate`` times a second: ``values``, ``log``, ``messages``, ``coverage``, ``packets``, ``lost``."""


def open_source(path: Path) -> Source:
    """A running server or a saved trace. Raises ``UsageError``."""
    return Trace(path) if path.is_file() else Live(path)


def _row(decoder: Decoder, event: dict[str, Any]) -> dict[str, Any]:
    """One line of the log: what the page filters by, and the decoded text."""
    kind = event["event"]
    text = decoder.text(event).split(None, 2)
    return {
        "t": event.get("t", 0), "kind": kind, "function": event.get("function", event.get("port", "")),
        "op": event.get("op", ""), "path": event.get("path", ""), "text": text[2] if len(text) > 2 else "",
    }  # fmt: skip


class Live:
    """A server that runs, by its control socket."""

    live = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with ControlClient(path) as client:
            self.devices = {f["name"]: find(f["device"]) for f in client.ask("hello")["functions"]}

    def updates(self, rate: float, *, packets: bool) -> Iterator[Update]:
        """Raises ``RegmodelError`` when the server is gone."""
        with ControlClient(self.path) as client, ControlClient(self.path, timeout=None) as listener:
            hello = client.ask("hello")
            decoder = Decoder(self.devices, start=hello["now"])
            heard = _Heard(listener, ("mailbox", "reset", "diagnose", *(("packet",) if packets else ())))
            known: dict[str, dict[str, int]] = {name: {} for name in self.devices}
            seen: dict[str, int] = dict.fromkeys(self.devices, hello["now"] - 1)
            next_coverage = 0.0
            while True:
                began = time.monotonic()
                update: Update = {"values": {}, "rings": {}, "log": [], "messages": [_row(decoder, e) for e in heard.take()]}
                for name in self.devices:
                    values = client.ask("peek", function=name)
                    update["values"][name] = {p: v for p, v in values.items() if known[name].get(p) != v}
                    known[name] = values
                    update["log"] += self._accesses(client, decoder, name, seen)
                    update["rings"][name] = client.ask("rings", function=name)
                update["log"].sort(key=lambda row: row["t"])
                if began >= next_coverage:
                    next_coverage = began + COVERAGE
                    update["coverage"] = {name: _touched(client.ask("coverage", function=name)) for name in self.devices}
                yield update
                time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))

    def _accesses(self, client: ControlClient, decoder: Decoder, name: str, seen: dict[str, int]) -> list[dict[str, Any]]:
        """Those since the last look, as far as the ring and the page hold them."""
        found = [dict(zip(EVENT_FIELDS["access"], row, strict=True)) for row in client.ask("recent", function=name, count=LOG)]
        rows = [_row(decoder, {"event": "access", **event}) for event in found if event["t"] > seen[name]]
        seen[name] = max((event["t"] for event in found), default=seen[name])
        return rows


def _touched(coverage: dict[str, Any]) -> dict[str, Touched]:
    """Of each register that was touched: reads, writes, and the fields into which something other than 0 was written."""
    return {
        name_of(int(bar), path): (found["reads"], found["writes"], [name for name, f in found["fields"].items() if f["ones"]])
        for bar, registers in coverage.items()
        for path, found in registers.items()
        if found["reads"] or found["writes"]
    }


class _Heard:
    """Events of a subscription, gathered by a thread that ends with its socket."""

    def __init__(self, client: ControlClient, kinds: tuple[EventKind, ...]) -> None:
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        stream = client.events(kinds)
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: Iterator[dict[str, Any]]) -> None:
        try:
            for event in stream:
                with self._lock:
                    self._events.append(event)
        except (OSError, ValueError):
            return  # the page was closed, and its socket with it

    def take(self) -> list[dict[str, Any]]:
        with self._lock:
            taken, self._events = self._events, []
        return taken


class Trace:
    """A saved trace: one update with all of it.

    Writes are executed by the description, and what the device answered to reads is believed, so that registers show what
    they held at the end, as far as the driver saw it.
    """

    live = False

    def __init__(self, path: Path) -> None:
        hello, self._events = load(path)
        self.devices = {f["name"]: find(f["device"]) for f in hello["functions"]}

    def updates(self, rate: float, *, packets: bool) -> Iterator[Update]:
        decoder = Decoder(self.devices)
        functions = {name: _Replayed(device) for name, device in self.devices.items()}
        log, messages = [], []
        for event in self._events:
            if event["event"] == "lost":
                continue
            row = _row(decoder, event)
            if event["event"] != "access":
                messages.append(row)
                continue
            log.append(row)
            if event["path"] and event["function"] in functions:
                functions[event["function"]].access(event)
        yield {
            "log": log,
            "messages": messages,
            "values": {name: function.values for name, function in functions.items()},
            "coverage": {name: function.coverage() for name, function in functions.items()},
        }


class _Replayed:
    """A function whose accesses are known, and nothing else."""

    def __init__(self, device: Device) -> None:
        bars = {**device.bars, CONFIG_REGION: device.config}
        self._banks = {index: Bank(bar) for index, bar in bars.items()}
        self._cells = {(index, str(cell.path)): cell for index, bank in self._banks.items() for cell in bank}
        self.values: dict[str, int] = {}

    def access(self, event: dict[str, Any]) -> None:
        index, offset, size = event["bar"], event["offset"], event["size"]
        bank = self._banks[index]
        if event["op"] == "write":
            bank.write(offset, size, event["value"])
        else:
            bank.read(offset, size)
            bank.poke(offset, size, event["value"])
        if (cell := self._cells.get((index, event["path"]))) is not None:
            self.values[name_of(index, event["path"])] = cell.value

    def coverage(self) -> dict[str, Touched]:
        return _touched({str(index): bank.coverage() for index, bank in self._banks.items()})
