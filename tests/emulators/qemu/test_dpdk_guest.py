"""A DPDK guest on QEMU's own igb: vfio-pci behind intel-iommu, huge pages, testpmd on a VF."""

from __future__ import annotations

import re

import pytest

from emulators.qemu import GuestError, Lab, RawDevice
from emulators.qemu.dpdk import Testpmd, huge_pages
from emulators.qemu.vfio import bind
from tests.guest.network import until

pytestmark = pytest.mark.guest

VF = "0000:01:10.0"


def transmitted(pmd: Testpmd) -> int:
    counted = re.search(r"TX-packets: (\d+)", pmd("show port stats 0"))
    assert counted is not None
    return int(counted[1])


def test_testpmd_transmits_on_a_vf_behind_the_iommu(lab: Lab) -> None:
    devices = [RawDevice("pcie-root-port,id=rp,slot=1,chassis=1"), RawDevice("igb,bus=rp,netdev=n0")]
    with lab.vm(devices, ["igb", "igbvf", "vfio-pci"], viommu=True, kits=["dpdk"], memory="512M", cpus=2,
                arguments=["-netdev", "user,id=n0"]) as vm:
        vm.run("ip link set eth0 up && echo 1 > /sys/class/net/eth0/device/sriov_numvfs", check=True)
        bind(vm, VF)
        huge_pages(vm)
        with pytest.raises(GuestError, match="testpmd ended"), Testpmd(vm, [VF], args=["--no-such-option"]):
            pass
        with Testpmd(vm, [VF]) as pmd:
            assert "Driver name: net_e1000_igb_vf" in pmd("show port info 0")
            pmd("set fwd txonly")
            pmd("start")
            until(lambda: transmitted(pmd) > 1000)
            pmd("stop")
            assert pmd.quit() == 0
        assert vm.kernel_warnings() == []
