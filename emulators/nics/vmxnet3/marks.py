"""What a receive completion says of its frame: protocols, checksums, RSS hash, VLAN tag, and what was put together.

In here: from a frame to the bits of its last completion. No rings. What a parser finds in a frame is the same for all NICs.

Sources: vmxnet3_defs.h struct Vmxnet3_RxCompDesc; Linux vmxnet3_drv.c ``vmxnet3_rx_csum``, which believes a checksum only
where IP and TCP or UDP are right; QEMU hw/net/vmxnet3.c ``vmxnet3_rx_update_descr``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from emulators.fabric.frames import HEADER, TAG, VLAN_TYPE
from emulators.fabric.offload import Partial, find_headers, finish
from emulators.nics.igb.headers import (
    IPCS,
    IPE,
    IPV4,
    IPV4_OPTIONS,
    IPV6,
    IPV6_EXTENDED,
    L4CS,
    L4E,
    TCP,
    UDP,
    examine_all,
    parse,
)
from emulators.nics.igb.words import mask, place
from emulators.nics.toeplitz import Toeplitz
from emulators.nics.vmxnet3.shared import RssConf
from regmodel.function import Buffer
from regmodel.rings.vmxnet3 import RX_COMP, RX_COMP_EXT
from regmodel.structures.vmxnet3 import HashType, RssField

_CNC, _RSS_TYPE, _HASH = mask(RX_COMP, "index", "cnc"), place(RX_COMP, "index", "rssType"), place(RX_COMP, "rssHash")
_TS, _TCI = mask(RX_COMP, "data", "ts"), place(RX_COMP, "data", "tci")
_TUC, _UDP, _TCP, _IPC, _V6, _V4, _FCS = (mask(RX_COMP, "what", f) for f in ("tuc", "udp", "tcp", "ipc", "v6", "v4", "fcs"))
_TYPE = place(RX_COMP, "what", "type")
RXCOMP, RXCOMP_LRO = 3 << _TYPE.shift, 4 << _TYPE.shift
_SEGMENTS, _MSS = place(RX_COMP_EXT, "segCnt"), place(RX_COMP_EXT, "what", "mss")
_ANY_V4, _ANY_V6 = IPV4 | IPV4_OPTIONS, IPV6 | IPV6_EXTENDED
NO_HASH, BY_IPV4, BY_TCPIPV4, BY_IPV6, BY_TCPIPV6, BY_UDPIPV4, BY_UDPIPV6 = range(7)
"""RxCompDesc.rssType."""


class Mark(NamedTuple):
    """Bits of the last completion, in place in its two words. A large packet is ``segments`` of ``mss`` octets of payload,
    each behind ``header`` octets.
    """

    low: int
    high: int
    segments: int = 0
    mss: int = 0
    header: int = 0

    def lro(self) -> tuple[int, int]:
        """What the first completion says of that: bits of both words."""
        return min(self.segments, _SEGMENTS.ones) << _SEGMENTS.shift, self.mss << _MSS.shift | RXCOMP_LRO


@cache
def _judged(kind: int, status: int, believed: bool) -> Mark:
    """What the parser found, in the words of this family."""
    high = _FCS | RXCOMP
    high |= _V4 if kind & _ANY_V4 else _V6 if kind & _ANY_V6 else 0
    high |= _TCP if kind & TCP else _UDP if kind & UDP else 0
    if not believed or not status & (IPCS | L4CS):
        return Mark(_CNC, high)
    if status & IPCS and not status & IPE:
        high |= _IPC
    if status & L4CS and not status & L4E and kind & (TCP | UDP):
        high |= _TUC
    return Mark(0, high)


def look(frames: Sequence[Buffer], believed: bool) -> tuple[list[Mark], bool]:
    """The marks of finished frames; whether none of them can have a tag. ``believed``: the driver wants checksums verified."""
    found, plain = examine_all(frames)
    if len(set(found)) == 1:
        return [_judged(*found[0], believed)] * len(found), plain
    return [_judged(kind, status, believed) for kind, status in found], plain


def look_partial(frame: Buffer, believed: bool) -> tuple[Buffer, Mark]:
    """The same for one frame that may be partial: its checksum is filled in, or it stays large."""
    if not isinstance(frame, Partial):
        return frame, look((frame,), believed)[0][0]
    headers = find_headers(frame) if frame.offload.gso else None
    if headers is not None:
        size = frame.offload.gso_size
        high = _FCS | RXCOMP | _TUC | _TCP | (_V4 | _IPC if headers.ipv4 else _V6)
        return frame, Mark(0, high, -(-(len(frame) - headers.end) // size), size, headers.end)
    whole = finish(frame)[0]
    kind = parse(whole).kind
    status = (IPCS if kind & _ANY_V4 else 0) | L4CS
    return whole, _judged(kind, status, believed)


def untag(frame: Buffer, mark: Mark) -> tuple[Buffer, Mark]:
    """RXVLAN: the tag leaves the frame for the completion."""
    if frame[12:14] != VLAN_TYPE or len(frame) < HEADER + TAG:
        return frame, mark
    tci = frame[14] << 8 | frame[15]
    return b"".join((frame[:12], frame[16:])), mark._replace(high=mark.high | _TS | tci << _TCI.shift)


class Rss:
    """Which queue a frame goes to, and its hash: the configuration, and the fields that revision 4 adds."""

    def __init__(self, conf: RssConf, fields: RssField) -> None:
        self._hash = Toeplitz(conf.key).hash
        self._table, self._entries = conf.table, len(conf.table)
        types = HashType(conf.types & sum(HashType))
        self._v4, self._v6 = bool(types & HashType.IPV4), bool(types & HashType.IPV6)
        self._tcp4, self._tcp6 = bool(types & HashType.TCP_IPV4), bool(types & HashType.TCP_IPV6)
        self._udp4, self._udp6 = bool(fields & RssField.UDPIP4), bool(fields & RssField.UDPIP6)

    def spread(self, frame: Buffer, mark: Mark) -> tuple[int, Mark]:
        """The queue, and the mark with type and hash."""
        kind, value = self.of(frame)
        if kind == NO_HASH:
            return self._table[0], mark
        low = mark.low | kind << _RSS_TYPE.shift | value << _HASH.shift
        return self._table[value % self._entries], mark._replace(low=low)

    def of(self, frame: Buffer) -> tuple[int, int]:
        """(RxCompDesc.rssType, hash)."""
        header = parse(frame)
        if header.kind & _ANY_V4:
            tcp, udp, plain = self._tcp4, self._udp4, self._v4
            kinds, addresses = (BY_TCPIPV4, BY_UDPIPV4, BY_IPV4), frame[header.ip + 12 : header.ip + 20]
        elif header.kind & _ANY_V6:
            tcp, udp, plain = self._tcp6, self._udp6, self._v6
            kinds, addresses = (BY_TCPIPV6, BY_UDPIPV6, BY_IPV6), frame[header.ip + 8 : header.ip + 40]
        else:
            return NO_HASH, 0
        ports = frame[header.l4 : header.l4 + 4]
        if header.kind & TCP and tcp:
            return kinds[0], self._hash(bytes(addresses) + ports)
        if header.kind & UDP and udp:
            return kinds[1], self._hash(bytes(addresses) + ports)
        return (kinds[2], self._hash(addresses)) if plain else (NO_HASH, 0)
