"""Pictures of words and records as SVG: a ruler above, boxes to scale, a name in each, the whole story on hover.

Each picture is drawn for two widths, of which a style sheet shows one: 32 bits or 16 bytes a row for a screen, 8 bits and 4
or 8 bytes for a phone. Rows of bytes in the middle of something long are drawn as one. Nothing has a colour of its own:
shapes carry classes (``rw``, ``ro``, ``side``, ``rsvd``, ``fold``) and take the page's colours, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

from regmodel.access import Access, OnRead, OnWrite
from regmodel.bits import Field

WIDE, NARROW = 32, 8
WIDTH = {WIDE: 736, NARROW: 344}
"""Of a row, in the picture's own units, by units in it; the page scales the picture to its column."""
LONG = 64
"""Bytes from which on a phone has 8 of them a row, not 4."""
FOLD = 3
"""So many rows of bytes in the middle of one thing are drawn as one."""
MARGIN = 1
RULER = 16
SHORT, TALL = 30, 104
LINE = 13
GLYPH = 6.9
"""How wide a character of the picture's font is, at its size of 11.5."""


@dataclass(frozen=True)
class Part:
    """``length`` units from ``first``: what is written in it, told on hover, its class, and where a click goes."""

    first: int
    length: int
    label: str
    told: str = ""
    kind: str = "rw"
    link: str = ""

    @property
    def end(self) -> int:
        return self.first + self.length


Row = tuple[int, list[tuple[Part, int, int]]]
"""The first unit of a row; of each part in it the first unit there, and how many."""


def kind_of_access(access: Access) -> str:
    """The class of a field: what a read or write does beside fetching and storing stands out."""
    if access.reserved:
        return "rsvd"
    if access.onread is not OnRead.NOTHING or access.onwrite not in (OnWrite.NOTHING, OnWrite.STORE):
        return "side"
    return "rw" if access.writable else "ro"


def bit_parts(fields: Sequence[Field], link: str = "") -> list[Part]:
    """One part per field; ``link`` goes before its name to make what a click goes to."""
    return [
        Part(
            f.lsb, f.width, f.name,
            told="" if f.access.reserved else f"{f.name} {f.range} {f.access}: {f.behaviour}{f'. {f.doc}' if f.doc else ''}",
            kind=kind_of_access(f.access),
            link=f"{link}{f.name}" if link and f.name else "",
        )
        for f in fields
    ]  # fmt: skip


def picture(parts: Sequence[Part], title: str, *, bits: bool) -> str:
    """Both drawings of ``parts``, which cover all units from 0 without gaps. ``title`` is what a screen reader says."""
    total = parts[-1].end
    narrow = NARROW if bits or total > LONG else 4
    shapes = [(WIDE if bits else 16, "wide"), (narrow, "narrow")] if total > narrow else [(narrow, "both")]
    return "".join(_drawing(parts, title, bits, min(units, max(total, narrow)), name) for units, name in shapes)


def _drawing(parts: Sequence[Part], title: str, bits: bool, per_row: int, name: str) -> str:
    width = WIDTH[NARROW] if name == "narrow" else WIDTH[WIDE] if per_row > NARROW else WIDTH[WIDE] // 2
    unit = (width - 2 * MARGIN) / per_row
    rows = list(_rows(parts, per_row) if bits else _folded(_rows(parts, per_row), per_row))
    body, y = [], 0.0
    for low, row in reversed(rows) if bits else rows:
        tall = bits and any(_text_width(p.label) > length * unit - 4 for p, _, length in row if p.label)
        height = TALL if tall else SHORT
        body.append(_ruler(row, low, per_row, unit, y, bits))
        for part, first, length in row:
            if length > per_row:
                body.append(_fold(part, length, width, y + RULER, alive=name != "narrow"))
                continue
            x = MARGIN + ((low + per_row - first - length) if bits else (first - low)) * unit
            body.append(_box(part, x, y + RULER, length * unit, height, alive=name != "narrow"))
        y += RULER + height + 6
    hidden = ' aria-hidden="true"' if name == "narrow" else f' role="group" aria-label="{escape(title, quote=True)}"'
    return f'<svg class="rm-picture rm-{name}" viewBox="0 0 {width} {y:.0f}"{hidden}>{"".join(body)}</svg>'


def _rows(parts: Sequence[Part], per_row: int) -> Iterator[Row]:
    """By row: its first unit, and the pieces of parts that lie in it."""
    for low in range(0, parts[-1].end, per_row):
        pieces = []
        for part in parts:
            first, end = max(part.first, low), min(part.end, low + per_row)
            if first < end:
                pieces.append((part, first, end - first))
        yield low, pieces


def _folded(rows: Iterable[Row], per_row: int) -> Iterator[Row]:
    """``rows``, but of those in the middle of one part, which it fills, at least ``FOLD`` become one that is too long."""
    middle: list[Row] = []
    for row in chain(rows, [None]):
        if row is not None and len(row[1]) == 1 and row[1][0][2] == per_row:
            part = row[1][0][0]
            if part.first < row[0] and row[0] + per_row < part.end and (not middle or middle[0][1][0][0] is part):
                middle.append(row)
                continue
        if len(middle) >= FOLD:
            low, [(part, _, _)] = middle[0]
            yield low, [(part, low, per_row * len(middle))]
        else:
            yield from middle
        middle = []
        if row is not None:
            yield row


def _fold(part: Part, length: int, width: int, y: float, *, alive: bool) -> str:
    """A row that stands for many."""
    room = Part(part.first, length, f"⋮ {length} bytes of {part.label or part.told}", part.told, f"{part.kind} fold", part.link)
    return _box(room, MARGIN, y, width - 2 * MARGIN, SHORT, alive=alive)


def _ruler(row: Sequence[tuple[Part, int, int]], low: int, per_row: int, unit: float, y: float, bits: bool) -> str:
    """Numbers above both ends of each part."""
    numbers = []
    for number in sorted({n for _, first, length in row for n in (first, first + length - 1)}):
        place = (low + per_row - 1 - number) if bits else min(number - low, per_row - 1)
        x = MARGIN + (place + 0.5) * unit
        numbers.append(f'<text x="{x:.0f}" y="{y + 12:.0f}" class="ruler">{number}</text>')
    return "".join(numbers)


def _text_width(label: str) -> float:
    return len(label) * GLYPH


def _box(part: Part, x: float, y: float, width: float, height: float, *, alive: bool) -> str:
    """With ``alive``, it tells its story on hover and leads to its row of the table."""
    left, right = round(x), round(x + width)
    title = f"<title>{escape(part.told)}</title>" if alive and part.told else ""
    box = f'<rect x="{left}" y="{y:.0f}" width="{right - left}" height="{height}" class="{part.kind}"/>'
    shape = f"{title}{box}{_label(part.label, round((left + right) / 2), y + height / 2, width, height)}"
    if alive and part.link:
        return f'<a href="{escape(part.link, quote=True)}">{shape}</a>'
    return f"<g>{shape}</g>" if title else shape


def _label(label: str, x: int, y: float, width: float, height: float) -> str:
    """Level where it fits; else upright, in two lines if need be; shortened where even that is too long."""
    if not label or width < 12:
        return ""
    if _text_width(label) <= width - 4:
        return f'<text x="{x}" y="{y + 4:.0f}">{escape(label)}</text>'
    upright = height > width
    room = int(((height if upright else width) - 6) / GLYPH)
    lines = _two_lines(label) if upright and len(label) > room and width >= 2 * LINE else [label]
    turn = f' transform="rotate(-90 {x} {y:.0f})"' if upright else ""
    found = []
    for number, line in enumerate(lines):
        shown = line if len(line) <= room else f"{line[: room - 1]}…"
        at = y + 4 + (number - (len(lines) - 1) / 2) * LINE
        found.append(f'<text x="{x}" y="{at:.0f}"{turn}>{escape(shown)}</text>')
    return "".join(found)


def _two_lines(label: str) -> list[str]:
    """Parted at the underscore nearest to its middle, which stays at the end of the first line."""
    places = [i + 1 for i, character in enumerate(label) if character == "_"]
    if not places:
        return [label]
    middle = min(places, key=lambda place: abs(place - len(label) / 2))
    return [label[:middle], label[middle:]]
