"""Fixtures for all tests, and the choice of guest cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.cells import AXES, pairwise
from tests.support.afterwards import AFTERWARDS
from tests.support.interleaving import at  # noqa: F401
from tests.support.thorough import THOROUGH

if TYPE_CHECKING:
    from emulators.qemu import Lab

# Everywhere what Hypothesis does where CI is set: an example takes as long as it takes, and each run tries the same ones, but
# other ones each time where it is asked to be thorough.
settings.register_profile(
    "regmodel", derandomize=THOROUGH == 1, database=None, print_blob=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("regmodel")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("regmodel").addoption(
        "--cells",
        choices=["pairwise", "all"],
        default="pairwise",
        help="guest cells to run: a pairwise-covering subset (default), or all of them",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for axis, values in AXES.items():
        if axis in metafunc.fixturenames and metafunc.definition.get_closest_marker("guest"):
            marker = metafunc.definition.get_closest_marker("only")
            allowed = [v for v in values if v in (marker.kwargs.get(axis, values) if marker else values)]
            metafunc.parametrize(axis, allowed)


def cell_of(item: pytest.Item) -> tuple[tuple[str, str], ...] | None:
    """The cell that a guest test stands for: its axes, and itself as one more. With ``any_kernel`` that is the same for all of
    them, so that one is chosen.
    """
    if item.get_closest_marker("guest") is None:
        return None
    callspec = getattr(item, "callspec", None)
    axes = [axis for axis in AXES if axis != "kernel" or item.get_closest_marker("any_kernel") is None]
    values = tuple((axis, str(callspec.params[axis])) for axis in axes if axis in callspec.params) if callspec else ()
    rest = "-".join(str(v) for k, v in callspec.params.items() if k not in AXES) if callspec else ""
    return (("test", f"{item.nodeid.partition('[')[0]}[{rest}]"), *values)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cells are chosen before ``-m`` takes some of them: which are run does not depend on how they are shared out.

    Files with guests come first: where several processes share the files, the last ones should be short.
    """
    guests = {item.path for item in items if item.get_closest_marker("guest")}
    items.sort(key=lambda item: item.path not in guests)
    if config.getoption("--cells") == "all" or any("::" in argument for argument in config.args):
        return
    cells = {item.nodeid: cell for item in items if (cell := cell_of(item)) is not None}
    chosen = pairwise(cells)
    left_out = [item for item in items if item.nodeid in cells and item.nodeid not in chosen]
    items[:] = [item for item in items if item.nodeid not in cells or item.nodeid in chosen]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def close_afterwards() -> Iterator[None]:
    """What was opened in passing is closed."""
    yield
    AFTERWARDS.close()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Where guests come from. Prepared by ``make setup``."""
    from emulators.qemu import Lab

    yield Lab()
