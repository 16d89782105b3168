"""The mailbox as hardware, driven register by register from the VF's side and word by word from the PF's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.nics.igb import mailbox as mbx
from emulators.nics.igb.mailbox import PfEvents, VfMailbox
from regmodel.bank import Bank
from regmodel.bars.igbvf import BAR0_82576
from regmodel.function import ResetCause
from tests.emulators.nics.igb.vf_driver import ACK, PFACK, PFSTS, PFU, REQ, RSTD, RSTI, V2PMAILBOX, VFU, VMBMEM
from tests.support.thorough import THOROUGH


class Pair:
    """One mailbox, seen from both sides."""

    def __init__(self, vf: int = 2) -> None:
        self.bank = Bank(BAR0_82576)
        self.to_pf = self.to_vf = 0
        self.events = PfEvents(interrupt=self._pf)
        self.box = VfMailbox(self.bank, self.events, vf, self._vf)
        self.box.vf_resets(pf_in_reset=False)
        self.read()
        self.events.clear()
        self.to_pf = 0

    def _pf(self) -> None:
        self.to_pf += 1

    def _vf(self) -> None:
        self.to_vf += 1

    def read(self) -> int:
        return self.bank.read(V2PMAILBOX, 4)

    def write(self, value: int) -> None:
        self.bank.write(V2PMAILBOX, 4, value)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_request_releases_the_buffer_and_interrupts_the_pf(pair: Pair) -> None:
    pair.write(VFU)
    assert pair.read() == VFU and pair.box.read_p2v() == mbx.VFU
    pair.write(REQ)
    assert pair.read() == 0 and pair.box.read_p2v() == 0
    assert (pair.events.requests, pair.events.acks, pair.to_pf) == (1 << 2, 0, 1)
    pair.write(VFU | ACK)
    assert pair.read() == VFU
    assert (pair.events.acks, pair.to_pf) == (1 << 2, 2)


def test_the_buffer_has_one_owner(pair: Pair) -> None:
    pair.write(VFU)
    pair.box.write_p2v(mbx.PFU)
    assert pair.read() == VFU and pair.box.read_p2v() == mbx.VFU
    pair.write(0)
    pair.box.write_p2v(mbx.PFU)
    pair.write(VFU)
    assert pair.read() == PFU and pair.box.read_p2v() == mbx.PFU
    pair.box.write_p2v(0)
    pair.write(VFU)
    assert pair.read() == VFU


def test_the_vf_cannot_write_what_is_not_its_own(pair: Pair) -> None:
    pair.write(0xFFFF_FFFF & ~VFU)
    assert pair.read() == 0
    pair.box.write_p2v(mbx.PFU)
    pair.write(0)
    assert pair.read() == PFU


def test_what_the_pf_signals_is_latched_until_read(pair: Pair) -> None:
    pair.box.write_p2v(mbx.ACK | mbx.PFU)
    pair.box.write_p2v(mbx.STS)
    assert pair.to_vf == 2
    assert pair.read() == PFSTS | PFACK
    assert pair.read() == 0


def test_the_pf_takes_the_buffer_from_a_stuck_vf(pair: Pair) -> None:
    pair.write(VFU | REQ | ACK)
    pair.box.write_p2v(mbx.RVFU | mbx.PFU)
    assert pair.read() == PFU
    assert (pair.events.requests, pair.events.acks) == (0, 0)


def test_the_words_are_shared_and_the_last_reply_stays(pair: Pair) -> None:
    for i in range(16):
        pair.bank.write(VMBMEM + 4 * i, 4, 0x1000 + i)
    assert pair.box.words == tuple(range(0x1000, 0x1010))
    pair.box.write([7, 8])
    pair.box.write_p2v(mbx.STS)
    assert [pair.bank.read(VMBMEM + 4 * i, 4) for i in range(3)] == [7, 8, 0x1002]
    assert pair.bank.read(VMBMEM, 4) == 7


def test_a_reset_of_the_pf_shows_until_it_is_over(pair: Pair) -> None:
    pair.bank.write(VMBMEM, 4, 7)
    pair.box.write_p2v(mbx.STS)
    pair.write(VFU)
    pair.box.pf_resets()
    assert pair.read() == RSTI and pair.read() == RSTI
    assert pair.box.words == (0,) * 16
    pair.box.pf_is_back()
    assert pair.read() & (RSTI | RSTD) == RSTD
    assert pair.read() & (RSTI | RSTD) == 0


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.SOFTWARE, ResetCause.BUS])
def test_a_reset_of_the_vf_is_told_to_the_pf_and_frees_the_buffer(pair: Pair, cause: ResetCause) -> None:
    pair.box.write_p2v(mbx.STS | mbx.ACK)
    pair.write(VFU | REQ)
    pair.bank.reset(cause)
    pair.box.vf_resets(pf_in_reset=False)
    assert pair.read() == (RSTD if cause is ResetCause.BUS else 0), "RSTD speaks of the PF, not of the VF"
    assert (pair.events.requests, pair.events.resets) == (0, 1 << 2)
    pair.bank.reset(cause)
    pair.box.vf_resets(pf_in_reset=True)
    assert pair.read() == RSTI


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.SOFTWARE])
def test_a_vf_that_resets_itself_still_learns_of_the_reset_of_its_pf(pair: Pair, cause: ResetCause) -> None:
    pair.box.pf_resets()
    pair.box.pf_is_back()
    pair.bank.reset(cause)
    pair.box.vf_resets(pf_in_reset=False)
    assert (pair.read(), pair.read()) == (RSTD, 0)


def test_an_observer_sees_both_directions(pair: Pair) -> None:
    seen: list[tuple[str, int]] = []
    pair.box.observer = lambda sender, words: seen.append((sender, words[0]))
    pair.bank.write(VMBMEM, 4, 1)
    pair.write(REQ)
    pair.box.write([0x8000_0001])
    pair.box.write_p2v(mbx.STS)
    pair.write(ACK)
    assert seen == [("VF", 1), ("PF", 0x8000_0001)]


SIDES = st.tuples(st.sampled_from(["vf write", "vf read", "pf write"]), st.integers(0, 0xFF))


@settings(max_examples=200 * THOROUGH)
@given(st.lists(SIDES, max_size=40))
def test_any_sequence_agrees_with_the_rules(steps: list[tuple[str, int]]) -> None:
    """An oracle of five bits and four rules, against every mix of accesses from both sides."""
    pair = Pair()
    vfu = pfu = False
    latched = requests = acks = 0
    for what, value in steps:
        if what == "vf write":
            vfu = bool(value & VFU) and not pfu
            requests |= value & REQ
            acks |= value & ACK
            pair.write(value)
        elif what == "vf read":
            assert pair.read() == VFU * vfu | PFU * pfu | latched
            latched = 0
        else:
            if value & mbx.RVFU:
                vfu, requests, acks = False, 0, 0
            pfu = bool(value & mbx.PFU) and not vfu
            latched |= (PFSTS if value & mbx.STS else 0) | (PFACK if value & mbx.ACK else 0)
            pair.box.write_p2v(value)
        assert not (vfu and pfu)
        assert pair.box.read_p2v() == mbx.VFU * vfu | mbx.PFU * pfu
        assert bool(pair.events.requests) == bool(requests) and bool(pair.events.acks) == bool(acks)
