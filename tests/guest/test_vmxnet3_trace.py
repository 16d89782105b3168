"""Stock vmxnet3 on our VMXNET3 and on QEMU's own: access by access, configuration space, and what ``ethtool -S`` counts.

Not compared, because chance tells: how often vectors are masked and unmasked, values of doorbells. What is in rings and in
shared memory other tests judge (``test_vmxnet3_python``). ``vmxnet3_trace.toml`` explains what differs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import Lab
from regmodel.devices.vmxnet3 import VMXNET3
from tests.differential.compare import judge, load, sequences
from tests.guest.nic_capture import differences, run
from tests.guest.vmxnet3_capture import PHASES, Registers, ours, theirs

pytestmark = pytest.mark.guest

ENTRIES = load(Path(__file__).with_name("vmxnet3_trace.toml"))


def test_stock_vmxnet3_does_the_same_with_both(lab: Lab, kernel: str, tmp_path: Path) -> None:
    with theirs(lab, kernel) as side:
        reference = run(side, Registers(side), PHASES)
    with ours(lab, kernel) as side:
        mine = run(side, Registers(side), PHASES)
        assert side.vm.kernel_warnings() == []
    verdict = judge(differences(VMXNET3, mine, reference), ENTRIES)
    if not verdict:
        for name, capture in (("ours", mine), ("theirs", reference)):
            (tmp_path / name).write_text(str(capture))
    assert verdict, f"{verdict}\n\nall accesses of both are in {tmp_path}"
    assert mine.statistics == reference.statistics
    assert any(step.value == "ACTIVATE_DEV" for step in mine.steps["open"])


def test_a_fault_is_noticed(lab: Lab) -> None:
    """Another speed and a revision too many, up to where the driver meets them."""
    first = PHASES[:2]
    with theirs(lab, "7.2") as side:
        reference = run(side, Registers(side), first)
    with ours(lab, "7.2", speed="2500", revision="2") as side:
        mine = run(side, Registers(side), first)
    found = {each for phase in first for each in sequences(phase.name, mine.steps[phase.name], reference.steps[phase.name])}
    at = {difference.at: difference for difference in judge(found, ENTRIES).unexplained}
    assert {"R vrrs", "W vrrs", "R cmd (GET_LINK)"} <= set(at)
    assert (at["R vrrs"].ours, at["R vrrs"].theirs) == ("0x3", "0x1")

