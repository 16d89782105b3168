"""Fixtures of the fabric's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.loop import Loop


@pytest.fixture
def loop(caplog: pytest.LogCaptureFixture) -> Iterator[Loop]:
    """A running loop. It logs what its callbacks raise and goes on; here that is a failure."""
    loop = Loop()
    yield loop
    loop.close()
    assert [record.getMessage() for record in caplog.records if record.name == "regmodel.loop"] == []
