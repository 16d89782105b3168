"""The sections of the benchmark about AVP, which has no doorbells: what it costs to look, and how soon something is found.

In here: rates under testpmd beside this project's virtio-net and igbvf in the same guest (nobody else's AVP device can be had);
the cost of a port that rests; how long packets and requests wait. The latter two have no guest: a client of this process maps
BAR 2 as a guest does, so what is measured is the server.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from socket import AF_UNIX, SOCK_DGRAM, socket

import numpy as np

from drivers.mempool import Mempool
from drivers.nics.avp import Avp
from drivers.transports.vfio_user import VfioUser
from emulators.process import ServerProcess
from emulators.qemu import Lab
from emulators.qemu import VfioUser as Guest
from regmodel.devices.avp import AVP
from tests.bench.pair import add_tap, prefer, quiet_network
from tests.bench.table import Row, Section, compare, single
from tests.bench.virtio_sections import flood

SIDES = ("avp", "virtio-net", "igbvf")
MILLISECOND = 1e-3
PACE = 0.0005
"""Seconds between two packets of the traffic under which is measured."""


def testpmd(quick: bool) -> Section:
    """txonly, rxonly and io of one testpmd process, on all three in turns."""
    from emulators.qemu.dpdk import Testpmd, huge_pages
    from emulators.qemu.vfio import bind
    from tests.bench.guest_sections import _forward, _found

    rounds, seconds = (1, 1.0) if quick else (5, 2.0)
    ports = [f"0000:{n:02x}:00.0" for n in range(1, 1 + len(SIDES))]
    taps = [f"tap-{side}" for side in SIDES]
    with ExitStack() as stack:
        quiet_network()
        for tap in taps:
            add_tap(tap)
            stack.callback(subprocess.run, ["ip", "link", "del", tap], check=False)
        server = stack.enter_context(ServerProcess(SIDES, nets=[f"tap:{tap}" for tap in taps]))
        machine = Lab().vm([Guest(path) for path in server.sockets], ["vfio-pci"], kits=["dpdk"], viommu=True, root_port=True,
                           cpus=2, memory="512M")  # fmt: skip
        vm = stack.enter_context(machine)
        prefer(server.pid, vm.pid)
        bind(vm, *ports)
        huge_pages(vm)
        pmd = stack.enter_context(Testpmd(vm, ports, args=["--port-topology=loop"]))
        macs = [_found(r"MAC address: (\S+)", pmd(f"show port info {port}")) for port in range(len(SIDES))]
        rows: list[Row] = []
        for mode, size, way in (("txonly", 64, "TX"), ("txonly", 1500, "TX"), ("rxonly", 60, "RX"), ("io", 60, "TX")):
            pmd(f"set fwd {mode}")
            pmd(f"set txpkts {size}")
            rates: list[list[float]] = [[] for _ in SIDES]
            for _ in range(rounds):
                for port, tap in enumerate(taps):
                    with ExitStack() as fed:
                        if mode != "txonly":
                            fed.enter_context(flood(tap, macs[port], size))
                        rates[port].append(_forward(pmd, port, way, seconds))
            what = f"testpmd {mode}, {size} octets"
            rows += [compare(f"{what}, by {other}'s", rates[0], rates[n], "frames/s") for n, other in enumerate(SIDES) if n]
    about = "AVP (ours) beside virtio-net and igbvf of this project (theirs), in one server, one guest and one process of DPDK."
    return Section("AVP under testpmd", about, rows)


@contextmanager
def port(wire: socket, folder: str) -> Iterator[tuple[ServerProcess, Avp, Mempool]]:
    """A served port with a driver of this process; ``wire`` is the far end of its cable."""
    near, far = f"{folder}/near", f"{folder}/far"
    wire.bind(far)
    with ServerProcess(["avp"], nets=[f"dgram:local={near},remote={far}"]) as server, VfioUser(str(server.sockets[0])) as via:
        avp, pool = Avp(via, AVP), Mempool(via, 256)
        avp.configure()
        avp.rx_queue_setup(0, pool, 64)
        avp.tx_queue_setup(0, pool, 64)
        avp.start()
        yield server, avp, pool


def waiting(quick: bool) -> Section:
    """What a port costs that has nothing to do; how long a packet and a request wait until it sees them."""
    import tempfile

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        wire = stack.enter_context(socket(AF_UNIX, SOCK_DGRAM))
        server, avp, pool = stack.enter_context(port(wire, folder))
        wire.settimeout(5)
        delivered(avp, pool, wire, 50, PACE)
        share = idle(server, 2 if quick else 10)
        busy = delivered(avp, pool, wire, 300 if quick else 4000, PACE)
        first = delivered(avp, pool, wire, 5 if quick else 40, 0.25 if quick else 0.5)
        requests = [asked(avp) for _ in range(5 if quick else 40)]
    rows = [
        single("an idle server, share of a core", 100 * share, "%", at_most=2.0),
        *percentiles("enqueue to delivery under traffic", busy, 1.0),
        *percentiles("the first packet after idle", first, 5.0),
        *percentiles("a request", requests, 100.0),
    ]
    about = ("A client maps BAR 2 as a guest does, puts a packet into a queue and waits for it at the end of a cable (dgram); "
             f"under traffic there is one every {PACE / MILLISECOND:g} ms. A driver looks for responses every 5 ms.")
    return Section("AVP: looking instead of being told", about, rows)


def percentiles(what: str, seconds: Sequence[float], at_most: float) -> list[Row]:
    """Median, which is judged, 90 % and 99 %, in ms."""
    ms = sorted(second / MILLISECOND for second in seconds)
    rows = [single(f"{what}, median of {len(ms)}", statistics.median(ms), "ms", at_most=at_most)]
    return rows + [single(f"  {share} %", ms[min(len(ms) * share // 100, len(ms) - 1)], "ms") for share in (90, 99)]


def delivered(avp: Avp, pool: Mempool, wire: socket, count: int, pause: float) -> list[float]:
    """Seconds from ``tx_burst`` to the far end, packet by packet, ``pause`` seconds between them."""
    target = b"\x02\x00\x00\x00\x00\x99" + avp.mac_addr + b"\x88\xb5"
    took = []
    for number in range(count):
        packet = np.array([pool.put(target + number.to_bytes(4, "big") + bytes(42))], np.intp)
        start = time.perf_counter()
        if avp.tx_burst(0, packet) != 1:
            raise AssertionError("there is no buffer to send with")
        wire.recv(2048)
        took.append(time.perf_counter() - start)
        time.sleep(pause)
    return took


def idle(server: ServerProcess, seconds: float) -> float:
    """Share of a core, once a second has passed without anything to do."""
    time.sleep(1.0)
    cpu, start = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu_seconds() - cpu) / (time.monotonic() - start)


def asked(avp: Avp) -> float:
    """Seconds of a request that changes nothing."""
    time.sleep(0.02)
    avp.mtu_set(avp.settings.mtu)
    return avp.requests.took

