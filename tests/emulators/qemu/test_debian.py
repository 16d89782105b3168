"""Where packages come from. That they are fetched and unpacked is shown by every guest test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emulators.qemu import debian, kernels
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError
from tests.support.interleaving import At, aged

DEB822 = """\
Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
"""


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("sources.list.d/debian.sources", DEB822, "http://mirror.example/debian"),
    ("sources.list", "deb [arch=amd64 signed-by=/k] https://near.example/debian bookworm main\n", "https://near.example/debian"),
    ("sources.list", "# deb http://commented.example/debian bookworm main\n", debian.FALLBACK_MIRROR),
    ("sources.list", "deb http://deb.debian.org/debian-security bookworm-security main\n", debian.FALLBACK_MIRROR),
    ("sources.list.d/other.list", "deb https://packages.example/apt stable main\n", debian.FALLBACK_MIRROR),
    ("sources.list", "deb cdrom:[Debian]/debian bookworm main\n", debian.FALLBACK_MIRROR),
])
def test_the_mirror_is_the_one_of_this_machines_apt(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert debian.mirror(tmp_path) == expected


def test_without_apt_sources_there_is_still_a_mirror(tmp_path: Path) -> None:
    assert debian.mirror(tmp_path) == debian.FALLBACK_MIRROR


def test_a_tree_has_another_key_when_its_packages_or_release_change() -> None:
    keys = {debian.Tree("t", packages, release).key for packages in (("a",), ("a", "b")) for release in ("trixie", "sid")}
    assert len(keys) == 4


def test_a_missing_tool_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"^mmdebstrap is not installed: apt-get install mmdebstrap$"):
        debian.Tree("t", ("a",)).path(Cache(tmp_path))


def test_missing_archive_keys_are_an_error_not_a_reason_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text("#!/bin/sh\ntouch " + str(tmp_path / "ran") + "\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(LabError, match="debian-archive-keyring"):
        debian.Tree("t", ("a",)).path(Cache(tmp_path / "cache"))
    assert not (tmp_path / "ran").exists()


def test_every_source_is_signed_and_a_failure_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text(f"#!/bin/sh\ncat > {tmp_path}/sources; echo \"$@\" > {tmp_path}/arguments\n"
                    "echo 'I: running apt-get update' >&2; echo 'E: Unable to locate package nonesuch' >&2; exit 25\n")
    tool.chmod(0o755)
    key = tmp_path / "key.gpg"
    key.touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(debian, "KEYRING", key)
    with pytest.raises(LabError, match="fetching t failed: E: Unable to locate package nonesuch"):
        debian.Tree("t", ("nonesuch",)).path(Cache(tmp_path / "cache"))
    lines = (tmp_path / "sources").read_text().splitlines()
    assert len(lines) == 2 and all(f"[signed-by={key}]" in line for line in lines)
    assert "trusted" not in (tmp_path / "sources").read_text() + (tmp_path / "arguments").read_text()
    assert "--variant=extract" in (tmp_path / "arguments").read_text()


def archive(folder: Path, names: list[str]) -> str:
    """Apt's line for an archive of packages that have only names."""
    text = "".join(f"Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: {name}.deb\nSize: 1\n\n" for name in names)
    (folder / "Packages").write_text(text)
    return f"deb [trusted=yes] file:{folder} ./\n"


def test_of_a_series_the_newest_package_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel's metapackage goes on to the next series; what is asked for by name does not."""
    versions = "7.2.9+deb13", "7.2.12+deb13", "7.2.13+deb13-cloud", "7.20.1+deb13", "7.3.4+deb13"
    images = [f"linux-image-{version}-amd64" for version in versions]
    monkeypatch.setattr(debian, "_source", lambda suite: archive(tmp_path, images))
    (pattern,) = kernels.RELEASES["7.2"].packages
    assert debian.newest(pattern, "any", tmp_path / "apt") == "linux-image-7.2.12+deb13-amd64"
    with pytest.raises(LabError, match=r"Debian trixie-backports has no package linux-image-7\.4"):
        kernels.get(Cache(tmp_path / "cache"), "7.4")
    (tmp_path / "Packages").unlink()
    monkeypatch.setattr(debian, "_source", lambda suite: f"deb [trusted=yes] file:{tmp_path} ./\n")
    with pytest.raises(LabError, match="reading what Debian any has failed: E: "):
        debian.newest(pattern, "any", tmp_path / "apt")
    assert not (tmp_path / "apt").exists()


def test_two_versions_of_a_tree_are_fetched_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes, one of which has other packages under the same name: each into files of its own."""
    fetched: list[str] = []

    def fetch(command: list[str], sources: bytes, log: object) -> int:
        fetched.append(command[-2])
        Path(command[-2]).write_bytes(bytes(10240))  # an empty archive of tar(1)
        if len(fetched) == 1:
            debian.Tree("linux-7.2", ("b",)).path(Cache(tmp_path))
        return 0

    monkeypatch.setattr(debian, "_run_apart", fetch)
    monkeypatch.setattr(debian, "need", lambda program, remedy: program)
    monkeypatch.setattr(debian, "KEYRING", tmp_path)
    assert (debian.Tree("linux-7.2", ("a",)).path(Cache(tmp_path)) / "lib").is_symlink()
    assert len(set(fetched)) == 2 and not list((tmp_path / "parts").iterdir())


def test_a_tree_that_somebody_uses_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: At) -> None:
    """QEMU of the cache opens files of its tree as long as its guest runs. One that is about to be used stays as well."""
    monkeypatch.setattr(debian, "KEEP", 0)
    monkeypatch.setattr(debian.Tree, "_unpack", lambda self, part: part.mkdir())
    cache = Cache(tmp_path)
    used, old = (aged(debian.Tree(name, ()).path(cache), hours) for name, hours in (("used", 23), ("old", 25)))
    debian.Tree("another", ()).path(cache)
    assert used.is_dir() and not old.exists()
    aged(used, 25)
    at(os, "utime", lambda: Cache(tmp_path).prune("trees", 0))
    assert debian.Tree("used", ()).path(cache) == used and used.is_dir()
