"""One client: parses what it sends, answers every command exactly once, and cleans up behind it.

The commands themselves are in ``access`` (registers), ``maps`` (memory), ``irqs`` and ``version``; here is the order of
things: what is looked at before a command runs, what becomes of an error, and the one path that is hot, posted writes.

A message that is refused gets an error reply, which is a header and nothing else. After one whose size is impossible,
or before a version is agreed, the connection is closed behind the reply: the stream means nothing any more.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from emulators.loop import Loop, Scheduled, report_once
from emulators.vfio_user.access import RegionAccess
from emulators.vfio_user.info import device_info, region_info
from emulators.vfio_user.irqs import Irqs
from emulators.vfio_user.maps import Maps
from emulators.vfio_user.memory import Files
from emulators.vfio_user.message_dma import SPEC, MessageDma, Wire
from emulators.vfio_user.observer import Observer
from emulators.vfio_user.refused import Refused
from emulators.vfio_user.sharing import peer_pid
from emulators.vfio_user.stream import HIGH_WATER, Stream
from emulators.vfio_user.version import Session, negotiate
from regmodel.function import Function, ResetCause
from regmodel.structures import vfio_user as wire
from regmodel.structures.vfio_user import Command

MAX_MESSAGE = wire.HEADER.size + wire.REGION_ACCESS.size + wire.MAX_DATA_XFER_SIZE
NO_PROGRESS = 5_000_000_000
"""ns after which a client that takes nothing of what it should receive is dropped."""

Answer = bytes | tuple[bytes, Sequence[int]]
Handler = Callable[[memoryview, list[int]], Answer]

_log = logging.getLogger("regmodel.vfio_user")
_POSTED = {wire.REGION_DATA[width].size: (width, wire.REGION_DATA[width]) for width in wire.REGION_DATA}
_HEADER, _REPLY, _NO_REPLY, _TYPE = wire.HEADER, wire.REPLY, wire.NO_REPLY, wire.TYPE
_REGION_WRITE = int(Command.REGION_WRITE)


class Connection:
    """Serves ``function`` to the client on ``sock`` until either end closes; ``on_close`` is told why."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        function: Function,
        files: Files,
        on_close: Callable[[str], None],
        *,
        dma_wire: Wire = SPEC,
        keep_state: bool = False,
    ) -> None:
        self.peer_pid = peer_pid(sock)
        self.session: Session | None = None
        self.messages = [0] * wire.COMMANDS
        """How many messages of each command have come; under 0 those that are no command."""
        self.refused = 0
        self.dma = MessageDma(loop, self._send_now, dma_wire)
        self.maps = Maps(function, files, self.dma, self.peer_pid, None)
        self.irqs = Irqs(function, None)
        self._access = RegionAccess(function)
        self._loop, self._function, self._on_close = loop, function, on_close
        self._keep_state = keep_state
        self._observer: Observer | None = None
        self._stream = Stream(sock)
        self._closed = False
        self._drop: Scheduled | None = None
        self._complained: set[tuple[int, int]] = set()
        self._handlers = self._all_handlers()
        self._fd = sock.fileno()
        loop.add(self._fd, self._readable)

    @property
    def observer(self) -> Observer | None:
        """Who is told of maps, interrupts and resets; None costs nothing."""
        return self._observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self._observer = self.maps.observer = self.irqs.observer = observer

    def close(self, reason: str) -> None:
        """Disarm all interrupts, take back all maps, close all descriptors. The state of the device stays."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove(self._fd)
        if self._drop is not None:
            self._drop.cancel()
        self.dma.abandon("the client has gone", for_good=True)
        for clean_up in (self.irqs.close, self.maps.clear):
            try:
                clean_up()
            except Exception as error:
                report_once(_log, f"{self._function.name}: {clean_up.__qualname__}", error)
        with suppress(OSError):
            self._stream.flush()  # replies to what came before; what the client does not take now is lost
        self._stream.close()
        if self._observer is not None:
            self._observer.disconnected(reason)
        self._on_close(reason)

    # -- to another process (``emulators.handover``)

    def freeze(self) -> None:
        """Look at nothing more that the client sends; it waits in the socket. Raises ``Refused`` when that cannot be now."""
        try:
            if self.dma.busy or self._stream.fds or not self._stream.flush():
                raise Refused(errno.EBUSY, "a conversation is in the middle of something")
        except OSError as error:
            raise Refused(error.errno or errno.EIO, f"the connection broke: {error.strerror}") from error
        self._loop.remove(self._fd)

    def thaw(self) -> None:
        """Go on after ``freeze``."""
        self._loop.add(self._fd, self._readable)

    def image(self, fds: list[int]) -> dict[str, object]:
        """All that another process needs to go on with this conversation; descriptors are added to ``fds`` and stay ours."""
        stream = self._stream
        fds.append(self._fd)
        return {
            "socket": len(fds) - 1,
            "received": bytes(stream.view[stream.start : stream.end]).hex(),
            "session": None if self.session is None else asdict(self.session),
            "messages": self.messages,
            "irqs": self.irqs.image(fds),
            "maps": self.maps.image(fds),
        }

    def adopt(self, image: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Go on with the conversation of ``image``, before anything is received. Raises ``Refused``."""
        if image["session"] is not None:
            self._agree(Session(**image["session"]))
        self.messages = list(image["messages"])
        self.maps.adopt(image["maps"], fds)
        self.irqs.adopt(image["irqs"]["armed"], bool(image["irqs"]["intx_masked"]), fds)
        self._stream.resume(bytes.fromhex(image["received"]))

    # -- receiving

    def _readable(self) -> None:
        try:
            size = self._stream.receive()
            if size:
                self._parse()
            elif size == 0:
                self.close("the client closed the connection")
        except OSError as error:
            self.close(f"the connection broke: {error.strerror}")

    def _parse(self) -> None:
        """Handle all complete messages that have been received."""
        stream = self._stream
        unpack = _HEADER.unpack_from
        position = stream.start
        while stream.end - position >= 16:
            ident, command, size, flags, error = unpack(stream.buffer, position)
            if command == _REGION_WRITE and flags == _NO_REPLY and size in _POSTED and not stream.fds:
                done = self._posted(position, size)
                if done:
                    position += done
                    continue
            if not 16 <= size <= MAX_MESSAGE:
                self._malformed(ident, command, size, flags)
                return
            if stream.end - position < size:
                stream.consume(position)
                stream.need(size)
                position = stream.start
                break
            fds, excess = stream.claim_fds(position + size) if stream.fds else ([], False)
            message = stream.view[position : position + size]
            position += size
            self._message(ident, command, flags, error, message, fds, excess)
            if self._closed:
                return
            if stream.queued > HIGH_WATER and not stream.flush():
                break
        stream.consume(position)
        if stream.queued:
            self._flush()

    def _posted(self, position: int, size: int) -> int:
        """A run of equally long posted writes from ``position``: how many bytes of them are done, 0 if none can be."""
        stream = self._stream
        if self.session is None:
            return 0
        width, codec = _POSTED[size]
        limits = self._access.posted_limits
        write = self._function.region_write
        start, end = position, stream.end
        if end - position < 2 * size:
            rows = iter((codec.unpack_from(stream.buffer, position),)) if end - position >= size else iter(())
        else:
            rows = codec.iter_unpack(stream.view[position : position + (end - position) // size * size])
        while True:
            try:
                for _, command, length, flags, _, offset, index, count, value in rows:
                    if (
                        command != _REGION_WRITE
                        or length != size
                        or flags != _NO_REPLY
                        or count != width
                        or offset + width > limits.get(index, 0)
                    ):
                        break
                    position += size
                    write(index, offset, width, value)
                break
            except Exception as error:
                self.refused += 1
                report_once(_log, f"{self._function.name}: a register write", error)
        self.messages[_REGION_WRITE] += (position - start) // size
        return position - start

    # -- one message

    def _message(
        self, ident: int, command: int, flags: int, error: int, message: memoryview, fds: list[int], excess: bool
    ) -> None:
        kind = flags & _TYPE
        self.messages[command if kind == wire.COMMAND and command < wire.COMMANDS else 0] += 1
        try:
            if kind == _REPLY:
                if not self.dma.reply(ident, command, flags, error, message):
                    self._complain(Refused(errno.EINVAL, "a reply to nothing that was asked"), command)
                return
            answer = self._run(command, flags, message[_HEADER.size :], fds, excess)
            if not flags & _NO_REPLY:
                body, lent = answer if isinstance(answer, tuple) else (answer, ())
                self._stream.send(_HEADER.pack(ident, command, 16 + len(body), _REPLY, 0) + body, lent)
        except Refused as refusal:
            self._complain(refusal, command)
            if not flags & _NO_REPLY:
                self._stream.send(_HEADER.pack(ident, command, 16, _REPLY | wire.ERROR, refusal.errno))
            if refusal.fatal:
                self.close(str(refusal))
        except Exception as failure:
            self.refused += 1
            report_once(_log, f"{self._function.name}: {_name(command)}", failure)
            if not flags & _NO_REPLY:
                self._stream.send(_HEADER.pack(ident, command, 16, _REPLY | wire.ERROR, errno.EIO))
        finally:
            for fd in fds:
                os.close(fd)

    def _run(self, command: int, flags: int, body: memoryview, fds: list[int], excess: bool) -> Answer:
        if flags & _TYPE != wire.COMMAND:
            raise Refused(errno.EINVAL, f"a message of type {flags & _TYPE}, neither command nor reply")
        if self.session is None and command != Command.VERSION:
            raise Refused(errno.EINVAL, f"{_name(command)} before VERSION", fatal=True)
        if excess:
            raise Refused(errno.EINVAL, f"{_name(command)} with more than {wire.MAX_MSG_FDS} descriptors")
        handler = self._handlers.get(command)
        if handler is None:
            known = command in Command._value2member_map_
            raise Refused(errno.ENOTSUP if known else errno.EINVAL, f"{_name(command)} is not served here")
        if fds and command not in (Command.DMA_MAP, Command.DEVICE_SET_IRQS):
            raise Refused(errno.EINVAL, f"{_name(command)} with descriptors")
        return handler(body, fds)

    def _all_handlers(self) -> dict[int, Handler]:
        access = self._access
        return {
            Command.VERSION: self._version,
            Command.DMA_MAP: self.maps.map,
            Command.DMA_UNMAP: lambda body, fds: self.maps.unmap(body),
            Command.DEVICE_GET_INFO: lambda body, fds: device_info(body),
            Command.DEVICE_GET_REGION_INFO: lambda body, fds: region_info(body, access.regions, self._max_msg_fds()),
            Command.DEVICE_GET_IRQ_INFO: lambda body, fds: self.irqs.info(body),
            Command.DEVICE_SET_IRQS: self.irqs.set,
            Command.REGION_READ: lambda body, fds: access.read(body),
            Command.REGION_WRITE: lambda body, fds: access.write(body),
            Command.DEVICE_RESET: self._reset,
        }

    def _version(self, body: memoryview, fds: list[int]) -> bytes:
        if self.session is not None:
            raise Refused(errno.EINVAL, "VERSION has been agreed already")
        session, reply = negotiate(body)
        self._agree(session)
        if not self._keep_state:
            self._function.reset(ResetCause.BUS)
        return reply

    def _agree(self, session: Session) -> None:
        self.session = session
        self.dma.max_transfer = min(self.dma.max_transfer, session.max_data_xfer_size)
        if session.write_multiple:
            self._handlers[Command.REGION_WRITE_MULTI] = lambda body, fds: self._access.write_multi(body)

    def _reset(self, body: memoryview, fds: list[int]) -> bytes:
        self.dma.abandon("the device was reset meanwhile")
        self._function.reset(ResetCause.BUS)
        if self._observer is not None:
            self._observer.reset(ResetCause.BUS)
        return b""

    def _max_msg_fds(self) -> int:
        return self.session.max_msg_fds if self.session else 0

    def _complain(self, refusal: Refused, command: int) -> None:
        """Count a refusal; log it once per command and error."""
        self.refused += 1
        if self._observer is not None:
            self._observer.refused(_name(command), refusal.errno, str(refusal))
        kind = (command, refusal.errno)
        if kind not in self._complained and len(self._complained) < 64:
            self._complained.add(kind)
            _log.warning("%s: refused: %s", self._function.name, refusal)

    def _malformed(self, ident: int, command: int, size: int, flags: int) -> None:
        refusal = Refused(errno.EINVAL, f"{_name(command)} says that it has {size} bytes", fatal=True)
        self._complain(refusal, command)
        if not flags & _NO_REPLY and flags & _TYPE != _REPLY:
            self._stream.send(_HEADER.pack(ident, command, 16, _REPLY | wire.ERROR, refusal.errno))
        self.close(str(refusal))

    # -- sending

    def _send_now(self, message: bytes) -> None:
        """For our own commands, which come from a burst: nobody flushes behind it."""
        self._stream.send(message)
        try:
            self._flush()
        except OSError as error:
            self.close(f"the connection broke: {error.strerror}")

    def _flush(self) -> None:
        stream = self._stream
        before = stream.queued
        if stream.flush():
            if self._drop is not None:
                self._drop.cancel()
                self._drop = None
                self._loop.interest(self._fd)
            return
        if self._drop is None or stream.queued < before:
            if self._drop is not None:
                self._drop.cancel()
            self._drop = self._loop.call_at(self._loop.now() + NO_PROGRESS, self._dropped)
        self._loop.interest(self._fd, read=stream.queued <= HIGH_WATER, on_writable=self._writable)

    def _writable(self) -> None:
        try:
            self._flush()
            if not self._closed and self._stream.queued <= HIGH_WATER:
                self._parse()
        except OSError as error:
            self.close(f"the connection broke: {error.strerror}")

    def _dropped(self) -> None:
        self.close("the client does not take its replies")


def _name(command: int) -> str:
    return Command(command).name if command in Command._value2member_map_ else f"command {command}"
