"""The conformance suite on VMXNET3: ours, with no operating system between; and QEMU's own, from firmware and through VFIO.

What fails on QEMU's is listed, with who is right, in ``tests/conformance/qemu_vmxnet3.toml``: no more and no less may fail.
Ours through VFIO is in ``test_vmxnet3_python``.
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

DEVICE = "vmxnet3"
THEIRS = "vmxnet3,rombar=0"
REGISTERS = {"csr_hw_reset", "csr_rw", "csr_bit_bash", "csr_side_effects", "csr_reserved", "csr_access_width", "reset_domains"}


def through_vfio(lab: Lab, kernel: str) -> Report:
    """Behind a root port, whose bus can be reset: neither NIC has a reset of its own."""
    with lab.vm([RawDevice(THEIRS)], kernel=kernel, root_port=True, **MACHINE) as vm:  # type: ignore[arg-type]
        bind(vm, *vm.bdfs)
        return conform(vm, DEVICE, vm.bdfs[0])


@pytest.mark.only(kernel=["7.2"])
def test_qemus_differs_as_listed(lab: Lab, kernel: str, tmp_path: Path) -> None:
    reports = {"vfio": through_vfio(lab, kernel), "firmware": judge_via(f"firmware:{THEIRS}", find(DEVICE))}
    differs_as_listed("vmxnet3", DEVICE, reports, tmp_path)
    for report in reports.values():
        assert {row.test for row in report.rows if row.outcome is Outcome.PASS} >= REGISTERS


def test_ours_passes_from_firmware() -> None:
    report = judge_via("firmware", find(DEVICE))
    assert report.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in report.rows if r.outcome is Outcome.FAIL)
    assert {row.test for row in report.rows if row.outcome is Outcome.PASS} >= REGISTERS
