"""Small pieces of a document tree: what docutils takes six lines for.

Nothing in here knows of devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from docutils import nodes

Cell: TypeAlias = str | nodes.Node | Sequence[nodes.Node]


class picture(nodes.General, nodes.Element):
    """An SVG in place. ``svg`` is its text, in which ``href="regmodel:DEVICE/NAME"`` goes to where that is described."""


def svg(text: str) -> nodes.Node:
    return picture(svg=text)


def section(title: str, anchor: str, *children: nodes.Node) -> nodes.section:
    """A section whose permalink is ``#anchor``."""
    return nodes.section("", nodes.title(title, title), *children, ids=[anchor], names=[])


def paragraph(*parts: str | nodes.Node, classes: Sequence[str] = ()) -> nodes.paragraph:
    return nodes.paragraph("", "", *(text(part) for part in parts), classes=list(classes))


def text(part: str | nodes.Node) -> nodes.Node:
    return nodes.Text(part) if isinstance(part, str) else part


def literal(word: str, *, classes: Sequence[str] = ()) -> nodes.literal:
    return nodes.literal(word, word, classes=list(classes))


def strong(word: str) -> nodes.strong:
    return nodes.strong(word, word)


def abbreviation(word: str, told: str, *, classes: Sequence[str] = ()) -> nodes.abbreviation:
    """``word``, explained on hover and to screen readers."""
    return nodes.abbreviation(word, word, explanation=told, classes=list(classes))


def target(anchor: str, word: str) -> nodes.inline:
    """``word``, to which ``#anchor`` leads."""
    return nodes.inline("", "", literal(word), ids=[anchor])


def bullets(items: Iterable[Sequence[str | nodes.Node]]) -> nodes.bullet_list:
    rows = [nodes.list_item("", paragraph(*item)) for item in items]
    return nodes.bullet_list("", *rows)


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, classes: Sequence[str] = ()) -> nodes.table:
    """A table whose cells are strings, nodes, or several nodes; without a head where all of its words are empty."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    if any(head):
        group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=["rm", *classes])


def _row(cells: Sequence[Cell]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(*_parts(cell))) for cell in cells))


def _parts(cell: Cell) -> Sequence[str | nodes.Node]:
    return (cell,) if isinstance(cell, str | nodes.Node) else cell
