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
FIELD = REGISTER.format("<fields><field><name>f</name><bitRange>[3:0]</bitRange>\n{}\n</field></fields>")


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
        (REGISTER.format("</register>\n<register><name>r</name>"), 6, "two registers are called r; rename one"),
        ("<peripherals>\n<peripheral></peripherals></device>", 7, "Opening and ending tag mismatch"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_one_line_with_its_place(text: str, line: int, says: str, tmp_path: Path) -> None:
    path = source(text, tmp_path)
    with pytest.raises(NotImported) as error:
        read(path)
    said = str(error.value)
    assert said.startswith(f"{path}:{line}: ") and says in said and "; " in said and "\n" not in said


def test_what_is_no_svd(tmp_path: Path) -> None:
    (tmp_path / "x.svd").write_text("<html/>")
    with pytest.raises(NotImported, match="the root is <html>; an SVD file has <device>"):
        read(tmp_path / "x.svd")
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read(tmp_path / "no.svd")
