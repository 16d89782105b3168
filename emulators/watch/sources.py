"""Where what is shown comes from: a running server, asked a few times a second, or a trace, piece by piece.

A running server pays for being looked at only while somebody looks: registers are peeked, which has no side effects;
accesses are read from the ring that is always on, the last of them at each look; messages, resets and complaints, which are
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
from regmodel.bank import Bank, Cell
from regmodel.catalogue import Device, find
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Kind
from regmodel.traces import MEMBERS

LOG = 400
"""Accesses that one update shows; more than that in a tenth of a second are more than anybody reads."""
COUNTED = 1600
"""Accesses among which those that are not shown are counted: to be told of more costs the server more than to serve them."""
PIECE = 2000
"""Events of a trace in one update: a browser takes in no number of them at once."""
COVERAGE = 1.0
"""Seconds between two looks at the coverage, which is larger than all the rest."""
Update = dict[str, Any]
Touched = tuple[int, int, list[str]]


class Source(Protocol):
    """What the page shows. ``devices`` are by function."""

    devices: dict[str, Device]
    live: bool

    def updates(self, rate: float, *, packets: bool) -> Iterator[Update]:
        """Changes, ``rate`` times a second, those of a trace as fast as they are taken.

        Each has ``values`` by function and register, and rows for ``log`` and ``messages``; packets are messages where they are
        asked for, and what was lost or left out is a row of kind ``lost``. Of a server there are ``rings`` by function, too.
        ``coverage`` by function is in some.
        """


def open_source(path: Path) -> Source:
    """A running server or a saved trace. Raises ``UsageError``."""
    return Trace(path) if path.is_file() else Live(path)


def _row(decoder: Decoder, event: dict[str, Any], now: int = 0) -> dict[str, Any]:
    """One line of the log: what the page filters by, and the decoded text. ``now``: the time of what has none, in ns."""
    kind = event["event"]
    if kind == "lost":
        return _lost(now, f"{event['count']} events lost: this reader is too slow")
    text = decoder.text(event).split(None, 2)
    return {
        "t": event.get("t", 0), "kind": kind, "function": event.get("function", event.get("port", "")),
        "op": event.get("op", ""), "path": event.get("path", ""), "text": text[2] if len(text) > 2 else "",
    }  # fmt: skip


def _lost(now: int, text: str, function: str = "") -> dict[str, Any]:
    """A line for what is not there."""
    return {"t": now, "kind": "lost", "function": function, "op": "", "path": "", "text": text}


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
            ahead = hello["now"] - time.monotonic_ns()
            decoder = Decoder(self.devices, start=hello["now"])
            heard = _Heard(listener, ("mailbox", "reset", "diagnose", *(("packet",) if packets else ())))
            known: dict[str, dict[str, int]] = {name: {} for name in self.devices}
            seen: dict[str, int] = dict.fromkeys(self.devices, hello["now"] - 1)
            next_coverage = 0.0
            while True:
                began = time.monotonic()
                messages = [_row(decoder, event, time.monotonic_ns() + ahead) for event in heard.take()]
                update: Update = {"values": {}, "rings": {}, "log": [], "messages": messages}
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
        """Those since the last look, as far as the page holds them, and a line for those before them."""
        found = client.ask("recent", function=name, count=LOG)
        shown = [row for row in found if row[0] > seen[name]]
        rows = [_row(decoder, {"event": "access", **dict(zip(EVENT_FIELDS["access"], row, strict=True))}) for row in shown]
        if len(shown) == LOG:
            since = [row for row in client.ask("recent", function=name, count=COUNTED) if row[0] > seen[name]]
            left = sum(1 for row in since if row[0] <= shown[-1][0]) - len(shown)
            if left > 0:
                more = " or more" if len(since) == COUNTED else ""
                rows.insert(0, _lost(shown[0][0], f"{left}{more} accesses not shown", name))
        seen[name] = max((row[0] for row in found), default=seen[name])
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
    """A saved trace, in pieces.

    Writes and resets are executed by the description, and what the device answered to reads is believed, so that registers
    show what they held at the end, as far as the driver saw it.
    """

    live = False

    def __init__(self, path: Path) -> None:
        hello, events = load(path)
        self._events = [event for event in events if event["event"] in MEMBERS]
        self.devices = {f["name"]: find(f["device"]) for f in hello["functions"]}

    def updates(self, rate: float, *, packets: bool) -> Iterator[Update]:
        decoder = Decoder(self.devices)
        functions = {name: _Replayed(device) for name, device in self.devices.items()}
        now = next((event["t"] for event in self._events if "t" in event), 0)
        for first in range(0, len(self._events) or 1, PIECE):
            update: Update = {"log": [], "messages": []}
            for event in self._events[first : first + PIECE]:
                now = event.get("t", now)
                row = _row(decoder, event, now)
                if event["event"] in ("access", "lost"):
                    update["log"].append(row)
                if event["event"] != "access":
                    update["messages"].append(row)
                if event.get("function") in functions:
                    functions[event["function"]].take(event)
            update["values"] = {name: function.changed() for name, function in functions.items()}
            if first + PIECE >= len(self._events):
                update["coverage"] = {name: function.coverage() for name, function in functions.items()}
            yield update


class _Replayed:
    """A function whose accesses and resets are known, and nothing else."""

    def __init__(self, device: Device) -> None:
        bars = {**device.bars, CONFIG_REGION: device.config}
        self._banks = {index: Bank(bar) for index, bar in bars.items()}
        self._known: dict[str, Cell] = {}
        self._shown: dict[str, int] = {}

    def take(self, event: dict[str, Any]) -> None:
        """An access, or a reset; nothing else changes registers as far as a trace tells."""
        if event["event"] == "access" and event["path"] and event["bar"] in self._banks:
            self._access(event["bar"], event["op"], event["offset"], event["size"], event["value"])
        elif event["event"] == "reset" and event["cause"] in _CAUSES:
            for bank in self._banks.values():
                bank.reset(_CAUSES[event["cause"]])

    def _access(self, index: int, op: str, offset: int, size: int, value: int) -> None:
        bank = self._banks[index]
        touched = {c.path: c for byte in range(offset, offset + size) if (c := bank.cell_at(byte)) is not None}
        self._known.update({name_of(index, path): cell for path, cell in touched.items()})
        if op == "write":
            bank.write(offset, size, value)
            return
        for cell in touched.values():
            _learn(cell, 8 * (offset - cell.offset), size, value)
        bank.read(offset, size)

    def changed(self) -> dict[str, int]:
        """What the registers that were accessed hold, where that is another value than was told last.

        An access changes more than its own register: an alias stands for another one, and an index shows another of a bank.
        """
        held = {name: cell.value for name, cell in self._known.items()}
        news = {name: value for name, value in held.items() if self._shown.get(name) != value}
        self._shown = held
        return news

    def coverage(self) -> dict[str, Touched]:
        return _touched({str(index): bank.coverage() for index, bank in self._banks.items()})


_CAUSES = {cause.value: cause for cause in ResetCause}


def _learn(cell: Cell, shift: int, size: int, value: int) -> None:
    """What a read of ``size`` bytes, ``shift`` bits above the start of the register, said of it: the bits that can be read."""
    lanes = (1 << 8 * size) - 1
    said, mask = (value << shift, lanes << shift) if shift >= 0 else (value >> -shift, lanes >> -shift)
    mask &= cell.readable & cell.width_mask
    if cell.entry.kind is not Kind.DOORBELL:
        cell.value = (cell.value & ~mask) | (said & mask)
