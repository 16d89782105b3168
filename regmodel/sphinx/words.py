"""Words of named fields, and where facts come from, as parts of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from docutils import nodes

from regmodel.bits import Field
from regmodel.render.svg import kind_of_access
from regmodel.sources import Document, Reading, Source, Symbol
from regmodel.sphinx.build import abbreviation, bullets, literal, table, target

CONFIDENCE = {
    Symbol: ("checked", "a test looks this symbol up in the source tree and compares its value"),
    Document: ("document", "cited by section; no machine compares it"),
    Reading: ("read", "read in this file; no machine compares it"),
}
"""How sure a fact is, by the kind of its source, and what that means."""


def fields_table(fields: Sequence[Field], anchor: str, reset: int | None) -> nodes.table:
    """All fields from the most significant. ``anchor`` goes before their names; ``reset`` is None for words of messages."""
    head = ["Bits", "Field", "Access", "Reset", "Meaning"] if reset is not None else ["Bits", "Field", "Meaning"]
    return table(head, (_field(f, anchor, reset) for f in sorted(fields, key=lambda f: -f.lsb)), classes=["rm-fields"])


def _field(f: Field, anchor: str, reset: int | None) -> list[str | list[nodes.Node]]:
    name: list[nodes.Node] = [target(f"{anchor}-{f.name}", f.name) if f.name else nodes.emphasis("", "reserved")]
    cells: list[str | list[nodes.Node]] = [f.range.strip("[]"), name]
    if reset is not None:
        access = abbreviation(str(f.access), f.behaviour, classes=["rm-access", f"rm-{kind_of_access(f.access)}"])
        cells += [[access], f"{f.of(reset):#x}" if f.width > 1 else str(f.of(reset))]
    return [*cells, list(_meaning(f))]


def _meaning(f: Field) -> Iterator[nodes.Node]:
    if f.doc:
        yield nodes.Text(f.doc)
    for number, name in sorted(f.values.items()):
        yield nodes.Text("; " if f.doc or number != min(f.values) else "")
        yield literal(f"{number:#x}" if max(f.values) > 99 else str(number))
        yield nodes.Text(f" {name}")


def sources(found: Iterable[tuple[str, Source]]) -> nodes.Node:
    """Where facts come from, by file or document, each with how sure it is: ``(field or "", source)``."""
    files: dict[tuple[type[Source], str], dict[str, list[str]]] = {}
    for who, source in found:
        place, what = _place(source)
        files.setdefault((type(source), place), {}).setdefault(what, []).append(who)
    rows: list[list[str | nodes.Node]] = []
    for (kind, place), said in files.items():
        word, why = CONFIDENCE.get(kind, ("", ""))
        what = ", ".join(_with_fields(name, fields) for name, fields in said.items())
        rows.append([abbreviation(word, why, classes=["rm-sure", f"rm-{word}"]), f" {place}: {what}"])
    return bullets(rows)


def _place(source: Source) -> tuple[str, str]:
    match source:
        case Symbol():
            return f"{source.package}, {source.file}", source.call()
        case Reading():
            return f"{source.package}, {source.file}", source.what
        case Document():
            return source.title, f"§{source.section}"
        case _:
            return str(source), ""


def _with_fields(name: str, fields: Sequence[str]) -> str:
    named = sorted({field for field in fields if field})
    return f"{name} ({', '.join(named)})" if named else name
