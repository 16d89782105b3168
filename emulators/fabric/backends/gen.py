"""``gen:``: a generator of UDP frames, the same for the same options, at a given rate or as fast as the port takes them.

Frame ``n`` (from 0) belongs to flow ``n % flows``; its payload starts with ``n`` as 64 bits, big-endian, and goes on with bytes
that ``seed`` and the flow decide. What the port sends to it is counted and checksummed as ``sink:`` does.
"""

from __future__ import annotations

import random
import struct
from typing import Any

from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import BURST
from emulators.fabric.backends.sink import Sink
from emulators.fabric.frames import mac_bytes, vlan_tag
from emulators.fabric.uplink import Wire
from emulators.loop import Loop, Scheduled
from regmodel.errors import UsageError

SECOND = 1_000_000_000
TICK = 1_000_000
"""ns between two bursts, or more when less than one frame is due in that time."""

SEQUENCE = struct.Struct(">Q")
HEADERS = 14 + 20 + 8
"""Octets of Ethernet, IPv4 and UDP headers."""


def udp_frame(target: bytes, source: bytes, tag: bytes, flow: int, payload: bytes) -> bytearray:
    """Flow ``flow`` goes from 198.18.x.y port 1024 + flow to 198.19.0.1 port 9 (RFC 2544, discard); no UDP checksum."""
    length = 20 + 8 + len(payload)
    words = [0x4500, length, 0, 0x4000, 0x4011, 0, 198 << 8 | 18, flow & 0xFFFF, 198 << 8 | 19, 1]
    total = sum(words)
    words[5] = ~(total % 0xFFFF or 0xFFFF) & 0xFFFF  # RFC 1071: the ones' complement sum is that modulo 2^16 - 1
    ip = struct.pack(">10H", *words)
    udp = struct.pack(">4H", 1024 + flow, 9, 8 + len(payload), 0)
    return bytearray(b"".join((target, source, tag, b"\x08\x00", ip, udp, payload)))


class Gen(Sink):
    """``size`` is in octets without FCS, the tag included; ``rate`` in frames per second; ``count`` 0 is for ever."""

    USAGE = "gen:[rate=PPS|max][,size=OCTETS][,flows=N][,seed=N][,count=N][,wait=SECONDS][,dst=MAC][,src=MAC][,vlan=VID]"

    def __init__(self, options: Options) -> None:
        self.rate = 0 if options.text("rate") == "max" else options.number("rate", 1000, 1, 100_000_000)
        self.size = options.number("size", 60, 60, 9724)
        self.flows = options.number("flows", 1, 1, 1024)
        self.seed = options.number("seed", 0, 0, 1 << 64)
        self.count = options.number("count", 0, 0, 1 << 64)
        self.wait = options.seconds("wait")
        try:
            self.target = mac_bytes(options.text("dst") or "ff:ff:ff:ff:ff:ff")
            self.source = mac_bytes(options.text("src") or "02:00:00:67:65:6e")
        except UsageError as error:
            raise options.error(str(error)) from None
        vid = options.number("vlan", -1, 0, 4095)
        self.tag = b"" if vid < 0 else vlan_tag(vid)
        super().__init__(options)
        self.generated = 0
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._timer: Scheduled | None = None

    def open(self, loop: Loop, wire: Wire) -> None:
        self._loop, self._wire = loop, wire
        self._templates = self._build()
        self._place = HEADERS + len(self.tag)
        self._begin = loop.now() + self.wait
        self._timer = loop.call_at(self._begin, self._tick)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._wire = self._timer = None

    def counters(self) -> dict[str, Any]:
        return {"generated": self.generated, **super().counters()}

    def _build(self) -> list[bytearray]:
        """Whole rounds of all flows, at least a burst of frames, so that no frame stands in a burst twice."""
        room = self.size - HEADERS - len(self.tag)
        source = random.Random(self.seed)
        payloads = [source.randbytes(room) for _ in range(self.flows)]
        rounds = -(-BURST // self.flows)
        return [
            udp_frame(self.target, self.source, self.tag, flow, payloads[flow])
            for _ in range(rounds)
            for flow in range(self.flows)
        ]

    def _tick(self) -> None:
        """Defer what is due, and come again when more is."""
        self._timer = None
        if self._loop is None:
            return
        if self._burst():
            self._loop.defer(self._burst)
        if self.rate and (not self.count or self.generated < self.count):
            next_due = self._begin + self.generated * SECOND // self.rate
            self._timer = self._loop.call_at(max(next_due, self._loop.now() + TICK), self._tick)

    def _due(self, now: int) -> int:
        """How many frames may go now, of those that have not gone."""
        due = BURST if not self.rate else (now - self._begin) * self.rate // SECOND + 1 - self.generated
        return min(due, self.count - self.generated) if self.count else due

    def _burst(self) -> bool:
        """Generate up to ``BURST`` frames; True while more are due at once."""
        if self._loop is None or self._wire is None:
            return False
        size = min(self._due(self._loop.now()), BURST)
        if size <= 0:
            return False
        frames = []
        for number in range(self.generated, self.generated + size):
            frame = self._templates[number % len(self._templates)]
            SEQUENCE.pack_into(frame, self._place, number)
            frames.append(frame)
        self.generated += size
        self._wire.receive(frames)
        return self._loop is not None and self._due(self._loop.now()) > 0
