"""``python -m emulators.qemu.setup``: one line when it cannot work. That it works is shown by every guest test."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu import setup


def test_an_error_is_one_line_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no QEMU, no mmdebstrap
    assert setup.main([]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "regmodel: mmdebstrap is not installed: apt-get install mmdebstrap"
    assert not any("Traceback" in line for line in lines)
