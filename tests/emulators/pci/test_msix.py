"""MSI-X: who is sent, who waits, what the pending bits say."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emulators.pci.function import PciFunction
from regmodel.function import Irq, ResetCause
from tests.emulators.pci.bench import ALL_ON, MASTER, Bench, Vector, get16, set16

CONTROL, ENABLE, MASK_ALL = 0x72, 0x8000, 0x4000
TABLE_BAR, PBA, VECTORS = 4, 0x800, 3
NUMBERS = st.integers(0, VECTORS - 1)


def arm(function: PciFunction, count: int = VECTORS) -> list[Vector]:
    vectors = [Vector() for _ in range(count)]
    function.set_irqs(Irq.MSIX, 0, vectors)
    return vectors


def mask(function: PciFunction, vector: int, masked: int) -> None:
    function.region_write(TABLE_BAR, 16 * vector + 12, 4, masked)


class MsixMachine(RuleBasedStateMachine):
    """A peer that writes the table itself, and an interpreter of the rules that recomputes everything after each step."""

    @initialize()
    def plug(self) -> None:
        self.bench = Bench()
        self.function = self.bench.plug()
        self.vectors = [Vector() for _ in range(VECTORS)]
        self.enable = self.mask_all = False
        self.master = True
        self.armed = [False] * VECTORS
        self.masked = [True] * VECTORS
        self.pending = [False] * VECTORS
        self.sent = [0] * VECTORS
        mask(self.function, 0, 1)  # from here on the table is the peer's

    def settle(self) -> None:
        for v in range(VECTORS):
            may = self.enable and not self.mask_all and self.master and self.armed[v] and not self.masked[v]
            if self.pending[v] and may:
                self.pending[v] = False
                self.sent[v] += 1

    @rule(vector=NUMBERS)
    def signal(self, vector: int) -> None:
        self.function.host.irq(vector)
        self.pending[vector] = True
        self.settle()

    @rule(enable=st.booleans(), mask_all=st.booleans())
    def control(self, enable: bool, mask_all: bool) -> None:
        set16(self.function, CONTROL, ENABLE * enable | MASK_ALL * mask_all)
        self.enable, self.mask_all = enable, mask_all
        self.settle()

    @rule(vector=NUMBERS, masked=st.booleans())
    def table(self, vector: int, masked: bool) -> None:
        mask(self.function, vector, masked)
        self.masked[vector] = masked
        self.settle()

    @rule(start=NUMBERS, count=st.integers(1, VECTORS), on=st.booleans())
    def arming(self, start: int, count: int, on: bool) -> None:
        chosen = range(start, min(start + count, VECTORS))
        self.function.set_irqs(Irq.MSIX, start, [self.vectors[v] if on else None for v in chosen])
        for v in chosen:
            self.armed[v] = on
        self.enable = self.enable or on
        self.settle()

    @rule(on=st.booleans())
    def bus_master(self, on: bool) -> None:
        set16(self.function, 0x04, ALL_ON if on else ALL_ON & ~MASTER)
        self.master = on
        self.settle()

    @rule()
    def save_and_load(self) -> None:
        image = self.function.save()
        other = self.bench.plug()
        other.load(image)
        other.set_irqs(Irq.MSIX, 0, [v if a else None for v, a in zip(self.vectors, self.armed, strict=True)])
        self.enable = self.enable or any(self.armed)
        self.function = other
        self.settle()

    @invariant()
    def agree(self) -> None:
        assert [v.count for v in self.vectors] == self.sent
        bits = self.function.region_read(TABLE_BAR, PBA, 8)
        assert [bool(bits >> v & 1) for v in range(VECTORS)] == self.pending
        assert bits >> VECTORS == 0
        assert bool(get16(self.function, CONTROL) & ENABLE) == self.enable

    def teardown(self) -> None:
        self.bench.close()


TestMsix = MsixMachine.TestCase
TestMsix.settings = settings(max_examples=40, stateful_step_count=20)


def test_a_peer_that_keeps_the_table_needs_no_unmasking(function: PciFunction) -> None:
    """QEMU forwards neither table nor masks: an armed vector is an unmasked one."""
    vectors = arm(function)
    assert function.region_read(TABLE_BAR, 12, 4) == 1
    function.host.irq(0)
    assert [v.count for v in vectors] == [1, 0, 0]


def test_a_vector_that_is_not_armed_waits_and_is_sent_when_armed(function: PciFunction) -> None:
    set16(function, CONTROL, ENABLE)
    function.host.irq(1)
    function.host.irq(1)
    assert function.region_read(TABLE_BAR, PBA, 4) == 2
    vectors = arm(function)
    assert [v.count for v in vectors] == [0, 1, 0]
    assert function.region_read(TABLE_BAR, PBA, 4) == 0


def test_pending_bits_cannot_be_written(function: PciFunction) -> None:
    function.host.irq(2)
    function.region_write(TABLE_BAR, PBA, 8, 0)
    assert function.region_read(TABLE_BAR, PBA, 8) == 4


def test_function_mask_holds_and_releases(function: PciFunction) -> None:
    vectors = arm(function)
    set16(function, CONTROL, ENABLE | MASK_ALL)
    function.host.irq(0)
    function.host.irq(2)
    assert [v.count for v in vectors] == [0, 0, 0]
    set16(function, CONTROL, ENABLE)
    assert [v.count for v in vectors] == [1, 0, 1]


def test_reset_masks_the_table_and_forgets_what_waits(function: PciFunction) -> None:
    vectors = arm(function)
    mask(function, 1, 1)
    function.region_write(TABLE_BAR, 16, 4, 0xFEE00000)
    function.host.irq(1)
    function.reset(ResetCause.FLR)
    set16(function, 0x04, ALL_ON)
    assert get16(function, CONTROL) == VECTORS - 1
    assert (function.region_read(TABLE_BAR, 16, 4), function.region_read(TABLE_BAR, PBA, 4)) == (0, 0)
    set16(function, CONTROL, ENABLE)
    assert sum(v.count for v in vectors) == 0
    function.host.irq(1)
    assert vectors[1].count == 0, "this peer writes the table, where FLR has set the mask"
    mask(function, 1, 0)
    assert vectors[1].count == 1


def test_after_flr_a_peer_that_keeps_the_table_is_still_armed(function: PciFunction) -> None:
    """QEMU does not arm again: it saw a configuration write, and the guest's own MSI-X state is QEMU's."""
    vectors = arm(function)
    set16(function, 0xA8, 0x8000)
    set16(function, 0x04, ALL_ON)
    set16(function, CONTROL, ENABLE)
    function.host.irq(0)
    assert vectors[0].count == 1


def test_a_bus_reset_forgets_who_wrote_the_table(function: PciFunction) -> None:
    mask(function, 0, 1)
    function.reset(ResetCause.BUS)
    set16(function, 0x04, ALL_ON)
    vectors = arm(function)
    function.host.irq(0)
    assert vectors[0].count == 1


def test_a_vector_that_does_not_exist_is_a_named_error(function: PciFunction) -> None:
    function.host.irq(3)
    function.host.irq(-1)
    assert function.host.diagnostics["no-such-vector"] == 2


def test_an_observer_is_told_what_was_sent_and_what_waits(function: PciFunction) -> None:
    told: list[tuple[Irq, int, bool]] = []
    function.observe_irqs(lambda irq, vector, sent: told.append((irq, vector, sent)))
    function.host.irq(0)
    vectors = arm(function)
    function.host.irq(1)
    function.observe_irqs(None)
    function.host.irq(2)
    assert told == [(Irq.MSIX, 0, False), (Irq.MSIX, 0, True), (Irq.MSIX, 1, True)]
    assert [v.count for v in vectors] == [1, 1, 1]
