"""QEMU unplugs a function that has MSI but no MSI-X; what it does where there is MSI-X: ``tests/guest/test_hotplug.py``."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest

from emulators.host import Host
from emulators.loop import Loop
from emulators.model import single
from emulators.pci.function import PciFunction
from emulators.qemu import Lab, VfioUser
from emulators.vfio_user.server import Server
from regmodel.access import RW
from regmodel.bank import Bank
from regmodel.capabilities import msi, pcie
from regmodel.catalogue import Device, Identity
from regmodel.function import ResetCause
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar, Reg32

pytestmark = pytest.mark.guest

BAR0 = Bar("bar0", 0x1000, "scratch" / Reg32(0, RW) * "stores")
IDENTITY = Identity(0x1234, 0x5678, class_code=0x020000, revision=1)
CONFIG = ConfigSpace(IDENTITY, msi(0x50, 1), pcie(0xA0), bars=(BarSpec(0, 0x1000),), size=4096)
DEVICE = Device(name="plain", title="plain", doc="one register", identity=IDENTITY, config=CONFIG, bars={0: BAR0}, model="-")


class Plain:
    """A register that stores."""

    def __init__(self, device: Device, host: Host) -> None:
        self.banks = {0: Bank(BAR0)}

    def reset(self, cause: ResetCause) -> None:
        self.banks[0].reset(cause)

    def save(self) -> dict[str, object]:
        return self.banks[0].save()

    def load(self, state: Mapping[str, object]) -> None:
        self.banks[0].load(state)


def serve(path: Path, ready: multiprocessing.synchronize.Event) -> None:
    loop = Loop()
    Server(loop, PciFunction(DEVICE, loop, single(Plain)(DEVICE, loop).slots[0]), path)
    ready.set()
    loop.run()


def test_qemu_unplugs_and_replugs_a_function_without_msix(lab: Lab, tmp_path: Path) -> None:
    path, ready = tmp_path / "plain.sock", multiprocessing.Event()
    server = multiprocessing.Process(target=serve, args=(path, ready), daemon=True)
    server.start()
    try:
        assert ready.wait(10)
        with lab.vm(devices=[VfioUser(str(path))], root_port=True) as vm:
            for name in ("dev0", "again"):
                assert "1234:5678" in vm.run("lspci -n", check=True).text
                vm.unplug(name)
                assert "1234:5678" not in vm.run("lspci -n", check=True).text
                vm.plug(VfioUser(str(path)), "again", "rp0")
                vm.run("for i in $(seq 50); do lspci -n | grep -q 1234 && exit 0; sleep 0.1; done; exit 1", check=True)
            assert vm.kernel_warnings() == []
    finally:
        server.kill()
        server.join()
