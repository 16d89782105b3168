"""The sections of the benchmark that boot a guest: registers, kernel packet generator, receive rate, testpmd, TCP."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from emulators.qemu.dpdk import Testpmd
from tests.bench import pktgen
from tests.bench.pair import ABOUT, OURS, THEIRS, Pair, frames_on, prefer
from tests.bench.table import Row, Section, compare, single

STATUS, EIMC = 0x8, 0x1528
"""Offsets: a register to read, and one in which writing 0 does nothing (82576 datasheet, 8.27)."""
ADDRESSES = ("192.0.2.1", "192.0.2.2")


def driver(quick: bool) -> Section:
    """All that the stock igbvf shows, in one guest."""
    rounds = 2 if quick else 5
    with Pair(Lab(), modules=["pktgen"]) as pair:
        rows = [*_registers(pair, rounds), *_transmit(pair, rounds, 20_000 if quick else 100_000), *_receive(pair, rounds)]
    about = (f"The VF of QEMU's igb, its PF under stock igb, and ours, under the same igbvf in the same guest; {ABOUT}; "
             "pktgen with clone_skb 1000, one doorbell per frame.")  # fmt: skip
    return Section("Under the stock igbvf", about, rows)


def _registers(pair: Pair, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "mmio"
        subprocess.run(["gcc", "-O2", "-static", "-o", binary, Path(__file__).parent / "guest" / "mmio.c"], check=True)
        pair.vm.put("/tmp/mmio", binary)
    pair.vm.run("chmod +x /tmp/mmio", check=True)
    figures: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(rounds):
        for name in (pair.ours, pair.theirs):
            for kind, offset, count in (("read", STATUS, 2000), ("write", EIMC, 5000)):
                resource = f"/sys/class/net/{name}/device/resource0"
                said = pair.vm.run(f"/tmp/mmio {resource} {offset:#x} {kind} {count}", check=True, timeout=120).text
                figures.setdefault((kind, name), []).append([float(word) / 1000 for word in said.split()])
    rows = []
    wanted = (("read", 0, "register read, median"), ("read", 1, "register read, 99th percentile"), ("write", 0, "posted write"))
    for kind, at, what in wanted:
        ours, theirs = ([figure[at] for figure in figures[kind, name]] for name in (pair.ours, pair.theirs))
        rows.append(compare(what, ours, theirs, "us"))
    return rows


def _transmit(pair: Pair, rounds: int, count: int) -> list[Row]:
    rows = []
    for size in (60, 1500):
        rates: dict[str, list[float]] = {pair.ours: [], pair.theirs: []}
        busy: dict[str, list[float]] = {pair.ours: [], pair.theirs: []}
        before, cpu = pair.messages(), pair.server.cpu_seconds()
        taken = {tap: frames_on(tap) for tap in (OURS, THEIRS)}
        for _ in range(rounds):
            for name, figures in rates.items():
                start = vcpu_seconds(pair.vm)
                pktgen.send(pair.vm, name, size=size, count=1)
                middle = vcpu_seconds(pair.vm)
                figures.append(pktgen.send(pair.vm, name, size=size, count=count))
                busy[name].append(1e6 * (vcpu_seconds(pair.vm) - middle - (middle - start)) / count)
        for tap, seen in taken.items():
            arrived = frames_on(tap) - seen
            if arrived < rounds * (count + 1):
                raise AssertionError(f"{arrived} of {rounds * (count + 1)} frames came to the end of {tap}")
        after = pair.messages()
        messages = sum(after.values()) - sum(before.values())
        rows.append(compare(f"pktgen TX, {size} octets", *rates.values(), "frames/s", at_least=1.0))
        rows.append(compare(f"  vCPU time per frame, {size} octets", *busy.values(), "us"))
        # what a device behind QEMU's client reaches if it takes no time at all: the vCPU does nothing but send
        bound = [1e6 / spent / rate for spent, rate in zip(busy[pair.ours], rates[pair.theirs], strict=True)]
        rows.append(single(f"  ratio that this vCPU time allows, {size} octets", statistics.median(bound), "x"))
        rows.append(single(f"  messages per frame, {size} octets", messages / (rounds * count)))
        spent = 1e6 * (pair.server.cpu_seconds() - cpu) / (rounds * count)
        rows.append(single(f"  server CPU per frame, {size} octets", spent, "us"))
    return rows


def vcpu_seconds(vm: VM) -> float:
    """Time that the guest's virtual CPUs have run so far, in its code and in QEMU's devices (proc(5), schedstat)."""
    threads = [task for task in Path(f"/proc/{vm.pid}/task").iterdir() if (task / "comm").read_text().startswith("CPU ")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


def _receive(pair: Pair, rounds: int) -> list[Row]:
    def taken(name: str) -> Callable[[], int]:
        path = f"/sys/class/net/{name}/statistics/rx_packets"
        return lambda: int(pair.vm.run(f"cat {path}", check=True).text)

    names = (pair.ours, pair.theirs)
    macs = {name: pair.vm.run(f"cat /sys/class/net/{name}/address", check=True).text.strip() for name in names}
    rows = []
    for size in (60, 1500):
        rates: list[list[float]] = [[], []]
        for _ in range(rounds):
            for figures, name, tap in zip(rates, macs, (OURS, THEIRS), strict=True):
                with flood(tap, macs[name], size):
                    figures.append(rate(taken(name), 2.0))
        rows.append(compare(f"receive, {size} octets", *rates, "frames/s"))
    return rows


@contextmanager
def flood(tap: str, target: str, size: int) -> Iterator[None]:
    """As many frames as one sender makes, from the host to a VF."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.wire", tap, target, str(size)])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def rate(counter: Callable[[], int], seconds: float) -> float:
    """How fast a counter goes."""
    first, start = counter(), time.monotonic()
    time.sleep(seconds)
    last = counter()
    return (last - first) / (time.monotonic() - start)


# -- testpmd

def testpmd(quick: bool) -> Section:
    """DPDK's own traffic generator and counter, on both VFs from one process."""
    rounds, seconds = (2, 1.0) if quick else (5, 2.0)
    with Pair(Lab(), dpdk=True, kits=["dpdk"]) as pair, Testpmd(pair.vm, [pair.ours, pair.theirs]) as pmd:
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
            for port, tap in enumerate((OURS, THEIRS)):
                with flood(tap, macs[port], 60):
                    rates[port].append(_forward(pmd, port, "RX", seconds))
        rows.append(compare("testpmd rxonly, 60 octets", *rates, "frames/s"))
    return Section("Under testpmd", f"Both VFs in one process of DPDK behind intel-iommu; {ABOUT}; bursts of 32.", rows)


def _forward(pmd: Testpmd, port: int, way: str, seconds: float) -> float:
    """Frames per second that testpmd counts on ``port`` while it forwards."""
    pmd(f"set portlist {port}")
    pmd("clear port stats all")
    start = time.monotonic()
    pmd("start")
    time.sleep(seconds)
    pmd("stop")
    elapsed = time.monotonic() - start
    return int(_found(rf"{way}-packets: (\d+)", pmd(f"show port stats {port}"))) / elapsed


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise AssertionError(f"testpmd did not say {pattern!r}: {text}")
    return match[1]


# -- TCP between two guests

def tcp(quick: bool) -> Section:
    """iperf3 both ways between two guests: through our switch, and through two igb whose ports are joined."""
    seconds, rounds = (2, 1) if quick else (4, 3)
    lab = Lab()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ServerProcess(["igbvf", "igbvf"]))
        guests = [_guest(lab, server, number, folder / "wire") for number in (0, 1)]
        a, b = stack.enter_context(lab.together(*guests))
        prefer(server.pid, a.pid, b.pid)
        rates: dict[tuple[str, int], list[float]] = {}
        for network, name in enumerate(("eth0", "eth2")):
            for vm, host in ((a, 1), (b, 2)):
                _join(vm, name, f"10.0.{network}.{host}")
        b.run("iperf3 -s -D", check=True)
        for _ in range(rounds):
            for reverse in (0, 1):
                for network, name in enumerate(("ours", "theirs")):
                    command = f"iperf3 -J -c 10.0.{network}.2 -t {seconds} {'-R' * reverse}"
                    said = json.loads(a.run(command, check=True, timeout=60).stdout)
                    rates.setdefault((name, reverse), []).append(said["end"]["sum_received"]["bits_per_second"] / 1e6)
    rows = [compare(f"TCP, {way}", rates["ours", reverse], rates["theirs", reverse], "Mbit/s")
            for reverse, way in enumerate(("first guest to second", "second guest to first"))]  # fmt: skip
    about = ("Ours: two VFs of one port, one per guest, switched in the card. QEMU's: a VF of an igb in each guest, "
             "the two ports joined by a UNIX stream socket. iperf3, one connection.")  # fmt: skip
    return Section("TCP between two guests", about, rows)


def _guest(lab: Lab, server: ServerProcess, number: int, wire: Path) -> VM:
    side = "on" if number == 0 else "off,reconnect-ms=100"
    netdev = f"stream,id=wire,server={side},addr.type=unix,addr.path={wire}"
    mac = f"52:54:00:00:00:0{number + 1}"
    devices = [VfioUser(server.sockets[number]), RawDevice(f"igb,netdev=wire,mac={mac}")]
    return lab.vm(devices, ["igbvf", "igb"], kits=["iperf3"], arguments=["-netdev", netdev], name="ab"[number])


def _join(vm: VM, name: str, address: str) -> None:
    if name == "eth2":
        vm.run("ip link set eth1 up && echo 1 > /sys/class/net/eth1/device/sriov_numvfs", check=True)
    vm.run(
        f"for i in $(seq 50); do [ -e /sys/class/net/{name} ] && break; sleep 0.1; done; "
        f"ip addr add {address}/24 dev {name} && ip link set {name} up && "
        f"for i in $(seq 100); do [ $(cat /sys/class/net/{name}/carrier) = 1 ] && exit 0; sleep 0.1; done; exit 1",
        check=True,
    )


