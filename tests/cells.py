"""The guest matrix: which cells there are, and the fixed rule that picks those which ``make test`` runs.

A guest test is marked ``@pytest.mark.guest`` and takes the parameters it varies over as fixtures named in ``AXES``. A cell is
one combination, named as pytest names it. ``make matrix`` runs all cells; ``make test`` runs a subset in which every test
occurs, and every pair (module of tests, value) and (value of one axis, value of another): greedy, in the order of collection,
with no randomness, so that the subset changes only when the matrix does. A test marked ``any_kernel`` judges no driver of the
guest's kernel: its kernel does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

AXES: dict[str, tuple[str, ...]] = {
    "device": ("igbvf", "igbvf-i350"),
    "kernel": ("7.2", "6.12"),
    "front": ("split", "packed", "transitional-split", "transitional-packed", "legacy"),  # of virtio-net
    "pairs": ("1", "4"),  # virtio-net: queue pairs
    "signal": ("msix", "intx"),
    "revision": ("9", "8", "7", "6", "5", "4", "3", "2", "1"),  # of vmxnet3, the newest on offer
}
"""Every axis and its values, the default first."""


Cell = Sequence[tuple[str, str]]
"""What a cell is: ``("test", its name)``, and one value for each of its axes."""


def covered(cell: Cell) -> set[Cell]:
    """What a cell covers: its test, and the pairs that its module and its values make."""
    (test,) = (value for axis, value in cell if axis == "test")
    values = sorted(pair for pair in cell if pair[0] != "test")
    return {(("test", test),), *combinations([("module", test.partition("::")[0]), *values], 2)}


def pairwise(cells: dict[str, Cell]) -> set[str]:
    """The names of a subset of ``cells`` that covers all that they cover. Deterministic."""
    wanted = {pair for cell in cells.values() for pair in covered(cell)}
    chosen: set[str] = set()
    while wanted:
        best = max(cells, key=lambda name: (len(covered(cells[name]) & wanted), name not in chosen))
        chosen.add(best)
        wanted -= covered(cells[best])
    return chosen
