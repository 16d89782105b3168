"""From a description to its elaborated tree: the only backend code that knows the description language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from construct import Construct

from regmodel import access, bits, catalogue, registers
from regmodel.export import tree
from regmodel.function import ResetCause
from regmodel.keys import Key
from regmodel.layout import Leaf, layout
from regmodel.sources import Source

_CAUSES = list(ResetCause)


@cache
def access_node(found: access.Access) -> tree.Access:
    return tree.Access(
        name=found.name,
        readable=found.readable,
        onwrite=found.onwrite.name.lower(),  # type: ignore[arg-type]
        onread=found.onread.name.lower(),  # type: ignore[arg-type]
        hardware=found.hardware,
        tie=found.tie.value,
        reserved=found.reserved,
    )


def _causes(found: Iterable[ResetCause]) -> tree.Causes:
    return tuple(cause.value for cause in sorted(found, key=_CAUSES.index))


def _sources(found: Iterable[Source]) -> tuple[str, ...]:
    return tuple(str(source) for source in found)


def _values(names: Mapping[int, str]) -> dict[str, int]:
    return {name: number for number, name in names.items()}


def _field(found: bits.Field, common: frozenset[ResetCause]) -> tree.Field:
    return tree.Field(
        name=found.name,
        lsb=found.lsb,
        width=found.width,
        access=access_node(found.access),
        doc=found.doc,
        values=_values(found.values),
        survives=_causes(found.survives - common),
        lock=tree.Lock(key=found.lock.key, value=found.lock.value) if found.lock else None,
        sources=_sources(found.sources),
    )


def remarkable(field: tree.Field) -> bool:
    """A reserved field of which there is more to say than that the bits are reserved."""
    plain = tree.Field(name="", lsb=field.lsb, width=field.width, access=access_node(access.RSVD))
    return bool(field.name) or field != plain


def _register(name: str, doc: str, found: registers.Register) -> tree.Register:
    common = frozenset.intersection(*(f.survives for f in found.fields))
    fields = (_field(f, common) for f in found.fields)
    banked = found.banked_by and tree.Bank(select=found.banked_by[0], count=found.banked_by[1])
    each = found.at if isinstance(found.at, registers.Each) else None
    return tree.Register(
        name=name,
        kind=found.kind.value,  # type: ignore[arg-type]
        doc=doc,
        offset=found.offsets[0],
        width=found.width,
        array=tree.Repeat(stride=each.stride, count=each.count) if each else None,
        whole=found.sole,
        fields=tuple(f for f in fields if remarkable(f)),
        resets={cause.value: found.resets[cause] for cause in _CAUSES if _is_said(cause, found.resets)},
        survives=_causes(common),
        alias_of=found.of or "",
        banked=banked,
        pair=found.pair,
        status=found.status.value,
        why=found.why,
        sources=_sources(found.sources),
    )


def _is_said(cause: ResetCause, resets: Mapping[ResetCause, int]) -> bool:
    """A value that differs from what would be without it."""
    default = 0 if cause is ResetCause.POWER_ON else resets.get(ResetCause.POWER_ON, 0)
    return resets.get(cause, default) != default


def _window(name: str, doc: str, found: registers.Window) -> tree.Window:
    members = _members(found.subcon)
    plain = len(members) == 1 and members[0].type == "bytes" and not members[0].arrays
    return tree.Window(
        name=name,
        kind="window",
        doc=doc,
        offset=found.at,
        size=found.size,
        access=access_node(found.access),
        mappable=found.mappable,
        survives=_causes(found.survives),
        why=found.why,
        sources=_sources(found.sources),
        members=() if plain else members,
    )


def elaborate_bar(index: int, found: registers.Bar) -> tree.Bar:
    """One register file."""
    docs, policy, moved = found.docs_of, found.policy, found.moved
    return tree.Bar(
        name=found.bar,
        index=index,
        doc=found.about,
        size=found.size,
        policy=tree.Policy(**{a: getattr(policy, a).name.lower() for a in ("unmapped", "partial", "unaligned", "wide")}),
        moved=tree.Moved(first=moved.first, gone=moved.gone, when=moved.when) if moved else None,
        entries=tuple(
            _window(name, docs[name], e) if isinstance(e, registers.Window) else _register(name, docs[name], e)
            for name, e in found.entries.items()
        ),
    )


# -- structures: the leaves of a layout, put into the structures and arrays again that they came from

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
Steps = tuple[str | int, ...]
Placed = Sequence[tuple[Steps, Leaf]]


def _members(schema: Construct) -> tuple[tree.Member, ...]:
    placed = [(_steps(leaf.path), leaf) for leaf in layout(schema).leaves]
    return tuple(_gather(placed, 0))


def _steps(path: str) -> Steps:
    found = tuple(int(number) if number else name for number, name in _STEP.findall(path))
    return found if found and isinstance(found[0], str) else ("", *found)


def _gather(placed: Placed, base: int) -> Iterable[tree.Member]:
    groups: dict[str, list[tuple[Steps, Leaf]]] = {}
    for steps, leaf in placed:
        groups.setdefault(str(steps[0]), []).append((steps[1:], leaf))
    return [_member(name, group, base) for name, group in groups.items()]


def _member(name: str, placed: Placed, base: int) -> tree.Member:
    """One member, of which all elements of arrays look alike: the first stands for all."""
    offset, arrays = placed[0][1].offset, []
    while placed[0][0] and isinstance(placed[0][0][0], int):
        starts: dict[int, int] = {}
        for steps, leaf in placed:
            starts.setdefault(int(steps[0]), leaf.offset)
        first = [(steps[1:], leaf) for steps, leaf in placed if steps[0] == 0]
        stride = starts[1] - starts[0] if len(starts) > 1 else _end(first) - offset
        arrays.append(tree.Repeat(stride=stride, count=len(starts)))
        placed = first
    leaf = placed[0][1]
    if placed[0][0]:
        inner = tuple(_gather(placed, offset))
        size = arrays[-1].stride if arrays else _end(placed) - offset
        return tree.Member(
            name=name, offset=offset - base, size=size, type="structure", arrays=tuple(arrays), members=inner
        )
    return tree.Member(
        name=name,
        doc=leaf.doc,
        offset=offset - base,
        size=leaf.size,
        type="bytes" if leaf.is_bytes else "signed" if leaf.format.islower() else "unsigned",
        big_endian=leaf.big_endian,
        arrays=tuple(arrays),
        fields=tuple(_part(f) for f in leaf.fields if f.name),
        must=leaf.must,
        values=_values(leaf.names),
    )


def _end(placed: Placed) -> int:
    return max(leaf.offset + leaf.size for _, leaf in placed)


def _part(found: bits.Field) -> tree.Field:
    """A field of a word in memory, where access has no meaning."""
    return _field(found, frozenset()).model_copy(update={"access": None})


def _schema(role: str, name: str, schema: Construct, doc: str, sources: Iterable[Source]) -> tree.Schema:
    size = layout(schema).size
    return tree.Schema(
        name=name, role=role, doc=doc, size=size, members=_members(schema), sources=_sources(sources)  # type: ignore[arg-type]
    )


def _schemas(found: catalogue.Description) -> tuple[tree.Schema, ...]:
    """Each once, where it is first mentioned."""
    schemas: dict[str, tree.Schema] = {}
    for ring in found.rings:
        for d in (*ring.formats, *ring.device_writes):
            schemas.setdefault(d.name, _schema("descriptor", d.name, d.schema, d.doc, d.sources))
    for box in found.mailboxes:
        for m in box.messages:
            schemas.setdefault(m.name, _schema("message", m.name, m.schema, m.doc, m.sources))
    for name, schema in found.structures.items():
        schemas.setdefault(name, _schema("structure", name, schema, registers.unwrap(schema)[1], ()))
    return tuple(schemas.values())


def elaborate(found: catalogue.Description, bar: int | None = None) -> tree.Description:
    """The whole tree of a description; with ``bar``, that register file only. Raises ``UsageError`` when it is not there."""
    from regmodel.export import chosen

    bars = chosen(found, bar) if bar is not None else dict(sorted(found.bars.items()))
    about = tree.Description(
        name=found.name,
        title=found.title,
        doc=found.doc,
        bars=tuple(elaborate_bar(index, b) for index, b in bars.items()),
        sources=_sources(found.sources),
    )
    if bar is not None:
        return about
    more: dict[str, object] = {
        "schemas": _schemas(found),
        "rings": tuple(_ring(ring) for ring in found.rings),
        "mailboxes": tuple(_mailbox(box) for box in found.mailboxes),
        "keys": tuple(_key(keys.directory, key) for keys in found.keys for key in keys),
    }
    if isinstance(found, catalogue.Device):
        more["identity"] = tree.Identity(**{name: getattr(found.identity, name) for name in tree.Identity.model_fields})
        more["config"] = elaborate_bar(7, found.config)
        more["drivers"] = found.drivers
    return about.model_copy(update=more)


def _ring(found: catalogue.Ring) -> tree.Ring:
    return tree.Ring(
        name=found.name, doc=found.doc, base=found.base, length=found.length, head=found.head, tail=found.tail,
        control=found.control, formats=tuple(d.name for d in found.formats),
        device_writes=tuple(d.name for d in found.device_writes),
    )  # fmt: skip


def _mailbox(found: catalogue.Mailbox) -> tree.Mailbox:
    return tree.Mailbox(
        name=found.name, doc=found.doc, control=found.control, memory=found.memory, words=found.words,
        messages=tuple(
            tree.Message(name=m.name, number=m.number, sender=m.sender, receiver=m.receiver) for m in found.messages
        ),
        sources=_sources(found.sources),
    )  # fmt: skip


def _key(directory: str, found: Key) -> tree.Key:
    path, sources = f"{directory}/{found.path}", _sources(found.sources)
    return tree.Key(name=found.name, path=path, grammar=found.grammar.name, doc=found.doc, sources=sources)
