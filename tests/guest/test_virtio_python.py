"""The Python driver of virtio-net in a guest, through Linux VFIO: on our device, and on QEMU's ``virtio-net-pci``.

The same program does the same to both, and both have to come to the same end: what the driver was granted, which frames came
back, what it counted. QEMU's device without ``iommu_platform`` (which legacy and transitional ones cannot have) passes the
IOMMU by: there the driver's memory lies at its own address (``physical`` of the transport).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from drivers.conformance import judge_via
from emulators.qemu import VM, RawDevice, VfioUser
from emulators.qemu.vfio import bind
from regmodel.catalogue import find
from regmodel.conformance.outcomes import Outcome
from tests.guest.conforming import conform
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, echoed
from tests.guest.virtio import FRONTS, serve

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel, pytest.mark.timeout(900)]

ADDRESS = "02:00:00:00:00:31"
SIZES = (60, 61, 64, 127, 128, 500, 1024, 1513, 1514)
RESERVED = {"memory": "512M", "append": "memmap=64M$0x10000000"}
"""Memory that the kernel leaves to drivers whose devices pass the IOMMU by; IOVAs begin there."""


def talk(cable: Cable, station: GuestStation) -> dict[str, Any]:
    """Frames of many sizes, a few at a time and then in one burst; they come back as they should. What the station says."""
    frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 8)]
    for few in (frames[:3], frames[3:20], frames[20:]):
        assert cable.exchange(*few) == [echoed(each, station.mac) for each in few]
    said = station.result()
    count = len(frames)
    assert (said["echoed"], said["received"], said["sent"], said["missing"]) == (count, count, count, 0)
    assert said["sha256"] == hashlib.sha256(b"".join(frames)).hexdigest()
    return said


def rounds(cable: Cable, vm: VM, bdf: str, front: str, *more: str, ports: bool) -> list[dict[str, Any]]:
    """By polling after a tour of all requests, then by interrupt; with event index and without, where it matters.

    ``ports``: the legacy interface of a transitional device. The legacy front is where that goes through all rounds.
    """
    base = (f"vfio:{bdf}", "echo", "--device", FRONTS[front].device, "--count", str(8 * len(SIZES)), *more)
    if ports:
        base = (*base, "--with", "legacy=1")
    said = []
    for options in (("--tour",), ("--interrupts",), ("--interrupts", "--with", "event_idx=0"))[: 1 if ports else 3]:
        with GuestStation(vm, *base, *options) as station:
            found = talk(cable, station)
        assert bool(found.pop("woken")) == ("--interrupts" in options)
        said.append(found)
    return said


@pytest.mark.only(kernel=["7.2"])
def test_ours_and_qemus_come_to_the_same_end(bench: Bench, front: str, kernel: str, tmp_path: Path, clean) -> None:
    """Both devices in one guest, one after the other; a transitional one is driven by its ports, too."""
    cables = [Cable(tmp_path, "a"), Cable(tmp_path, "b")]
    found = serve(bench, front, count=1, options={"mac": ADDRESS}, nets=[cables[0].net])
    passes_by = found.device != "virtio-net"
    platform = "" if passes_by else ",iommu_platform=on"
    theirs = RawDevice(f"virtio-net-pci,netdev=n0,mac={ADDRESS},{found.qemu}{platform}")
    options: dict[str, Any] = {**MACHINE, **RESERVED, "kernel": kernel, "arguments": ["-netdev", cables[1].netdev("n0")]}
    with bench.lab.vm([VfioUser(str(bench.server.sockets[0])), theirs], **options) as vm:
        bind(vm, *vm.bdfs)
        for ports in (False, True)[: 2 if "transitional" in front else 1]:
            ours = rounds(cables[0], vm, vm.bdfs[0], front, ports=ports)
            physical = ["--physical"] if passes_by else []
            qemus = rounds(cables[1], vm, vm.bdfs[1], front, *physical, ports=ports)
            assert ours == qemus
            assert set(ours[0]["tour"]) > {"promiscuous", "address", "MTU"} and ours[0]["tour"]["promiscuous"] is None
        assert bench.stats()["nic0"]["device errors"] == {}
        clean(vm)
    for cable in cables:
        cable.close()


@pytest.mark.only(kernel=["7.2"], front=["split", "transitional-split", "legacy"])
def test_conforms_through_vfio(bench: Bench, front: str, kernel: str) -> None:
    """Behind a root port: the fronts without PCI Express have no reset of their own, and are reset with their bus."""
    found = serve(bench, front, count=1)
    vm = bench.guest(0, **MACHINE, root_port=True)
    bind(vm, *vm.bdfs)
    there = conform(vm, found.device, vm.bdfs[0])
    print(there.summary)
    assert there.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in there.rows if r.outcome is Outcome.FAIL)
    here = {(row.test, row.register) for row in judge_via("inprocess", find(found.device)).rows if row.outcome is Outcome.PASS}
    passed = {(row.test, row.register) for row in there.rows if row.outcome is Outcome.PASS}
    registers = "bar0." if found.device == "virtio-net-legacy" else "bar4."
    assert {(test, register) for test, register in passed if register.startswith(registers)} >= {
        (test, register) for test, register in here if test == "csr_rw" and register.startswith(registers)
    }
