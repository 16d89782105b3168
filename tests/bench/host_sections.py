"""The sections of the benchmark about the server itself: posted writes, rings, idle cost, latency of an idle VF."""

from __future__ import annotations

import time
from contextlib import ExitStack

from emulators.process import ServerProcess
from emulators.qemu import Lab, VfioUser
from tests.bench import latency as latencies
from tests.bench import posted_write, tx_ring
from tests.bench.table import Row, Section, compare, single

VFS = 7


def server(quick: bool) -> Section:
    """CPU time of the server, without a guest."""
    rows = []
    for batch in posted_write.BATCHES:
        rounds = 3 if quick else 9
        ours, theirs = zip(*(posted_write.measure(batch, 40 if batch > 100 else 1000) for _ in range(rounds)), strict=True)
        rows.append(compare(f"posted write, {batch} at once", ours, theirs, "ns", at_most=1.5))
    for size in (60, 1500):
        for burst in (1, 32):
            cost = min(tx_ring.measure(size, burst, to_vf=False, packets=10_000) for _ in range(2 if quick else 5))
            rows.append(single(f"frame of {size} octets through ring and switch, {burst} per doorbell", cost / 1000, "us"))
    about = ("Posted writes: the vfio-user server beside a bare loop that receives and parses the same bytes (theirs), "
             "CPU time. Rings: from the doorbell to sink:, which reads each byte; best of some rounds.")  # fmt: skip
    return Section("The server alone", about, rows)


def idle(quick: bool) -> Section:
    """What seven VFs cost that are up in a guest and have nothing to do."""
    share, private = idle_cost(Lab(), seconds=5 if quick else 20)
    rows = [
        single("share of a core", 100 * share, "%", at_most=1.0),
        single("private memory", private / 2**20, "MiB", at_most=100),
    ]
    about = "One server; all interfaces are up under the stock igbvf in one guest, without traffic."
    return Section(f"{VFS} idle VFs", about, rows)


def idle_cost(lab: Lab, seconds: float) -> tuple[float, int]:
    """(share of a core, bytes of private memory) of a server whose seven VFs are up in a guest."""
    with ExitStack() as stack:
        process = stack.enter_context(ServerProcess(["igbvf"] * VFS))
        vm = stack.enter_context(lab.vm([VfioUser(path) for path in process.sockets], ["igbvf"]))
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")
        vm.run(f"for i in $(seq 0 {VFS - 1}); do ip link set eth$i up || exit 1; done; sleep 2", check=True)
        cpu, start = process.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (process.cpu_seconds() - cpu) / (time.monotonic() - start), process.private_bytes()


def latency(quick: bool) -> Section:
    """Register reads of an idle VF beside a busy one."""
    measured = latencies.measure(Lab(), rounds=2 if quick else 7)
    rows: list[Row] = []
    for what, quantile, limit in (("median", latencies.median, 3.0), ("99th percentile", latencies.p99, 10.0)):
        loaded, at_rest = ([ns / 1000 for ns in side] for side in measured.figures(quantile))
        rows.append(compare(f"register read, {what}", loaded, at_rest, "us", at_most=limit))
    rows.append(single("  the busy VF sends meanwhile", latencies.median(measured.rates), "frames/s"))
    about = ("A VF that only this client uses, while another VF of the same server carries pktgen at 60 octets (ours) and "
             "while it rests (theirs). Where root runs it, server and client have real-time priority meanwhile.")  # fmt: skip
    return Section("An idle VF beside a busy one", about, rows)
