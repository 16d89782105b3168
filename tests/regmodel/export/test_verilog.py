"""The Verilog backend by what others say of its text: two linters, and the errors of its own. Behaviour is judged elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from construct import Bytes
from hypothesis import HealthCheck, Phase, assume, given, settings

from regmodel.access import RW, VOCABULARY
from regmodel.catalogue import Description, devices
from regmodel.errors import DescriptionError, UsageError
from regmodel.export import backend
from regmodel.export.verilog import RegisterBlock, block, verilog
from regmodel.export.verilog.words import identifier
from regmodel.registers import Bar, Kind, Reg16, Reg32, Reg64, Register, Window
from tests.regmodel.described import bars
from tests.regmodel.test_bank import register_files
from tests.support.every_kind import BAR, DESCRIPTION, STRICT, fields_of
from tests.support.inputs import missing
from tests.support.thorough import THOROUGH

LARGE = {"avp.bar2", "avp.bar4", "ivshmem.bar2", "ivshmem-plain.bar2", "ivshmem-doorbell.bar2"}
"""Shared memories of megabytes: the backend refuses them."""
BARS = {**{name: bar for name, bar in bars().items() if name not in LARGE}, "every": BAR, "strict": STRICT}


def lint(found: RegisterBlock, room: Path) -> str:
    """What Icarus Verilog and Verilator have to say, which is nothing."""
    source = room / f"{found.name}.v"
    source.write_text(found.text)
    said = ""
    for command in (["iverilog", "-g2005", "-Wall", "-o", str(room / "out")], ["verilator", "--lint-only", "-Wall"]):
        done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=60)
        said += done.stdout + done.stderr + (f"status {done.returncode}" if done.returncode else "")
    return said


@pytest.fixture(scope="module")
def linters() -> None:
    for program in ("iverilog", "verilator"):
        if shutil.which(program) is None:
            missing(program, f"install the Debian package {program}")


needs_linters = pytest.mark.usefixtures("linters")


@needs_linters
@pytest.mark.parametrize("name", BARS)
def test_no_linter_has_anything_to_say(name: str, tmp_path: Path) -> None:
    assert lint(RegisterBlock(BARS[name], identifier(name)), tmp_path) == ""


@needs_linters
@settings(
    max_examples=12 * THOROUGH,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.generate],  # each example costs two programs: shrinking would take minutes
)
@given(bar=register_files())
def test_nor_of_any_description(bar: Bar, tmp_path: Path) -> None:
    found = RegisterBlock(bar, "random")
    try:
        text = found.text
    except DescriptionError as error:
        assert error.code == "verilog-shared"
        assume(False)
    assert lint(found, tmp_path) == "", text


@needs_linters
def test_a_linter_would_say_something(tmp_path: Path) -> None:
    found = RegisterBlock(BAR, "every")
    broken = RegisterBlock(BAR, "every")
    broken.__dict__["text"] = found.text.replace("assign s_axil_bresp = 2'b00;", "assign s_axil_bresp = 3'b000;")
    assert "WIDTH" in lint(broken, tmp_path)


def test_the_synthetic_description_has_everything() -> None:
    accesses = {f.access.name for f in fields_of(BAR)}
    assert {a.name for a in VOCABULARY} <= accesses


def test_the_text_is_the_same_every_time() -> None:
    for device in devices().values():
        if any(f"{device.name}.{bar.bar}" in LARGE for bar in device.bars.values()):
            continue
        assert verilog(device, None) == verilog(device, None)
        first = min(device.bars)
        assert list(verilog(device, first)) == [f"{block(device, first).name}.v"]


def test_the_text_reads_like_the_description() -> None:
    text = verilog(devices()["igbvf"], 0)["igbvf_bar0.v"]
    assert "// ---- 0x1528 eimc (alias of eims): Extended Interrupt Mask Clear" in text
    assert "if (wr_eimc) next_eims[2:0] = next_eims[2:0] & ~w_data[2:0];" in text
    assert "if (rd_rqdpc_1) next_rqdpc_1[11:0] = 12'h0;" in text
    assert "if (rst_software | rst_flr) next_v2pmailbox = next_v2pmailbox & 32'hc0;" in text


def test_backends_are_found_by_name() -> None:
    assert backend("verilog") is verilog
    with pytest.raises(UsageError, match=r"unknown format 'klingon'; known: .*verilog"):
        backend("klingon")


def test_a_bar_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="every-kind has no BAR 5; it has 0, 1"):
        verilog(DESCRIPTION, 5)
    with pytest.raises(UsageError, match="nothing has no BAR to export"):
        verilog(Description(name="nothing", title="", doc=""), None)


@pytest.mark.parametrize(
    ("code", "bar"),
    [
        ("verilog-name", Bar("b", 64, "a b" / Reg32(0, RW), "a_b" / Reg32(4, RW))),
        ("verilog-name", Bar("b", 64, "a" / Reg64(0, RW), "a_lo" / Reg32(8, RW))),
        ("verilog-window", Bar("b", 0x10000, "w" / Window(0, Bytes(0x2000), RW))),
        ("verilog-shared", Bar("b", 64, "a" / Reg16(0, RW), "again" / Register(Kind.ALIAS, 16, 2, (RW,), of="a"))),
    ],
)
def test_what_has_no_place_in_a_register_block(code: str, bar: Bar) -> None:
    with pytest.raises(DescriptionError) as error:
        print(RegisterBlock(bar, "x").text)
    assert error.value.code == code
