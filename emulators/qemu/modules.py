"""Kernel modules: which files a guest needs so that the modules asked for can be loaded, and in which order.

May not enter: how they get into a guest (``initramfs``) and who loads them there (``vm``). Dependencies are read from each
module's own ``.modinfo``, as depmod does: Debian's packages carry no ``modules.dep``.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from emulators.qemu.errors import LabError

# What a module asks the kernel to load when it runs (request_module), which no ``depends`` tells.
REQUESTED_LATER = {
    "vfio": ("vfio_iommu_type1",),  # drivers/vfio/container.c: vfio_container_init
    "9p": ("9pnet_virtio",),  # net/9p/mod.c: v9fs_get_trans_by_name, alias "9p-virtio"
}

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


def canonical(name: str) -> str:
    """A module's name as the kernel spells it: ``vfio-pci`` is ``vfio_pci``; a path counts by its file name."""
    name = Path(name).name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("-", "_")


@lru_cache(maxsize=8)
def index(folder: Path) -> dict[str, Path]:
    """Every module file below a ``lib/modules/RELEASE`` folder, by canonical name."""
    found: dict[str, Path] = {}
    for parent, _, names in os.walk(folder):
        found.update((canonical(name), Path(parent, name)) for name in names if name.endswith(_SUFFIXES))
    return found


@lru_cache(maxsize=8)
def builtin(folder: Path) -> frozenset[str]:
    """What is linked into the kernel, by canonical name: asking for it is not an error."""
    listing = folder / "modules.builtin"
    return frozenset(map(canonical, listing.read_text().split())) if listing.exists() else frozenset()


def read(path: Path) -> bytes:
    """A module file, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dqc"], input=data, capture_output=True, check=True).stdout
    return data


def needs(module: bytes) -> list[str]:
    """The canonical names of the modules which have to be there before this one: ``depends`` and ``softdep: pre``."""
    from elftools.elf.elffile import ELFFile

    section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    names: list[str] = []
    for entry in (section.data() if section is not None else b"").split(b"\0"):
        key, _, value = entry.decode(errors="replace").partition("=")
        if key == "depends":
            names += [name for name in value.split(",") if name]
        elif key == "softdep" and "pre:" in value:
            names += value.partition("pre:")[2].partition("post:")[0].split()
    return [canonical(name) for name in names]


def closure(folder: Path | None, wanted: Iterable[str], own: Iterable[Path] = ()) -> dict[str, bytes]:
    """The modules asked for and all that they need, unpacked, by canonical name, in an order in which they load.

    ``own`` are module files which take the place of the kernel's module of the same name (and are wanted).
    """
    files = dict(index(folder)) if folder is not None else {}
    linked_in = builtin(folder) if folder is not None else frozenset()
    own = list(own)
    files.update((canonical(path.name), path) for path in own)
    loaded: dict[str, bytes] = {}
    visiting: set[str] = set()

    def visit(name: str, needed_by: str) -> None:
        if name in loaded or name in visiting:
            return
        if name not in files:
            if name in linked_in:
                return
            hint = "" if folder is not None else ": no --modules folder was given"
            raise LabError(f"the kernel has no module {name}{needed_by}{hint}")
        visiting.add(name)
        data = read(files[name])
        for other in needs(data):
            if other in files or other not in linked_in:
                visit(other, f", which {name} needs")
        loaded[name] = data
        for other in REQUESTED_LATER.get(name, ()):
            if other in files:
                visit(other, "")

    for name in [*map(canonical, wanted), *(canonical(path.name) for path in own)]:
        visit(name, "")
    return loaded
