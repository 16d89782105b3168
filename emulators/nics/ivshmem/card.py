"""The card of inter-VM shared memory devices: up to eight that share one memory, and what a user may choose of them.

In here: options, and what they make: a memory object, a server or a connection to one. There is no switch and no port: what
joins these devices are memory and eventfds.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from emulators.host import Host, Nowhere
from emulators.loop import Loop
from emulators.model import Port
from emulators.nics.ivshmem.client import Client, connect
from emulators.nics.ivshmem.device import Ivshmem
from emulators.nics.ivshmem.memory import MemoryObject, anonymous, fits, of_file
from emulators.nics.ivshmem.server import IvshmemServer
from emulators.state import check_origin
from regmodel.bars.ivshmem import MEMORY_SIZE
from regmodel.catalogue import Device
from regmodel.devices.ivshmem import doorbell, legacy, plain
from regmodel.errors import UsageError
from regmodel.mailboxes.ivshmem import VECTORS

VERSION = 1
FUNCTIONS = 8
"""Devices per card: a choice of this project; nothing limits them."""
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Properties:
    """What the host's administrator chose.

    ``size`` of the memory in bytes, None: that of the file or the server. ``memory`` is a file of shared memory. ``server``
    is the socket of a server to be a client of; without it the card has a server of its own, which others reach at
    ``listen``. ``vectors`` are MSI-X vectors, 0: none.
    """

    size: int | None = None
    memory: Path | None = None
    server: Path | None = None
    listen: Path | None = None
    vectors: int = 0

    @classmethod
    def parse(cls, device: Device, options: Mapping[str, str]) -> Properties:
        """From words of the user. Raises ``UsageError`` for names and values that there are not."""
        readers: dict[str, Callable[[str], Any]] = {"size": size_of, "memory": Path}
        if device.variant["server"]:
            least = device.identity.revision  # revision 1 has MSI-X always
            readers |= {"server": Path, "listen": Path, "vectors": partial(_vectors, least=least)}
        unknown = sorted(options.keys() - readers.keys())
        if unknown:
            raise UsageError(f"{device.name} has no option {unknown[0]!r}; it has {', '.join(readers)}")
        chosen = {name: readers[name](text) for name, text in options.items()}
        if "server" in chosen and (other := sorted({"size", "memory", "listen"} & chosen.keys())):
            raise UsageError(f"{other[0]} and server exclude each other: memory and sockets are the server's")
        return cls(**{"vectors": device.msix_vectors, **chosen})


def size_of(text: str) -> int:
    """``64K``, ``4M``, ``1G`` or bytes: a power of two. Raises ``UsageError``."""
    digits, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    if not digits.isdecimal() or not fits(int(digits) * unit):
        raise UsageError(f"size={text}: write a power of two of at least 4K, as 64K, 4M or 1G")
    return int(digits) * unit


def _vectors(text: str, *, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= VECTORS:
        raise UsageError(f"vectors={text}: write a number from {least} to {VECTORS}")
    return int(text)


class IvshmemSlot:
    """The place of one device. Only when it is plugged does it become a client of the server."""

    def __init__(self, card: IvshmemCard, number: int) -> None:
        self.card, self.number, self.name = card, number, f"ivshmem{number}"
        self.packets = Nowhere()
        self.model: Ivshmem | None = None
        self._early: list[tuple[str, dict[str, object]]] = []

    @cached_property
    def client(self) -> Client | None:
        """Its connection, set up; None without a server. Raises ``ServerError``."""
        if not self.card.device.variant["server"]:
            return None
        sock, name = self.card.dial()
        client = Client(sock, max(self.card.properties.vectors, 1), name=name, complain=self._remember)
        client.setup()
        return client

    @cached_property
    def memory(self) -> MemoryObject:
        """The shared memory, as its device has it. Raises ``ServerError``, ``UsageError``."""
        return MemoryObject(self.client.take_memory() if self.client is not None else os.dup(self.card.memory))

    @cached_property
    def device(self) -> Device:
        """The description of what sits here: as large as the memory is, with the vectors that were asked for."""
        size, vectors, named = self.memory.size, self.card.properties.vectors, self.card.device
        if not named.variant["server"]:
            return plain(size)
        return legacy(size, vectors) if named.identity.revision == 0 else doorbell(size, vectors)

    def _remember(self, kind: str, **detail: object) -> None:
        self._early.append((kind, detail))

    def build(self, host: Host) -> Ivshmem:
        """The device; it hears from its server and its peers from now on."""
        self.model = Ivshmem(self.device, host, self)
        if self.client is not None:
            self._listen(self.client, host, self.model)
        return self.model

    def _listen(self, client: Client, host: Host, model: Ivshmem) -> None:
        loop = self.card.loop

        def own(vector: int, fd: int) -> None:
            loop.add(fd, lambda: _rung(fd, vector, model))

        client.complain, client.on_own = host.diagnose, own
        for kind, detail in self._early:
            host.diagnose(kind, **detail)
        for vector, fd in enumerate(client.own):
            own(vector, fd)
        loop.add(client.fileno(), self.hear)
        self.hear()

    def hear(self) -> None:
        """Take in what the server has said so far."""
        if self.client is not None and self.client.alive:
            self.client.readable()
            if not self.client.alive:
                self.card.loop.remove(self.client.fileno())

    def close(self) -> None:
        """Hang up. Harmless the second time, and where nothing was plugged."""
        client: Client | None = self.__dict__.get("client")
        if client is not None and client.fileno() >= 0:
            for fd in (*client.own, client.fileno()):
                self.card.loop.remove(fd)
            client.close()


def _rung(fd: int, vector: int, model: Ivshmem) -> None:
    """However often it was rung: one interrupt, as the specification has it (read and discard as many as there are)."""
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(fd)
        model.interrupt(vector)


class IvshmemCard:
    """See the module. Raises ``UsageError``, ``ServerError``."""

    def __init__(self, device: Device, loop: Loop, **options: object) -> None:
        if options.pop("ports", 1) not in (1, "1"):
            raise UsageError(f"{device.name} has no Ethernet port: leave --ports away")
        self.device, self.loop = device, loop
        self.properties = Properties.parse(device, {name: str(value) for name, value in options.items()})
        self.ports: Sequence[Port] = ()
        self.slots = tuple(IvshmemSlot(self, number) for number in range(FUNCTIONS))
        self.on_mailbox: Callable[[str, str, list[int]], None] | None = None
        self.memory = -1 if self.properties.server is not None else self._own_memory()
        self.server: IvshmemServer | None = None
        if device.variant["server"] and self.properties.server is None:
            vectors = max(self.properties.vectors, 1)  # without MSI-X, one is heard by way of INTx
            self.server = IvshmemServer(loop, os.dup(self.memory), vectors, self.properties.listen)

    def _own_memory(self) -> int:
        wanted = self.properties
        if wanted.memory is not None:
            return of_file(wanted.memory, wanted.size)
        return anonymous(wanted.size or MEMORY_SIZE)

    def dial(self) -> tuple[socket.socket, str]:
        """A new connection to the server, and what to call it. Raises ``ServerError``."""
        if self.server is None:
            assert self.properties.server is not None
            return connect(self.properties.server), str(self.properties.server)
        ours, theirs = socket.socketpair()
        self.server.admit(theirs)
        return ours, "of this card"

    def control(self, words: Sequence[str]) -> object:
        """``stats``, and ``nic N status`` or ``nic N ring PEER VECTOR`` to one device. Raises ``UsageError``."""
        words = [str(word) for word in words]
        if words == ["stats"]:
            return self.stats()
        models = {str(slot.number): slot.model for slot in self.slots if slot.model is not None}
        if len(words) > 2 and words[0] == "nic" and (model := models.get(words[1])) is not None:
            return model.control(words[2:])
        text = f"{' '.join(words)!r}: write stats, nic {'|'.join(models) or 'N'} status, or nic N ring PEER VECTOR"
        raise UsageError(text)

    def stats(self) -> Mapping[str, Any]:
        """What each device counts, and what went wrong with clients of the card's own server."""
        found: dict[str, Any] = {slot.name: slot.model.stats() for slot in self.slots if slot.model is not None}
        return found | ({"server": dict(self.server.diagnostics)} if self.server is not None else {})

    def save(self) -> dict[str, object]:
        """Nothing of its own; the devices are saved by their functions."""
        return {"version": VERSION, "device": self.device.name}

    def load(self, state: Mapping[str, object]) -> None:
        """Raises ``StateError`` for the state of another card."""
        check_origin(state, self.device.name, VERSION)

    def close(self) -> None:
        """Hang up on servers and clients. Harmless the second time."""
        for slot in self.slots:
            slot.close()
        if self.server is not None:
            self.server.close()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
