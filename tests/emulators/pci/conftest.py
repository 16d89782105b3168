from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.pci.function import PciFunction
from tests.emulators.pci.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def function(bench: Bench) -> PciFunction:
    """With memory, I/O and bus master on."""
    return bench.plug()
