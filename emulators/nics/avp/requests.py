"""The host's end of the request channel.

In here: how a request is found, taken and answered. What a request makes the device do is the model's business (``device``).

The request is copied before it is looked at, and of the place where it stood only ``result`` is written.

Source: DPDK avp_ethdev.c ``avp_dev_process_request``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from emulators.host import Host
from emulators.nics.avp.arrangement import REQUEST_SLOTS, Arrangement
from emulators.nics.avp.fifo import Broken, Consumer, Producer
from regmodel.layout import layout
from regmodel.mailboxes.avp import DEVICE, MAILBOX, REQUEST_SIZE

_AT = layout(DEVICE).offsets
_RESULT = _AT["result"]
BODY = 4
NAMES = {message.number: message.name for message in MAILBOX.messages if message.sender == "guest"}


class Denied(Exception):
    """The host will not do it: the guest gets ``-code``, whoever watches gets ``why``."""

    def __init__(self, code: int, why: str, **detail: object) -> None:
        super().__init__(why)
        self.code, self.why, self.detail = code, why, detail


@dataclass(frozen=True)
class Config:
    """Body of cfg_device (struct rte_avp_device_config)."""

    device_id: int
    driver_type: int
    driver_version: int
    features: int
    tx_queues: int
    rx_queues: int
    up: bool

    @classmethod
    def parse(cls, request: bytes) -> Config:
        def number(name: str, size: int) -> int:
            return int.from_bytes(request[_AT[name] : _AT[name] + size], "little")

        return cls(
            number("config.device_id", 8), number("config.driver_type", 4), number("config.driver_version", 4),
            number("config.features", 4), number("config.num_tx_queues", 2), number("config.num_rx_queues", 2),
            bool(number("config.if_up", 1)),
        )  # fmt: skip


class Requests:
    """Answers requests with ``handlers``, by name, which take the whole request and raise ``Denied``.

    ``on_message``, when set, is told the sender and the words of each request and response.
    """

    def __init__(
        self, host: Host, memory: memoryview, arrangement: Arrangement, handlers: Mapping[str, Callable[[bytes], None]]
    ) -> None:
        self.host, self.memory, self.handlers = host, memory, handlers
        self.sync, self.sync_va = arrangement.sync, arrangement.sync_va
        self.req = Consumer(memory, arrangement.req, REQUEST_SLOTS)
        self.resp = Producer(memory, arrangement.resp, REQUEST_SLOTS)
        self.error = ""
        self.on_message: Callable[[str, list[int]], None] | None = None

    def open(self) -> None:
        """Empty queues."""
        self.error = ""
        self.req.clear()
        self.resp.clear()

    def burst(self) -> bool:
        """Answer all that waits; whether there was anything."""
        if self.error:
            return False
        try:
            count = self.req.waiting()
            if not count:
                return False
            pointers = self.req.look(count).tolist()
            self.req.done(count)
            for pointer in pointers:
                if pointer != self.sync_va:
                    raise Broken("request-address", address=pointer, expected=self.sync_va)
                self._answer()
        except Broken as broken:
            self.error = broken.kind
            self.host.diagnose(broken.kind, queue="req", **broken.detail)
        return True

    def _answer(self) -> None:
        request = bytes(self.memory[self.sync : self.sync + REQUEST_SIZE])
        number = int.from_bytes(request[:BODY], "little")
        self._tell("guest", request)
        try:
            name = NAMES.get(number)
            if name is None:
                raise Denied(errno.EOPNOTSUPP, "request-unknown")
            self.handlers[name](request)
            result = 0
        except Denied as denied:
            result = -denied.code
            self.host.diagnose(denied.why, request=NAMES.get(number, number), **denied.detail)
        answer = result.to_bytes(4, "little", signed=True)
        self.memory[self.sync + _RESULT : self.sync + _RESULT + 4] = answer
        self._tell("host", request[:_RESULT] + answer)
        if not self.resp.space():
            raise Broken("responses-full")
        self.resp.put(numpy.array([self.sync_va], numpy.uint64))

    def _tell(self, sender: str, message: bytes) -> None:
        if self.on_message is not None:
            self.on_message(sender, [int.from_bytes(message[i : i + 4], "little") for i in range(0, REQUEST_SIZE, 4)])

    def save(self) -> dict[str, object]:
        return {"error": self.error, "req": [self.req.own, self.req.seen], "resp": [self.resp.own, self.resp.seen]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        indices: tuple[Sequence[int], Sequence[int]] = (state["req"], state["resp"])
        self.error = str(state["error"])
        self.req.load(indices[0])
        self.resp.load(indices[1])
