"""Message sequence charts: a line of life for each party, an arrow for each step, what it touches below it.

Each chart is drawn for two widths, of which a style sheet shows one, as pictures of registers are (``svg``): for a phone, words
are broken into lines. Links are in the wide one only; the table of steps beside a chart has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from textwrap import wrap

from regmodel.handshakes import Handshake, Step

WIDTH, NARROW = 720, 356
TOP, BOX, ABOVE, BELOW = 44, 28, 6, 14
"""Where the first step begins; the height of a party; from the arrow to the words above it, and to what it touches."""
LINE, GAP = 15, 12
"""The height of a line of words, and what is between two steps."""
GLYPH, GLYPH_OF_NAMES = 6.3, 6.6

Link = Callable[[str], str]


def chart(handshake: Handshake, link: Link) -> str:
    """SVG of ``handshake``; ``link(name)`` says where a register or message is described, or "" where it is not."""
    return Chart(handshake, link, WIDTH).drawing("rm-wide") + Chart(handshake, lambda name: "", NARROW).drawing("rm-narrow")


class Chart:
    """One drawing, ``width`` units wide."""

    def __init__(self, handshake: Handshake, link: Link, width: int) -> None:
        self.handshake, self.link, self.width = handshake, link, width
        self.column = width / len(handshake.parties)
        self.at = {party: self.column * (i + 0.5) for i, party in enumerate(handshake.parties)}

    def drawing(self, name: str) -> str:
        """All of it. Of the wide and the narrow one, a reader has the one that is shown."""
        y, steps = float(TOP), []
        for number, step in enumerate(self.handshake.steps, 1):
            text, y = self._step(step, number, y)
            steps.append(text)
        parties = [self._party(party, x, y) for party, x in self.at.items()]
        marker = f"{name}-arrow"
        arrow = (
            f'<defs><marker id="{marker}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" class="tip"/></marker></defs>'
        )
        label = escape(f"{self.handshake.name}: {self.handshake.doc}", quote=True)
        told = f' role="group" aria-label="{label}"'
        body = "".join([*parties, *steps]).replace("url(#)", f"url(#{marker})")
        return f'<svg class="rm-chart {name}" viewBox="0 0 {self.width} {y + 4:.0f}"{told}>{arrow}{body}</svg>'

    def _party(self, name: str, x: float, height: float) -> str:
        width = min(self.column - 12, 150)
        return (
            f'<rect x="{x - width / 2:.1f}" y="2" width="{width:.1f}" height="{BOX}" class="ro"/>'
            f'<text x="{x:.1f}" y="20" class="party">{escape(name)}</text>'
            f'<line x1="{x:.1f}" y1="{BOX + 2}" x2="{x:.1f}" y2="{height:.0f}" class="life"/>'
        )

    def _step(self, step: Step, number: int, y: float) -> tuple[str, float]:
        """One step, which begins at ``y``, and where it ends."""
        start, end = self.at[step.sender], self.at[step.receiver]
        own = start == end
        side = -1 if start > self.width / 2 else 1
        room = (self.width - start if side > 0 else start) - 34 if own else self.width - 8
        words = wrap(f"{number}. {step.what}", int(room / GLYPH))
        names = list(_lines(step.names, int(room / GLYPH_OF_NAMES)))
        arrow = y + LINE * len(words) + (0 if own else ABOVE - 4)
        if own:
            line = f'<path d="M{start:.1f} {y + 4:.0f} h{side * 22} v14 h{-side * 20}" class="own" marker-end="url(#)"/>'
            x, anchor = start + side * 30, "start" if side > 0 else "end"
        else:
            tip = end - 2 if end > start else end + 2
            place = f'x1="{start:.1f}" y1="{arrow:.0f}" x2="{tip:.1f}" y2="{arrow:.0f}"'
            line = f'<line {place} class="arrow" marker-end="url(#)"/>'
            x, anchor = (start + end) / 2, "middle"
        texts = [self._text(text, x, y + LINE * (i + 1) - 4, anchor, GLYPH) for i, text in enumerate(words)]
        low = arrow + (BELOW - 3 if own else BELOW)
        for i, row in enumerate(names):
            texts.append(self._text(row, x, low + LINE * i, f"names {anchor}", GLYPH_OF_NAMES))
        bottom = low + LINE * (len(names) - 1) if names else max(arrow, y + 20)
        return line + "".join(texts), bottom + GAP

    def _text(self, text: str | list[str], x: float, y: float, kind: str, glyph: float) -> str:
        """A line of words, or of names; moved so that it is all in the drawing."""
        half = len(text if isinstance(text, str) else ", ".join(text)) * glyph / 2
        if kind.endswith("middle"):
            x = max(half + 4, min(self.width - half - 4, x))
        shown = escape(text) if isinstance(text, str) else ", ".join(map(self._name, text))
        return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{shown}</text>'

    def _name(self, name: str) -> str:
        href = self.link(name)
        return f'<a href="{escape(href, quote=True)}">{escape(name)}</a>' if href else escape(name)


def _lines(names: Iterable[str], most: int) -> Iterator[list[str]]:
    """Names in lines of at most ``most`` characters, one at least in each."""
    row: list[str] = []
    for name in names:
        if row and len(", ".join([*row, name])) > most:
            yield row
            row = []
        row.append(name)
    if row:
        yield row
