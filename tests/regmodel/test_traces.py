"""Saved traces: what is read, and one line with file, line and remedy for what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulators.control.protocol import EVENT_FIELDS
from regmodel.errors import UsageError
from regmodel.traces import MEMBERS, load

HELLO = {"hello": {"functions": [{"name": "vf0", "device": "igbvf"}], "now": 5}}
PACKET = {"event": "packet", "t": 7, "port": "vf0", "direction": "in", "data": "0f"}
IRQ = {"event": "irq", "t": 7, "function": "vf0", "irq": "MSIX", "vector": 1}


def saved(room: Path, *lines: Any) -> Path:
    path = room / "t.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_members_are_those_of_the_protocol() -> None:
    assert {kind: tuple(members) for kind, members in MEMBERS.items()} == {**EVENT_FIELDS, "lost": ("count",)}


def test_what_is_read(tmp_path: Path) -> None:
    later = {"event": "newer", "what": "ever"}
    found = load(saved(tmp_path, HELLO, IRQ, later))
    assert found.functions == {"vf0": "igbvf"} and found.events == [IRQ, later]
    assert load(saved(tmp_path, HELLO)).events == []


@pytest.mark.parametrize(
    ("lines", "number", "says"),
    [
        ([], 1, "this is no head of a trace"),
        (["{"], 1, "this is no head of a trace"),
        ([[1]], 1, "this is no head of a trace"),
        ([{"hello": {"functions": [{"name": "vf0"}]}}], 1, "this is no head of a trace"),
        ([HELLO, IRQ, "{"], 3, "this is no event of a trace: it is no JSON object with an event in it"),
        ([HELLO, 5], 2, "this is no event of a trace: it is no JSON object"),
        ([HELLO, {**IRQ, "vector": "x"}], 2, "this is no event of a trace: its vector is no int"),
        ([HELLO, {**PACKET, "data": "0f0"}], 2, "this is no event of a trace: its data are no bytes in hexadecimal"),
        ([HELLO, {k: v for k, v in IRQ.items() if k != "t"}], 2, "this is no event of a trace: it has no t"),
    ],
)
def test_what_is_none_is_one_line_with_its_place(lines: list[Any], number: int, says: str, tmp_path: Path) -> None:
    path = saved(tmp_path, *lines)
    with pytest.raises(UsageError) as error:
        load(path)
    said = str(error.value)
    assert said.startswith(f"{path}:{number}: {says}")
    assert said.endswith("; make one with `regmodel trace SERVER --save t.jsonl`")
    assert "\n" not in said


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"x:1: this is no text"):
        load(tmp_path / "x")
    with pytest.raises(UsageError, match=r"no: cannot be read \(No such file or directory\): name another trace"):
        load(tmp_path / "no")
