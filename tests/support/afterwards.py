"""What a test opens in passing and has no name for, closed when the test is over (``tests/conftest.py``).

Descriptors are few (1024 by default) and the whole suite runs in one process; garbage that still holds some is given back at
a moment that nobody chose, such as the middle of a test that counts them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol, TypeVar

AFTERWARDS = ExitStack()


class Closes(Protocol):
    def close(self) -> object: ...


T = TypeVar("T", bound=Closes)


def closed_afterwards(thing: T) -> T:
    """``thing``, whose ``close`` is called after the test, in the reverse order of such calls."""
    AFTERWARDS.callback(thing.close)
    return thing
