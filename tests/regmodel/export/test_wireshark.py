"""The dissectors by what tshark shows of random bytes: every member and field, of every device at once."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as XML

import pytest
from construct import Construct

from regmodel.export import tree
from regmodel.export.capture import Capture, Kind, packets, record
from regmodel.export.elaborate import elaborate
from regmodel.export.wireshark import wireshark
from regmodel.layout import layout
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION
from tests.support.inputs import missing

ALL = {d.name: d for d in (descriptions() | {"every-kind": DESCRIPTION}).values()}
BIG = 4096
"""Structures of more bytes are tables of one thing after the other, which fill tshark's output and show nothing new."""

Packet = tuple[str, str, bytes, Kind]


def shown(records: list[Packet], room: Path) -> list[Any]:
    """tshark's packets as XML."""
    if shutil.which("tshark") is None:
        missing("tshark", "install the Debian package tshark")
    scripts: list[str] = []
    for name in sorted({device for device, *_ in records}):
        (file, text), *_ = wireshark(ALL[name], None).items()
        (room / file).write_text(text)
        scripts += ["-X", f"lua_script:{room / file}"]
    with (room / "x.pcapng").open("wb") as out:
        capture = Capture(out)
        for i, (device, name, payload, kind) in enumerate(records):
            capture.write(1_000_000_000 + i, record(kind, device, "vf0", name, payload))
    command = ["tshark", *scripts, "-r", str(room / "x.pcapng"), "-T", "pdml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Lua" not in done.stderr and done.returncode == 0, done.stderr
    found = XML.fromstring(done.stdout).findall("packet")
    assert len(found) == len(records)
    return found


def numbers(packet: Any, prefix: str) -> Counter[tuple[str, int]]:
    """Each field below ``prefix`` and its value."""
    fields = (f for f in packet.iter("field") if f.get("name").startswith(prefix))
    return Counter((f.get("name").removeprefix(prefix), int(f.get("value"), 16)) for f in fields if f.get("value"))


def expected(name: str, schema: Construct, data: bytes) -> Counter[tuple[str, int]]:
    """The same from the layout of the schema: leaves and their fields, without indices, as display filters are called."""
    found: Counter[tuple[str, int]] = Counter()
    for leaf in layout(schema).leaves:
        steps = re.sub(r"\[\d+\]", "", leaf.path)
        path = re.sub(r"[^\w.]", "_", f"{name}.{steps}".rstrip(".").replace("..", ".")).lower()
        raw = data[leaf.offset : leaf.offset + leaf.size]
        found[path, int.from_bytes(raw, "big")] += 1  # tshark shows the bytes as they lie
        word = int.from_bytes(raw, "big" if leaf.big_endian else "little")
        for f in leaf.fields:
            if f.name:
                found[f"{path}.{f.name}".lower(), f.of(word) if leaf.size <= 4 else int.from_bytes(raw, "big")] += 1
    return found


def test_every_descriptor_message_and_structure(tmp_path: Path) -> None:
    dice = random.Random(1)
    records: list[Packet] = [
        (device.name, name, dice.randbytes(schema.sizeof()), Kind.STRUCTURE)
        for device in ALL.values()
        for name, schema in device.schemas.items()
        if schema.sizeof() <= BIG
    ]
    assert len({device for device, *_ in records}) > 8
    for (device, name, data, _), packet in zip(records, shown(records, tmp_path), strict=True):
        prefix = f"regmodel.{device}.".replace("-", "_").lower()
        assert numbers(packet, prefix) == expected(name, ALL[device].schema(name), data), f"{device} {name}"


def test_fields_of_a_word_of_64_bits(tmp_path: Path) -> None:
    """Their values, which PDML gives as text only."""
    for device in ALL.values():
        for name, schema in device.schemas.items():
            wide = [leaf for leaf in layout(schema).leaves if leaf.size == 8 and leaf.fields]
            if not wide or schema.sizeof() > BIG:
                continue
            data = random.Random(2).randbytes(schema.sizeof())
            (packet,) = shown([(device.name, name, data, Kind.STRUCTURE)], tmp_path)
            fields = [f for f in packet.iter("field") if "0x" in f.get("show")]
            text = {f.get("name").rpartition(".")[2]: int(f.get("show"), 0) for f in fields}
            word = int.from_bytes(data[wide[0].offset :][:8], "little")
            for f in wide[0].fields:
                if f.name:
                    assert text[f.name.lower()] == f.of(word), f"{device.name} {name} {f.name}"
            return
    pytest.fail("no descriptor of the catalogue has fields in 64 bits")


def test_register_accesses_and_messages_of_a_trace(tmp_path: Path) -> None:
    """As `regmodel trace --save` writes them: the register's fields, and the schema that the message's number says."""
    about = {"function": "vf0", "t": 5}
    events: list[dict[str, Any]] = [
        {**about, "event": "access", "bar": 0, "op": "read", "path": "status", "offset": 8, "size": 4, "value": 0x80083},
        {**about, "event": "access", "bar": 0, "op": "write", "path": "rdt[1]", "offset": 0x2918, "size": 4, "value": 7},
        {**about, "event": "access", "bar": 0, "op": "read", "path": "", "offset": 0x3FFC, "size": 4, "value": 0},
        {**about, "event": "access", "bar": 7, "op": "read", "path": "command", "offset": 4, "size": 2, "value": 6},
        {**about, "event": "irq", "irq": "MSIX", "vector": 1},
        {**about, "event": "mailbox", "sender": "VF", "words": [0x0001_0004, 100] + [0] * 14},
        {**about, "event": "mailbox", "sender": "VF", "words": [0x77, 1]},
    ]
    made = list(packets(events, {"vf0": ALL["igbvf"]}))
    assert [time for time, _ in made] == [5] * 6
    (tmp_path / "igbvf.lua").write_text(next(iter(wireshark(ALL["igbvf"], None).values())))
    with (tmp_path / "t.pcapng").open("wb") as out:
        capture = Capture(out)
        for time, packet in made:
            capture.write(time, packet)
    columns = ["_ws.col.Info", "frame.time_epoch", "regmodel.igbvf.register.status.lu", "regmodel.igbvf.register.rdt",
               "regmodel.igbvf.set_vlan.vlan.vid"]  # fmt: skip
    command = ["tshark", "-X", f"lua_script:{tmp_path / 'igbvf.lua'}", "-r", str(tmp_path / "t.pcapng"), "-T", "fields",
               *(word for column in columns for word in ("-e", column))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [
        "read BAR 0 status 0x00080083", "write BAR 0 rdt[1] 0x00000007", "read BAR 0 +0x3ffc 0x00000000",
        "read BAR 7 command 0x0006", "set_vlan: Add or remove a VLAN", " (unknown)",
    ]  # fmt: skip
    assert {float(row[1]) for row in rows} == {5e-9}
    assert [int(row[2] or "0", 0) for row in rows] == [1, 0, 0, 0, 0, 0]
    assert [int(row[3] or "0", 0) for row in rows] == [0, 7, 0, 0, 0, 0]
    assert int(rows[4][4], 0) == 100


@pytest.mark.parametrize("name", ALL)
def test_what_is_left_out_and_what_is_not(name: str) -> None:
    """All names and docs of schemas and registers are in the text; behaviour is on the list."""
    found = wireshark(ALL[name], None)
    text = next(iter(found.values()))
    listed = {item.path for item in found.left_out}
    whole = elaborate(ALL[name])
    for bar in whole.bars:
        for r in bar.registers:
            assert f'["{r.name}"] = {{ doc = ' in text
            assert f"{bar.name}.{r.name}:offset" in listed
    kinds = {path.rpartition(":")[2] for path in listed if ":" in path}
    assert kinds.isdisjoint({"lsb", "width", "values", "arrays", "members", "big_endian", "type"})
    windows = {f"{bar.name}.{window.name}:kind" for bar in whole.bars for window in bar.windows}  # no other kind is possible
    assert {path for path in tree.flatten(whole) if path.endswith((":must", ":alias_of", ":kind"))} - windows <= {
        path for path in tree.flatten(whole) if any(path == p or path.startswith((f"{p}:", f"{p}.")) for p in listed)
    }  # fmt: skip


def test_numbers_with_a_sign(tmp_path: Path) -> None:
    """What a response says is an ``errno``, negative."""
    schema = ALL["avp"].schema("change_mtu")
    at = next(leaf for leaf in layout(schema).leaves if leaf.path == "result")
    data = bytearray(schema.sizeof())
    data[at.offset : at.offset + at.size] = (-22).to_bytes(at.size, "little", signed=True)
    (packet,) = shown([("avp", "change_mtu", bytes(data), Kind.STRUCTURE)], tmp_path)
    assert [f.get("show") for f in packet.iter("field") if f.get("name") == "regmodel.avp.change_mtu.result"] == ["-22"]
