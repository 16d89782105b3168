"""Devices for user space: what is said where one cannot be bound. That it works is shown by the guest tests of drivers."""

from __future__ import annotations

from typing import Any

import pytest

from emulators.qemu.agent import Result
from emulators.qemu.errors import GuestError
from emulators.qemu.vfio import bind


class Deaf:
    """A guest in which nothing can be bound."""

    name = "vm1"

    def run(self, command: str) -> Result:
        return Result(command, 1, b"", b"sh: write error: Invalid argument\n")


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ("vfio-pci", "vfio-pci does not take 0000:00:01.0: see .* that module and has an IOMMU"),
        ("igbvf", "igbvf does not take 0000:00:01.0: see that vm1 has that device, has loaded that module$"),
    ],
)
def test_a_driver_that_does_not_take_a_device(driver: str, says: str) -> None:
    vm: Any = Deaf()
    with pytest.raises(GuestError, match=says):
        bind(vm, "0000:00:01.0", driver=driver)
