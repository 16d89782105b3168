"""A BAR drawn to scale: one column of memory from offset 0 down, and beside it what stands where.

Registers closer to each other than the drawing can show are one band with one caption; captions are moved down where they
would overlap, and a line leads back to the place. Each map is drawn for two widths, as other pictures are (``svg``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from regmodel.registers import Bar, Window

HEIGHT, LINE = 420, 19


@dataclass(frozen=True)
class _Shape:
    """Of a drawing: its width, where the column begins and how wide it is, and characters that a caption has room for."""

    name: str
    width: int
    left: int
    column: int
    names: int

    @property
    def caption(self) -> int:
        return self.left + self.column + (34 if self.name == "rm-wide" else 24)


WIDE, NARROW = _Shape("rm-wide", 720, 78, 92, 66), _Shape("rm-narrow", 356, 56, 36, 33)


@dataclass
class _Band:
    first: int
    end: int
    names: list[str] = field(default_factory=list)
    window: bool = False


def bar_map(bar: Bar, link: str = "#", height: int = HEIGHT) -> str:
    """SVG of one BAR. ``link`` goes before a register's name to make what a click goes to, in the wide drawing."""
    return _drawing(bar, link, height, WIDE) + _drawing(bar, link, height, NARROW)


def _drawing(bar: Bar, link: str, height: int, shape: _Shape) -> str:
    left, column, caption = shape.left, shape.column, shape.caption
    scale = height / bar.size
    bands = _bands(bar, bytes_apart=max(1, int(bar.size * 9 / height)))
    total = max(height, LINE * len(bands)) + 24
    parts = [f'<rect x="{left}" y="12" width="{column}" height="{height}" class="rsvd"/>']
    previous = 0.0
    for band in bands:
        top = 12 + band.first * scale
        tall = max(2.0, (band.end - band.first) * scale)
        middle = top + tall / 2
        y = max(middle, previous + LINE)
        y = min(y, total - 8)
        previous = y
        kind = "side" if band.window else "rw"
        names = _caption(band.names, shape.names)
        told = f"{band.first:#06x} to {band.end - 1:#06x}: {', '.join(band.names)}"
        where = f'<text x="{left - 8}" y="{min(max(middle, 16), height + 12) + 4:.1f}" class="ruler end">{band.first:#x}</text>'
        drawn = (
            f'<rect x="{left}" y="{top:.1f}" width="{column}" height="{tall:.1f}" class="{kind}"/>'
            f'<path d="M{left + column} {middle:.1f} L{caption - 16} {y:.1f} L{caption - 6} {y:.1f}" class="lead"/>'
            f'<text x="{caption}" y="{y + 4:.1f}" class="start">{escape(names)}</text>'
        )
        if shape is WIDE:
            href = escape(link + band.names[0], quote=True)
            drawn = f'<a href="{href}"><g><title>{escape(told)}</title>{drawn}</g></a>'
        parts.append(drawn + (where if tall > 12 else ""))
    for offset, y in ((0, 16), (bar.size, height + 16)):
        parts.append(f'<text x="{left - 8}" y="{y}" class="ruler end">{offset:#x}</text>')
    label = escape(f"{bar.bar}, {bar.size} bytes, drawn to scale", quote=True)
    said = f'role="group" aria-label="{label}"'
    return f'<svg class="rm-map {shape.name}" viewBox="0 0 {shape.width} {total:.0f}" {said}>{"".join(parts)}</svg>'


def _bands(bar: Bar, bytes_apart: int) -> list[_Band]:
    bands: list[_Band] = []
    for path, _, offset, entry in bar.placed():
        name, end, window = path.partition("[")[0], offset + entry.size, isinstance(entry, Window)
        last = bands[-1] if bands else None
        if last is None or offset - last.end >= bytes_apart or window != last.window:
            bands.append(_Band(offset, end, [name], window))
            continue
        last.end = max(last.end, end)
        if name not in last.names:
            last.names.append(name)
    return bands


def _caption(names: list[str], most: int) -> str:
    shown = ", ".join(names)
    while len(shown) > most and len(names) > 1:
        names = names[:-1]
        shown = ", ".join(names) + ", …"
    return shown
