"""``stream:listen=ADDR`` and ``stream:connect=ADDR``: frames on a byte stream, as QEMU's ``-netdev stream`` has them.

Each frame follows its length, a big-endian 32-bit number. Source: QEMU net/stream.c, net/net.c ``net_fill_rstate``.
ADDR is a /path (UNIX) or HOST:PORT (TCP). One peer at a time; the link is up while there is one.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

from emulators.fabric.backends.connection import Connection
from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import BURST, FarEnd
from emulators.fabric.offload import Takes
from emulators.fabric.uplink import Wire
from emulators.loop import Loop
from regmodel.function import Buffer

LENGTH = struct.Struct(">I")

LONGEST = 4096 + 65536
"""Octets: QEMU's NET_BUFSIZE; a longer frame means that the peer speaks something else."""

QUEUE = 1 << 20
"""Octets that wait for a peer which does not keep up."""


class Stream:
    """Server or client of a stream; a peer that goes away is waited for, or connected to again."""

    USAGE = "stream:listen=ADDR | stream:connect=ADDR (ADDR: /path or HOST:PORT)"
    takes = Takes.NONE

    def __init__(self, options: Options) -> None:
        self.spec = options.spec
        self.far = FarEnd(options.spec)
        self.connection = Connection(options, self.far, joined=self._begin, left=self._end_of_it, readable=self._readable)
        options.finish()
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0, connections=0)
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._buffer = memoryview(bytearray(4 * LONGEST))
        self._start = self._end = 0  # what of the buffer is received and not yet handed in
        self._pending = bytearray()
        self._reading = True

    # -- Backend

    def open(self, loop: Loop, wire: Wire) -> None:
        self._loop, self._wire = loop, wire
        wire.set_carrier(False)
        self.connection.open(loop)

    def close(self) -> None:
        self.connection.close()
        self._loop = self._wire = None

    def counters(self) -> dict[str, Any]:
        return {**self.counts, "queued_octets": len(self._pending), "failures": self.far.failures}

    def send(self, frames: Sequence[Buffer]) -> int:
        """Frames go whole or not at all; what the socket does not take at once waits, up to ``QUEUE`` octets."""
        peer = self.connection.peer
        if peer is None:
            return 0
        if self._pending:
            return self._keep(frames)
        parts: list[Buffer] = []
        for frame in frames:
            parts += (LENGTH.pack(len(frame)), frame)
        try:
            sent = peer.sendmsg(parts)
        except BlockingIOError:
            return self._keep(frames)
        except OSError as error:
            self.connection.lose(error.strerror or str(error))
            return 0
        self.counts["frames_out"] += len(frames)
        if sent < sum(map(len, parts)):
            self._pending += b"".join(parts)[sent:]
            self._watch()
        return len(frames)

    # -- connections

    def _begin(self) -> None:
        assert self._wire is not None
        self._start = self._end = 0
        self._pending.clear()
        self._reading = True
        self.counts["connections"] += 1
        self.far.worked()
        self._wire.set_carrier(True)

    def _end_of_it(self) -> None:
        if self._wire is not None:
            self._wire.set_carrier(False)

    # -- data

    def _watch(self) -> None:
        peer = self.connection.peer
        if peer is not None and self._loop is not None:
            self._loop.interest(peer.fileno(), read=self._reading, on_writable=self._writable if self._pending else None)

    def _keep(self, frames: Sequence[Buffer]) -> int:
        """Queue a copy of as many frames as there is room for."""
        for index, frame in enumerate(frames):
            if len(self._pending) + LENGTH.size + len(frame) > QUEUE:
                frames = frames[:index]
                break
            self._pending += LENGTH.pack(len(frame))
            self._pending += frame
        self.counts["frames_out"] += len(frames)
        self._watch()
        return len(frames)

    def _writable(self) -> None:
        peer = self.connection.peer
        if peer is None:
            return
        try:
            del self._pending[: peer.send(self._pending)]
        except BlockingIOError:
            return
        except OSError as error:
            self.connection.lose(error.strerror or str(error))
            return
        self._watch()

    def _readable(self) -> None:
        self._reading = False
        self._watch()
        if self._loop is not None:
            self._loop.defer(self._burst)

    def _burst(self) -> bool:
        """Hand in what is whole, up to ``BURST`` frames; True when there may be more."""
        peer, wire = self.connection.peer, self._wire
        if peer is None or wire is None:
            return False
        frames = self._frames()
        more = bool(frames)
        if not frames:
            more = self._fill(peer)
            frames = self._frames() if more else []
        if frames:
            self.counts["frames_in"] += len(frames)
            wire.receive(frames)
        if not more and self.connection.peer is peer:
            self._reading = True
            self._watch()
        return more

    def _fill(self, peer: socket.socket) -> bool:
        """Receive once into the room behind what is there; False when there was nothing, or the peer is lost."""
        left = self._end - self._start
        self._buffer[:left] = bytes(self._buffer[self._start : self._end])
        self._start, self._end = 0, left
        try:
            size = peer.recv_into(self._buffer[left:])
        except BlockingIOError:
            return False
        except OSError as error:
            self.connection.lose(error.strerror or str(error))
            return False
        if not size:
            self.connection.lose("the peer has gone")
            return False
        self._end += size
        return True

    def _frames(self) -> list[Buffer]:
        """Whole frames at the front of the buffer, at most ``BURST``; they stay in place until the next ``_fill``."""
        frames: list[Buffer] = []
        while len(frames) < BURST and self._end - self._start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer, self._start)
            if size > LONGEST:
                self.connection.lose(f"the peer announces a frame of {size} octets, so it does not speak this protocol")
                break
            begin = self._start + LENGTH.size
            if begin + size > self._end:
                break
            frames.append(self._buffer[begin : begin + size])
            self._start = begin + size
        return frames
