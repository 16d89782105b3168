"""Offloads, with scapy as the judge: what a driver asks for comes out of the device as scapy would have built it."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from drivers.ethdev import RxOffload
from drivers.mempool import RxFlag, TxFlag
from tests.drivers.nics.igbvf.test_offloads import L4, ask, layers
from tests.drivers.nics.vmxnet3.bench import Bench

CHECKED = RxOffload.CHECKSUM


def without_checksum(packet: bytes, l4: str, v6: bool) -> bytes:
    """Garbage where the device is to put the checksum of layer 4."""
    image, at = bytearray(packet), 14 + (40 if v6 else 20) + {"udp": 6, "tcp": 16}[l4]
    image[at : at + 2] = b"\xbe\xef"
    return bytes(image)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("l4", ["udp", "tcp"])
@pytest.mark.parametrize("size", [1, 30, 1400, 7000])
def test_checksums(bench: Bench, v6: bool, l4: str, size: int) -> None:
    a = bench.side(0, mtu=9000, rx_offloads=RxOffload.SCATTER)
    b = bench.side(1, mtu=9000, rx_offloads=RxOffload.SCATTER | CHECKED)
    ether = Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":"))
    expected = bytes(ether / layers(v6, l4, size))
    flags = L4[l4] | (TxFlag.IPV6 if v6 else 0)
    packets = np.array([ask(a, without_checksum(expected, l4, v6), flags, l3=40 if v6 else 20)], np.intp)
    assert a.port.tx_prepare(0, packets) == 1
    assert a.send_packets(packets) == 1
    ((got, verdict),) = b.receive_with_flags()
    assert got == expected.ljust(60, b"\0"), "the device has padded it"
    assert verdict & RxFlag.L4_CKSUM_GOOD and not verdict & RxFlag.L4_CKSUM_BAD
    assert bool(verdict & RxFlag.IP_CKSUM_GOOD) != v6


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize(("size", "mss"), [(10000, 1428), (1428, 1428), (1429, 1428), (45000, 1000), (30, 536)])
def test_tso(bench: Bench, v6: bool, size: int, mss: int) -> None:
    """One packet of up to 24 buffers becomes segments, each one valid, which make up the payload."""
    a, b = bench.side(0, buffers=256), bench.side(1, buffers=256, rings=128, rx_offloads=CHECKED)
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
    assert a.pool.available == 256 - 63


def test_vlan_inserted_with_checksum_and_tso(bench: Bench) -> None:
    a = bench.side(0)
    b = bench.side(1, rx_offloads=CHECKED | RxOffload.VLAN_STRIP)
    whole = bytes(Ether(src=a.port.mac_addr.hex(":"), dst=b.port.mac_addr.hex(":")) / layers(False, "tcp", 3000))
    flags = TxFlag.VLAN | TxFlag.TCP_SEG | TxFlag.IP_CKSUM
    i = ask(a, whole, flags, l3=20, l4=20, mss=1000, vlan=3 << 13 | 42)
    a.port.tx_prepare(0, np.array([i], np.intp))
    a.send_packets(np.array([i], np.intp))
    assert b.port.rx_burst(0, b.out) == 3
    for packet in b.out[:3].tolist():
        assert len(b.pool.content(packet)) == 1054 and int(b.pool.vlan[packet]) == 3 << 13 | 42
        assert int(b.pool.rx_flags[packet]) & (RxFlag.VLAN_STRIPPED | RxFlag.L4_CKSUM_GOOD) == 0x14
    plain = ask(a, whole[:100], TxFlag.VLAN, l3=20, vlan=42)
    a.send_packets(np.array([plain], np.intp))
    assert [len(content) for content in b.receive()] == [100]
