"""SystemRDL that others wrote: what is taken, and one line with file, line and remedy for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.importing import NotImported
from regmodel.importing.systemrdl import read

UART = """\
addrmap uart {
    name = "A serial port";
    default regwidth = 32;
    reg ctrl_r { desc = "Control"; field { sw=rw; hw=r; desc = "Send"; } enable[0:0] = 1;
                 enum mode_e { LOW = 0; HIGH = 2 { name = "High speed"; }; };
                 field { sw=rw; hw=r; encode = mode_e; } mode[5:4] = 2; };
    ctrl_r ctrl @ 0x0;
    reg { field { sw=rw; onwrite=woclr; hwset; precedence=hw; } cause[8] = 0; } status @ 0x4;
    reg { field { sw=r; hw=na; } id[32] = 0x1234; } ident[4] @ 0x10 += 8;
    regfile { reg { field { sw=r; counter; onread=rclr; } n[16] = 0; } count @ 0; ctrl_r own @ 8; } port[2] @ 0x40 += 0x20;
    reg { field { sw=w; singlepulse; } go[1] = 0; field { sw=rw1; } lock[1] = 0; } kick @ 0x80;
    reg set_r { field { sw=rw; onwrite=woset; hwset; precedence=hw; } cause[8] = 0; };
    alias status set_r status_set @ 0x84;
    external mem { mementries = 16; memwidth = 32; sw = rw; } buffer @ 0x100;
    signal {} ready;
};
"""


def source(text: str, room: Path) -> Path:
    path = room / "uart.rdl"
    path.write_text(text)
    return path


def test_a_register_file_of_somebody_else(tmp_path: Path) -> None:
    found = read(source(UART, tmp_path))
    assert (found.name, found.title) == ("uart", "A serial port")
    (bar,) = found.bars
    assert (bar.name, bar.size) == ("uart", 0x200)
    entries = {e.name: e for e in bar.entries}
    assert list(entries) == [
        "ctrl", "status", "ident", "port_count", "port_own", "kick", "status_set", "buffer"
    ]  # fmt: skip
    ctrl, status, ident, count, kick = (entries[n] for n in ("ctrl", "status", "ident", "port_count", "kick"))
    assert isinstance(ctrl, tree.Register) and isinstance(status, tree.Register) and isinstance(ident, tree.Register)
    assert isinstance(count, tree.Register) and isinstance(kick, tree.Register)
    assert ctrl.doc == "Control" and ctrl.resets == {"power-on": 0x21}
    assert ctrl.fields[1].values == {"LOW": 0, "High speed": 2}
    assert [f.access.name for f in (*ctrl.fields, *status.fields, *ident.fields, *count.fields) if f.access] == [
        "RW", "RW", "W1C", "CONST", "RC"
    ]  # fmt: skip
    assert status.fields[0].access == tree.Access(name="W1C", onwrite="one_clears", hardware=True, tie="hardware")
    assert (ident.offset, ident.array) == (0x10, tree.Repeat(stride=8, count=4))
    assert (count.offset, count.array) == (0x40, tree.Repeat(stride=0x20, count=2))
    assert [f.access.onwrite for f in kick.fields if f.access] == ["pulse", "once"]
    again, memory = entries["status_set"], entries["buffer"]
    assert isinstance(again, tree.Register) and (again.kind, again.alias_of) == ("alias", "status")
    assert isinstance(memory, tree.Window) and memory.size == 64


def test_a_field_that_enables_writes_is_a_lock(tmp_path: Path) -> None:
    """SystemRDL's own way (9.6.1): ``swwe`` and ``swwel`` by a field of the same address map."""
    text = """\
addrmap top {
    regfile { reg { field { sw=rw; } en[1] = 0; } guard @ 0; } own @ 0;
    reg { field { sw=rw; } a[8] = 0; field { sw=rw; } b[8] = 0; } ra @ 8;
    ra.a->swwe = own.guard.en;
    ra.b->swwel = own.guard.en;
};
"""
    _, register = read(source(text, tmp_path)).bars[0].registers
    assert [f.lock for f in register.fields] == [tree.Lock(key="own_guard.en", value=value) for value in (0, 1)]
    elsewhere = "addrmap top { addrmap { reg { field { sw=rw; } en[1] = 0; } guard @ 0; } x @ 0;\n"
    elsewhere += "addrmap { reg { field { sw=rw; } a[8] = 0; } ra @ 0; } y @ 64;\ny.ra.a->swwe = x.guard.en; };\n"
    with pytest.raises(NotImported, match=":3: writes that hardware enables; remove swwe, or"):
        read(source(elsewhere, tmp_path))


def test_a_key_of_the_same_element_is_one(tmp_path: Path) -> None:
    text = """\
addrmap top {
    regfile { reg { field { sw=rw; } en[1] = 0; } guard @ 0; reg { field { sw=rw; } a[8] = 0; } v @ 4; v.a->swwe = guard.en;
    } port[2] @ 0;
};
"""
    guard, v = read(source(text, tmp_path)).bars[0].registers
    assert guard.array == v.array and v.fields[0].lock == tree.Lock(key="port_guard.en", value=0)


KEYS = "regfile {{ reg {{ field {{ sw=rw; }} en[1]; }} guard{} @ 0; }} own{} @ 0; reg {{ field {{ sw=rw; }} a[8]; }} v @ 64;\n"
REG = "reg {{ field {{ sw=rw; {} }} a[{}] = 0; }} ra @ 0;"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (REG.format("onwrite=wclr;", 8), 2, "onwrite = wclr clears or sets bits in a way that no access of ours does; use "),
        (REG.format("onwrite=wzs;", 8), 2, "onwrite = wzs clears"),
        (REG.format("swwe;", 8), 2, "writes that hardware enables; remove swwe, "),
        (KEYS.format("[2]", "") + "v.a->swwe = own.guard[1].en;", 3, "writes that one element of guard enables, whichever"),
        (KEYS.format("", "[2]") + "v.a->swwel = own[0].guard.en;", 3, "they are to; write own out, one instance per line"),
        ("external reg { field { sw=rw; onread=ruser; } a[8] = 0; } ra @ 0;", 2, "onread = ruser clears or sets"),
        ("reg { field {} b[8]=0; field {} a[8];\na->reset = b; } ra @ 0;", 3, "a reset value that is a sig"),
        ("reg { regwidth=128; field { sw=rw; } a[8] = 0; } ra @ 0;", 2, "a register of 128 bits; split it into 64-bit"),
        ("reg { field { sw=rw; } a[8] = 0; } ra[2][3] @ 0;", 2, "an array of arrays; write the outer one out, "),
        ("regfile { reg { field { sw=rw; } a[8] = 0; } ra[3] @ 0; } f[2] @ 0;", 2, "an array of arrays; "),
        ("external mem { mementries=4; memwidth=32; } m[2] @ 0;", 2, "an array of memories; write it out, "),
        ("external mem { mementries=4; memwidth=32; reg { field { sw=rw; } a[8]; } ra; } m @ 0;", 2, "registers inside of a"),
        ("rsvdset; reg { field { sw=rw; } a[8] = 0; } ra @ 0;", 2, "reserved bits that read 1; make a field of them"),
        ("reg { field { sw=rw; } a[8] = 0 } ra @ 0;", 2, "mend the SystemRDL"),
        ("reg { field { sw=rw; } a[8] = 0; } ra @ 0;\nreg { field { sw=rw; } a[8] = 0; } q @ 0;", 3, "overlaps with 'ra'"),
        ("reg { field { sw=r; } a[8] = 0;\nfield { sw=w; } b[7:0]; } ra @ 0;", 3, "top.ra.b: [7:0] overlaps a[7:0]; make one"),
        ("reg { field { sw=rw; } a[8] = 0; } ra[4] @ 0 += 6;", 2, "top.ra[1]: 0x6 is no multiple of 4; a register stands at"),
        ("reg { accesswidth=8; field { sw=rw; } a[8]=0; } ra @ 0;", 2, "a register of 32 bits that is accessed by 8; remove"),
        ('<% print "x" %>', 1, "mend the SystemRDL"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_one_line_with_its_place(text: str, line: int, says: str, tmp_path: Path) -> None:
    path = source(f"addrmap top {{\n{text}\n}};\n", tmp_path)
    with pytest.raises(NotImported) as error:
        read(path)
    said = str(error.value)
    assert said.startswith(f"{path}:{line}: ") and says in said and "; " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b'addrmap top {\nname = "\xe9"; };', 2, "byte 0xe9 is no UTF-8; save it as UTF-8, if it is SystemRDL"),
        (bytes(range(128, 256)), 1, "byte 0x80 is no UTF-8; save it"),
        (b'`include "other.rdl"\n', 1, "in a file that it includes, byte 0xff is no UTF-8; save that file as UTF-8"),
    ],
)
def test_what_is_no_text(data: bytes, line: int, says: str, tmp_path: Path) -> None:
    path = tmp_path / "latin.rdl"
    path.write_bytes(data)
    (tmp_path / "other.rdl").write_bytes(b"\xff")
    with pytest.raises(NotImported) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{line}: {says}") and "\n" not in str(error.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = "addrmap top {\n" + REG.format("onwrite=wclr;", 8) + "\n reg { regwidth=128; field {} b = 0; } s @ 16;\n};\n"
    with pytest.raises(NotImported) as error:
        read(source(text, tmp_path))
    assert [note.partition(": ")[0] for note in error.value.__notes__] == [f"{tmp_path}/uart.rdl:3"]


def test_registers_of_one_name(tmp_path: Path) -> None:
    inner = "{ reg { field { sw=rw; } a = 0; } %s @ 0; }"
    text = f"addrmap top {{ regfile {inner % 'b_c'} a @ 0; regfile {inner % 'c'} a_b @ 16; }};"
    with pytest.raises(NotImported, match="registers of one name; give each register file a name of its own"):
        read(source(text, tmp_path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*no\.rdl: no such file"):
        read(tmp_path / "no.rdl")
