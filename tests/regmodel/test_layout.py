"""One source: for every schema of the repository, construct (plain, compiled), ``struct`` and numpy see the same bytes."""

from __future__ import annotations

import importlib
import pkgutil
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from construct import Array, Bytes, Const, Construct, Enum, Int8ul, Int16ub, Int16ul, Int32sl, Int32ul, Padding, Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import regmodel.structures
from regmodel.access import RSVD
from regmodel.bits import Bits, F
from regmodel.errors import DescriptionError
from regmodel.layout import Layout, Leaf, layout
from tests.regmodel.described import schemas

HUGE = 1 << 16
"""Schemas of more bytes than this are one run of memory and not worth 30 examples."""


def structures() -> dict[str, Construct]:
    """What is described in ``regmodel.structures``, whether or not a device has it, and has a fixed layout."""
    found: dict[str, Construct] = {}
    for module in pkgutil.iter_modules(regmodel.structures.__path__, "regmodel.structures."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Struct) and _is_fixed(value):
                found[f"{module.name.rpartition('.')[2]}.{name}"] = value
    return found


def _is_fixed(schema: Construct) -> bool:
    try:
        layout(schema)
    except DescriptionError:
        return False
    return True


EXAMPLES: dict[str, Construct] = {
    "example.signed": Struct("a" / Int32sl, "b" / Enum(Int8ul, ONE=1, TWO=2), "c" / Bytes(3)),
    "example.big": Struct("a" / Int16ub, "b" / Array(3, Int16ub), Padding(2), "c" / Bits(Int16ub, "x" / F[15:1], RSVD[...])),
    "example.const": Struct(
        "magic" / Const(0xABCD, Int16ul), "nested" / Array(2, Struct("x" / Int8ul, Padding(1), "y" / Int16ul))
    ),
}
ALL = schemas() | structures() | EXAMPLES


def test_there_is_something_to_look_at() -> None:
    assert len(ALL) > 60
    assert any(name.startswith("vfio_user.") for name in ALL) and any(name.startswith("igbvf.") for name in ALL)


@st.composite
def images(draw: st.DrawFn, plan: Layout) -> bytes:
    """Random bytes in which constants are what they must be; large ones repeat a random block."""
    block = draw(st.binary(min_size=min(plan.size, 512), max_size=min(plan.size, 512)))
    data = bytearray((block * (plan.size // max(len(block), 1) + 1))[: plan.size])
    for leaf in plan.leaves:
        if leaf.must is not None:
            data[leaf.offset : leaf.offset + leaf.size] = leaf.must.to_bytes(leaf.size, "big" if leaf.big_endian else "little")
    return bytes(data)


def flatten(parsed: Any, path: str = "") -> dict[str, Any]:
    """What construct parsed, by the paths that a layout uses. Fields of a word stay together in their container."""
    if isinstance(parsed, Mapping):
        found: dict[str, Any] = {}
        for name, value in parsed.items():
            if not str(name).startswith("_io"):
                found |= flatten(value, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(parsed, Sequence) and not isinstance(parsed, str | bytes):
        return {k: v for i, value in enumerate(parsed) for k, v in flatten(value, f"{path}[{i}]").items()}
    return {path: parsed}


def expected(leaf: Leaf, value: Any) -> dict[str, Any]:
    """The same, from one leaf's number: its fields by mask and shift, or the number itself."""
    named = [f for f in leaf.fields if f.name]
    if not leaf.fields or (len(named) == 1 and named[0].name == "value" and named[0].width == 8 * leaf.size):
        return {leaf.path: value}
    return {f"{leaf.path}.{f.name}" if leaf.path else f.name: (value & f.mask) >> f.lsb for f in named}


def _same(ours: Any, theirs: Any) -> bool:
    """Numbers, bytes; construct shows a named number as a string which knows it, and unnamed words under their path."""
    return int(theirs) == ours if isinstance(ours, int) else bytes(theirs) == ours


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_all_codecs_agree(name: str, data: st.DataObject) -> None:
    schema = ALL[name]
    plan = layout(schema)
    if plan.size > HUGE:
        assert len(plan.leaves) < HUGE  # memory: nothing between its bytes to disagree about
        return
    image = data.draw(images(plan))
    values = [
        int.from_bytes(raw, "big" if leaf.big_endian else "little", signed=leaf.format.islower()) if not leaf.is_bytes else raw
        for leaf in plan.leaves
        for raw in [image[leaf.offset : leaf.offset + leaf.size]]
    ]

    if len({leaf.big_endian for leaf in plan.leaves if leaf.size > 1 and not leaf.is_bytes}) <= 1:
        assert list(plan.struct.unpack(image)) == values, "struct"
        assert plan.struct.size == plan.size
    row = np.frombuffer(image, plan.dtype)[0]
    assert [v.tobytes() if leaf.is_bytes else int(v) for leaf, v in zip(plan.leaves, row, strict=True)] == values, "numpy"

    parsed = flatten(schema.parse(image))
    ours = {k: v for leaf, value in zip(plan.leaves, values, strict=True) for k, v in expected(leaf, value).items()}
    assert parsed.keys() == ours.keys(), "construct"
    assert all(_same(ours[path], parsed[path]) for path in ours), "construct"


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_parsed_can_be_built(name: str, data: st.DataObject) -> None:
    """All that has a name comes back; padding and reserved bits are 0."""
    schema = ALL[name]
    plan = layout(schema)
    if plan.size > HUGE:
        return
    image = data.draw(images(plan))
    built = schema.build(schema.parse(image))
    kept = bytearray(plan.size)
    for leaf in plan.leaves:
        raw = image[leaf.offset : leaf.offset + leaf.size]
        if leaf.fields:
            order = "big" if leaf.big_endian else "little"
            mask = sum(f.mask for f in leaf.fields if f.name)
            raw = (int.from_bytes(raw, order) & mask).to_bytes(leaf.size, order)  # type: ignore[arg-type]
        kept[leaf.offset : leaf.offset + leaf.size] = raw
    assert built == bytes(kept)


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(ALL[name], Struct)])
def test_the_compiled_construct_agrees(name: str) -> None:
    schema = ALL[name]
    plan = layout(schema)
    image = bytes((7 * i + 3) & 0xFF for i in range(plan.size))
    for leaf in plan.leaves:
        if leaf.must is not None:
            must = leaf.must.to_bytes(leaf.size, "big" if leaf.big_endian else "little")
            image = image[: leaf.offset] + must + image[leaf.offset + leaf.size :]
    ours, compiled = flatten(schema.parse(image)), flatten(schema.compile().parse(image))
    assert ours.keys() == compiled.keys()
    assert all(ours[path] == compiled[path] for path in ours)


class TestLayout:
    WORD = Bits(Int32ul, "low" / F[3:0], "high" / F[31:4])
    RECORD = Struct(
        "a" / Int16ul * "first", Padding(2), "w" / WORD * "word", "c" / Array(2, Struct("x" / Int8ul, "y" / Int8ul))
    )

    def test_paths_offsets_formats_and_docs(self) -> None:
        plan = layout(self.RECORD)
        assert plan.names == ("a", "w", "c[0].x", "c[0].y", "c[1].x", "c[1].y")
        assert plan.offsets == {"a": 0, "w": 4, "c[0].x": 8, "c[0].y": 9, "c[1].x": 10, "c[1].y": 11}
        assert [leaf.format for leaf in plan.leaves] == ["H", "I", "B", "B", "B", "B"]
        assert (plan.leaf("a").doc, plan.leaf("w").doc) == ("first", "word")
        assert plan.struct.format == "<H2xIBBBB" and plan.size == 12

    def test_fields_are_masks_for_the_hot_path(self) -> None:
        field = layout(self.RECORD).field("w", "high")
        assert (field.lsb, field.mask) == (4, 0xFFFFFFF0)

    def test_what_is_not_there_is_a_key_error(self) -> None:
        plan = layout(self.RECORD)
        with pytest.raises(KeyError, match="nosuch"):
            plan.leaf("nosuch")
        with pytest.raises(KeyError, match=r"w\.nosuch"):
            plan.field("w", "nosuch")

    def test_a_schema_is_walked_once(self) -> None:
        assert layout(self.RECORD) is layout(self.RECORD)

    def test_a_burst_is_one_array(self) -> None:
        plan = layout(self.RECORD)
        rows = np.frombuffer(b"".join(struct.pack("<H2xIBBBB", i, i << 4, 0, 0, 0, i) for i in range(32)), plan.dtype)
        assert rows["a"].tolist() == list(range(32)) and (rows["w"] >> 4).tolist() == list(range(32))
