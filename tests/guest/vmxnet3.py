"""What guest tests of VMXNET3 share: a guest with two NICs that talk to each other, what it and the model say of them.

One guest is enough for two ends: the second interface is in a network namespace of its own (``virtio.apart``), so that what
one sends to the other leaves by its NIC.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulators.qemu import VM
from emulators.qemu.machine import root_port
from tests.guest.conftest import Bench
from tests.guest.network import ADDRESSES, Late, carrier, ping, send_file, up
from tests.guest.virtio import FAR, apart, quiet

MODULES = ["vmxnet3", "8021q"]
A, B = ADDRESSES
COUNTED_AS = {"pktsTxError": "pkts tx err", "pktsTxDiscard": "pkts tx discard", "pktsRxError": "pkts rx err",
              "pktsRxOutOfBuf": "pkts rx OOB", "LROBytesRxOK": "LRO byte rx"}  # fmt: skip
"""Names of ``ethtool -S`` that do not follow from those of the structure."""


class Pair:
    """A guest with both ends: ``near`` is eth0 and the card's nic0, ``far`` eth1 and nic1."""

    def __init__(self, bench: Bench, **more: Any) -> None:
        self.bench = bench
        self.near = bench.guest(0, 1, **{"modules": MODULES, "cpus": 2, **more})
        self.meet()

    def meet(self) -> None:
        """Both interfaces up, one of them far."""
        quiet(self.near)
        self.far = apart(self.near)
        quiet(self.far)
        up(self.near, A)
        up(self.far, B, "eth1")

    def reload(self) -> None:
        """The driver goes and comes back, and with it the interfaces."""
        self.near.run(f"rmmod vmxnet3 && [ ! -e /sys/class/net/eth0 ] && ip netns del {FAR} && modprobe vmxnet3", check=True)
        self.meet()

    def both(self, command: str) -> None:
        """In both namespaces; ``{}`` is the interface."""
        self.near.run(command.replace("{}", "eth0"), check=True)
        self.far.run(command.replace("{}", "eth1"), check=True)

    def carriers(self, expected: bool) -> None:
        carrier(self.near, expected)
        carrier(self.far, expected, "eth1")

    def files(self, size: int = 1 << 18) -> None:
        """TCP both ways, compared by SHA-256."""
        send_file(self.near, self.far, B, size)
        send_file(self.far, self.near, A, size, port=5001)

    def meets(self) -> None:
        """A few pings and TCP both ways."""
        ping(self.near, B, count=3)
        self.files(1 << 17)

    def status(self, nic: int = 0) -> dict[str, Any]:
        """What the model says of itself."""
        found: dict[str, Any] = self.bench.ctl("nic", str(nic), "status")
        return found

    def add_up(self) -> None:
        """``ethtool -S`` says what the model has counted, over all queues.

        The driver asks for statistics by a write and then reads its own memory: it may see those of a moment before.
        """
        for _ in range(20):
            model = self.bench.stats()["card"]["nics"]["nic0"]
            told, counted = statistics(self.near), dict[tuple[str, str], int]()
            for way, side in (("tx", "transmit"), ("rx", "receive")):
                names = [name for name in model[side][0] if name != "error"]
                counted |= {(way, name): sum(queue[name] for queue in model[side]) for name in names}
            seen = {(way, name): told[spelled(name, way)] for way, name in counted}
            if seen == counted and self.bench.stats()["card"]["nics"]["nic0"] == model:
                break
        assert seen == counted
        assert counted["tx", "ucastPktsTxOK"] and counted["rx", "ucastPktsRxOK"]
        assert not any(queue["error"] for side in ("transmit", "receive") for queue in model[side])

    def commands(self) -> list[tuple[int, int]]:
        """Commands that nic0 was given of late, and the answers: the value that was read next, or 0."""
        with self.bench.server.control() as client:
            rows = client.ask("recent", function="nic0", count=4096)
        seen = [(op, value) for _, _, bar, op, _, offset, _, value in rows if (bar, offset) == (1, 0x20)]
        pairs = zip(seen, [*seen[1:], ("", 0)], strict=True)
        return [(value, answer if after == "read" else 0) for (op, value), (after, answer) in pairs if op == "write"]


class Plugged(Late, Pair):
    """The same where the near one comes later, behind a root port (02:00.0)."""

    def __init__(self, bench: Bench, **more: Any) -> None:
        self.bench = bench
        behind = {"root_port": True, "arguments": ["-device", root_port(1)]}
        self.near = bench.guest(1, **{"modules": MODULES, "cpus": 2, **behind, **more})
        quiet(self.near)
        self.far = apart(self.near, "eth0", "eth1")
        quiet(self.far)
        up(self.far, B, "eth1")

    def comes(self) -> None:
        """It has come, and packets go both ways."""
        super().comes()
        self.meets()

    def meet(self) -> None:
        """The driver has come again, and found the far one first."""
        self.far = apart(self.near, "eth0", "eth1")
        quiet(self.far)
        self.near.run("ip link set eth1 name eth0", check=True)
        up(self.far, B, "eth1")
        up(self.near, A)


def shown(vm: VM, option: str, what: str = "", interface: str = "eth0") -> dict[str, str]:
    """``ethtool OPTION`` as pairs, those behind ``what`` only."""
    text = vm.run(f"ethtool {option} {interface}", check=True).text
    text = text[text.index(what) + len(what) :]
    return dict(re.findall(r"^\s*([^:\n]+):[ \t]+(\S+)", text, re.MULTILINE))


@dataclass(frozen=True)
class Dump:
    """``ethtool -d`` (vmxnet3_ethtool.c ``vmxnet3_get_regs``): registers by name, and a line of words for each queue."""

    registers: dict[str, int]
    transmit: list[dict[str, int]]
    receive: list[dict[str, int]]


CONTROL = ("vrrs", "uvrs", "dsal", "dsah", "cmd", "macl", "mach", "icr", "ecr")
RING = ("low", "high", "size", "fill", "done", "gen")
COMPLETIONS = ("completions low", "completions high", "completions size", "completions next", "completions gen")
DATA = ("data low", "data high", "data entries", "data size")
TRANSMIT = ("txprod", *RING, *DATA, *COMPLETIONS, "stopped")
RECEIVE = ("rxprod", "rxprod2", *RING, *(f"second {name}" for name in RING), *DATA, *COMPLETIONS)


def dump(vm: VM, doorbells: str = "") -> Dump:
    """All of it. ``doorbells``: what their names begin with, where the large BAR has others."""
    vm.run("ethtool -d eth0 raw on > /tmp/dump", check=True)
    data = vm.get("/tmp/dump")
    words = iter(struct.unpack(f"<{len(data) // 4}I", data))
    found = dict(zip(CONTROL, words, strict=False))
    found |= {f"imr[{n}]": next(words) for n in range(next(words))}
    queues: list[list[dict[str, int]]] = []
    for names in (TRANSMIT, RECEIVE):
        queues.append([{name: next(words) for name in names} for _ in range(next(words))])
        for n, queue in enumerate(queues[-1]):
            found |= {f"{doorbells}{name}[{n}]": queue.pop(name) for name in names if "prod" in name}
    assert list(words) == []
    return Dump(found, *queues)


def table(vm: VM) -> list[int]:
    """The indirection table of ``ethtool -x``."""
    text = vm.run("ethtool -x eth0", check=True).text
    return [int(entry) for line in re.findall(r"^ +\d+: (.*)$", text, re.MULTILINE) for entry in line.split()]


def statistics(vm: VM, interface: str = "eth0") -> dict[str, int]:
    """``ethtool -S`` summed over all queues."""
    sums: dict[str, int] = {}
    for name, value in re.findall(r"^ +([a-zA-Z ]+): (\d+)$", vm.run(f"ethtool -S {interface}", check=True).text, re.M):
        sums[name] = sums.get(name, 0) + int(value)
    return sums


def spelled(name: str, way: str) -> str:
    """``ucastPktsTxOK`` as ``ethtool -S`` calls it: "ucast pkts tx" (vmxnet3_ethtool.c ``vmxnet3_tq_dev_stats``)."""
    if name in COUNTED_AS:
        return COUNTED_AS[name]
    kind, what, _ = re.split("(Pkts|Bytes)", name)
    return f"{kind} {what.lower()} {way}"


WITHOUT_MSIX = f"{Path(__file__).with_name('vmxnet3_without_msix.py')}:DEVICE"
"""The device of ``vmxnet3_without_msix``, as it is served."""
