"""Receive side scaling for the two queues of an 82576 VF: which queue a frame goes to, and the hash in its descriptor.

In here: which headers are hashed, and the table; the Toeplitz hash itself is in ``emulators.nics.toeplitz``. The key, the table
and the types are registers of the PF (RSSRK, RETA, MRQC), and so is the switch per pool (VMOLR.RSSE), which stock ``igb`` sets
for its own pool only: a VF under it gets no RSS and all of its frames in queue 0. Whoever models another PF hands one of these
to the VF.

Sources: 82576 datasheet, chapter 7.1 (RSS; VMDq with RSS, where the lowest bit of a table entry picks the queue of the
pool); Linux igb/igb_main.c ``igb_set_vmolr``; QEMU hw/net/igb_core.c ``igb_rss_get_hash_type``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from emulators.nics.igb.headers import IPV4, IPV4_OPTIONS, IPV6, IPV6_EXTENDED, TCP, UDP, parse
from emulators.nics.toeplitz import Toeplitz
from regmodel.function import Buffer

NONE, TCP_V4, V4, TCP_V6, V6_EX, V6, TCP_V6_EX, UDP_V4, UDP_V6, UDP_V6_EX = range(10)
"""RSS types of the write-back (82576 datasheet, advanced receive descriptor)."""


@dataclass(frozen=True)
class Rss:
    """``key`` of 40 bytes, ``table`` of 128 queues, ``types`` that are hashed (MRQC; here without the EX forms)."""

    key: bytes
    table: Sequence[int]
    types: frozenset[int] = frozenset({TCP_V4, V4, TCP_V6, V6})

    @cached_property
    def _toeplitz(self) -> Toeplitz:
        return Toeplitz(self.key)

    def toeplitz(self, data: Buffer) -> int:
        """The hash of at most 36 bytes."""
        return self._toeplitz.hash(data)

    def hash(self, frame: Buffer) -> tuple[int, int]:
        """(RSS type, hash) of a frame; (0, 0) when it is of no type that is hashed."""
        header = parse(frame)
        kind, ip = header.kind, header.ip
        if kind & (IPV4 | IPV4_OPTIONS):
            with_tcp, with_udp, plain, addresses = TCP_V4, UDP_V4, V4, frame[ip + 12 : ip + 20]
        elif kind & (IPV6 | IPV6_EXTENDED):
            with_tcp, with_udp, plain, addresses = TCP_V6, UDP_V6, V6, frame[ip + 8 : ip + 40]
        else:
            return NONE, 0
        ports = frame[header.l4 : header.l4 + 4]
        if kind & TCP and with_tcp in self.types:
            return with_tcp, self.toeplitz(bytes(addresses) + ports)
        if kind & UDP and with_udp in self.types:
            return with_udp, self.toeplitz(bytes(addresses) + ports)
        return (plain, self.toeplitz(addresses)) if plain in self.types else (NONE, 0)

    def queue(self, frame: Buffer) -> int:
        """Which of the two queues of the pool."""
        kind, value = self.hash(frame)
        return self.table[value & 0x7F] & 1 if kind else 0
