"""One client's socket: received bytes with the descriptors that came along, and bytes to send, bounded.

It knows nothing of messages, but for two rules: descriptors belong to the message that holds the last byte which was
received together with them (the kernel ends a receive behind data that carries descriptors), and there are at most
``MAX_MSG_FDS`` to a message.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from regmodel.structures.vfio_user import MAX_MSG_FDS

RECEIVE = 4096
"""Bytes per receive: some 110 posted writes, 150 us of work. Whatever more a client has sent waits in its socket, so
that the clients of other functions and the bursts of this one have their turn first. Only a longer message is taken at once."""
SEND = 65536
"""Bytes per send, at most, of messages that were queued one by one."""
HIGH_WATER = 1 << 20
"""With more bytes than this to send, nothing more is read: a client that reads no replies gets no further ones."""
_ANCILLARY = socket.CMSG_SPACE(MAX_MSG_FDS * 4)
# plain numbers: arithmetic on the enumerations of ``socket`` takes as long as a receive
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_DONTWAIT = int(socket.MSG_DONTWAIT)
_CTRUNC = int(socket.MSG_CTRUNC)
_MAX_HELD_FDS = 4 * MAX_MSG_FDS


class Stream:
    """``buffer[start:end]`` are the bytes received and not yet consumed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.buffer = bytearray(2 * RECEIVE)
        self.view = memoryview(self.buffer)
        self._head = (self.view[:RECEIVE],)
        self._want = RECEIVE
        self.start = self.end = 0
        self.fds: deque[tuple[int, list[int], bool]] = deque()
        """(end of the bytes they came with, descriptors, whether there were too many), by position in ``buffer``."""
        self.queued = 0
        self._queue: deque[tuple[bytes | memoryview, Sequence[int]]] = deque()

    # -- receiving

    def receive(self) -> int | None:
        """Take in what there is. 0 is the end of the stream, None means nothing is there now. Raises OSError."""
        end, want = self.end, self._want
        if len(self.buffer) - end < want:
            self._make_room(end - self.start + want)
            end = self.end
        try:
            into = (self.view[end : end + want],) if end else self._head
            size, ancillary, flags, _ = self.sock.recvmsg_into(into, _ANCILLARY, _FLAGS)
        except (BlockingIOError, InterruptedError):
            return None
        self.end = end + size
        self._want = max(want - size, RECEIVE)
        if ancillary or flags & _CTRUNC:
            self._take_fds(ancillary, bool(flags & _CTRUNC))
        return size

    def need(self, size: int) -> None:
        """Make room for a message of ``size`` bytes that begins at ``start``, and receive its rest at once."""
        self._want = max(self.start + size - self.end, RECEIVE)
        if self.start + size > len(self.buffer):
            self._make_room(size + RECEIVE)

    def consume(self, position: int) -> None:
        """The bytes before ``position`` are done with."""
        self.start = position
        if position == self.end and not self.fds:
            self.start = self.end = 0

    def resume(self, received: bytes) -> None:
        """Begin with what another process had received and not consumed."""
        if len(received) > len(self.buffer):
            self._make_room(len(received) + RECEIVE)
        self.buffer[: len(received)] = received
        self.start, self.end = 0, len(received)

    def claim_fds(self, position: int) -> tuple[list[int], bool]:
        """The descriptors of the message that ends at ``position``, now the caller's, and whether some were cut off."""
        claimed, excess = [], False
        while self.fds and self.fds[0][0] <= position:
            _, fds, too_many = self.fds.popleft()
            claimed += fds
            excess |= too_many
        if len(claimed) > MAX_MSG_FDS:
            for fd in claimed[MAX_MSG_FDS:]:
                os.close(fd)
            del claimed[MAX_MSG_FDS:]
            excess = True
        return claimed, excess

    # -- sending

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Queue ``data``; ``fds`` go with its first byte and stay the caller's."""
        self._queue.append((data, fds))
        self.queued += len(data)

    def flush(self) -> bool:
        """Send what is queued. False when the client does not take it all now. Raises OSError when it has gone."""
        queue = self._queue
        while queue:
            data, fds = queue[0]
            if not fds and len(queue) > 1:
                data = self._gather()
            try:
                if fds:
                    sent = self.sock.sendmsg(
                        (data,), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds)),), _DONTWAIT
                    )
                else:
                    sent = self.sock.send(data, _DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return False
            self.queued -= sent
            if sent == len(data):
                queue.popleft()
            else:
                queue[0] = (memoryview(data)[sent:], ())
        return True

    def close(self) -> None:
        """Close the socket and every descriptor that nobody has claimed."""
        for _, fds, _ in self.fds:
            for fd in fds:
                os.close(fd)
        self.fds.clear()
        self._queue.clear()
        self.sock.close()

    # -- inside

    def _gather(self) -> bytes | memoryview:
        """Join the entries at the head of the queue that carry no descriptors into one."""
        queue, parts, size = self._queue, [], 0
        while queue and not queue[0][1] and size < SEND:
            data = queue.popleft()[0]
            parts.append(data)
            size += len(data)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        queue.appendleft((joined, ()))
        return joined

    def _make_room(self, size: int) -> None:
        """Move what is there to the front of a buffer of at least ``size`` bytes."""
        kept, moved = self.end - self.start, self.start
        if size > len(self.buffer):
            grown = bytearray(size)
            grown[:kept] = self.view[self.start : self.end]
            self.buffer, self.view = grown, memoryview(grown)
            self._head = (self.view[:RECEIVE],)
        else:
            self.view[:kept] = bytes(self.view[self.start : self.end])
        self.start, self.end = 0, kept
        self.fds = deque((end - moved, fds, excess) for end, fds, excess in self.fds)

    def _take_fds(self, ancillary: list[tuple[int, int, bytes]], truncated: bool) -> None:
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        held = sum(len(others) for _, others, _ in self.fds)
        if held + len(fds) > _MAX_HELD_FDS:  # sent bit by bit with a message that never ends
            for fd in fds:
                os.close(fd)
            fds, truncated = array.array("i"), True
        self.fds.append((self.end, fds.tolist(), truncated))
