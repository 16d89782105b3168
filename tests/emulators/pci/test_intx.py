"""INTx: a level towards the guest, edges and unmasks towards the peer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.pci.function import PciFunction
from regmodel.function import Irq, ResetCause
from tests.emulators.pci.bench import ALL_ON, INTX_OFF, Bench, Vector, get16, set16

STATUS_INTX = 0x0008


@pytest.fixture
def vector(function: PciFunction) -> Vector:
    vector = Vector()
    function.set_irqs(Irq.INTX, 0, [vector])
    return vector


def pending(function: PciFunction) -> bool:
    return bool(get16(function, 0x06) & STATUS_INTX)


def test_one_edge_per_assertion_until_unmasked(function: PciFunction, vector: Vector) -> None:
    function.host.line(True)
    function.host.line(True)
    assert (vector.count, pending(function)) == (1, True)
    function.unmask_irq(Irq.INTX)
    assert vector.count == 2, "the line is still high"
    function.host.line(False)
    function.unmask_irq(Irq.INTX)
    assert (vector.count, pending(function)) == (2, False)


def test_a_line_that_fell_and_rose_before_the_unmask_is_told_then(function: PciFunction, vector: Vector) -> None:
    for level in (True, False, True):
        function.host.line(level)
    assert vector.count == 1
    function.unmask_irq(Irq.INTX)
    assert vector.count == 2


def test_interrupt_disable_holds_the_line_but_not_the_status(function: PciFunction, vector: Vector) -> None:
    set16(function, 0x04, ALL_ON | INTX_OFF)
    function.host.line(True)
    assert (vector.count, pending(function)) == (0, True)
    set16(function, 0x04, ALL_ON)
    assert vector.count == 1


def test_armed_while_asserted(function: PciFunction) -> None:
    function.host.line(True)
    vector = Vector()
    function.set_irqs(Irq.INTX, 0, [vector])
    assert vector.count == 1
    function.set_irqs(Irq.INTX, 0, [None])
    function.host.line(False)
    function.host.line(True)
    assert vector.count == 1


def test_a_new_peer_is_told_what_the_last_one_was(function: PciFunction, vector: Vector) -> None:
    function.host.line(True)
    other = Vector()
    function.set_irqs(Irq.INTX, 0, [other])
    assert (vector.count, other.count) == (1, 1)


@pytest.mark.parametrize(("register", "on", "off"), [(0x52, 1, 0), (0x72, 0x8000, 0)], ids=["msi", "msix"])
def test_messages_silence_the_line(function: PciFunction, vector: Vector, register: int, on: int, off: int) -> None:
    set16(function, register, on)
    function.host.line(True)
    assert vector.count == 0
    set16(function, register, off)
    assert vector.count == 1


def test_reset_lowers_the_line(function: PciFunction, vector: Vector) -> None:
    function.host.line(True)
    function.reset(ResetCause.FLR)
    function.unmask_irq(Irq.INTX)
    assert (vector.count, pending(function)) == (1, False)


STEPS = st.lists(st.tuples(st.sampled_from(["line", "disable", "unmask"]), st.booleans()), max_size=30)


@settings(max_examples=60)
@given(STEPS)
def test_random_walks_lose_no_level_and_tell_none_twice(steps: list[tuple[str, bool]]) -> None:
    bench = Bench()
    function, vector = bench.plug(), Vector()
    function.set_irqs(Irq.INTX, 0, [vector])
    level = disabled = masked = False
    edges = 0
    for what, on in steps:
        if what == "line":
            level = on
            function.host.line(on)
        elif what == "disable":
            disabled = on
            set16(function, 0x04, ALL_ON | INTX_OFF * on)
        else:
            masked = False
            function.unmask_irq(Irq.INTX)
        if level and not disabled and not masked:
            edges, masked = edges + 1, True
        assert (vector.count, pending(function)) == (edges, level)
    bench.close()
