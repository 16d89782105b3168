"""The mailbox to the PF: one message at a time through sixteen shared words, and three bits that say what happened to it.

In here: taking and giving back the memory, sending, waiting, what a reply may look like, and what the PF says unasked. Not in
here: when which message is sent; that is ``device``.

Sources: DS 7.10.2.9; Linux igbvf/mbx.c, function by function as noted; ``regmodel.mailboxes.igb`` for the messages.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Literal

from drivers.errors import MailboxRefused, MailboxTimeout, UnsupportedReply
from drivers.registers.igbvf import Igbvf
from drivers.transports import Transport
from regmodel.bits import Field
from regmodel.catalogue import Mailbox as Description
from regmodel.catalogue import Message

TIMEOUT = 1.0
"""Seconds for an acknowledgement and for a reply: 2000 times 500 us (mbx.h ``E1000_VF_MBX_INIT_TIMEOUT``)."""
LOCK_TRIES, LOCK_PAUSE = 10, 1e-3
"""How often and in which steps, in seconds, the memory is asked for (mbx.c ``e1000_obtain_mbx_lock_vf``)."""
SHORTEST, LONGEST = 20e-6, 1e-3
"""Seconds between two looks at the register, doubled each time."""
OVERTAKEN = 0.01
"""Seconds that a reply is still waited for after the PF has said something else: it may have written over the reply."""
TRIES = 3


class PfWasReset(MailboxTimeout):
    """The PF went through a reset while it was asked something: the VF has to be reset, too."""


class Mailbox:
    """``lost``: the PF does not listen to us any more and will not until we have gone through a reset."""

    def __init__(self, registers: Igbvf, transport: Transport, description: Description) -> None:
        self._box, self._memory, self._transport = registers.v2pmailbox, registers.vmbmem, transport
        self._messages: Mapping[str, Message] = {message.name: message for message in description.messages}
        self._control = self._messages["pf_control"].number
        self._reset = self._messages["reset"].number
        _, bar = registers.description.register_bar("v2pmailbox")
        fields: Mapping[str, Field] = bar.entries["v2pmailbox"].named
        self._rstd = fields["rstd"].mask
        self.lost = False
        self.sent = self.received = self.refused = self.resets_seen = 0

    # -- conversations

    def ask(self, name: str, header: Mapping[str, int] | None = None, **body: Any) -> Any:
        """Send message ``name`` and return the parsed reply. ``header`` are fields of its first word.

        Raises ``MailboxRefused`` (NACK), ``MailboxTimeout``, ``PfWasReset``, ``UnsupportedReply``.
        """
        message = self._messages[name]
        data = message.schema.build({"header": {"number": message.number, **(header or {})}, **body})
        words = struct.unpack(f"<{len(data) // 4}I", data)
        try:
            for _ in range(TRIES):
                self._send(words, name)
                reply = self._answer(message)
                if reply is not None:
                    return reply
            raise MailboxTimeout(f"the PF talks over its reply to {name}, {TRIES} times in a row; see to the PF's driver")
        except MailboxTimeout:
            self.lost = True  # as in Linux, nothing more is asked until a reset has worked
            raise

    def _answer(self, message: Message) -> Any:
        """The reply, or None when the PF sent something unasked instead, which may have overwritten it."""
        schema = self._messages[f"{message.name}_reply"].schema
        timeout = TIMEOUT
        while True:
            try:
                data = self._receive(int(schema.sizeof()) // 4, f"reply to {message.name}", timeout)
            except PfWasReset:
                raise
            except MailboxTimeout:
                if timeout == TIMEOUT:
                    raise
                return None
            reply = schema.parse(data)
            if reply.header.number != self._control:
                self._judge(message, reply.header)
                return reply
            self._unasked(data)
            timeout = OVERTAKEN

    def _judge(self, message: Message, header: Any) -> None:
        """A reply repeats the number of its message and says ACK or NACK; CTS is missing when the PF has forgotten us
        (igb/igb_main.c ``igb_rcv_msg_from_vf``). The reply to RESET has no CTS, and its NACK means that there is no address."""
        said = f"{'ACK ' * header.ack}{'NACK ' * header.nack}{'CTS ' * header.cts}to message {header.number:#x}"
        if header.nack and not header.cts and message.number != self._reset:
            self.lost, self.refused = True, self.refused + 1
            raise MailboxRefused(f"the PF does not listen: it answered {message.name} with {said}; call reset()")
        if header.number != message.number or header.ack == header.nack:
            raise UnsupportedReply(f"the PF answered {message.name} with {said}: this driver does not speak its language")
        if header.nack and message.number != self._reset:
            self.refused += 1
            raise MailboxRefused(f"the PF refuses {message.name}; its driver's log or `ip link show` on the host may say why")

    # -- what the PF says unasked

    def look(self) -> bool:
        """Whether anything has happened that nobody waited for. Sees resets of the PF and control messages: ``lost``.

        vf.c ``e1000_check_for_link_vf``; DPDK igb_ethdev.c ``igbvf_mbx_process``.
        """
        seen = self._box.fields()
        if seen["rsti"] or seen["rstd"]:
            self.lost = True
            self.resets_seen += seen["rstd"]
        if seen["pfsts"]:
            self._take()
        return bool(seen["rsti"] or seen["rstd"] or seen["pfsts"] or seen["pfack"])

    def _take(self) -> None:
        """Read and acknowledge a message that nobody waits for."""
        if self._locked():
            word = self._memory[0].read()
            self._box.write(ack=1)
            self._unasked(struct.pack("<I", word))

    def _unasked(self, data: bytes) -> None:
        """A control message without CTS, or a bare refusal: the PF has been reset, or has given up on us."""
        self.received += 1
        header = self._messages["pf_control"].schema.parse(data[:4]).header
        known = header.number == self._control or (header.number == 0 and header.nack)
        if known and not header.cts:
            self.lost = True

    # -- the hardware

    def _locked(self) -> bool:
        """Take the memory; False while the PF has it (mbx.c ``e1000_obtain_mbx_lock_vf``)."""
        for _ in range(LOCK_TRIES):
            self._box.write(vfu=1)
            if self._box.vfu:
                return True
            self._transport.sleep(LOCK_PAUSE)
        return False

    def _lock(self) -> None:
        if not self._locked():
            held = f"{LOCK_TRIES * LOCK_PAUSE * 1e3:g} ms"
            raise MailboxTimeout(f"the PF has kept the mailbox for {held}; see to the PF's driver, then call reset()")

    def _send(self, words: tuple[int, ...], name: str) -> None:
        """mbx.c ``e1000_write_posted_mbx``: forget what was pending, store, REQ (which gives the memory back), see PFACK."""
        self._lock()
        self._box.take("pfack")
        self._box.take("pfsts")
        self._memory.write_words(words)
        self._box.write(req=1)
        self.sent += 1
        self._await("pfack", f"acknowledgement of {name}", TIMEOUT)

    def _receive(self, count: int, what: str, timeout: float) -> bytes:
        """mbx.c ``e1000_read_posted_mbx``: wait for PFSTS, take the memory, read, ACK (which gives it back)."""
        self._await("pfsts", what, timeout)
        self._lock()
        words = self._memory.read_words(count)
        self._box.write(ack=1)
        self.received += 1
        return struct.pack(f"<{count}I", *words)

    def _await(self, bit: Literal["pfsts", "pfack"], what: str, timeout: float) -> None:
        transport, pause = self._transport, SHORTEST
        end = transport.now() + timeout
        while True:
            late = transport.now() >= end  # asked before the access, so that the last look is behind the deadline
            if self._box.take(bit):
                return
            if self._box.latched & self._rstd:
                raise PfWasReset(f"the PF was reset before there was any {what}; call reset()")
            if late:
                raise MailboxTimeout(f"no {what} within {timeout:g} s; is the PF's driver up? Then call reset()")
            transport.sleep(pause)
            pause = min(2 * pause, LONGEST)
