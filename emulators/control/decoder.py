"""Turns events of a running server into text, by the descriptions of its devices.

Registers appear by their datasheet names with the fields that are not zero, mailbox messages by the name and members of
their schema. Poll loops (the same access with the same value) are folded into one line with a count.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from construct import ConstructError

from regmodel.catalogue import Device, Mailbox, Message
from regmodel.registers import Bar, Register

Event = dict[str, Any]

# What a mailbox reply adds to the number of the message that it answers is in the schema; the number is the low half.
_NUMBER = 0xFFFF
_WHICH = ("number", "class", "cmd")
"""Members of a header that say which message it is, as its name does."""


class Decoder:
    """Text for events. ``devices`` maps the name of each function to its device; ``start`` is time zero in ns."""

    def __init__(self, devices: Mapping[str, Device], start: int | None = None) -> None:
        self.devices, self.start = devices, start

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        """One line per event; repeated accesses are folded."""
        last: tuple[Any, ...] | None = None
        text, count = "", 0
        for event in events:
            key = tuple(event.get(m) for m in ("event", "function", "bar", "op", "offset", "value"))
            if event.get("event") == "access" and event.get("op") == "read" and key == last:
                count += 1
                continue
            if count:
                yield f"{text}  (x{count + 1})"
            elif text:
                yield text
            text, count, last = self.text(event), 0, key
        if text:
            yield f"{text}  (x{count + 1})" if count else text

    def text(self, event: Event) -> str:
        """One line for one event."""
        if event["event"] == "lost":
            return f"{'':>14} ... {event['count']} events lost: this reader is too slow"
        if self.start is None:
            self.start = int(event["t"])
        seconds = (int(event["t"]) - self.start) / 1e9
        where = event.get("function") or event.get("port", "")
        tell = getattr(self, f"_{event['event']}", None)
        said = tell(event) if tell is not None else f"{event['event']}: an event of a newer server"
        return f"{seconds:14.6f} {where:<10} {said}"

    def _access(self, event: Event) -> str:
        arrow = "R" if event["op"] == "read" else "W"
        name = event["path"] or f"+{event['offset']:#x} (no register)"
        digits = 2 * int(event["size"])
        return f"{arrow} {name:<16} {int(event['value']):#0{digits + 2}x}  {self._fields(event)}".rstrip()

    def _fields(self, event: Event) -> str:
        device = self.devices.get(event["function"])
        if device is None or not event["path"]:
            return ""
        bar = device.config if event["bar"] == 7 else device.bars.get(event["bar"])
        return fields_of(bar, event["path"], int(event["value"])) if bar is not None else ""

    def _mailbox(self, event: Event) -> str:
        function, sender, words = event["function"], event["sender"], [int(w) for w in event["words"]]
        found = self._find(function, sender, words)
        receiver = found[1].receiver if found else "PF" if sender == "VF" else "VF"
        return f"{sender}->{receiver} {self.message(function, sender, words)}"

    def _find(self, function: str, sender: str, words: list[int]) -> tuple[Mailbox, Message] | None:
        """The message, and the channel that it belongs to."""
        device = self.devices.get(function)
        for box in device.mailboxes if device else ():
            found = box.find(words[0] & _NUMBER, sender)
            if found is not None:
                return box, found
        return None

    def message(self, function: str, sender: str, words: list[int]) -> str:
        """A mailbox message by name and members; words that no schema explains as numbers."""
        known = self._find(function, sender, words)
        if known is None:
            return _numbers(words)
        box, found = known
        data = struct.pack(f"<{len(words)}I", *words).ljust(4 * box.words, b"\0")
        try:
            parsed = found.schema.parse(data)
        except ConstructError:  # no such message after all
            return _numbers(words)
        shown = {name: value for name, value in parsed.get("header", {}).items() if name not in _WHICH}
        return f"{found.name}  {members_of({**shown, **{k: v for k, v in parsed.items() if k != 'header'}})}".rstrip()

    def _dma(self, event: Event) -> str:
        return f"DMA {event['op']} {event['iova']:#x} {event['size']:#x}"

    def _descriptor(self, event: Event) -> str:
        where = f"{event['ring']} #{event['index']} {event['op']} {event['name']}"
        device = self.devices.get(event["function"])
        schema = device.schemas.get(event["name"]) if device is not None else None
        data = bytes.fromhex(event["data"])
        if schema is None or schema.sizeof() != len(data):
            return f"{where}  {event['data']}"
        try:
            return f"{where}  {members_of(schema.parse(data))}".rstrip()
        except ConstructError:  # a driver may write anything
            return f"{where}  {event['data']}"

    def _irq(self, event: Event) -> str:
        return f"interrupt {event['irq']} {event['vector']}"

    def _packet(self, event: Event) -> str:
        data = bytes.fromhex(event["data"])
        addresses = f"{data[6:12].hex(':')} > {data[:6].hex(':')} type {data[12:14].hex()}"
        return f"packet {event['direction']:<3} {len(data):>5} bytes  {addresses}"

    def _reset(self, event: Event) -> str:
        return f"reset {event['cause']}"

    def _diagnose(self, event: Event) -> str:
        detail = event["detail"]
        text = " ".join(f"{k}={v}" for k, v in detail.items()) if isinstance(detail, dict) else str(detail)
        return f"DEVICE ERROR {event['kind']} {text}".rstrip()


def _numbers(words: Iterable[int]) -> str:
    return " ".join(f"{word:08x}" for word in words)


def fields_of(bar: Bar, path: str, value: int) -> str:
    """The fields of a register that are not zero: ``lu speed=G1000``. Empty for a register that is one number."""
    entry = bar.entries.get(path.partition("[")[0])
    if not isinstance(entry, Register) or entry.sole:
        return ""
    words = []
    for name, field in entry.named.items():
        number = field.of(value)
        if field.width == 1 and number:
            words.append(name)
        elif field.width > 1 and (number or number in field.values):
            words.append(f"{name}={field.values.get(number, f'{number:#x}' if number > 9 else number)}")
    return " ".join(words)


def members_of(value: Any, prefix: str = "", count: int | None = None) -> str:
    """The members of a parsed message that are not zero, in one line; of an array, as many as its ``count`` member says."""
    if isinstance(value, Mapping):
        count = value.get("count")
        named = {f"{prefix}.{k}" if prefix else str(k): v for k, v in value.items() if not str(k).startswith("_")}
        return " ".join(part for part in (members_of(v, k, count) for k, v in named.items()) if part)
    if isinstance(value, bytes | bytearray):
        return f"{prefix}={value.hex(':')}" if any(value) else ""
    if isinstance(value, list):
        used = len(value) if count is None and any(value) else count or 0
        return f"{prefix}=[{' '.join(f'{v:#x}' if isinstance(v, int) else str(v) for v in value[:used])}]" if used else ""
    return f"{prefix}={value:#x}" if isinstance(value, int) and value > 9 else f"{prefix}={value}" if value else ""
