"""The contract of all transports, kept by Linux VFIO: in a guest, on the test function, behind the emulated IOMMU.

pytest itself runs in the guest: the suite there is ``tests.drivers.transports.contract``, unchanged.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from emulators.process import ServerProcess
from emulators.qemu import Lab, VfioUser
from emulators.qemu.vfio import bind

pytestmark = pytest.mark.guest

TESTS = Path(__file__).parents[1]
SUITE = [
    "drivers/__init__.py", "drivers/transports/__init__.py", "drivers/transports/contract.py",
    "emulators/__init__.py", "emulators/pci/__init__.py", "emulators/pci/testdevice.py", "__init__.py",
]  # fmt: skip
RUNNER = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")
PROGRAM = """
import os

import pytest

from drivers.transports.opening import open_transport
from tests.drivers.transports.contract import Bench, Contract
from tests.emulators.pci.testdevice import DEVICE


def opened(**options):
    return open_transport("vfio:" + os.environ["BDF"], DEVICE, **options)


class TestMapped(Contract):
    @pytest.fixture
    def bench(self):
        with opened() as transport:
            yield Bench(transport, again=opened)


class TestBySystemCall(Contract):
    @pytest.fixture
    def bench(self):
        with opened(mapped=False) as transport:
            yield Bench(transport, again=opened)

    def test_memory_disabled_reads_ones(self, transport):
        from drivers.transports.capabilities import COMMAND

        transport.config_write(COMMAND, 2, 0)
        assert transport.bar(0).u32[0] == 0xFFFFFFFF
        transport.bar(0).u32[1] = 5
"""


def luggage(folder: Path) -> None:
    """The suite, pytest and the program above, as one folder of modules."""
    for name in SUITE:
        target = folder / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TESTS / name, target)
    for name in RUNNER:
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        origin = Path(found.origin)
        if found.submodule_search_locations:
            shutil.copytree(origin.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, folder)
    (folder / "test_here.py").write_text(PROGRAM)


def test_linux_vfio_keeps_the_contract(lab: Lab, tmp_path: Path) -> None:
    share = tmp_path / "share"
    luggage(share)
    with (
        ServerProcess([f"{TESTS}/emulators/pci/testdevice.py:DEVICE"], folder=tmp_path) as server,
        lab.vm([VfioUser(server.sockets[0])], ["vfio-pci"], viommu=True, kits=["python"], share=share) as vm,
    ):
        (bdf,) = vm.bdfs
        bind(vm, bdf)
        command = "python3 -B -m pytest -q -rs --color=no -p no:cacheprovider -c /dev/null --rootdir=/tmp test_here.py"
        said = vm.run(f"cd /mnt/share && BDF={bdf} PYTHONPATH=/mnt/share {command}", timeout=280)
        print(said.text)
        assert said.status == 0, said.text + said.stderr.decode()
        passed = re.search(r"(\d+) passed", said.text)
        assert passed is not None and int(passed[1]) > 120
        assert not vm.kernel_warnings()
