"""Drawings of whole devices, and of anything in one by its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from construct import Construct
from rich.console import Group, RenderableType
from rich.text import Text

from regmodel.catalogue import Description, Device
from regmodel.errors import UsageError
from regmodel.keys import Keys
from regmodel.registers import Bar, Register
from regmodel.render.registers import decode_register, draw_bar, draw_register
from regmodel.render.schemas import decode_bytes, draw_schema
from regmodel.render.words import indent, source_list, table
from regmodel.sources import Source


def draw_device(description: Description) -> RenderableType:
    """All of it on one page: what it is, each register file, rings, messages, structures, keys, sources."""
    parts: list[RenderableType] = [Text.assemble((description.name, "bold"), "  ", description.title), Text(description.doc)]
    if isinstance(description, Device):
        identity = description.identity
        text = f"PCI {identity}, class {identity.class_code:06x}, revision {identity.revision}"
        parts.append(Text(f"{text}; {description.msix_vectors} MSI-X vectors", style="dim"))
        if description.drivers:
            parts.append(Text(f"proven with {', '.join(description.drivers)}", style="dim"))
    for index, bar in sorted(description.bars.items()):
        parts += ["", Text(f"BAR {index}", style="dim"), draw_bar(bar)]
    parts += _rings(description)
    parts += _messages(description)
    if description.structures:
        rows = table("structure", "bytes", "")
        for name, schema in description.structures.items():
            rows.add_row(Text(name, style="bold"), str(schema.sizeof()), schema.docs or "")
        parts += ["", rows]
    for keys in description.keys:
        parts += ["", draw_keys(keys)]
    if description.sources:
        parts += ["", *source_list(("", source) for source in description.sources)]
    return Group(*parts)


def _rings(description: Description) -> list[RenderableType]:
    if not description.rings:
        return []
    rows = table("ring", "placed by", "descriptors", "")
    for ring in description.rings:
        formats = dict.fromkeys(f.name for f in (*ring.formats, *ring.device_writes))
        rows.add_row(Text(ring.name, style="bold"), f"{ring.base[0]}, {ring.length}", Text("\n".join(formats)), ring.doc)
    return ["", rows]


def _messages(description: Description) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for box in description.mailboxes:
        rows = table("number", "from", "message", "bytes", "")
        for m in box.messages:
            rows.add_row(f"{m.number:#x}", m.sender, Text(m.name, style="bold"), str(m.schema.sizeof()), m.doc)
        parts += ["", Text.assemble((box.name, "bold"), "  ", box.doc), "", indent(rows)]
    return parts


def draw_keys(keys: Keys) -> RenderableType:
    """A directory of text keys."""
    rows = table("key", "value", "")
    for key in keys:
        rows.add_row(Text(key.path, style="bold"), key.grammar.name, key.doc)
    head = Text.assemble((keys.directory, "bold"), "  ", keys.about)
    sources = source_list((key.name, source) for key in keys for source in key.sources)
    return Group(head, "", indent(rows), "", *sources)


def draw(description: Description, name: str) -> RenderableType:
    """Whatever ``name`` is in a description. Raises ``UsageError`` which lists near names."""
    if (place := _register(description, name)) is not None:
        return draw_register(*place)
    for known, schema, doc, sources in _schemas(description):
        if known == name:
            return draw_schema(known, schema, doc, sources)
    raise _unknown(description, name)


def decode(description: Description, name: str, value: int | bytes) -> RenderableType:
    """A register value (a number) or a descriptor, message or structure (bytes). Raises ``UsageError``."""
    if isinstance(value, int):
        if (place := _register(description, name)) is not None:
            bar, known = place
            return decode_register(bar.entries[known], value, known)
    else:
        for known, schema, _, _ in _schemas(description):
            if known == name:
                return decode_bytes(schema, value, known)
    raise _unknown(description, name)


def _bars(description: Description) -> list[Bar]:
    config = [description.config] if isinstance(description, Device) else []
    return [*description.bars.values(), *config]


def _register(description: Description, name: str) -> tuple[Bar, str] | None:
    """The register file that has ``name``, and what it calls it; ``rdt[1]`` is an instance of ``rdt``, which must be there."""
    stem, bracket, index = name.partition("[")
    for bar in _bars(description):
        for known in (stem, stem.lower()):
            entry = bar.entries.get(known)
            if entry is None:
                continue
            count = len(entry.offsets) if entry.is_array else 0
            if bracket and isinstance(entry, Register) and index.removesuffix("]") not in map(str, range(count)):
                text = f"there are {known}[0] to {known}[{count - 1}]" if count else f"{known} is one register"
                raise UsageError(f"{description.name} has no {name!r}: {text}")
            return bar, known
    return None


def _schemas(description: Description) -> Iterator[tuple[str, Construct, str, tuple[Source, ...]]]:
    for ring in description.rings:
        for f in (*ring.formats, *ring.device_writes):
            yield f.name, f.schema, f.doc, f.sources
    for box in description.mailboxes:
        for m in box.messages:
            yield m.name, m.schema, f"{m.doc} ({m.number:#x}, {m.sender} to {m.receiver})", m.sources
    for name, schema in description.structures.items():
        yield name, schema, str(schema.docs or ""), ()


def _unknown(description: Description, name: str) -> UsageError:
    every = [entry for bar in _bars(description) for entry in bar.entries] + [row[0] for row in _schemas(description)]
    near = difflib.get_close_matches(name, every, n=3) or every[:5]
    hint = f"did you mean {', '.join(near)}? `regmodel show {description.name}` lists all"
    return UsageError(f"{description.name} has no {name!r}; {hint}")
