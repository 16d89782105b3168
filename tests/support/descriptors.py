"""A module of tests leaves no descriptor behind: imported by the ``conftest.py`` of rooms where descriptors are opened.

What garbage still holds is collected first: that it is given back late is Python's business, that it is never given back is
a leak of the product or of its test.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 5.0
"""Seconds that threads of servers and processes may take to notice that nobody is there any more."""


def open_files() -> Counter[str]:
    """What the descriptors of this process are, by the names that the kernel gives them."""
    found: Counter[str] = Counter()
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            found[str(entry.readlink())] += 1
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What the last test was given is not kept alive by pytest while its module is looked at."""
    if isinstance(item, pytest.Function):
        item.funcargs.clear()


@pytest.fixture(scope="module", autouse=True)
def leaves_no_descriptor(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a module that has left descriptors open, and names them. Modules that boot guests are not looked at."""
    before = open_files()
    yield
    if any(item.get_closest_marker("guest") for item in request.session.items if item.path == request.path):
        return
    deadline = time.monotonic() + PATIENCE
    while left := open_files() - before:
        gc.collect()
        left = open_files() - before
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert not left, f"descriptors that tests of this module opened and nobody closed: {dict(left)}"
