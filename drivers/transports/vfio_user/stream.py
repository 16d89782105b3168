"""The client's socket: bytes received with the descriptors that came along, and bytes that wait to be sent.

It knows nothing of messages but where one ends, and that descriptors belong to the message which holds the last byte that
was received together with them (the kernel ends a receive behind data that carries descriptors).

Raises ``OSError`` when the socket is broken, ``EOFError`` when the server has closed it, ``Damaged`` for what cannot be.
"""

from __future__ import annotations

import array
import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence

from regmodel.structures import vfio_user as wire

MAX_MESSAGE = 64 + wire.MAX_DATA_XFER_SIZE
"""Bytes of the longest message that the server may send us: VERSION says how much data we take."""
MAX_UNSENT = 4 * MAX_MESSAGE
"""With more than this to be sent, nothing is received or answered: a server that takes no replies gets no further ones."""
RECEIVE = 4096

DONTWAIT = int(socket.MSG_DONTWAIT)  # a plain number: arithmetic on enumerations takes as long as a system call
_RECEIVE_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_CTRUNC = int(socket.MSG_CTRUNC)
_ANCILLARY = socket.CMSG_SPACE(wire.MAX_MSG_FDS * 4)


class Damaged(Exception):
    """What was received is no vfio-user; the text says why."""


class Stream:
    """``buffer[start:end]`` was received and not yet consumed; both are 0 when that is nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray(RECEIVE)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0
        self.unsent = 0
        """Bytes that wait to be sent."""
        self._queue: deque[memoryview] = deque()
        self._fds: deque[tuple[int, list[int]]] = deque()  # (end of the bytes they came with, descriptors)
        self._interest = select.POLLIN
        self._poll = select.poll()
        self._poll.register(sock, self._interest)

    # -- receiving

    def receive(self) -> bool:
        """Take in what there is now; False when that is nothing."""
        if len(self.buffer) - self.end < RECEIVE:
            self.make_room(self.end - self.start + RECEIVE)
        try:
            into = (self.view[self.end :],)
            size, ancillary, flags, _ = self.sock.recvmsg_into(into, _ANCILLARY, _RECEIVE_FLAGS)
        except BlockingIOError:
            return False
        if ancillary:
            self._take_fds(ancillary, self.end + size)
        if flags & _CTRUNC:
            raise Damaged(f"more than {wire.MAX_MSG_FDS} descriptors with one message")
        if not size:
            raise EOFError
        self.end += size
        return True

    def header(self) -> tuple[int, int, int, int, int] | None:
        """id, command, size, flags and errno of the next message; None while it is not here in full."""
        there = self.end - self.start
        if there < 16:
            return None
        found = wire.HEADER.unpack_from(self.buffer, self.start)
        size = found[2]
        if not 16 <= size <= MAX_MESSAGE:
            raise Damaged(f"a message that says it has {size} bytes")
        if there < size:
            if self.start + size > len(self.buffer):
                self.make_room(size + RECEIVE)
            return None
        return found

    def take(self, size: int) -> tuple[memoryview, list[int]]:
        """The next message, of ``size`` bytes, and its descriptors, now the caller's. Valid until the next ``receive``."""
        start = self.start
        end = self.start = start + size
        if end == self.end:
            self.start = self.end = 0
        fds: list[int] = []
        while self._fds and (self._fds[0][0] <= end or not self.end):
            fds += self._fds.popleft()[1]
        return self.view[start:end], fds

    # -- sending

    def put(self, data: bytes | memoryview) -> None:
        """Send what can be sent now, behind all that waits; the rest waits."""
        self._queue.append(memoryview(data))
        self.unsent += len(data)
        self.flush()

    def put_fds(self, data: bytes, fds: Sequence[int]) -> bool:
        """The same with ``fds``, which stay the caller's; False when nothing can be sent now: ``wait`` and try again."""
        if self.unsent:
            return False
        try:
            sent = self.sock.sendmsg((data,), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds)),), DONTWAIT)
        except BlockingIOError:
            return False
        if sent < len(data):
            self.put(data[sent:])
        return True

    def flush(self) -> None:
        """Send of what waits as much as can be sent now."""
        queue = self._queue
        while queue:
            try:
                sent = self.sock.send(queue[0], DONTWAIT)
            except BlockingIOError:
                return
            self.unsent -= sent
            if sent == len(queue[0]):
                queue.popleft()
            else:
                queue[0] = queue[0][sent:]

    # -- waiting

    def wait(self, deadline: float, *, to_send: bool = False) -> bool:
        """Wait until ``deadline`` (``time.monotonic``) for anything to happen, and receive or send; False when time is up.

        ``to_send``: room in the socket is something too.
        """
        wanted = select.POLLOUT if self.unsent or to_send else 0
        if self.unsent <= MAX_UNSENT:
            wanted |= select.POLLIN
        if wanted != self._interest:
            self._poll.modify(self.sock, wanted)
            self._interest = wanted
        left = deadline - time.monotonic()
        events = self._poll.poll(math.ceil(left * 1000) if left > 0 else 0)
        if not events:
            return False
        if events[0][1] & ~select.POLLOUT:
            self.receive()
        self.flush()
        return True

    def close(self) -> None:
        """Close the socket and every descriptor that nobody has taken."""
        for _, fds in self._fds:
            close_all(fds)
        self._fds.clear()
        self._queue.clear()
        self.unsent = self.start = self.end = 0
        self.sock.close()

    # -- inside

    def make_room(self, size: int) -> None:
        """Move what is there to the front of a buffer of at least ``size`` bytes."""
        kept, moved = bytes(self.view[self.start : self.end]), self.start
        if size > len(self.buffer):
            self.buffer = bytearray(size)
            self.view = memoryview(self.buffer)
        self.view[: len(kept)] = kept
        self.start, self.end = 0, len(kept)
        self._fds = deque((end - moved, fds) for end, fds in self._fds)

    def _take_fds(self, ancillary: Sequence[tuple[int, int, bytes]], end: int) -> None:
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        self._fds.append((end, fds.tolist()))
        if sum(len(held) for _, held in self._fds) > wire.MAX_MSG_FDS:
            raise Damaged(f"more than {wire.MAX_MSG_FDS} descriptors with one message")


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
