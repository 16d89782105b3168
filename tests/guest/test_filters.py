"""What a VF receives: VLANs, multicast hashes, promiscuous modes. Refusals as the stock PF gives them."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from emulators.fabric.frames import intel_hash
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, mac, no_ping, ping, received, until, up

pytestmark = pytest.mark.guest

hash_of = intel_hash(mo=0)
NACK, ACK = 0x4000_0000, 0x8000_0000
SET_VLAN, SET_MULTICAST = 4, 3
LONG = 1400
"""More octets than ten short frames have."""


def test_31_vlans_work_and_the_32nd_is_refused(bench: Bench, device: str, kernel: str, clean) -> None:
    bench.serve(2)
    heard = bench.listen("mailbox")
    a, b = bench.guests(
        bench.machine(0, name="a", modules=["igbvf", "8021q"]), bench.machine(1, name="b", modules=["igbvf", "8021q"])
    )
    for vm, address in ((a, ADDRESSES[0]), (b, ADDRESSES[1])):
        up(vm, address)
        last = address[-1]
        vm.run(
            "for v in $(seq 100 131); do ip link add link eth0 name v$v type vlan id $v && ip addr add 10.0.$v."
            f"{last}/24 dev v$v && ip link set v$v up || exit 1; done",
            check=True,
        )
    for vlan in range(100, 131):
        ping(a, f"10.0.{vlan}.2", count=1)
    no_ping(a, "10.0.131.2")
    asked = [e for e in heard if e["sender"] == "VF" and e["words"][0] & 0xFFFF == SET_VLAN and e["words"][1] == 131]
    refused = [e for e in heard if e["sender"] == "PF" and e["words"][0] & 0xFFFF == SET_VLAN and e["words"][0] & NACK]
    granted = [e for e in heard if e["sender"] == "PF" and e["words"][0] & 0xFFFF == SET_VLAN and e["words"][0] & ACK]
    assert len(asked) == 2 and len(refused) >= 2 and len(granted) >= 62
    a.run("for v in $(seq 100 131); do ip link del v$v || exit 1; done", check=True)
    b.run("for v in $(seq 100 131); do ip link del v$v || exit 1; done", check=True)
    for vm, address in ((a, "10.1.0.1"), (b, "10.1.0.2")):
        vm.run("ip link add link eth0 name v200 type vlan id 200 && ip link set v200 up", check=True)
        vm.run(f"ip addr add {address}/24 dev v200", check=True)
    ping(a, "10.1.0.2")
    ping(a, ADDRESSES[1])
    # The one that was refused cannot be left either, as long as all slots are taken: the second guest finds free ones.
    clean(a, r"igbvf \S+(?: eth0)?: (?:Failed to remove vlan id |failed to kill vid 0081/)131\b")
    clean(b)


def group(number: int) -> bytes:
    """The MAC address of multicast group ``number``; from 150 on they share the hashes of the first ones."""
    address = bytearray(b"\x01\x00\x5e" + struct.pack(">I", number % 150 * 2654435761 % (1 << 23))[1:])
    address[4] ^= number // 150  # the low four bits of this byte are not hashed
    return bytes(address)


def test_of_200_groups_exactly_the_30_hashes_sent_are_received(
    bench: Bench, device: str, kernel: str, tmp_path: Path, clean
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    wire.bind(str(there))
    bench.serve(1, nets=[f"dgram:local={here},remote={there}"])
    heard = bench.listen("mailbox")
    vm = bench.guest(0, kits=["tcpdump"])
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1", check=True)
    up(vm, ADDRESSES[0])
    vm.put("/tmp/join", "".join(f"ip maddr add {group(i).hex(':')} dev eth0\n" for i in range(200)).encode())
    vm.run("sh -e /tmp/join", check=True)
    assert vm.run("ip maddr show dev eth0 | grep -c 'link.*static'", check=True).text.strip() == "200"

    def asked() -> list[list[int]]:
        return [e["words"] for e in heard if e["sender"] == "VF" and e["words"][0] & 0xFFFF == SET_MULTICAST]

    until(lambda: len(asked()) >= 200)
    last = asked()[-1]
    count = last[0] >> 16 & 0xFF
    assert count == 30, "igbvf truncates to 30 hashes"
    packed = struct.pack("<15I", *(last[1:] + [0] * 15)[:15])
    hashes = set(struct.unpack("<30H", packed))
    capture = "tcpdump -Z root -q -U --immediate-mode -p -i eth0 -w /tmp/seen.pcap -s 64 > /tmp/tcpdump.log 2>&1 &"
    listens = "for i in $(seq 100); do grep -q listening /tmp/tcpdump.log && exit 0; sleep 0.1; done; exit 1"
    vm.run(f"{capture} {listens}", check=True)
    before = bench.pools()["vf0"]["rx"]["frames"]
    every = {hash_of(address): address for address in map(_member, range(1 << 16))}
    assert len(every) == 4096
    source = bytes((2, 0, 0, 0, 0, 1))
    for start in range(0, 4096, 64):
        for value in range(start, start + 64):
            wire.sendto(every[value] + source + b"\x88\xb5" + struct.pack(">H", value) + bytes(44), str(here))
        vm.run("true")
    for i in range(200):
        wire.sendto(group(i) + source + b"\x88\xb6" + struct.pack(">H", i) + bytes(44), str(here))
    until(lambda: bench.stats()["card"]["ports"][0]["uplink"]["rx"]["frames"] == 4096 + 200)
    delivered = bench.pools()["vf0"]["rx"]["frames"] - before
    until(lambda: len(_frames(vm.get("/tmp/seen.pcap"))) >= delivered)
    frames = _frames(vm.get("/tmp/seen.pcap"))
    by_hash = {struct.unpack(">H", f[14:16])[0] for f in frames if f[12:14] == b"\x88\xb5"}
    by_group = {struct.unpack(">H", f[14:16])[0] for f in frames if f[12:14] == b"\x88\xb6"}
    assert by_hash == hashes
    assert by_group == {i for i in range(200) if hash_of(group(i)) in hashes}
    assert {i for i in by_group if i >= 150} == {i + 150 for i in by_group if i < 50} != set(), "collisions"
    clean(vm)


def _member(number: int) -> bytes:
    """A multicast address whose last two bytes spread over all hashes."""
    return bytes((0x01, 0x00, 0x5E, 0x01)) + struct.pack("<H", number & 0xFFFF)


def _frames(pcap: bytes) -> list[bytes]:
    """The frames of a little-endian pcap file."""
    frames, at = [], 24
    while at + 16 <= len(pcap):
        size = struct.unpack_from("<I", pcap, at + 8)[0]
        frames.append(pcap[at + 16 : at + 16 + size])
        at += 16 + size
    return frames


def test_only_what_is_addressed_to_it_arrives(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    wire.bind(str(there))
    bench.serve(1, nets=[f"dgram:local={here},remote={there}"])
    vm = bench.guest(0)
    vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1", check=True)
    up(vm, ADDRESSES[0])
    own = bytes.fromhex(mac(vm).replace(":", ""))

    def arrives(destination: bytes, vlan: bytes = b"") -> int:
        """How many of ten frames. A longer one for the VF comes behind them: when it is there, so are they."""
        before = received(vm)
        for target, tag, size in [(destination, vlan, 46)] * 10 + [(own, b"", LONG)]:
            wire.sendto(target + bytes((2, 0, 0, 0, 0, 1)) + tag + b"\x88\xb5" + bytes(size), str(here))
        until(lambda: received(vm)[1] - before[1] >= LONG)
        return received(vm)[0] - before[0] - 1

    assert arrives(own) == 10
    assert arrives(b"\xff" * 6) == 10
    assert arrives(own[:5] + bytes((own[5] ^ 1,))) == 0
    assert arrives(own, b"\x81\x00\x00\x2a") == 0, "VLAN 42 was not joined"
    assert arrives(bytes.fromhex("01005e7f1234")) == 0
    vm.run("ip link set eth0 promisc on", check=True)
    assert arrives(own[:5] + bytes((own[5] ^ 1,))) == 0, "igbvf has no promiscuous message"
    clean(vm)


