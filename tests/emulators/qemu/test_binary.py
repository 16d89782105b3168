"""Which QEMU is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import binary
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError


def _fake(folder: Path, version: str, devices: str) -> Path:
    path = folder / binary.PROGRAM
    path.write_text(f"#!/bin/sh\ncase $1 in -version) echo 'QEMU emulator version {version} (Debian 1:{version})' ;;\n"
                    f"-device) echo '{devices}' ;; esac\n")
    path.chmod(0o755)
    return path


def test_one_on_path_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _fake(tmp_path, "11.0.50", 'name "vfio-user-pci", bus PCI')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = binary.find(Cache(tmp_path / "cache"))
    assert found.command == (str(path),) and found.version == (11, 0, 50) and "on PATH" in str(found)


@pytest.mark.parametrize(("version", "devices"), [
    ("7.2.22", 'name "vfio-user-pci", bus PCI'),
    ("10.2.2", 'name "vfio-user-pci", bus PCI'),
    ("11.1.0", 'name "vfio-pci", bus PCI'),
])
def test_others_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, devices: str) -> None:
    _fake(tmp_path, version, devices)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    private = binary.Qemu(("private",), (11, 1, 3), "private")
    monkeypatch.setattr(binary, "private", lambda cache: private)
    assert binary.find(Cache(tmp_path / "cache")) is private


def test_what_is_no_qemu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not a QEMU"):
        binary.examine(("/bin/echo",), "on PATH")
    with pytest.raises(LabError, match="does not run"):
        binary.examine((str(tmp_path / "absent"),), "on PATH")
