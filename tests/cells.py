"""The guest matrix: which cells there are, and the fixed rule that picks those which ``make test`` runs.

A guest test is marked ``@pytest.mark.guest`` and takes the parameters it varies over as fixtures named in ``AXES``. A cell is
one combination, named as pytest names it. ``make matrix`` runs all cells; ``make test`` runs a subset in which every
pair (test, value) and every pair (value of one axis, value of another) occurs: greedy, in the order of collection, with
no randomness, so that the subset changes only when the matrix does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

AXES: dict[str, tuple[str, ...]] = {
    "device": ("igbvf", "igbvf-i350"),
    "kernel": ("7.2", "6.12"),
}
"""Every axis and its values, the default first."""


def pairs(cell: Sequence[tuple[str, str]]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """The pairs of (axis, value) that a cell covers."""
    return set(combinations(sorted(cell), 2)) or {(cell[0], cell[0])}


def pairwise(cells: dict[str, tuple[tuple[str, str], ...]]) -> set[str]:
    """The names of a subset of ``cells`` that covers every pair which all of them cover. Deterministic."""
    wanted = {pair for cell in cells.values() for pair in pairs(cell)}
    chosen: set[str] = set()
    while wanted:
        best = max(cells, key=lambda name: (len(pairs(cells[name]) & wanted), name not in chosen))
        chosen.add(best)
        wanted -= pairs(cells[best])
    return chosen
