"""The driver on two models in lock-step: two that are alike do the same, and of others every difference is told."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.mempool import Mempool
from drivers.nics import driver_for
from drivers.transports.opening import open_transport
from drivers.transports.tee import Finding, Tee
from regmodel.catalogue import find

ADDRESS, OTHER = "02:00:00:00:00:31", "02:00:00:00:00:32"


def findings(name: str, other: str) -> list[Finding]:
    """A frame sent by a device with ``ADDRESS`` and by one with the address ``other``."""
    device = find(name)
    found: list[Finding] = []
    first, second = (open_transport("inprocess", device, mac=mac) for mac in (ADDRESS, other))
    tee = Tee(first, second, device, grace=0.2, accept=lambda finding: found.append(finding) or True)
    with tee, driver_for(device)(tee, device) as port:
        port.configure()
        pool = Mempool(tee, 256, 2048)
        port.rx_queue_setup(0, pool, 64)
        port.tx_queue_setup(0, pool, 64)
        port.start()
        port.link_wait(5)
        packet = np.array([pool.put(b"\xff" * 6 + bytes(54))], np.intp)
        assert port.tx_burst(0, packet) == 1
        tee.sleep(0.01)
        port.tx_done_cleanup(0)
        port.stop()
    return found


@pytest.mark.parametrize("name", ["virtio-net", "virtio-net-transitional", "virtio-net-legacy", "vmxnet3", "avp"])
def test_two_that_are_alike(name: str) -> None:
    assert findings(name, ADDRESS) == []


@pytest.mark.parametrize(("name", "where"), [("virtio-net", "mac"), ("vmxnet3", "mac"), ("avp", "device_info")])
def test_another_address_is_told(name: str, where: str) -> None:
    """First of all; by AVP, which refuses requests that name it wrongly, with what follows."""
    told = findings(name, OTHER)
    assert where in told[0].where and (name == "avp" or all(where in finding.where for finding in told)), told
