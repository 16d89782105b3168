"""What a description leaves unsaid: registers, fields, descriptors and messages without a word about them, or without a source.

A field's source may stand on its register, a descriptor field's on its descriptor, so what is missing is missing altogether.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import Construct

from regmodel.catalogue import Description, Device
from regmodel.layout import layout
from regmodel.registers import Bar, Register

FILLING = ("pad", "reserved", "rsvd")
"""How names begin that say all there is to say."""


def gaps(description: Description) -> Iterator[str]:
    """Each as ``path: what is missing``. Reserved bits need no word, nor does a register that is a single field have two."""
    for bar in description.bars.values():
        yield from _bar(bar)
    if isinstance(description, Device):
        yield from _bar(description.config)
    described = [(d.name, d.schema, d.doc, bool(d.sources)) for r in description.rings for d in (*r.formats, *r.device_writes)]
    described += [(m.name, m.schema, m.doc, bool(m.sources)) for box in description.mailboxes for m in box.messages]
    described += [(name, s, s.docs or "", bool(description.sources)) for name, s in description.structures.items()]
    for name, schema, doc, proven in described:
        if not doc:
            yield f"{name}: no description"
        if not proven:
            yield f"{name}: no source"
        yield from _schema(name, schema)


def _bar(bar: Bar) -> Iterator[str]:
    for name, entry in bar.entries.items():
        if not bar.docs_of[name]:
            yield f"{bar.bar}.{name}: no description"
        if not isinstance(entry, Register):
            if not entry.sources:
                yield f"{bar.bar}.{name}: no source"
            continue
        fields = [f for f in entry.fields if f.name]
        if not entry.sources and not all(f.sources for f in fields):
            yield f"{bar.bar}.{name}: no source"
        yield from (f"{bar.bar}.{name}.{f.name}: no description" for f in fields if not f.doc and len(fields) > 1)


def _schema(name: str, schema: Construct) -> Iterator[str]:
    leaves = layout(schema).leaves
    for leaf in leaves:
        last = leaf.path.rpartition(".")[2]
        if ("[" in leaf.path and "[0]" not in leaf.path) or last.lstrip("_").startswith(FILLING):
            continue
        if not leaf.doc and not leaf.fields and len(leaves) > 1:
            yield f"{name}.{leaf.path}: no description"
        fields = [f for f in leaf.fields if f.name]
        told = bool(leaf.doc) and len(fields) == 1
        yield from (f"{name}.{leaf.path}.{f.name}: no description" for f in fields if not (f.doc or told or f.name in FILLING))
