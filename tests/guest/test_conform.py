"""Our VFs pass the conformance suite through VFIO in a guest, and what stands in between never passes for the device."""

from __future__ import annotations

import pytest

from emulators.qemu.vfio import bind
from regmodel.conformance.outcomes import Outcome
from tests.guest.conforming import conform
from tests.guest.conftest import Bench
from tests.guest.stations import MACHINE
from tests.support.elsewhere import unjudged

pytestmark = [pytest.mark.guest, pytest.mark.any_kernel]

WORKING = {"irq_causes", "irq_masks", "irq_automatic", "irq_moderation", "irq_routes", "mailbox_ownership", "mailbox_edges",
           "mailbox_resets", "mailbox_messages", "ring_one_packet", "ring_wrap", "ring_4096_transfers", "ring_pieces",
           "ring_stop_restart"}  # fmt: skip


def test_ours_passes_through_vfio(bench: Bench, device: str, kernel: str) -> None:
    bench.serve()
    vm = bench.guest(0, **MACHINE)
    bind(vm, *vm.bdfs)
    there = conform(vm, device, vm.bdfs[0])
    print(there.summary)
    assert there.passed, "\n".join(f"{r.test} {r.register}: {r.reason}" for r in there.rows if r.outcome is Outcome.FAIL)
    passed = {row.test for row in there.rows if row.outcome is Outcome.PASS}
    assert {"csr_hw_reset", "csr_rw", "csr_bit_bash", "csr_side_effects", "reset_domains", "mem_walk"} | WORKING <= passed

    # what vfio-pci and QEMU answer in the device's stead is judged where nobody stands in between
    others = [row for row in there.rows if row.outcome is Outcome.VIRTUALISED]
    assert any(row.register.startswith("config.") for row in others)
    assert any(row.register.startswith("bar3.msix_") for row in others)
    assert not [row for row in there.rows if row.register.startswith("config.") and row.outcome is Outcome.PASS]
    assert unjudged(device, others) == []
