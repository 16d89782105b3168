"""``struct virtio_net_hdr`` as it stands before frames that a TAP device or a vhost-user back end exchanges with us.

In here: from the octets to an ``Offload`` and back. Both ends are trusted no further than the switch trusts any partial
frame: what makes no sense is refused there.

    flags 8, gso_type 8, hdr_len 16, gso_size 16, csum_start 16, csum_offset 16 [, num_buffers 16]    little-endian

Sources: VIRTIO 1.2, 5.1.6 (``struct virtio_net_hdr``); linux/virtio_net.h; Linux include/linux/virtio_net.h
``virtio_net_hdr_to_skb`` and ``virtio_net_hdr_from_skb``, drivers/net/tun.c ``tun_get_user``.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from emulators.fabric.offload import Gso, Offload, Partial

LEGACY, MERGEABLE = 10, 12
"""Octets of the header without and with ``num_buffers``."""

NOTHING = bytes(LEGACY)
"""Before a frame that is finished."""

_NEEDS_CSUM, _DATA_VALID, _ECN = 1, 2, 0x80
_HEADER = Struct("<BBHHHH")
_GSO = {int(gso): gso for gso in Gso}


@lru_cache(maxsize=1024)
def parse(header: bytes) -> Offload | None:
    """What the ``LEGACY`` octets say; None when the frame is finished. A kind of segments that there is not is UFO's."""
    flags, kind, hdr_len, gso_size, start, offset = _HEADER.unpack(header)
    gso = _GSO.get(kind & ~_ECN, Gso.UDP)
    if not flags & (_NEEDS_CSUM | _DATA_VALID) and not gso:
        return None
    if not gso:
        hdr_len = gso_size = 0
    if not flags & _NEEDS_CSUM:
        return Offload(gso=gso, gso_size=gso_size, hdr_len=hdr_len, valid=bool(flags & _DATA_VALID))
    return Offload(True, start, offset, gso, bool(kind & _ECN and gso), gso_size, hdr_len, bool(flags & _DATA_VALID))


def build(frame: Partial) -> bytes:
    """The ``LEGACY`` octets before ``frame``, which is sound. ``hdr_len`` is exact, whatever the offload hints at."""
    offload = frame.offload
    if not offload.gso:
        return _build(offload)
    start = offload.csum_start
    size = 8 if offload.gso is Gso.UDP_L4 else 4 * (frame[start + 12] >> 4)
    return _build(offload._replace(hdr_len=start + size))


@lru_cache(maxsize=1024)
def _build(offload: Offload) -> bytes:
    needs_csum, start, offset, gso, ecn, gso_size, hdr_len, valid = offload
    flags = needs_csum * _NEEDS_CSUM | valid * _DATA_VALID
    return _HEADER.pack(flags, gso | ecn * _ECN, hdr_len & 0xFFFF, gso_size, start, offset)
