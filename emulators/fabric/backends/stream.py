"""``stream:listen=ADDR`` and ``stream:connect=ADDR``: frames on a byte stream, as QEMU's ``-netdev stream`` has them.

Each frame follows its length, a big-endian 32-bit number. Source: QEMU net/stream.c, net/net.c ``net_fill_rstate``.
ADDR is a /path (UNIX) or HOST:PORT (TCP). One peer at a time; the link is up while there is one.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

from emulators.fabric.backends.options import Address, Options
from emulators.fabric.backends.packets import BURST, FarEnd
from emulators.fabric.uplink import Wire
from emulators.loop import Loop, Scheduled
from regmodel.errors import UsageError
from regmodel.function import Buffer

LENGTH = struct.Struct(">I")

LONGEST = 4096 + 65536
"""Octets: QEMU's NET_BUFSIZE; a longer frame means that the peer speaks something else."""

QUEUE = 1 << 20
"""Octets that wait for a peer which does not keep up."""

RECONNECT = 500_000_000
"""ns between two attempts to connect."""


class Stream:
    """Server or client of a stream; a peer that goes away is waited for, or connected to again."""

    USAGE = "stream:listen=ADDR | stream:connect=ADDR (ADDR: /path or HOST:PORT)"

    def __init__(self, options: Options) -> None:
        self.spec, self.options = options.spec, options
        listen, connect = options.address("listen"), options.address("connect")
        options.finish()
        if (listen is None) == (connect is None):
            raise options.error("one of listen= and connect= is needed")
        self.server = listen is not None
        self.address: Address = listen or connect  # type: ignore[assignment]
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0, connections=0)
        self.far = FarEnd(options.spec)
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._up = False  # the peer is connected
        self._timer: Scheduled | None = None
        self._buffer = memoryview(bytearray(4 * LONGEST))
        self._start = self._end = 0  # what of the buffer is received and not yet handed in
        self._pending = bytearray()
        self._reading = True

    # -- Backend

    def open(self, loop: Loop, wire: Wire) -> None:
        self._loop, self._wire = loop, wire
        wire.set_carrier(False)
        if not self.server:
            self._connect()
            return
        self._listener = self._socket()
        try:
            if not self.address.is_path:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.address.bind(self._listener, self.options)
            self._listener.listen(1)
        except (OSError, UsageError):
            self._listener.close()
            self._listener = None
            raise
        loop.add(self._listener.fileno(), self._accept)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sock in (self._peer, self._listener):
            if sock is not None and self._loop is not None:
                self._loop.remove(sock.fileno())
                sock.close()
        if self._listener is not None:
            self.address.unbind()
        self._peer = self._listener = self._loop = self._wire = None

    def counters(self) -> dict[str, Any]:
        return {**self.counts, "queued_octets": len(self._pending), "failures": self.far.failures}

    def send(self, frames: Sequence[Buffer]) -> int:
        """Frames go whole or not at all; what the socket does not take at once waits, up to ``QUEUE`` octets."""
        if self._peer is None or not self._up:
            return 0
        if self._pending:
            return self._keep(frames)
        parts: list[Buffer] = []
        for frame in frames:
            parts += (LENGTH.pack(len(frame)), frame)
        try:
            sent = self._peer.sendmsg(parts)
        except BlockingIOError:
            return self._keep(frames)
        except OSError as error:
            self._lose(error.strerror or str(error))
            return 0
        self.counts["frames_out"] += len(frames)
        if sent < sum(map(len, parts)):
            self._pending += b"".join(parts)[sent:]
            self._watch()
        return len(frames)

    # -- connections

    def _socket(self) -> socket.socket:
        return socket.socket(self.address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def _connect(self) -> None:
        self._timer = None
        if self._loop is None:
            return
        sock = self._socket()
        code = sock.connect_ex(self.address.sockaddr)
        if code in (0, errno.EINPROGRESS):
            self._peer = sock
            self._loop.add(sock.fileno(), self._readable)
            self._loop.interest(sock.fileno(), read=False, on_writable=self._connected)
        else:
            sock.close()
            self._lose(f"nobody listens at {self.address.text} ({errno.errorcode.get(code, code)})")

    def _connected(self) -> None:
        if self._peer is None:
            return
        code = self._peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(f"nobody listens at {self.address.text} ({errno.errorcode.get(code, code)})")
        else:
            self._begin()

    def _accept(self) -> None:
        if self._listener is None or self._loop is None:
            return
        try:
            self._peer, _ = self._listener.accept()
        except OSError:
            return  # gone again before we came
        self._peer.setblocking(False)
        self._loop.interest(self._listener.fileno(), read=False)  # the next one waits until this one has gone
        self._loop.add(self._peer.fileno(), self._readable)
        self._begin()

    def _begin(self) -> None:
        assert self._peer is not None and self._wire is not None
        if not self.address.is_path:
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start = self._end = 0
        self._pending.clear()
        self._reading = self._up = True
        self.counts["connections"] += 1
        self.far.worked()
        self._watch()
        self._wire.set_carrier(True)

    def _lose(self, why: str) -> None:
        """The peer is gone, or was never there: count it, and be ready for the next one."""
        if self._loop is None or self._wire is None:
            return
        self.far.failed(why)
        self._up = False
        if self._peer is not None:
            self._loop.remove(self._peer.fileno())
            self._peer.close()
            self._peer = None
        self._wire.set_carrier(False)
        if self._listener is not None:
            self._loop.interest(self._listener.fileno())
        elif self._timer is None:
            self._timer = self._loop.call_at(self._loop.now() + RECONNECT, self._connect)

    # -- data

    def _watch(self) -> None:
        if self._peer is not None and self._loop is not None:
            self._loop.interest(self._peer.fileno(), read=self._reading, on_writable=self._writable if self._pending else None)

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
        if self._peer is None:
            return
        try:
            del self._pending[: self._peer.send(self._pending)]
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        self._watch()

    def _readable(self) -> None:
        self._reading = False
        self._watch()
        if self._loop is not None:
            self._loop.defer(self._burst)

    def _burst(self) -> bool:
        """Hand in what is whole, up to ``BURST`` frames; True when there may be more."""
        peer, wire = self._peer, self._wire
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
        if not more and self._peer is peer:
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
            self._lose(error.strerror or str(error))
            return False
        if not size:
            self._lose("the peer has gone")
            return False
        self._end += size
        return True

    def _frames(self) -> list[Buffer]:
        """Whole frames at the front of the buffer, at most ``BURST``; they stay in place until the next ``_fill``."""
        frames: list[Buffer] = []
        while len(frames) < BURST and self._end - self._start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer, self._start)
            if size > LONGEST:
                self._lose(f"the peer announces a frame of {size} octets, so it does not speak this protocol")
                break
            begin = self._start + LENGTH.size
            if begin + size > self._end:
                break
            frames.append(self._buffer[begin : begin + size])
            self._start = begin + size
        return frames
