"""The sections of the benchmark about virtio: ours against QEMU's own model, under the same driver in the same guest."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from emulators.process import ServerProcess
from emulators.qemu import Lab, VfioUser
from tests.bench import pktgen
from tests.bench.guest_sections import flood, rate, vcpu_seconds
from tests.bench.nic_pair import NicPair
from tests.bench.pair import frames_on, prefer
from tests.bench.table import Row, Section, compare, single
from tests.bench.virtio_pair import ABOUT, VirtioPair

PORT = 7


def driver(front: str, targets: bool) -> Callable[[bool], Section]:
    """All that the stock virtio_net shows behind ``front``; ``targets``: 1.0 is asked for."""

    def section(quick: bool) -> Section:
        rounds = 2 if quick else 5
        target = 1.0 if targets else None
        with VirtioPair(Lab(), front, modules=["pktgen"]) as pair:
            rows = [
                *transmit(pair, rounds, 20_000 if quick else 100_000, target), *receive(pair, rounds),
                *tcp(pair, rounds, 1.0 if quick else 3.0, target),
            ]  # fmt: skip
        about = f"QEMU's virtio-net-pci and ours, under the same virtio_net in one guest; {ABOUT}; pktgen with clone_skb 1000."
        return Section(f"virtio-net, {front}, under the stock driver", about, rows)

    return section


def transmit(pair: VirtioPair, rounds: int, count: int, target: float | None) -> list[Row]:
    """pktgen: frames per second, doorbells and CPU time per frame."""
    rows = []
    for size in (60, 1500):
        names = (pair.ours, pair.theirs)
        rates: list[list[float]] = [[], []]
        rung: list[list[float]] = [[], []]
        busy: list[list[float]] = [[], []]
        taken, cpu = {tap: frames_on(tap) for tap in pair.taps}, pair.server.cpu_seconds()
        for _ in range(rounds):
            for side, name in enumerate(names):
                bells, spent = pair.doorbells(name), vcpu_seconds(pair.vm)
                rates[side].append(pktgen.send(pair.vm, name, size=size, count=count))
                busy[side].append(1e6 * (vcpu_seconds(pair.vm) - spent) / count)
                rung[side].append((pair.doorbells(name) - bells) / count)
        for tap, seen in taken.items():
            arrived = frames_on(tap) - seen
            if arrived < rounds * count:
                raise AssertionError(f"{arrived} of {rounds * count} frames came to the end of {tap}")
        rows.append(compare(f"pktgen TX, {size} octets", *rates, "frames/s", at_least=target))
        rows.append(compare(f"  doorbells per frame, {size} octets", *rung, at_most=target))
        rows.append(compare(f"  vCPU time per frame, {size} octets", *busy, "us"))
        spent_here = 1e6 * (pair.server.cpu_seconds() - cpu) / (rounds * count)
        rows.append(single(f"  server CPU per frame, {size} octets", spent_here, "us"))
    return rows


def receive(pair: NicPair, rounds: int) -> list[Row]:
    """Frames per second that the driver takes from one sender of the host, which shares a core with the server."""

    def taken(name: str) -> Callable[[], int]:
        path = f"/sys/class/net/{name}/statistics/rx_packets"
        return lambda: int(pair.vm.run(f"cat {path}", check=True).text)

    rows = []
    names = (pair.ours, pair.theirs)
    macs = [pair.vm.run(f"cat /sys/class/net/{name}/address", check=True).text.strip() for name in names]
    for size in (60, 1500):
        rates: list[list[float]] = [[], []]
        for _ in range(rounds):
            for figures, name, mac, tap in zip(rates, names, macs, pair.taps, strict=True):
                with flood(tap, mac, size):
                    figures.append(rate(taken(name), 2.0))
        rows.append(compare(f"receive, {size} octets", *rates, "frames/s"))
    return rows


def tcp(pair: NicPair, rounds: int, seconds: float, target: float | None) -> list[Row]:
    """One connection between the guest and the host's kernel, which takes and gives segments of 64 KiB."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "stream"
        subprocess.run(["gcc", "-O2", "-static", "-o", binary, Path(__file__).parent / "guest" / "stream.c"], check=True)
        pair.vm.put("/tmp/stream", binary)
    pair.vm.run("chmod +x /tmp/stream", check=True)
    rows = []
    for way, what in (("send", "guest to host"), ("receive", "host to guest")):
        rates: list[list[float]] = [[], []]
        for _ in range(rounds):
            for number, figures in enumerate(rates):
                figures.append(stream(pair, number, way, seconds))
        rows.append(compare(f"TCP, {what}", *rates, "Mbit/s", at_least=target))
    return rows


@contextmanager
def preferred() -> Iterator[None]:
    """This process, which is the other end, has priority as well."""
    prefer(os.getpid())
    try:
        yield
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
            Path("/proc/self/autogroup").write_text("0")


def stream(pair: NicPair, number: int, way: str, seconds: float) -> float:
    """Mbit/s over NIC ``number``, counted by this end's socket after a short while to get going."""
    with preferred(), socket.create_server((pair.host(number), PORT)) as server:
        command = f"/tmp/stream {pair.host(number)} {PORT} {way}"
        said: list[str] = []
        guest = threading.Thread(target=lambda: said.append(pair.vm.run(command, timeout=60).text))
        guest.start()
        server.settimeout(30)
        peer, _ = server.accept()
        with peer:
            buffer = memoryview(bytearray(1 << 20))
            move = (lambda: peer.recv_into(buffer)) if way == "send" else (lambda: peer.send(buffer))
            moved, start = 0, time.monotonic()
            began, end = start + 0.3, start + 0.3 + seconds
            while (now := time.monotonic()) < end:
                octets = move()
                if now >= began:
                    moved += octets
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        guest.join()
    return 8e-6 * moved / seconds


def testpmd(quick: bool) -> Section:
    """DPDK's traffic generator and counter, on both NICs from one process."""
    about = f"Both NICs in one process of DPDK behind intel-iommu; {ABOUT}; bursts of 32."
    return Section("virtio-net under testpmd", about, forwarded(VirtioPair(Lab(), dpdk=True), quick))


def forwarded(nics: NicPair, quick: bool) -> list[Row]:
    """txonly and rxonly of testpmd, on both NICs in turns."""
    from emulators.qemu.dpdk import Testpmd
    from tests.bench.guest_sections import _forward, _found

    rounds, seconds = (2, 1.0) if quick else (5, 2.0)
    with nics as pair, Testpmd(pair.vm, [pair.ours, pair.theirs]) as pmd:
        macs = [_found(r"MAC address: (\S+)", pmd(f"show port info {port}")) for port in (0, 1)]
        rows = []
        pmd("set fwd txonly")
        for size in (64, 1500):
            pmd(f"set txpkts {size}")
            rates: list[list[float]] = [[], []]
            for _ in range(rounds):
                for port in (0, 1):
                    rates[port].append(_forward(pmd, port, "TX", seconds))
            rows.append(compare(f"testpmd txonly, {size} octets", *rates, "frames/s", at_least=0.5))
        pmd("set fwd rxonly")
        rates = [[], []]
        for _ in range(rounds):
            for port, tap in enumerate(pair.taps):
                with flood(tap, macs[port], 60):
                    rates[port].append(_forward(pmd, port, "RX", seconds))
        rows.append(compare("testpmd rxonly, 60 octets", *rates, "frames/s", at_least=0.5))
    return rows


def memory(quick: bool) -> Section:
    """What a further device costs the server."""
    return Section("Further virtio NICs", "One server with one and with five NICs, all of them up in a guest.",
                   [further("virtio-net", "virtio_net")])  # fmt: skip


def further(device: str, module: str) -> Row:
    """Private memory of the server by NIC; the first is not counted, with it come Python and the libraries."""
    sizes = [_private(device, module, count) for count in (1, 5)]
    return single("private memory per further NIC", (sizes[1] - sizes[0]) / 4 / 2**20, "MiB", at_most=20)


def _private(device: str, module: str, count: int) -> int:
    with ExitStack() as stack:
        process = stack.enter_context(ServerProcess([device] * count))
        vm = stack.enter_context(Lab().vm([VfioUser(path) for path in process.sockets], [module]))
        vm.run(f"for i in $(seq 0 {count - 1}); do ip link set eth$i up || exit 1; done; sleep 2", check=True)
        return process.private_bytes()
