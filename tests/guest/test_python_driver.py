"""The Python driver in a guest, through Linux VFIO: on our VF, and on the VF of QEMU's ``igb``, which nobody here wrote.

Frames go over a cable whose far end is the test. A station in the guest sends each one back with its content reversed, so that
every octet is checked on its way in and on its way out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import RawDevice
from emulators.qemu.vfio import bind, virtual_functions
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, echoed

pytestmark = pytest.mark.guest

SIZES = (60, 61, 64, 127, 128, 500, 1024, 1513, 1514)


def talk(cable: Cable, station: GuestStation) -> None:
    """Frames of many sizes, a few at a time and then in one burst; they come back as they should, in order."""
    frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 8)]
    for few in (frames[:3], frames[3:20], frames[20:]):
        cable.send(*few)
        assert cable.receive(len(few)) == [echoed(each, station.mac) for each in few]
    said = station.result()
    count, octets = len(frames), sum(map(len, frames))
    assert said == {"echoed": count, "received": count, "sent": count, "ipackets": count, "opackets": count, "missing": 0,
                    "ibytes": octets, "obytes": octets}  # fmt: skip


COUNT = str(len(SIZES) * 8)


def test_on_our_vf(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "a")
    bench.serve(nets=[cable.net])
    vm = bench.guest(0, **MACHINE)
    bind(vm, *vm.bdfs)
    with GuestStation(vm, f"vfio:{vm.bdfs[0]}", "echo", "--device", device, "--count", COUNT) as station:
        talk(cable, station)
    bench.add_up("vf0")
    clean(vm)
    cable.close()


@pytest.mark.only(device=["igbvf"])
def test_on_the_vf_of_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    """Its PF has the stock ``igb``, told ``sriov_numvfs``."""
    cable = Cable(tmp_path, "a")
    options = {**MACHINE, "modules": ["vfio-pci", "igb"], "arguments": ["-netdev", cable.netdev("n0")]}
    with bench.lab.vm([RawDevice("igb,netdev=n0")], kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")  # the PF's interface is to be silent
        (vf,) = virtual_functions(vm, "eth0")
        bind(vm, vf)
        with GuestStation(vm, f"vfio:{vf}", "echo", "--device", device, "--count", COUNT) as station:
            talk(cable, station)
        clean(vm)
    cable.close()
