"""``struct virtio_net_hdr``: what stands before each frame in a buffer, both ways.

In here: from a header to the ``Offload`` of a frame, and back. Rings do not enter.

    flags 8, gso_type 8, hdr_len 16, gso_size 16, csum_start 16, csum_offset 16 [, num_buffers 16 [, hash_value 32,
    hash_report 16, padding 16]]

Sources: VIRTIO 1.3, 5.1.6 (packet header), 5.1.6.2.1 and 5.1.6.3.2 (what the driver may set, what the device must);
linux/virtio_net.h.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from emulators.fabric.offload import Gso, Offload, Takes
from regmodel.structures.virtio_features import Feature

LEGACY, MERGEABLE, HASHED = 10, 12, 20
"""Octets: legacy without MRG_RXBUF; with it, or modern; with HASH_REPORT."""

_NEEDS_CSUM, _DATA_VALID, _RSC_INFO = 1, 2, 4
_ECN = 0x80
_HEADER = Struct("<BBHHHH")
_HASHED = Struct("<HIHH")

Error = str
"""The name of what is wrong with a header."""


def header_size(features: Feature) -> int:
    """Octets of the header with these features."""
    if Feature.HASH_REPORT in features:
        return HASHED
    return MERGEABLE if features & (Feature.VERSION_1 | Feature.MRG_RXBUF) else LEGACY


def may_send(features: Feature) -> Takes:
    """What the driver may leave to the device: the HOST_* features."""
    takes = Takes.CSUM if Feature.CSUM in features else Takes.NONE
    everything = Feature.GSO in features
    for feature, take in (
        (Feature.HOST_TSO4, Takes.TSO4), (Feature.HOST_TSO6, Takes.TSO6), (Feature.HOST_ECN, Takes.ECN),
    ):  # fmt: skip
        if feature in features or everything:
            takes |= take
    return takes | Takes.USO if Feature.HOST_USO in features else takes


def takes(features: Feature) -> Takes:
    """What the driver takes unfinished: the GUEST_* features, or the set of them that the control queue gave.

    USO4 and USO6 are one for the fabric: it is taken when the driver has both.
    """
    found = Takes.NONE
    uso = Feature.GUEST_USO4 | Feature.GUEST_USO6
    for feature, take in (
        (Feature.GUEST_CSUM, Takes.CSUM), (Feature.GUEST_TSO4, Takes.TSO4), (Feature.GUEST_TSO6, Takes.TSO6),
        (Feature.GUEST_ECN, Takes.ECN), (uso, Takes.USO),
    ):  # fmt: skip
        if feature in features:
            found |= take
    return found if Takes.CSUM in found else Takes.NONE


_TAKES: dict[int, Takes] = {Gso.TCPV4: Takes.TSO4, Gso.TCPV6: Takes.TSO6, Gso.UDP_L4: Takes.USO}


@lru_cache(maxsize=1024)
def parse(header: bytes, allowed: Takes) -> Offload | Error | None:
    """What the first 10 octets ask for; None for nothing, a string when it is not ``allowed`` or cannot be done."""
    flags, kind, hdr_len, gso_size, start, offset = _HEADER.unpack(header)
    needs_csum, gso, ecn = bool(flags & _NEEDS_CSUM), kind & ~_ECN, bool(kind & _ECN)
    if not needs_csum:
        return None if kind == Gso.NONE else "tx-segmentation-without-checksum"
    if Takes.CSUM not in allowed:
        return "tx-checksum-not-negotiated"
    if gso == Gso.NONE:
        return Offload(True, start, offset)
    take = _TAKES.get(gso)
    if take is None or take not in allowed or (ecn and Takes.ECN not in allowed):
        return "tx-segmentation-not-negotiated"
    if not gso_size:
        return "tx-segment-size"
    return Offload(True, start, offset, Gso(gso), ecn, gso_size, hdr_len)


@lru_cache(maxsize=1024)
def build(offload: Offload) -> bytes:
    """The first 10 octets that say the same to a driver."""
    flags = (_NEEDS_CSUM if offload.needs_csum else 0) | (_DATA_VALID if offload.valid else 0)
    kind = offload.gso | (_ECN if offload.ecn else 0)
    start, offset = (offload.csum_start, offload.csum_offset) if offload.needs_csum else (0, 0)
    hdr_len, gso_size = (offload.hdr_len, offload.gso_size) if offload.gso else (0, 0)
    return _HEADER.pack(flags, kind, hdr_len & 0xFFFF, gso_size, start, offset)


def finish(size: int, buffers: int = 1, report: int = 0, value: int = 0) -> bytes:
    """What follows the first 10 octets in a header of ``size``: the number of buffers, the hash and its type."""
    return _HASHED.pack(buffers, value, report, 0)[: size - LEGACY]
