"""Waveforms by what other programs read out of them: vcdvcd, and GTKWave's own loader."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drivers.nics import driver_for
from drivers.transports.opening import open_transport
from emulators.process import ServerProcess
from regmodel.catalogue import Description, devices, find
from regmodel.cli import main
from regmodel.export.capture import packets, pcapng
from regmodel.export.waveform import vcd
from regmodel.function import CONFIG_REGION
from regmodel.registers import Bar, Register
from regmodel.traces import Trace, load
from tests.support.inputs import missing

_sigpipe = signal.getsignal(signal.SIGPIPE)
from vcdvcd import VCDVCD  # noqa: E402

signal.signal(signal.SIGPIPE, _sigpipe)  # importing vcdvcd lets the next broken pipe end this process without a word

IGBVF = find("igbvf")
OFFSETS = {path: (offset, entry.size) for path, _, offset, entry in IGBVF.bars[0].placed()}


def access(t: int, op: str, path: str, value: int) -> dict[str, Any]:
    offset, size = OFFSETS[path]
    about = {"event": "access", "t": t, "function": "vf0", "bar": 0, "op": op}
    return {**about, "path": path, "offset": offset, "size": size, "value": value}


def traced(*events: dict[str, Any], device: str = "igbvf") -> Trace:
    return Trace({"functions": [{"name": "vf0", "device": device}]}, list(events))


def waves(trace: Trace, room: Path, description: Description = IGBVF) -> dict[str, list[tuple[int, str]]]:
    """Time and value of each change, by signal."""
    (name, data), *none = vcd(description, trace, ("vf0",)).items()
    assert not none
    (room / name).write_bytes(data)
    return read(room / name)


def read(path: Path) -> dict[str, list[tuple[int, str]]]:
    found = VCDVCD(str(path))
    return {re.sub(r"\[\d+:\d+\]$", "", name): found[name].tv for name in found.signals if name.count(".") > 1}


def texts(path: Path) -> dict[str, list[tuple[int, str]]]:
    """Variables of type string, which vcdvcd passes over, by name."""
    text = path.read_text()
    names = dict(re.findall(r"\$var string \d+ (\S+) (\w+) \$end", text))
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names.values()}
    time = 0
    for line in text.splitlines():
        time = int(line[1:]) if line.startswith("#") else time
        if line.startswith("s"):
            value, name = line[1:].split(" ")
            found[names[name]].append((time, value))
    return found


def test_what_reading_and_writing_do_is_seen(tmp_path: Path) -> None:
    about = {"t": 160, "function": "vf0"}
    seen = waves(
        traced(
            access(110, "write", "v2pmailbox", 1),  # a pulse
            access(120, "read", "v2pmailbox", 0x30),  # read to clear
            access(130, "write", "eims", 7),
            access(140, "write", "eimc", 2),  # an alias that clears
            access(150, "write", "rdt[1]", 5),
            {**about, "event": "mailbox", "sender": "VF", "words": [4, 100]},
            {**about, "event": "irq", "irq": "MSIX", "vector": 2},
            {**about, "event": "diagnose", "kind": "dma-fault", "detail": {}},
            {**about, "t": 170, "event": "reset", "cause": "flr"},
        ),
        tmp_path,
    )
    assert seen["vf0.bar0.v2pmailbox.req"] == [(0, "1"), (1, "0")]
    assert seen["vf0.bar0.v2pmailbox.pfack"] == [(0, "0"), (10, "1"), (11, "0")]
    assert seen["vf0.bar0.eims.msix"] == [(0, "x"), (20, "111"), (30, "101"), (60, "0")]
    assert seen["vf0.bar0.eimc"] == seen["vf0.bar0.eims"]
    assert seen["vf0.bar0.rdt(1)"] == [(0, "x"), (40, "101"), (60, "0")]
    assert [texts(tmp_path / "igbvf.vcd")[word][-1] for word in ("message", "irq", "diagnosis", "reset")] == [
        (50, "VF:set_vlan"), (51, "MSIX:2"), (52, "dma-fault"), (60, "flr"),
    ]  # fmt: skip


def test_events_of_one_instant_keep_their_order(tmp_path: Path) -> None:
    seen = waves(traced(*(access(5, "write", "rdt[0]", n) for n in (1, 2, 3))), tmp_path)
    assert [value for _, value in seen["vf0.bar0.rdt(0)"]] == ["1", "10", "11"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What our driver does to a VF while it starts, as ``regmodel trace --save`` writes it."""
    path = tmp_path_factory.mktemp("trace") / "t.jsonl"
    with ServerProcess(["igbvf"]) as server, server.control() as client:
        hello, events = client.ask("hello"), []
        stream = client.events(["access", "mailbox", "irq", "dma"])
        with open_transport(f"vfio-user:{server.sockets[0]}", IGBVF) as transport, driver_for(IGBVF)(transport, IGBVF) as port:
            port.configure()
        with server.control() as other:
            last = other.ask("recent", function="vf0", count=1)[-1][0]
        for event in stream:
            events.append(event)
            if event["event"] == "access" and event["t"] >= last:
                break
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"hello": hello}, *events]))
    return path


def at(changes: list[tuple[int, str]], time: int) -> int:
    """The value at a time. x is refused."""
    return int([value for when, value in changes if when <= time][-1], 2)


def test_every_value_that_a_driver_read_is_in_the_waveform(session: Path, tmp_path: Path) -> None:
    """At its time; bits that cannot be read aside. What was written to registers that merely store is there as well."""
    trace = load(session)
    seen = waves(trace, tmp_path)
    start = min(e["t"] for e in trace.events)
    bars: dict[int, Bar] = {**IGBVF.bars, CONFIG_REGION: IGBVF.config}
    placed = {(i, path): entry for i, bar in bars.items() for path, _, _, entry in bar.placed()}
    judged = 0
    for event in trace.events:
        if event["event"] != "access" or (event["bar"], event["path"]) not in placed:
            continue
        entry = placed[event["bar"], event["path"]]
        if not isinstance(entry, Register) or entry.size != event["size"]:
            continue
        readable = sum(f.mask for f in entry.fields if f.access.readable)
        if event["op"] == "write" and {f.access.name for f in entry.fields} > {"RW"}:
            continue
        if event["op"] == "write" and not (readable and {f.access.name for f in entry.named.values()} == {"RW"}):
            continue
        name = f"vf0.{bars[event['bar']].bar}.{event['path'].replace('[', '(').replace(']', ')')}"
        mask = readable if event["op"] == "read" else readable & sum(f.mask for f in entry.named.values())
        assert at(seen[name], event["t"] - start) & mask == event["value"] & mask, event
        judged += 1
    assert judged > 40


def test_gtkwave_loads_it(session: Path, tmp_path: Path) -> None:
    """Its own reader of VCD makes FST of it; what comes back out has the same changes."""
    if shutil.which("vcd2fst") is None:
        missing("vcd2fst", "install the Debian package gtkwave")
    seen = waves(load(session), tmp_path)
    for command in (["vcd2fst", "igbvf.vcd", "x.fst"], ["fst2vcd", "x.fst", "-o", "back.vcd"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    back = read(tmp_path / "back.vcd")
    assert back.keys() == seen.keys()
    for name, changes in seen.items():
        ours, theirs = ([(t, v.lstrip("0x") or v[-1]) for t, v in side] for side in (changes, back[name]))
        assert theirs == ours, name


def test_what_is_left_out(session: Path) -> None:
    found = vcd(IGBVF, load(session), ("vf0",)).left_out
    touched = {e["path"].partition("[")[0] for e in load(session).events if e["event"] == "access"}
    same = {n: e.of for n, e in IGBVF.bars[0].entries.items() if isinstance(e, Register) and e.of}
    shown = touched | {same[n] for n in touched & same.keys()} | {n for n, of in same.items() if of in touched}
    listed = {i.path.rpartition(".")[2] for i in found if i.path.startswith("vf0.bar0.")}
    assert listed == IGBVF.bars[0].entries.keys() - shown


def test_events_that_are_no_value_are_left_out() -> None:
    about = {"t": 1, "function": "vf0"}
    miss = {**about, "event": "access", "bar": 0, "op": "read", "path": "", "offset": 0x3FFC, "size": 4, "value": 0}
    events = [miss, {**about, "event": "dma", "op": "read", "iova": 0, "size": 4}, {"event": "lost", "count": 3}]
    found = [str(i) for i in vcd(IGBVF, traced(*events), ("vf0",)).left_out if i.path.startswith(":")]
    assert found == [
        ":dma: memory is no register (1 events)",
        ":lost: what was lost is nowhere (1 events)",
        ":miss: no register is there (1 events)",
    ]  # fmt: skip


def test_what_a_capture_leaves_out(session: Path) -> None:
    """Whatever is listed has no packet, and all the rest has one."""
    about = {"t": 1, "function": "vf0"}
    events = [{**about, "event": "dma", "op": "read", "iova": 0, "size": 4}] * 2
    events += [{"event": "lost", "count": 3}, {**about, "event": "irq", "vector": 0}]
    found = pcapng(IGBVF, traced(*events), ("vf0",))
    why = "no access, descriptor or message"
    counted = [f":dma: {why} (2 events)", f":irq: {why} (1 events)", f":lost: {why} (1 events)"]
    assert [str(i) for i in found.left_out] == counted
    assert list(found.values()) == list(pcapng(IGBVF, traced(), ("vf0",)).values())

    whole = load(session)
    kinds = {e["event"] for e in whole.events}
    listed = {i.path.removeprefix(":") for i in pcapng(IGBVF, whole, ("vf0",)).left_out}
    shown = {e["event"] for e in whole.events if list(packets([e], {"vf0": IGBVF}))}
    assert shown and listed == kinds - shown


@pytest.mark.parametrize("name", devices())
def test_every_register_of_every_device(name: str, tmp_path: Path) -> None:
    """All are read once: all are in the waveform, with their names told apart, and hold what was read."""
    device = find(name)
    events, expected = [], {}
    for index, bar in {**device.bars, CONFIG_REGION: device.config}.items():
        for path, _, offset, entry in bar.placed():
            if isinstance(entry, Register) and entry.banked_by is None and entry.of is None and entry.kind.name == "PLAIN":
                value = sum(f.mask for f in entry.fields if f.access.readable) & 0x5555555555555555
                about = {"event": "access", "t": len(events) * 10, "function": "vf0", "bar": index, "op": "read"}
                events.append({**about, "path": path, "offset": offset, "size": entry.size, "value": value})
                expected[f"vf0.{bar.bar}.{path.replace('[', '(').replace(']', ')')}"] = (events[-1]["t"], value)
    seen = waves(traced(*events, device=name), tmp_path, device)
    assert len(expected) > 20
    assert {n: at(seen[n], t) for n, (t, _) in expected.items()} == {n: value for n, (_, value) in expected.items()}


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["export", *words])
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["igbvf", "--format", "vcd"], "vcd is written from a trace; name one with --trace FILE"),
        (["igbvf", "--format", "json", "--trace", "t"], "json is written from the description alone; leave --trace out"),
        (["igbvf", "--format", "vcd", "--trace", "t", "--bar", "0"], "a trace is written with all of its BARs; "),
        (["igbvf", "--format", "vcd", "--trace", "bad"], "bad:1: this is no head of a trace"),
        (["igbvf", "--format", "vcd", "--trace", "no"], "no: cannot be read (No such file or directory): name another"),
        (["vmxnet3", "--format", "vcd", "--trace", "t"], "the trace has no vmxnet3; it has igbvf"),
        (["igbvf", "--format", "png", "--trace", "t"], "unknown format 'png'; known: c-header, json, pcapng, "),
    ],
)
def test_one_line_says_what_is_wrong(
    words: list[str],
    says: str,
    session: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(session, "t")
    Path("bad").write_text("{}\n")
    assert run(*words, "-o", "out") == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"regmodel: {says}") and said.err.count("\n") == 1 and said.out == ""
    assert not Path("out").exists()


def test_the_command_and_the_capture(session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("igbvf", "--format", "vcd", "--trace", str(session), "-o", str(tmp_path / "x.vcd")) == 0
    assert (tmp_path / "x.vcd").read_bytes() == vcd(IGBVF, load(session), ("vf0",))["igbvf.vcd"]
    if shutil.which("tshark") is None:
        missing("tshark", "install the Debian package tshark")
    assert run("igbvf", "--format", "pcapng", "--trace", str(session), "-o", str(tmp_path / "x.pcapng")) == 0
    assert run("igbvf", "--format", "wireshark", "-o", str(tmp_path / "igbvf.lua")) == 0
    command = ["tshark", "-X", f"lua_script:{tmp_path}/igbvf.lua", "-r", str(tmp_path / "x.pcapng")]
    done = subprocess.run([*command, "-T", "fields", "-e", "_ws.col.Info"], capture_output=True, text=True, timeout=60)
    rows = done.stdout.splitlines()
    kinds = [e["event"] for e in load(session).events]
    assert len(rows) == kinds.count("access") + kinds.count("mailbox")
    assert "write BAR 0 vmbmem[0] 0x00000001" in rows and any(row.startswith("reset: ") for row in rows)
    capsys.readouterr()
