"""What a transmit descriptor asks to be done to a packet: a checksum, segmentation, either of them inside of a tunnel.

In here: functions from a packet and the numbers of its descriptor to frames. What needs nothing but a checksum or a cut is
left to the fabric as a partial frame, for a neighbour may take it as it is; tunnels are cut here, for no neighbour knows them.

Sources: Linux vmxnet3_drv.c ``vmxnet3_parse_hdr``, ``vmxnet3_prepare_tso``, ``vmxnet3_prepare_inner_tso``, ``vmxnet3_tq_xmit``:
what drivers leave in the headers (for TSO: no IPv4 checksum, and a pseudo header's sum without the length).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from emulators.fabric.checksums import fold, ones_sum
from emulators.fabric.offload import SEGMENTS, Gso, Offload, Partial
from emulators.fabric.segmentation import TCP_CHECKSUM, UDP_CHECKSUM, Headers, segment
from regmodel.function import Buffer

_U16 = Struct(">H")
_VLAN, _IPV4, _IPV6 = 0x8100, 0x0800, 0x86DD
_TCP, _UDP = 6, 17
_VXLAN, _GENEVE, _ETHERNET = 4789, 6081, 0x6558
_CWR = 0x80


class OffloadError(Exception):
    """A descriptor asks for what its packet cannot give. ``kind`` names the diagnosis."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Layer(NamedTuple):
    """An IP header and what is behind it, as offsets in octets; ``protocol`` is that of layer 4."""

    ip: int
    l4: int
    ipv4: bool
    protocol: int


class Cut(NamedTuple):
    """The frames of a large packet, and how many packets and octets they are on a wire."""

    frames: list[Buffer]
    packets: int
    octets: int


def checksum(packet: Buffer, start: int, at: int) -> Partial:
    """OM_CSUM: the sum from ``start`` on belongs at ``at``, where the pseudo header's is. Raises ``OffloadError``."""
    if not start <= at <= len(packet) - 2 or start < 14:
        raise OffloadError("tx-checksum-outside")
    return Partial(packet, _sum(start, at - start))


@lru_cache(maxsize=64)
def _sum(start: int, offset: int) -> Offload:
    return Offload(needs_csum=True, csum_start=start, csum_offset=offset)


def large(packet: bytearray, header: int, size: int) -> Cut:
    """OM_TSO: ``header`` octets of headers, then pieces of ``size`` octets; changes ``packet``. Raises ``OffloadError``."""
    layer = _layer(packet, 14)
    payload = len(packet) - header
    if layer.protocol != _TCP or not layer.l4 + 20 <= header < len(packet):
        raise OffloadError("tx-segmentation-headers")
    pieces = _pieces(payload, size)
    length = len(packet) - layer.l4
    at = layer.l4 + TCP_CHECKSUM
    _U16.pack_into(packet, at, fold(_U16.unpack_from(packet, at)[0] + (length >> 16) + (length & 0xFFFF)))
    if layer.ipv4:
        packet[layer.ip + 10 : layer.ip + 12] = b"\0\0"
        _U16.pack_into(packet, layer.ip + 10, ones_sum(packet[layer.ip : layer.l4]) ^ 0xFFFF)
    gso = Gso.NONE if pieces == 1 else Gso.TCPV4 if layer.ipv4 else Gso.TCPV6
    what = _segments(layer.l4, gso, bool(packet[layer.l4 + 13] & _CWR), size, header)
    return Cut([Partial(packet, what)], pieces, pieces * header + payload)


@lru_cache(maxsize=1024)
def _segments(start: int, gso: Gso, ecn: bool, size: int, header: int) -> Offload:
    if not gso:
        return Offload(True, start, TCP_CHECKSUM, ecn=ecn)
    return Offload(True, start, TCP_CHECKSUM, gso, ecn, size, header)


def inner_checksum(packet: Buffer) -> Partial:
    """OM_ENCAP without a segment size: the checksum of the inner TCP or UDP. Raises ``OffloadError``."""
    _, inner = _tunnel(packet)
    place = {_TCP: TCP_CHECKSUM, _UDP: UDP_CHECKSUM}.get(inner.protocol)
    if place is None:
        raise OffloadError("tx-tunnel-headers")
    return checksum(packet, inner.l4, inner.l4 + place)


def inner_large(packet: Buffer, header: int, size: int, outer_checksum: bool) -> Cut:
    """OM_ENCAP, or OM_TSO with ext1: pieces of the inner TCP, each in a tunnel packet of its own. Raises ``OffloadError``."""
    outer, inner = _tunnel(packet)
    if inner.protocol != _TCP or not inner.l4 + 20 <= header < len(packet):
        raise OffloadError("tx-segmentation-headers")
    pieces = _pieces(len(packet) - header, size)
    cut = segment(packet, Headers(inner.ip, inner.l4, header, inner.ipv4, True), size)
    identification = _U16.unpack_from(packet, outer.ip + 4)[0]
    frames: list[Buffer] = [
        _wrapped(bytearray(frame), outer, identification + i, outer_checksum) for i, frame in enumerate(cut)
    ]
    return Cut(frames, pieces, sum(map(len, frames)))


def _pieces(payload: int, size: int) -> int:
    if size == 0:
        raise OffloadError("tx-segmentation-size")
    pieces = max(-(-payload // size), 1)
    if pieces > SEGMENTS:
        raise OffloadError("tx-segments-too-many")
    return pieces


def _wrapped(frame: bytearray, outer: Layer, identification: int, with_checksum: bool) -> bytearray:
    """The outer headers of one segment: lengths, IPv4 identification, checksums."""
    udp = len(frame) - outer.l4
    _U16.pack_into(frame, outer.l4 + 4, udp)
    _U16.pack_into(frame, outer.l4 + UDP_CHECKSUM, 0)
    if outer.ipv4:
        _U16.pack_into(frame, outer.ip + 2, len(frame) - outer.ip)
        _U16.pack_into(frame, outer.ip + 4, identification & 0xFFFF)
        _U16.pack_into(frame, outer.ip + 10, 0)
        _U16.pack_into(frame, outer.ip + 10, ones_sum(frame[outer.ip : outer.l4]) ^ 0xFFFF)
        addresses = frame[outer.ip + 12 : outer.ip + 20]
    else:
        _U16.pack_into(frame, outer.ip + 4, len(frame) - outer.ip - 40)
        addresses = frame[outer.ip + 8 : outer.ip + 40]
    if with_checksum:
        total = fold(ones_sum(addresses) + _UDP + udp + ones_sum(frame[outer.l4 :])) ^ 0xFFFF
        _U16.pack_into(frame, outer.l4 + UDP_CHECKSUM, total or 0xFFFF)
    return frame


def _layer(packet: Buffer, at: int) -> Layer:
    """The IP header of the Ethernet frame whose header ends at ``at``; a tag may be in front. Raises ``OffloadError``."""
    try:
        (kind,) = _U16.unpack_from(packet, at - 2)
        if kind == _VLAN:
            at += 4
            (kind,) = _U16.unpack_from(packet, at - 2)
        if kind == _IPV4 and packet[at] >> 4 == 4 and packet[at] & 15 >= 5:
            return Layer(at, at + 4 * (packet[at] & 15), True, packet[at + 9])
        if kind == _IPV6 and packet[at] >> 4 == 6:
            return Layer(at, at + 40, False, packet[at + 6])
    except (IndexError, StructError):
        pass
    raise OffloadError("tx-no-ip")


def _tunnel(packet: Buffer) -> tuple[Layer, Layer]:
    """The outer IP and UDP, and the inner IP, of a VXLAN or Geneve packet. Raises ``OffloadError``."""
    outer = _layer(packet, 14)
    at = outer.l4 + 8
    if outer.protocol != _UDP or at + 8 > len(packet):
        raise OffloadError("tx-tunnel-headers")
    (port,) = _U16.unpack_from(packet, outer.l4 + 2)
    if port == _VXLAN:
        return outer, _layer(packet, at + 8 + 14)
    if port == _GENEVE and _U16.unpack_from(packet, at + 2)[0] == _ETHERNET:
        return outer, _layer(packet, at + 8 + 4 * (packet[at] & 0x3F) + 14)
    raise OffloadError("tx-tunnel-headers")
