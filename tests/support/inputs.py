"""Things that tests read and that are not in the repository: packages of Debian, trees in the cache."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str, remedy: str) -> NoReturn:
    """Give up on a test whose input is absent: a failure where CI is set, a skip with its reason elsewhere."""
    text = f"{what} is missing: {remedy}"
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(text)
    pytest.fail(text, pytrace=False)
