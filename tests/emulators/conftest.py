"""Fixtures for all tests of this room."""

import pytest

from emulators import loop
from tests.support.descriptors import leaves_no_descriptor, pytest_runtest_teardown  # noqa: F401


@pytest.fixture(autouse=True)
def defects_are_reported_anew() -> None:
    """A defect of a model is told once per process: here, once per test."""
    loop._reported.clear()
