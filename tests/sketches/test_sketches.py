"""The sketches: that the language can say what other devices need. Each elaborates, round-trips its bytes and is drawn."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from regmodel import registers, render
from regmodel.catalogue import Description, Device, describe
from regmodel.errors import UsageError
from regmodel.registers import Kind, Register
from tests.regmodel.described import SKETCHES, descriptions

NAMES = [path.stem for path in sorted(SKETCHES.glob("*.py")) if not path.stem.startswith(("_", "test_"))]


def sketch(name: str) -> Description:
    return descriptions()[name]


def test_there_is_a_sketch_for_each_kind_of_interface() -> None:
    assert set(NAMES) == {"fm10k", "iavf_adminq", "nvsp", "xenvirt"}


@pytest.mark.parametrize("name", NAMES)
def test_a_sketch_is_one_page_and_describes_only(name: str) -> None:
    source = (SKETCHES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 90
    modules = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    allowed = {"construct", "dataclasses"} | {
        f"regmodel.{room}" for room in ("access", "bits", "catalogue", "function", "keys", "registers", "sources")
    }
    assert modules <= allowed, "a description needs the language only"


@pytest.mark.parametrize("name", NAMES)
def test_everything_in_a_sketch_has_a_source(name: str) -> None:
    d = sketch(name)
    for bar in d.bars.values():
        for entry, register in bar.entries.items():
            assert register.sources, f"{bar.bar}.{entry} says nothing of where it comes from"
    for box in d.mailboxes:
        for m in box.messages:
            assert m.sources, m.name
    for keys in d.keys:
        for key in keys:
            assert key.sources, key.name


@pytest.mark.parametrize("name", NAMES)
def test_a_sketch_is_drawn(name: str) -> None:
    """By ``show``, whole and by each of its names, in 80 columns of plain text."""
    d = describe(f"{SKETCHES / name}.py:DESCRIPTION")
    pages = {"": render.text(render.draw_device(d))}
    for entry in itertools.chain(*(bar.entries for bar in d.bars.values()), d.schemas):
        pages[entry] = render.text(render.draw(d, entry))
        assert pages[entry].startswith(entry)
    for page, text in pages.items():
        assert max(map(len, text.splitlines())) <= 80, page
        assert "\x1b" not in text, page
    for bar in d.bars.values():
        for entry, register in bar.entries.items():
            assert entry in pages[""]
            if isinstance(register, Register):
                assert all(field in pages[entry] for field in register.named)
    for keys in d.keys:
        assert all(key.path in pages[""] for key in keys)


def test_a_sketch_is_no_device() -> None:
    assert not any(isinstance(sketch(name), Device) for name in NAMES)


def test_no_kind_is_built_that_nothing_uses() -> None:
    """Every constructor, kind and policy of the language is used by a sketch or an installed device."""
    kinds = {entry.kind for d in descriptions().values() for bar in d.bars.values() for entry in bar.entries.values()}
    assert kinds == set(Kind)
    room = Path(registers.__file__).parent
    used = "".join(path.read_text() for path in (*SKETCHES.glob("*.py"), *room.glob("bars/*.py"), room / "pci.py"))
    makers = [n for n in vars(registers) if n.startswith(("Alias", "Command", "Doorbell", "Pair")) or re.match(r"Reg\d", n)]
    assert [maker for maker in makers if f"{maker}(" not in used] == []


class TestFacts:
    """What the sketches are there to show, checked against figures that others publish."""

    def test_structures_have_the_sizes_that_kernel_and_dpdk_compile_them_to(self) -> None:
        sizes = {f"{n}.{s}": schema.sizeof() for n in NAMES for s, schema in sketch(n).schemas.items()}
        assert sizes["iavf_adminq.aq_desc"] == 32  # struct iavf_aq_desc
        assert sizes["iavf_adminq.vf_resources"] == 36  # VIRTCHNL_CHECK_STRUCT_LEN
        assert sizes["iavf_adminq.add_eth_addr"] == 12
        assert sizes["nvsp.ring page"] == 4096
        assert {sizes[f"nvsp.{m.name}"] for m in sketch("nvsp").mailboxes[0].messages} == {40}
        assert (sizes["nvsp.packet"], sizes["nvsp.rndis_packet"]) == (16, 44)

    def test_xenstore_keys_are_found_by_path(self) -> None:
        (keys,) = sketch("xenvirt").keys
        path = keys.path("rx_vring_gref", domid=3, port=1)
        assert path == "/local/domain/3/control/dpdk/1_rx_vring_gref"
        found = keys.find(path)
        assert found is not None and found.key.name == "rx_vring_gref" and found.places == {"domid": 3, "port": 1}
        assert found.key.grammar.parse("1537,1524,1533") == [1537, 1524, 1533]
        assert found.key.grammar.build([7]) == "7"
        assert keys.find("/local/domain/3/control/dpdk/1_rx_vring") is None
        assert keys.entries["ether_addr"].grammar.parse("00:0c:29:00:00:01") == bytes.fromhex("000c29000001")
        assert keys.entries["mempool_va"].grammar.build(0x80340000) == "80340000"

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("rx_vring_gref", ""),
            ("rx_vring_gref", "1,,2"),
            ("ether_addr", "0:c:29"),
            ("mempool_va", "0x10"),
            ("vring_flag", "-1"),
        ],
    )
    def test_values_spelled_otherwise_are_refused(self, key: str, text: str) -> None:
        (keys,) = sketch("xenvirt").keys
        with pytest.raises(UsageError, match="is not"):
            keys.entries[key].grammar.parse(text)

    def test_paths_need_their_numbers(self) -> None:
        (keys,) = sketch("xenvirt").keys
        with pytest.raises(UsageError, match="needs a number for 'port'"):
            keys.path("rx_vring_gref", domid=3)
        with pytest.raises(UsageError, match="no key 'nosuch'"):
            keys.path("nosuch")
