from __future__ import annotations

from collections.abc import Iterator

import pytest

from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from tests.drivers.nics.igbvf.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.fixture(params=["82576", "I350"])
def either(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench of either silicon."""
    made = Bench(IGBVF_I350 if request.param == "I350" else IGBVF)
    yield made
    made.close()
