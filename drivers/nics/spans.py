"""Stretches of a ring's columns.

In here: a cache of views, nothing else. Cutting a view out of a column takes numpy as long as filling it, and a burst needs
four; rings are walked in strides, so that the same few stretches come back in every round.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[Any]

KEPT = 1024
"""Stretches that are remembered: those of a ring of 4096 in bursts of 4."""


class Spans(dict[tuple[int, int], tuple[Column, ...]]):
    """``spans[at, n]`` are elements ``at`` to ``at + n - 1`` of each of ``columns``, as views."""

    def __init__(self, *columns: Column) -> None:
        super().__init__()
        self._columns = columns

    def __missing__(self, stretch: tuple[int, int]) -> tuple[Column, ...]:
        if len(self) >= KEPT:
            self.clear()
        at, n = stretch
        self[stretch] = views = tuple(column[at : at + n] for column in self._columns)
        return views

    def forget(self) -> None:
        """Let go of the memory behind the columns."""
        self._columns = tuple(np.zeros(0, column.dtype) for column in self._columns)
        self.clear()
