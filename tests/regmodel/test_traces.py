"""Saved traces: what is read, and one line with file, line and remedy for what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.commands.trace import trace
from emulators.control.protocol import EVENT_FIELDS
from emulators.watch.sources import open_source
from regmodel.catalogue import find
from regmodel.errors import UsageError
from regmodel.export.capture import pcapng
from regmodel.export.waveform import vcd
from regmodel.traces import MEMBERS, load

HELLO = {"hello": {"functions": [{"name": "vf0", "device": "igbvf"}], "now": 5}}
PACKET = {"event": "packet", "t": 7, "port": "vf0", "direction": "in", "data": "0f"}
IRQ = {"event": "irq", "t": 7, "function": "vf0", "irq": "MSIX", "vector": 1}
ACCESS = {
    "event": "access", "t": 7, "function": "vf0", "bar": 0, "op": "write", "path": "ctrl", "offset": 0, "size": 4, "value": 1,
}  # fmt: skip
MAILBOX = {"event": "mailbox", "t": 7, "function": "vf0", "sender": "VF", "words": [1]}
USES: dict[str, Callable[[Path], object]] = {
    "trace": trace,
    "watch": lambda path: list(open_source(path).updates(10, packets=False)),
    "vcd": lambda path: vcd(find("igbvf"), load(path), ("vf0",)),
    "pcapng": lambda path: pcapng(find("igbvf"), load(path), ("vf0",)),
}


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
        ([{"hello": {"functions": [{"name": "vf0", "device": ["igbvf"]}]}}], 1, "this is no head of a trace"),
        ([HELLO, "[" * 100_000], 2, "this is no event of a trace: it is no JSON object with an event in it"),
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


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({**MAILBOX, "words": ["a"]}, "its words are no numbers of 32 bits"),
        ({**MAILBOX, "words": [1, -1]}, "its words are no numbers of 32 bits"),
        ({**MAILBOX, "words": [1 << 32]}, "its words are no numbers of 32 bits"),
        ({**MAILBOX, "words": []}, "its words are no numbers of 32 bits"),
        ({**ACCESS, "size": 0}, "its size is not 1, 2, 4 or 8"),
        ({**ACCESS, "size": -4}, "its size is not 1, 2, 4 or 8"),
        ({**ACCESS, "size": 3}, "its size is not 1, 2, 4 or 8"),
        ({**ACCESS, "size": True}, "its size is no int"),
        ({**ACCESS, "offset": -4}, "its offset is no number of 32 bits"),
        ({**ACCESS, "offset": 1 << 32}, "its offset is no number of 32 bits"),
        ({**ACCESS, "value": -1}, "its value is no number of 64 bits"),
        ({**ACCESS, "bar": -1}, "its bar is no number of 8 bits"),
        ({**ACCESS, "bar": 256}, "its bar is no number of 8 bits"),
        ({**ACCESS, "t": -1}, "its t is no number of 64 bits"),
        ({**ACCESS, "path": "\ud800"}, "its path is no text of one line"),
        ({"event": "lost", "count": -1}, "its count is no number of 64 bits"),
    ],
)
def test_what_no_server_says_is_one_line_for_everybody(use: str, event: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = saved(tmp_path, HELLO, event)
    with pytest.raises(UsageError) as error:
        USES[use](path)
    assert str(error.value).startswith(f"{path}:2: this is no event of a trace: {says}; make one with ")


@pytest.mark.parametrize("use", USES)
def test_what_the_device_lacks_is_passed_over(use: str, tmp_path: Path) -> None:
    """A BAR, the end of one, a function: a description may be older than the server, or of another device."""
    events = [{**ACCESS, "bar": 5}, {**ACCESS, "offset": 0xFFFF_FFFC}, {**ACCESS, "function": "vf9"}, {**ACCESS, "bar": 7}]
    USES[use](saved(tmp_path, HELLO, *events, {**ACCESS, "size": 8, "value": (1 << 64) - 1}))
