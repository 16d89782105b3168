"""What software has to put into a packet before a device can fill in its checksums: the sum of the pseudo header.

In here: one function on one packet, for ``EthDev.tx_prepare``. It does what DPDK's ``rte_net_intel_cksum_prepare`` does.

Sources: RFC 793 and RFC 768 (pseudo header), RFC 8200, 8.1 (that of IPv6); DPDK lib/net/rte_ip4.h ``rte_ipv4_phdr_cksum``: the
pseudo header of a packet that is to be segmented has no length, which the device adds by segment.
"""

from __future__ import annotations

from drivers.errors import NotSupported
from drivers.ethdev.terms import Info, TxOffload
from drivers.mempool import Mempool, TxFlag
from regmodel.errors import UsageError

TCP, UDP = 6, 17
L4 = {TxFlag.TCP_CKSUM: (TCP, 16, 20), TxFlag.UDP_CKSUM: (UDP, 6, 8)}
"""IP protocol, offset of the checksum and length of the shortest header, in bytes."""
SCTP_HEADER = 12
NEEDED = {
    TxFlag.IP_CKSUM: TxOffload.IPV4_CKSUM,
    TxFlag.TCP_CKSUM: TxOffload.TCP_CKSUM,
    TxFlag.UDP_CKSUM: TxOffload.UDP_CKSUM,
    TxFlag.SCTP_CKSUM: TxOffload.SCTP_CKSUM,
}
"""What a port must be able to do for what a packet asks for. Segmentation brings both checksums with it."""


def prepare(pool: Mempool, packet: int, info: Info) -> None:
    """Make ``packet`` ready for the offloads that its ``tx_flags`` ask for.

    Raises ``UsageError`` where they cannot be done with this packet, ``NotSupported`` where the port can do them with none.
    """
    flags = int(pool.tx_flags[packet])
    l4 = TxFlag.TCP_CKSUM if flags & TxFlag.TCP_SEG else flags & TxFlag.L4_MASK
    if not l4 and not flags & TxFlag.IP_CKSUM:
        return
    if not flags & TxFlag.TCP_SEG:
        _check_offloads(packet, info, l4, flags & TxFlag.IP_CKSUM)
    v6 = bool(flags & TxFlag.IPV6)
    ip = int(pool.l2_len[packet])
    start = ip + int(pool.l3_len[packet])
    protocol, at, header = L4.get(l4, (0, 0, SCTP_HEADER if l4 else 0))
    if ip < 14 or start - ip < (40 if v6 else 20):
        raise UsageError(f"packet {packet} asks for a checksum, and its l2_len and l3_len are {ip} and {start - ip} bytes")
    if start + header > pool.length[packet]:
        raise UsageError(f"the headers of packet {packet} do not lie in its first buffer")
    if flags & TxFlag.TCP_SEG:
        _check_segments(pool, packet, start, info)
    data = pool.data[packet]
    if flags & TxFlag.IP_CKSUM:
        data[ip + 10 : ip + 12] = b"\0\0"
    if protocol:
        length = 0 if flags & TxFlag.TCP_SEG else pool.packet_length(packet) - start
        addresses = data[ip + 8 : ip + 40] if v6 else data[ip + 12 : ip + 20]
        total = _sum(bytes(addresses)) + protocol + length
        data[start + at : start + at + 2] = _fold(total).to_bytes(2, "big")


def _check_offloads(packet: int, info: Info, *asked: int) -> None:
    for needed in (NEEDED[flag] for flag in asked if flag):
        if needed not in info.tx_offloads:
            raise NotSupported(f"packet {packet} asks for {needed.name}, and {info.device} has no such offload")


def _check_segments(pool: Mempool, packet: int, start: int, info: Info) -> None:
    headers, size = start + int(pool.l4_len[packet]), int(pool.tso_segsz[packet])
    if not 0 < size <= info.tso_max_mss:
        text = f"{info.device} makes segments of 1 to {info.tso_max_mss} bytes of payload"
        raise UsageError(f"packet {packet} asks for {size}; {text}")
    if not start + 20 <= headers <= min(info.tso_max_header, pool.length[packet]):
        text = f"{info.device} repeats up to {info.tso_max_header} bytes of headers, all in the first buffer"
        raise UsageError(f"the headers of packet {packet}, which is to be segmented, have {headers} bytes; {text}")


def _sum(data: bytes) -> int:
    return sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
