"""MSI: messages granted, masked, pending."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.pci.function import PciFunction
from regmodel.function import Irq, ResetCause
from tests.emulators.pci import testdevice
from tests.emulators.pci.bench import ALL_ON, MASTER, Bench, Vector, get16, get32, set16, set32

CONTROL, MASK, PENDING, ENABLE = 0x52, 0x60, 0x64, 1


def granted(log2: int) -> int:
    return ENABLE | log2 << 4


def arm(function: PciFunction, count: int = 4) -> list[Vector]:
    vectors = [Vector() for _ in range(count)]
    function.set_irqs(Irq.MSI, 0, vectors)
    return vectors


def test_four_messages(function: PciFunction) -> None:
    set16(function, CONTROL, granted(2))
    vectors = arm(function)
    for vector in (0, 3, 3):
        function.host.irq(vector)
    assert [v.count for v in vectors] == [1, 0, 0, 2]


@pytest.mark.parametrize(("log2", "counts"), [(0, [4]), (1, [2, 2]), (2, [1, 1, 1, 1])])
def test_fewer_messages_than_vectors_are_shared(function: PciFunction, log2: int, counts: list[int]) -> None:
    set16(function, CONTROL, granted(log2))
    vectors = arm(function, 1 << log2)
    for vector in range(4):
        function.host.irq(vector)
    assert [v.count for v in vectors] == counts


def test_arming_enables_as_vfio_does(function: PciFunction) -> None:
    vectors = arm(function, 2)
    assert get16(function, CONTROL) & 0x71 == granted(1)
    function.host.irq(1)
    assert [v.count for v in vectors] == [0, 1]


def test_a_masked_message_waits(function: PciFunction) -> None:
    set16(function, CONTROL, granted(2))
    vectors = arm(function)
    set32(function, MASK, 0b0101)
    for vector in (0, 1, 2):
        function.host.irq(vector)
    assert ([v.count for v in vectors], get32(function, PENDING)) == ([0, 1, 0, 0], 0b0101)
    set32(function, MASK, 0b0001)
    assert ([v.count for v in vectors], get32(function, PENDING)) == ([0, 1, 1, 0], 0b0001)


def test_without_masking_there_are_no_mask_registers(bench: Bench) -> None:
    function = bench.plug(testdevice.config(maskable=False))
    set32(function, MASK, 0xFFFFFFFF)
    vectors = arm(function)
    function.host.irq(0)
    assert vectors[0].count == 1
    assert get32(function, MASK) == get32(function, PENDING) == 0


def test_reset_forgets_what_waits(function: PciFunction) -> None:
    set16(function, CONTROL, granted(2))
    function.host.irq(1)
    assert get32(function, PENDING) == 2
    function.reset(ResetCause.FLR)
    set16(function, 0x04, ALL_ON)
    assert (get16(function, CONTROL) & 0x71, get32(function, PENDING)) == (0, 0)
    assert [v.count for v in arm(function)] == [0, 0, 0, 0]


def test_a_vector_that_does_not_exist_is_a_named_error(function: PciFunction) -> None:
    set16(function, CONTROL, granted(2))
    function.host.irq(4)
    assert function.host.diagnostics["no-such-vector"] == 1


def test_msix_wins_over_msi(function: PciFunction) -> None:
    msi = arm(function)
    msix = [Vector() for _ in range(3)]
    function.set_irqs(Irq.MSIX, 0, msix)
    function.host.irq(0)
    assert (msi[0].count, msix[0].count) == (0, 1)
    set16(function, 0x72, 0)
    function.host.irq(0)
    assert (msi[0].count, msix[0].count) == (1, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), st.integers(0, 3)),
        st.tuples(st.just("mask"), st.integers(0, 15)),
        st.tuples(st.just("enable"), st.integers(0, 1)),
        st.tuples(st.just("master"), st.integers(0, 1)),
        st.tuples(st.just("arm"), st.integers(0, 3)),
        st.tuples(st.just("disarm"), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(STEPS)
def test_random_walks_agree_with_the_rules(steps: list[tuple[str, int]]) -> None:
    bench = Bench()
    function = bench.plug()
    vectors, sent = [Vector() for _ in range(4)], [0] * 4
    enable, master, masked, pending, armed = 0, 1, 0, 0, 0
    set16(function, CONTROL, granted(2) & ~ENABLE)
    for action, number in steps:
        if action == "signal" and enable:
            function.host.irq(number)
            pending |= 1 << number
        elif action == "mask":
            masked = number
            set32(function, MASK, masked)
        elif action == "enable":
            enable = number
            set16(function, CONTROL, granted(2) & ~ENABLE | enable)
        elif action == "master":
            master = number
            set16(function, 0x04, ALL_ON if master else ALL_ON & ~MASTER)
        elif action in ("arm", "disarm") and enable:
            armed = armed | 1 << number if action == "arm" else armed & ~(1 << number)
            function.set_irqs(Irq.MSI, number, [vectors[number] if action == "arm" else None])
        for v in range(4):
            if enable and master and pending & armed & ~masked & 1 << v:
                pending &= ~(1 << v)
                sent[v] += 1
        assert [v.count for v in vectors] == sent
        assert get32(function, PENDING) == pending
    bench.close()
