"""Benches for the tests of a card of the igb family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulators.nics.igb.vf_driver import Bench, VfDriver


@pytest.fixture
def benches() -> Iterator[Callable[..., Bench]]:
    """Makes benches: ``benches("I350", vfs=2)``."""
    made: list[Bench] = []

    def make(silicon: str = "82576", **options: Any) -> Bench:
        made.append(Bench(silicon, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    """An 82576 of one port with seven VFs, as stock."""
    return benches()


@pytest.fixture
def vf(bench: Bench) -> VfDriver:
    """VF 0, its driver clear to send."""
    return bench.ready()
