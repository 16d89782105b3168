"""The suite on families without a PF: virtio-net, VMXNET3, AVP, IVSHMEM; in this process and over the socket."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from drivers.conformance import judge_via
from emulators.nics.virtio.device import VirtioNet
from emulators.process import ServerProcess
from regmodel.catalogue import find
from regmodel.conformance.outcomes import Outcome, Report
from regmodel.conformance.suite import REGISTER_TESTS
from regmodel.errors import UsageError
from tests.conformance.faults import Fault
from tests.conformance.test_suite import HARDWARE, problems

LANES = {
    "virtio-net": {"split[0]", "split[1]", "packed[0]", "packed[1]"},
    "virtio-net-transitional": {"split[0]", "split[1]", "packed[0]", "packed[1]", "legacy[0]", "legacy[1]"},
    "virtio-net-legacy": {"legacy[0]", "legacy[1]"},
    "vmxnet3": {"tx[0]", "rx[0]"},
    "vmxnet3-large": {"tx[0]", "rx[0]"},
    "avp": set(),
    "ivshmem-plain": set(),
    "ivshmem-doorbell": set(),
    "ivshmem": set(),
}
"""Rings which the suite drives. Those of AVP stand in memory where BAR 5 says, and take no DMA: ``tests.drivers.nics.avp``;
those of IVSHMEM are its peers' own: ``tests.drivers.nics.ivshmem``."""
OPTIONS = {"virtio-net": {"packed": "on"}, "virtio-net-transitional": {"packed": "on"}}
RINGS = ("ring_one_packet", "ring_wrap", "ring_4096_transfers", "ring_pieces", "ring_stop_restart", "irq_queues")
each = pytest.mark.parametrize("name", list(LANES))


def passed(report: Report, test: str) -> set[str]:
    return {row.register for row in report.rows if row.test == test and row.outcome is Outcome.PASS}


def working(report: Report) -> set[str]:
    """Tests of registers of which something passed."""
    return {test.name for test in REGISTER_TESTS if passed(report, test.name)}


@pytest.mark.alone
@each
def test_in_process(name: str) -> None:
    began = time.process_time()
    report = judge_via("inprocess", find(name), **OPTIONS.get(name, {}))
    seconds = time.process_time() - began
    assert problems(report) == [] and report.passed
    assert all(passed(report, test) == LANES[name] for test in RINGS)
    assert passed(report, "ring_overrun") == LANES[name] - {"tx[0]", "split[1]", "packed[1]", "legacy[1]"}
    assert working(report) >= {"csr_hw_reset", "csr_rw", "csr_bit_bash", "csr_backdoor", "reset_domains", "bar_sizing"}
    assert seconds < 5


@pytest.mark.parametrize("name", [name for name in LANES if not name.startswith("ivshmem")])
def test_on_the_socket_with_a_neighbour(name: str, tmp_path: Path) -> None:
    with ServerProcess([name, name], options=OPTIONS.get(name), folder=tmp_path) as server:
        here, there = (f"vfio-user:{path}" for path in server.sockets)
        report = judge_via(here, find(name), neighbour=there)
    assert problems(report) == [] and report.passed
    assert all(passed(report, test) == LANES[name] for test in RINGS)
    assert working(report) >= {"csr_hw_reset", "csr_rw", "csr_bit_bash", "reset_domains", "bar_sizing"} - HARDWARE


@pytest.mark.parametrize("name", ["ivshmem-plain", "ivshmem-doorbell", "ivshmem"])
def test_on_the_socket_without_traffic(name: str, tmp_path: Path) -> None:
    with ServerProcess([name], folder=tmp_path) as server:
        report = judge_via(f"vfio-user:{server.sockets[0]}", find(name))
    assert problems(report) == [] and report.passed
    assert working(report) >= {"csr_hw_reset", "csr_rw", "csr_bit_bash", "reset_domains", "bar_sizing"}


def test_avp_s_memory_and_tables() -> None:
    """16 MiB are judged in part, and what stands in the tables outlives every reset."""
    report = judge_via("inprocess", find("avp"), tests=["mem_walk", "csr_backdoor", "reset_domains"])
    assert report.passed and passed(report, "mem_walk") == {"bar2.memory"}
    assert passed(report, "reset_domains") >= {"bar4.memmap", "bar5.device_info"}


def test_options_of_the_model_stand_behind_the_way() -> None:
    """As for `regmodel serve --option`."""
    report = judge_via("inprocess:packed=on,mrg_rxbuf=on", find("virtio-net"), tests=["ring_one"])
    assert passed(report, "ring_one_packet") == LANES["virtio-net"]
    with pytest.raises(UsageError, match="'packed' is no option of a model; those are written NAME=VALUE"):
        judge_via("inprocess:packed", find("virtio-net"))
    with pytest.raises(UsageError, match="packed is on or off, not 'maybe'"):
        judge_via("inprocess:packed=maybe", find("virtio-net"))


@pytest.mark.parametrize("wrong", [False, True])
def test_a_transitional_device_has_one_status(wrong: bool) -> None:
    """The suite writes to it through either interface and reads it through both."""

    def its_own(honest: Any, self: VirtioNet, status: int) -> None:
        self.status = status
        self.front.show_status(status)

    fault = Fault("status", "one for each interface", "csr_aliasing", VirtioNet, "_set_status", its_own)
    with fault.made() if wrong else nullcontext():
        report = judge_via("inprocess", find("virtio-net-transitional"), tests=["csr_aliasing"])
    failed = {row.register for row in report.rows if row.outcome is Outcome.FAIL}
    assert failed == ({"bar4.device_status"} if wrong else set())


def test_what_a_device_does_not_offer_is_not_judged() -> None:
    """Packed queues are off unless somebody switches them on, as in QEMU."""
    report = judge_via("inprocess", find("virtio-net"), tests=["ring_one"])
    rows = {row.register: (row.outcome, row.reason) for row in report.rows}
    assert rows["packed[1]"] == (Outcome.NOT_APPLICABLE, "the device does not offer the features 0x400000000")
    assert rows["split[1]"] == (Outcome.PASS, "") and report.passed
