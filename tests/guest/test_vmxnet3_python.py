"""The Python driver of VMXNET3 in a guest, through Linux VFIO: on our device, and on QEMU's own, which nobody here wrote.

Frames go over a cable whose far end is the test. A station in the guest sends each one back with its content reversed, so that
every octet is checked on its way in and on its way out. In lock-step on both devices every read, every byte that a device
wrote to memory and every interrupt is compared; ``tee_vmxnet3.toml`` explains what differs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emulators.qemu import RawDevice, VfioUser
from emulators.qemu.vfio import bind
from regmodel.conformance.outcomes import Outcome
from tests.differential.compare import Difference, judge, load
from tests.guest.conforming import conform
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, HostStation, echoed
from tests.guest.test_python_driver import COUNT, talk, talk_both_ways

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

DEVICE = "vmxnet3"
ADDRESS = "02:00:00:00:00:31"
THEIRS = f"vmxnet3,netdev=n0,mac={ADDRESS}"
REFUSED = {"another address", "MTU"}
"""What the driver does not do, or not while it runs."""
IN_A_PAGE = ("--room", "1984")
"""With the 64 bytes before it, a buffer is half a page then. QEMU's NIC maps what a descriptor names as one piece, and drops
the packet if it is on two pages that only an IOMMU puts side by side (hw/net/net_tx_pkt.c
``net_tx_pkt_add_raw_fragment_common``)."""
SIZES = (60, 64, 127, 128, 500, 1024, 1514)


def test_on_ours(bench: Bench, kernel: str, tmp_path: Path, clean) -> None:
    """And the conformance suite passes there."""
    cable = Cable(tmp_path, "a")
    bench.serve(nets=[cable.net])
    vm = bench.guest(0, **MACHINE, root_port=True)
    bind(vm, *vm.bdfs)
    talk_both_ways(cable, vm, vm.bdfs[0], DEVICE)
    there = conform(vm, DEVICE, vm.bdfs[0])
    assert there.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in there.rows if r.outcome is Outcome.FAIL)
    passed = {row.test for row in there.rows if row.outcome is Outcome.PASS}
    assert {"csr_hw_reset", "csr_rw", "csr_bit_bash", "csr_side_effects", "csr_reserved", "reset_domains"} <= passed
    clean(vm)
    cable.close()


@pytest.mark.only(kernel=["7.2"])
def test_on_qemus(bench: Bench, kernel: str, tmp_path: Path, clean) -> None:
    """What it said there is said again by a recording, without QEMU, and the driver does the same to the last call."""
    cable, recording = Cable(tmp_path, "a"), tmp_path / "vmxnet3.recording"
    options = {**MACHINE, "arguments": ["-netdev", cable.netdev("n0")]}
    with bench.lab.vm([RawDevice(THEIRS)], kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        bdf = f"0000:{vm.run('lspci -d 15ad:').text.split()[0].removeprefix('0000:')}"
        bind(vm, bdf)
        talk_both_ways(cable, vm, bdf, DEVICE, *IN_A_PAGE)
        more = ("--device", DEVICE, "--count", COUNT, *IN_A_PAGE)
        with GuestStation(vm, f"vfio:{bdf}", "echo", *more, "--record", "/tmp/recording") as live:
            said = talk(cable, live)
        recording.write_bytes(vm.get("/tmp/recording"))
        clean(vm)
    cable.close()
    with HostStation(f"replay:{recording}", "echo", *more) as replayed:
        assert (replayed.mac, replayed.result()) == (live.mac, said)


@pytest.mark.only(kernel=["7.2"])
def test_lock_step_with_qemus(bench: Bench, kernel: str, tmp_path: Path, clean) -> None:
    cables = Cable(tmp_path, "a"), Cable(tmp_path, "b")
    bench.serve(nets=[cables[0].net], options={"revision": "1", "mac": ADDRESS, "speed": "1000"})
    devices = [VfioUser(bench.server.sockets[0]), RawDevice(THEIRS)]
    options = {**MACHINE, "arguments": ["-netdev", cables[1].netdev("n0")]}
    with bench.lab.vm(devices, kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        ours, theirs = (f"0000:{line.split()[0].removeprefix('0000:')}" for line in vm.run("lspci -d 15ad:").text.splitlines())
        bind(vm, ours, theirs)
        both = (f"vfio:{ours}", "echo", "--against", f"vfio:{theirs}", "--interrupts", "--device", DEVICE, *IN_A_PAGE)
        with GuestStation(vm, *both, "--tour", "--count", str(len(SIZES) * 4)) as station:
            frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 4)]
            for each in frames:
                for cable in reversed(cables):  # ours last: when it has done its part, the driver waits a grace for theirs
                    cable.send(each)
            expected = [echoed(each, station.mac) for each in frames]
            assert [cable.receive(len(frames)) for cable in cables] == [expected, expected]
            said = station.result()
        assert {name for name, answer in said["tour"].items() if answer} == REFUSED
        assert (said["echoed"], said["missing"]) == (len(frames), 0) and said["woken"]
        found = {in_a_completion(Difference(**finding)) for finding in station.findings()}
        verdict = judge(found, load(Path(__file__).with_name("tee_vmxnet3.toml")))
        assert verdict, str(verdict)
        clean(vm)
    for cable in cables:
        cable.close()


def in_a_completion(found: Difference) -> Difference:
    """What differs in memory by its place in an entry of 16 bytes, up to the entry's end: how many entries a look at the ring
    takes in is chance."""
    if not found.at.startswith("0x"):
        return found
    at = int(found.at, 16) % 16
    digits = 2 * (16 - at)
    return replace(found, at=f"completion, from byte {at} on", ours=found.ours[:digits], theirs=found.theirs[:digits])
