"""The Python driver of AVP in a guest, through Linux VFIO: the only other client is DPDK's (``test_avp``).

Frames go over a cable whose far end is the test. A station in the guest sends each one back with its content reversed, so that
every octet is checked on its way in and on its way out, in memory that the guest's kernel maps from BAR 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.qemu import VM
from emulators.qemu.vfio import bind
from regmodel.conformance.outcomes import Outcome
from tests.guest.avp import PATIENT
from tests.guest.conforming import conform
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, echoed
from tests.guest.test_python_driver import COUNT, talk

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

DEVICE = "avp"
STATION = ("echo", "--device", DEVICE, "--with", "patience=20")
"""Its host may be late to answer a request: nothing here judges how soon it does."""
SIZES = (60, 64, 127, 500, 1514)
SECONDS = 90.0
"""That Python may take to start in a guest beside others."""
WAITS = """
import sys
from drivers.mempool import Mempool
from drivers.nics.avp import Avp
from drivers.transports.opening import open_transport
from regmodel.devices.avp import AVP

with open_transport(sys.argv[1], AVP) as transport, Avp(transport, AVP, patience=20) as port:
    pool = Mempool(transport, 256)
    port.configure()
    port.rx_queue_setup(0, pool, 64)
    port.tx_queue_setup(0, pool, 64)
    port.start()
    port.intr_wait(0)  # enables MSI-X: from now on an interrupt is kept until somebody waits for it
    print("ready", flush=True)
    end, waits = transport.now() + 90, 0
    while not port.migrations and transport.now() < end:
        port.intr_wait(90)
        waits += 1
    print("migrations", port.migrations, "waits", waits)
"""
"""It sleeps until the device's one interrupt comes, twice in a migration."""


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path, "a")
    yield made
    made.close()


def served(bench: Bench, cable: Cable) -> tuple[VM, str]:
    """A guest, and the address of its device, which is bound to ``vfio-pci``."""
    bench.serve(nets=[cable.net], options=PATIENT)
    vm = bench.guest(0, **MACHINE, root_port=True)
    (bdf,) = vm.bdfs
    bind(vm, bdf)
    return vm, bdf


def test_on_ours(bench: Bench, kernel: str, cable: Cable, clean: Any) -> None:
    """Packets; a migration in the middle of them; the interrupt that tells of one."""
    vm, bdf = served(bench, cable)
    with GuestStation(vm, f"vfio:{bdf}", *STATION, "--count", COUNT) as station:
        assert not talk(cable, station)["woken"], "there is no interrupt for packets"
    _migrated(bench, vm, bdf, cable)
    _woken(bench, vm, bdf)
    clean(vm)


def test_conformance(bench: Bench, kernel: str, cable: Cable, clean: Any) -> None:
    """The suite, with BAR 2 mapped: its 16 MiB are memory, and the tables outlive a reset.

    What reading interrupt_status does shows once the hardware has set a bit: the suite can have that done in-process and over
    the control socket, not from here, and says so.
    """
    vm, bdf = served(bench, cable)
    there = conform(vm, DEVICE, bdf)
    assert there.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in there.rows if r.outcome is Outcome.FAIL)
    passed = {row.test for row in there.rows if row.outcome is Outcome.PASS}
    assert {"csr_hw_reset", "csr_rw", "csr_bit_bash", "reset_domains", "mem_walk"} <= passed
    (status,) = (row for row in there.rows if (row.test, row.register) == ("csr_side_effects", "bar0.interrupt_status"))
    assert (status.outcome, "hardware-side" in status.reason) == (Outcome.EXCLUDED, True)
    clean(vm)


def _migrated(bench: Bench, vm: VM, bdf: str, cable: Cable) -> None:
    """The station looks after its port once a second: the host arranges its memory anew, and nothing is lost."""
    with GuestStation(vm, f"vfio:{bdf}", *STATION, "--count", str(4 * len(SIZES))) as station:
        frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 4)]
        half = len(frames) // 2
        cable.send(*frames[:half])
        assert cable.receive(half, seconds=30) == [echoed(each, station.mac) for each in frames[:half]]
        before = bench.ctl("nic", "0", "status")["generation"]
        bench.ctl("nic", "0", "migrate")
        cable.send(*frames[half:])
        assert cable.receive(half, seconds=30) == [echoed(each, station.mac) for each in frames[half:]]
        found = bench.ctl("nic", "0", "status")
        assert (found["generation"], found["migration"]["ack"], found["errors"]) == (before + 1, "ATTACHED", [])
        said = station.result()
        assert (said["echoed"], said["sent"], said["missing"]) == (len(frames), len(frames), 0)


def _woken(bench: Bench, vm: VM, bdf: str) -> None:
    """Nobody looks after the port: MSI-X tells of each of the two steps."""

    out, ended = "/tmp/waits", "grep -q ended /tmp/waits"

    def wait(true: str) -> None:
        """Looked at in the guest: to be asked from outside takes it more than to start Python."""
        most = round(10 * SECONDS)
        vm.run(f"n=0; until {true} || [ $n -ge {most} ]; do usleep 100000; n=$((n+1)); done", timeout=2 * SECONDS, check=True)

    vm.put("/tmp/waits.py", WAITS.encode())
    vm.run(f"(python3 /tmp/waits.py vfio:{bdf} > {out} 2>&1; echo ended >> {out}) &", check=True)
    wait(f"grep -q ready {out} || {ended}")
    bench.ctl("nic", "0", "migrate")
    wait(ended)
    assert vm.run(f"cat {out}").text.split() == ["ready", "migrations", "1", "waits", "2", "ended"]
