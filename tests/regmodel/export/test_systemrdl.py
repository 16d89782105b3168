"""SystemRDL by the tools of others: the reference compiler takes it, PeakRDL makes documents, headers and UVM of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_html import HTMLExporter
from peakrdl_uvm import UVMExporter
from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, MemNode, RegNode, RootNode

from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import left_out
from regmodel.export.systemrdl import LEFT_OUT, bases, identifier, systemrdl
from regmodel.function import ResetCause
from regmodel.importing.systemrdl import read
from regmodel.registers import Register
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION
from tests.support.round_trip import unaccounted

ALL = {name: d for name, d in (descriptions() | {"every-kind": DESCRIPTION}).items() if d.bars}


def written(found: Description, room: Path, bar: int | None = None) -> Path:
    (name, text), *none = systemrdl(found, bar).items()
    assert not none
    (room / name).write_text(text)
    return room / name


def compiled(path: Path) -> RootNode:
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    return compiler.elaborate()


@pytest.mark.parametrize("name", ALL)
def test_the_reference_compiler_sees_every_register_where_it_is(name: str, tmp_path: Path) -> None:
    """By absolute address, so whatever arrays became does not matter."""
    top = compiled(written(ALL[name], tmp_path)).top
    seen = {n.absolute_address: n for n in top.descendants(unroll=True) if isinstance(n, RegNode | MemNode)}
    places = {
        base + offset: entry
        for base, bar in bases(elaborate(ALL[name]).bars)
        for _, _, offset, entry in ALL[name].bars[bar.index].placed()
    }
    assert seen.keys() == places.keys()
    for address, entry in places.items():
        node = seen[address]
        assert node.size == entry.size
        if isinstance(entry, Register):
            assert isinstance(node, RegNode)
            fields = {(f.low, f.high) for f in node.fields() if not f.get_property("regmodel_reserved", default=False)}
            assert fields == {(f.lsb, f.msb) for f in entry.named.values()}
            reset = sum(f.get_property("reset") << f.low for f in node.fields())
            assert reset == entry.reset_value(ResetCause.POWER_ON) & sum(f.mask for f in entry.named.values())


@pytest.mark.parametrize("name", ALL)
def test_what_comes_back_is_what_went_out_but_for_what_is_listed(name: str, tmp_path: Path) -> None:
    path = written(ALL[name], tmp_path)
    assert unaccounted(elaborate(ALL[name]), read(path), systemrdl(ALL[name], None).left_out) == {}


def test_one_bar_alone(tmp_path: Path) -> None:
    path = written(ALL["igbvf"], tmp_path, bar=3)
    assert path.name == "igbvf_msix.rdl"
    assert [bar.name for bar in read(path).bars] == ["msix"]
    with pytest.raises(UsageError, match="igbvf has no BAR 1; it has 0, 3"):
        systemrdl(ALL["igbvf"], 1)


def test_what_is_left_out() -> None:
    """Registers and fields are whole; the layout of memory is not in it, nor is anything that is no register."""
    assert [item.path for item in systemrdl(DESCRIPTION, None).left_out] == [
        "every.memory.0", "every.rom.0", "strict.memory.0", "strict.rom.0"
    ]  # fmt: skip
    said = [item.path for item in systemrdl(ALL["igbvf"], None).left_out]
    whole = elaborate(ALL["igbvf"])
    assert set(said) == {
        "bar0.vmbmem.0", ":config", ":rings.tx", ":rings.rx", ":mailboxes.mailbox", ":identity", ":drivers",
        *(schema.name for schema in whole.schemas),
    }  # fmt: skip


def test_a_loss_that_is_not_listed_is_found(tmp_path: Path) -> None:
    back, whole = read(written(DESCRIPTION, tmp_path)), elaborate(DESCRIPTION)
    listed = list(left_out(whole, LEFT_OUT))
    lost = back.model_copy(update={"bars": back.bars[:1]})
    assert "strict.v_rw.plain:lsb" in unaccounted(whole, lost, listed)
    assert unaccounted(whole, whole, listed) == {item.path: "is listed, and is there" for item in listed}
    assert tree.flatten(whole) != tree.flatten(back)


@pytest.mark.parametrize("name", ALL)
def test_peakrdl_takes_it(name: str, tmp_path: Path) -> None:
    """All of it: each register is named in the header and in the UVM model."""
    top = compiled(written(ALL[name], tmp_path)).top
    assert isinstance(top, AddrmapNode)
    HTMLExporter().export(top, str(tmp_path / "html"))
    CHeaderExporter().export(top, str(tmp_path / "peakrdl.h"))
    UVMExporter().export(top, str(tmp_path / "uvm.sv"))
    assert (tmp_path / "html" / "index.html").stat().st_size > 1000
    names = {n for bar in ALL[name].bars.values() for n, e in bar.entries.items() if isinstance(e, Register)}
    for output in ("peakrdl.h", "uvm.sv"):
        words = set(re.findall(r"[a-z0-9_]+", (tmp_path / output).read_text().lower()))
        seen = {n for n in names if any(identifier(n).lstrip("\\").lower() in word for word in words)}
        assert names == seen


def test_files_of_several_devices_may_be_included_in_one(tmp_path: Path) -> None:
    names = [written(ALL[name], tmp_path).name for name in ("igbvf", "igbvf-i350")]
    both = tmp_path / "both.rdl"
    both.write_text("".join(f'`include "{name}"\n' for name in names))
    compiler = RDLCompiler()
    compiler.compile_file(str(both), incl_search_paths=[str(tmp_path)])
    assert compiler.elaborate("igbvf").top.inst_name == "igbvf"


def test_names_that_systemrdl_has_taken() -> None:
    assert [identifier(n) for n in ("byte", "a b", "3com", "rdt")] == ["\\byte", "a_b", "_3com", "rdt"]
