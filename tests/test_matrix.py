"""The record of the guest matrix is whole and green, and the fixed rule covers what it promises."""

from __future__ import annotations

import json
from itertools import product

from tests.cells import covered, pairwise
from tests.matrix import RESULT, collect


def test_every_cell_is_recorded_and_green() -> None:
    cells = collect()
    assert cells, "no guest cells were collected"
    assert RESULT.exists(), f"{RESULT} is missing: run `make matrix`"
    known = json.loads(RESULT.read_text())["cells"]
    missing = [cell for cell in cells if cell not in known]
    red = [name for name, cell in known.items() if cell["outcome"] != "passed"]
    assert not missing, f"{len(missing)} cells were never run (make matrix): {missing[:5]}"
    assert not red, f"{len(red)} cells are red: {red[:5]}"


def test_the_subset_covers_all_pairs_with_fewer_cells() -> None:
    cells = {
        f"m{module}::{test}[{device}-{kernel}]": (("test", f"m{module}::{test}"), ("device", device), ("kernel", kernel))
        for module, test, device, kernel in product("12", "abcd", ["x", "y"], ["7.2", "6.12"])
    }
    chosen = pairwise(cells)
    wanted = {pair for cell in cells.values() for pair in covered(cell)}
    assert {pair for name in chosen for pair in covered(cells[name])} == wanted
    assert {(("module", "m2"), ("kernel", "6.12")), (("device", "y"), ("kernel", "6.12")), (("test", "m1::d"),)} <= wanted
    assert len(chosen) == len(cells) // 4
    assert chosen == pairwise(cells)
