"""Registers over time, from a trace, as a value change dump (IEEE 1364-2005 section 18), as GTKWave reads it.

What lives here: the backend ``vcd``. Scopes are function, BAR, register; a register is a vector, its fields are vectors below
it. Values are x before the trace tells them. The register file of the description (``regmodel.bank``) takes part in every
access of the trace, so that a bit which a read clears falls, a bit that a write of 1 clears falls, and an alias changes what
it stands for. What lasts for one access only, a pulse bit or what a read cleared, is shown for 1 ns. A doorbell holds what was
written last. Hardware that changes a register is seen when somebody reads it, as software sees it.

Beside the BARs of each function stand texts: the mailbox ``message`` and the ``diagnosis`` that were last, ``irq`` with its
vector, and ``reset`` with its cause.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from regmodel.bank import Bank, Cause, Cell, Path
from regmodel.catalogue import Description, Device
from regmodel.errors import UsageError
from regmodel.export.omissions import LeftOut, Traced
from regmodel.function import CONFIG_REGION, ResetCause
from regmodel.registers import Bar, Kind
from regmodel.traces import Event, Trace

TEXTS = ("message", "irq", "reset", "diagnosis")
_CAUSES = {cause.value: cause for cause in ResetCause}
_WHY = {
    "dma": "memory is no register", "descriptor": "memory is no register", "packet": "a frame is no register",
    "lost": "what was lost is nowhere", "miss": "no register is there",
}  # fmt: skip


def vcd(description: Description, trace: Trace, functions: tuple[str, ...]) -> Traced:
    """One file: the functions of this device. Left out are registers that nobody touched, and events that are no value."""
    try:
        from vcd import VCDWriter
    except ImportError:
        raise UsageError("waveforms need pyvcd; install it with `pip install 'regmodel[vcd]'`") from None

    events = [e for e in trace.events if e.get("function") in functions or e["event"] in ("lost", "packet")]
    start = min((e["t"] for e in events if "t" in e), default=0)
    out = io.StringIO()
    about = f"{description.title or description.name}: registers as software sees them, from a trace"
    with VCDWriter(out, timescale="1 ns", date="", version="regmodel", comment=about) as writer:
        waves = {name: Waves(name, description, writer, events) for name in functions}
        clock = -1
        for event in sorted((e for e in events if "t" in e), key=lambda e: e["t"]):
            wave = waves.get(event.get("function", ""))
            if wave is not None:
                clock = wave.take(event, max(event["t"] - start, clock + 1))
    return Traced({f"{description.name}.vcd": out.getvalue().encode()}, _left_out(waves.values(), events))


def _left_out(waves: Any, events: list[Event]) -> Iterator[LeftOut]:
    for wave in waves:
        for bar, bank in sorted(wave.banks.items()):
            seen = wave.seen[bar]
            for name in bank.bar.entries:
                if not any(path.name == name for path in seen):
                    yield LeftOut(f"{wave.name}.{bank.bar.bar}.{name}", "nobody touched it")
    missed = Counter("miss" if e["event"] == "access" and not e["path"] else e["event"] for e in events)
    yield from (LeftOut(f":{kind}", f"{why} ({missed[kind]} events)") for kind, why in _WHY.items() if missed[kind])


class Waves:
    """The signals of one function, and the register files that know what an access does."""

    def __init__(self, name: str, description: Description, writer: Any, events: list[Event]) -> None:
        self.name, self.writer = name, writer
        bars: dict[int, Bar] = dict(description.bars)
        if isinstance(description, Device):
            bars[CONFIG_REGION] = description.config
        self.banks = {index: Bank(bar, now=lambda: 0, history=1) for index, bar in bars.items()}
        self.box = description.mailboxes
        self.texts = {word: writer.register_var(name, word, "string", init="") for word in TEXTS}
        self.seen: dict[int, dict[Path, Cell]] = {index: {} for index in bars}
        self.signals: dict[tuple[int, Path], list[tuple[Any, int, int]]] = {}
        self.known: set[tuple[int, Path]] = set()
        self.same: dict[tuple[int, Path], list[Path]] = {}
        self.momentary: dict[tuple[int, Path], int] = {}
        for event in events:
            if event["event"] == "access" and event["function"] == name and event["bar"] in self.banks:
                self._find(event["bar"], event["offset"], event["size"])
        for index, cells in self.seen.items():
            for path, cell in sorted(cells.items(), key=lambda item: item[1].offset):
                self.signals[index, path] = list(self._signals(f"{name}.{self.banks[index].bar.bar}", cell))
            self._watch(index)

    def _find(self, bar: int, offset: int, size: int) -> None:
        """The cells under an access, and those that are the same state under another name."""
        for byte in range(offset, offset + size):
            cell = self.banks[bar].cell_at(byte)
            if cell is not None and cell.path not in self.seen[bar]:
                same = [c for c in self.banks[bar] if c.store is cell.store and c.index == cell.index and c.size == cell.size]
                self.seen[bar].update({c.path: c for c in same})
                self.same.update({(bar, c.path): [other.path for other in same] for c in same})

    def _signals(self, scope: str, cell: Cell) -> Iterator[tuple[Any, int, int]]:
        """The variable of a register and of each field, with what to shift and to mask its value by."""
        name = cell.path.replace("[", "(").replace("]", ")")  # in a waveform, brackets are bits
        yield self.writer.register_var(scope, name, "reg", size=8 * cell.size), 0, cell.width_mask
        if list(cell.fields) != ["value"]:
            for field in cell.fields.values():
                signal = self.writer.register_var(f"{scope}.{name}", field.name, "reg", size=field.width)
                yield signal, field.lsb, (1 << field.width) - 1

    def _watch(self, bar: int) -> None:
        """What a write shows for a moment: pulses."""

        def written(path: Path, old: int, new: int, size: int, cause: Cause) -> None:
            cell = self.banks[bar][path.name, path.instance]
            if cell.pair is None and new != cell.value:
                self.momentary[bar, path] = new

        for name in {path.name for path in self.seen[bar]}:
            self.banks[bar].on_write(name, written)

    # -- events --------------------------------------------------------------------------------------------------------

    def take(self, event: Event, time: int) -> int:
        """One event at ``time`` in ns. The time of the last change that came of it."""
        kind = event["event"]
        if kind == "access" and event["bar"] in self.banks:
            return self._access(event, time)
        if kind == "reset" and event["cause"] in _CAUSES:
            for bar, bank in self.banks.items():
                bank.reset(_CAUSES[event["cause"]])
                self.known |= {(bar, path) for path in self.seen[bar]}
            self._show(time)
        if kind in ("mailbox", "irq", "reset", "diagnose"):
            self._say(kind, event, time)
        return time

    def _access(self, event: Event, time: int) -> int:
        bar, offset, size, value = event["bar"], event["offset"], event["size"], event["value"]
        bank, self.momentary = self.banks[bar], {}
        touched = {c.path: c for byte in range(offset, offset + size) if (c := bank.cell_at(byte)) is not None}
        self.known |= {(bar, path) for cell in touched.values() for path in self.same[bar, cell.path]}
        if event["op"] == "read":
            for cell in touched.values():
                self._learn(cell, offset, size, value)
            self._show(time)
            bank.read(offset, size)
        else:
            bank.write(offset, size, value)
            for path, cell in touched.items():
                if cell.entry.kind in (Kind.DOORBELL, Kind.COMMAND):
                    self._change((bar, path), value, time)
            for key, shown in self.momentary.items():
                self._change(key, shown, time)
            if not self.momentary:
                self._show(time)
                return time
        self._show(time + 1)
        return time + 1

    @staticmethod
    def _learn(cell: Cell, offset: int, size: int, value: int) -> None:
        """What a read said of a cell: its readable bits, those that the access covered."""
        shift = 8 * (offset - cell.offset)
        said = value << shift if shift >= 0 else value >> -shift
        lanes = ((1 << 8 * size) - 1) << shift if shift >= 0 else ((1 << 8 * size) - 1) >> -shift
        mask = cell.readable & lanes & cell.width_mask
        if cell.entry.kind is not Kind.DOORBELL:
            cell.value = (cell.value & ~mask) | (said & mask)

    def _show(self, time: int) -> None:
        """Every register that has become another one."""
        for bar, cells in self.seen.items():
            for path, cell in cells.items():
                if (bar, path) in self.known and cell.entry.kind not in (Kind.DOORBELL, Kind.COMMAND):
                    self._change((bar, path), cell.value, time)

    def _change(self, key: tuple[int, Path], value: int, time: int) -> None:
        for signal, shift, mask in self.signals[key]:
            self.writer.change(signal, time, value >> shift & mask)

    def _say(self, kind: str, event: Event, time: int) -> None:
        if kind == "mailbox":
            number = event["words"][0] & 0xFFFF if event["words"] else 0
            found = next((m.name for box in self.box if (m := box.find(number, event["sender"]))), f"{number:#x}")
            word, text = "message", f"{event['sender']}:{found}"
        elif kind == "irq":
            word, text = "irq", f"{event['irq']}:{event['vector']}"
        else:
            word, text = {"reset": ("reset", event.get("cause", "")), "diagnose": ("diagnosis", event.get("kind", ""))}[kind]
        self.writer.change(self.texts[word], time, text.replace(" ", "_"))
