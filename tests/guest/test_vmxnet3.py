"""VMXNET3 under the stock driver of Linux, with each revision that may be agreed on: what is agreed on, shown and set.

What ``ethtool`` shows is compared with what the model says of itself. The other half of the tour is in
``test_vmxnet3_travels``; interrupts, numbers of queues, the large BAR and hot-plug are in ``test_vmxnet3_shapes``.
"""

from __future__ import annotations

import pytest

from regmodel.structures.vmxnet3 import MTU_MOST, MTU_MOST_V6
from tests.guest.conftest import Bench
from tests.guest.network import carrier, mac, ping
from tests.guest.vmxnet3 import B, Pair, dump, shown
from tests.guest.vmxnet3_tour import Clean, met, settings

pytestmark = pytest.mark.guest

DEVICE = "vmxnet3"


def test_what_is_agreed_on_and_set(bench: Bench, revision: str, kernel: str, clean: Clean) -> None:
    """Both kernels know all nine revisions, and take the newest that is on offer."""
    version = int(revision)
    with met(bench, version, clean) as pair:
        what_ethtool_shows(pair, version)
        newer_commands(pair, version)
        settings(pair, version)


def what_ethtool_shows(pair: Pair, version: int) -> None:
    """The address, rings, offloads, speed; of registers those whose values are known."""
    vm, model = pair.near, pair.status()
    assert mac(vm) == model["address"]
    found = dump(vm).registers
    assert [found[name] for name in ("vrrs", "uvrs", "ecr")] == [(1 << version) - 1, 1, 0]
    assert (found["macl"].to_bytes(4, "little") + found["mach"].to_bytes(2, "little")).hex(":") == model["address"]
    sizes = shown(vm, "-g", "Current hardware settings:")
    assert [int(sizes[name]) for name in ("RX", "RX Jumbo")] == model["receive"][0]["sizes"]
    assert int(sizes["TX"]) == model["transmit"][0]["size"]
    assert sizes["RX Mini"] == (str(model["receive"][0]["data"]) if version >= 3 else "n/a")
    offloads = shown(vm, "-k")
    for name in ("rx-checksumming", "tx-checksumming", "tcp-segmentation-offload", "large-receive-offload", "rx-vlan-offload"):
        assert offloads[name] == "on", name
    assert (offloads["tx-udp_tnl-segmentation"] == "on") == (version >= 4)
    assert "speed: 10000" in vm.run("ethtool eth0 | tr A-Z a-z", check=True).text


def newer_commands(pair: Pair, version: int) -> None:
    """What later revisions brought: coalescing (3), RSS by UDP ports (4), and a longer MTU (6); before, the driver refuses."""
    vm = pair.near
    assert (vm.run("ethtool -C eth0 rx-usecs 100").status == 0) == (version >= 3)
    assert pair.status()["coalescing"] == ("rbc" if version >= 3 else "disabled")
    assert (vm.run("ethtool -N eth0 rx-flow-hash udp4 sdfn").status == 0) == (version >= 4)
    assert ("udpip4" in pair.status()["fields"]) == (version >= 4)
    ping(vm, B, count=2)
    for mtu in (MTU_MOST, MTU_MOST_V6):
        assert (vm.run(f"ip link set eth0 mtu {mtu}").status == 0) == (mtu == MTU_MOST or version >= 6)
        carrier(vm, True)
        assert pair.status()["mtu"] == (mtu if version >= 6 else MTU_MOST)
    vm.run("ip link set eth0 mtu 1500", check=True)
    carrier(vm, True)
