"""The bench of the guest tests: whatever fails, what the servers know is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import pytest

from emulators.qemu import Lab
from emulators.qemu.cache import Cache
from tests.guest import conftest
from tests.guest.conftest import Bench


class Counters(AssertionError):
    """With what a test failed."""


@contextmanager
def fails_with_its_test(lab: Lab) -> Iterator[None]:
    """What stands for a guest."""
    try:
        yield
    except Counters as error:
        lab.keeper.keep(str(error), lambda folder: None, "guest")
        raise


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Cache(tmp_path / "cache"), failures=tmp_path / "failures")


def test_servers_outlive_guests(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that came after the guest, as one that takes over, is still there when the guest tells how it was."""
    monkeypatch.setattr(Bench, "machine", lambda self: fails_with_its_test(lab))
    with pytest.raises(Counters), Bench(lab, "avp", "7.2") as bench:
        former = bench.serve()
        bench.guest()
        bench.serve(arguments=["--take-over", str(former.control_path)])
        raise Counters("the counters do not add up")
    folder = lab.keeper.folder
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {"guest", "server0", "server1"}
    assert {path.name for path in (folder / "server1").iterdir()} == {"server.log", "stats.json", "trace-nic0.txt"}


def fails() -> None:
    raise Counters("the counters do not add up")


def is_skipped() -> None:
    pytest.skip("gcc is missing")


@pytest.mark.parametrize(
    ("when", "does", "counts"),
    [("setup", fails, True), ("call", fails, True), ("teardown", fails, False),
     ("setup", is_skipped, False), ("call", is_skipped, False), ("call", int, False)],
)  # fmt: skip
def test_what_a_guest_is_told_of(when: Literal["setup", "call", "teardown"], does: Callable[[], object], counts: bool) -> None:
    """That its test failed, or what was prepared for it; not that somebody had no wish to run it."""
    item = Mock(stash=pytest.Stash())
    conftest.pytest_runtest_makereport(item, pytest.CallInfo.from_call(does, when))
    assert (conftest.FAILURE in item.stash) is counts
