"""Fixtures for all tests of this room."""

from tests.support.descriptors import leaves_no_descriptor, pytest_runtest_teardown  # noqa: F401
