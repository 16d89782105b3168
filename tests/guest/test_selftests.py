"""Linux's own selftests of network drivers, and the page that says what came of them."""

from __future__ import annotations

import re

import pytest

from emulators.qemu import Lab
from emulators.qemu.selftests import FOLDER, KIT
from emulators.qemu.userspace import KITS
from tests.guest import selftests

REFUSED = re.compile(r"virtio_net virtio0 eth0: (?:tx size \(\d+\) cannot be smaller than \d+|resize rx fail: .* err: -22)$")
"""What the driver says of ring sizes that ``ring_reconfig.py`` tries and it does not take."""


@pytest.mark.guest
@pytest.mark.alone  # Linux's tests judge by the clock: pings within half a second, 100 packets within two
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", selftests.DEVICES)
def test_as_recorded(lab: Lab, name: str) -> None:
    recorded = selftests.load()[name]
    with selftests.machine(lab, name) as vm:
        found = {test: selftests.run(vm, test) for test in selftests.TESTS}
        assert selftests.judged(found) == selftests.judged(recorded)
        assert [line for line in vm.kernel_warnings() if not REFUSED.search(line)] == []


def test_every_one_that_linux_has_is_run_or_said_not_to_be(lab: Lab) -> None:
    tree = KITS[KIT].tree.path(lab.cache)
    assert selftests.unnamed(tree / FOLDER.removeprefix("/")) == []


def test_the_page_is_made_from_the_record() -> None:
    assert selftests.PAGE.read_text() == selftests.page(), "run `python -m tests.guest.selftests`"


def test_what_fails_is_explained_and_nothing_else() -> None:
    failed = {
        (device, test, case)
        for device, tests in selftests.load().items() for test, cases in tests.items()
        for case, (outcome, _) in cases.items() if outcome == "fail"
    }  # fmt: skip
    assert failed == set(selftests.FAILS)
