"""Descriptions that contradict themselves, each of which must be refused in one line: what, where, in which line of the source.

A function makes one; the declaration at fault in it ends in ``# <-``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from regmodel.errors import DescriptionError


@dataclass(frozen=True)
class Case:
    """What ``describe`` makes must be refused as ``code`` at ``path``."""

    code: str
    path: str
    describe: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.code}:{self.describe.__name__}"

    def check(self) -> None:
        """It is, and the message points to the line that is marked."""
        file, (lines, first) = inspect.getsourcefile(self.describe), inspect.getsourcelines(self.describe)
        (at,) = (first + i for i, line in enumerate(lines) if line.rstrip().endswith("# <-"))
        with pytest.raises(DescriptionError) as caught:
            self.describe()
        error, where = caught.value, f"{file}:{at}"
        assert (error.code, error.path, error.where) == (self.code, self.path, where)
        message = str(error)
        assert "\n" not in message and message.startswith(f"{where}: {self.path}: ") and message.endswith(f"[{self.code}]")


def gathering(cases: list[Case]) -> Callable[[str, str], Callable[[Callable[[], object]], None]]:
    """A decorator for what makes them, with the code and the path that it must be refused with."""
    return lambda code, path: lambda function: cases.append(Case(code, path, function))
