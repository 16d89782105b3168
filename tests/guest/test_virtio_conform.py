"""The conformance suite on virtio-net: QEMU's three, from firmware and through VFIO; ours from firmware.

What fails on QEMU's is listed, with who is right, in ``tests/conformance/qemu_virtio_net.toml``: no more and no less may fail.
Ours through VFIO is in ``test_virtio_python``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.conformance import judge_via
from emulators.qemu import Lab, RawDevice
from emulators.qemu.vfio import bind
from regmodel.catalogue import find
from regmodel.conformance.outcomes import Outcome, Report
from tests.guest.conforming import conform, differs_as_listed
from tests.guest.stations import MACHINE

pytestmark = pytest.mark.guest

ALIKE = "rombar=0,mq=on,host_mtu=1500,vectors=18,packed=on"
"""So that the devices have the same fields, vectors and formats; both ways lead through a port, whose bus can be reset.

From firmware that of a transitional or legacy device is a conventional bus, as ours is described: on PCI Express QEMU has other
capabilities. Through VFIO configuration space is the kernel's.
"""
THEIRS = {
    "virtio-net": f"virtio-net-pci,disable-legacy=on,{ALIKE},rss=on,hash=on,speed=1000,duplex=full",
    "virtio-net-transitional": f"virtio-net-pci,disable-legacy=off,{ALIKE},rss=on,hash=on",
    "virtio-net-legacy": f"virtio-net-pci,disable-legacy=off,disable-modern=on,{ALIKE}",
}
RESERVED = {"memory": "512M", "append": "memmap=64M$0x10000000"}
"""For devices that pass the IOMMU by, see ``test_virtio_python``."""
REGISTERS = {"csr_hw_reset", "csr_rw", "csr_bit_bash", "reset_domains"}
RINGS = {"ring_one_packet", "ring_wrap", "ring_4096_transfers", "ring_pieces", "ring_stop_restart", "irq_queues"}
every = pytest.mark.parametrize("name", list(THEIRS))


def passed(report: Report) -> set[str]:
    """Tests of which something passed."""
    return {row.test for row in report.rows if row.outcome is Outcome.PASS}


def through_vfio(lab: Lab, kernel: str, device: str) -> Report:
    """QEMU's legacy interface knows no ACCESS_PLATFORM: that device reaches memory by the guest's own addresses."""
    modern = device == "virtio-net"
    theirs = f"{THEIRS[device]},netdev=n0{',iommu_platform=on' if modern else ''}"
    options = {**MACHINE, **({} if modern else RESERVED), "arguments": ["-netdev", "user,id=n0"]}
    with lab.vm([RawDevice(theirs)], kernel=kernel, root_port=True, **options) as vm:  # type: ignore[arg-type]
        bind(vm, *vm.bdfs)
        return conform(vm, device, vm.bdfs[0], *([] if modern else ["--physical"]))


@every
@pytest.mark.only(kernel=["7.2"])
def test_qemus_differ_as_listed(lab: Lab, kernel: str, name: str, tmp_path: Path) -> None:
    bus = "" if name == "virtio-net" else "pci:"
    reports = {"vfio": through_vfio(lab, kernel, name), "firmware": judge_via(f"firmware:{bus}{THEIRS[name]}", find(name))}
    differs_as_listed("virtio-net", name, reports, tmp_path)
    assert all(passed(report) >= REGISTERS for report in reports.values()) and passed(reports["vfio"]) >= RINGS


@every
def test_ours_passes_from_firmware(name: str) -> None:
    report = judge_via("firmware", find(name))
    assert report.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in report.rows if r.outcome is Outcome.FAIL)
    assert {"csr_hw_reset", "csr_rw", "reset_domains"} <= passed(report)
