"""Frames that are not finished: a checksum to be filled in, or a segment larger than the wire takes.

Paravirtual NICs and the kernel's TAP hand over such frames and take them: a stack that sends 64 KiB to its neighbour on the
same host should not have it cut and summed on the way. A ``Partial`` is a frame with an ``Offload``, which says what is
left to be done, in virtio's terms; any other frame is finished. Whoever takes partial frames says so by ``Takes``; for all
others the switch finishes them.

In here: what such a frame is, whether it makes sense, and how it is finished. Who gets which is decided in ``switch``.

Sources: VIRTIO 1.2, 5.1.6 (struct virtio_net_hdr); linux/virtio_net.h; linux/if_tun.h (TUN_F_*).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Flag, IntEnum, auto
from struct import Struct
from typing import ClassVar, NamedTuple

from emulators.fabric.checksums import ones_sum
from emulators.fabric.frames import HEADER, insert_tag, padded
from emulators.fabric.segmentation import TCP_CHECKSUM, UDP_CHECKSUM, Headers, segment
from regmodel.function import Buffer

SEGMENTS = 2048
"""The most that one frame may be cut into: 64 KiB in pieces of less than 48 octets (Linux net/tcp.h TCP_MIN_SND_MSS) are
an attack rather than a packet."""

_U16 = Struct(">H")
_TCP, _UDP = 6, 17
_IPV4, _IPV6, _VLAN, _SERVICE_VLAN = 0x0800, 0x86DD, 0x8100, 0x88A8
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options (RFC 8200, 4): 8 * (length + 1) octets


class Gso(IntEnum):
    """What kind of segments a frame is to be cut into; numbered as in virtio (VIRTIO_NET_HDR_GSO_*)."""

    NONE = 0
    TCPV4 = 1
    UDP = 3  # IPv4 fragments of UDP (UFO), which no current driver makes
    TCPV6 = 4
    UDP_L4 = 5


class Takes(Flag):
    """Which partial frames somebody takes as they are."""

    NONE = 0
    CSUM = auto()
    TSO4 = auto()
    TSO6 = auto()
    ECN = auto()
    """TCP segments whose first carries CWR."""
    USO = auto()
    ALL = CSUM | TSO4 | TSO6 | ECN | USO

    @property
    def names(self) -> list[str]:
        """In lower case, JSON-able."""
        return [str(take.name).lower() for take in self]


class Offload(NamedTuple):
    """What is left to be done to a frame. Offsets and sizes in octets from its start, tag included.

    ``needs_csum``: the ones' complement sum from ``csum_start`` to the end is to be stored, complemented, at ``csum_start +
    csum_offset``, where the sum of the pseudo header stands now. With ``gso``, cut the payload behind ``hdr_len`` octets of
    headers (a hint, as in virtio) into pieces of ``gso_size``. ``valid``: nothing is left to be done, and somebody has
    verified the checksum already.
    """

    needs_csum: bool = False
    csum_start: int = 0
    csum_offset: int = 0
    gso: Gso = Gso.NONE
    ecn: bool = False
    gso_size: int = 0
    hdr_len: int = 0
    valid: bool = False

    @property
    def needs(self) -> Takes:
        """What somebody has to take who takes this as it is."""
        return _NEEDS[self.gso] | Takes.ECN if self.ecn and self.gso else _NEEDS[self.gso]

    def shifted(self, octets: int) -> Offload:
        """The same for a frame with ``octets`` more (or fewer) in front of the IP header: a tag put in, or taken out."""
        return self._replace(
            csum_start=self.csum_start + octets if self.needs_csum else 0,
            hdr_len=self.hdr_len + octets if self.hdr_len else 0,
        )


_NEEDS = {
    Gso.NONE: Takes.CSUM,
    Gso.TCPV4: Takes.CSUM | Takes.TSO4,
    Gso.TCPV6: Takes.CSUM | Takes.TSO6,
    Gso.UDP_L4: Takes.CSUM | Takes.USO,
    Gso.UDP: Takes.ALL,  # nobody makes it, see ``sound``
}
_CUT: dict[Gso, tuple[int, tuple[tuple[int, int], ...]]] = {
    Gso.TCPV4: (_TCP, ((_IPV4, 4),)),
    Gso.TCPV6: (_TCP, ((_IPV6, 6),)),
    Gso.UDP_L4: (_UDP, ((_IPV4, 4), (_IPV6, 6))),
}
"""What is cut: the protocol, and the Ethernet types it is found behind, each with its IP version."""

class Partial(bytes):
    """A frame and what is left to be done to it. It owns its octets, so it may be kept."""

    exist: ClassVar[bool] = False
    """Whether this process has made any. Until then nobody has to look for them, which costs 14 ns a frame."""

    offload: Offload
    headers: Headers | None
    """What ``find_headers`` has found, once it has: several on a frame's way ask."""

    def __new__(cls, frame: Buffer, offload: Offload) -> Partial:
        self = super().__new__(cls, frame)
        self.offload = offload
        Partial.exist = True
        return self


def has_partial(frames: Sequence[Buffer]) -> bool:
    """Whether there is one among ``frames``."""
    return Partial.exist and Partial in set(map(type, frames))


def tagged(frame: Buffer, tag: bytes) -> Buffer:
    """``insert_tag`` for frames of which some are partial."""
    with_tag = insert_tag(frame, tag)
    return Partial(with_tag, frame.offload.shifted(len(tag))) if isinstance(frame, Partial) else with_tag


def on_wire(frame: Buffer) -> Buffer:
    """``padded``, but for a partial frame, which is no frame on a wire yet."""
    return frame if isinstance(frame, Partial) else padded(frame)


def sound(frame: Partial) -> bool:
    """Whether what is left to be done can be done: the headers are what the offload says that they are."""
    offload = frame.offload
    if offload.gso:
        return find_headers(frame) is not None
    if offload.needs_csum:
        return offload.csum_start >= HEADER and offload.csum_start + offload.csum_offset + 2 <= len(frame)
    return True


def find_headers(frame: Partial) -> Headers | None:
    """Where the headers of a frame to be cut are; None when they are not what its offload says."""
    try:
        return frame.headers
    except AttributeError:
        frame.headers = found = _find_headers(frame)
        return found


def _find_headers(frame: Partial) -> Headers | None:
    offload = frame.offload
    try:
        headers = _headers(frame, offload.gso)
    except IndexError:  # it ends within them
        return None
    if headers is None or not offload.needs_csum or headers.end > len(frame):
        return None
    place = TCP_CHECKSUM if headers.tcp else UDP_CHECKSUM
    right = (offload.csum_start, offload.csum_offset) == (headers.l4, place)
    return headers if right and offload.gso_size > 0 and len(frame) - headers.end <= offload.gso_size * SEGMENTS else None


def _headers(frame: bytes, gso: Gso) -> Headers | None:
    """The headers of a TCP or UDP packet, behind any number of tags, if it is of the kind that ``gso`` cuts."""
    at = HEADER - 2
    while (kind := frame[at] << 8 | frame[at + 1]) in (_VLAN, _SERVICE_VLAN):
        at += 4
    ip = at + 2
    protocol_cut, kinds = _CUT.get(gso, (0, ()))
    if (kind, frame[ip] >> 4) not in kinds:
        return None
    if kind == _IPV4:
        protocol, l4 = frame[ip + 9], ip + 4 * (frame[ip] & 15)
        if l4 < ip + 20 or (frame[ip + 6] & 0x3F) | frame[ip + 7]:  # what is a fragment already is not cut
            return None
    else:
        protocol, l4 = frame[ip + 6], ip + 40
        while protocol in _EXTENSIONS:
            protocol, l4 = frame[l4], l4 + 8 * (frame[l4 + 1] + 1)
    tcp = protocol == _TCP
    size = 4 * (frame[l4 + 12] >> 4) if tcp else 8
    return Headers(ip, l4, l4 + size, kind == _IPV4, tcp) if protocol == protocol_cut and size >= (20 if tcp else 8) else None


def wire_size(frame: Buffer) -> int:
    """Octets of the longest frame that ``frame``, which is sound, is on a wire."""
    if not isinstance(frame, Partial) or not frame.offload.gso:
        return len(frame)
    headers = find_headers(frame)
    return len(frame) if headers is None else min(len(frame), headers.end + frame.offload.gso_size)


def finish(frame: Partial) -> list[bytes]:
    """What ``frame`` is on a wire: checksummed and cut. Nothing, when it is not ``sound``."""
    offload = frame.offload
    if offload.gso:
        headers = find_headers(frame)
        if headers is None:
            return []
        # The field holds the pseudo header's sum with the length of the whole, which no segment has.
        seed = _U16.unpack_from(frame, headers.l4 + offload.csum_offset)[0] - (len(frame) - headers.l4)
        return segment(frame, headers, offload.gso_size, seed=seed % 0xFFFF)
    if offload.needs_csum:
        return [_summed(frame, offload)] if sound(frame) else []
    return [bytes(frame)]


def _summed(frame: Partial, offload: Offload) -> bytes:
    """With the checksum filled in. 0 is stored as 0xFFFF for UDP, where it would mean that there is none."""
    at = offload.csum_start + offload.csum_offset
    checksum = ones_sum(memoryview(frame)[offload.csum_start :]) ^ 0xFFFF
    if checksum == 0 and offload.csum_offset == UDP_CHECKSUM:
        checksum = 0xFFFF
    return b"".join((frame[:at], _U16.pack(checksum), frame[at + 2 :]))


def finish_all(frames: Sequence[Buffer], takes: Takes) -> Sequence[Buffer]:
    """A burst for somebody who takes ``takes``: the other partial frames in it finished, in order."""
    finished: list[Buffer] = []
    untaken = ~takes.value  # numbers, since flags take 1 us for each operation
    for frame in frames:
        if isinstance(frame, Partial) and frame.offload.needs.value & untaken:
            finished += finish(frame)
        else:
            finished.append(frame)
    return finished
