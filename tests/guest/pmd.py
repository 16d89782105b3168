"""What testpmd tests share: guests for DPDK, cables whose far end is the test, and numbers out of testpmd's answers."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulators.fabric.frames import mac_bytes
from emulators.process import ServerProcess
from emulators.qemu import VM
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind
from tests.guest.network import until

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

    def offer(self, frame: bytes) -> bool | None:
        """Send without waiting; whether there was room, None when nobody takes anything."""
        with self._at_once():
            try:
                self._socket.sendto(frame, str(self.near))
            except BlockingIOError:
                return False
            except OSError:  # nobody is there, or who is there has said that it takes no more
                return None
        return True

    def arrived(self) -> list[bytes]:
        """What is there, without waiting."""
        frames: list[bytes] = []
        with self._at_once(), contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self._socket.recv(65536))
        return frames

    @contextlib.contextmanager
    def emptied(self) -> Iterator[list[bytes]]:
        """Meanwhile all that arrives is taken, into a list that grows; nothing is sent from here."""
        frames: list[bytes] = []
        over = threading.Event()

        def take() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    frames.append(self._socket.recv(65536))

        self._socket.settimeout(0.05)
        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield frames
        finally:
            over.set()
            thread.join()
            self._socket.settimeout(10)

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        self._socket.settimeout(0)
        yield
        self._socket.settimeout(10)

    def exchange(self, *frames: bytes) -> list[bytes]:
        """Send these, and hear as many meanwhile: a socket holds ten datagrams, and the rest would wait in the device."""
        with ThreadPoolExecutor(1) as reader:
            heard = reader.submit(self.receive, len(frames))
            self.send(*frames)
            return heard.result()

    def close(self) -> None:
        self._socket.close()


class Numbered:
    """Numbered frames into a cable, as fast as they are taken, and those that come back: a context manager with a thread.

    ``taken`` frames had their sender told so; what is refused, as between two servers, is tried again. No more than ``WINDOW``
    are under way, which each queue on the way has room for, and no fewer for long: what comes back is not looked at before.
    ``back`` are the numbers that came back, in that order. Those that were left out do not come any more.
    """

    WINDOW = 200

    def __init__(self, cable: Cable, target: bytes) -> None:
        self.cable, self.target = cable, target
        self.taken, self.refused = 0, 0
        self.back: list[int] = []
        self._full, self._enough, self._over = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def more(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many more have come back."""
        deadline, wanted = time.monotonic() + seconds, len(self.back) + count
        while len(self.back) < wanted:
            assert time.monotonic() < deadline, f"{self.taken} frames taken, {len(self.back)} back, {self.refused} refused"
            time.sleep(0.01)

    def crowd(self, seconds: float = 30.0) -> None:
        """Wait until as many are under way as may be."""
        self._full.clear()
        assert self._full.wait(seconds), f"{self.taken} frames taken, {len(self.back)} back, {self.refused} refused"

    def __enter__(self) -> Numbered:
        self._thread.start()
        return self

    def enough(self) -> None:
        """Send no more; what is under way still comes back."""
        self._enough.set()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._enough.is_set():
                self._take(self.cable.arrived())
            elif self.taken - self._expected() >= self.WINDOW:
                self._full.set()
                self._take(self.cable.arrived())
            else:
                took = self.cable.offer(frame(self.target, size=60 + self.taken % 1400, mark=self.taken))
                if took:
                    self.taken += 1
                    continue
                self.refused += took is None
            time.sleep(0.0005)

    def _expected(self) -> int:
        """The lowest number that may still come back."""
        return self.back[-1] + 1 if self.back else 0

    def _take(self, frames: list[bytes]) -> None:
        self.back += [int.from_bytes(each[14:18], "big") for each in frames if each[12:14] == LOCAL]


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


def counted(pmd: Testpmd, count: int, name: str = "TX-packets", number: int = 0) -> dict[str, int]:
    """``stats`` when ``name`` has come to ``count`` or beyond: a device may tell what it has counted a moment later."""
    until(lambda: stats(pmd, number)[name] >= count, 30)
    return stats(pmd, number)


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


def txonly(
    pmd: Testpmd, cable: Cable, count: int, server: ServerProcess | None = None
) -> tuple[list[bytes], dict[tuple[int, int], int]]:
    """Transmit until so many frames have come out of a cable. All that came, and packets by port and queue as testpmd has
    counted them: just as many, and those for which there was no room at the cable, as ``server`` says.
    """

    def left() -> int:
        return len(frames) + (unsent(server) - before if server is not None else 0)

    before = unsent(server) if server is not None else 0
    pmd("set fwd txonly")
    pmd("clear port stats all")
    with cable.emptied() as frames:
        pmd("start")
        until(lambda: len(frames) >= count, 60)
        sent = streams(pmd("stop"), "TX")
        until(lambda: left() >= sum(sent.values()), 60)
    assert left() == sum(sent.values())
    return frames, sent


def unsent(server: ServerProcess) -> int:
    """Frames for which there was no room at the first cable."""
    with server.control() as client:
        lost: dict[str, int] = client.ask("stats")["card"]["ports"][0]["uplink"]["dropped"]
    return lost.get("queue_full", 0)


def tx_first(pmd: Testpmd, cable: Cable, bursts: int) -> tuple[list[bytes], dict[tuple[int, int], int]]:
    """The same with so many bursts of 32 packets, for a device that loses what its cable does not take, and does not say so."""
    pmd("set fwd rxonly")
    pmd("clear port stats all")
    with cable.emptied() as frames:
        pmd(f"start tx_first {bursts}")
        sent = streams(pmd("stop"), "TX")
        until(lambda: len(frames) >= sum(sent.values()), 60)
    assert len(frames) == sum(sent.values()) == 32 * bursts * len(sent)
    return frames, sent


AT_ONCE = 250
"""Frames under way to a receive queue, which has more descriptors: a guest may get its processor late."""


def feed(pmd: Testpmd, number: int, cable: Cable, frames: Sequence[bytes]) -> None:
    """Send ``frames`` to a port that keeps them, at most ``AT_ONCE`` of them under way."""
    came = stats(pmd, number)["RX-packets"]
    for at in range(0, len(frames), AT_ONCE):
        part = frames[at : at + AT_ONCE]
        cable.send(*part)
        came += len(part)
        assert counted(pmd, came, "RX-packets", number)["RX-packets"] == came


END = 1001
"""Octets of the frame behind those that a test sends; no other has as many."""


def heard(pmd: Testpmd, cable: Cable, *frames: bytes, end: bytes = frame(b"\xff" * 6, size=END)) -> list[str]:
    """With ``set verbose 1`` and rxonly: what testpmd says of those of ``frames`` that come in, a line per packet.

    When it tells of ``end``, which always comes in and in the same queue, it has told of all the others.
    """
    cable.send(*frames, end)
    said = re.sub(r"\n +(?=ol_flags)", " ", pmd.overhear(f"length={END} ", lines=2))
    return [line for line in said.splitlines() if "src=" in line][:-1]
