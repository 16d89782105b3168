"""The header before each packet (``virtio_net_hdr``): what it says of a received one, and asks for one that is to be sent.

In here: flags both ways, and what a device wants in a packet before it fills in checksums. The header stands in the headroom
of a packet's first buffer, right before the packet.

Sources: VIRTIO 1.3, 5.1.6; DPDK drivers/net/virtio/virtio_rxtx.c ``virtio_rx_offload``, ``virtqueue_xmit_offload``,
``virtio_tso_fix_cksum``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.ethdev.prepare import L4
from drivers.mempool import HEADROOM, Mempool, RxFlag, TxFlag
from drivers.nics.words import mask, value
from regmodel.layout import layout
from regmodel.structures.virtio_net import HDR, HDR_V1

SHORT, LONG = layout(HDR).size, layout(HDR_V1).size
"""Octets without and with the count of merged buffers, which is there with VERSION_1 or MRG_RXBUF."""
NEEDS_CSUM, DATA_VALID = (mask(HDR, "flags", name) for name in ("needs_csum", "data_valid"))
TCPV4, TCPV6 = (value(HDR, "gso_type", "type", name) >> 8 for name in ("TCPV4", "TCPV6"))
"""Kinds of segmentation."""
TAG = 4
"""Octets of a VLAN tag."""
TPID = b"\x81\x00"

RX_FLAGS: NDArray[np.uint8] = np.zeros(256, np.uint8)
"""``RxFlag`` by the flags of a header."""
for _flags in range(256):
    if _flags & NEEDS_CSUM:
        RX_FLAGS[_flags] = RxFlag.L4_CKSUM_NONE
    elif _flags & DATA_VALID:
        RX_FLAGS[_flags] = RxFlag.L4_CKSUM_GOOD


def columns(pool: Mempool, size: int) -> NDArray[Any]:
    """The headers of ``size`` octets of all buffers of a pool, as records."""
    schema = HDR if size == SHORT else HDR_V1
    rows = pool.heads[:, HEADROOM - size :]
    found: NDArray[Any] = np.ndarray(
        pool.count, layout(schema).dtype, buffer=pool.memory.view, offset=HEADROOM - size, strides=(rows.strides[0],)
    )
    return found


def ask(pool: Mempool, headers: NDArray[Any], packet: int) -> None:
    """Fill in the header of a packet that asks for offloads. It is prepared (``EthDev.tx_prepare``) but for what is ours."""
    flags = int(pool.tx_flags[packet])
    header = headers[packet]
    header["flags"] = header["gso_type"] = header["hdr_len"] = header["gso_size"] = 0
    header["csum_start"] = header["csum_offset"] = 0
    segment = flags & TxFlag.TCP_SEG
    l4 = TxFlag.TCP_CKSUM if segment else flags & TxFlag.L4_MASK
    if not l4:
        return
    start = int(pool.l2_len[packet]) + int(pool.l3_len[packet])
    offset = L4[l4][1]
    header["flags"], header["csum_start"], header["csum_offset"] = NEEDS_CSUM, start, offset
    if segment:
        header["gso_type"] = TCPV6 if flags & TxFlag.IPV6 else TCPV4
        header["gso_size"] = pool.tso_segsz[packet]
        header["hdr_len"] = start + int(pool.l4_len[packet])
        _add_length(pool, packet, start + offset, pool.packet_length(packet) - start)


def _add_length(pool: Mempool, packet: int, at: int, length: int) -> None:
    """The pseudo header of a packet that is to be segmented has its whole length here, other than for real NICs."""
    data = pool.data[packet]
    total = int.from_bytes(data[at : at + 2], "big") + length
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[at : at + 2] = total.to_bytes(2, "big")


def insert_tag(pool: Mempool, packet: int) -> None:
    """Put the tag of ``vlan`` in: both addresses move into the headroom, and with them the begin of the packet, by ``TAG``."""
    head, data = pool.heads[packet], pool.data[packet]
    addresses = bytes(data[:12])
    head[HEADROOM - TAG :] = np.frombuffer(addresses[:TAG], np.uint8)
    data[:8] = addresses[TAG:]
    data[8:12] = TPID + int(pool.vlan[packet]).to_bytes(2, "big")
