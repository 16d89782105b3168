"""Descriptors against the structures of the stock kernel modules: what the driver was compiled with is the expectation.

It is generated from the BTF inside of Debian's ``igbvf.ko`` and its like, for every kernel that the lab has.
"""

from __future__ import annotations

from functools import cache

import pytest
from construct import Int8ul, Int16ul, Int32ul, Int64ul, Struct

from emulators.qemu import kernels
from emulators.qemu.cache import Cache
from regmodel.catalogue import Descriptor
from regmodel.layout import layout
from regmodel.rings import igb
from regmodel.sources import Document
from tests.regmodel.described import descriptions
from tests.support import btf
from tests.support.inputs import missing


def described() -> dict[str, Descriptor]:
    """Every descriptor that names a kernel type, once."""
    return {
        f.name: f
        for description in descriptions().values()
        for ring in description.rings
        for f in (*ring.formats, *ring.device_writes)
        if f.btf is not None
    }


@cache
def vmlinux(release: str) -> tuple[btf.Btf, kernels.Kernel]:
    cache_ = Cache()
    tree = kernels.RELEASES[release]
    if not cache_.path("trees", tree.key).exists():
        missing(f"Debian's kernel {release}", "make setup")
    kernel = kernels.get(cache_, release)
    return btf.read(kernel.image), kernel


@cache
def module(release: str, name: str) -> btf.Btf:
    base, kernel = vmlinux(release)
    assert kernel.modules is not None
    (path,) = kernel.modules.rglob(f"{name}.ko*")
    return btf.read(path, base)


def disagreements(descriptor: Descriptor, release: str) -> list[str]:
    """Where the description is not what the kernel type says."""
    assert descriptor.btf is not None
    name, _, paths = descriptor.btf.partition(":")
    types = module(release, name)
    path = next((path for path in paths.split("|") if types.has(path)), None)
    if path is None:
        return [f"{name} {release} has no {paths}"]
    size, members = types.inside(path)
    ours, wrong = layout(descriptor.schema), []
    if ours.size != size:
        wrong.append(f"{ours.size} bytes here, {size} in {path}")
    covered: set[int] = set()
    for leaf in ours.leaves:
        where, last = (8 * leaf.offset, 8 * leaf.size), leaf.path.rpartition(".")[2]
        fitting = [m for m in members if (m.offset, m.width) == where]
        if not any(last in m.path.split(".") for m in fitting):
            there = ", ".join(f"{m.path} at {m.offset // 8}" for m in members if last in m.path.split(".")) or "absent"
            wrong.append(f"{leaf.path}: {leaf.size} bytes at {leaf.offset} here; in {path}: {there}")
        covered |= set(range(leaf.offset, leaf.offset + leaf.size))
    return wrong + [f"byte {i} of {path} is not described" for i in sorted(set(range(size)) - covered)]


@pytest.mark.parametrize("release", sorted(kernels.RELEASES))
@pytest.mark.parametrize("name", sorted(described()))
def test_layout_is_the_kernels(name: str, release: str) -> None:
    assert disagreements(described()[name], release) == []


def test_every_modern_format_names_its_kernel_type() -> None:
    """A format that forgets to name one would not be compared."""
    every = [f for ring in igb.RINGS for f in (*ring.formats, *ring.device_writes)]
    assert every and all(f.btf for f in every)


NOT_SO = {
    "swapped": (Struct("buffer_addr" / Int64ul, "olinfo_status" / Int32ul, "cmd_type_len" / Int32ul), "olinfo_status: 4 bytes"),
    "narrow": (Struct("buffer_addr" / Int64ul, "cmd_type_len" / Int16ul, Int16ul, "olinfo_status" / Int32ul), "2 bytes at 8"),
    "short": (Struct("buffer_addr" / Int64ul, "cmd_type_len" / Int32ul), "12 bytes here, 16"),
    "renamed": (Struct("address" / Int64ul, "cmd_type_len" / Int32ul, "olinfo_status" / Int32ul), "address: 8 bytes at 0 here"),
    "gap": (Struct("buffer_addr" / Int64ul, "cmd_type_len" / Int32ul, Int8ul[4]), "byte 12 of"),
}


@pytest.mark.parametrize("what", NOT_SO)
def test_a_wrong_layout_is_found(what: str) -> None:
    schema, expected = NOT_SO[what]
    found = disagreements(Descriptor("made up", schema, "", (Document("none", "0"),), "igbvf:e1000_adv_tx_desc.read"), "7.2")
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("path", ["igbvf:no_such_type", "igbvf:e1000_adv_tx_desc.nothing"])
def test_a_type_that_is_not_there_is_found(path: str) -> None:
    found = disagreements(Descriptor("made up", igb.TX_DATA, "", (Document("none", "0"),), path), "7.2")
    assert len(found) == 1 and "has no" in found[0]
