"""A browser for the live view."""

from tests.support.browser import browser

__all__ = ["browser"]
