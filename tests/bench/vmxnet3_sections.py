"""The sections of the benchmark about VMXNET3: ours against QEMU's own model, under the same driver in the same guest.

In here: what is peculiar to the family, which is how doorbells are counted: its driver keeps no account of them, so QEMU's
trace of register writes is read, for both NICs alike, in a round of its own that is not timed.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from emulators.qemu import VM, Lab
from tests.bench import pktgen
from tests.bench.guest_sections import vcpu_seconds
from tests.bench.nic_pair import ABOUT, NicPair, Twins
from tests.bench.pair import frames_on
from tests.bench.table import Row, Section, compare, single
from tests.bench.virtio_sections import forwarded, further, receive, tcp

TWINS = Twins("vmxnet3", "vmxnet3", "vmxnet3")
TRACE = "memory_region_ops_write"
TXPROD = 0x600
"""Where the doorbell of the first transmit queue is in BAR 0 (vmxnet3_defs.h VMXNET3_REG_TXPROD)."""


def driver(quick: bool) -> Section:
    """All that the stock vmxnet3 shows."""
    rounds = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        with NicPair(Lab(), TWINS, modules=["pktgen"], arguments=["-D", str(log)]) as pair:
            rows = [
                *transmit(pair, rounds, 20_000 if quick else 100_000, log), *receive(pair, rounds),
                *tcp(pair, rounds, 1.0 if quick else 3.0, 1.0),
            ]  # fmt: skip
    about = f"QEMU's vmxnet3 and ours, under the same vmxnet3 in one guest; {ABOUT}; pktgen with clone_skb 1000."
    return Section("VMXNET3 under the stock driver", about, rows)


def transmit(pair: NicPair, rounds: int, count: int, log: Path) -> list[Row]:
    """pktgen: frames per second, doorbells and CPU time per frame."""
    rows = []
    names = (pair.ours, pair.theirs)
    for size in (60, 1500):
        rates: list[list[float]] = [[], []]
        busy: list[list[float]] = [[], []]
        taken, cpu = {tap: frames_on(tap) for tap in pair.taps}, pair.server.cpu_seconds()
        for _ in range(rounds):
            for side, name in enumerate(names):
                spent = vcpu_seconds(pair.vm)
                rates[side].append(pktgen.send(pair.vm, name, size=size, count=count))
                busy[side].append(1e6 * (vcpu_seconds(pair.vm) - spent) / count)
        for tap, seen in taken.items():
            arrived = frames_on(tap) - seen
            if arrived < rounds * count:
                raise AssertionError(f"{arrived} of {rounds * count} frames came to the end of {tap}")
        spent_here = 1e6 * (pair.server.cpu_seconds() - cpu) / (rounds * count)
        rung = [[doorbells(pair.vm, name, size, count // 10, log)] for name in names]
        rows += [
            compare(f"pktgen TX, {size} octets", *rates, "frames/s", at_least=1.0),
            compare(f"  doorbells per frame, {size} octets", *rung, at_most=1.0),
            compare(f"  vCPU time per frame, {size} octets", *busy, "us"),
            single(f"  server CPU per frame, {size} octets", spent_here, "us"),
        ]
    return rows


def doorbells(vm: VM, name: str, size: int, count: int, log: Path) -> float:
    """Writes of TXPROD per frame, of ``count`` frames."""
    resource = vm.run(f"head -n 1 /sys/class/net/{name}/device/resource", check=True).text
    address = int(resource.split()[0], 0) + TXPROD
    before = log.stat().st_size if log.exists() else 0
    vm.qmp("trace-event-set-state", name=TRACE, enable=True)
    try:
        pktgen.send(vm, name, size=size, count=count)
    finally:
        vm.qmp("trace-event-set-state", name=TRACE, enable=False)
    said = log.read_text()[before:]
    if TRACE not in said:
        raise AssertionError(f"QEMU traced nothing: {said[:200]!r}")
    return len(re.findall(rf"addr {address:#x} ", said)) / count


def testpmd(quick: bool) -> Section:
    """DPDK's traffic generator and counter, on both NICs from one process."""
    about = f"Both NICs in one process of DPDK behind intel-iommu; {ABOUT}; bursts of 32."
    return Section("VMXNET3 under testpmd", about, forwarded(NicPair(Lab(), TWINS, dpdk=True), quick))


def memory(quick: bool) -> Section:
    """What a further device costs the server."""
    return Section("Further VMXNET3 NICs", "One server with one and with five NICs, all of them up in a guest.",
                   [further("vmxnet3", "vmxnet3")])  # fmt: skip
