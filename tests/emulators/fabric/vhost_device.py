"""A vhost-user back end for tests: as honest, or as bad, as they need it. It shares no code with the front end.

It is worked by hand: ``serve`` answers what was said to it, ``get`` and ``put`` move frames. Rings are read and written with
``struct``, one descriptor at a time.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path

CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_ECN, MRG_RXBUF, MQ = (1 << bit for bit in (0, 1, 7, 11, 13, 15, 22))
PROTOCOL, VERSION_1 = 1 << 30, 1 << 32
P_MQ, P_REPLY_ACK = 1, 8
GOOD = VERSION_1 | MRG_RXBUF | PROTOCOL | CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4 | MQ
GET_FEATURES, SET_FEATURES, SET_MEM_TABLE, NUM, ADDR, KICK, CALL, GET_PROTOCOL, SET_PROTOCOL, QUEUE_NUM, ENABLE = (
    1, 2, 5, 8, 9, 12, 13, 15, 16, 17, 18
)  # fmt: skip


class Vring:
    size = descriptors = available = used = kick = call = 0
    enabled = False
    seen = done = 0


class Device:
    """``answers`` are numbers by request; ``refuses`` are requests that it acknowledges with 1."""

    def __init__(self, peer: socket.socket, features: int = GOOD, protocol: int = P_MQ | P_REPLY_ACK, queues: int = 4) -> None:
        self.peer = peer
        peer.setblocking(False)
        self.answers = {GET_FEATURES: features, GET_PROTOCOL: protocol, QUEUE_NUM: queues}
        self.refuses: set[int] = set()
        self.said: list[int] = []
        self.features = self.protocol = 0
        self.vrings: dict[int, Vring] = {}
        self.memory = b""
        self.fds: list[int] = []

    @classmethod
    def accept(cls, path: Path, *features: int, **more: int) -> Device:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return cls(probe.dup(), *features, **more)

    def close(self) -> None:
        """Go, as a process does that ends."""
        self.peer.close()
        if isinstance(self.memory, mmap.mmap):
            self.memory.close()
        fds, self.fds = self.fds, []
        for fd in fds:
            os.close(fd)

    # -- words

    def serve(self) -> None:
        """Answer all that was said."""
        while self.serve_one():
            pass

    def serve_one(self) -> bool:
        """Answer one message; False when there is none."""
        try:
            head, fds, _, _ = socket.recv_fds(self.peer, 12, 8)
        except (BlockingIOError, ConnectionResetError):
            return False
        if not head:
            return False
        request, flags, size = struct.unpack("<III", head)
        payload = self.peer.recv(size) if size else b""
        self.said.append(request)
        self.fds += fds
        try:
            if request in self.answers:
                self.reply(request, self.answers[request])
            else:
                self.take(request, payload, fds)
                if flags & 8:
                    self.reply(request, int(request in self.refuses))
        except BrokenPipeError:
            return False
        return True

    def reply(self, request: int, number: int) -> None:
        self.peer.send(struct.pack("<IIIQ", request, 5, 8, number))

    def take(self, request: int, payload: bytes, fds: list[int]) -> None:
        if request == SET_FEATURES:
            self.features = struct.unpack("<Q", payload)[0]
        elif request == SET_PROTOCOL:
            self.protocol = struct.unpack("<Q", payload)[0]
        elif request == SET_MEM_TABLE:
            regions, _, self.guest, self.size, self.user, offset = struct.unpack("<IIQQQQ", payload)
            assert (regions, offset, len(fds)) == (1, 0, 1)
            self.file = fds[0]
            self.memory = mmap.mmap(fds[0], self.size)
        elif payload:
            index = payload[0]
            vring = self.vrings.setdefault(index, Vring())
            if request == NUM:
                vring.size = struct.unpack("<II", payload)[1]
            elif request == ADDR:
                _, _, descriptors, used, available, _ = struct.unpack("<IIQQQQ", payload)
                vring.descriptors, vring.used, vring.available = (at - self.user for at in (descriptors, used, available))
            elif request == KICK:
                vring.kick = fds[0]
            elif request == CALL:
                vring.call = fds[0]
            elif request == ENABLE:
                vring.enabled = bool(struct.unpack("<II", payload)[1])

    # -- rings

    def word(self, at: int) -> int:
        return struct.unpack_from("<H", self.memory, at)[0]

    def chain(self, vring: Vring) -> tuple[int, list[tuple[int, int, int]]] | None:
        """The next available chain: its head, and (address, length, flags) of each buffer."""
        if vring.seen == self.word(vring.available + 2):
            return None
        head = number = self.word(vring.available + 4 + 2 * (vring.seen % vring.size))
        vring.seen = (vring.seen + 1) % 65536
        found = []
        while True:
            address, length, flags, after = struct.unpack_from("<QIHH", self.memory, vring.descriptors + 16 * number)
            found.append((address - self.guest, length, flags))
            if not flags & 1:
                return head, found
            number = after

    def use(self, vring: Vring, head: int, length: int) -> None:
        struct.pack_into("<II", self.memory, vring.used + 4 + 8 * (vring.done % vring.size), head, length)
        vring.done = (vring.done + 1) % 65536

    def publish(self, vring: Vring) -> None:
        struct.pack_into("<H", self.memory, vring.used + 2, vring.done)
        if not self.word(vring.available) & 1:
            os.eventfd_write(vring.call, 1)

    def get(self, index: int = 1) -> list[tuple[bytes, bytes]]:
        """All frames that were sent to it, each behind its header."""
        vring, found = self.vrings[index], []
        while (chain := self.chain(vring)) is not None:
            assert not any(flags & 2 for _, _, flags in chain[1])
            octets = b"".join(self.memory[at : at + length] for at, length, _ in chain[1])
            found.append((octets[:12], octets[12:]))
            self.use(vring, chain[0], 0)
        self.publish(vring)
        return found

    def put(self, frames: list[bytes], header: bytes = bytes(10), index: int = 0) -> int:
        """Frames to the front end, as many as it has buffers for, each in as few as it needs."""
        vring, sent = self.vrings[index], 0
        for frame in frames:
            need = -(-(len(frame) + 12) // 2048)
            if (self.word(vring.available + 2) - vring.seen) % 65536 < need:
                break
            octets = header + struct.pack("<H", need) + frame
            for place in range(need):
                chain = self.chain(vring)
                assert chain is not None
                head, [(at, room, flags)] = chain
                assert flags == 2
                piece = octets[place * room : (place + 1) * room]
                self.memory[at : at + len(piece)] = piece  # type: ignore[index]
                self.use(vring, head, len(piece))
            sent += 1
        self.publish(vring)
        return sent
