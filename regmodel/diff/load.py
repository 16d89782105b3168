"""The two sides of a comparison: an installed device, a description in Python, or a file of any format that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from regmodel.catalogue import Description, describe
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
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

        return Side(name, reader(SUFFIXES[path.suffix])(path), {"": f"{name}:1"}, registers_only=True)
    found = describe(name)
    return Side(name, elaborate(found), _places(found))


def load_both(before: str, after: str) -> tuple[Side, Side]:
    """The two, cut down to what both of their formats can say."""
    first, second = load(before), load(after)
    if not (first.registers_only or second.registers_only):
        return first, second
    return replace(first, tree=_registers(first.tree)), replace(second, tree=_registers(second.tree))


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
