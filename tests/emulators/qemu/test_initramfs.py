"""What goes into a guest's archive, and when it is made anew. That it boots is shown by every guest test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from emulators.qemu import debian, initramfs, modules, userspace
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError
from emulators.qemu.kernels import Kernel
from emulators.qemu.userspace import Entry
from tests.support.interleaving import At, aged


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel("6.18.0-mine", tmp_path / "vmlinux", tmp_path / "modules")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The wanted modules of every archive that is really made; what Debian provides is left out of this test."""
    made: list[tuple[str, ...]] = []

    def closure(folder: object, wanted: tuple[str, ...], own: tuple[Path, ...]) -> dict[str, bytes]:
        made.append(tuple(wanted))
        return dict.fromkeys(wanted, b"stock") | {modules.canonical(path.name): path.read_bytes() for path in own}

    monkeypatch.setattr(modules, "closure", closure)
    monkeypatch.setattr(userspace, "collect", lambda cache, kits: {"usr/bin/tool": Entry("usr/bin/tool", data=b"tool")})
    monkeypatch.setattr(initramfs, "_module_files", lambda cache, release, loadable: {
        f"lib/{name}.ko": Entry(f"lib/{name}.ko", data=data) for name, data in loadable.items()})
    return made


def test_the_same_content_is_made_once(tmp_path: Path, kernel: Kernel, built: list[tuple[str, ...]]) -> None:
    cache = Cache(tmp_path / "cache")
    first = initramfs.build(cache, kernel, ("igbvf", "pktgen"))
    assert initramfs.build(cache, kernel, ("pktgen", "igbvf")) == first and len(built) == 1
    assert initramfs.build(cache, kernel, ("igbvf",)) != first and len(built) == 2
    archive = first.read_bytes()
    for part in (b"#!/usr/bin/busybox sh", b"lab.agent", b"usr/bin/tool", b"lib/igbvf.ko"):
        assert part in archive


def test_a_rebuilt_module_gets_into_the_guest(tmp_path: Path, kernel: Kernel, built: list[tuple[str, ...]]) -> None:
    cache, own = Cache(tmp_path / "cache"), tmp_path / "igbvf.ko"
    own.write_bytes(b"first build")
    first = initramfs.build(cache, kernel, own=(own,))
    own.write_bytes(b"second build")
    second = initramfs.build(cache, kernel, own=(own,))
    assert b"first build" in first.read_bytes() and b"second build" in second.read_bytes()


def test_old_archives_go(
    tmp_path: Path, kernel: Kernel, built: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initramfs, "KEEP", 3)
    cache = Cache(tmp_path / "cache")
    for number in range(5):
        aged(initramfs.build(cache, kernel, (f"m{number}",)), hours=9 - number)
    initramfs.build(cache, kernel, ("m4",))
    assert len(list((cache.root / "initramfs").iterdir())) == 3 and len(built) == 5


def test_an_archive_that_another_process_wants_to_remove_is_whole(
    tmp_path: Path, kernel: Kernel, built: list[tuple[str, ...]], at: At
) -> None:
    cache = Cache(tmp_path / "cache")
    whole = aged(initramfs.build(cache, kernel), hours=9).read_bytes()
    at(os, "utime", lambda: Cache(cache.root).prune("initramfs", 0))
    assert initramfs.build(cache, kernel).read_bytes() == whole != b""


def test_a_program_comes_with_its_links_and_libraries(tmp_path: Path) -> None:
    """On a small tree: a script, a chain of links, and an ELF program of this machine with the libraries it names."""
    program = Path(shutil.which("true") or "/bin/true").resolve()
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / debian.MULTIARCH).mkdir(parents=True)
    shutil.copy(program, tmp_path / "usr/bin/true")
    (tmp_path / "usr/bin/verus").symlink_to("true")
    for name in (*userspace._needed(program), Path(debian.LOADER).name):
        (tmp_path / debian.MULTIARCH / name).write_bytes(b"a library")
    taken = {str(path.relative_to(tmp_path)) for path in userspace._closure(tmp_path, ("usr/bin/verus",))}
    assert taken == {"usr/bin/verus", "usr/bin/true", f"{debian.MULTIARCH}/libc.so.6", debian.LOADER}


def test_what_is_not_there_is_said(tmp_path: Path, kernel: Kernel) -> None:
    with pytest.raises(LabError, match="the Debian package has changed"):
        list(userspace._closure(tmp_path, ("usr/bin/gone",)))
    with pytest.raises(LabError, match=r"no module .*none\.ko: give the path"):
        initramfs.build(Cache(tmp_path), kernel, own=(tmp_path / "none.ko",))
