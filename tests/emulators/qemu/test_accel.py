"""KVM or TCG."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import accel
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError


@pytest.fixture(autouse=True)
def _undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGMODEL_ACCEL", raising=False)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


def _never() -> str:
    raise AssertionError("no guest was to be booted")


def test_without_the_device_it_is_tcg(tmp_path: Path) -> None:
    chosen = accel.choose(Cache(tmp_path), "key", _never, tmp_path / "none")
    assert chosen.name == "tcg" and "there is no" in str(chosen)


def test_a_probe_guest_decides_once(tmp_path: Path, device: Path) -> None:
    calls: list[int] = []

    def probe() -> str:
        calls.append(1)
        return ""

    for _ in range(3):
        assert accel.choose(Cache(tmp_path), "key", probe, device).name == "kvm"
    assert len(calls) == 1
    accel.choose(Cache(tmp_path), "another QEMU", probe, device)
    assert len(calls) == 2


def test_a_guest_that_dies_means_tcg_and_it_says_why(tmp_path: Path, device: Path) -> None:
    chosen = accel.choose(Cache(tmp_path), "key", lambda: "QEMU reports an internal error", device)
    assert str(chosen) == "TCG (a probe guest failed under KVM: QEMU reports an internal error)"


@pytest.mark.parametrize("name", ["kvm", "tcg"])
def test_the_user_decides(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("REGMODEL_ACCEL", name)
    assert accel.choose(Cache(tmp_path), "key", _never, device).name == name
    monkeypatch.setenv("REGMODEL_ACCEL", "xen")
    with pytest.raises(LabError, match="neither kvm nor tcg"):
        accel.choose(Cache(tmp_path), "key", _never, device)
