"""One access is one access: the processor's own count of what reaches a mapped BAR.

On the ``AreaBar`` of Linux VFIO and of the vfio-user client, over an ordinary file in place of the device's. What must not
be used on a BAR is counted as well, so that a test which counts nothing does not pass.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy
import pytest

from drivers.transports.mapped import Area, AreaBar
from tests.support.watchpoint import Unavailable, Watchpoint

AT = 0x1008
SIZE = 0x4000


class Nowhere:
    """Everything is mapped where this test looks."""

    def load(self, offset: int, size: int) -> NoReturn:
        raise AssertionError(offset)

    def store(self, offset: int, size: int, value: int) -> NoReturn:
        raise AssertionError(offset)


class Mapped:
    """A BAR over a file: whole, or but for its first page."""

    def __init__(self, first: int) -> None:
        fd = os.memfd_create("bar", os.MFD_CLOEXEC)
        os.ftruncate(fd, SIZE)
        self.memory = mmap.mmap(fd, SIZE - first, offset=first)
        os.close(fd)
        self.bar = AreaBar(0, SIZE, [Area(first, memoryview(self.memory))], Nowhere())
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + AT - first
        self.here = AT - first


@pytest.fixture(params=[0, 0x1000], ids=["whole", "part"])
def mapped(request: pytest.FixtureRequest) -> Mapped:
    return Mapped(request.param)


@pytest.fixture
def count(mapped: Mapped) -> Iterator[Callable[[Callable[[], object]], tuple[int, int]]]:
    """(loads, stores) of the eight bytes at ``AT``."""
    try:
        with Watchpoint(mapped.address, 8) as watchpoint:
            yield watchpoint.count
    except Unavailable as missing:
        pytest.skip(f"no hardware watchpoint: {missing}")


Count = Callable[[Callable[[], object]], tuple[int, int]]


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_an_item_is_one_access(mapped: Mapped, count: Count, width: int) -> None:
    words = {1: mapped.bar.u8, 2: mapped.bar.u16, 4: mapped.bar.u32, 8: mapped.bar.u64}[width]
    value = 0x8877665544332211 & (1 << 8 * width) - 1

    def store() -> None:
        words[AT // width] = value

    assert count(store) == (0, 1)
    assert count(lambda: words[AT // width]) == (1, 0)
    assert words[AT // width] == value


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_read_and_write_are_one_access(mapped: Mapped, count: Count, width: int) -> None:
    assert count(lambda: mapped.bar.write(AT, width, 0x5A)) == (0, 1)
    assert count(lambda: mapped.bar.read(AT, width)) == (1, 0)
    assert mapped.bar.read(AT, width) == 0x5A


def test_the_bound_store_of_the_hot_path_is_one_access(mapped: Mapped, count: Count) -> None:
    ring_doorbell = mapped.bar.u32.__setitem__
    assert count(lambda: ring_doorbell(AT // 4, 7)) == (0, 1)


def test_a_column_of_numpy_stores_once(mapped: Mapped, count: Count) -> None:
    """Not on BARs, but on rings: an item of a numpy array is one access as well."""
    column = numpy.frombuffer(mapped.memory, dtype="<u4", offset=mapped.here, count=1)

    def store() -> None:
        column[0] = 7

    assert count(store) == (0, 1)


def test_nothing_is_nothing(count: Count) -> None:
    assert count(lambda: None) == (0, 0)


def test_it_counts_what_must_not_be_used(mapped: Mapped, count: Count) -> None:
    """``struct.pack_into`` zeroes the place first (CPython, Modules/_struct.c, s_pack_into)."""
    assert count(lambda: struct.pack_into("<I", mapped.memory, mapped.here, 7)) == (0, 2)
    assert count(lambda: struct.unpack_from("<4B", mapped.memory, mapped.here)) == (4, 0)
