"""``pcap:in=FILE,out=FILE``: frames from a capture file and into one, pcap or pcapng (read by content, written by name).

In here: pacing and queueing. The formats are scapy's business. Frames to the file are copied with their time, and written
between bursts, so the data path never waits for a disk.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import BURST
from emulators.fabric.offload import Takes
from emulators.fabric.uplink import Wire
from emulators.loop import Loop, Scheduled
from regmodel.function import Buffer

if TYPE_CHECKING:
    from scapy.utils import RawPcapNgWriter, RawPcapReader, RawPcapWriter

ETHERNET = 1
"""LINKTYPE_ETHERNET: other captures hold no Ethernet frames."""

QUEUE = 8192
"""Frames that wait for the file."""

Timed = tuple[int, bytes]
"""A capture time in ns since 1970, and a frame."""


class Pcap:
    """``pace=real`` keeps the gaps of the capture, ``pace=fast`` (the default) has none; ``wait`` seconds before the first."""

    USAGE = "pcap:in=FILE,out=FILE[,pace=fast|real][,wait=SECONDS] (in, out or both)"
    takes = Takes.NONE

    def __init__(self, options: Options) -> None:
        self.spec, self.options = options.spec, options
        source, target = options.text("in"), options.text("out")
        self.real = options.choice("pace", {"fast": False, "real": True}, "fast")
        self.wait = options.seconds("wait")
        options.finish()
        if source is None and target is None:
            raise options.error("at least one of in= and out= is needed")
        if source is not None and target is not None and Path(source).resolve() == Path(target).resolve():
            raise options.error("in= and out= are the same file")
        self.source, self.target = source, target
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0, skipped=0, failed=0)
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._reader: RawPcapReader | None = None
        self._writer: RawPcapNgWriter | RawPcapWriter | None = None
        self._frames: Iterator[Timed] = iter(())
        self._next: Timed | None = None
        self._queue: deque[Timed] = deque()
        self._timer: Scheduled | None = None
        self._shift = 0  # from capture time to the loop's time, ns

    # -- Backend

    def open(self, loop: Loop, wire: Wire) -> None:
        self._wall = time.time_ns() - loop.now()
        try:
            if self.target is not None:
                self._writer = open_writer(self.target)
            if self.source is not None:
                self._reader = _reader(self.source)
        except (OSError, ValueError) as error:
            self.close()
            raise self.options.error(str(error)) from None
        self._loop, self._wire = loop, wire
        if self._reader is not None:
            self._frames = self._timed(self._reader)
            self._next = next(self._frames, None)
            begin = loop.now() + self.wait
            self._shift = begin - (self._next[0] if self._next else 0)
            self._timer = loop.call_at(begin, self._tick)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            self._write()
        if self._writer is not None:
            self._writer.close()
        if self._reader is not None:
            self._reader.close()
        self._loop = self._wire = self._reader = self._writer = None

    def send(self, frames: Sequence[Buffer]) -> int:
        if self._writer is None or self._loop is None:
            return len(frames)
        frames = frames[: QUEUE - len(self._queue)]
        now = self._loop.now() + self._wall
        self._queue.extend((now, bytes(frame)) for frame in frames)
        if self._queue:
            self._loop.defer(self._write)
        return len(frames)

    def counters(self) -> dict[str, Any]:
        return {**self.counts, "queued": len(self._queue), "finished": self.source is None or self._next is None}

    # -- out

    def _write(self) -> bool:
        """Write up to ``BURST`` frames; True while there are more."""
        if self._writer is None:
            return False
        for _ in range(min(BURST, len(self._queue))):
            when, frame = self._queue.popleft()
            try:
                write_frame(self._writer, when, frame)
            except OSError:
                self.counts["failed"] += 1
            else:
                self.counts["frames_out"] += 1
        if not self._queue:
            self._writer.flush()
        return bool(self._queue)

    # -- in

    def _timed(self, reader: RawPcapReader) -> Iterator[Timed]:
        """The frames of the capture; what is truncated or no Ethernet frame is skipped and counted."""
        about: Any  # a tuple of one shape for pcap, of another for pcapng
        for frame, about in reader:
            if hasattr(about, "tshigh"):
                ticks = ((about.tshigh or 0) << 32) + (about.tslow or 0)
                when = ticks * 1_000_000_000 // int(about.tsresol or 1_000_000)
                linktype = about.linktype
            else:
                when = about.sec * 1_000_000_000 + about.usec * (1 if reader.nano else 1000)
                linktype = reader.linktype
            if linktype != ETHERNET or about.wirelen > len(frame):
                self.counts["skipped"] += 1
            else:
                yield when, frame

    def _tick(self) -> None:
        self._timer = None
        if self._loop is not None:
            self._loop.defer(self._burst)

    def _burst(self) -> bool:
        """Hand in up to ``BURST`` frames that are due; True while more are."""
        if self._loop is None or self._wire is None:
            return False
        frames: list[Buffer] = []
        now = self._loop.now()
        while self._next is not None and len(frames) < BURST:
            due = self._next[0] + self._shift
            if self.real and due > now:
                self._timer = self._loop.call_at(due, self._tick)
                break
            frames.append(self._next[1])
            self._next = next(self._frames, None)
        self.counts["frames_in"] += len(frames)
        if frames:
            self._wire.receive(frames)
        return len(frames) == BURST and self._next is not None


def _is_ng(name: str) -> bool:
    return name.endswith((".pcapng", ".ntar"))


def open_writer(name: str) -> RawPcapNgWriter | RawPcapWriter:
    """A new capture file for Ethernet frames; pcapng by its suffix, else pcap with ns. Raises ValueError, one line."""
    from scapy.utils import RawPcapNgWriter, RawPcapWriter

    try:
        writer = RawPcapNgWriter(name) if _is_ng(name) else RawPcapWriter(name, linktype=ETHERNET, nano=True)
    except OSError as error:
        raise ValueError(f"cannot write {name} ({error.strerror})") from None
    writer.write_header(None)
    return writer


def write_frame(
    writer: RawPcapNgWriter | RawPcapWriter, when: int, frame: bytes, port: str | None = None, direction: int | None = None
) -> None:
    """Append a frame captured at ``when``, ns since 1970. scapy's pcapng takes seconds only, in its own resolution.

    A pcapng file also says at which ``port`` (its interface), and whether inbound (1) or outbound (2).
    """
    second, ns = divmod(when, 1_000_000_000)
    if type(writer).__name__ == "RawPcapNgWriter":
        name = None if port is None else port.encode()
        writer._write_packet(frame, linktype=ETHERNET, sec=when / 1e9, ifname=name, direction=direction)
    else:
        writer.write_packet(frame, sec=second, usec=ns)


def _reader(name: str) -> RawPcapReader:
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        file = Path(name).open("rb")  # noqa: SIM115 (the reader closes it)
    except OSError as error:
        raise ValueError(f"cannot read {name} ({error.strerror})") from None
    try:
        return RawPcapReader(file)  # type: ignore[arg-type]  # it takes files too
    except (Scapy_Exception, EOFError, OSError):
        file.close()
        raise ValueError(f"{name} is neither a pcap nor a pcapng file") from None
