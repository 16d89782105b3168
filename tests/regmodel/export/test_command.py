"""``regmodel export``: what it writes where, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from regmodel.cli import main
from regmodel.devices.igbvf import IGBVF
from regmodel.export import backend, formats
from regmodel.export.verilog import block


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["export", *words])
    return int(end.value.code or 0)


def test_one_bar_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "registers.v"
    assert run("igbvf", "--format", "verilog", "--bar", "0", "-o", str(path)) == 0
    assert path.read_text() == block(IGBVF, 0).text


def test_all_bars_into_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("igbvf", "--format", "verilog", "-o", str(tmp_path)) == 0
    names = ["igbvf_bar0.v", "igbvf_msix.v"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["igbvf", "--format", "vhdl", "-o", "x"], 2, "unknown format 'vhdl'; known: "),
        (["igbvf", "--format", "verilog", "--bar", "9", "-o", "x"], 2, "igbvf has no BAR 9; it has 0, 3"),
        (["igbvf", "--format", "verilog", "--bar", "0", "-o", "/proc/no/x.v"], 2, "cannot write "),
        (["igbvf", "--format", "verilog", "-o", "/etc/hostname"], 2, "/etc/hostname is a file and there are 2 to write; "),
        (["igbfv", "--format", "verilog", "-o", "x"], 2, "unknown device 'igbfv'; "),
        (["igbvf", "-o", "x"], 2, "Missing option '--format'"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == status
    said = capsys.readouterr().err
    assert said.startswith(f"regmodel: {says}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, listed = tmp_path / "igbvf.h", tmp_path / "left-out"
    assert run("igbvf", "--format", "c-header", "--bar", "0", "-o", str(path)) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert "c-header leaves out bar0:policy and 47 more: a macro is a number" in said.err

    assert run("igbvf", "--format", "c-header", "--bar", "0", "-o", str(path), "--left-out", str(listed)) == 0
    assert capsys.readouterr().err == ""
    lines = listed.read_text().splitlines()
    assert lines == [str(item) for item in backend("c-header")(IGBVF, 0).left_out]  # type: ignore[attr-defined]
    assert "bar0.eics:alias_of: a macro is a number: behaviour is not in it" in lines


def test_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert ", ".join(formats()) in said
