"""The file of a recording: what a driver did to a transport and what it got back, one line each, in the order it happened.

JSON lines. The first is the header::

    {"regmodel-recording": 1, "device": "igbvf", "transport": "vfio:0000:00:02.0", "virtualised": ["BARS", "MSI"]}

Every other line is one call: its verb, its arguments, its result last (null where there is none)::

    ["read", 0, 3136, 4, 64]                          BAR, offset, size; value
    ["write", 0, 14360, 4, 1, null]                   BAR, offset, size, value
    ["config_read", 0, 4, 281706630], ["config_write", 4, 2, 6, null]
    ["bar", 0, 16384]                                 BAR; its size in bytes. The first time only
    ["alloc", 4096, [268435456, 4096]]                bytes asked for; IOVA and size
    ["free", 268435456, null]
    ["to_device", 268435456, 0, 4096, [[0, "00f0…"]], null]     IOVA, offset, size, what the driver had changed
    ["to_cpu", 268435456, 0, 4096, [[12, "0300…"]]]             IOVA, offset, size; what the device had changed
    ["irq_vectors", "MSIX", 3], ["enable_irqs", 3, "MSIX", null], ["disable_irqs", null]
    ["wait_irq", 0.5, [0, 2]]                         seconds; vectors
    ["sleep", 0.001, null], ["now", 1.25], ["reset", null], ["close", null]

Bytes are hexadecimal and each run of them stands behind its offset in the buffer; what changed is counted from zeroed memory
on, so that the lines hold all contents. A call that raised has ``{"raise": [KIND, TEXT]}`` for its result.

Each line is written at once and whole: what was killed leaves a recording that is good up to its last line.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drivers import errors
from drivers.transports import Transport, Virtualised
from drivers.transports.handover import Change
from regmodel.errors import RegmodelError, UsageError

VERSION: Final = 1
MARK: Final = "regmodel-recording"
NUMBER: Final = (int, float)
ARGUMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "config_read": (int,) * 2, "config_write": (int,) * 3, "bar": (int,), "read": (int,) * 3, "write": (int,) * 4,
    "alloc": (int,), "free": (int,), "to_device": (int, int, int, list), "to_cpu": (int,) * 3, "irq_vectors": (str,),
    "enable_irqs": (int, str), "disable_irqs": (), "wait_irq": (NUMBER,), "sleep": (NUMBER,), "now": (), "reset": (),
    "close": (),
}  # fmt: skip
"""The types of each verb's arguments."""
RESULTS: Final[dict[str, Any]] = {
    "config_read": int, "bar": int, "read": int, "irq_vectors": int, "now": NUMBER, "alloc": list, "to_cpu": list,
    "wait_irq": list,
}  # fmt: skip
"""The types of what the verbs give that give anything; the lists of ``alloc`` and ``wait_irq`` hold numbers."""


@dataclass(frozen=True)
class Entry:
    """One call. ``line`` counts from 1, the header being the first."""

    line: int
    verb: str
    arguments: tuple[Any, ...]
    result: Any

    def give(self) -> Any:
        """The result, raised where it was raised."""
        if isinstance(self.result, dict):
            kind, text = self.result["raise"]
            raise error_class(kind)(text)
        return self.result


@dataclass(frozen=True)
class Recording:
    """A file, read. ``cut`` says that its last line was not finished, or that the transport was not closed."""

    path: str
    device: str
    transport: str
    virtualised: frozenset[Virtualised]
    entries: tuple[Entry, ...]
    cut: bool


class Writer:
    """A new recording at ``path``, of ``device`` through ``transport``. Raises ``UsageError`` where it cannot be written."""

    def __init__(self, path: str | os.PathLike[str], device: str, transport: Transport) -> None:
        try:
            self._path, self._file = os.fspath(path), Path(path).open("wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"{os.fspath(path)} cannot be written: {error.strerror}") from None
        self._line({
            MARK: VERSION, "device": device, "transport": transport.name,
            "virtualised": sorted(v.name for v in transport.virtualised),
        })  # fmt: skip

    def call(self, verb: str, arguments: tuple[Any, ...], result: Any) -> None:
        """Add one line."""
        self._line([verb, *arguments, result])

    def _line(self, content: object) -> None:
        line = memoryview(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        try:
            while line:  # a disk that fills up takes a part first
                line = line[self._file.write(line) :]
        except OSError as error:
            self._file.close()
            raise UsageError(f"{self._path} cannot be written: {error.strerror}; what was done up to here is in it") from None

    def close(self) -> None:
        self._file.close()


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """A recording from its file. Raises ``UsageError``, naming file and line, for what is none or is damaged."""
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    *lines, rest = data.split(b"\n")
    if not lines:
        raise UsageError(f"{name} is no recording: it has no whole first line")
    header = _header(name, lines[0])
    entries = tuple(_entry(name, number, line) for number, line in enumerate(lines[1:], 2))
    try:
        virtualised = frozenset(Virtualised[v] for v in header["virtualised"])
        device, transport = str(header["device"]), str(header["transport"])
    except (KeyError, TypeError) as error:
        raise UsageError(f"{name}, line 1: the header is damaged ({error}); record again") from None
    cut = bool(rest) or not entries or entries[-1].verb != "close"
    return Recording(name, device, transport, virtualised, entries, cut)


def _header(name: str, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or MARK not in header:
        raise UsageError(f"{name} is no recording: its first line is not the header of one")
    if header[MARK] != VERSION:
        raise UsageError(f"{name} is a recording of version {header[MARK]}; this is version {VERSION}: record again")
    return header


def _entry(name: str, number: int, line: bytes) -> Entry:
    try:
        verb, *arguments, result = json.loads(line)
        for argument, kind in zip(arguments, ARGUMENTS[verb], strict=True):
            _require(argument, kind)
        if isinstance(result, dict):
            kind, text = result["raise"]
            error_class(kind)(text)
        elif verb in RESULTS:
            _require(result, RESULTS[verb])
            if verb in ("alloc", "wait_irq"):
                _require_numbers(result, 2 if verb == "alloc" else len(result))
        if verb == "to_device":
            arguments[3] = from_json(arguments[3])
        elif verb == "to_cpu" and not isinstance(result, dict):
            result = from_json(result)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{name}, line {number} is damaged: {line[:60].decode(errors='replace')!r}; record again") from None
    return Entry(number, verb, tuple(arguments), result)


def _require(value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        raise TypeError


def _require_numbers(values: list[Any], count: int) -> None:
    if len(values) != count:
        raise ValueError
    for value in values:
        _require(value, int)


def to_json(changed: list[Change]) -> list[tuple[int, str]]:
    """Changes as they stand in a line."""
    return [(at, data.hex()) for at, data in changed]


def from_json(changed: Any) -> list[Change]:
    """Changes from a line. Raises ValueError or TypeError."""
    return [(int(at), bytes.fromhex(data)) for at, data in changed]


def error_class(kind: str) -> type[RegmodelError]:
    """An exception that a transport raises, by name. Raises KeyError."""
    found = UsageError if kind == "UsageError" else vars(errors)[kind]
    if not (isinstance(found, type) and issubclass(found, RegmodelError)):
        raise KeyError(kind)
    return found
