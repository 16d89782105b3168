"""SVD that others wrote: what is taken, and one line with file, line and remedy for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.importing import NotImported
from regmodel.importing.svd import read

HEAD = """\
<?xml version="1.0"?>
<device schemaVersion="1.3">
<name>mcu</name>
<description>A chip</description>
<size>32</size>
"""
CHIP = """\
<peripherals>
 <peripheral><name>UART0</name><description>Serial</description><baseAddress>0x40000000</baseAddress><access>read-only</access>
  <addressBlock><offset>0</offset><size>0x100</size><usage>registers</usage></addressBlock>
  <registers>
   <register><name>CR</name><addressOffset>0</addressOffset><access>read-write</access><resetValue>0x21</resetValue>
    <fields>
     <field><name>EN</name><bitRange>[0:0]</bitRange></field>
     <field><name>MODE</name><lsb>4</lsb><msb>5</msb>
      <enumeratedValues><enumeratedValue><name>LOW</name><value>#00</value></enumeratedValue>
       <enumeratedValue><name>REST</name><isDefault>true</isDefault></enumeratedValue></enumeratedValues></field>
     <field><name>IRQ</name><bitOffset>8</bitOffset><modifiedWriteValues>oneToClear</modifiedWriteValues></field>
    </fields></register>
   <register><name>SR</name><addressOffset>4</addressOffset><readAction>clear</readAction></register>
   <register derivedFrom="CR"><name>CR2</name><addressOffset>8</addressOffset></register>
   <cluster><dim>2</dim><dimIncrement>0x10</dimIncrement><name>CH[%s]</name><addressOffset>0x20</addressOffset>
    <register><name>N</name><addressOffset>4</addressOffset><size>16</size></register></cluster>
   <register><dim>3</dim><dimIncrement>4</dimIncrement><name>BUF%s</name><addressOffset>0x80</addressOffset></register>
  </registers></peripheral>
 <peripheral derivedFrom="UART0"><name>UART1</name><baseAddress>0x40001000</baseAddress></peripheral>
</peripherals></device>
"""


def source(text: str, room: Path) -> Path:
    path = room / "mcu.svd"
    path.write_text(HEAD + text)
    return path


def test_a_chip_of_somebody_else(tmp_path: Path) -> None:
    found = read(source(CHIP, tmp_path))
    assert (found.name, found.title, [bar.name for bar in found.bars]) == ("mcu", "A chip", ["UART0", "UART1"])
    first, second = found.bars
    assert first.size == 0x100 and second.entries == first.entries and second.index == 1
    entries = {r.name: r for r in first.registers}
    assert list(entries) == ["CR", "SR", "CR2", "CH_N", "BUF"]
    cr, sr, channel, buffer = (entries[n] for n in ("CR", "SR", "CH_N", "BUF"))
    assert cr.resets == {"power-on": 0x21} and entries["CR2"] == cr.model_copy(update={"name": "CR2", "offset": 8})
    assert [(f.name, f.lsb, f.width, f.access and f.access.name) for f in cr.fields] == [
        ("EN", 0, 1, "RW"), ("MODE", 4, 2, "RW"), ("IRQ", 8, 1, "W1C"),
    ]  # fmt: skip
    assert cr.fields[1].values == {"LOW": 0}
    assert sr.whole and sr.fields[0].access and sr.fields[0].access.name == "RC"
    assert (channel.offset, channel.width, channel.array) == (0x24, 16, tree.Repeat(stride=0x10, count=2))
    assert buffer.array == tree.Repeat(stride=4, count=3)


REGISTER = """\
<peripherals><peripheral><name>p</name><registers>
<register><name>r</name><addressOffset>0</addressOffset>
{}
</register></registers></peripheral></peripherals></device>"""
AFTER = "</register>\n<register><name>s</name><addressOffset>{}</addressOffset>"
FIELD = REGISTER.format("<fields><field><name>f</name><bitRange>[3:0]</bitRange>\n{}\n</field></fields>")
BITS = "<fields><field><name>f</name>\n<bitRange>{}</bitRange></field></fields>"
TWO = BITS.format("[3:0]").replace("</fields>", "\n<field><name>{}</name><bitRange>{}</bitRange></field></fields>")
LOOP = "</register>\n<register derivedFrom='b'><name>a</name></register>\n<register derivedFrom='a'><name>b</name>"
WITHIN = """\
<peripherals><peripheral><name>p</name><registers>
<cluster><name>a</name><addressOffset>0</addressOffset>
<cluster derivedFrom="b"><name>x</name></cluster></cluster>
<cluster><name>b</name><addressOffset>0</addressOffset>
<cluster derivedFrom="a"><name>y</name></cluster></cluster>
</registers></peripheral></peripherals></device>"""


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (REGISTER.format("<modifiedWriteValues>clear</modifiedWriteValues>"), 8, "clear has effects that no access"),
        (FIELD.format("<modifiedWriteValues>zeroToSet</modifiedWriteValues>"), 9, "zeroToSet has effects that no access"),
        (FIELD.format("<readAction>modifyExternal</readAction>"), 9, "modifyExternal has effects that no"),
        (FIELD.format("<dim>2</dim>"), 8, "an array of fields; write each of them out"),
        (FIELD.format("<enumeratedValues><enumeratedValue><name>a</name>\n<value>#1x</value></enumeratedValue></enumeratedValues>"),
         10, "'#1x' is no number of its own; write one number"),
        (REGISTER.format("<size>24</size>"), 7, "a register of 24 bits; make registers of 8, 16, 32 or 64 bits of it"),
        (REGISTER.format("<alternateRegister>q</alternateRegister>"), 7, "a second description of one address; keep one"),
        (REGISTER.format("</register>\n<register derivedFrom='q'><name>s</name>"), 9, "it is derived from q, which is not "),
        (REGISTER.format(AFTER.format(4).replace(">s<", ">r<")), 6, "two registers are called r; rename one"),
        (REGISTER.format("<resetValue>abc</resetValue>"), 8, "'abc' is no number of its own; write one number"),
        (REGISTER.format("<resetValue>#1x0</resetValue>"), 8, "'#1x0' is no number of its own; write one number"),
        (REGISTER.format("<resetValue>+</resetValue>"), 8, "'+' is no number of its own; write one number"),
        (REGISTER.format("<resetValue>0x1FFFFFFFF</resetValue>"), 7, "p.r: 0x1ffffffff (power-on) exceeds 32 bits; correct"),
        (REGISTER.format("<size>abc</size>"), 8, "'abc' is no number of its own; write one number"),
        (REGISTER.format("<size>#100001</size>"), 7, "a register of 33 bits; make registers of 8, "),
        (REGISTER.format("<size>033</size>"), 7, "a register of 33 bits; make registers of 8, "),
        (REGISTER.format("<access>readwrite</access>"), 8, "'readwrite' is no access of SVD; write read-only, write-only, "),
        (REGISTER.format("<alternateGroup>q</alternateGroup>"), 7, "a second description of one address; keep one"),
        (REGISTER.format(LOOP), 10, "it is derived from a, and that from it; correct derivedFrom"),
        (WITHIN, 10, "it is derived from a, and is in it; correct derivedFrom"),
        (REGISTER.format(BITS.format("[3]")), 9, "'[3]' is no range of bits; write [msb:lsb]"),
        (REGISTER.format(BITS.format("[0:3]")), 8, "bits [0:3] are none; write the most significant bit first"),
        (REGISTER.format(BITS.format("[40:33]")), 8, "p.r.f: [40:33] does not lie in a 32-bit word, msb first; correct its"),
        (REGISTER.format("<fields><field><name>f</name></field></fields>"), 8, "a field without bitOffset; add it"),
        (REGISTER.format(TWO.format("g", "[2:1]")), 10, "p.r.g: [2:1] overlaps f[3:0]; make one field of both, or move"),
        (REGISTER.format(TWO.format("f", "[5:4]")), 10, "p.r.f: the register has two fields of this name; rename one"),
        (FIELD.format("<enumeratedValues><enumeratedValue><name>a</name><value>16</value></enumeratedValue></enumeratedValues>"),
         8, "p.r.f: value a = 0x10 does not fit [3:0]; correct the value, or widen the field"),
        (REGISTER.format(AFTER.format(6)), 9, "p.s: 0x6 is no multiple of 4; a register stands at a multiple of its size;"),
        (REGISTER.format(AFTER.format(0)), 9, "p.s: overlaps p.r at 0x0; move one of them, or remove it"),
        (REGISTER.format("</register>\n<register><name>s</name>"), 9, "a register without addressOffset; add it"),
        (REGISTER.format("</register>\n<register><addressOffset>4</addressOffset>"), 9, "a register without name; add it"),
        (REGISTER.format("<dim>0</dim><dimIncrement>4</dimIncrement>"), 7, "p.r: an array has one element at least; remove it"),
        (REGISTER.format("<dim>4</dim><dimIncrement>2</dimIncrement>"), 7, "p.r: stride 0x2 is less than 4 bytes; let its"),
        (REGISTER.format("<dim>4</dim>"), 7, "a register without dimIncrement; add it"),
        (REGISTER.format("").replace("</peripheral>", "</peripheral>\n<peripheral derivedFrom='p'><name>p</name></peripheral>"),
         6, "another peripheral is called p, too; rename one"),
        ("<peripherals>\n<peripheral></peripherals></device>", 7, "Opening and ending tag mismatch"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_one_line_with_its_place(text: str, line: int, says: str, tmp_path: Path) -> None:
    path = source(text, tmp_path)
    with pytest.raises(NotImported) as error:
        read(path)
    said = str(error.value)
    assert said.startswith(f"{path}:{line}: ") and says in said and "; " in said and "\n" not in said


def test_all_contradictions_at_once(tmp_path: Path) -> None:
    text = REGISTER.format(BITS.format("[40:33]") + AFTER.format(4) + BITS.format("[33:33]"))
    with pytest.raises(NotImported) as error:
        read(source(text, tmp_path))
    said = [str(error.value), *error.value.__notes__]
    assert [line.partition(" does")[0] for line in said] == [
        f"{tmp_path}/mcu.svd:8: p.r.f: [40:33]", f"{tmp_path}/mcu.svd:10: p.s.f: [33]",
    ]  # fmt: skip


@pytest.mark.parametrize(("said", "width"), [("#100000", 32), ("032", 32), ("0x10", 16), ("+8", 8)])
def test_every_way_to_write_a_number(said: str, width: int, tmp_path: Path) -> None:
    (register,) = read(source(REGISTER.format(f"<size>{said}</size>"), tmp_path)).bars[0].registers
    assert register.width == width


def test_a_peripheral_without_a_size_holds_its_arrays(tmp_path: Path) -> None:
    found = read(source(REGISTER.format("<dim>4</dim><dimIncrement>8</dimIncrement>"), tmp_path))
    assert found.bars[0].size == 3 * 8 + 4


def test_what_is_no_svd(tmp_path: Path) -> None:
    (tmp_path / "x.svd").write_text("<html/>")
    with pytest.raises(NotImported, match="the root is <html>; an SVD file has <device>"):
        read(tmp_path / "x.svd")
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read(tmp_path / "no.svd")
