"""Asking the host: one request at a time, in a place that both share.

In here: how a request is put, waited for and judged. The layouts are in ``regmodel.mailboxes.avp``.

Source: DPDK avp_ethdev.c ``avp_dev_process_request``.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from drivers.errors import MailboxRefused, MailboxTimeout, UnsupportedReply
from drivers.nics.avp.fifo import Consumer, Producer
from drivers.nics.avp.memory import SharedMemory, Tables
from drivers.transports import Transport
from regmodel.layout import layout
from regmodel.mailboxes.avp import DEVICE, MAILBOX, PATIENCE, REQUEST_SIZE

LOOK = 0.005
"""Seconds between two looks for a response (AVP_REQUEST_DELAY_USECS)."""
_RESULT = layout(DEVICE).offsets["result"]
_SCHEMAS = {message.name: message.schema for message in MAILBOX.messages if message.sender == "guest"}


class Requests:
    """The channel that ``tables`` place. A response is waited for ``patience`` seconds; the last one took ``took``."""

    def __init__(self, transport: Transport, memory: SharedMemory, tables: Tables, patience: float = PATIENCE) -> None:
        self._transport, self._memory, self.patience = transport, memory, patience
        info = tables.info
        self._req = Producer(memory, tables.offset(info["req_phys"], 16, "request queue"), "req")
        self._resp = Consumer(memory, tables.offset(info["resp_phys"], 16, "response queue"), "resp")
        self._place = tables.offset(info["sync_phys"], REQUEST_SIZE, "request")
        self._address = info["sync_va"]
        self.took = 0.0

    def ask(self, name: str, **body: Any) -> None:
        """Put request ``name`` and wait for its response.

        Raises ``MailboxTimeout``, ``MailboxRefused`` with the host's errno, ``UnsupportedReply``, ``RingError``.
        """
        self._resp.take(self._resp.count())  # responses that nobody waits for
        request: Mapping[str, Any] = {**body, "result": -errno.EOPNOTSUPP}
        self._memory.write(self._place, _SCHEMAS[name].build(request))
        if not self._req.space():
            raise MailboxTimeout(f"{self._transport.name}: the host has not taken the requests before {name}")
        start = self._transport.now()
        self._req.put([self._address])
        while not self._resp.count():
            self.took = self._transport.now() - start
            if self.took > self.patience:
                raise MailboxTimeout(f"{self._transport.name}: the host does not answer {name} within {self.patience:g} s")
            self._transport.sleep(LOOK)
        self.took = self._transport.now() - start
        pointers = self._resp.take(self._resp.count())
        if pointers != [self._address]:
            said = ", ".join(f"{pointer:#x}" for pointer in pointers)
            raise UnsupportedReply(f"{self._transport.name}: {name} is answered at {said} instead of {self._address:#x}")
        answer = self._memory.read(self._place + _RESULT, 4)
        result = int.from_bytes(answer, "little", signed=True)
        if result:
            why = errno.errorcode.get(-result, str(result))
            raise MailboxRefused(f"{self._transport.name}: the host refuses {name}: {why}")
