"""Guest kernels: Debian's, by version, or a developer's own; and what QEMU is given to start one quickly.

May not enter: which modules a guest loads (``modules``), how a machine is composed (``machine``).

A bzImage spends about a second of TCG time on unpacking itself. QEMU enters an uncompressed kernel with a PVH note directly
(QEMU ``hw/i386/x86-common.c``: ``load_elfboot``; Linux ``arch/x86/platform/pvh/head.S``), so the kernel inside the bzImage
is unpacked once, by the host, into the cache. A kernel that cannot be entered so is started as the bzImage that it is.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulators.qemu import debian
from emulators.qemu.cache import Cache, digest
from emulators.qemu.errors import LabError

DEFAULT = "7.2"
_NOT_READ = ("./etc", "./usr/bin", "./usr/sbin", "./usr/share", "./usr/libexec", f"./{debian.MULTIARCH}", "./usr/lib/systemd")
_STABLE = "6.12"  # trixie's own; all other series are in its backports


def series(version: str) -> debian.Tree:
    """Debian's newest kernel of a series ("7.3"). By its name, as the metapackage in backports goes on to the next series."""
    suite = debian.SUITE if version == _STABLE else debian.BACKPORTS
    return debian.Tree(f"linux-{version}", (f"linux-image-{version}.*+deb13-amd64",), suite, _NOT_READ)


RELEASES = {version: series(version) for version in (DEFAULT, _STABLE)}
"""Those that devices are proven with."""

KEEP = 8  # so many unpacked kernels stay in the cache: each rebuild of a developer's kernel makes another one

_SETUP_SECTS, _PAYLOAD, _VERSION = 0x1F1, 0x248, 0x20E  # Linux Documentation/arch/x86/boot.rst, the real-mode kernel header
_PVH_NOTE = struct.pack("<III4s", 4, 4, 18, b"Xen\0")  # XEN_ELFNOTE_PHYS32_ENTRY, 32-bit; Xen public/elfnote.h
_PVH_NOTE_64 = struct.pack("<III4s", 4, 8, 18, b"Xen\0")


@dataclass(frozen=True)
class Kernel:
    """A kernel to start: ``image`` for QEMU's ``-kernel``, ``modules`` the folder whose ``kernel/`` has its modules."""

    release: str  # as uname -r says it
    image: Path
    modules: Path | None

    def __str__(self) -> str:
        return f"Linux {self.release}"


def get(cache: Cache, which: str | Path = DEFAULT, modules: Path | None = None) -> Kernel:
    """A kernel by Debian's series ("7.2", "6.12", or another one) or by path (a bzImage or an ELF vmlinux, with ``modules``).

    ``modules`` is a ``lib/modules/RELEASE`` folder, or one that contains it, as ``make modules_install`` leaves it.
    """
    if re.fullmatch(r"\d+\.\d+", str(which)):
        tree = series(str(which)).path(cache)
        found = next(iter(sorted((tree / "usr/lib/modules").glob("*"))), None)
        if found is None:
            raise LabError(f"no kernel in {tree}: remove that folder, so that it is fetched again")
        boot = found / "vmlinuz"  # since 7.x; earlier packages put it in /boot
        bzimage = boot if boot.exists() else tree / "boot" / f"vmlinuz-{found.name}"
        return Kernel(found.name, quick_image(cache, bzimage), modules or found)
    path = Path(which)
    if not path.is_file():
        raise LabError(f"no kernel {which}: give {', '.join(RELEASES)}, another Debian series, or the path of a bzImage")
    release = release_of(path)
    return Kernel(release, quick_image(cache, path), modules_folder(modules, release) if modules else None)


def modules_folder(folder: Path, release: str) -> Path:
    """The folder with ``kernel/`` in it, out of what a developer names."""
    for candidate in (folder, folder / release, folder / "lib/modules" / release):
        if (candidate / "kernel").is_dir():
            return candidate
    raise LabError(f"no modules of {release} in {folder}: it should have a folder kernel/, as make modules_install makes it")


def release_of(image: Path) -> str:
    """``uname -r`` of a kernel image, read from the image."""
    data = image.read_bytes()
    if data[0x202:0x206] == b"HdrS":
        start = struct.unpack_from("<H", data, _VERSION)[0] + 0x200
        return data[start:data.index(b"\0", start)].split(b" ")[0].decode()
    start = data.find(b"Linux version ")
    if start < 0 or data[:4] != b"\x7fELF":
        raise LabError(f"{image} is neither a bzImage nor an x86 vmlinux")
    return data[start:start + 200].split(b" ")[2].decode()


def quick_image(cache: Cache, image: Path) -> Path:
    """The image to start: the uncompressed kernel where QEMU can enter it, else ``image`` itself."""
    status = image.stat()
    key = digest("image 1", str(image.resolve()), f"{status.st_size} {status.st_mtime_ns}")

    def make(part: Path) -> None:
        data = image.read_bytes()
        kernel = data if data[:4] == b"\x7fELF" else unpack(data)
        if kernel is not None and (_PVH_NOTE in kernel or _PVH_NOTE_64 in kernel):
            part.write_bytes(kernel)
        else:
            part.symlink_to(image.resolve())

    path = cache.entry("kernels", key, make)
    cache.prune("kernels", KEEP)
    return path


def unpack(bzimage: bytes) -> bytes | None:
    """The ELF kernel inside a bzImage, or None where its compression is not understood here."""
    if bzimage[0x202:0x206] != b"HdrS":
        return None
    offset, length = struct.unpack_from("<II", bzimage, _PAYLOAD)
    start = ((bzimage[_SETUP_SECTS] or 4) + 1) * 512 + offset
    payload = bzimage[start:start + length]
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        kernel = _unzstd(payload[:-4])  # the last 4 bytes are the unpacked size
    elif payload[:6] == b"\xfd7zXZ\0":
        kernel = lzma.decompress(payload[:-4])
    elif payload[:2] == b"\x1f\x8b":
        kernel = gzip.decompress(payload)
    else:
        return None
    return kernel if kernel is not None and kernel[:4] == b"\x7fELF" else None


def _unzstd(payload: bytes) -> bytes | None:
    if shutil.which("zstd") is None:
        return None
    return subprocess.run(["zstd", "-dqc"], input=payload, capture_output=True, check=True).stdout


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
