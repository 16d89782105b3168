"""Descriptors, messages and register accesses as packets of a pcapng file, for Wireshark with an exported dissector.

What lives here: the format of a record, and ``Capture``, which writes a file of them. A packet has link type USER0 (147)::

    "RGM1"  version 1        4 octets
    kind                     1 octet     1 message, 2 descriptor, 3 structure, 4 register access, 5 descriptor of a ring
    lengths                  3 octets    of device, function and name
    device, function, name   UTF-8       device as in the catalogue; name of the schema, or path of the register ("" for none)
    payload                              bytes as they lie in memory

The payload of an access is ``op`` (0 read, 1 write), BAR (7: configuration space), size in bytes, 0 (an octet each), offset
(4 octets), value (8 octets), most significant octet first. Before the bytes of a descriptor of a ring stand ``op`` (0 fetched
by the device, 1 written back), the length of the ring's name, 2 octets of 0, the place in the ring (4 octets), and the name.

``pcapng`` is the backend that writes the accesses, descriptors and messages of a trace so; the dissector is ``wireshark``'s.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any, BinaryIO

from regmodel.catalogue import Description
from regmodel.export.omissions import LeftOut, Traced
from regmodel.traces import Trace

USER0 = 147
_ACCESS = struct.Struct(">BBBxIQ")
_PLACE = struct.Struct(">BBxxI")


class Kind(IntEnum):
    MESSAGE = 1
    DESCRIPTOR = 2
    STRUCTURE = 3
    ACCESS = 4
    ENTRY = 5


def record(kind: Kind, device: str, function: str, name: str, payload: bytes) -> bytes:
    """One packet. Names are cut at 255 octets."""
    names = [text.encode()[:255] for text in (device, function, name)]
    return b"RGM1" + bytes([kind, *map(len, names)]) + b"".join(names) + payload


class Capture:
    """A pcapng file of records; times are in ns since 1970."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        nanoseconds = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol, end of options
        self._block(1, struct.pack("<HHI", USER0, 0, 0) + nanoseconds)

    def write(self, time: int, packet: bytes) -> None:
        """One packet at ``time``."""
        head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(packet), len(packet))
        self._block(6, head + packet.ljust(-(-len(packet) // 4) * 4, b"\0"))

    def _block(self, kind: int, body: bytes) -> None:
        size = struct.pack("<I", len(body) + 12)
        self.out.write(struct.pack("<I", kind) + size + body + size)


Event = Mapping[str, Any]


def pcapng(description: Description, trace: Trace, functions: tuple[str, ...]) -> Traced:
    """One capture. Left out are the events that are neither accesses nor descriptors nor messages."""
    out = io.BytesIO()
    capture = Capture(out)
    for time, packet in packets(trace.events, dict.fromkeys(functions, description)):
        capture.write(time, packet)
    others = Counter(e["event"] for e in trace.events if e["event"] not in ("access", "descriptor", "mailbox"))
    why = "no access, descriptor or message"
    left_out = (LeftOut(f":{kind}", f"{why} ({others[kind]} events)") for kind in sorted(others))
    return Traced({f"{description.name}.pcapng": out.getvalue()}, left_out)


def packets(events: Iterable[Event], devices: Mapping[str, Description]) -> Iterator[tuple[int, bytes]]:
    """Time and packet of each access, descriptor and message among the events of a trace (docs/control-socket.md); the rest is
    none.
    """
    for event in events:
        found = devices.get(event.get("function", ""))
        if found is None:
            continue
        if event["event"] == "access":
            value = int(event["value"]) & (1 << 64) - 1
            payload = _ACCESS.pack(event["op"] == "write", event["bar"], event["size"], event["offset"], value)
            yield int(event["t"]), record(Kind.ACCESS, found.name, event["function"], event["path"], payload)
        elif event["event"] == "descriptor":
            yield int(event["t"]), record(Kind.ENTRY, found.name, event["function"], event["name"], _entry(event))
        elif event["event"] == "mailbox":
            words = [int(word) for word in event["words"]]
            name, payload = _message(found, event["sender"], words)
            yield int(event["t"]), record(Kind.MESSAGE, found.name, event["function"], name, payload)


def _entry(event: Event) -> bytes:
    """The place of a descriptor, and its bytes."""
    ring = event["ring"].encode()[:255]
    place = _PLACE.pack(event["op"] == "write-back", len(ring), event["index"] & 0xFFFF_FFFF)
    return b"".join((place, ring, bytes.fromhex(event["data"])))


def _message(found: Description, sender: str, words: list[int]) -> tuple[str, bytes]:
    """The schema of a mailbox message, by the number in the low half of its first word, and its bytes."""
    for box in found.mailboxes:
        message = box.find(words[0] & 0xFFFF, sender) if words else None
        if message is not None:
            size = max(4 * len(words), int(message.schema.sizeof()))
            return message.name, struct.pack(f"<{len(words)}I", *words).ljust(size, b"\0")
    return "", struct.pack(f"<{len(words)}I", *words)
