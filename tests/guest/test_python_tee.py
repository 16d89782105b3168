"""The Python driver drives our VF and the VF of QEMU's ``igb`` in lock-step, both in one guest through Linux VFIO.

Every read, every byte that a device wrote to memory and every interrupt is compared (``drivers.transports.tee``), while the
driver asks the PF for all that a VF may ask for, resets, and passes packets that come to both. ``tee.toml`` explains what
differs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import RawDevice, VfioUser
from emulators.qemu.vfio import bind, virtual_functions
from tests.differential.compare import Difference, judge, load
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, echoed

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

ENTRIES = load(Path(__file__).with_name("tee.toml"))
ADDRESS, OTHER = "02:00:00:00:00:31", "02:00:00:00:00:32"
VFS = 7
"""As many as our card has, so that STATUS says the same number of both."""

REFUSED = {"promiscuous", "another address", "address"}
"""What stock ``igb`` does not let a VF do that it does not trust."""

SIZES = (60, 64, 127, 128, 500, 1024, 1514)


@pytest.mark.only(device=["igbvf"])
def test_lock_step_with_the_vf_of_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cables = Cable(tmp_path, "a"), Cable(tmp_path, "b")
    bench.serve(nets=[cables[0].net])
    bench.ctl("vf", "0", "mac", ADDRESS)
    devices = [VfioUser(bench.server.sockets[0]), RawDevice("igb,netdev=n0")]
    options = {**MACHINE, "modules": ["vfio-pci", "igb"], "arguments": ["-netdev", cables[1].netdev("n0")]}
    with bench.lab.vm(devices, kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")
        theirs = virtual_functions(vm, "eth0", VFS)[0]
        vm.run(f"ip link set eth0 vf 0 mac {ADDRESS}", check=True)
        bind(vm, vm.bdfs[0], theirs)
        both = (f"vfio:{vm.bdfs[0]}", "echo", "--against", f"vfio:{theirs}", "--interrupts")
        bench.ctl("vf", "0", "mac", OTHER)  # a difference is seen where there is one
        with GuestStation(vm, *both, "--seconds", "0.1") as station:
            station.result()
        assert {difference.at for difference in found(station)} == {"status", "vmbmem[2]"}

        bench.ctl("vf", "0", "mac", ADDRESS)
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
        verdict = judge(found(station), ENTRIES)
        assert verdict, str(verdict)
        clean(vm)
    for cable in cables:
        cable.close()


def found(station: GuestStation) -> set[Difference]:
    return {Difference(**finding) for finding in station.findings()}
