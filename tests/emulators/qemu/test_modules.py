"""Which modules a guest needs, and in which order they load."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

import pytest

from emulators.qemu import modules
from emulators.qemu.errors import LabError


def _ko(**info: str) -> bytes:
    """The smallest ELF64 relocatable file with a .modinfo section."""
    modinfo = b"".join(f"{key}={value}\0".encode() for key, value in info.items())
    names = b"\0.modinfo\0.shstrtab\0"
    offset_info, offset_names = 64, 64 + len(modinfo)
    sections = offset_names + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, sections, 0, 64, 0, 0, 64, 3, 2)
    table = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, offset_info, len(modinfo), 0, 0, 1, 0) \
        + struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, offset_names, len(names), 0, 0, 1, 0)
    return header + modinfo + names + table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "igb.ko.xz").write_bytes(lzma.compress(_ko(name="igb", depends="dca,i2c-algo-bit")))
    (kernel / "dca.ko").write_bytes(_ko(name="dca", depends=""))
    (kernel / "i2c-algo-bit.ko.xz").write_bytes(lzma.compress(_ko(depends="i2c_core")))
    (kernel / "soft.ko").write_bytes(_ko(depends="", softdep="pre: dca igb post: never"))
    (kernel / "lost.ko").write_bytes(_ko(depends="nowhere"))
    (kernel / "vfio.ko").write_bytes(_ko(depends=""))
    (kernel / "vfio_iommu_type1.ko").write_bytes(_ko(depends="vfio"))
    (tmp_path / "modules.builtin").write_text("kernel/drivers/i2c/i2c-core.ko\nkernel/fs/ext4/ext4.ko\n")
    return tmp_path


def test_what_a_module_depends_on_comes_before_it(folder: Path) -> None:
    assert list(modules.closure(folder, ["igb"])) == ["dca", "i2c_algo_bit", "igb"]
    assert list(modules.closure(folder, ["soft"])) == ["dca", "i2c_algo_bit", "igb", "soft"]


def test_modules_are_unpacked(folder: Path) -> None:
    assert modules.closure(folder, ["igb"])["igb"][:4] == b"\x7fELF"


def test_the_order_asked_for_is_kept(folder: Path) -> None:
    assert list(modules.closure(folder, ["vfio", "dca"])) == ["vfio", "vfio_iommu_type1", "dca"]


def test_what_a_module_requests_when_it_runs_is_there(folder: Path) -> None:
    assert "vfio_iommu_type1" in modules.closure(folder, ["vfio"])


def test_what_is_linked_into_the_kernel_is_no_error(folder: Path) -> None:
    assert modules.closure(folder, ["ext4"]) == {}


def test_a_module_of_ones_own_replaces_the_kernels(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / "i2c-algo-bit.ko"
    own.parent.mkdir()
    own.write_bytes(_ko(depends="", version="mine"))
    loaded = modules.closure(folder, ["igb"], [own])
    assert b"version=mine" in loaded["i2c_algo_bit"] and list(loaded)[-1] == "igb"


def test_a_module_that_is_not_there_is_named_with_who_needs_it(folder: Path) -> None:
    with pytest.raises(LabError, match=r"no module e1001$"):
        modules.closure(folder, ["e1001"])
    with pytest.raises(LabError, match=r"no module nowhere, which lost needs"):
        modules.closure(folder, ["lost"])
    with pytest.raises(LabError, match=r"no module igb: no --modules folder was given"):
        modules.closure(None, ["igb"])
