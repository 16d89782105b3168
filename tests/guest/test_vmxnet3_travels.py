"""VMXNET3 under the stock driver of Linux, with each revision: what happens to an interface in its life.

The other half of the tour, in a file of its own: `make test` pairs every file with every revision and every kernel, so that
each revision meets both halves, and both kernels, in as many boots as there are pairs of revision and kernel.
"""

from __future__ import annotations

import pytest

from tests.guest.conftest import Bench
from tests.guest.vmxnet3_tour import Clean, met, travels

pytestmark = pytest.mark.guest

DEVICE = "vmxnet3"


def test_a_life(bench: Bench, revision: str, kernel: str, clean: Clean) -> None:
    with met(bench, int(revision), clean) as pair:
        pair.files(1 << 20)
        pair.add_up()
        travels(pair)
