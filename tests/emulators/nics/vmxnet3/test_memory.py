"""What a further VMXNET3 costs a server. Under traffic it is measured in a guest (``tests/guest/test_vmxnet3.py``)."""

from __future__ import annotations

import pytest

from emulators.process import ServerProcess

MOST = 20 << 20


def private(device: str, count: int) -> int:
    with ServerProcess([device] * count) as server:
        with server.control() as client:
            client.ask("stats")
        return server.private_bytes()


@pytest.mark.parametrize("device", ["vmxnet3", "vmxnet3-large"])
def test_a_further_nic_takes_less_than_20_mib(device: str) -> None:
    one, four = private(device, 1), private(device, 4)
    assert (four - one) / 3 < MOST
