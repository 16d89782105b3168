"""Offloads, with scapy as the judge: what a driver asks for comes out of the device as scapy would have built it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData

from drivers.mempool import RxFlag, TxFlag
from regmodel.devices.igbvf import IGBVF_I350
from regmodel.errors import UsageError
from tests.drivers.nics.igbvf.bench import Bench, Side

L4 = {"udp": TxFlag.UDP_CKSUM, "tcp": TxFlag.TCP_CKSUM, "sctp": TxFlag.SCTP_CKSUM}


def layers(v6: bool, l4: str, size: int) -> Any:
    top = {"udp": UDP(sport=7, dport=9), "tcp": TCP(sport=7, dport=9, seq=1000, flags="PA"), "sctp": SCTP()}[l4]
    network = IPv6(src="fd00::1", dst="fd00::2") if v6 else IP(src="10.0.0.1", dst="10.0.0.2", id=77)
    payload = SCTPChunkData(data=b"d" * size) if l4 == "sctp" else bytes(i & 0xFF for i in range(size))
    return network / top / payload


def ask(side: Side, packet: bytes, flags: int, *, l3: int, l4: int = 0, mss: int = 0, vlan: int = 0) -> int:
    """Put ``packet`` into the pool, asking for ``flags``."""
    i = side.pool.put(packet)
    side.pool.tx_flags[i] |= flags
    side.pool.l2_len[i], side.pool.l3_len[i], side.pool.l4_len[i] = 14, l3, l4
    side.pool.tso_segsz[i], side.pool.vlan[i] = mss, vlan
    return i


def without_checksums(packet: bytes, l4: str, v6: bool) -> bytes:
    """Garbage where the device is to put checksums."""
    image = bytearray(packet)
    if not v6:
        image[24:26] = b"\xde\xad"
    at = 14 + (40 if v6 else 20) + {"udp": 6, "tcp": 16, "sctp": 8}[l4]
    image[at : at + (4 if l4 == "sctp" else 2)] = b"\xbe\xef\xbe\xef"[: 4 if l4 == "sctp" else 2]
    return bytes(image)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("l4", ["udp", "tcp", "sctp"])
@pytest.mark.parametrize("size", [1, 30, 1400, 7000])
def test_checksums(bench: Bench, v6: bool, l4: str, size: int) -> None:
    a, b = bench.side(0, mtu=9000), bench.side(1, mtu=9000)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    expected = bytes(ether / layers(v6, l4, size))
    flags = L4[l4] | (TxFlag.IPV6 if v6 else TxFlag.IP_CKSUM)
    packets = np.array([ask(a, without_checksums(expected, l4, v6), flags, l3=40 if v6 else 20)], np.intp)
    assert a.port.tx_prepare(0, packets) == 1
    assert a.send_packets(packets) == 1
    ((got, verdict),) = b.receive_with_flags()
    assert got == expected.ljust(60, b"\0")
    assert verdict & RxFlag.L4_CKSUM_GOOD and not verdict & RxFlag.L4_CKSUM_BAD
    assert bool(verdict & RxFlag.IP_CKSUM_GOOD) != v6


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize(("size", "mss"), [(10000, 1428), (1428, 1428), (1429, 1428), (60000, 1000), (30, 536)])
def test_tso(bench: Bench, v6: bool, size: int, mss: int) -> None:
    """One packet of up to 64 KiB over many buffers becomes segments, each one valid, which make up the payload."""
    a, b = bench.side(0, buffers=256), bench.side(1, buffers=256)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    whole = bytes(ether / layers(v6, "tcp", size))
    l3 = 40 if v6 else 20
    flags = TxFlag.TCP_SEG | (TxFlag.IPV6 if v6 else TxFlag.IP_CKSUM)
    packets = np.array([ask(a, whole, flags, l3=l3, l4=20, mss=mss)], np.intp)
    a.port.tx_prepare(0, packets)
    assert a.port.tx_burst(0, packets) == 1
    segments = []
    for _ in range(8):
        segments += b.receive_with_flags()
    assert len(segments) == -(-size // mss)
    payload = b""
    for number, (segment, verdict) in enumerate(segments):
        assert verdict & RxFlag.L4_CKSUM_GOOD and not verdict & (RxFlag.L4_CKSUM_BAD | RxFlag.IP_CKSUM_BAD)
        seen = Ether(segment)
        assert seen[TCP].seq == 1000 + number * mss
        assert ("P" in seen[TCP].flags) == (number == len(segments) - 1)
        if not v6:
            assert seen[IP].id == 77 + number
        end = 14 + (seen[IP].len if not v6 else 40 + seen[IPv6].plen)
        payload += segment[14 + l3 + 20 : end]
        rebuilt = seen.copy()
        del rebuilt[TCP].chksum
        assert bytes(rebuilt)[: len(segment)] == segment
    assert payload == whole[14 + l3 + 20 :]
    a.settle()
    assert a.pool.available == 256 - 64


def test_vlan_insert_and_filter(either: Bench) -> None:
    """The tag of a descriptor goes out; a VF receives it only while its VLAN is let in; a stock PF strips it then."""
    a, b = either.side(0), either.side(1)
    bare = bytes(Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":")) / layers(False, "udp", 30))
    tci = 5 << 13 | 42

    def send() -> list[tuple[bytes, int]]:
        assert a.send_packets(np.array([ask(a, bare, TxFlag.VLAN, l3=20, vlan=tci)], np.intp)) == 1
        return b.receive_with_flags()

    a.port.vlan_filter(42)
    assert send() == []
    b.port.vlan_filter(42)
    assert a.send_packets(np.array([ask(a, bare, TxFlag.VLAN, l3=20, vlan=tci)], np.intp)) == 1
    assert b.port.rx_burst(0, b.out) == 1
    i = int(b.out[0])
    assert int(b.pool.rx_flags[i]) & RxFlag.VLAN_STRIPPED
    assert int(b.pool.vlan[i]) == tci, "an I350 swaps the bytes of a loopback packet's tag, and the driver swaps them back"
    assert b.pool.content(i) == bare
    b.pool.free(b.out[:1])
    b.port.vlan_filter(42, False)
    assert send() == []


def test_vlan_from_the_wire(either: Bench) -> None:
    """The tags of packets from the wire are in order on either silicon; mixed with untagged ones, each has its own."""
    b = either.side(1)
    b.port.vlan_filter(7)
    tagged = [bytes(Ether(dst=b.port.mac_addr.hex(":")) / Dot1Q(vlan=7, prio=p) / (b"x" * 50)) for p in range(4)]
    plain = bytes(Ether(dst=b.port.mac_addr.hex(":")) / (b"y" * 50))
    either.from_the_wire([tagged[0], plain, tagged[1], tagged[2], plain, tagged[3]])
    assert b.port.rx_burst(0, b.out) == 6
    flags = [int(b.pool.rx_flags[i]) & RxFlag.VLAN_STRIPPED for i in b.out[:6]]
    assert [bool(f) for f in flags] == [True, False, True, True, False, True]
    tags = [int(b.pool.vlan[i]) for i, f in zip(b.out[:6], flags, strict=True) if f]
    assert tags == [p << 13 | 7 for p in range(4)]


def test_vlan_with_checksum_and_tso(bench: Bench) -> None:
    a, b = bench.side(0), bench.side(1)
    for side in (a, b):
        side.port.vlan_filter(42)
    whole = bytes(Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":")) / layers(False, "tcp", 3000))
    i = ask(a, whole, TxFlag.VLAN | TxFlag.TCP_SEG | TxFlag.IP_CKSUM, l3=20, l4=20, mss=1000, vlan=42)
    a.port.tx_prepare(0, np.array([i], np.intp))
    a.send_packets(np.array([i], np.intp))
    got = b.receive_with_flags()
    assert [len(p) for p, _ in got] == [1054] * 3
    assert all(f & RxFlag.VLAN_STRIPPED and f & RxFlag.L4_CKSUM_GOOD for _, f in got)


def test_contexts_are_reused(bench: Bench) -> None:
    """Two kinds of packets in turn need two contexts once; a third kind takes the place of the older one."""
    a, b = bench.side(0), bench.side(1)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    udp, tcp, six = (bytes(ether / layers(v6, l4, 30)) for v6, l4 in ((False, "udp"), (False, "tcp"), (True, "udp")))

    def burst(*kinds: str) -> int:
        made = {
            "udp": lambda: ask(a, udp, TxFlag.UDP_CKSUM | TxFlag.IP_CKSUM, l3=20),
            "tcp": lambda: ask(a, tcp, TxFlag.TCP_CKSUM | TxFlag.IP_CKSUM, l3=20),
            "six": lambda: ask(a, six, TxFlag.UDP_CKSUM | TxFlag.IPV6, l3=40),
        }
        packets = np.array([made[kind]() for kind in kinds], np.intp)
        a.port.tx_prepare(0, packets)
        before = a.port.registers.tdt[0].read()
        a.send_packets(packets)
        content = {"udp": udp, "tcp": tcp, "six": six}
        assert b.receive() == [content[kind].ljust(60, b"\0") for kind in kinds]
        return (a.port.registers.tdt[0].read() - before) % 64 - len(kinds)

    assert burst("udp", "udp", "tcp", "udp", "tcp") == 2
    assert burst("udp", "tcp") == 0
    assert burst("six", "tcp") == 1
    assert burst("udp") == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"l3_len": 8}, "l2_len and l3_len are 14 and 8"),
        ({"l2_len": 0}, "l2_len and l3_len are 0 and 20"),
        ({"tso_segsz": 0}, "asks for 0"),
        ({"tso_segsz": 9300}, "asks for 9300"),
        ({"l4_len": 8}, "have 42 bytes"),
        ({"length": 40}, "do not lie in its first buffer"),
    ],
)
def test_offloads_that_cannot_be_done(bench: Bench, change: dict[str, int], text: str) -> None:
    a = bench.side(0)
    packet = bytes(Ether(src=a.port.mac_addr.hex(":"), dst="02:00:00:00:00:09") / layers(False, "tcp", 3000))
    i = ask(a, packet[:2000], TxFlag.TCP_SEG | TxFlag.IP_CKSUM, l3=20, l4=20, mss=1000)
    for column, value in change.items():
        getattr(a.pool, column)[i] = value
    with pytest.raises(UsageError, match=text):
        a.port.tx_prepare(0, np.array([i], np.intp))


def test_a_burst_that_was_not_taken_leaves_no_context(bench: Bench) -> None:
    """The context of its first packet never reached the device: who needs it next sends it again."""
    a, b = bench.side(0), bench.side(1)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    good = bytes(ether / layers(False, "udp", 30))
    packet = ask(a, without_checksums(good, "udp", False), TxFlag.UDP_CKSUM | TxFlag.IP_CKSUM, l3=20)
    too_long = a.pool.put(bytes(2048 * 63))
    a.port.tx_prepare(0, np.array([packet], np.intp))
    with pytest.raises(UsageError, match="in 63 buffers"):
        a.port.tx_burst(0, np.array([packet, too_long], np.intp))
    assert a.send_packets(np.array([packet], np.intp)) == 1
    assert b.receive() == [good.ljust(60, b"\0")]


def test_an_i350_has_one_queue() -> None:
    bench = Bench(IGBVF_I350)
    with pytest.raises(UsageError, match="up to 1 receive queues, not 2"):
        bench.open().configure(2, 1)
    bench.close()
