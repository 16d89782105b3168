"""What runs in a guest: programs of Debian trixie with the libraries that they link, picked out of unpacked packages.

May not enter: kernel modules and the agent. A kit is a tree of packages and what is taken from it; every guest has the base
kit. A new kit is one entry in ``KITS``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from emulators.qemu import debian, python, selftests
from emulators.qemu.cache import Cache
from emulators.qemu.errors import LabError


@dataclass(frozen=True)
class Kit:
    """Programs (with their libraries) and further files, by glob relative to the tree of the packages they come from.

    ``memory``: how much a guest with it should have, in MiB.
    """

    tree: debian.Tree
    take: tuple[str, ...]
    memory: int = 256


_GUEST = debian.Tree("guest", ("busybox-static", "bash", "dash", "iproute2", "ethtool", "pciutils", "iputils-ping", "kmod",
                               "iperf3", "tcpdump"))

KITS = {
    "base": Kit(
        _GUEST,
        ("usr/bin/busybox", "usr/bin/bash", "usr/bin/dash", "usr/bin/ip", "usr/sbin/ip", "usr/sbin/tc", "usr/sbin/bridge",
         "usr/sbin/ethtool", "usr/bin/lspci", "usr/bin/setpci", "usr/bin/ping", "usr/bin/kmod",
         "usr/share/misc/pci.ids",
         f"{debian.MULTIARCH}/libgcc_s.so.1",  # glibc loads it by name when a program cancels a thread
         *(f"usr/sbin/{name}" for name in ("depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod"))),
    ),
    "dpdk": Kit(
        debian.Tree("dpdk", ("dpdk-dev", "librte-net-avp25", "librte-net-e1000-25", "librte-net-virtio25",
                             "librte-net-vmxnet3-25", "librte-bus-pci25", "librte-mempool-ring25", "coreutils",
                             "util-linux")),
        ("usr/bin/dpdk-testpmd", "usr/bin/dpdk-proc-info", "usr/libexec/coreutils/libstdbuf.so", "usr/bin/chrt",
         *(f"{debian.MULTIARCH}/dpdk/pmds-25.0/librte_{name}.so*"
           for name in ("net_avp", "net_e1000", "net_virtio", "net_vmxnet3", "net_ring", "net_null", "bus_pci", "bus_vdev",
                        "mempool_ring"))),
        memory=512,
    ),
    "iperf3": Kit(_GUEST, ("usr/bin/iperf3",)),
    python.KIT: Kit(python.TREE, python.TAKE, memory=512),
    selftests.KIT: Kit(selftests.TREE, selftests.TAKE, memory=512),
    "tcpdump": Kit(_GUEST, ("usr/bin/tcpdump",)),
}


@dataclass(frozen=True)
class Entry:
    """One thing of a guest's file system: a file (``data``), a symbolic link (``target``), or a folder (neither)."""

    path: str  # without a leading slash
    mode: int = 0o755
    data: bytes | None = None
    target: str | None = None


def collect(cache: Cache, kits: tuple[str, ...]) -> dict[str, Entry]:
    """The files of some kits by guest path. Of a path that two kits have, the first one counts."""
    entries: dict[str, Entry] = {}
    for name in kits:
        if name not in KITS:
            raise LabError(f"no guest kit {name!r}: there are {', '.join(sorted(KITS))}")
        tree = KITS[name].tree.path(cache)
        for path in _closure(tree, KITS[name].take):
            entry = _entry(tree, path)
            entries.setdefault(entry.path, entry)
    applets = _applets(KITS["base"].tree.path(cache))
    for applet in applets:  # only where no real program of that name was taken
        if not any(f"usr/{folder}/{applet}" in entries for folder in ("bin", "sbin")):
            entries[f"usr/bin/{applet}"] = Entry(f"usr/bin/{applet}", target="busybox")
    entries["usr/bin/sh"] = Entry("usr/bin/sh", target="dash")
    return entries


def memory(kits: Sequence[str]) -> str:
    """How much a guest with some kits should have, as QEMU spells it."""
    return f"{max(KITS[name].memory for name in ('base', *kits) if name in KITS)}M"


def _closure(tree: Path, take: tuple[str, ...]) -> Iterator[Path]:
    """The files which the globs name, and the chain of links and the shared libraries behind each."""
    todo: list[Path] = []
    for pattern in take:
        matches = sorted(tree.glob(pattern))
        if not matches:
            raise LabError(f"no {pattern} in {tree}: the Debian package has changed")
        todo += matches
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in seen or (path.is_dir() and not path.is_symlink()):  # a folder comes with what is in it
            continue
        seen.add(path)
        yield path
        if path.is_symlink():
            todo.append(Path(os.path.normpath(path.parent / path.readlink())))
        else:
            todo += [tree / debian.MULTIARCH / name for name in _needed(path)]
            if ".so" not in path.name and "pci.ids" not in path.name:
                todo.append(tree / debian.LOADER)


def _needed(path: Path) -> list[str]:
    """The sonames that an ELF file links; nothing for any other file."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
        dynamic: Any = ELFFile(file).get_section_by_name(".dynamic")
        return [str(tag.needed) for tag in dynamic.iter_tags("DT_NEEDED")] if dynamic is not None else []


def _entry(tree: Path, path: Path) -> Entry:
    guest = str(PurePosixPath(path.relative_to(tree)))
    if path.is_symlink():
        return Entry(guest, 0o777, target=str(path.readlink()))
    if not path.is_file():
        raise LabError(f"{path} is missing: remove {tree}, so that it is fetched again")
    return Entry(guest, path.stat().st_mode & 0o777, path.read_bytes())


def _applets(tree: Path) -> list[str]:
    """What the static busybox can do, as it says itself."""
    listing = subprocess.run([str(tree / "usr/bin/busybox"), "--list"], capture_output=True, text=True, check=True)
    return listing.stdout.split()
