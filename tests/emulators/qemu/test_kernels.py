"""Kernel images: what is read from them, and the kernel inside."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import subprocess
from pathlib import Path

import pytest

from emulators.qemu import kernels
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError
from tests.support.interleaving import At, aged

ELF = b"\x7fELF" + bytes(60) + kernels._PVH_NOTE + b"Linux version 6.18.0-mine (me@here) #1\0" + bytes(100)


def _zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


def _bzimage(payload: bytes, setup_sectors: int = 3) -> bytes:
    """The header fields of a bzImage that matter here (Linux Documentation/arch/x86/boot.rst), and a payload."""
    image = bytearray((setup_sectors + 1) * 512)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x300)
    version = b"6.18.0-mine (me@here) #1 SMP\0"
    image[0x500:0x500 + len(version)] = version
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image) + bytes(64) + payload + bytes(32)


@pytest.mark.parametrize("payload", [
    _zstd(ELF) + len(ELF).to_bytes(4, "little"), lzma.compress(ELF, check=lzma.CHECK_CRC32) + len(ELF).to_bytes(4, "little"),
    gzip.compress(ELF),
], ids=["zstd", "xz", "gzip"])
def test_the_kernel_inside_is_what_gets_started(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(_bzimage(payload))
    found = kernels.get(Cache(tmp_path / "cache"), path)
    assert found.release == "6.18.0-mine" and found.modules is None
    assert found.image.read_bytes() == ELF


@pytest.mark.parametrize("payload", [
    b"\x02!L\x18" + bytes(40), gzip.compress(b"\x7fELF" + bytes(100)),
], ids=["lz4", "no PVH note"])
def test_a_kernel_that_cannot_be_entered_directly_is_started_as_it_is(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(_bzimage(payload))
    assert kernels.get(Cache(tmp_path / "cache"), path).image.resolve() == path


def test_a_vmlinux_is_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(ELF)
    assert kernels.get(Cache(tmp_path / "cache"), path).release == "6.18.0-mine"


def test_a_rebuilt_kernel_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    cache = Cache(tmp_path / "cache")
    path.write_bytes(ELF)
    kernels.get(cache, path)
    path.write_bytes(ELF + b"rebuilt")
    assert kernels.get(cache, path).image.read_bytes().endswith(b"rebuilt")


def test_a_kernel_that_another_process_wants_to_remove_is_there(tmp_path: Path, at: At) -> None:
    path, cache = tmp_path / "vmlinux", Cache(tmp_path / "cache")
    path.write_bytes(ELF)
    aged(kernels.get(cache, path).image, hours=9)
    at(os, "utime", lambda: Cache(cache.root).prune("kernels", 0))
    assert kernels.get(cache, path).image.read_bytes() == ELF


@pytest.mark.parametrize("where", ["", "6.18.0-mine", "lib/modules/6.18.0-mine"])
def test_modules_are_found_where_people_put_them(tmp_path: Path, where: str) -> None:
    (tmp_path / where / "kernel").mkdir(parents=True)
    assert kernels.modules_folder(tmp_path, "6.18.0-mine") == tmp_path / where


def test_errors_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no kernel mine: give 7\.2, 6\.12, another Debian series, or the path of a bzImage"):
        kernels.get(Cache(tmp_path), "mine")
    with pytest.raises(LabError, match="no modules of 6"):
        kernels.modules_folder(tmp_path, "6.18.0")
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(4096))
    with pytest.raises(LabError, match="neither a bzImage nor an x86 vmlinux"):
        kernels.get(Cache(tmp_path), junk)
