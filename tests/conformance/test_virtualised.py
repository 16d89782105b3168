"""What somebody answers in a device's stead reads 'virtualised', and is judged where nobody does: here and on the raw socket.

Through VFIO and from firmware for real: ``tests.guest.test_conform`` and ``tests.guest.test_firmware``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers.conformance import TransportTarget, open_target
from drivers.transports import Virtualised
from emulators.qemu.firmware_target import Place
from emulators.qemu.machine import VfioUser
from regmodel.catalogue import Device, find
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Skip, items
from regmodel.conformance.outcomes import Outcome, Row
from regmodel.conformance.places import Abilities
from regmodel.conformance.suite import TESTS
from regmodel.function import ResetCause
from tests.support.elsewhere import UNCOMPARED, reports, unjudged

each = pytest.mark.parametrize("name", ["igbvf", "igbvf-i350"])
WAYS = ("vfio", "firmware", "firmware:live")
way = pytest.mark.parametrize("way", WAYS)


def abilities(device: Device, way: str) -> Abilities:
    """Those of a function behind vfio-pci, and of one that firmware reaches behind QEMU's vfio-user-pci."""
    if way.startswith("firmware"):
        return Place(VfioUser("/none")).abilities(device, live=way.endswith("live"))
    with open_target("inprocess", device) as target:
        assert isinstance(target, TransportTarget)
        target.transport.virtualised = frozenset(Virtualised)
        return TransportTarget(target.transport, device, reset_cause=ResetCause.FLR).abilities


def skipped(device: Device, able: Abilities) -> Iterator[Row]:
    """What is left out on a target."""
    bench = Bench(device, able)
    for test in TESTS:
        for item in items(test, bench):
            if isinstance(item, Skip):
                yield Row(test.name, item.about, item.outcome, item.reason)


@each
@way
def test_what_is_virtualised_passes_where_nobody_stands(name: str, way: str) -> None:
    rows = list(skipped(find(name), abilities(find(name), way)))
    virtualised = {row.test for row in rows if row.outcome is Outcome.VIRTUALISED}
    registers, places = {"csr_hw_reset", "csr_rw", "csr_bit_bash"}, {"bar_sizing", "capability_walk"}
    assert registers | places | {"config_enables", "config_flr"} <= virtualised
    assert unjudged(name, rows) == []


@each
def test_what_cannot_be_compared_anywhere_is_named_and_no_more(name: str) -> None:
    """An entry that is not needed would hide that a row came to be left out."""
    tests = tuple(sorted({test for _, test, _ in UNCOMPARED}))
    found = {
        (where, row.test, row.register): row.reason
        for where, report in reports(name, tests).items() for row in report.rows if row.outcome is Outcome.EXCLUDED
    }  # fmt: skip
    assert UNCOMPARED.items() <= found.items()


@each
def test_who_stands_between_is_no_reason_for_what_nobody_could_judge(name: str) -> None:
    """A register without reserved bits is left out for that on every target, and not for vfio-pci."""
    device = find(name)
    hindered = abilities(device, "vfio")
    free = replace(hindered, virtualised={}, raw_config=True)
    anyway = {(row.test, row.register): row.reason for row in skipped(device, free)}
    rows = {(row.test, row.register): row for row in skipped(device, hindered)}
    assert anyway and all(rows[at].reason == why and rows[at].outcome is not Outcome.VIRTUALISED for at, why in anyway.items())


def test_a_row_that_passes_nowhere_is_told() -> None:
    """The comparison can fail: a row of a register that has nothing to judge, and one that there is not."""
    nothing = next(row for row in skipped(find("igbvf"), abilities(find("igbvf"), "vfio")) if row.outcome is Outcome.EXCLUDED)
    for row in (nothing, Row("csr_rw", "config.nothing", Outcome.PASS)):
        assert len(unjudged("igbvf", [replace(row, outcome=Outcome.VIRTUALISED)])) == 2
