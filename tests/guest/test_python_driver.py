"""The Python driver in a guest, through Linux VFIO: on our VF, and on the VF of QEMU's ``igb``, which nobody here wrote.

Frames go over a cable whose far end is the test. A station in the guest sends each one back with its content reversed, so that
every octet is checked on its way in and on its way out.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import RawPcapReader

from emulators.qemu import VM, RawDevice
from emulators.qemu.vfio import bind, virtual_functions
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, HostStation, echoed

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

ADDRESS = "02:00:00:00:00:31"
WITHIN_PAGES = ("--room", "1984")
"""With the 64 bytes before them two buffers fill a page. QEMU's VF drops a packet whose buffer goes on in a page that does not
follow in the host's memory as well (net_tx_pkt.c ``net_tx_pkt_add_raw_fragment_pci``: the map is shorter than asked for).
"""
SIZES = (60, 61, 64, 127, 128, 500, 1024, 1513, 1514)


def talk(cable: Cable, station: GuestStation, *, theirs: bool = False) -> dict[str, Any]:
    """Frames of many sizes, a few at a time and then in one burst; they come back as they should, in order. What it says.

    ``theirs``: QEMU's VF counts no frame that its back end did not take at once, but queued (igb_core.c ``igb_process_tx_desc``
    counts if ``igb_tx_pkt_send`` said that it was sent), which depends on how quickly this process reads.
    """
    frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 8)]
    for few in (frames[:3], frames[3:20], frames[20:]):
        assert cable.exchange(*few) == [echoed(each, station.mac) for each in few]
    said = station.result()
    count, octets = len(frames), sum(map(len, frames))
    expected = {"echoed": count, "received": count, "sent": count, "ipackets": count, "opackets": count, "missing": 0,
                "ibytes": octets, "obytes": octets, "sha256": hashlib.sha256(b"".join(frames)).hexdigest()}  # fmt: skip
    if theirs:
        assert said["opackets"] <= count and said["obytes"] <= octets
        expected |= {name: said[name] for name in ("opackets", "obytes")}
    assert said == expected | {"woken": said["woken"]}
    return said


def talk_both_ways(cable: Cable, vm: VM, bdf: str, device: str, *more: str, theirs: bool = False) -> None:
    """By polling, and by interrupt."""
    options = (f"vfio:{bdf}", "echo", "--device", device, "--count", COUNT, *(WITHIN_PAGES if theirs else ()), *more)
    with GuestStation(vm, *options) as station:
        assert not talk(cable, station, theirs=theirs)["woken"]
    with GuestStation(vm, *options, "--interrupts") as station:
        assert talk(cable, station, theirs=theirs)["woken"]


COUNT = str(len(SIZES) * 8)


def test_on_our_vf(bench: Bench, device: str, kernel: str, tmp_path: Path, clean) -> None:
    cable = Cable(tmp_path, "a")
    bench.serve(nets=[cable.net])
    vm = bench.guest(0, **MACHINE)
    bind(vm, *vm.bdfs)
    talk_both_ways(cable, vm, vm.bdfs[0], device)
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
        talk_both_ways(cable, vm, vf, device, theirs=True)
        clean(vm)
    cable.close()


@pytest.mark.only(device=["igbvf"])
def test_a_recording_of_the_vf_of_qemu_replays_without_qemu(bench: Bench, device: str, kernel: str, tmp_path: Path) -> None:
    """The same driver, told the same by a file, does the same to the last call, and comes to the same end."""
    cable, recording = Cable(tmp_path, "a"), tmp_path / "vf.recording"
    options = ("--device", device, "--count", COUNT, *WITHIN_PAGES)
    with with_the_vf_of_qemu(bench, kernel, cable) as (vm, vf):
        with GuestStation(vm, f"vfio:{vf}", "echo", *options, "--record", "/tmp/recording") as live:
            said = talk(cable, live, theirs=True)
        recording.write_bytes(vm.get("/tmp/recording"))
    cable.close()
    with HostStation(f"replay:{recording}", "echo", *options) as replayed:
        assert (replayed.mac, replayed.result()) == (live.mac, said)
    said_of_others = r"vf\.recording, line \d+: recorded: "
    with HostStation(f"replay:{recording}", "ping", *options) as other, pytest.raises(AssertionError, match=said_of_others):
        other.result()


COMMAND = [sys.executable, "-m", "regmodel.cli", "vm", "--device", "igbvf", "--driver", "vfio-pci"]


def test_one_command(tmp_path: Path) -> None:
    """``regmodel vm`` serves the device, boots the guest, binds the VF and runs the driver; the frames arrive on the host."""
    capture = tmp_path / "out.pcap"
    driver = ["regmodel", "pmd", "igbvf", "--via", "vfio:BDF", "--mode", "txonly", "--count", "64", "--size", "128", "-q"]
    command = [*COMMAND, "--net", f"pcap:out={capture}", "--", *driver]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "64 sent" in done.stdout
    assert all(line.startswith("regmodel: guests run under ") for line in done.stderr.splitlines()), done.stderr
    frames = [frame for frame, _ in RawPcapReader(str(capture))]
    assert len(frames) == 64 and {len(frame) for frame in frames} == {128}


def test_bad_input_in_one_command_is_one_line() -> None:
    driver = ["regmodel", "pmd", "igbvf", "--via", "vfio:00:09.0"]
    done = subprocess.run([*COMMAND, "--", *driver], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "regmodel: there is no PCI function 0000:00:09.0 here: `ls /sys/bus/pci/devices` lists those that there are"
    ]
