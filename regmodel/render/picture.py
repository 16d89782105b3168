"""Pictures of words and records: a ruler, boxes to scale, names in them where they fit and letters where they do not.

Bits run from the most significant on the left, as datasheets draw them; bytes from offset 0 on the left. A row is 64
columns wide, so that a picture with its margin fits any terminal. Reserved boxes are shaded, which needs no colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from rich.text import Text

ROW = 64  # columns, without the closing border
MARGIN = "  "
SHADE = "░"


@dataclass
class Box:
    """``length`` units from ``first``, with a ``label``, what stands below it (``value``), and how both are coloured."""

    first: int
    length: int
    label: str
    style: str = ""
    value: str = ""
    reserved: bool = False
    letter: str = ""

    @property
    def end(self) -> int:
        return self.first + self.length


@dataclass(frozen=True)
class _Segment:
    """The part of a box in one row: ``columns`` wide without borders."""

    box: Box
    columns: int
    low: int
    high: int


_Row = list[_Segment]


def picture(boxes: Sequence[Box], *, bits: bool) -> Text:
    """Draw ``boxes``, which cover all units from 0 without gaps. Sets the ``letter`` of each box whose label fits nowhere."""
    layouts = (_layout(boxes, bits, per_row) for per_row in _choices(boxes[-1].end, bits))
    rows = min(layouts, key=lambda rows: _cost(rows, boxes))
    wide = _widest(rows)
    labels = {box.label for box in boxes}
    letters = (letter for letter in ascii_lowercase + ascii_lowercase.upper() if letter not in labels)
    for box in reversed(boxes) if bits else boxes:
        box.letter = "" if box.reserved or len(box.label) <= wide[box.first].columns else next(letters, "?")
    text = Text()
    for row in rows:
        _draw(text, row, bits, wide)
    text.rstrip()
    return text


def _choices(total: int, bits: bool) -> list[int]:
    """How many units a row may have: powers of two that divide it into equal columns."""
    return [n for n in ((32, 16, 8) if bits else (16, 8)) if n <= max(total, 8)]


def _cost(rows: list[_Row], boxes: Sequence[Box]) -> tuple[int, int]:
    """Labels that fit nowhere weigh as much as two rows."""
    wide = _widest(rows)
    misfits = sum(not box.reserved and len(box.label) > wide[box.first].columns for box in boxes)
    return 2 * misfits + len(rows), len(rows)


def _widest(rows: list[_Row]) -> dict[int, _Segment]:
    """The widest segment of each box, by where the box begins."""
    wide: dict[int, _Segment] = {}
    for segment in (s for row in rows for s in row):
        best = wide.get(segment.box.first)
        if best is None or segment.columns > best.columns:
            wide[segment.box.first] = segment
    return wide


def _layout(boxes: Sequence[Box], bits: bool, per_row: int) -> list[_Row]:
    """Cut boxes into rows. Consecutive rows that lie within one box become one."""
    total = boxes[-1].end
    per_row = min(per_row, total)
    unit = ROW // per_row
    rows: list[_Row] = []
    for low in range(0, total, per_row):
        row: _Row = []
        for box in boxes:
            first, end = max(box.first, low), min(box.end, low + per_row, total)
            if first < end:
                row.append(_Segment(box, (end - first) * unit - 1, first, end - 1))
        if rows and len(row) == 1 and len(rows[-1]) == 1 and rows[-1][0].box is row[0].box:
            rows[-1] = [_Segment(row[0].box, ROW - 1, rows[-1][0].low, row[0].high)]
        else:
            rows.append(row)
    return [row[::-1] for row in rows[::-1]] if bits else rows


def _draw(text: Text, row: _Row, bits: bool, wide: dict[int, _Segment]) -> None:
    for line in _ruler(row, bits):
        text.append(MARGIN + line.rstrip() + "\n", style="dim")
    _border(text, row, "┌", "┬", "┐")
    _inside(text, row, [_caption(segment, wide) for segment in row])
    if any(segment.box.value for segment in row):
        _inside(text, row, [segment.box.value if segment is wide[segment.box.first] else "" for segment in row])
    _border(text, row, "└", "┴", "┘")


def _caption(segment: _Segment, wide: dict[int, _Segment]) -> str:
    """The label where it fits; a letter in the widest segment of a box that it does not fit."""
    box = segment.box
    if box.letter:
        return box.letter if segment is wide[box.first] else ""
    return box.label if len(box.label) <= segment.columns else ""


def _border(text: Text, row: _Row, left: str, between: str, right: str) -> None:
    text.append(MARGIN + left + between.join("─" * segment.columns for segment in row) + right + "\n", style="dim")


def _inside(text: Text, row: _Row, captions: list[str]) -> None:
    text.append(MARGIN)
    for segment, caption in zip(row, captions, strict=True):
        text.append("│", style="dim")
        shade = SHADE if segment.box.reserved and not caption else " "
        text.append(f"{caption:{shade}^{segment.columns}}", style="dim" if segment.box.reserved else segment.box.style)
    text.append("│\n", style="dim")


def _ruler(row: _Row, bits: bool) -> Iterator[str]:
    """Numbers above the units; above the two ends alone where a row stands for several."""
    low, high = min(s.low for s in row), max(s.high for s in row)
    units = high - low + 1
    if units * (ROW // units) != ROW or ROW // units < 2 or (len(row) == 1 and units > 8):
        first, last = (high, low) if bits else (low, high)
        yield f" {first}{last:>{ROW - 2 - len(str(first))}}"
        return
    numbers = range(high, low - 1, -1) if bits else range(low, high + 1)
    unit = ROW // units
    if unit >= 4:
        yield "".join(f"{number:^{unit - 1}} " if unit > 4 else f" {number:>2} " for number in numbers).rstrip()
        return
    yield "".join(f" {number // 10 if number % 10 == 0 or number == max(numbers) else ' '}" for number in numbers)
    yield "".join(f" {number % 10}" for number in numbers)
