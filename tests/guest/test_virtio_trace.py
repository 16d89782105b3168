"""Stock virtio_net on our virtio-net and on QEMU's own: access by access, configuration space, and what the interface counts.

What is in rings ``test_virtio_tee`` judges, how many doorbells there are ``make bench``. ``virtio_trace.toml`` explains what
differs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import Lab
from regmodel.catalogue import find
from tests.differential.compare import judge, load, sequences
from tests.guest.nic_capture import differences, run
from tests.guest.virtio import FRONTS
from tests.guest.virtio_capture import Registers, ours, phases, theirs

pytestmark = pytest.mark.guest

ENTRIES = Path(__file__).with_name("virtio_trace.toml")


@pytest.mark.only(front=["split", "packed", "transitional-split", "legacy"])
def test_stock_virtio_net_does_the_same_with_both(lab: Lab, front: str, kernel: str, tmp_path: Path) -> None:
    found = FRONTS[front]
    device, steps = find(found.device), phases(found)
    with theirs(lab, found, kernel) as side:
        reference = run(side, Registers(side, device), steps)
    with ours(lab, found, kernel) as side:
        mine = run(side, Registers(side, device), steps)
        assert side.vm.kernel_warnings() == []
    verdict = judge(differences(device, mine, reference), load(ENTRIES, front))
    if not verdict:
        for name, capture in (("ours", mine), ("theirs", reference)):
            (tmp_path / name).write_text(str(capture))
    assert verdict, f"{verdict}\n\nall accesses of both are in {tmp_path}"
    assert mine.statistics == reference.statistics and "rx_packets:3" in mine.statistics


def test_a_fault_is_noticed(lab: Lab) -> None:
    """A feature too many, and queues of another size, up to where the driver meets them."""
    found = FRONTS["split"]
    device, first = find(found.device), phases(found)[:3]
    with theirs(lab, found, "7.2") as side:
        reference = run(side, Registers(side, device), first)
    with ours(lab, found, "7.2", queue_size="128", order_platform="on") as side:
        mine = run(side, Registers(side, device), first)
    told = {each for phase in first for each in sequences(phase.name, mine.steps[phase.name], reference.steps[phase.name])}
    at = {each.at: (each.ours, each.theirs) for each in judge(told, load(ENTRIES, "split")).unexplained}
    assert at["R queue_size (of 0)"] == ("0x80", "0x100")
    assert {"R device_feature (of 1)", "W queue_size (of 1)"} <= set(at)
