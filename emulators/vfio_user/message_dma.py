"""Guest memory that came without a file: read and written by DMA_READ and DMA_WRITE commands from us to the client.

QEMU serves these under the lock that a guest's register access holds while it waits for our answer. So nothing in here is
ever done from a handler (it would stall the whole VM): only a burst may, and it is suspended until the reply is there.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from emulators.loop import Completion, Loop
from regmodel.errors import DmaFault
from regmodel.function import Buffer
from regmodel.structures import vfio_user as wire

MAX_TRANSFER = 65536
"""Bytes per command. QEMU sends a longer read reply incompletely when its socket buffer is full (hw/vfio-user/proxy.c,
vfio_user_send_qio: a partial non-blocking write counts as whole), and the stream is lost."""
PATIENCE = 1_000_000_000
"""ns to wait for a reply. All bursts of the port wait meanwhile, so a client that let one pass is not asked again until
it answers."""
_OVERHEAD = wire.HEADER.size + wire.DMA_ACCESS.size


@dataclass(frozen=True)
class Wire:
    """How a client lays out DMA_READ and DMA_WRITE: ``access`` after the header, data from byte ``data_at`` of the message."""

    access: struct.Struct
    data_at: int


SPEC = Wire(wire.DMA_ACCESS, 32)
"""As the specification has it: 64-bit count. QEMU 11, libvfio-user."""
QEMU_10 = Wire(wire.DMA_ACCESS_10, 28)
"""QEMU 10.1 and 10.2: 32-bit count, data right behind it, four bytes of nothing at the end. **Unproven**: read in QEMU
10.2's hw/vfio-user/protocol.h (VFIOUserDMARW) and pci.c, never run against such a QEMU."""
WIRES = {"spec": SPEC, "qemu-10": QEMU_10}


@dataclass
class Request:
    """One command under way. ``completion`` gets the data (bytes), or the reason (str) why there is none."""

    command: wire.Command
    iova: int
    size: int
    completion: Completion


class MessageDma:
    """The command channel to one client. ``send`` puts a message on its socket at once."""

    def __init__(self, loop: Loop, send: Callable[[bytes], None], layout: Wire = SPEC) -> None:
        self.layout = layout
        self.max_transfer = MAX_TRANSFER
        self._loop, self._send = loop, send
        self._pending: dict[int, Request] = {}
        self._late: set[int] = set()  # ids of requests that nobody waits for any more
        self._stalled = False
        self._next_id = 0
        self._gone: str | None = None

    def read(self, iova: int, size: int) -> bytes:
        """``size`` bytes at bus address ``iova``. Suspends the burst. Raises ``DmaFault``."""
        pieces = []
        for at in range(iova, iova + size, self.max_transfer):
            length = min(self.max_transfer, iova + size - at)
            pieces.append(self._ask(wire.Command.DMA_READ, at, length, b""))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, iova: int, data: Buffer) -> None:
        """Store ``data`` at bus address ``iova``. Suspends the burst. Raises ``DmaFault``."""
        source = memoryview(data)
        for at in range(0, len(source), self.max_transfer):
            self._ask(wire.Command.DMA_WRITE, iova + at, len(piece := bytes(source[at : at + self.max_transfer])), piece)

    @property
    def busy(self) -> bool:
        """Whether a burst waits for the client."""
        return bool(self._pending)

    def abandon(self, why: str, *, start: int = 0, end: int = 1 << 64, for_good: bool = False) -> None:
        """End what is under way within ``start`` to ``end``: it was unmapped, the device was reset, the client left."""
        for ident, request in list(self._pending.items()):
            if request.iova < end and start < request.iova + request.size:
                self._give_up(ident, why)
        if for_good:
            self._gone = why

    def reply(self, ident: int, command: int, flags: int, error: int, message: memoryview) -> bool:
        """Take a reply-type message, header included. False when we asked for no such thing."""
        request = self._pending.get(ident)
        if request is None:
            if ident in self._late:
                self._late.discard(ident)
                self._stalled = False
                return True
            return False
        if command != request.command:
            return False
        del self._pending[ident]
        request.completion.complete(self._answer(request, flags, error, message))
        return True

    # -- inside

    def _ask(self, command: wire.Command, iova: int, size: int, data: bytes) -> bytes:
        if not self._loop.may_wait:
            raise DmaFault(iova, size, "this memory came without a file and is reached by messages, which a register "
                                       "access must not wait for: defer a burst")  # fmt: skip
        if self._gone is not None:
            raise DmaFault(iova, size, self._gone)
        if self._stalled:
            raise DmaFault(iova, size, "the client has not answered an earlier DMA command")
        ident = self._next_id
        while ident in self._late:
            ident = (ident + 1) & 0xFFFF
        self._next_id = (ident + 1) & 0xFFFF
        request = self._pending[ident] = Request(command, iova, size, Completion())
        self._send(self._message(ident, command, iova, size, data))
        if not self._loop.wait(request.completion, PATIENCE):
            self._stalled = True
            self._give_up(ident, "the client did not answer the DMA command in time")
        answer = request.completion.value
        if isinstance(answer, bytes):
            return answer
        raise DmaFault(iova, size, str(answer))

    def _give_up(self, ident: int, why: str) -> None:
        request = self._pending.pop(ident, None)
        if request is not None:
            self._late.add(ident)
            request.completion.complete(why)

    def _message(self, ident: int, command: wire.Command, iova: int, size: int, data: bytes) -> bytes:
        total = _OVERHEAD + len(data)
        head = wire.HEADER.pack(ident, command, total, wire.COMMAND, 0) + self.layout.access.pack(iova, size)
        return b"".join((head, data, bytes(total - len(head) - len(data))))

    def _answer(self, request: Request, flags: int, error: int, message: memoryview) -> bytes | str:
        if flags & wire.ERROR:
            return f"the client refused it: {os.strerror(error or errno.EIO)}"
        if request.command == wire.Command.DMA_WRITE:
            return b""
        if len(message) != _OVERHEAD + request.size:
            return f"the client answered with {len(message)} bytes instead of {_OVERHEAD + request.size}"
        if self.layout.access.unpack_from(message, wire.HEADER.size) != (request.iova, request.size):
            return "the client answered for another address or size"
        return bytes(message[self.layout.data_at : self.layout.data_at + request.size])


class MessageMemory:
    """A ``regmodel.function.Memory`` that is reached by messages only."""

    view = None

    def __init__(self, channel: MessageDma, iova: int, size: int) -> None:
        self._channel, self._iova, self._size = channel, iova, size
        self._live = True

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> Buffer:
        self._check(offset, size)
        return self._channel.read(self._iova + offset, size)

    def write(self, offset: int, data: Buffer) -> None:
        self._check(offset, len(data))
        self._channel.write(self._iova + offset, data)

    def release(self) -> None:
        """Take the range back; what is under way in it ends with ``DmaFault``."""
        self._live = False
        self._channel.abandon("the map was taken back meanwhile", start=self._iova, end=self._iova + self._size)

    def _check(self, offset: int, size: int) -> None:
        if not self._live:
            raise DmaFault(self._iova + offset, size, "the map has been taken back")
