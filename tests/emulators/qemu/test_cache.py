"""The cache: made once, complete or absent, one maker at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from emulators.qemu.cache import Cache, default_root, digest


def test_the_root_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "regmodel"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/to/be/ignored")  # as the XDG specification demands
    assert default_root() == Path.home() / ".cache/regmodel"


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(part: Path) -> None:
        made.append(part)
        part.write_text("content")

    cache = Cache(tmp_path)
    assert cache.entry("kind", "key", make) == cache.entry("kind", "key", make)
    assert len(made) == 1 and cache.path("kind", "key").read_text() == "content"


def test_a_failed_entry_leaves_nothing_behind(tmp_path: Path) -> None:
    def make(part: Path) -> None:
        part.mkdir()
        (part / "half").touch()
        raise RuntimeError("the mirror went away")

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError):
        cache.entry("kind", "key", make)
    assert not cache.path("kind", "key").exists() and not list((tmp_path / "parts").iterdir())


def test_what_a_killed_maker_left_is_not_taken_for_an_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left = tmp_path / "parts" / "kind-key"
    left.mkdir(parents=True)
    (left / "old").touch()
    entry = cache.entry("kind", "key", lambda part: part.mkdir())
    assert not list(entry.iterdir())


def _slow_entry(root: Path, log: Path) -> None:
    def make(part: Path) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        part.touch()

    assert Cache(root).entry("kind", "key", make).exists()


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    log = tmp_path / "makers"
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=_slow_entry, args=(tmp_path / "cache", log)) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(20)
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    assert len(log.read_text().split()) == 1


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, name in enumerate(("new", "middle", "old")):
        path = cache.entry("kind", name, lambda part: part.touch())
        os.utime(path, (1000 - age, 1000 - age))
    cache.prune("kind", 2)
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["middle", "new"]


def test_a_digest_tells_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")
