"""Which queue pair a received frame goes to: by the flow's own transmit queue, or by a hash that the driver chose.

In here: ``Automatic`` and ``Rss``, which are the two receive steerings of the specification, and the hash report. The Toeplitz
hash itself is in ``emulators.nics.toeplitz``.

Sources: VIRTIO 1.3, 5.1.6.4 (hash calculation), 5.1.6.5.6 (automatic receive steering), 5.1.6.5.7 (RSS); linux/virtio_net.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from struct import error as StructError

from emulators.nics.toeplitz import Toeplitz
from regmodel.function import Buffer

IPV4, TCPV4, UDPV4, IPV6, TCPV6, UDPV6, IP_EX, TCP_EX, UDP_EX = (1 << bit for bit in range(9))
"""Hash types, VIRTIO_NET_RSS_HASH_TYPE_*: which headers are hashed."""
ALL_TYPES = (1 << 9) - 1
_REPORT = {IPV4: 1, TCPV4: 2, UDPV4: 3, IPV6: 4, TCPV6: 5, UDPV6: 6, IP_EX: 7, TCP_EX: 8, UDP_EX: 9}
"""VIRTIO_NET_HASH_REPORT_* by hash type; 0 says that there is no hash."""

FLOWS = 4096
"""Flows that are remembered; the next one forgets all."""
_TCP, _UDP = 6, 17
_IPV4 = Struct(">12xHBxHxxHxBxxII").unpack_from
_IPV4_PORTS = Struct(">HH").unpack_from
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options: 8 * (length + 1) octets
_VLAN, _IP, _IP6 = b"\x81\x00", b"\x08\x00", b"\x86\xdd"


@dataclass(frozen=True, slots=True)
class Flow:
    """What steering looks at. ``protocol`` is 0 when there are no ports; addresses and ports are source, then destination.

    ``extended``: addresses of IPv6 extension headers stand in for those of the header.
    """

    version: int
    protocol: int
    addresses: bytes
    ports: bytes
    extended: bytes = b""


def flow_of(frame: Buffer) -> Flow | None:
    """The flow of an IP frame behind one VLAN tag or none; None for all others."""
    kind, at = bytes(frame[12:14]), 14
    if kind == _VLAN:
        kind, at = bytes(frame[16:18]), 18
    if kind == _IP and len(frame) >= at + 20 and frame[at] >> 4 == 4:
        return _flow_v4(frame, at)
    if kind == _IP6 and len(frame) >= at + 40 and frame[at] >> 4 == 6:
        return _flow_v6(frame, at)
    return None


def _flow_v4(frame: Buffer, at: int) -> Flow | None:
    size = 4 * (frame[at] & 15)
    if size < 20:
        return None
    fragment = (frame[at + 6] << 8 | frame[at + 7]) & 0x3FFF
    protocol, ports = (0, b"") if fragment else _ports(frame, frame[at + 9], at + size)
    return Flow(4, protocol, bytes(frame[at + 12 : at + 20]), ports)


def _flow_v6(frame: Buffer, at: int) -> Flow:
    """With the home address (RFC 6275) and the last address of a routing header (RFC 6275, 6.4) where there are any."""
    source, target = bytes(frame[at + 8 : at + 24]), bytes(frame[at + 24 : at + 40])
    protocol, l4 = frame[at + 6], at + 40
    home, last = b"", b""
    while protocol in _EXTENSIONS and l4 + 8 <= len(frame):
        size = 8 * (frame[l4 + 1] + 1)
        if protocol == 60 and size >= 24 and frame[l4 + 2 : l4 + 8 : 1][:1] == b"\xc9" and l4 + 20 <= len(frame):
            home = bytes(frame[l4 + 4 : l4 + 20])
        if protocol == 43 and frame[l4 + 2] == 2 and l4 + 24 <= len(frame):
            last = bytes(frame[l4 + 8 : l4 + 24])
        protocol, l4 = frame[l4], l4 + size
    protocol, ports = _ports(frame, protocol, l4)
    return Flow(6, protocol, source + target, ports, (home or source) + (last or target) if home or last else b"")


def _ports(frame: Buffer, protocol: int, at: int) -> tuple[int, bytes]:
    if protocol in (_TCP, _UDP) and at + 4 <= len(frame):
        return protocol, bytes(frame[at : at + 4])
    return 0, b""


class Automatic:
    """Automatic receive steering over ``pairs`` queue pairs: frames of a flow go where its own frames come from."""

    def __init__(self, pairs: int = 1) -> None:
        self.pairs = pairs
        self._flows: dict[int, int] = {}

    def learn(self, frames: Sequence[Buffer], pair: int) -> None:
        """These were sent by transmit queue ``pair``."""
        if self.pairs > 1:
            if len(self._flows) > FLOWS:
                self._flows.clear()
            self._flows.update(dict.fromkeys(map(_key, frames), pair))

    def pair(self, frame: Buffer) -> int:
        """The pair for ``frame``; a flow that sent nothing yet goes to one by its addresses."""
        key = _key(frame)
        found = self._flows.get(key)
        return key % self.pairs if found is None or found >= self.pairs else found


def _key(frame: Buffer) -> int:
    """The same number for both directions of a flow; 0 for what is no flow."""
    try:
        kind, first, _, fragment, protocol, source, target = _IPV4(frame)
    except StructError:
        return 0
    if kind == 0x0800 and first >> 4 == 4:
        key: int = source ^ target
        if protocol in (_TCP, _UDP) and not fragment & 0x3FFF:
            at = 14 + 4 * (first & 15)
            if at + 4 <= len(frame):
                one, other = _IPV4_PORTS(frame, at)
                key ^= (one ^ other) << 16 | one + other
        return key
    flow = flow_of(frame)
    if flow is None:
        return 0
    half = len(flow.addresses) // 2
    addresses = int.from_bytes(flow.addresses[:half], "big") ^ int.from_bytes(flow.addresses[half:], "big")
    return addresses ^ (int.from_bytes(flow.ports[:2], "big") ^ int.from_bytes(flow.ports[2:], "big"))


@dataclass(frozen=True)
class Rss:
    """What VIRTIO_NET_CTRL_MQ_RSS_CONFIG (with a ``table``) or HASH_CONFIG (without) set.

    ``types`` are hash types, ``key`` has 40 octets, ``table`` a power of two of receive queue pairs, which the hash indexes;
    ``unclassified`` is the pair of frames that have no hash.
    """

    types: int
    key: bytes
    table: Sequence[int] = ()
    unclassified: int = 0
    pairs: int = 1

    @cached_property
    def _toeplitz(self) -> Toeplitz:
        return Toeplitz(self.key)

    def hash(self, frame: Buffer) -> tuple[int, int]:
        """(report, hash) of a frame; (0, 0) when it is of no type that is hashed."""
        flow = flow_of(frame)
        if flow is None:
            return 0, 0
        for kind, data in self._inputs(flow):
            if self.types & kind:
                return _REPORT[kind], self._toeplitz.hash(data)
        return 0, 0

    @staticmethod
    def _inputs(flow: Flow) -> list[tuple[int, bytes]]:
        """Hash types that fit a flow, with what they hash, the first of them that is enabled counts (5.1.6.4.3)."""
        if flow.version == 4:
            with_ports, plain = {_TCP: TCPV4, _UDP: UDPV4, 0: 0}[flow.protocol], IPV4
            inputs: list[tuple[int, bytes]] = []
        else:
            with_ports, plain = {_TCP: TCPV6, _UDP: UDPV6, 0: 0}[flow.protocol], IPV6
            addresses = flow.extended or flow.addresses
            inputs = [({_TCP: TCP_EX, _UDP: UDP_EX, 0: 0}[flow.protocol], addresses + flow.ports)]
        inputs.append((with_ports, flow.addresses + flow.ports))
        if flow.version == 6:
            inputs.append((IP_EX, flow.extended or flow.addresses))
        inputs.append((plain, flow.addresses))
        return inputs

    def pair(self, frame: Buffer) -> int:
        """The pair for ``frame`` by the table."""
        report, value = self.hash(frame)
        return self.table[value & len(self.table) - 1] if report and self.table else self.unclassified
