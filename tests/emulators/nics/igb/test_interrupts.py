"""Causes, masks and vectors of a VF, by register accesses alone."""

from __future__ import annotations

import pytest

from regmodel.function import ResetCause
from tests.emulators.nics.igb.station import Station

US = 1000


@pytest.fixture
def vf() -> Station:
    """Routed as igbvf routes, nothing enabled: causes stay, masks stay, no moderation."""
    vf = Station()
    vf.write("ivar0", 0x8081)
    vf.write("ivar_misc", 0x82)
    return vf


def test_a_cause_is_remembered_while_masked_and_signalled_when_unmasked(vf: Station) -> None:
    vf.write("eics", 0b010)
    assert vf.host.irqs == [] and vf.bank["eicr"].value == 0b010
    vf.write("eims", 0b111)
    assert vf.host.irqs == [1]


def test_unmasking_again_does_not_signal_again(vf: Station) -> None:
    vf.write("eims", 1)
    vf.write("eics", 1)
    vf.write("eims", 1)
    assert vf.host.irqs == [0]


def test_a_cause_that_stays_signals_once(vf: Station) -> None:
    vf.write("eims", 1)
    vf.write("eics", 1)
    vf.write("eics", 1)
    assert vf.host.irqs == [0] and vf.read("eicr") == 1 and vf.read("eicr") == 0
    vf.write("eics", 1)
    assert vf.host.irqs == [0, 0]


def test_writing_eicr_clears_causes(vf: Station) -> None:
    vf.write("eics", 0b111)
    vf.write("eicr", 0b101)
    vf.write("eims", 0b111)
    assert vf.host.irqs == [1]


def test_eimc_masks(vf: Station) -> None:
    vf.write("eims", 0b111)
    vf.write("eimc", 0b010)
    assert vf.read("eims") == 0b101
    vf.write("eics", 0b111)
    assert vf.host.irqs == [0, 2]


def test_auto_clear_clears_the_cause_of_what_was_signalled(vf: Station) -> None:
    vf.write("eiac", 0b011)
    vf.write("eims", 0b101)
    vf.write("eics", 0b111)
    assert vf.host.irqs == [0, 2] and vf.bank["eicr"].value == 0b110
    vf.write("eics", 0b001)
    assert vf.host.irqs == [0, 2, 0]


def test_auto_mask_masks_what_was_signalled(vf: Station) -> None:
    vf.write("eiac", 0b111)
    vf.write("eiam", 0b001)
    vf.write("eims", 0b111)
    vf.write("eics", 0b011)
    assert vf.read("eims") == 0b110
    vf.vf.interrupts.cause(0b011)
    assert vf.host.irqs == [0, 1, 1]
    vf.write("eims", 0b001)
    assert vf.host.irqs == [0, 1, 1, 0]


def test_the_pf_may_leave_auto_masking_out(vf: Station) -> None:
    vf.vf.interrupts.auto_mask = False
    vf.write("eiam", 1)
    vf.write("eims", 1)
    vf.write("eics", 1)
    assert vf.read("eims") == 1


def test_eics_takes_back_what_auto_masking_did(vf: Station) -> None:
    """igbvf_intr_msix_tx writes EICS, not EIMS, when it has not finished: the vector must fire again."""
    for name in ("eiac", "eiam", "eims"):
        vf.write(name, 0b111)
    vf.write("eics", 0b001)
    vf.vf.interrupts.cause(0b001)  # more is done while the vector is masked
    assert vf.host.irqs == [0]
    vf.write("eics", 0b001)
    assert vf.host.irqs == [0, 0]


def test_only_three_vectors_exist(vf: Station) -> None:
    vf.write("ivar_misc", 0x83)
    assert vf.host.diagnosed["interrupt-vector-absent"] == 1
    vf.write("eims", 0xFFFFFFFF)
    vf.vf.mailbox_interrupt()
    vf.write("eics", 0xFFFFFFF8)
    assert vf.host.irqs == [] and vf.read("eims") == 7


def test_a_queue_without_a_valid_entry_does_not_interrupt(vf: Station) -> None:
    vf.write("ivar0", 0x0001)
    vf.write("eims", 7)
    vf.start_tx()
    vf.data(bytes(60))
    vf.ring()
    assert vf.pool.sent and vf.host.irqs == [] and vf.read("eicr") == 0


@pytest.mark.parametrize("reset", [False, True])
def test_before_ivar_is_written_nothing_has_a_vector(vf: Station, reset: bool) -> None:
    vf = vf if reset else Station()
    if reset:
        vf.vf.reset(ResetCause.SOFTWARE)
    vf.start_tx()
    vf.start_rx()
    vf.data(bytes(60))
    vf.ring()
    vf.deliver(bytes(60))
    vf.vf.mailbox_interrupt()
    assert vf.pool.sent and vf.take() and vf.read("eicr") == 0


def test_mailbox_events_go_where_ivar_misc_says(vf: Station) -> None:
    vf.write("eims", 7)
    assert vf.slot.interrupt is not None
    vf.slot.interrupt()
    assert vf.host.irqs == [2]
    vf.read("eicr")
    vf.write("ivar_misc", 0x80)
    vf.slot.interrupt()
    assert vf.host.irqs == [2, 0]


# -- moderation


@pytest.fixture
def moderated(vf: Station) -> Station:
    """Vector 0 at most every 122 us: EITR as igbvf writes it at first (488, units of a quarter of a microsecond)."""
    vf.write("eiac", 7)
    vf.write("eims", 7)
    vf.write("eitr", 488)
    return vf


def test_interrupts_keep_their_distance(moderated: Station) -> None:
    vf = moderated
    for _ in range(5):
        vf.vf.interrupts.cause(1)
    assert vf.host.irqs == [0]
    vf.host.clock.advance(121 * US)
    assert vf.host.irqs == [0]
    vf.host.clock.advance(1 * US)
    assert vf.host.irqs == [0, 0]
    vf.host.clock.advance(1000 * US)
    assert vf.host.irqs == [0, 0]
    vf.vf.interrupts.cause(1)
    assert vf.host.irqs == [0, 0, 0]


def test_other_vectors_are_not_held_up(moderated: Station) -> None:
    moderated.vf.interrupts.cause(0b011)
    moderated.vf.interrupts.cause(0b011)
    assert moderated.host.irqs == [0, 1, 1]


def test_what_is_masked_or_cleared_while_it_waits_is_not_signalled(moderated: Station) -> None:
    vf = moderated
    vf.vf.interrupts.cause(1)
    vf.vf.interrupts.cause(1)
    vf.write("eimc", 1)
    vf.host.clock.advance(1000 * US)
    assert vf.host.irqs == [0]
    vf.write("eims", 1)
    assert vf.host.irqs == [0, 0]
    vf.vf.interrupts.cause(1)
    vf.read("eicr")
    vf.host.clock.advance(1000 * US)
    assert vf.host.irqs == [0, 0]


def test_the_counter_can_be_read_and_loaded(moderated: Station) -> None:
    vf = moderated
    vf.vf.interrupts.cause(1)
    vf.host.clock.advance(22 * US)
    assert vf.read("eitr") >> 21 & 0x3FF == 25 and vf.read("eitr") & 0x7FFC == 488
    vf.vf.interrupts.cause(1)
    vf.write("eitr", 1 << 31 | 488)  # leaves the counter alone
    assert vf.host.irqs == [0]
    vf.write("eitr", 3 << 21 | 488)
    vf.host.clock.advance(11 * US)
    assert vf.host.irqs == [0]
    vf.host.clock.advance(1 * US)
    assert vf.host.irqs == [0, 0]
    vf.vf.interrupts.cause(1)
    vf.write("eitr", 488)  # counter 0: at once, as igbvf_intr_msix_rx has it
    assert vf.host.irqs == [0, 0, 0]


def test_a_reset_forgets_causes_masks_and_waiting(moderated: Station) -> None:
    vf = moderated
    vf.vf.interrupts.cause(1)
    vf.vf.interrupts.cause(1)
    vf.vf.reset(ResetCause.SOFTWARE)
    vf.host.clock.advance(1000 * US)
    assert vf.host.irqs == [0] and vf.read("eims") == 0 and vf.read("eicr") == 0
    vf.write("eims", 7)
    vf.vf.interrupts.cause(vf.vf.interrupts.transmit[0])
    assert vf.host.irqs == [0]


def test_waiting_survives_save_and_load(moderated: Station) -> None:
    moderated.vf.interrupts.cause(1)
    moderated.vf.interrupts.cause(1)
    other = Station()
    other.vf.load(moderated.vf.save())
    other.host.clock.advance(121 * US)
    assert other.host.irqs == []
    other.host.clock.advance(1 * US)
    assert other.host.irqs == [0]
