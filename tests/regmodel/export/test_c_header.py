"""The C header by what a compiler says: it compiles without a word, and its numbers are those of the description."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from regmodel.catalogue import Description
from regmodel.errors import DescriptionError
from regmodel.export.c_header import c_header, identifier
from regmodel.function import ResetCause
from regmodel.layout import layout
from regmodel.registers import Reg32, Register, Window
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION
from tests.support.inputs import missing

ALL = descriptions() | {"every-kind": DESCRIPTION}


COMPILERS = {"gcc": ("-std=c11", "-xc"), "g++": ("-std=c++11", "-xc++")}


def compile_c(text: str, room: Path, compiler: str = "gcc") -> str:
    """What the compiler says of it, warnings included."""
    if shutil.which(compiler) is None:
        missing(compiler, f"install the Debian package {compiler}")
    source = room / "test.c"
    source.write_text(text)
    command = [compiler, *COMPILERS[compiler], "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr


def claims(found: Description) -> Iterator[str]:
    """What must hold, as C expressions; from the description itself, not from the tree that the header is written from."""
    prefix, shared = identifier(found.name), set[str]()
    for bar in found.bars.values():
        names = {name for other in found.bars.values() if other is not bar for name in other.entries}
        shared |= names & bar.entries.keys()
    for bar in found.bars.values():
        for path, index, offset, entry in bar.placed():
            name = path.partition("[")[0]
            macro = f"{prefix}_{bar.bar if name in shared else ''}{'_' if name in shared else ''}{name}".upper()
            yield f"{macro}{f'({index})' if entry.is_array else ''} == {offset:#x}"
            if isinstance(entry, Window):
                yield f"{macro}_SIZE == {entry.size}"
            elif isinstance(entry, Register) and not entry.sole:
                for f in entry.named.values():
                    yield f"{macro}_{f.name}_MASK".upper() + f" == {f.mask:#x}"
                    yield f"{macro}_{f.name}_SHIFT".upper() + f" == {f.lsb}"
                    for number, word in f.values.items():
                        yield f"{macro}_{f.name}_{word}".upper() + f" == {number}"
            if isinstance(entry, Register) and entry.reset_value(ResetCause.POWER_ON):
                yield f"{macro}_RESET == {entry.reset_value(ResetCause.POWER_ON):#x}"
    for name, schema in found.schemas.items():
        tag = f"struct {prefix}_" + name.replace(" ", "_")
        plan = layout(schema)
        yield f"sizeof({tag}) == {plan.size}"
        for leaf in plan.leaves:
            if leaf.path and not leaf.path.startswith("["):
                member = ".".join(identifier(part) if part.isidentifier() else part for part in leaf.path.split("."))
                yield f"offsetof({tag}, {member}) == {leaf.offset}"
                yield f"sizeof((({tag} *)0)->{member}) == {leaf.size}"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ALL)
def test_the_compiler_finds_what_the_description_says(name: str, compiler: str, tmp_path: Path) -> None:
    (file, text), *none = c_header(ALL[name], None).items()
    assert not none
    (tmp_path / file).write_text(text)
    held = list(claims(ALL[name]))
    asserts = "\n".join(f'static_assert({claim}, "claim {i}");' for i, claim in enumerate(held))
    assert compile_c(f'#include "{file}"\n#include "{file}"\n{asserts}\n', tmp_path, compiler) == ""
    assert len(held) > 10


def test_a_wrong_claim_does_not_compile(tmp_path: Path) -> None:
    (file, text), *_ = c_header(ALL["igbvf"], None).items()
    (tmp_path / file).write_text(text)
    assert "claim" in compile_c(f'#include "{file}"\nstatic_assert(IGBVF_RDT(1) == 0x2819, "claim");\n', tmp_path)


def test_a_member_that_moved_does_not_compile(tmp_path: Path) -> None:
    text = next(iter(c_header(ALL["igbvf"], None).values()))
    broken = text.replace("    uint64_t buffer_addr;", "    uint32_t buffer_addr;")
    assert broken != text
    assert "igbvf_tx_data.cmd_type_len" in compile_c(broken, tmp_path)


def test_one_bar_is_its_registers_only() -> None:
    (file, text), *_ = c_header(ALL["igbvf"], 3).items()
    assert file == "igbvf_msix.h"
    assert "IGBVF_CTRL" not in text and "struct" not in text


def test_what_is_left_out() -> None:
    """Behaviour, by path; a header of constants has no place for it."""
    said = {str(item).partition(": ")[0] for item in c_header(DESCRIPTION, 0).left_out}
    assert {path for path in said if path.startswith(("every.set", "every.banked", "every.odd"))} == {
        "every.set:kind", "every.set:alias_of",
        "every.set.bits:access:onwrite", "every.set.go:access:readable", "every.set.go:access:onwrite",
        "every.banked:banked", "every.banked.event:access:onwrite", "every.banked.event:access:onread",
        "every.banked.event:access:hardware", "every.banked.event:access:tie", "every.odd:survives",
    }  # fmt: skip


def test_two_structures_of_one_name_are_refused() -> None:
    from construct import Int8ul, Int16ul, Struct

    twice = {"a b": Struct("x" / Int8ul), "a_b": Struct("x" / Int16ul)}
    with pytest.raises(DescriptionError, match="two structures of different layout have this name") as error:
        c_header(Description(name="d", title="", doc="", structures=twice), None)
    assert error.value.code == "c-struct"


def test_names_that_c_has_taken_are_changed() -> None:
    from regmodel.access import RW
    from regmodel.registers import Bar

    assert [identifier(name) for name in ("default", "3com", "a b", "rdt")] == ["default_", "_3com", "a_b", "rdt"]
    bar = Bar("b", 8, "a" / Reg32(0, RW), "a_width" / Reg32(4, RW))
    text = next(iter(c_header(Description(name="d", title="", doc="", bars={0: bar}), None).values()))
    assert "D_A_WIDTH " in text and "D_A_WIDTH_ " in text
