"""A description as CMSIS-SVD 1.3.9 (Arm): one peripheral for each BAR.

What lives here: the backend ``svd`` and SVD's words for an access, which the importer shares. SVD has registers that store,
fields, arrays, named values and one reset; debuggers show it. Peripherals follow each other as ``systemrdl`` places BARs.
A register that is one number has no fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from xml.etree import ElementTree as XML

from regmodel.access import RO, VOCABULARY
from regmodel.catalogue import Description
from regmodel.export import chosen, tree
from regmodel.export.elaborate import access_node, elaborate
from regmodel.export.omissions import Exported, Omissions, left_out
from regmodel.export.systemrdl import bases

ONWRITE: dict[tree.OnWrite, str] = {
    "one_clears": "oneToClear", "zero_clears": "zeroToClear", "one_sets": "oneToSet", "one_toggles": "oneToToggle",
}  # fmt: skip
ONREAD: dict[tree.OnRead, str] = {"clear": "clear", "set": "set"}


def words(access: tree.Access) -> dict[str, str]:
    """``access``, ``modifiedWriteValues`` and ``readAction`` of a field."""
    writable, once = access.onwrite != "nothing", access.onwrite == "once"
    if writable and access.readable:
        found = {"access": "read-writeOnce" if once else "read-write"}
    else:
        found = {"access": "writeOnce" if once else "write-only" if writable else "read-only"}
    if access.onwrite in ONWRITE:
        found["modifiedWriteValues"] = ONWRITE[access.onwrite]
    if access.readable and access.onread in ONREAD:
        found["readAction"] = ONREAD[access.onread]
    return found


def access_of(found: Mapping[str, str]) -> tree.Access:
    """What these words mean: of all accesses with these effects, the vocabulary's. KeyError: it has none."""
    kind = found.get("access", "read-write")
    onwrite: tree.OnWrite = "nothing" if kind == "read-only" else "once" if kind.endswith("Once") else "store"
    if "modifiedWriteValues" in found:
        onwrite = {word: name for name, word in ONWRITE.items()}[found["modifiedWriteValues"]]
    onread = {word: name for name, word in ONREAD.items()}[found["readAction"]] if "readAction" in found else "nothing"
    return _known(tree.Access(name=f"{onwrite}/{onread}", readable="read" in kind, onwrite=onwrite, onread=onread))


@cache
def _known(access: tree.Access) -> tree.Access:
    def effects(a: tree.Access) -> tuple[object, ...]:
        return a.readable, a.onwrite, a.onread

    found = (access_node(a) for a in (RO, *VOCABULARY) if not a.reserved)  # what is only read is set by hardware, mostly
    return next((a for a in found if effects(a) == effects(access)), access)


def _lost(f: tree.Field, access: tree.Access) -> str:
    meant = access_of(words(access))
    return "" if meant == access else f"{access.name} becomes {meant.name}: SVD has no word for hardware, ties and pulses"


def _odd(bar: tree.Bar, entry: tree.Entry) -> str:
    if isinstance(entry, tree.Window):
        return "SVD has registers and no memory"
    return "" if any(f.name for f in entry.fields) else "SVD has no register without fields"


_ONE_STATE, _WHERE = "SVD has registers that store, each its own state", "see the description"
LEFT_OUT: Omissions = {
    tree.Description: {
        "name": lambda d, name: "" if name == identifier(name) else "the name of a device is an identifier",
        "doc": "SVD has one line about a device", "identity": "SVD knows no PCI", "config": "SVD knows no PCI",
        "schemas": "SVD has no structures in memory", "rings": _ONE_STATE, "mailboxes": _ONE_STATE, "keys": _ONE_STATE,
        "drivers": _WHERE, "sources": _WHERE,
    },
    tree.Bar: {"policy": _ONE_STATE, "moved": _ONE_STATE, "entries": _odd},
    tree.Register: {
        "kind": _ONE_STATE, "alias_of": _ONE_STATE, "banked": _ONE_STATE, "pair": _ONE_STATE, "status": _WHERE, "why": _WHERE,
        "survives": "SVD has one reset", "sources": _WHERE,
        "fields": lambda r, f: "" if f.name else "SVD has no reserved fields",
        "resets": lambda r, value: "SVD has one reset" if value != r.resets.get("power-on") else "",
    },
    tree.Field: {"access": _lost, "survives": "SVD has one reset", "lock": "SVD has no locks", "sources": _WHERE},
}  # fmt: skip


def svd(description: Description, bar: int | None) -> Exported:
    """One file."""
    chosen(description, bar)
    found = elaborate(description, bar)
    suffix = f"_{found.bars[0].name}" if bar is not None else ""
    root = _device(found)
    XML.indent(root, " ")
    text = XML.tostring(root, encoding="unicode", xml_declaration=False)
    return Exported({f"{identifier(description.name)}{suffix}.svd": f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'},
                    left_out(found, _omissions(found)))  # fmt: skip


def _omissions(found: tree.Description) -> Omissions:
    """``LEFT_OUT``, and the index of each BAR that is not its place in the file."""
    places = {bar.name: i for i, bar in enumerate(found.bars)}

    def index(bar: tree.Bar, value: int) -> str:
        return "" if value == places[bar.name] else "peripherals have no number"

    return {**LEFT_OUT, tree.Bar: {**LEFT_OUT[tree.Bar], "index": index}}


def identifier(name: str) -> str:
    """``name`` as SVD spells names."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{word}" if word[:1].isdigit() else word


def _add(parent: XML.Element, tag: str, text: str | int | None) -> None:
    if text is not None and text != "":
        XML.SubElement(parent, tag).text = f"{text:#x}" if isinstance(text, int) else text


def _device(found: tree.Description) -> XML.Element:
    root = XML.Element("device", {
        "schemaVersion": "1.3", "xmlns:xs": "http://www.w3.org/2001/XMLSchema-instance",
        "xs:noNamespaceSchemaLocation": "CMSIS-SVD.xsd",
    })  # fmt: skip
    _add(root, "name", identifier(found.name))
    _add(root, "version", "1")
    _add(root, "description", found.title or found.name)
    _add(root, "addressUnitBits", "8")
    _add(root, "width", "64" if any(r.width > 32 for bar in found.bars for r in bar.registers) else "32")
    peripherals = XML.SubElement(root, "peripherals")
    for base, bar in bases(found.bars):
        _peripheral(XML.SubElement(peripherals, "peripheral"), base, bar)
    return root


def _peripheral(node: XML.Element, base: int, bar: tree.Bar) -> None:
    _add(node, "name", identifier(bar.name))
    _add(node, "description", bar.doc)
    _add(node, "baseAddress", base)
    block = XML.SubElement(node, "addressBlock")
    _add(block, "offset", 0)
    _add(block, "size", bar.size)
    _add(block, "usage", "registers")
    said = sorted((e for e in bar.entries if isinstance(e, tree.Register) and not _odd(bar, e)), key=lambda r: r.offset)
    registers = XML.SubElement(node, "registers") if said else node
    for register in said:
        _register(XML.SubElement(registers, "register"), register)


def _register(node: XML.Element, r: tree.Register) -> None:
    if r.array:
        _add(node, "dim", r.array.count)
        _add(node, "dimIncrement", r.array.stride)
    name = identifier(r.name)
    _add(node, "name", f"{name}[%s]" if r.array else name)
    _add(node, "displayName", r.name if name != r.name else "")
    _add(node, "description", r.doc)
    _add(node, "addressOffset", r.offset)
    _add(node, "size", str(r.width))
    alone = words(r.fields[0].access) if r.whole and r.fields[0].access else {}
    _add(node, "access", alone.get("access"))
    _add(node, "resetValue", r.resets.get("power-on", 0))
    _add(node, "resetMask", (1 << r.width) - 1)
    _add(node, "modifiedWriteValues", alone.get("modifiedWriteValues"))
    _add(node, "readAction", alone.get("readAction"))
    if not r.whole:
        fields = XML.SubElement(node, "fields")
        for f in r.fields:
            if f.name:
                _field(XML.SubElement(fields, "field"), f)


def _field(node: XML.Element, f: tree.Field) -> None:
    _add(node, "name", identifier(f.name))
    _add(node, "description", f.doc)
    _add(node, "bitOffset", str(f.lsb))
    _add(node, "bitWidth", str(f.width))
    for tag, word in words(f.access or tree.Access(name="RW")).items():
        _add(node, tag, word)
    if f.values:
        values = XML.SubElement(node, "enumeratedValues")
        for name, number in f.values.items():
            value = XML.SubElement(values, "enumeratedValue")
            _add(value, "name", identifier(name))
            _add(value, "value", number)
