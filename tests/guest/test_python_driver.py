"""The Python driver in a guest, through Linux VFIO: on our VF, and on the VF of QEMU's ``igb``, which nobody here wrote.

Frames go over a cable whose far end is the test. A station in the guest sends each one back with its content reversed, so that
every octet is checked on its way in and on its way out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emulators.qemu import VM, RawDevice
from emulators.qemu.vfio import bind, virtual_functions
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, HostStation, echoed

pytestmark = pytest.mark.guest

ADDRESS = "02:00:00:00:00:31"
SIZES = (60, 61, 64, 127, 128, 500, 1024, 1513, 1514)


def talk(cable: Cable, station: GuestStation) -> dict[str, Any]:
    """Frames of many sizes, a few at a time and then in one burst; they come back as they should, in order. What it says."""
    frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 8)]
    for few in (frames[:3], frames[3:20], frames[20:]):
        cable.send(*few)
        assert cable.receive(len(few)) == [echoed(each, station.mac) for each in few]
    said = station.result()
    count, octets = len(frames), sum(map(len, frames))
    assert said == {"echoed": count, "received": count, "sent": count, "ipackets": count, "opackets": count, "missing": 0,
                    "ibytes": octets, "obytes": octets, "sha256": hashlib.sha256(b"".join(frames)).hexdigest()}  # fmt: skip
    return said


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


@contextmanager
def with_the_vf_of_qemu(bench: Bench, kernel: str, cable: Cable) -> Iterator[tuple[VM, str]]:
    """A guest with QEMU's ``igb``, whose PF has its stock driver, and the address of a VF that is bound to vfio-pci."""
    options = {**MACHINE, "modules": ["vfio-pci", "igb"], "arguments": ["-netdev", cable.netdev("n0")]}
    with bench.lab.vm([RawDevice("igb,netdev=n0")], kernel=kernel, **options) as vm:  # type: ignore[arg-type]
        vm.run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")  # the PF's interface is to be silent
        (vf,) = virtual_functions(vm, "eth0")
        vm.run(f"ip link set eth0 vf 0 mac {ADDRESS}", check=True)  # without one the driver would draw one, each time another
        bind(vm, vf)
        yield vm, vf


@pytest.mark.only(device=["igbvf"])
def test_on_the_vf_of_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "a")
    with with_the_vf_of_qemu(bench, kernel, cable) as (vm, vf):
        with GuestStation(vm, f"vfio:{vf}", "echo", "--device", device, "--count", COUNT) as station:
            talk(cable, station)
        clean(vm)
    cable.close()


@pytest.mark.only(device=["igbvf"])
def test_a_recording_of_the_vf_of_qemu_replays_without_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path) -> None:
    """The same driver, told the same by a file, does the same to the last call, and comes to the same end."""
    cable, recording = Cable(tmp_path, "a"), tmp_path / "vf.recording"
    options = ("--device", device, "--count", COUNT)
    with with_the_vf_of_qemu(bench, kernel, cable) as (vm, vf):
        with GuestStation(vm, f"vfio:{vf}", "echo", *options, "--record", "/tmp/recording") as live:
            said = talk(cable, live)
        recording.write_bytes(vm.get("/tmp/recording"))
    cable.close()
    with HostStation(f"replay:{recording}", "echo", *options) as replayed:
        assert (replayed.mac, replayed.result()) == (live.mac, said)
    said_of_others = r"vf\.recording, line \d+: recorded: "
    with HostStation(f"replay:{recording}", "ping", *options) as other, pytest.raises(AssertionError, match=said_of_others):
        other.result()
