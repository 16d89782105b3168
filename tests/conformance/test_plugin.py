"""The pytest plugin: nothing without its option; with it, the suite as test items and a ladder of fixtures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
        (("--regmodel-device", "nosuch"), "ERROR: unknown device 'nosuch'; known: igbvf"),
        (("--regmodel-device", "igbvf", "--regmodel-test", "nosuch"), "ERROR: there is no test 'nosuch'"),
    ],
)
def test_bad_words_get_one_line(folder: Path, words: tuple[str, ...], line: str) -> None:
    status, said = outcome(folder, *words)
    assert status == 4 and line in said and "Traceback" not in said


def test_a_device_that_is_not_there(folder: Path) -> None:
    status, said = outcome(
        folder, "--regmodel-device", "igbvf", "--regmodel-via", "vfio-user:/nowhere", "--regmodel-test", "csr_rw"
    )
    assert status == 1 and "/nowhere" in said and "Traceback" not in said
