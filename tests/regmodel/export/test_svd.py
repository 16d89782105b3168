"""CMSIS-SVD by Arm's schema and by cmsis-svd, which debuggers read it with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cmsis_svd.model import SVDRegisterArray
from cmsis_svd.parser import SVDParser

from regmodel.catalogue import Description
from regmodel.export.elaborate import elaborate
from regmodel.export.svd import svd
from regmodel.function import ResetCause
from regmodel.importing.svd import read
from regmodel.registers import Register
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION
from tests.support.round_trip import unaccounted

ALL = {name: d for name, d in (descriptions() | {"every-kind": DESCRIPTION}).items() if d.bars}


def written(found: Description, room: Path) -> Path:
    (name, text), *none = svd(found, None).items()
    assert not none
    (room / name).write_text(text, encoding="utf-8")
    return room / name


@pytest.mark.parametrize("version", ["1.3.9", "1.3.11"])
@pytest.mark.parametrize("name", ALL)
def test_it_is_valid(name: str, version: str, tmp_path: Path) -> None:
    path = written(ALL[name], tmp_path)
    assert SVDParser.validate_xml_file(path, schema_version=version, schema_version_detection=False) == (True, "")


def test_the_schema_would_say_something(tmp_path: Path) -> None:
    path = written(ALL["igbvf"], tmp_path)
    path.write_text(path.read_text().replace("<access>read-write</access>", "<access>readwrite</access>", 1))
    valid, why = SVDParser.validate_xml_file(path, schema_version="1.3.9", schema_version_detection=False)
    assert not valid and "readwrite" in why


def instances(register: Any) -> Iterator[tuple[int, Any]]:
    """(offset, register) of one, or of each element of an array."""
    each = register.registers if isinstance(register, SVDRegisterArray) else [register]
    yield from ((one.address_offset, one) for one in each)


@pytest.mark.parametrize("name", ALL)
def test_cmsis_svd_sees_every_register_where_it_is(name: str, tmp_path: Path) -> None:
    device = SVDParser.for_xml_file(written(ALL[name], tmp_path)).get_device()
    bars = [bar for _, bar in sorted(ALL[name].bars.items())]
    assert [p.name for p in device.peripherals] == [bar.bar for bar in bars]
    for peripheral, bar in zip(device.peripherals, bars, strict=True):
        seen = dict(pair for r in peripheral.registers or () for pair in instances(r))
        said = {o: e for _, _, o, e in bar.placed() if isinstance(e, Register) and e.named}
        assert seen.keys() == said.keys()
        for offset, register in said.items():
            node = seen[offset]
            assert node.size == register.width
            assert node.reset_value == register.reset_value(ResetCause.POWER_ON)
            if not register.sole:
                fields = {(f.name, f.bit_offset, f.bit_width) for f in node.fields}
                assert fields == {(f.name, f.lsb, f.width) for f in register.named.values()}


@pytest.mark.parametrize("name", ALL)
def test_what_comes_back_is_what_went_out_but_for_what_is_listed(name: str, tmp_path: Path) -> None:
    path = written(ALL[name], tmp_path)
    assert unaccounted(elaborate(ALL[name]), read(path), svd(ALL[name], None).left_out) == {}


def test_what_is_left_out() -> None:
    said = {item.path: item.why for item in svd(ALL["igbvf"], None).left_out}
    assert said["bar0.vmbmem"] == "SVD has registers and no memory"
    assert said["bar0.itr"] == "SVD has no register without fields"
    assert said["bar0.eimc:alias_of"] == "SVD has registers that store, each its own state"
    assert said["bar0.ctrl.rst:access"] == "W1P becomes WO: SVD has no word for hardware, ties and pulses"
    assert "bar0.eicr.msix:access" not in said  # RC/W1C has its words
    assert "bar0.eimc.msix:access" not in said  # and WO1C
