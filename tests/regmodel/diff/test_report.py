"""The command: its four formats, its exit code, and what it says when it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sarif_pydantic import Sarif

from regmodel.catalogue import devices, find
from regmodel.cli import main
from regmodel.devices.igbvf import IGBVF
from regmodel.export import backend


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["diff", *words])
    return int(end.value.code or 0)


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("igbvf", "igbvf-i350") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "igbvf -> igbvf-i350: 23 breaking, 3 behaviour, 2 documentation"
    assert lines[1:3] == ["", "breaking"]
    assert "  bar0.srrctl.timestamp          is new (bit 30, put a timestamp before the packet)" in lines


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("igbvf", "igbvf-i350", "--format", "markdown") == 0
    text = capsys.readouterr().out
    assert text.startswith("## igbvf → igbvf-i350\n\n23 breaking, 3 behaviour, 2 documentation.\n\n### Breaking\n\n| where |")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {4}


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("igbvf", "igbvf-i350", "--format", "json", "--least", "breaking") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["before"], found["after"], len(found["findings"])) == ("igbvf", "igbvf-i350", 23)
    assert {f["severity"] for f in found["findings"]} == {"breaking"}
    assert found["findings"][0].keys() == {"severity", "rule", "path", "text"}


def test_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's model of the standard takes it; each result points to the line that declares it."""
    root = Path(__file__).parents[3]
    monkeypatch.chdir(root)
    assert run("igbvf", "igbvf-i350", "--format", "sarif", "-o", str(tmp_path / "x.sarif")) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.sarif'}\n"
    found = Sarif.model_validate_json((tmp_path / "x.sarif").read_text())
    (log,) = found.runs
    assert found.version == "2.1.0" and log.tool.driver.name == "regmodel diff"
    assert log.results is not None and len(log.results) == 28
    rules = [rule.id for rule in log.tool.driver.rules or ()]
    assert rules == sorted(set(rules)) and {r.rule_id for r in log.results} == set(rules)
    data = json.loads((tmp_path / "x.sarif").read_text())["runs"][0]["results"]
    assert all(rules[r["ruleIndex"]] == r["ruleId"] for r in data)
    assert {r["level"] for r in data} == {"error", "warning", "note"}
    (stamp,) = (r for r in data if r["message"]["text"].startswith("bar0.srrctl.timestamp: "))
    place = stamp["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "regmodel/bars/igbvf.py"
    line = (root / "regmodel/bars/igbvf.py").read_text().splitlines()[place["region"]["startLine"] - 1]
    assert '"timestamp" / RW[30]' in line


def test_revisions_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was exported yesterday is compared with what is described today."""
    for name, suffix in (("json", "json"), ("systemrdl", "rdl")):
        old = tmp_path / f"old.{suffix}"
        old.write_text(next(iter(backend(name)(IGBVF, None).values())))
        assert run(str(old), "igbvf", "--exit-code") == 0
        assert capsys.readouterr().out == f"{old} -> igbvf: no difference\n"
        assert run(str(old), "igbvf-i350", "--least", "breaking") == 0
        assert capsys.readouterr().out.startswith(f"{old} -> igbvf-i350: {23 if name == 'json' else 22} breaking\n")
    made = json.loads((tmp_path / "old.json").read_text())
    made["bars"][0]["entries"][0]["offset"] = 0x40
    (tmp_path / "old.json").write_text(json.dumps(made))
    assert run(str(tmp_path / "old.json"), "igbvf", "--exit-code") == 1
    assert "bar0.ctrl  offset: 0x40, now 0x0" in capsys.readouterr().out


@pytest.mark.parametrize("name", devices())
def test_a_device_as_svd_is_the_same_device(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What SVD has no words for (aliases, hardware, windows, locks) is on neither side, whichever is the file."""
    old = tmp_path / "old.svd"
    old.write_text(next(iter(backend("svd")(find(name), None).values())))
    for sides in ([str(old), name], [name, str(old)], [str(old), str(old)]):
        assert run(*sides, "--exit-code") == 0
        assert capsys.readouterr().out == f"{sides[0]} -> {sides[1]}: no difference\n"


SVD = [
    ("<addressOffset>0x0</addressOffset>", "<addressOffset>0x4000</addressOffset>", "bar0.ctrl  offset: 0x4000, now 0x0"),
    ("<resetValue>0x80081</resetValue>", "<resetValue>0x1</resetValue>", "bar0.status  resets: power-on 0x1, now power-on 0x8"),
    ("<dim>0x3</dim>", "<dim>0x2</dim>", "array: 2, every "),
    ("<dimIncrement>0x4</dimIncrement>", "<dimIncrement>0x8</dimIncrement>", "array: 3, every 0x8 bytes, now 3, every 0x4"),
    ("<size>32</size>\n     <resetValue>0x40<", "<size>16</size>\n     <resetValue>0x40<", "v2pmailbox  width: 16, now 32"),
    ("<access>write-only</access>", "<access>read-only</access>", "bar0.ctrl.rst  access: "),
    ("<bitWidth>1</bitWidth>", "<bitWidth>2</bitWidth>", "bar0.ctrl.rst  width: 2, now 1"),
    ("<name>rst</name>", "<name>reset</name>", "bar0.ctrl.reset  is called rst now"),
]


@pytest.mark.parametrize(("text", "other", "says"), SVD)
def test_what_svd_says_is_compared(
    text: str, other: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the first of each kind in the file changed."""
    old = tmp_path / "old.svd"
    whole = next(iter(backend("svd")(IGBVF, None).values()))
    assert text in whole
    old.write_text(whole.replace(text, other, 1))
    assert run(str(old), "igbvf", "--exit-code") == 1
    assert says in capsys.readouterr().out


def test_an_old_svd_of_another_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.svd"
    old.write_text(next(iter(backend("svd")(IGBVF, None).values())))
    assert run(str(old), "igbvf-i350", "--least", "breaking") == 0
    assert capsys.readouterr().out.startswith(f"{old} -> igbvf-i350: 22 breaking\n")


def test_exit_code() -> None:
    assert run("igbvf", "igbvf", "--exit-code") == 0
    assert run("igbvf", "igbvf-i350") == 0
    assert run("igbvf", "igbvf-i350", "--exit-code") == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["igbvf", "igbfv"], 2, "unknown device 'igbfv'; "),
        (["igbvf", "no.json"], 2, "cannot read no.json: No such file"),
        (["igbvf", "no.rdl"], 2, "cannot read no.rdl: no such file"),
        (["latin.rdl", "igbvf"], 1, "latin.rdl:1: byte 0xe9 is no UTF-8; "),
        (["igbvf", "igbvf", "--format", "html"], 2, "unknown format 'html'; known: text, markdown, json, sarif"),
        (["igbvf", "igbvf", "--least", "bad"], 2, "unknown severity 'bad'; known: documentation, behaviour, breaking"),
        (["igbvf", "igbvf", "-o", "/proc/no"], 2, "cannot write /proc/no: "),
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
    Path("latin.rdl").write_bytes(b"// \xe9")
    assert run(*words) == status
    said = capsys.readouterr()
    assert said.err.startswith(f"regmodel: {says}") and said.err.count("\n") == 1 and said.out == ""
