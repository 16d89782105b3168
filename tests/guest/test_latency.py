"""A busy VF does not keep the others of its server waiting."""

from __future__ import annotations

import statistics

import pytest

from emulators.qemu import Lab
from tests.bench.latency import measure, median, p99

pytestmark = [pytest.mark.guest, pytest.mark.alone]


def test_reads_of_an_idle_vf_while_another_carries_pktgen(lab: Lab) -> None:
    """Each round measures both, one right after the other: what the machine does besides is done to both."""
    result = measure(lab, rounds=5)
    assert min(result.rates) > 10_000, "the other VF was busy all the time"
    for quantile, limit in ((median, 3.0), (p99, 10.0)):
        loaded, at_rest = result.figures(quantile)
        ratios = [a / b for a, b in zip(loaded, at_rest, strict=True)]
        assert statistics.median(ratios) <= limit, f"{quantile.__name__}: loaded {loaded} ns, at rest {at_rest} ns"
