"""What all transports promise, by the vfio-user client in front of our own server: with posted writes and without, with
memory that is shared and with memory that is asked for by message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from drivers.transports.vfio_user import VfioUser
from tests.drivers.transports.contract import Access, Bench, Contract, ring_of
from tests.drivers.transports.vfio_user.serving import Served, settled
from tests.emulators.pci import testdevice


@pytest.mark.parametrize(
    ("mappable", "share_memory"),
    [(False, True), (True, True), (False, False)],
    ids=["posted, shared", "waited, shared", "posted, messages"],
)
class TestContract(Contract):
    @pytest.fixture
    def bench(self, tmp_path: Path, mappable: bool, share_memory: bool) -> Iterator[Bench]:
        with Served(testdevice.DEVICE, tmp_path / "s", mappable=mappable) as device:

            def again() -> VfioUser:
                return device.open(share_memory=share_memory)

            with again() as transport:
                yield Bench(transport, arrived(transport, ring_of(device.function)), again)


def arrived(transport: VfioUser, ring: Callable[[], Sequence[Access]]) -> Callable[[], Sequence[Access]]:
    def accesses() -> Sequence[Access]:
        settled(transport)
        return ring()

    return accesses
