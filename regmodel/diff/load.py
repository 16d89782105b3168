"""The two sides of a comparison: an installed device, a description in Python, or a file of any format that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from regmodel.catalogue import Description, describe
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import Omissions, Reason
from regmodel.export.svd import LEFT_OUT, access_of, words
from regmodel.registers import Register

SUFFIXES = {".rdl": "systemrdl", ".svd": "svd"}


@dataclass(frozen=True)
class Side:
    """A tree, and where each thing in it is declared (``file:line`` by path), as far as that is known."""

    name: str
    tree: tree.Description
    places: Mapping[str, str] = field(default_factory=dict)
    registers_only: bool = False
    """Its format says nothing but registers, so nothing else can be compared with it."""
    omissions: Omissions = field(default_factory=dict)
    """What its format has no words for even of registers."""

    def place(self, path: str) -> str:
        """Of the thing itself, or of what it is in; "" where nothing is known."""
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return self.places.get(path, self.places.get("", ""))


def load(name: str) -> Side:
    """``name`` is a device, ``file.py:NAME``, or a file: ``.json`` of ours, ``.rdl`` or ``.svd``. Raises ``RegmodelError``."""
    path = Path(name)
    if path.suffix == ".json":
        from regmodel.export.json_tree import read

        return Side(name, read(path), {"": f"{name}:1"})
    if path.suffix in SUFFIXES:
        from regmodel.importing import reader

        found = reader(SUFFIXES[path.suffix])(path)
        return Side(name, found, {"": f"{name}:1"}, registers_only=True, omissions=_omissions(SUFFIXES[path.suffix]))
    described = describe(name)
    return Side(name, elaborate(described), _places(described))


def load_both(before: str, after: str) -> tuple[Side, Side]:
    """The two, cut down to what both of their formats can say."""
    first, second = load(before), load(after)
    if not (first.registers_only or second.registers_only):
        return first, second
    for omissions in (first.omissions, second.omissions):
        first, second = (replace(side, tree=_said(_registers(side.tree), omissions)) for side in (first, second))
    return first, second


def _omissions(name: str) -> Omissions:
    """SVD places BARs one behind the other, so that none has a number."""
    if name != "svd":
        return {}
    return {**LEFT_OUT, tree.Bar: {**LEFT_OUT[tree.Bar], "index": "peripherals have no number"}}


N = TypeVar("N", bound=tree.Node)


def _said(node: N, omissions: Omissions) -> N:
    """``node`` as a format says it: what it has no words for is as if nobody had said it."""
    update: dict[str, Any] = {}
    for name, about in type(node).model_fields.items():
        held, reason = getattr(node, name), omissions.get(type(node), {}).get(name, "")

        def lost(value: Any, reason: Reason = reason) -> bool:
            return bool(reason if isinstance(reason, str) else reason(node, value))

        if held in (about.default, ()) or (about.is_required() and not isinstance(held, tuple | tree.Node)):
            continue
        if isinstance(held, tuple) and isinstance(held[0], tree.Node):
            update[name] = tuple(_said(item, omissions) for item in held if not lost(item))
        elif isinstance(held, dict):
            update[name] = {key: value for key, value in held.items() if not lost(value)}
        elif not lost(held):
            update[name] = _said(held, omissions) if isinstance(held, tree.Node) else held
        elif isinstance(held, tree.Access):
            update[name] = access_of(words(held))
        else:
            update[name] = about.default
    return node.model_copy(update=update)


def _registers(found: tree.Description) -> tree.Description:
    """BARs and what is in them, but for the layout of memory."""

    def plain(entry: tree.Entry) -> tree.Entry:
        return entry.model_copy(update={"members": ()}) if isinstance(entry, tree.Window) else entry

    bars = tuple(bar.model_copy(update={"entries": tuple(map(plain, bar.entries))}) for bar in found.bars)
    return tree.Description(name=found.name, title=found.title, doc=found.doc, bars=bars, sources=found.sources)


def _places(found: Description) -> dict[str, str]:
    bars = [*found.bars.values(), *([found.config] if hasattr(found, "config") else [])]
    places = {"": bars[0].where} if bars else {}
    for bar in bars:
        places[bar.bar] = bar.where
        for name, entry in bar.entries.items():
            places[f"{bar.bar}.{name}"] = entry.where
            if isinstance(entry, Register):
                places |= {f"{bar.bar}.{name}.{f.name}": f.where for f in entry.named.values()}
    return places
