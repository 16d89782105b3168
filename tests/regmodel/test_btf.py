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
from regmodel.layout import Leaf, layout
from regmodel.rings import igb
from regmodel.sources import Document
from regmodel.structures import virtio_net, vmxnet3
from tests.regmodel.described import descriptions
from tests.support import btf
from tests.support.inputs import missing

SOURCE = (Document("BTF", "the type itself"),)


ROOMS = (vmxnet3, virtio_net)
"""Rooms with structures that are no descriptors; their ``BTF`` says what the kernel calls them."""

SHARED = {"vmxnet3": ("Vmxnet3_", "UPT1_"), "virtio_net": ("virtio_net_",)}
"""By module: how the names of all types begin that driver and device share."""

LEFT_OUT = {
    "Vmxnet3_GenericDesc": "a union of descriptors, each of which is compared",
    "Vmxnet3_CmdInfo": "a union of arguments, each of which is compared or left out here",
    "Vmxnet3_SetPolling": "a single octet, and an argument of no command that there is",
    "Vmxnet3_CoalesceRbc": "a single word, an alternative inside of Vmxnet3_CoalesceScheme",
    "Vmxnet3_CoalesceStatic": "an alternative inside of Vmxnet3_CoalesceScheme, which is compared",
    "virtio_net_common_hdr": "a union of headers, each of which is compared",
    "virtio_net_hdr_mrg_rxbuf": "virtio_net_hdr_v1 under its old name",
    "virtio_net_hdr_v1_hash_tunnel": "UDP tunnel offload is not of virtio 1.3",
    "virtio_net_ctrl_hdr": "the first two octets of each message of the control queue",
    "virtio_net_ctrl_mq": "a single number, an argument in the control queue's messages",
    "virtio_net_ctrl_coal_rx": "an argument in the control queue's messages: virtio_net_ctrl_coal",
    "virtio_net_ctrl_coal_tx": "an argument in the control queue's messages: virtio_net_ctrl_coal",
    "virtio_net_ctrl_coal_vq": "VIRTIO_NET_F_VQ_NOTF_COAL is not described",
    "virtio_net_ctrl_queue_stats": "the messages of VIRTIO_NET_F_DEVICE_STATS are not described",
    "virtio_net_stats_capabilities": "the messages of VIRTIO_NET_F_DEVICE_STATS are not described",
    "virtio_net_stats_reply_hdr": "the messages of VIRTIO_NET_F_DEVICE_STATS are not described",
}
"""Types that no description names, and why."""


def described() -> dict[str, Descriptor]:
    """Every descriptor that names a kernel type, once; and the structures of the rooms that say what theirs are called."""
    found = {
        f.name: f
        for description in descriptions().values()
        for ring in description.rings
        for f in (*ring.formats, *ring.device_writes)
        if f.btf is not None
    }
    for room in ROOMS:
        found |= {
            f"{room.__name__.rpartition('.')[2]}.{name}": Descriptor(name, room.STRUCTURES[name], "", SOURCE, btf)
            for name, btf in room.BTF.items()
        }
    return found


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
    if name == "vmlinux":
        return base
    assert kernel.modules is not None
    (path,) = kernel.modules.rglob(f"{name}.ko*")
    return btf.read(path, base)


def _is_member(leaf: Leaf, members: list[btf.Member]) -> bool:
    """The kernel has a number of this name just here, or its two halves, or an array of such, which is one member in BTF."""
    last, bracket, _ = leaf.path.rpartition(".")[2].partition("[")
    start, width = 8 * leaf.offset, 8 * leaf.size
    for m in members:
        whole = (m.offset, m.width) == (start, width)
        inside = bool(bracket) and m.offset <= start < m.offset + m.width and (start - m.offset) % width == 0 == m.width % width
        if (whole or inside) and last in m.path.split("."):
            return True
    halves = {(start, width // 2, f"{last}_lo"), (start + width // 2, width // 2, f"{last}_hi")}
    return halves <= {(m.offset, m.width, m.path.rpartition(".")[2]) for m in members}


def _are_bit_fields(leaf: Leaf, members: list[btf.Member]) -> bool:
    """Every field of the word is a bit field of this name there, and the other way round."""
    ours = {(8 * leaf.offset + f.lsb, f.width, f.name) for f in leaf.fields if f.name}
    inside = [m for m in members if 8 * leaf.offset <= m.offset < 8 * (leaf.offset + leaf.size)]
    theirs = {(m.offset, m.width, m.path.rpartition(".")[2]) for m in inside}
    return bool(ours) and ours == theirs


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
    if ours.size < size <= ours.size + 3 and all(m.offset + m.width <= 8 * ours.size for m in members):
        size = ours.size  # an array without a length follows, and the compiler pads
    if ours.size != size:
        wrong.append(f"{ours.size} bytes here, {size} in {path}")
    covered: set[int] = set()
    for leaf in ours.leaves:
        if not (_is_member(leaf, members) or _are_bit_fields(leaf, members)):
            last = leaf.path.rpartition(".")[2].partition("[")[0]
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


def shared(name: str, release: str) -> set[str]:
    """The types that a module shares with its device, each by itself; those inside of them left out."""
    types = module(release, name)
    return {found for found in types.named() if found.startswith(SHARED[name])} | {
        found for found in types.base.named() if types.base is not None and found.startswith(SHARED[name])
    }


def compared(name: str, release: str) -> set[str]:
    """The types of a module that descriptions are compared with, and all that lie inside of them."""
    found: set[str] = set()
    for descriptor in described().values():
        owner, _, paths = (descriptor.btf or "").partition(":")
        for path in paths.split("|") if owner == name else ():
            if module(release, name).has(path):
                found |= module(release, name).parts(path.partition(".")[0])
    return found


@pytest.mark.parametrize("release", sorted(kernels.RELEASES))
@pytest.mark.parametrize("name", SHARED)
def test_every_shared_structure_is_described(name: str, release: str) -> None:
    assert sorted(shared(name, release) - compared(name, release) - set(LEFT_OUT)) == [], "describe them, or say why not"


def test_what_is_left_out_is_there_and_is_not_described() -> None:
    every = {found for name in SHARED for release in kernels.RELEASES for found in shared(name, release)}
    done = {found for name in SHARED for release in kernels.RELEASES for found in compared(name, release)}
    assert sorted(set(LEFT_OUT) - every) == [] == sorted(set(LEFT_OUT) & done)


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
