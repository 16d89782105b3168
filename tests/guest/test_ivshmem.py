"""IVSHMEM in guests: one on QEMU's devices, one on ours, and a program of the host, all clients of this project's server.

The host publishes pools, rings and memory zones as DPDK 16.07 did (``ivshmem.py``), in several devices per guest. Each guest
attaches by itself, through Linux VFIO. Objects travel from the host to the first guest, to the second, and back, told by
doorbells, and nobody copies them; then all three take from the same rings and pools. ``test_ivshmem_qtest`` asserts the
devices' registers.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, RawDevice, VfioUser
from emulators.qemu.vfio import bind
from regmodel.conformance.outcomes import Outcome
from tests.guest.conforming import conform
from tests.guest.conftest import Bench
from tests.guest.ivshmem import COUNT, SECONDS, SHARES, SIZE, Sharing
from tests.guest.stations import MACHINE

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

PROGRAM = Path(__file__).with_name("ivshmem_peer.py")
BURST, ROUNDS = 4, 24
ATOMIC = ["-smp", "maxcpus=2"]
"""For a guest whose atomic operations are to be atomic to others as well: where there is one processor, and never can be
another, TCG does them in several steps (QEMU accel/tcg/tcg-accel-ops-mttcg.c ``mttcg_start_vcpu_thread``)."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def bdf_of(vm: VM) -> str:
    found = vm.run("lspci -d 1af4:1110").text.split()[0]
    return f"0000:{found.removeprefix('0000:')}"


def start_peer(vm: VM, place: int, following: int, count: int) -> None:
    """The peer in a guest, in the background."""
    vm.put("/tmp/peer.py", PROGRAM)
    vm.on_failure("peer", lambda folder: (folder / "peer.txt").write_bytes(vm.get("/tmp/out") + vm.get("/tmp/err")))
    words = ["python3", "/tmp/peer.py", *(f"vfio:{bdf}" for bdf in vm.bdfs), "--place", str(place), "--following",
             str(following), "--count", str(count)]  # fmt: skip
    vm.run(f"({shlex.join(words)} > /tmp/out 2> /tmp/err; echo $? > /tmp/status) &", check=True)


def found_by(vm: VM) -> dict[str, Any]:
    """What a peer says once it takes part: its ID, and what it has found."""
    until(vm, "grep -q ready /tmp/out")
    assert b"ready" in vm.get("/tmp/out"), vm.get("/tmp/err")
    found: dict[str, Any] = json.loads(vm.get("/tmp/out").splitlines()[0])
    return found


def end_peer(vm: VM) -> dict[str, int]:
    until(vm, "false")
    assert vm.run("cat /tmp/status").text == "0", vm.get("/tmp/err")
    last: dict[str, int] = json.loads(vm.get("/tmp/out").splitlines()[-1])
    return last


def until(vm: VM, true: str) -> None:
    """Until that is true in the guest's shell, or its peer has ended."""
    over = f"[ -s /tmp/status ] || [ $n -ge {round(10 * SECONDS)} ]"
    vm.run(f"n=0; until {true} || {over}; do usleep 100000; n=$((n+1)); done", timeout=SECONDS + 30, check=True)


def test_theirs_and_ours_and_the_host(tmp_path: Path, stack: ExitStack, kernel: str) -> None:
    """Round after round through both guests. Each object comes back as it should, each doorbell arrives once."""
    sharing = Sharing(tmp_path, stack)
    lab = Lab()
    chained = ServerProcess(["ivshmem-doorbell"], options={"server": str(sharing.socket), "vectors": "2"})
    plain = [ServerProcess(["ivshmem-plain"], options={"memory": str(sharing.files[name])}) for name in ("work", "letter 1")]
    for server in (served := [chained, *plain]):
        server.begin()
        stack.callback(server.stop)
    devices = [VfioUser(str(server.ready().sockets[0])) for server in served]
    machine: dict[str, Any] = {**MACHINE, "kernel": kernel}
    ours = lab.vm(devices, name="ours", arguments=ATOMIC, **machine)
    raw, arguments = theirs_of(sharing)
    theirs = lab.vm(raw, name="theirs", arguments=[*ATOMIC, *arguments], **machine)
    with lab.together(ours, theirs) as (first, second):
        once_around(sharing, first, second)
    with chained.control() as client:
        stats = client.ask("stats")["card"]["ivshmem0"]
    assert stats["rung"] == ROUNDS and stats["lost"] == 0 and stats["interrupts"] == ROUNDS
    assert len(sharing.pool) == len(sharing.work) == COUNT
    assert [sharing.letter(place) for place in (1, 2)] == [b"em daer"] * 2


def theirs_of(sharing: Sharing) -> tuple[list[RawDevice], list[str]]:
    """QEMU's own devices for the second guest, and what they stand on."""
    arguments = ["-chardev", f"socket,id=s,path={sharing.socket}"]
    devices = [RawDevice("ivshmem-doorbell,chardev=s,vectors=2")]
    for number, name in enumerate(("work", "letter 2")):
        memory = f"memory-backend-file,id=m{number},mem-path={sharing.files[name]},size={SIZE[name]},share=on"
        arguments += ["-object", memory]
        devices.append(RawDevice(f"ivshmem-plain,memdev=m{number}"))
    return devices, arguments


@pytest.mark.parametrize("name", ["ivshmem-plain", "ivshmem-doorbell"])
def test_conforms_through_vfio(bench: Bench, name: str) -> None:
    """Behind a root port: without an FLR of its own it is reset with its bus. The memory is its owner's, and left alone."""
    bench.device = name
    bench.serve()
    vm = bench.guest(0, **MACHINE, root_port=True)
    bind(vm, bdf_of(vm))
    there = conform(vm, name, bdf_of(vm))
    assert there.passed, [(row.test, row.register, row.reason) for row in there.rows if row.outcome is Outcome.FAIL]
    passed = {(row.test, row.register) for row in there.rows if row.outcome is Outcome.PASS}
    assert {("csr_rw", "bar0.intrmask"), ("csr_access_width", "bar0.doorbell"), ("reset_domains", "bar0.intrmask")} <= passed
    assert ("mem_walk", "bar2.shm") not in passed
    assert vm.kernel_warnings() == []


def once_around(sharing: Sharing, first: VM, second: VM) -> None:
    """All rounds and all work, and what both guests say of them."""
    for vm in (first, second):
        bind(vm, *vm.bdfs)
    count = BURST * ROUNDS
    start_peer(first, 1, 2, count)
    start_peer(second, 2, 0, count)
    found = [found_by(vm) for vm in (first, second)]
    ids = [each.pop("ready") for each in found]
    assert sorted([0, *ids]) == [0, 1, 2]
    assert list(sharing.directory[:3]) == [1, *(ident + 1 for ident in ids)]
    assert found == [sharing.expected(place) for place in (1, 2)]
    times = [sharing.round(BURST) for _ in range(ROUNDS)]
    done = sharing.work_together()
    for place, vm in enumerate((first, second), 1):
        said = end_peer(vm)
        assert said["passed"] == count and said["worked"] == done[place] >= SHARES and said["borrowed"] > 0
        assert vm.kernel_warnings() == []
    cuts = quantiles(times, n=20)
    print(f"once around, three doorbells: median {1e3 * cuts[9]:.1f} ms, 95 % below {1e3 * cuts[18]:.1f} ms; work done: {done}")
