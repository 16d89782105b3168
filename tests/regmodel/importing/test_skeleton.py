"""The skeleton, executed: it is the description that it was made from, but for what it says that it leaves to others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regmodel.catalogue import Description, describe
from regmodel.cli import main
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.systemrdl import systemrdl
from regmodel.importing.skeleton import skeleton
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION

ALL = {name: d for name, d in (descriptions() | {"every-kind": DESCRIPTION}).items() if d.bars}


def registers(found: tree.Description) -> dict[str, Any]:
    """All that is said of BARs: sources are comments in a skeleton, and memory has no layout."""
    windows = {f"{bar.name}.{w.name}." for bar in found.bars for w in bar.windows}
    return {
        path: value
        for bar in found.bars
        for path, value in tree.flatten(bar, bar.name).items()
        if not path.endswith(":sources") and not path.startswith(tuple(windows))
    }


@pytest.mark.parametrize("name", ALL)
def test_what_is_executed_is_what_was_written(name: str) -> None:
    whole = elaborate(ALL[name])
    room: dict[str, Any] = {"__name__": "skeleton"}
    exec(skeleton(whole, "a test"), room)
    made = room["DESCRIPTION"]
    assert isinstance(made, Description)
    assert registers(elaborate(made)) == registers(whole)
    assert (made.name, made.title, made.doc) == (whole.name, whole.title, whole.doc)


def test_it_is_type_checked_python(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(skeleton(elaborate(DESCRIPTION), "a test"))
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", str(tmp_path / "made.py")],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_others_call_things_is_no_python() -> None:
    """A title that ends the doc string, BARs called as what is imported or as each other, a value called as a keyword."""
    field = tree.Field(name="f", lsb=0, width=32, access=tree.Access(name="RW"), values={"class": 1, "b": 2})
    register = tree.Register(name="r", offset=0, fields=(field,))
    names = ("RW", "DESCRIPTION", "a.b", "a b", "ACCESS_0", "Register", "é")
    bars = tuple(tree.Bar(name=name, index=i, size=16, entries=(register,)) for i, name in enumerate(names))
    whole = tree.Description(name="x", title='"""; raise SystemExit #\\', bars=bars)
    room: dict[str, Any] = {"__name__": "skeleton"}
    exec(skeleton(whole, 'a "test"'), room)
    assert elaborate(room["DESCRIPTION"]) == whole


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Out, in, and shown: as a person would."""
    rdl, py = tmp_path / "igbvf.rdl", tmp_path / "made.py"
    rdl.write_text(next(iter(systemrdl(ALL["igbvf"], None).values())))
    assert run("import", "--format", "systemrdl", str(rdl), "-o", str(py)) == 0
    assert capsys.readouterr().out == f"{py}\n"
    assert describe(f"{py}:DESCRIPTION").bars[0].entries.keys() == ALL["igbvf"].bars[0].entries.keys()

    assert run("import", "--format", "systemrdl", str(rdl)) == 0
    assert capsys.readouterr().out == py.read_text()
    assert run("import", "--format", "systemrdl", "--json", str(rdl)) == 0
    assert tree.Description.model_validate_json(capsys.readouterr().out).name == "igbvf"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["no.rdl", "--format", "systemrdl"], 2, "cannot read no.rdl: no such file"),
        (["bad.rdl", "--format", "systemrdl"], 1, "bad.rdl:1: "),
        (["latin.rdl", "--format", "systemrdl", "-o", "made.py"], 1, "latin.rdl:1: byte 0xe9 is no UTF-8; "),
        (["odd.rdl", "--format", "systemrdl", "-o", "made.py"], 1, "odd.rdl:1: a.ra[1]: 0x6 is no multiple of 4; "),
        (["odd.rdl", "--format", "systemrdl", "--json"], 1, "odd.rdl:1: a.ra[1]: 0x6 is no multiple of 4; "),
        (["bad.rdl", "--format", "klingon"], 2, "unknown format 'klingon'; known: "),
        (["good.rdl", "--format", "systemrdl", "-o", "/proc/no"], 2, "cannot write /proc/no: "),
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
    Path("bad.rdl").write_text("addrmap {")
    Path("latin.rdl").write_bytes(b"addrmap a { name = '\xe9'; };")
    Path("odd.rdl").write_text("addrmap a { reg { field { sw=rw; } x = 0; } ra[2] @ 0 += 6; };")
    Path("good.rdl").write_text("addrmap a { reg { field { sw=rw; } x = 0; } ra @ 0; };")
    assert run("import", *words) == status
    said = capsys.readouterr()
    assert said.err.startswith(f"regmodel: {says}") and said.err.count("\n") == 1 and said.out == ""
    assert not Path("made.py").exists()
