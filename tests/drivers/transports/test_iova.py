"""The IOVA allocator: the same calls give the same addresses, and never one that the platform cannot translate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import NotSupported
from drivers.transports.iova import END, MSI_WINDOW, START, IovaAllocator
from regmodel.errors import UsageError


def test_it_counts_up_in_pages_from_the_start():
    iova = IovaAllocator()
    assert [iova.alloc(size) for size in (1, 4096, 4097, 1)] == [START, START + 0x1000, START + 0x2000, START + 0x4000]


def test_a_hole_is_used_again_by_what_fits():
    iova = IovaAllocator()
    small, large, _ = iova.alloc(0x1000), iova.alloc(0x3000), iova.alloc(0x1000)
    assert iova.free(small) == 0x1000
    assert iova.alloc(0x2000) == START + 0x5000  # does not fit into the first hole
    assert iova.free(large) == 0x3000
    assert iova.alloc(0x4000) == small  # both holes together
    assert sum(iova.allocated.values()) == 0x7000


def test_the_interrupt_window_is_left_out():
    iova = IovaAllocator()
    before = MSI_WINDOW[0] - START
    assert iova.alloc(before) == START
    assert iova.alloc(0x1000) == MSI_WINDOW[1]


def test_only_what_the_platform_translates():
    iova = IovaAllocator([(START + 0x1800, START + 0x5000), (START + 0x8000, START + 0x9000)])
    assert iova.alloc(0x1000) == START + 0x2000
    assert iova.alloc(0x2000) == START + 0x3000
    assert iova.alloc(0x1000) == START + 0x8000
    with pytest.raises(NotSupported, match="free some"):
        iova.alloc(1)


def test_no_room_at_all():
    with pytest.raises(NotSupported):
        IovaAllocator().alloc(END)


def test_larger_pages_align_address_and_size():
    iova = IovaAllocator(page=0x10000)
    assert (iova.alloc(1), iova.alloc(1)) == (START, START + 0x10000)


@pytest.mark.parametrize("size", [0, -1])
def test_nothing_is_not_memory(size):
    with pytest.raises(UsageError, match="bytes"):
        IovaAllocator().alloc(size)


def test_only_what_was_allocated_is_freed_and_once():
    iova = IovaAllocator()
    at = iova.alloc(0x2000)
    with pytest.raises(UsageError, match="not allocated"):
        iova.free(at + 0x1000)
    iova.free(at)
    with pytest.raises(UsageError, match="not allocated"):
        iova.free(at)


@pytest.mark.parametrize("page", [0, 3, -4096])
def test_a_page_is_a_power_of_two(page):
    with pytest.raises(UsageError, match="power of two"):
        IovaAllocator(page=page)


@given(st.lists(st.one_of(st.integers(1, 0x5000), st.integers(-8, -1)), max_size=40))
def test_any_sequence_is_repeatable_and_disjoint(steps):
    """Positive numbers allocate so many bytes, negative ones free what was allocated so many places ago."""
    runs = [IovaAllocator(), IovaAllocator()]
    for step in steps:
        live = list(runs[0].allocated)
        if step > 0:
            first, second = (iova.alloc(step) for iova in runs)
            assert first == second
        elif -step <= len(live):
            for iova in runs:
                iova.free(live[step])
    ends = 0
    for at, size in sorted(runs[0].allocated.items()):
        assert at >= ends and at % 4096 == size % 4096 == 0
        ends = at + size
