"""``regmodel vm``: what becomes of the command before a guest sees it."""

from __future__ import annotations

import pytest

from emulators.commands.vm import _addressed
from regmodel.errors import UsageError

ONE, TWO = "0000:00:01.0", "0000:00:02.0"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("regmodel pmd igbvf --via vfio:BDF", f"regmodel pmd igbvf --via vfio:{ONE}"),
        ("a BDF0 'BDF1'", f"a {ONE} '{TWO}'"),
        ("cat /sys/bus/pci/devices/BDF1/vendor", f"cat /sys/bus/pci/devices/{TWO}/vendor"),
        ("for BDF_ in 1; do echo $BDF ${BDF} MYBDF BDFs; done", "for BDF_ in 1; do echo $BDF ${BDF} MYBDF BDFs; done"),
    ],
)
def test_bdf_stands_for_the_address_of_a_device(command: str, expected: str) -> None:
    assert _addressed(command, [ONE, TWO]) == expected


def test_a_device_that_was_not_attached() -> None:
    with pytest.raises(UsageError, match="BDF2: the last of the 2 devices is BDF1; attach another --device"):
        _addressed("lspci -s BDF2", [ONE, TWO])
