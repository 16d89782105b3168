"""Firmware and Linux on the other side: a guest finds the test device, sizes its BAR, reads and writes its registers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.guest


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.vfio_user.serve", tmp_path / "s"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_linux_guest(served, lab, tmp_path):
    from emulators.qemu import VfioUser

    trace = tmp_path / "trace"
    with lab.vm([VfioUser(tmp_path / "s")], arguments=["-trace", "vfio_user_*", "-D", str(trace)]) as vm:
        listing = vm.run("lspci -vv -s 00:01.0").check().text
        assert "1af4:10ff" in vm.run("lspci -n -s 00:01.0").text
        assert "[size=4K]" in listing and "MSI-X: Enable- Count=4" in listing
        bar = int(vm.run("head -1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d' ' -f1").check().text, 16)
        vm.run("setpci -s 00:01.0 COMMAND=6").check()
        for i in range(8):
            vm.run(f"devmem {bar + 4 * i:#x} 32 {0x1000 + i}").check()
        assert int(vm.run(f"devmem {bar + 20:#x} 32").check().text, 16) == 0x1005
        assert vm.kernel_warnings() == []
    served.terminate()
    said = json.loads(served.communicate(timeout=30)[0])
    accesses = [tuple(a) for a in said["accesses"]][-9:]
    assert accesses == [("write", 0, 4 * i, 4, 0x1000 + i) for i in range(8)] + [("read", 0, 20, 4)]
    assert said["resets"] >= 1 and said["refused"] == []
    assert sorted(said["maps"]) == sorted(said["unmaps"]), "what the guest mapped has all been taken back"
    text = trace.read_text()
    assert "vfio_user_region_rw" in text and "vfio_user_dma_map" in text and "error" not in text.lower()


def test_a_stock_driver_in_memory_without_a_file(lab, tmp_path):
    """igbvf pings while rings and packets are reached by DMA_READ and DMA_WRITE only, with its register reads in between."""
    from emulators.process import ServerProcess
    from emulators.qemu import VfioUser
    from tests.guest.network import ADDRESSES, ping, up
    from tests.guest.virtio import apart

    trace = tmp_path / "trace"
    plain = ["-object", "memory-backend-ram,id=plain,size=256M", "-machine", "memory-backend=plain"]
    with (
        ServerProcess(["igbvf", "igbvf"], folder=tmp_path) as server,
        lab.vm(
            [VfioUser(path) for path in server.sockets], ["igbvf"],
            arguments=[*plain, "-trace", "vfio_user_recv_hdr", "-D", str(trace)],
        ) as vm,
    ):  # fmt: skip
        up(vm, ADDRESSES[0])
        up(apart(vm), ADDRESSES[1], "eth1")
        ping(vm, ADDRESSES[1], count=10, size=1400)
        assert vm.kernel_warnings() == []
        assert vm.dmesg().count("Tx Unit Hang") == 0
    text = trace.read_text()
    assert text.count(" cmd 0xb ") > 20 and text.count(" cmd 0xc ") > 20  # DMA_READ, DMA_WRITE
