"""The pytest plugin: nothing without its option; with it, the suite as test items and a ladder of fixtures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from drivers.pytest_plugin import INCOMPLETE
from regmodel.catalogue import devices
from regmodel.conformance.suite import TESTS

OWN = """
def test_link(regmodel_bars):
    assert regmodel_bars.status.lu == 1

def test_memory(regmodel_rings):
    assert set(regmodel_rings) == {"tx", "rx"} and all(b.size >= 4096 for b in regmodel_rings.values())

def test_identity(regmodel_function, regmodel_device):
    assert regmodel_function.config_read(0, 4) == regmodel_device.identity.device << 16 | regmodel_device.identity.vendor
"""
WRONG = """
from dataclasses import replace
import copy
from regmodel.devices.igbvf import IGBVF
from regmodel.function import ResetCause

bar = copy.copy(IGBVF.bars[0])
entry = copy.copy(bar.entries["srrctl"])
entry.resets = {ResetCause.POWER_ON: 0x500}
bar.entries = {**bar.entries, "srrctl": entry}
DEVICE = replace(IGBVF, name="mine", bars={**IGBVF.bars, 0: bar}, model="wrong:card")
"""

TWICE = """
from regmodel.access import RW
from regmodel.registers import Bar, Reg32

DEVICE = Bar("bar0", 0x10, "a" / Reg32(0, RW), "b" / Reg32(0, RW))
"""


def outcome(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_own.py").write_text(OWN)
    return tmp_path


def test_a_team_judges_its_device(folder: Path) -> None:
    status, said = outcome(folder, "-v", "--regmodel-device", "igbvf", "--regmodel-test", "csr_h", "--regmodel-test", "mem_")
    assert status == 0, said
    assert "regmodel: igbvf via inprocess" in said and "5 passed" in said
    assert "csr_hw_reset" in said and "mem_walk" in said and "csr_bit_bash" not in said


def test_without_the_option_nothing_happens(folder: Path) -> None:
    status, said = outcome(folder, "-rs")
    assert status == 0 and "3 skipped" in said and "no device: run pytest with --regmodel-device NAME" in said
    assert "regmodel: " not in said and "regmodel::" not in said


SKIPPED = "irq_queues"
"""What an igbvf has nothing for: its queues have no vectors of their own."""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--regmodel-test", SKIPPED), "1 of its tests were skipped, no other was run"),
        (("-k", "test_link"), "none of its tests was run"),
    ],
    ids=["skipped", "deselected"],
)
def test_what_has_judged_nothing_is_no_pass(folder: Path, words: tuple[str, ...], why: str) -> None:
    """Though tests of one's own pass."""
    status, said = outcome(folder, "--regmodel-device", "igbvf", *words)
    assert status == INCOMPLETE and " passed" in said and "failed" not in said, said
    [line] = [line for line in said.splitlines() if line.startswith("regmodel: ") and "INCOMPLETE" in line]
    assert line == f"regmodel: igbvf via inprocess: INCOMPLETE, nothing was judged: {why}"


def test_one_test_that_judges_is_enough(folder: Path) -> None:
    status, said = outcome(folder, "--regmodel-device", "igbvf", "--regmodel-test", SKIPPED, "--regmodel-test", "capability")
    assert status == 0 and "1 skipped" in said and "INCOMPLETE" not in said, said


def test_in_several_processes_as_well(folder: Path) -> None:
    for test, expected in ((SKIPPED, INCOMPLETE), ("capability", 0)):
        status, said = outcome(folder, "-n", "2", "--regmodel-device", "igbvf", "--regmodel-test", test)
        assert status == expected, said


def test_the_fixtures_alone_can_be_had(folder: Path) -> None:
    status, said = outcome(folder, "--regmodel-device", "igbvf", "--regmodel-test", "none")
    assert status == 0 and "3 passed" in said and "INCOMPLETE" not in said, said


def test_it_costs_an_ordinary_run_nothing(folder: Path) -> None:
    (folder / "test_own.py").write_text(
        "import sys\ndef test_it():\n"
        "    assert not [m for m in sys.modules if m.startswith(('regmodel', 'construct', 'numpy'))]\n"
    )
    status, said = outcome(folder)
    assert status == 0, said


def test_a_difference_is_told_in_one_line_per_register(folder: Path) -> None:
    """The description says another reset value than the model of igbvf has."""
    (folder / "test_own.py").unlink()
    (folder / "mine.py").write_text(WRONG)
    (folder / "wrong.py").write_text(
        "from dataclasses import replace\nfrom emulators.nics.igb.card import IgbCard\n"
        "from regmodel.devices.igbvf import IGBVF\n"
        "def card(device, loop, **options):\n    return IgbCard(replace(IGBVF, name=device.name), loop, **options)\n"
    )
    status, said = outcome(folder, "-p", "wrong", "--regmodel-device", "mine.py:DEVICE", "--regmodel-test", "csr_hw_reset")
    assert status == 1, said
    assert "bar0.srrctl[0]: bar0.srrctl[0] reads 00000400, not 00000500" in said and "bsizeheader" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--regmodel-device", "nosuch"), f"unknown device 'nosuch'; known: {', '.join(devices())}; or name a description as "),
        (
            ("--regmodel-device", "igbvf", "--regmodel-test", "nosuch"),
            f"there is no test 'nosuch'; there are {', '.join(test.name for test in TESTS)}",
        ),
    ],
)
def test_bad_words_get_one_line(folder: Path, words: tuple[str, ...], line: str) -> None:
    """Which says what there is."""
    status, said = outcome(folder, *words)
    [told] = [text for text in said.splitlines() if text.startswith(("ERROR", "E  "))]
    assert status == 4 and told.startswith(f"ERROR: {line}") and "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "status", "before"),
    [
        (("regmodel.cli", "conform", "twice.py:DEVICE", "--json", "report"), 2, "regmodel: "),
        (("pytest", "-q", "-p", "no:cacheprovider", "--regmodel-device", "twice.py:DEVICE"), 4, "ERROR: "),
    ],
    ids=["conform", "pytest"],
)
def test_a_description_that_contradicts_itself(folder: Path, command: tuple[str, ...], status: int, before: str) -> None:
    """Before any run: one line, no report, and the status of wrong usage."""
    (folder / "twice.py").write_text(TWICE)
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=100)
    [told] = [line for line in (done.stdout + done.stderr).splitlines() if line and "no tests ran" not in line]
    assert done.returncode == status and told.startswith(f"{before}twice.py cannot be loaded: DescriptionError: ")
    assert told.endswith("[entry-overlap]") and not (folder / "report").exists()


def test_a_device_that_is_not_there(folder: Path) -> None:
    status, said = outcome(
        folder, "--regmodel-device", "igbvf", "--regmodel-via", "vfio-user:/nowhere", "--regmodel-test", "csr_rw"
    )
    assert status == 1 and "/nowhere" in said and "Traceback" not in said
