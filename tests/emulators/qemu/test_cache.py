"""The cache: made once, complete or absent, one maker at a time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emulators.qemu.cache import SPARED, Cache, default_root, digest
from tests.support.interleaving import At, aged


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


def touched(cache: Cache, *names: str) -> list[Path]:
    """Entries of a kind, which are empty files; the first one was used last, all of them hours ago."""
    return [aged(cache.entry("kind", name, Path.touch), 2 + age) for age, name in enumerate(names)]


def left(cache: Cache) -> list[str]:
    return sorted(path.name for path in (cache.root / "kind").iterdir())


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    touched(cache, "new", "middle", "old")
    cache.prune("kind", 2)
    assert left(cache) == ["middle", "new"]
    cache.prune("none of this kind", 2)


def test_prune_spares_what_may_still_be_opened(tmp_path: Path) -> None:
    """Who was given an entry opens it a while later: a guest is described first, and started then."""
    cache = Cache(tmp_path)
    paths = touched(cache, "new", "middle", "old")
    aged(paths[1], (SPARED - 60) / 3600)
    cache.prune("kind", 0)
    assert left(cache) == ["middle"]
    cache.prune("kind", 0, spared=0)
    assert left(cache) == []


def test_to_be_asked_for_is_to_be_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    touched(cache, "new", "middle", "old")
    assert cache.entry("kind", "old", _never) == cache.path("kind", "old")
    cache.prune("kind", 1)
    assert left(cache) == ["old"]


def test_what_is_new_is_young_whatever_its_maker_says(tmp_path: Path) -> None:
    """As a folder unpacked by tar(1) has the date of the archive."""
    cache = Cache(tmp_path)

    def make(part: Path) -> None:
        part.mkdir()
        aged(part, 10000)

    cache.entry("kind", "key", make)
    cache.prune("kind", 0)
    assert left(cache) == ["key"]


def test_a_link_that_leads_nowhere_is_made_again(tmp_path: Path) -> None:
    cache, target = Cache(tmp_path), tmp_path / "image"
    target.touch()
    path = cache.entry("kind", "key", lambda part: part.symlink_to(target))
    target.unlink()
    assert cache.entry("kind", "key", having("anew")) == path and path.read_text() == "anew"


def _never(part: Path) -> None:
    raise AssertionError("it is there")


def having(text: str) -> Callable[[Path], None]:
    """What makes an entry with that in it."""

    def make(part: Path) -> None:
        part.write_text(text)

    return make


# -- two at once


def test_what_is_about_to_be_used_is_not_removed(tmp_path: Path, at: At) -> None:
    """Found, and not marked as used yet, when another process looks for old ones."""
    cache = Cache(tmp_path)
    cache.entry("kind", "key", having("content"))
    aged(cache.path("kind", "key"), 2)
    at(os, "utime", lambda: Cache(tmp_path).prune("kind", 0))
    assert cache.entry("kind", "key", _never).read_text() == "content"


def test_what_is_about_to_be_removed_is_made_again(tmp_path: Path, at: At) -> None:
    """Another process asks for it when it is found to be old, and is given a whole one."""
    cache, asked = Cache(tmp_path), list[Path]()
    aged(cache.entry("kind", "key", having("content")), 2)
    ended = at(Path, "rename", lambda: asked.append(Cache(tmp_path).entry("kind", "key", having("anew"))))
    cache.prune("kind", 0)
    ended()
    assert asked[0].read_text() == "anew"


def test_what_another_process_has_removed_is_no_error(tmp_path: Path, at: At) -> None:
    """An older version of this package, or a user, who ask nobody."""
    cache = Cache(tmp_path)
    one, *_ = touched(cache, "one", "two")
    at(Path, "lstat", one.unlink)
    cache.prune("kind", 0)
    assert left(cache) == []


def test_two_may_remove_at_once(tmp_path: Path, at: At) -> None:
    cache = Cache(tmp_path)
    touched(cache, "one", "two", "three")
    at(Path, "lstat", lambda: Cache(tmp_path).prune("kind", 1))
    cache.prune("kind", 1)
    assert left(cache) == ["one"]


def test_who_dies_while_removing_leaves_no_half_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)

    def make(part: Path) -> None:
        part.mkdir()
        (part / "file").touch()

    aged(cache.entry("kind", "key", make), 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", _interrupted)
        cache.prune("kind", 0)
    assert [path.name for path in cache.entry("kind", "key", make).iterdir()] == ["file"]
    cache.prune("kind", 9)
    assert not list((tmp_path / "gone").rglob("*/*")), "the next one finishes it"


def _interrupted(path: Path, **_: object) -> None:
    """Half-way through it."""
    next(path.rglob("file")).unlink()
    raise KeyboardInterrupt


def test_a_maker_finishes_while_all_of_its_kind_is_removed(tmp_path: Path, at: At) -> None:
    """As ``setup --refresh`` does it."""
    cache = Cache(tmp_path)
    touched(cache, "other")
    at(Path, "rename", lambda: Cache(tmp_path).prune("kind", 0, spared=0))
    assert cache.entry("kind", "key", Path.touch).exists() and left(cache) == ["key"]


def test_a_digest_tells_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")
