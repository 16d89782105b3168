"""``vhost-user:connect=PATH`` and ``vhost-user:listen=PATH``: a vhost-user back end as the far end of the cable.

We are its *front end*, as QEMU is for a guest: the uplink drives virtqueues in memory of ours, and another process is the
device behind them, such as a DPDK application with a ``net_vhost`` port, or a software switch. In here: the life of a
connection, and the way of frames. What is said is in ``emulators.fabric.vhost_user``, rings are in ``vrings``.

The carrier is up from when the rings are set up until the peer goes, or breaks the rules; then all that it had is taken
away, and the next connection starts anew with other memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any
from zlib import crc32

from emulators.fabric import vrings
from emulators.fabric.backends.connection import Connection
from emulators.fabric.backends.options import Options
from emulators.fabric.backends.packets import BURST, FarEnd
from emulators.fabric.offload import Takes
from emulators.fabric.uplink import Wire
from emulators.fabric.vhost_user import PAIRS, Message, Refused, Terms, introduce, reply_size, set_up, takes
from emulators.fabric.vrings import SharedMemory, VringError
from emulators.loop import Loop, Scheduled
from regmodel.function import Buffer
from regmodel.structures.vhost_user import HEADER, NUMBER
from regmodel.structures.virtio_features import Feature

PATIENCE = 10_000_000_000
"""ns that a back end may take until all is set up."""


class VhostUser:
    """``queues`` are queue pairs; a flow stays in one of them."""

    USAGE = "vhost-user:connect=PATH[,queues=N] | vhost-user:listen=PATH[,queues=N]"

    def __init__(self, options: Options) -> None:
        self.spec = options.spec
        self.far = FarEnd(options.spec)
        self.connection = Connection(options, self.far, joined=self._joined, left=self._left, readable=self._readable)
        if not self.connection.address.is_path:
            raise options.error("memory is shared over a UNIX socket only: give a /path")
        self.pairs = options.number("queues", 1, 1, PAIRS)
        options.finish()
        self.counts: Counter[str] = Counter(frames_in=0, frames_out=0, connections=0)
        self._loop: Loop | None = None
        self._wire: Wire | None = None
        self._session: Session | None = None

    @property
    def takes(self) -> Takes:
        session = self._session
        return session.takes if session is not None and session.ready else Takes.NONE

    # -- Backend

    def open(self, loop: Loop, wire: Wire) -> None:
        self._loop, self._wire = loop, wire
        wire.set_carrier(False)
        self.connection.open(loop)

    def close(self) -> None:
        self.connection.close()
        self._end_session()
        self._loop = self._wire = None

    def counters(self) -> dict[str, Any]:
        features = [] if self._session is None else [str(one.name).lower() for one in self._session.features]
        return {**self.counts, "features": features, "failures": self.far.failures}

    def send(self, frames: Sequence[Buffer]) -> int:
        session = self._session
        if session is None or not session.ready:
            return 0
        try:
            taken = session.send(frames)
        except VringError as error:
            self.connection.lose(str(error))
            return 0
        self.counts["frames_out"] += taken
        return taken

    # -- the connection

    def _joined(self) -> None:
        assert self._loop is not None and self._wire is not None
        self.counts["connections"] += 1
        self._session = Session(self.pairs, self._wire.partial)
        self._session.deadline = self._loop.call_at(self._loop.now() + PATIENCE, self._late)
        self._advance(0)

    def _left(self) -> None:
        self._end_session()
        if self._wire is not None:
            self._wire.set_carrier(False)

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        for vring in session.receiving:
            if self._loop is not None:
                self._loop.remove(vring.call)
        session.close()

    def _late(self) -> None:
        self.connection.lose(f"the peer does not say what it has to within {PATIENCE // 10**9} s")

    def _readable(self) -> None:
        """The peer says something, or has gone. File descriptors that it sends along are dropped by the kernel."""
        peer, session = self.connection.peer, self._session
        if peer is None or session is None:
            return
        try:
            octets = peer.recv(HEADER.size + NUMBER.size - len(session.heard))
        except BlockingIOError:
            return
        except OSError as error:
            self.connection.lose(error.strerror or str(error))
            return
        if not octets:
            self.connection.lose("the peer has gone")
            return
        try:
            number = session.hear(octets)
        except Refused as error:
            self.connection.lose(f"the peer is of no use: {error}")
            return
        if number is not None:
            self._advance(number)

    def _advance(self, number: int) -> None:
        """Say what comes next, until there is a reply to wait for or all is said."""
        peer, session = self.connection.peer, self._session
        assert peer is not None and session is not None
        try:
            while (message := session.say(number)) is not None:
                sent = socket.send_fds(peer, [message.octets()], message.fds)
                if sent != len(message.octets()):
                    raise Refused("it does not read what is said to it")
                if message.wait:
                    return
        except BlockingIOError:
            self.connection.lose("the peer does not read what is said to it")
        except Refused as error:
            self.connection.lose(f"the peer is of no use: {error}")
        except OSError as error:
            self.connection.lose(error.strerror or str(error))
        else:
            self._ready(session)

    def _ready(self, session: Session) -> None:
        assert self._loop is not None and self._wire is not None
        session.become_ready()
        for vring in session.receiving:
            self._loop.add(vring.call, self._called)
        self._wire.set_carrier(True)

    # -- data

    def _called(self) -> None:
        session = self._session
        if session is None or self._loop is None:
            return
        for vring in session.receiving:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(vring.call)
            vring.interrupts(False)
        self._loop.defer(self._burst)

    def _burst(self) -> bool:
        """Hand in up to ``BURST`` frames of each queue; True when there may be more."""
        session, wire = self._session, self._wire
        if session is None or wire is None:
            return False
        more = False
        try:
            for vring in session.receiving:
                frames = vring.take(BURST)
                if not frames:
                    more |= vring.interrupts(True)
                    continue
                more = True
                self.counts["frames_in"] += len(frames)
                self.far.worked()
                wire.receive(frames)
                if self._session is not session:  # which may have ended while a model waited for its memory
                    return False
                vring.give_back()
        except VringError as error:
            self.connection.lose(str(error))
            return False
        return more


class Session:
    """One connection: what was said so far, the shared memory, the rings."""

    def __init__(self, pairs: int, partial: bool) -> None:
        self.pairs = pairs
        self.features = Feature(0)
        self.takes = Takes.NONE
        self.ready = False
        self.heard = b""
        self.deadline: Scheduled | None = None
        self.memory: SharedMemory | None = None
        self.receiving: list[vrings.ReceiveVring] = []
        self.transmitting: list[vrings.TransmitVring] = []
        self._talk = self._converse(partial)
        self._asked: Message | None = None
        self._begun = False

    def _converse(self, partial: bool) -> Generator[Message, int, None]:
        terms: Terms = yield from introduce(self.pairs, partial=partial)
        self.features, self.takes = terms.features, takes(terms.features)
        self.memory = SharedMemory(2 * self.pairs)
        merged = Feature.MRG_RXBUF in terms.features
        self.receiving, self.transmitting = vrings.make(self.memory, self.pairs, merged=merged)
        both = [ring for pair in zip(self.receiving, self.transmitting, strict=True) for ring in pair]
        yield from set_up(terms, self.memory, both)

    def say(self, number: int) -> Message | None:
        """The next message, after ``number`` was replied to the last one; None when all is said. Raises ``Refused``."""
        try:
            message = self._talk.send(number) if self._begun else next(self._talk)
        except StopIteration:
            return None
        self._begun = True
        self._asked = message if message.wait else None
        return message

    def hear(self, octets: bytes) -> int | None:
        """A part of a reply: the number in it, once it is whole. Raises ``Refused``."""
        self.heard += octets
        if self._asked is None:
            raise Refused("it speaks without being asked")
        if len(self.heard) >= HEADER.size:
            reply_size(self.heard[: HEADER.size], self._asked)
        if len(self.heard) < HEADER.size + NUMBER.size:
            return None
        number: int = NUMBER.unpack_from(self.heard, HEADER.size)[0]
        self.heard, self._asked = b"", None
        return number

    def become_ready(self) -> None:
        """All is said."""
        self.ready = True
        if self.deadline is not None:
            self.deadline.cancel()

    def send(self, frames: Sequence[Buffer]) -> int:
        """How many were taken. Raises ``VringError``."""
        if self.pairs == 1:
            return self.transmitting[0].send(frames)
        queues: list[list[Buffer]] = [[] for _ in range(self.pairs)]
        for frame in frames:
            queues[_flow(frame) % self.pairs].append(frame)
        return sum(ring.send(queue) for ring, queue in zip(self.transmitting, queues, strict=True) if queue)

    def close(self) -> None:
        self._talk.close()
        if self.deadline is not None:
            self.deadline.cancel()
        vrings.close([*self.receiving, *self.transmitting])
        if self.memory is not None:
            self.memory.close()


def _flow(frame: Buffer) -> int:
    """A number that is the same for all frames of a flow: of addresses and ports, or of MAC addresses where it is not IP."""
    if frame[12:14] == b"\x08\x00":
        ports = len(frame) >= 38 and frame[23] in (6, 17) and not (frame[20] & 0x3F or frame[21]) and frame[14] == 0x45
        return crc32(frame[26 : 38 if ports else 34])
    if frame[12:14] == b"\x86\xdd":
        return crc32(frame[22 : 58 if len(frame) >= 58 and frame[20] in (6, 17) else 54])
    return crc32(frame[:12])
