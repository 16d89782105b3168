"""The in-process transport: the contract, and what only it promises: whose turn it is, and manual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.transports.in_process import InProcess
from emulators.alone import open_functions
from tests.drivers.transports.contract import Bench, Contract, ring_of
from tests.emulators.pci import testdevice


class TestContract(Contract):
    @pytest.fixture(params=["manual", "real"])
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Bench]:
        alone = open_functions(testdevice.DEVICE, clock=request.param)
        with InProcess(alone.function, alone) as transport:
            yield Bench(transport, ring_of(alone.function), lambda: InProcess(alone.function, alone))
        alone.close()
