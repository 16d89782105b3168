"""The contract of all transports, kept by Linux VFIO: in a guest, on the test function, behind the emulated IOMMU.

pytest itself runs in the guest: the suite there is ``tests.drivers.transports.contract``, unchanged.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser
from emulators.qemu.agent import Result
from emulators.qemu.vfio import bind

pytestmark = pytest.mark.guest

TESTS = Path(__file__).parents[1]
SUITE = [
    "drivers/__init__.py", "drivers/transports/__init__.py", "drivers/transports/contract.py",
    "emulators/__init__.py", "emulators/pci/__init__.py", "emulators/pci/testdevice.py", "__init__.py",
]  # fmt: skip
Clean = Callable[..., None]
ROM = r"vfio-pci \S+: Invalid PCI ROM header signature"
"""What the kernel says of a ROM that holds no program, as that of the test function, each time its size is asked for."""
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


@pytest.fixture(scope="module")
def guest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VM]:
    """With the test function bound to vfio-pci, and the luggage at ``/mnt/share``."""
    folder = tmp_path_factory.mktemp("contract")
    luggage(folder / "share")
    with (
        ServerProcess([f"{TESTS}/emulators/pci/testdevice.py:DEVICE"], folder=folder) as server,
        lab.vm([VfioUser(server.sockets[0])], ["vfio-pci"], viommu=True, kits=["python"], share=folder / "share") as vm,
    ):
        bind(vm, *vm.bdfs)
        yield vm


def run(vm: VM, command: str, timeout: float = 60) -> Result:
    return vm.run(f"cd /mnt/share && BDF={vm.bdfs[0]} PYTHONPATH=/mnt/share python3 -B {command}", timeout=timeout)


def test_linux_vfio_keeps_the_contract(guest: VM, clean: Clean) -> None:
    said = run(guest, "-m pytest -q -rs --color=no -p no:cacheprovider -c /dev/null --rootdir=/tmp test_here.py", timeout=280)
    assert said.status == 0, said.text + said.stderr.decode()
    passed = re.search(r"(\d+) passed", said.text)
    assert passed is not None and int(passed[1]) > 120
    clean(guest, ROM)


LIMITED = """
import os
import resource

from drivers.errors import PermissionDenied
from test_here import opened

group = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{os.environ['BDF']}/iommu_group"))
os.chown(f"/dev/vfio/{group}", 65534, 65534)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (8192, 8192))
os.setuid(65534)
with opened() as transport:
    kept = [transport.alloc(4096)]
    try:
        kept.append(transport.alloc(8192))
    except PermissionDenied as error:
        print(error)
    kept.append(transport.alloc(4096))
    print(*(hex(buffer.iova) for buffer in kept))
"""


def test_locked_memory_is_limited_for_others_than_root(guest: VM) -> None:
    guest.put("/tmp/limited.py", LIMITED.encode())
    said = run(guest, "/tmp/limited.py")
    assert said.status == 0, said.stderr.decode()
    refusal, addresses = said.text.splitlines()
    assert refusal.startswith("8192 bytes of DMA memory cannot be locked, with a limit of 8192 bytes (RLIMIT_MEMLOCK): ")
    assert addresses == "0x10000000 0x10001000"
