"""A raw vfio-user client for tests: it packs by hand (``struct``, offsets from the specification), shares no code with the
server, and drives the server's loop itself, so that a test is one thread and one order of events."""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

from emulators.loop import Loop

HEADER = struct.Struct("<HHIII")
QEMU_JSON = (
    b'{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, '
    b'"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}\0'
)
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, WRITE_MULTI, FEATURE = range(9, 17)
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
INTX, MSI, MSIX, ERR, REQ = range(5)
ARM, DISARM, UNMASK, MASK, FIRE = 0x24, 0x21, 0x11, 0x09, 0x21


@dataclass
class Message:
    ident: int
    command: int
    flags: int
    errno: int
    body: bytes
    fds: list[int] = field(default_factory=list)

    @property
    def error(self) -> int:
        """errno of an error reply, 0 of another; -1 for an error reply that is not header-only."""
        if not self.flags & ERROR:
            return 0
        return -1 if self.body else self.errno


class Client:
    """``with Client(loop, path) as c: c.call(...)``; connects and agrees on a version unless told not to."""

    def __init__(self, loop: Loop, path: Path, *, negotiate: bool = True, json: bytes = QEMU_JSON) -> None:
        self.loop = loop
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(path))
        self.sock.setblocking(False)
        self._ident = 100
        self._received = b""
        self._fds: list[int] = []
        loop.settle()
        if negotiate:
            assert self.call(VERSION, struct.pack("<HH", 0, 0) + json).error == 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        self.loop.settle()

    # -- messages

    def send(self, command: int, body: bytes = b"", fds: list[int] | None = None, *, flags: int = 0, size: int | None = None,
             ident: int | None = None) -> int:  # fmt: skip
        """Send one message and let the server handle it; returns its id."""
        if ident is None:
            self._ident = ident = (self._ident + 1) & 0xFFFF
        head = HEADER.pack(ident, command, 16 + len(body) if size is None else size, flags, 0)
        self.send_raw(head + body, fds)
        return ident

    def send_raw(self, data: bytes, fds: list[int] | None = None) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        while sent < len(data):
            self.loop.turn()
            try:
                sent += self.sock.send(data[sent:])
            except BlockingIOError:
                continue
        self.loop.settle()

    def receive(self) -> Message | None:
        """The next message from the server; None when there is none, EOFError when it has closed."""
        while True:
            if len(self._received) >= 16:
                ident, command, size, flags, error = HEADER.unpack_from(self._received)
                if len(self._received) >= size:
                    body, self._received = self._received[16:size], self._received[size:]
                    fds, self._fds = self._fds, []
                    return Message(ident, command, flags, error, body, fds)
            try:
                data, ancillary, _, _ = self.sock.recvmsg(1 << 20, 1024)
            except BlockingIOError:
                if not self.loop.turn():
                    return None
                continue
            except ConnectionResetError:
                raise EOFError from None
            for _, _, packed in ancillary:
                fds_in = array.array("i")
                fds_in.frombytes(packed)
                self._fds += fds_in
            if not data:
                raise EOFError
            self._received += data

    def call(self, command: int, body: bytes = b"", fds: list[int] | None = None, **more: int) -> Message:
        """Send a command and take its reply; there must be exactly one, to it."""
        ident = self.send(command, body, fds, **more)
        reply = self.receive()
        assert reply is not None, "no reply"
        assert (reply.ident, reply.command, reply.flags & 0xF) == (ident, command, REPLY)
        return reply

    def silent(self) -> bool:
        """Nothing (more) has come from the server."""
        return self.receive() is None

    def is_closed(self) -> bool:
        """The server has closed the connection."""
        try:
            return self.receive() is None and False
        except EOFError:
            return True

    # -- commands

    def read(self, region: int, offset: int, count: int) -> bytes:
        reply = self.call(REGION_READ, struct.pack("<QII", offset, region, count))
        assert reply.error == 0, errno.errorcode[reply.errno]
        assert reply.body[:16] == struct.pack("<QII", offset, region, count)
        return reply.body[16:]

    def write(self, region: int, offset: int, data: bytes) -> None:
        reply = self.call(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)
        assert reply.error == 0 and reply.body == struct.pack("<QII", offset, region, len(data))

    def post(self, region: int, offset: int, data: bytes) -> None:
        self.send(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data, flags=NO_REPLY)

    def map(self, iova: int, size: int, fd: int | None = None, *, offset: int = 0, flags: int = 3) -> int:
        body = struct.pack("<IIQQQ", 32, flags, offset, iova, size)
        return self.call(DMA_MAP, body, None if fd is None else [fd]).error

    def unmap(self, iova: int, size: int, *, flags: int = 0) -> int:
        body = struct.pack("<IIQQ", 24, flags, iova, size)
        reply = self.call(DMA_UNMAP, body)
        assert reply.error or reply.body == body
        return reply.error

    def set_irqs(self, flags: int, index: int, start: int, count: int, fds: list[int] | None = None, data: bytes = b"") -> int:
        body = struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data
        return self.call(SET_IRQS, body, fds).error
