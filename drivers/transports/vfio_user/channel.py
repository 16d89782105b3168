"""The conversation with a server: commands and their replies, posted writes, and what the server asks of us meanwhile.

Only messages as such live here. What is in them is for ``info``, ``bars``, ``memory`` and ``interrupts``.

One command is under way at a time, and one thread uses a channel. Whenever we wait, for a reply or for room in the socket,
commands of the server (DMA_READ, DMA_WRITE) are taken and answered, so neither side ever waits for the other in a circle.
Every wait has a deadline. A reply that comes after its deadline is recognised and dropped, and the channel stays usable. A
message that cannot be of this conversation ends it: behind such a message, the stream means nothing.

The two hot calls, ``read`` and ``post``, make one system call per message: they send without a wait and leave it to the
kernel to end the wait for an answer. Whatever is not plain in them goes the way of all other commands.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from typing import NoReturn, Protocol, TypeAlias

from drivers.errors import DeviceGone, DeviceTimeout, DriverError, NotSupported, UnsupportedReply
from drivers.transports.vfio_user.stream import DONTWAIT, MAX_UNSENT, Damaged, Stream, close_all
from regmodel.errors import DmaFault, RegmodelError, UsageError
from regmodel.layout import layout
from regmodel.structures import vfio_user as wire
from regmodel.structures.vfio_user import Command

MAX_LATE = 64
"""Commands without an answer after which a server is given up."""
SERVED_AT_ONCE = 64
"""Receives per ``serve``: a server that never stops to ask does not keep us for ever."""

_READ = layout(wire.Header + wire.RegionAccess).struct
_DATA = wire.REGION_DATA
_SIZES = {width: codec.size for width, codec in _DATA.items()}
# plain numbers: to compare with a member of an enumeration takes longer
_REGION_READ, _REGION_WRITE = int(Command.REGION_READ), int(Command.REGION_WRITE)
_REPLY, _ERROR, _NO_REPLY, _TYPE = wire.REPLY, wire.ERROR, wire.NO_REPLY, wire.TYPE
_HOPELESS = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOTTY)


class HostMemory(Protocol):
    """The memory that the server may ask for by message. Both calls raise ``DmaFault`` with nothing transferred."""

    def dma_read(self, iova: int, size: int) -> bytes: ...

    def dma_write(self, iova: int, data: memoryview) -> None: ...


Reply: TypeAlias = tuple[int | None, bytes, list[int]]
"""errno of an error reply or None, body, descriptors."""


class Channel:
    """Takes over ``sock``, connected, with waits that the kernel ends after ``timeout`` seconds. ``name`` is for messages.

    Raised by all calls: ``DeviceGone`` when the server has hung up, ``DeviceTimeout`` after ``timeout`` seconds without an
    answer, ``UnsupportedReply`` for what is no vfio-user, ``NotSupported`` or ``DriverError`` for an error reply,
    ``UsageError`` after ``close``.
    """

    def __init__(self, sock: socket.socket, name: str, timeout: float) -> None:
        self.name, self.timeout = name, timeout
        self.memory: HostMemory | None = None
        self.asked = 0
        """How many commands the server has sent us."""
        self._stream = Stream(sock)
        self._sock = sock
        self._ident = 0
        self._late: set[int] = set()  # ids of commands that nobody waits for any more
        self._over: tuple[type[RegmodelError], str] | None = None

    def fileno(self) -> int:
        """The socket, to be waited for; what it has is taken by ``serve``. -1 when the conversation has ended."""
        return self._sock.fileno()

    @property
    def is_over(self) -> bool:
        """The server has gone, or the channel is closed."""
        return self._over is not None

    # -- the two hot calls

    def read(self, region: int, offset: int, width: int) -> int:
        """One REGION_READ of 1, 2, 4 or 8 bytes."""
        stream = self._stream
        if stream.end or stream.unsent or self._late:
            ident = self._send(Command.REGION_READ, wire.REGION_ACCESS.pack(offset, region, width))
            return self._read_slowly(ident, region, offset, width)
        ident = self._ident = (self._ident + 1) & 0xFFFF
        request = _READ.pack(ident, _REGION_READ, 32, 0, 0, offset, region, width)
        sent = 0
        try:
            sent = self._sock.send(request, DONTWAIT)
            if sent == 32:
                size = self._sock.recv_into(stream.buffer)
        except BlockingIOError:
            if sent:
                self._late.add(ident)
                raise self._timed_out(f"{_access('read', width, offset, region)} is not answered") from None
        except OSError as error:
            self._broken(error)
        except BaseException:  # a signal: the reply is still to come
            self._late.add(ident)
            raise
        if sent < 32:
            self._put(request[sent:])
            return self._read_slowly(ident, region, offset, width)
        if size == _SIZES[width]:
            found, command, length, flags, _, at, index, count, value = _DATA[width].unpack_from(stream.buffer)
            if (
                found == ident
                and command == _REGION_READ
                and length == size
                and flags == _REPLY
                and at == offset
                and index == region
                and count == width
            ):
                return value  # type: ignore[no-any-return]
        elif not size:
            self._gone("the server has hung up")
        stream.end = size
        return self._read_slowly(ident, region, offset, width)

    def post(self, region: int, offset: int, width: int, value: int) -> None:
        """One REGION_WRITE of 1, 2, 4 or 8 bytes which nobody answers. What is read later is read after it.

        Raises ``struct.error`` for a value that does not fit.
        """
        message = _DATA[width].pack(0, _REGION_WRITE, _SIZES[width], _NO_REPLY, 0, offset, region, width, value)
        sent = 0
        if not self._stream.unsent:
            try:
                sent = self._sock.send(message, DONTWAIT)
                if sent == _SIZES[width]:
                    return
            except BlockingIOError:
                pass
            except OSError as error:
                self._broken(error)
        self._put(message[sent:])
        self._drain(_access("write", width, offset, region))

    # -- all other commands

    def call(self, command: Command, body: bytes, what: str, fds: Sequence[int] = ()) -> bytes:
        """Send ``command`` and wait for its reply: the body of that. ``fds`` stay the caller's; ``what`` names it in errors."""
        reply, received = self.call_for_fds(command, body, what, fds)
        close_all(received)
        return reply

    def call_for_fds(self, command: Command, body: bytes, what: str, fds: Sequence[int] = ()) -> tuple[bytes, list[int]]:
        """The same, and the descriptors that came with the reply: now the caller's."""
        return self._await(self._send(command, body, fds, what), command, what)

    def write(self, region: int, offset: int, width: int, value: int) -> None:
        """One REGION_WRITE of 1, 2, 4 or 8 bytes; the server has done it on return. Raises ``OverflowError``."""
        body = wire.REGION_ACCESS.pack(offset, region, width) + value.to_bytes(width, "little")
        what = _access("write", width, offset, region)
        reply = self.call(Command.REGION_WRITE, body, what)
        if reply[:16] != body[:16]:
            self._damaged(f"an answer to another access than {what}")

    def serve(self, timeout: float = 0.0) -> bool:
        """Answer what the server asks; if that is nothing, wait up to ``timeout`` seconds for it. False: it was nothing."""
        self.check()
        deadline = time.monotonic() + timeout
        before = self.asked
        try:
            for _ in range(SERVED_AT_ONCE):
                if not self._stream.wait(deadline if self.asked == before else 0.0):
                    break
                self._parse(-1, -1)
        except (OSError, EOFError, Damaged) as error:
            self._ended(error)
        return self.asked != before

    def close(self) -> None:
        """End the conversation; every later call raises ``UsageError``."""
        if self._over is None:
            self._over = UsageError, "is closed"
        self._stream.close()

    # -- inside: sending

    def _send(self, command: Command, body: bytes, fds: Sequence[int] = (), what: str = "") -> int:
        self.check()
        if len(self._late) > MAX_LATE:
            self._gone(f"the server has left {MAX_LATE} commands without an answer")
        ident = (self._ident + 1) & 0xFFFF
        while ident in self._late:
            ident = (ident + 1) & 0xFFFF
        self._ident = ident
        self._put(wire.HEADER.pack(ident, command, 16 + len(body), 0, 0) + body, fds, what or command.name)
        return ident

    def _put(self, message: bytes, fds: Sequence[int] = (), what: str = "") -> None:
        """Send what can be sent of ``message`` now. The rest, and what the server asks, is for whoever waits next: its reply
        may come before it has taken all that we sent."""
        self.check()
        stream, deadline = self._stream, time.monotonic() + self.timeout
        try:
            if not fds:
                stream.put(message)
                return
            while not stream.put_fds(message, fds):
                if not stream.wait(deadline, to_send=True):
                    raise self._timed_out(f"{what} is not taken")
                self._parse(-1, -1)
        except (OSError, EOFError, Damaged) as error:
            self._ended(error)

    def _drain(self, what: str) -> None:
        """Wait until all is sent, with no command under way: this is what keeps posted writes from piling up here."""
        deadline = time.monotonic() + self.timeout
        try:
            while self._stream.unsent:
                if not self._stream.wait(deadline):
                    raise self._timed_out(f"{what} is not taken")
                self._parse(-1, -1)
        except (OSError, EOFError, Damaged) as error:
            self._ended(error)

    # -- inside: receiving

    def _await(self, ident: int, command: int, what: str) -> tuple[bytes, list[int]]:
        deadline = time.monotonic() + self.timeout
        try:
            while (found := self._parse(ident, command)) is None:
                if not self._stream.wait(deadline):
                    raise self._timed_out(f"{what} is not answered")
        except (OSError, EOFError, Damaged) as error:
            self._ended(error)
        except BaseException:
            self._late.add(ident)
            raise
        failure, body, fds = found
        if failure is not None:
            close_all(fds)
            kind = NotSupported if failure in _HOPELESS else DriverError
            reason = os.strerror(failure) if failure else "no reason given"
            raise kind(f"{self.name}: the server refuses {what}: {reason}: its own log says why")
        return body, fds

    def _parse(self, ident: int, command: int) -> Reply | None:
        """Handle all complete messages; the reply to ``ident``, if it is among them."""
        stream, reply = self._stream, None
        try:
            while stream.unsent <= MAX_UNSENT and (head := stream.header()) is not None:
                found, number, size, flags, error = head
                message, fds = stream.take(size)
                kind = flags & _TYPE
                if kind == _REPLY and found == ident and number == command and reply is None:
                    reply = (error if flags & _ERROR else None, bytes(message[16:]), fds)
                    continue
                close_all(fds)
                if kind == wire.COMMAND:
                    self._answer(found, number, flags, message[16:])
                elif kind == _REPLY and found in self._late:
                    self._late.discard(found)
                else:
                    raise Damaged(_odd(kind, found, number, ident, command))
        except BaseException:
            close_all(reply[2] if reply else ())
            raise
        return reply

    def _read_slowly(self, ident: int, region: int, offset: int, width: int) -> int:
        what = _access("read", width, offset, region)
        body, fds = self._await(ident, _REGION_READ, what)
        close_all(fds)
        if len(body) != 16 + width or wire.REGION_ACCESS.unpack_from(body) != (offset, region, width):
            self._damaged(f"an answer to another access than {what}, or with {len(body) - 16} bytes")
        return int.from_bytes(body[16:], "little")

    def _answer(self, ident: int, command: int, flags: int, body: memoryview) -> None:
        """One command of the server (sections "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE")."""
        self.asked += 1
        try:
            failure, answer = 0, self._dma(command, body)
        except DmaFault:
            failure, answer = errno.EFAULT, b""
        except NotSupported:
            failure, answer = errno.ENOTSUP, b""
        except ValueError:
            failure, answer = errno.EINVAL, b""
        if not flags & _NO_REPLY:
            kind = _REPLY | _ERROR if failure else _REPLY
            self._stream.put(wire.HEADER.pack(ident, command, 16 + len(answer), kind, failure) + answer)

    def _dma(self, command: int, body: memoryview) -> bytes:
        if command not in (Command.DMA_READ, Command.DMA_WRITE) or self.memory is None:
            raise NotSupported(_name(command))
        if len(body) < wire.DMA_ACCESS.size:
            raise ValueError("short")
        address, count = wire.DMA_ACCESS.unpack_from(body)
        if command == Command.DMA_READ:
            if len(body) != wire.DMA_ACCESS.size or count > wire.MAX_DATA_XFER_SIZE:
                raise ValueError("too much")
            return bytes(body) + self.memory.dma_read(address, count)
        if len(body) != wire.DMA_ACCESS.size + count:
            raise ValueError("count and data differ")
        self.memory.dma_write(address, body[wire.DMA_ACCESS.size :])
        return bytes(body[: wire.DMA_ACCESS.size])

    # -- inside: the end of it

    def check(self) -> None:
        """Raises what ended the conversation, if anything has."""
        if self._over is not None:
            kind, text = self._over
            raise kind(f"{self.name}: {text}")

    def _timed_out(self, what: str) -> DeviceTimeout:
        return DeviceTimeout(f"{self.name}: {what} within {self.timeout:g} s: the server hangs or is stopped; look at it")

    def _ended(self, error: OSError | EOFError | Damaged) -> NoReturn:
        if isinstance(error, Damaged):
            self._damaged(str(error))
        if isinstance(error, OSError):
            self._broken(error)
        self._gone("the server has hung up")

    def _broken(self, error: OSError) -> NoReturn:
        self.check()  # the descriptor of a conversation that has ended is bad
        self._gone(f"the server has hung up ({error.strerror})")

    def _gone(self, why: str) -> NoReturn:
        self._over = DeviceGone, f"{why}: start it again, and open the device anew"
        self._stream.close()
        self.check()
        raise AssertionError

    def _damaged(self, why: str) -> NoReturn:
        self._over = DeviceGone, f"the connection was closed, because the server sent {why}: open the device anew"
        self._stream.close()
        raise UnsupportedReply(f"{self.name}: the server sent {why}: it does not speak vfio-user 0.0, or has lost count")


def _access(kind: str, width: int, offset: int, region: int) -> str:
    where = f"BAR {region}" if region < 6 else {6: "the ROM", 7: "configuration space"}.get(region, f"region {region}")
    return f"the {kind} of {width} bytes at {offset:#x} of {where}"


def _odd(kind: int, ident: int, command: int, asked_ident: int, asked: int) -> str:
    if kind != _REPLY:
        return f"a message of type {kind}, neither command nor reply"
    if ident == asked_ident and command != asked:
        return f"{_name(command)} as the reply to {_name(asked)}"
    return f"a reply to nothing that was asked ({_name(command)}, id {ident})"


def _name(command: int) -> str:
    return Command(command).name if command in Command._value2member_map_ else f"command {command}"
