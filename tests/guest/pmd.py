"""What testpmd tests share: guests for DPDK, cables whose far end is the test, and numbers out of testpmd's answers."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from emulators.fabric.frames import mac_bytes
from emulators.qemu import VM
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind

MACHINE = {"modules": ["vfio-pci"], "viommu": True, "root_port": True, "kits": ["dpdk"], "memory": "512M", "cpus": 2}
"""What a guest needs for testpmd; its devices are at ``port(0)``, ``port(1)``, ..."""

QUEUES = {"igbvf": 2, "igbvf-i350": 1}
"""Queue pairs of a VF."""

FCS = 4
PEER = bytes.fromhex("020000aabbcc")
"""The address of whoever sends over a ``Cable``."""

LOCAL = b"\x88\xb5"
"""An EtherType for experiments (IEEE 802)."""


def port(number: int) -> str:
    """The PCI address of a device behind root port ``number``."""
    return f"0000:{number + 1:02x}:00.0"


def prepare(vm: VM, *ports: str) -> None:
    """Bind devices to ``vfio-pci`` and reserve huge pages."""
    bind(vm, *ports)
    huge_pages(vm)


def testpmd(vm: VM, device: str, *ports: str, eal: Sequence[str] = (), args: Sequence[str] = ()) -> Testpmd:
    """testpmd with all queues of each VF."""
    queues = QUEUES[device]
    return Testpmd(vm, ports, eal=eal, args=[f"--rxq={queues}", f"--txq={queues}", *args])


class Cable:
    """The far end of an uplink ``dgram:`` (``net``), and of QEMU's ``-netdev dgram`` (``netdev``)."""

    def __init__(self, folder: Path, name: str) -> None:
        self.near, self.far = folder / f"{name}.near", folder / f"{name}.far"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.far))
        self._socket.settimeout(10)
        self.net = f"dgram:local={self.near},remote={self.far}"

    def netdev(self, name: str) -> str:
        """The same for QEMU's ``-netdev``."""
        return f"dgram,id={name},local.type=unix,local.path={self.near},remote.type=unix,remote.path={self.far}"

    def send(self, *frames: bytes) -> None:
        """Waits while the device does not keep up."""
        for frame in frames:
            self._socket.sendto(frame, str(self.near))

    def receive(self, count: int = 1 << 30, seconds: float = 10.0) -> list[bytes]:
        """The frames that arrive, until there are ``count`` or that long after the last."""
        frames: list[bytes] = []
        self._socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while len(frames) < count:
                frames.append(self._socket.recv(65536))
        self._socket.settimeout(10)
        return frames

    def close(self) -> None:
        self._socket.close()


def frame(target: bytes, source: bytes = PEER, *, size: int = 64, tci: int | None = None, mark: int = 0) -> bytes:
    """A frame of ``size`` octets, the tag not counted, that is told by ``mark``."""
    tag = b"" if tci is None else b"\x81\x00" + tci.to_bytes(2, "big")
    body = mark.to_bytes(4, "big") + bytes(i & 0xFF for i in range(size - 18))
    return target + source + tag + LOCAL + body


def address(pmd: Testpmd, number: int = 0) -> bytes:
    """A port's MAC address."""
    return mac_bytes(shows(pmd(f"show port info {number}"))["MAC address"])


def shows(text: str) -> dict[str, str]:
    """``name: value`` on lines of their own."""
    return {name.strip(): value.strip() for name, _, value in (line.partition(": ") for line in text.splitlines()) if value}


def stats(pmd: Testpmd, number: int = 0) -> dict[str, int]:
    """``show port stats``: RX-packets, TX-bytes, ... since they were cleared."""
    return {name: int(value) for name, value in re.findall(r"([RT]X-\w+): +(\d+)", pmd(f"show port stats {number}"))}


def xstats(pmd: Testpmd, number: int = 0) -> dict[str, int]:
    """``show port xstats``."""
    return {name: int(value) for name, value in re.findall(r"^(\w+): (\d+)$", pmd(f"show port xstats {number}"), re.M)}


def streams(said: str, direction: str) -> dict[tuple[int, int], int]:
    """Packets by port and queue from what ``stop`` says; ``direction`` is RX or TX. Silent queues are not mentioned.

    With one queue per port testpmd does not count them itself, but says what the device has counted up to then.
    """
    column = {"RX": 2, "TX": 3}[direction]
    rows = re.findall(rf"{_STREAM}{_COUNTS}", said) or re.findall(rf"{_PORT}{_COUNTS}", said)
    return {(int(row[0]), int(row[1] or 0)): int(row[column]) for row in rows if int(row[column])}


_STREAM = r"-> TX Port= ?(\d+)/Queue= ?(\d+) -+\s+"
_PORT = r"Forward statistics for port (\d+)() +-+\s+"
_COUNTS = r"RX-packets: (\d+) [^\n]*(?:\n[^\n]*)?TX-packets: (\d+)"


def heard(pmd: Testpmd, seconds: float = 0.3) -> list[str]:
    """With ``set verbose 1`` and rxonly: a line per packet that came in since the last command."""
    time.sleep(seconds)
    said = pmd("show config cores")
    return [line for line in re.sub(r"\n +(?=ol_flags)", " ", said).splitlines() if "src=" in line or "ol_flags" in line]
