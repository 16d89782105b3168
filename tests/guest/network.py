"""What guest tests do in guests over and over: addresses, pings, files, counters, and NICs that come and go."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from emulators.nics.toeplitz import Toeplitz
from emulators.qemu import VM, VfioUser

if TYPE_CHECKING:
    from tests.guest.conftest import Bench

ADDRESSES = ("192.0.2.1", "192.0.2.2")
ARRIVES = "for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && exit 0; sleep 0.1; done; exit 1"
GOES = "for i in $(seq 100); do [ -e /sys/class/net/eth0 ] || exit 0; sleep 0.1; done; exit 1"
FLOW = 16 << 10
"""Bytes of what each of ``flows`` fetches."""
MSS = 1448
"""TCP's octets in a frame that is 1500 long."""
OWN_PORTS = range(1024, 32768)
"""Local ports that the guest itself never chooses."""
_CARRIER = "for i in $(seq {2}); do [ $(cat /sys/class/net/{0}/carrier) = {1} ] && exit 0; sleep 0.1; done; exit 1"


def up(vm: VM, address: str, interface: str = "eth0") -> None:
    """Give an interface an IPv4 address, bring it up and wait for its carrier."""
    vm.run(f"ip addr replace {address}/24 dev {interface} && ip link set {interface} up", check=True)
    carrier(vm, True, interface)


def carrier(vm: VM, expected: bool, interface: str = "eth0", *, seconds: int = 10) -> None:
    """Wait until the carrier is what it should be."""
    vm.run(_CARRIER.format(interface, int(expected), 10 * seconds), check=True)


def ping(vm: VM, address: str, *, count: int = 5, size: int = 56, options: str = "") -> None:
    """Every one of ``count`` pings of ``size`` bytes is answered, unfragmented.

    Each is a command of its own: one that sends several waits for the last answer no longer than twice as long as others took.
    """
    one = f"ping -M do -n -q -c 1 -W 20 -s {size} {options} {address}"
    result = vm.run(f"for i in $(seq {count}); do {one} || exit 1; done", timeout=60 + 20 * count)
    assert result.status == 0, result.text


def no_ping(vm: VM, address: str, options: str = "") -> None:
    """None of three pings is answered."""
    result = vm.run(f"ping -n -q -c 3 -i 0.2 -W 1 {options} {address}", timeout=30)
    assert " 0 received" in result.text, result.text


def send_file(sender: VM, receiver: VM, address: str, size: int = 1 << 20, port: int = 5000) -> None:
    """Random bytes go by TCP to ``address`` of ``receiver``, and arrive as they were sent."""
    data = os.urandom(size)
    sender.put("/tmp/sent", data)
    # busybox nc hangs up when its input ends, and the sender with it: a fifo held open never does
    receive = f"(nc -l -p {port} 0<> /tmp/open > /tmp/got; touch /tmp/done) > /dev/null 2>&1 &"
    listens = f"for i in $(seq 300); do grep -q ':{port:04X} .* 0A ' /proc/net/tcp* && exit 0; sleep 0.1; done; exit 1"
    receiver.run(f"rm -f /tmp/got /tmp/done /tmp/open; mkfifo /tmp/open; {receive} {listens}", timeout=60, check=True)
    sender.run(f"nc -w 60 {address} {port} < /tmp/sent", timeout=120, check=True)
    receiver.run("for i in $(seq 100); do [ -e /tmp/done ] && exit 0; sleep 0.1; done; exit 1", check=True)
    assert hashlib.sha256(receiver.get("/tmp/got")).digest() == hashlib.sha256(data).digest()


def flows(near: VM, far: VM, count: int, *, cpus: int = 1) -> None:
    """So many TCP connections at once between namespaces of a guest, from its processors in turn; each brings what was sent."""
    serve = f"mkdir -p /tmp/www; head -c {FLOW} /dev/urandom > /tmp/www/flow; httpd -p 80 -h /tmp/www"
    far.run(f"pidof httpd > /dev/null && kill $(pidof httpd); {serve}", check=True)
    each = f"taskset -c $((i % {cpus})) wget -q -T 30 -O /tmp/flow.$i http://{ADDRESSES[1]}/flow"
    fetch = f"rm -f /tmp/flow.*; for i in $(seq {count}); do {each} & done; wait"
    sums = near.run(f"{fetch}; sha256sum /tmp/flow.* /tmp/www/flow | cut -c -64", timeout=120, check=True).text.split()
    assert len(sums) == count + 1 and len(set(sums)) == 1


def flow_to_each(near: VM, key: str, table: Sequence[int], frames: Callable[[], list[int]], ports: Iterator[int]) -> None:
    """After ``flows``, for each receive queue a connection whose own port leads there by ``key`` and ``table`` of RSS: what it
    brings comes to that queue alone.

    ``frames``: what the model says came to each queue so far, a segment being one. ``ports``: to choose from; one that was in
    use is not free again for a minute.
    """
    here, there = (IPv4Address(address).packed for address in ADDRESSES)
    hashed = Toeplitz(bytes.fromhex(key)).hash
    usual = near.run("cat /proc/sys/net/ipv4/ip_local_port_range", check=True).text
    for queue in sorted(set(table)):
        answers = ((port, there + here + struct.pack(">HH", 80, port)) for port in ports)
        port = next(port for port, answer in answers if table[hashed(answer) % len(table)] == queue)
        before = frames()
        near.run(f"sysctl -q -w net.ipv4.ip_local_port_range='{port} {port}'", check=True)
        near.run(f"wget -q -T 30 -O /dev/null http://{ADDRESSES[1]}/flow", check=True)
        more = [after - count for after, count in zip(frames(), before, strict=True)]
        assert [number for number, count in enumerate(more) if count >= FLOW // MSS] == [queue], (port, more)
    near.run(f"sysctl -q -w net.ipv4.ip_local_port_range='{usual}'", check=True)


def received(vm: VM, interface: str = "eth0") -> tuple[int, int]:
    """Frames and octets that the driver gave to the stack."""
    text = vm.run(f"cd /sys/class/net/{interface}/statistics && cat rx_packets rx_bytes", check=True).text
    frames, octets = map(int, text.split())
    return frames, octets


def counters(vm: VM, interface: str = "eth0") -> dict[str, int]:
    """``ethtool -S``."""
    lines = vm.run(f"ethtool -S {interface}", check=True).text.splitlines()
    return {name.strip(): int(value) for name, _, value in (line.partition(":") for line in lines) if value.strip()}


def mac(vm: VM, interface: str = "eth0") -> str:
    """The interface's MAC address."""
    return vm.run(f"cat /sys/class/net/{interface}/address", check=True).text.strip()


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.1)


class Late:
    """A pair in one guest whose near end, eth0, comes later: behind the empty root port rp1."""

    bench: Bench
    near: VM

    def plug(self, name: str) -> None:
        """Insert the card's first function, which QEMU is to know as ``name``."""
        self.near.plug(VfioUser(str(self.bench.server.sockets[0])), name, "rp1")
        self.comes()

    def comes(self) -> None:
        """The interface is there, and up."""
        self.near.run(ARRIVES, check=True)
        up(self.near, ADDRESSES[0])

    def goes(self) -> None:
        """The interface has gone."""
        self.near.run(GOES, check=True)
