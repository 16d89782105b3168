"""What guest tests do in guests over and over: addresses, pings, files, and counters."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

from emulators.qemu import VM

ADDRESSES = ("192.0.2.1", "192.0.2.2")
_CARRIER = "for i in $(seq 100); do [ $(cat /sys/class/net/{0}/carrier) = {1} ] && exit 0; sleep 0.1; done; exit 1"


def up(vm: VM, address: str, interface: str = "eth0") -> None:
    """Give an interface an IPv4 address, bring it up and wait for its carrier."""
    vm.run(f"ip addr replace {address}/24 dev {interface} && ip link set {interface} up", check=True)
    carrier(vm, True, interface)


def carrier(vm: VM, expected: bool, interface: str = "eth0") -> None:
    """Wait up to 10 s until the carrier is what it should be."""
    vm.run(_CARRIER.format(interface, int(expected)), check=True)


def ping(vm: VM, address: str, *, count: int = 5, size: int = 56, options: str = "") -> None:
    """Every one of ``count`` pings of ``size`` bytes is answered, unfragmented."""
    result = vm.run(f"ping -M do -n -q -c {count} -i 0.05 -W 5 -s {size} {options} {address}", timeout=60)
    assert f"{count} received, 0% packet loss" in result.text, result.text


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
    receiver.run(f"rm -f /tmp/got /tmp/done /tmp/open; mkfifo /tmp/open; {receive}", check=True)
    attempt = f"for i in $(seq 20); do nc -w 60 {address} {port} < /tmp/sent && exit 0; sleep 0.2; done; exit 1"
    sender.run(attempt, timeout=120, check=True)
    receiver.run("for i in $(seq 100); do [ -e /tmp/done ] && exit 0; sleep 0.1; done; exit 1", check=True)
    assert hashlib.sha256(receiver.get("/tmp/got")).digest() == hashlib.sha256(data).digest()


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
