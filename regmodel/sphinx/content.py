"""What is said of a device, as parts of a document: registers, BARs, descriptors and messages, handshakes, the overview.

Everything is read off the description. Where things are to be found is the domain's; in here they are named only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from construct import Construct
from docutils import nodes

from regmodel.bits import Bits
from regmodel.catalogue import Description, Device, Message, Ring
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.handshakes import Handshake
from regmodel.layout import Leaf, layout
from regmodel.pci import ConfigSpace
from regmodel.registers import Bar, Entry, Register
from regmodel.render import prose
from regmodel.render.charts import chart
from regmodel.render.maps import bar_map
from regmodel.render.svg import Part, bit_parts, picture
from regmodel.sources import Source
from regmodel.sphinx.build import abbreviation, bullets, literal, paragraph, section, strong, svg, table
from regmodel.sphinx.words import fields_table, sources

MANY = 5
"""Number of the last element of an array from which on the picture has one box for all but the first."""
LONGEST_LIST = 160
"""Rows; of longer records the elements of arrays beyond the first are left away."""


def anchor(device: Description, name: str) -> str:
    """The permalink of a register, descriptor, message or handshake on its page."""
    return f"{device.name}-{name}".replace(" ", "-").lower()


def goto(device: Description, name: str, word: str = "") -> nodes.Node:
    """A link to where ``name`` of ``device`` is described; the domain resolves it."""
    from sphinx.addnodes import pending_xref

    shown = literal(word or name)
    return pending_xref("", shown, refdomain="regmodel", reftype="any", reftarget=f"{device.name} {name}", refexplicit=True)


def files(device: Description) -> set[str]:
    """The files that describe it: pages about it are built anew when one of them changes."""
    bars = [*device.bars.values(), *([device.config] if isinstance(device, Device) else [])]
    lines = [entry.where for bar in bars for entry in bar.entries.values()]
    lines += [handshake.where for handshake in device.handshakes]
    lines += [word.where for schema in device.schemas.values() for word in _words(schema)]
    return {name for name in (line.rpartition(":")[0] for line in lines) if name}


def _words(schema: Construct) -> Iterator[Bits]:
    """The words of fields anywhere in a record."""
    if isinstance(schema, Bits):
        yield schema
    for inner in getattr(schema, "subcons", None) or [getattr(schema, "subcon", None)]:
        if isinstance(inner, Construct):
            yield from _words(inner)


# -- registers -------------------------------------------------------------------------------------------------------------


def register(device: Description, name: str) -> nodes.section:
    """One register or window. Raises ``UsageError`` which lists near names."""
    index, bar = register_place(device, name)
    entry = bar.entries[name]
    where = f"{prose.kind_of(entry)} at {prose.where(entry.at).rstrip(',')} of {_bar_name(index, bar)}"
    parts: list[nodes.Node] = [paragraph(where, classes=["rm-where"])]
    if bar.docs_of[name]:
        parts.append(paragraph(bar.docs_of[name], classes=["rm-about"]))
    if isinstance(entry, Register):
        parts += _word(device, name, entry)
    else:
        parts += record(entry.subcon, anchor(device, name), name)
    if said := list(prose.notes(name, entry)):
        parts.append(bullets([[note] for note in said]))
    parts += _used_in(device, name)
    if proofs := list(prose.sources_of(entry)):
        parts.append(sources(proofs))
    return section(title_of(entry, name), anchor(device, name), *parts)


def title_of(entry: Entry, name: str) -> str:
    count = len(entry.offsets)
    return f"{name.upper()}[0…{count - 1}]" if entry.is_array and count > 1 else name.upper()


def register_place(device: Description, name: str) -> tuple[int, Bar]:
    """The BAR of a register, configuration space being the last. Raises ``UsageError``."""
    if isinstance(device, Device) and name in device.config.entries:
        return CONFIG, device.config
    return device.register_bar(name)


CONFIG = 7


def _bar_name(index: int, bar: Bar) -> str:
    return "configuration space" if index == CONFIG else f"BAR {index}"


def _word(device: Description, name: str, entry: Register) -> list[nodes.Node]:
    reset = entry.reset_value(ResetCause.POWER_ON)
    told = f"the bits of {name}, as in the table below"
    here = anchor(device, name)
    shown = f"Reset value {reset:#0{2 + entry.width // 4}x}."
    return [
        svg(picture(bit_parts(entry.fields, f"#{here}-"), told, bits=True)),
        paragraph(shown, classes=["rm-where"]),
        fields_table(entry.fields, here, reset),
    ]


def _used_in(device: Description, name: str) -> list[nodes.Node]:
    """The steps of handshakes that touch a register or message."""
    found: list[nodes.Node] = []
    for handshake in device.handshakes:
        steps = [str(n) for n, step in enumerate(handshake.steps, 1) if name in {x.partition(".")[0] for x in step.names}]
        if steps:
            found += [nodes.Text(", " if found else ""), goto(device, handshake.name)]
            found += [nodes.Text(f" step{'s' * (len(steps) > 1)} {', '.join(steps)}")]
    return [paragraph("Used in: ", *found)] if found else []


def bar_index(device: Description, words: Sequence[str]) -> int:
    """The BAR that a user names: its number, or ``config``. Raises ``UsageError``."""
    word = words[0] if words else ""
    if word == "config" and isinstance(device, Device):
        return CONFIG
    if word.isdecimal() and int(word) in device.bars:
        return int(word)
    known = [*map(str, sorted(device.bars)), *(["config"] if isinstance(device, Device) else [])]
    raise UsageError(f"{device.name} has no BAR {word!r}; it has {', '.join(known)}")


def bar_of(device: Description, index: int) -> Bar:
    """A BAR by number, configuration space being ``CONFIG``."""
    return device.config if index == CONFIG and isinstance(device, Device) else device.bars[index]


def bar_page(device: Description, index: int) -> list[nodes.Node]:
    """One BAR, or configuration space, whole: the map, the list of registers, each register."""
    bar = bar_of(device, index)
    names = list(bar.entries)
    rows = [
        (f"{bar.entries[name].offsets[0]:#06x}", goto(device, name, title_of(bar.entries[name], name)),
         prose.accesses(bar.entries[name]), prose.reset_of(bar.entries[name]), bar.docs_of[name])
        for name in sorted(names, key=lambda name: bar.entries[name].offsets[0])
    ]  # fmt: skip
    head = ("Offset", "Register", "Access", "Reset", "Meaning")
    parts = [svg(bar_map(bar, f"#{anchor(device, '')}")), table(head, rows, classes=["rm-list"])]
    return [*parts, *(register(device, name) for name in sorted(names, key=lambda name: bar.entries[name].offsets[0]))]


# -- descriptors, messages, structures ----------------------------------------------------------------------------------------


def schema(device: Description, name: str) -> nodes.section:
    """One descriptor, message or structure. Raises ``UsageError`` listing what there is."""
    found = device.schema(name)
    about, proofs, message = _about(device, name)
    parts: list[nodes.Node] = [paragraph(about, classes=["rm-about"])] if about else []
    if message is not None:
        parts.append(paragraph(f"Message {message.number:#x}, {message.sender} to {message.receiver}, {found.sizeof()} bytes",
                               classes=["rm-where"]))  # fmt: skip
    else:
        parts.append(paragraph(f"{found.sizeof()} bytes", classes=["rm-where"]))
    parts += record(found, anchor(device, name), name)
    parts += _used_in(device, name)
    if proofs:
        parts.append(sources(("", source) for source in proofs))
    return section(name, anchor(device, name), *parts)


def _about(device: Description, name: str) -> tuple[str, tuple[Source, ...], Message | None]:
    for ring in device.rings:
        for descriptor in (*ring.formats, *ring.device_writes):
            if descriptor.name == name:
                return descriptor.doc, descriptor.sources, None
    for box in device.mailboxes:
        for message in box.messages:
            if message.name == name:
                return message.doc, message.sources, message
    return device.structures[name].docs or "", (), None


def record(found: Construct, here: str, name: str) -> list[nodes.Node]:
    """The bytes to scale, a list of them, and the bits of each word of fields."""
    shape = layout(found)
    parts: list[nodes.Node] = []
    if any(leaf.path for leaf in shape.leaves):
        told = f"the bytes of {name}, as in the table below"
        parts.append(svg(picture(list(_byte_parts(shape.leaves, shape.size)), told, bits=False)))
    leaves = [leaf for leaf in shape.leaves if len(shape.leaves) <= LONGEST_LIST or not _repeats(leaf)]
    if any(leaf.doc or "[" not in leaf.path[:1] for leaf in leaves):  # not a bare array, which the picture shows
        rows = [(f"{leaf.offset:#x}", literal(leaf.path or name), _kind(leaf), _leaf_doc(leaf)) for leaf in leaves]
        parts.append(table(("Offset", "Field", "Type", "Meaning"), rows, classes=["rm-list"]))
    drawn: set[int] = set()
    for leaf in leaves:
        if leaf.fields and id(leaf.fields) not in drawn:
            drawn.add(id(leaf.fields))
            place = f"{here}-{leaf.path}"
            told = f"the bits of {leaf.path or name}, as in the table below"
            parts += [
                paragraph(strong(leaf.path or name), f" {leaf.doc}"),
                svg(picture(bit_parts(leaf.fields, f"#{place}-"), told, bits=True)),
                fields_table(leaf.fields, place, None),
            ]
    return parts


def _repeats(leaf: Leaf) -> bool:
    return "[" in leaf.path and "[0]" not in leaf.path


def _kind(leaf: Leaf) -> str:
    if leaf.is_bytes:
        return f"{leaf.size} bytes"
    return f"{'i' if leaf.format.islower() else 'u'}{8 * leaf.size}{' big-endian' if leaf.big_endian and leaf.size > 1 else ''}"


def _leaf_doc(leaf: Leaf) -> str:
    words = [f"always {leaf.must:#x}"] if leaf.must is not None else []
    words += [leaf.doc] if leaf.doc else []
    words += [", ".join(f"{number} {label}" for number, label in sorted(leaf.names.items()))] if leaf.names else []
    return "; ".join(words)


def _byte_parts(leaves: tuple[Leaf, ...], size: int) -> Iterator[Part]:
    """One for each leaf; but of an array with more than ``MANY`` elements, one for all behind the first."""
    last: dict[str, int] = {}
    for leaf in leaves:
        for array, number in _places(leaf):
            last[array] = max(number, last.get(array, 0))
    end = 0
    for array, group in groupby(leaves, lambda leaf: next((a for a, n in _places(leaf) if n and last[a] >= MANY), "")):
        found = list(group)
        for leaf in found[: 1 if array else None]:
            if leaf.offset > end:
                yield Part(end, leaf.offset - end, "", "reserved", "rsvd")
            if array:
                end, number = found[-1].offset + found[-1].size, last[array]
                told = f"{array}[1] to [{number}]: each as {array}[0]"
                yield Part(leaf.offset, end - leaf.offset, f"{array.rpartition('.')[2]}[1…{number}]", told, "rw")
                continue
            told = f"{leaf.path}: {_kind(leaf)} at {leaf.offset:#x}{f'. {leaf.doc}' if leaf.doc else ''}"
            yield Part(leaf.offset, leaf.size, leaf.path.rpartition(".")[2], told, "rw")
            end = leaf.offset + leaf.size
    if end < size:
        yield Part(end, size - end, "", "reserved", "rsvd")


def _places(leaf: Leaf) -> list[tuple[str, int]]:
    """The arrays that a leaf is in, the outermost first, and the number of the element."""
    return [(leaf.path[: match.start()], int(match[1])) for match in re.finditer(r"\[(\d+)\]", leaf.path)]


# -- handshakes --------------------------------------------------------------------------------------------------------------


def handshake(device: Description, found: Handshake) -> nodes.section:
    """The chart, and its steps in words with their sources."""
    drawing = chart(found, lambda name: f"regmodel:{device.name}/{name.partition('.')[0]}")
    rows = []
    for number, step in enumerate(found.steps, 1):
        names: list[nodes.Node] = []
        for name in step.names:
            names += [nodes.Text(", ")] * bool(names) + [goto(device, name.partition(".")[0], name)]
        way = step.sender if step.sender == step.receiver else f"{step.sender} → {step.receiver}"
        rows.append((str(number), way, step.what, names))
    steps = table(("Step", "Between", "What", "Touches"), rows, classes=["rm-list"])
    proofs = [(str(number), source) for number, step in enumerate(found.steps, 1) for source in step.sources]
    proofs += [("", source) for source in found.sources]
    return section(found.name, anchor(device, found.name), paragraph(found.doc), svg(drawing), steps, sources(proofs))


# -- the overview ------------------------------------------------------------------------------------------------------------


def overview(device: Description) -> list[nodes.Node]:
    """What a device is, in one page."""
    parts: list[nodes.Node] = [paragraph(device.doc)]
    if isinstance(device, Device):
        parts += _identity(device)
    for index, bar in sorted(device.bars.items()):
        about = paragraph(strong(f"BAR {index}"), f" {bar.bar}, {bar.size:#x} bytes. {bar.about or ''}")
        svg_text = bar_map(bar, f"regmodel:{device.name}/", height=200)
        parts += [about, svg(svg_text)]
    if device.rings:
        parts.append(paragraph(strong("Rings")))
        rings = (_ring(device, ring) for ring in device.rings)
        parts.append(table(("Ring", "Meaning", "Descriptors"), rings, classes=["rm-list"]))
    for box in device.mailboxes:
        parts.append(paragraph(strong(box.name), f": {box.doc}"))
        said = [(f"{m.number:#x}", m.sender, goto(device, m.name), m.doc) for m in box.messages]
        parts.append(table(("Number", "From", "Message", "Meaning"), said, classes=["rm-list"]))
    if device.structures:
        listed = [(goto(device, name), str(s.sizeof()), s.docs or "") for name, s in device.structures.items()]
        parts.append(table(("Structure", "Bytes", "Meaning"), listed, classes=["rm-list"]))
    if device.handshakes:
        parts.append(bullets([[goto(device, h.name), f": {h.doc}"] for h in device.handshakes]))
    if device.sources:
        parts.append(sources(("", source) for source in device.sources))
    return parts


def _ring(device: Description, ring: Ring) -> tuple[str, str, list[nodes.Node]]:
    formats: list[nodes.Node] = []
    for name in dict.fromkeys(d.name for d in (*ring.formats, *ring.device_writes)):
        formats += [goto(device, name), nodes.Text(" ")]
    return ring.name, ring.doc, formats


def _identity(device: Device) -> list[nodes.Node]:
    identity = device.identity
    rows = [
        ("Vendor and device", f"{identity.vendor:04x}:{identity.device:04x}"),
        ("Subsystem", f"{identity.subsystem_vendor:04x}:{identity.subsystem:04x}"),
        ("Class", f"{identity.class_code:06x}, revision {identity.revision}"),
        ("Interrupts", f"{device.msix_vectors} MSI-X vectors" if device.msix_vectors else "no MSI-X"),
        ("Proven with", "; ".join([*filter(None, [", ".join(device.drivers)]), *device.proven]) or "nothing yet"),
    ]
    parts: list[nodes.Node] = [table(("", ""), rows, classes=["rm-facts"])]
    if isinstance(device.config, ConfigSpace) and device.config.capabilities:
        found = sorted(device.config.capabilities, key=lambda c: c.at)
        rows_of = [(f"{c.at:#05x}", c.name, abbreviation(f"{c.id:#x}", "its identifier"), f"{c.size} bytes") for c in found]
        parts.append(table(("Offset", "Capability", "ID", "Size"), rows_of, classes=["rm-list"]))
    return parts
