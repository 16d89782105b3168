"""What a benchmark says: pairs of figures taken in turns, their ratio, and whether that reaches what is asked for.

In here: the arithmetic of one row, and the table. A ratio is the median of the ratios of the rounds, each of which measured
both sides one right after the other, so that whatever else the machine was doing was done to both. The figures
themselves belong to one run on one machine; only ratios may be compared.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Row:
    """One line. ``met`` is None where nothing is asked for."""

    what: str
    ours: str
    theirs: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    load: float = 0.0


@dataclass(frozen=True)
class Section:
    """Rows about one thing. ``about`` says what was compared with what, and how."""

    title: str
    about: str
    rows: Sequence[Row]


def compare(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """Both sides of the same rounds; the ratio is ours by theirs. Raises ValueError when there are no rounds."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    ratio = statistics.median(ratios)
    spread = f" ({ratios[0]:.2f}-{ratios[-1]:.2f})" if len(ratios) > 1 else ""
    target, met = _judge(ratio, "x", at_least, at_most)
    figures = [f"{figure(statistics.median(side))} {unit}".strip() for side in (ours, theirs)]
    return Row(what, *figures, f"{ratio:.2f}x{spread}", target, met, os.getloadavg()[0])


def single(what: str, value: float, unit: str = "", *, at_least: float | None = None, at_most: float | None = None) -> Row:
    """A figure with nothing to compare it with."""
    target, met = _judge(value, f" {unit}".rstrip(), at_least, at_most)
    return Row(what, f"{figure(value)} {unit}".strip(), "", "", target, met, os.getloadavg()[0])


def figure(value: float) -> str:
    """Three significant digits, thousands as k, millions as M."""
    for factor, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= factor:
            return f"{value / min(factor, 1e3 if letter == 'k' else factor):.3g} {letter}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _judge(value: float, unit: str, at_least: float | None, at_most: float | None) -> tuple[str, bool | None]:
    if at_least is not None:
        return f">= {at_least:g}{unit}", value >= at_least
    if at_most is not None:
        return f"<= {at_most:g}{unit}", value <= at_most
    return "", None


def draw(section: Section) -> RenderableType:
    """The section as a table for the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=section.title, caption=section.about, box=SIMPLE_HEAD, title_justify="left", title_style="bold",
                  caption_justify="left", pad_edge=False)  # fmt: skip
    table.add_column("")
    table.add_column("ours, this run only", justify="right")
    table.add_column("theirs, this run only", justify="right")
    table.add_column("ratio (spread)", justify="right")
    table.add_column("target", justify="right")
    table.add_column("load", justify="right")
    table.add_column("verdict")
    verdicts = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}
    for row in section.rows:
        table.add_row(row.what, row.ours, row.theirs, row.ratio, row.target, f"{row.load:.1f}", verdicts[row.met])
    return table
