"""The control queue: one command after the other, each with an answer.

In here: how a command travels. Which there are comes from the description; when they are given is in ``device``.

Sources: VIRTIO 1.3, 5.1.6.5; DPDK drivers/net/virtio/virtio_cvq.c ``virtio_send_command``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from construct import Struct

from drivers.errors import MailboxRefused, MailboxTimeout
from drivers.nics.virtio.virtqueue import Virtqueue
from drivers.transports import Transport
from regmodel.catalogue import Mailbox

ANSWER_TIME = 5.0
"""Seconds for a command to be answered, by a device whose host may be busy. Linux waits for ever (virtio_net.c
``virtnet_send_command_reply``)."""
OK = 0
ROOM = 4096
"""Octets for a command and its answer, which is the last of them."""
DESCRIPTORS = 64
"""Of the ring, where the driver has a say: a command takes three."""


class Control:
    """``ring`` is the device's control queue, ``notify`` tells it of ``ring.position``. ``sent`` and ``refused`` count."""

    def __init__(self, transport: Transport, ring: Virtqueue, notify: Callable[[int], None], mailbox: Mailbox) -> None:
        self.sent = self.refused = 0
        self._transport, self._ring, self._notify = transport, ring, notify
        self._messages = {message.name: message for message in mailbox.messages}
        self._memory = transport.alloc(ROOM)

    def say(self, name: str, tail: bytes = b"", **arguments: Any) -> None:
        """A command with its arguments by name, and ``tail`` behind them.

        Raises ``MailboxRefused`` when the device refuses it, ``MailboxTimeout`` when it does not answer.
        """
        message = self._messages[name]
        schema: Struct = message.schema
        header = {"class": {"class": message.number & 0xFF}, "cmd": {"cmd": message.number >> 8}}
        command = bytes(schema.build({"header": header, **arguments})) + tail
        memory, base = self._memory, self._memory.iova
        if len(command) > ROOM - 1:
            raise MailboxRefused(f"a command of {len(command)} octets does not fit: this driver has room for {ROOM - 1}")
        memory.view[: len(command)] = command
        memory.view[ROOM - 1] = 0xFF
        memory.sync_for_device()
        pieces = [(base, 2, False), (base + 2, len(command) - 2, False), (base + ROOM - 1, 1, True)]
        self._ring.add_chain([piece for piece in pieces if piece[1]], 0)
        if self._ring.publish():
            self._notify(self._ring.position)
        self.sent += 1
        self._await(name)
        memory.sync_for_cpu(ROOM - 1, 1)
        if memory.view[ROOM - 1] != OK:
            self.refused += 1
            raise MailboxRefused(f"{self._transport.name}: the device refuses the command {name}{_plain(arguments)}")

    def _await(self, name: str) -> None:
        end, pause = self._transport.now() + ANSWER_TIME, 20e-6
        while not len(self._ring.take(1)[0]):
            if self._transport.now() >= end:
                where = self._transport.name
                raise MailboxTimeout(f"{where}: no answer to the command {name} within {ANSWER_TIME:g} s; reset()")
            self._transport.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def release(self) -> None:
        """Give the memory back, which the device does not touch any more."""
        self._ring.release()
        self._memory.free()


def _plain(arguments: dict[str, Any]) -> str:
    said = ", ".join(f"{name} {value.hex(':') if isinstance(value, bytes) else value}" for name, value in arguments.items())
    return f" ({said})" if said else ""


__all__ = ["DESCRIPTORS", "Control"]
