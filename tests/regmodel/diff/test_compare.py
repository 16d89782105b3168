"""What is a change, and what it weighs: by changing one thing at a time in a tree."""

from __future__ import annotations

from typing import Any

import pytest

from regmodel.diff import BEHAVIOUR, BREAKING, DOCUMENTATION, Finding, Severity, compare
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.tree import Repeat
from tests.regmodel.described import descriptions
from tests.support.every_kind import DESCRIPTION

ALL = descriptions() | {"every-kind": DESCRIPTION}


def changed(node: Any, path: list[str], **values: Any) -> Any:
    """``node`` with attributes of one of its descendants replaced: names of BAR, entry, field, member, ..."""
    if not path:
        return node.model_copy(update=values)
    for attribute in type(node).model_fields:
        inner = getattr(node, attribute)
        for item in inner if isinstance(inner, tuple) else [inner]:
            if isinstance(item, tree.Node) and (getattr(item, "name", "") == path[0] or attribute == path[0]):
                made = changed(item, path[1:], **values)
                update = tuple(made if other is item else other for other in inner) if isinstance(inner, tuple) else made
                return node.model_copy(update={attribute: update})
    raise KeyError(path[0])


IGBVF = elaborate(ALL["igbvf"])
RC = tree.Access(name="RC", onwrite="nothing", onread="clear", hardware=True, tie="hardware")


@pytest.mark.parametrize("name", ALL)
def test_nothing_differs_from_itself(name: str) -> None:
    assert compare(elaborate(ALL[name]), elaborate(ALL[name])) == []


@pytest.mark.parametrize(
    ("path", "values", "severity", "rule", "text"),
    [
        ("", {"title": "x"}, DOCUMENTATION, "description-title-changed", "now x"),
        ("identity", {"device": 0x10ED}, BREAKING, "identity-device-changed", "device: 0x10ca, now 0x10ed"),
        ("identity", {"revision": 2}, BEHAVIOUR, "identity-revision-changed", "revision: 1, now 2"),
        ("bar0", {"size": 0x2000}, BREAKING, "bar-size-changed", ""),
        ("bar0", {"size": 0x8000}, BEHAVIOUR, "bar-size-changed", ""),
        ("bar0.policy", {"unmapped": "ones"}, BEHAVIOUR, "policy-unmapped-changed", "unmapped: zeros, now ones"),
        ("bar0.status", {"offset": 0x10}, BREAKING, "register-offset-changed", "offset: 0x8, now 0x10"),
        ("bar0.status", {"doc": "x"}, DOCUMENTATION, "register-doc-changed", "doc: Device Status, now x"),
        ("bar0.status", {"resets": {"power-on": 1}}, BEHAVIOUR, "register-resets-changed", "power-on 0x80081, now power-on"),
        ("bar0.status", {"survives": ("flr",)}, BEHAVIOUR, "register-survives-changed", "flr; software, now flr"),
        ("bar0.eimc", {"alias_of": "eicr"}, BREAKING, "register-alias-of-changed", "eims, now eicr"),
        ("bar0.rdt", {"array": Repeat(stride=0x100, count=1)}, BREAKING, "register-array-changed", "2, every 0x100 bytes, "),
        ("bar0.rdt", {"array": Repeat(stride=0x100, count=4)}, BEHAVIOUR, "register-array-changed", ""),
        ("bar0.rdt", {"array": Repeat(stride=0x40, count=2)}, BREAKING, "register-array-changed", ""),
        ("bar0.status.lu", {"lsb": 31}, BREAKING, "field-lsb-changed", "lsb: 1, now 31"),
        ("bar0.status.lu", {"access": RC}, BREAKING, "field-access-changed", "access: RO, now RC"),
        ("bar0.status.lu", {"survives": ("bus",)}, BEHAVIOUR, "field-survives-changed", ""),
        ("bar0.tdlen.len", {"lock": tree.Lock(key="ctrl.rst")}, BREAKING, "field-lock-changed", "nothing, now ctrl.rst is 0x1"),
        ("bar0.status.speed", {"values": {"MB10": 0, "MB100": 1, "MB1000": 3}}, BREAKING, "value-changed", "MB1000 was 2, "),
        ("bar0.status.speed", {"values": {"MB10": 0, "MB100": 1}}, BREAKING, "value-removed", "MB1000 = 2 is gone"),
        ("bar0.status.speed", {"values": {"MB10": 0, "MB100": 1, "GB1": 2}}, DOCUMENTATION, "value-renamed", "2 was MB1000"),
        ("bar0.status.speed", {"values": {"MB10": 0, "MB100": 1, "MB1000": 2, "X": 3}}, BEHAVIOUR, "value-added", "X = 3"),
        ("bar0.vmbmem", {"size": 32}, BREAKING, "window-size-changed", ""),
        ("bar0.vmbmem", {"mappable": True}, BEHAVIOUR, "window-mappable-changed", "mappable: no, now yes"),
        ("tx_data.olinfo_status", {"offset": 8}, BREAKING, "member-offset-changed", ""),
        ("tx_data.olinfo_status", {"big_endian": True}, BREAKING, "member-big-endian-changed", ""),
        ("tx_data.cmd_type_len.eop", {"lsb": 28}, BREAKING, "field-lsb-changed", ""),
        ("tx_data", {"size": 32}, BREAKING, "schema-size-changed", ""),
        ("rx", {"tail": "rdh"}, BREAKING, "ring-tail-changed", "tail: rdt, now rdh"),
        ("rx", {"formats": ("rx_read", "tx_data")}, BEHAVIOUR, "ring-formats-changed", ""),
        ("mailbox", {"words": 8}, BREAKING, "mailbox-words-changed", "words: 16, now 8"),
        ("mailbox.set_vlan", {"number": 9}, BREAKING, "message-number-changed", "number: 4, now 9"),
    ],
)  # fmt: skip
def test_one_change_is_one_finding(path: str, values: dict[str, Any], severity: Severity, rule: str, text: str) -> None:
    (found,) = compare(IGBVF, changed(IGBVF, path.split(".") if path else [], **values))
    assert (found.severity, found.rule) == (severity, rule)
    assert found.path.endswith(path.rpartition(".")[2]) and text in found.text


def entries(found: tree.Description) -> tuple[tree.Entry, ...]:
    return found.bars[0].entries


def with_entries(*made: tree.Entry) -> tree.Description:
    return changed(IGBVF, ["bar0"], entries=made)  # type: ignore[no-any-return]


def test_what_comes_and_what_goes() -> None:
    less = with_entries(*entries(IGBVF)[1:])
    assert compare(IGBVF, less) == [
        Finding(BREAKING, "register-removed", "bar0.ctrl", "is gone (4 bytes at 0x0, Device Control)")
    ]  # fmt: skip
    assert compare(less, IGBVF) == [
        Finding(BEHAVIOUR, "register-added", "bar0.ctrl", "is new (4 bytes at 0x0, Device Control)")
    ]  # fmt: skip


def test_what_stands_in_the_same_place_was_renamed() -> None:
    ctrl = entries(IGBVF)[0].model_copy(update={"name": "control"})
    assert compare(IGBVF, with_entries(ctrl, *entries(IGBVF)[1:])) == [
        Finding(DOCUMENTATION, "register-renamed", "bar0.ctrl", "is called control now")
    ]  # fmt: skip


def test_only_an_array_as_long_as_before_may_change_its_stride() -> None:
    one = changed(IGBVF, ["bar0", "rdt"], array=Repeat(stride=0x100, count=1))
    assert [f.severity for f in compare(one, changed(one, ["bar0", "rdt"], array=Repeat(stride=4, count=1)))] == [BEHAVIOUR]


def test_an_access_that_only_hardware_or_a_reader_sees() -> None:
    rw = tree.Access(name="RW")
    before = changed(IGBVF, ["bar0", "status", "lu"], access=rw)
    volatile = changed(IGBVF, ["bar0", "status", "lu"], access=rw.model_copy(update={"hardware": True}))
    word = changed(IGBVF, ["bar0", "status", "lu"], access=rw.model_copy(update={"name": "R/W"}))
    assert [f.severity for f in compare(before, volatile)] == [BEHAVIOUR]
    assert [f.severity for f in compare(before, word)] == [DOCUMENTATION]


def test_the_most_severe_comes_first() -> None:
    found = compare(IGBVF, elaborate(ALL["igbvf-i350"]))
    assert [f.severity for f in found] == sorted((f.severity for f in found), reverse=True)
    assert {f.severity for f in found} == set(Severity)


def test_the_82576_and_the_i350() -> None:
    """What devices/igbvf.py says that differs between the two: identity, queue pairs, timestamps, the link's speed."""
    found = compare(IGBVF, elaborate(ALL["igbvf-i350"]))
    gone = {f.path for f in found if f.rule == "field-removed"}
    assert gone == {f"bar0.ivar0.int_alloc_{v}{w}x1" for v in ("", "val_") for w in "rt"}
    arrays = {f.path.partition(".")[2] for f in found if f.rule == "register-array-changed"}
    assert arrays == {r.name for r in IGBVF.bars[0].registers if r.array and 0x2800 <= r.offset < 0x3A00}
    rest = {(f.rule, f.path) for f in found} - {("field-removed", p) for p in gone}
    assert {pair for pair in rest if pair[0] != "register-array-changed"} == {
        ("identity-device-changed", "identity"), ("field-added", "bar0.srrctl.timestamp"),
        ("register-resets-changed", "config.device_id"), ("register-resets-changed", "config.pcie_link_capabilities"),
        ("description-title-changed", ""), ("description-sources-changed", ""),
    }  # fmt: skip
