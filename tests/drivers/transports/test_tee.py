"""Two devices in lock-step: alike devices never differ, and a device that is wrong in one bit is found by what it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.errors import DeviceTimeout, Difference
from drivers.registers import Registers
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.in_process import InProcess
from drivers.transports.tee import Finding, Tee
from emulators.alone import Alone, open_functions
from regmodel.access import OnRead
from regmodel.bank import Cause, Path
from regmodel.devices.igbvf import IGBVF
from regmodel.errors import UsageError
from regmodel.registers import Register, Status
from tests.drivers.transports.contract import DMA_GO, DMA_LOW, MESSAGE, SCRATCH, Bench, Contract, ring_of
from tests.drivers.transports.test_record_replay import OPERATIONS, dma_session, perform
from tests.emulators.pci import testdevice
from tests.support.afterwards import closed_afterwards

RSTD = 0x80


class TestContract(Contract):
    """A driver cannot tell a tee from the first of its two."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        pair = [open_functions(testdevice.DEVICE, clock="manual") for _ in range(2)]

        def opened() -> Tee:
            ours, theirs = (InProcess(alone.function, alone) for alone in pair)
            return Tee(ours, theirs, testdevice.DEVICE)

        with opened() as transport:
            yield Bench(transport, ring_of(pair[0].function), opened)
        for alone in pair:
            alone.close()


class Two:
    """Two cards of one kind, and the tee before them. ``ours`` and ``theirs`` are BAR 0 of each."""

    def __init__(self, device: Any, **options: Any) -> None:
        self.cards: list[Alone] = [closed_afterwards(open_functions(device, clock="manual")) for _ in range(2)]
        self.transports = [InProcess(c.function, c, name=name) for c, name in zip(self.cards, ("left", "right"), strict=True)]
        self.tee = Tee(*self.transports, device, **options)
        self.tee.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        self.ours, self.theirs = (card.function.banks[0] for card in self.cards)
        self.dev: Any = Registers(device, self.tee)


def open_two(device: Any = IGBVF, **options: Any) -> Two:
    return Two(device, **options)


@pytest.fixture
def two() -> Two:
    return open_two()


# -- alike


def comparable(seen: list[object]) -> list[object]:
    """Without the time, and errors without the name of the transport."""
    kept = (what for what in seen if not isinstance(what, float))
    return [what[0] if isinstance(what, tuple) and isinstance(what[0], type) else what for what in kept]


@settings(max_examples=60)
@example([("alloc", 1), ("dma", 0, 0), ("sleep", 0.0), ("write", 4, 0)])  # what was ordered is done before the write, by both
@given(st.lists(OPERATIONS.filter(lambda o: o[0] != "take" or o[2] + o[3] <= 4096), max_size=40))
def test_alike_devices_never_differ(operations: list[tuple[Any, ...]]) -> None:
    """And the driver sees what it would see without the tee."""
    two = Two(testdevice.DEVICE)
    alone = closed_afterwards(open_functions(testdevice.DEVICE, clock="manual"))
    with InProcess(alone.function, alone) as single:
        single.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        expected = comparable(perform(single, operations))
    with two.tee:
        assert comparable(perform(two.tee, operations)) == expected
    assert not two.tee.accepted and not two.tee.unmatched


def test_a_mailbox_handshake(two: Two) -> None:
    dev = two.dev
    with two.tee:
        dev.ctrl.write(rst=1)
        dev.v2pmailbox.wait(rsti=0, rstd=0, timeout=1)
        dev.v2pmailbox.write(vfu=1)
        dev.vmbmem.write_words([1])
        dev.v2pmailbox.write(req=1)
        dev.v2pmailbox.wait(pfack=1, timeout=1)
        dev.v2pmailbox.wait(pfsts=1, timeout=1)
        assert dev.vmbmem[0].read() & 0xFFFF == 1


# -- wrong


def test_a_wrong_reset_value(two: Two) -> None:
    two.theirs["srrctl", 1].set(bsizepacket=5)
    with pytest.raises(Difference) as found, two.tee:
        _ = two.dev.srrctl[1].drop_en
    assert str(found.value) == (
        "read srrctl[1]: ours 0x400 (bsizepacket=0), theirs 0x405 (bsizepacket=5) (ours is left, theirs right)"
    )


def test_the_last_calls_are_told(two: Two) -> None:
    two.theirs["srrctl"].set(rdmts=1)
    with pytest.raises(Difference) as found, two.tee:
        two.dev.rdt[0].write(5)
        two.dev.srrctl[0].read()
    assert found.value.__notes__[0] == "the last calls, oldest first:"
    assert found.value.__notes__[-2:] == ["  write rdt[0] = 0x5 (rdt=5)", "  read srrctl[0] = 0x400 (bsizeheader=4)"]


def test_a_bit_that_does_not_store(two: Two) -> None:
    def lose(path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        two.theirs[path.name, path.instance].set(wthresh=0)

    two.theirs.on_write("rxdctl", lose)
    with pytest.raises(Difference, match=r"read rxdctl\[0\]: ours .*\(wthresh=4\), theirs .*\(wthresh=0\)"), two.tee:
        with two.dev.rxdctl[0].modify() as r:
            r.wthresh = 4
        two.dev.rxdctl[0].read()


@pytest.mark.parametrize("stuck", ["ours", "theirs"])
def test_a_status_bit_that_is_stuck(two: Two, stuck: str) -> None:
    """Hardware writes it, so it is given time; then it is a difference."""
    bank = getattr(two, stuck)
    bank.before_read("status", lambda path: bank["status"].set(fd=0))
    with pytest.raises(Difference, match=r"read status: ours .*\(fd=\d\), theirs .*\(fd=\d\)"), two.tee:
        _ = two.dev.status.lu
        two.dev.rdt[0].write(1)


@pytest.mark.parametrize("stuck", ["ours", "theirs"])
def test_an_event_that_only_one_has(two: Two, stuck: str) -> None:
    """RSTD, which the driver never asks for: the first shows it for nothing, or the second does, found at the end."""
    two.dev.v2pmailbox.read()
    getattr(two, stuck)["v2pmailbox"].set(rstd=1)
    with pytest.raises(Difference, match=r"read v2pmailbox: ours .*\(rstd=\d\), theirs .*\(rstd=\d\)"), two.tee:
        assert two.dev.v2pmailbox.read() & RSTD == (RSTD if stuck == "ours" else 0)


def test_polls_are_compared_by_their_outcome(two: Two) -> None:
    """The second is ready first, then last: neither is a difference."""
    two.theirs["v2pmailbox"].set(pfsts=1)
    later = two.cards[0].loop.now() + 20_000_000
    two.cards[0].loop.call_at(later, lambda: two.ours["v2pmailbox"].set(pfsts=1))
    with two.tee:
        two.dev.v2pmailbox.wait(pfsts=1, timeout=0.1)
        two.ours["v2pmailbox"].set(pfack=1)
        two.cards[1].loop.call_at(two.cards[1].loop.now() + 20_000_000, lambda: two.theirs["v2pmailbox"].set(pfack=1))
        two.dev.v2pmailbox.wait(pfack=1, timeout=0.1)
        two.dev.rdt[0].write(1)


def test_an_outcome_that_the_second_never_has(two: Two) -> None:
    two.ours["v2pmailbox"].set(pfsts=1)
    with pytest.raises(Difference, match=r"read v2pmailbox: ours 0x\w+ \(pfsts=1\), theirs 0x\w+ \(pfsts=0\)"), two.tee:
        two.dev.v2pmailbox.wait(pfsts=1, timeout=0.1)
        two.dev.rdt[0].write(1)


def test_an_outcome_that_only_the_second_has(two: Two) -> None:
    """The driver gives up on the first; that the second went on is the news."""
    two.theirs["rdh"].value = 5
    with pytest.raises(Difference, match=r"read rdh\[0\]: ours 0x0 \(rdh=0\), theirs 0x5 \(rdh=5\)"), two.tee:
        two.dev.rdh[0].wait(rdh=5, timeout=0.1)


def test_a_wait_in_vain_on_both_is_no_difference(two: Two) -> None:
    with pytest.raises(DeviceTimeout), two.tee:
        two.dev.v2pmailbox.wait(pfsts=1, timeout=0.1)


def test_reads_that_the_tee_makes_lose_no_bits(two: Two) -> None:
    """It looks again while the second is late; an event of the first that comes meanwhile reaches the driver."""
    for bank, card, after in ((two.ours, two.cards[0], 5_000_000), (two.theirs, two.cards[1], 9_000_000)):
        bank["v2pmailbox"].set(rsti=int(bank is two.theirs))
        card.loop.call_at(card.loop.now() + after, lambda bank=bank: bank["v2pmailbox"].set(rsti=0, pfack=1))  # type: ignore[misc]
    with two.tee:
        assert two.dev.v2pmailbox.rsti == 0
        two.dev.rdt[0].write(1)
        assert two.dev.v2pmailbox.take("pfack") == 1


def test_what_runs_free_is_not_compared(two: Two) -> None:
    two.theirs.before_read("frtimer", lambda path: two.theirs["frtimer"].set(microsecond=7))
    with two.tee:
        two.dev.frtimer.read()
        two.dev.rdt[0].write(1)


def test_exclusions() -> None:
    two = open_two(exclude=["status.lu", "srrctl"])
    two.theirs["status"].set(lu=1)
    two.theirs["srrctl"].set(rdmts=3)
    with two.tee:
        two.dev.status.read()
        two.dev.srrctl[0].read()
        two.dev.rdt[0].write(1)
    two = open_two(exclude=["status.lu"])
    two.theirs["status"].set(fd=0)
    with pytest.raises(Difference, match=r"\(fd=1\), theirs 0x\w+ \(fd=0\)"), two.tee:
        two.dev.status.read()
        two.dev.rdt[0].write(1)
    for wrong, message in (
        ("statu", "did you mean status"),
        ("status.lo", "status has no field 'lo'"),
        ("config:statu", "space has no register 'statu'"),
        ("rx_writeback.lenght", "rx_writeback has no 'lenght'; it has .*length"),
    ):
        with pytest.raises(UsageError, match=message):
            open_two(exclude=[wrong])


def test_differences_may_be_accepted() -> None:
    seen: list[Finding] = []
    two = open_two(accept=lambda finding: seen.append(finding) or True)
    two.theirs["srrctl"].set(rdmts=3)
    with two.tee:
        assert two.dev.srrctl[0].rdmts == 0
    assert two.tee.accepted == seen and [(f.where, f.mask) for f in seen] == [("srrctl[0]", 0x300000)]


def test_configuration_space() -> None:
    two = open_two(testdevice.DEVICE)
    two.cards[1].function.config["vendor_scratch"].value = 9
    with pytest.raises(Difference, match=r"read vendor_scratch: ours 0x0 \(value=0\), theirs 0x9 \(value=9\)"), two.tee:
        two.tee.config_read(0x84, 1)


def test_wide_reads_are_compared_register_by_register() -> None:
    two = open_two(testdevice.DEVICE)
    two.cards[1].function.config["revision_id"].store[8] = 9
    with pytest.raises(Difference, match=r"revision_id.*\(id=3\), theirs .*\(id=9\)"), two.tee:
        two.tee.config_read(8, 4)


def test_a_difference_is_not_hidden_by_cleaning_up(two: Two) -> None:
    """The driver goes on with both, and nothing more is compared."""
    two.theirs["srrctl"].set(rdmts=1)
    two.theirs["status"].set(fd=0)
    with pytest.raises(Difference, match=r"read srrctl\[0\]"), two.tee:
        try:
            two.dev.srrctl[0].read()
        finally:
            two.dev.status.read()
            two.dev.rdt[0].write(3)
    assert two.ours["rdt"].value == two.theirs["rdt"].value == 3


# -- memory and interrupts


def order(two: Two, iova: int, content: int = 0xFEED) -> None:
    """Have both devices write ``content`` at ``iova``."""
    bar = two.tee.bar(0)
    for at, value in ((SCRATCH, content), (DMA_LOW, iova), (DMA_GO, 1)):
        bar.write(at, 4, value)


def test_memory_is_copied_and_compared() -> None:
    two = open_two(testdevice.DEVICE)
    with two.tee:
        buffer = two.tee.alloc(4096)
        buffer.view[:4] = b"both"
        buffer.sync_for_device(0, 16)
        assert bytes(buffer.ours.view[:4]) == bytes(buffer.theirs.view[:4]) == b"both"
        order(two, buffer.iova + 64)
        buffer.sync_for_cpu()
        assert bytes(buffer.view[64:66]) == b"\xed\xfe"


def test_what_is_handed_over_is_what_the_driver_wrote() -> None:
    """Also where it wrote what was there before the device came, which it has not looked at; elsewhere nothing is undone."""
    two = open_two(testdevice.DEVICE)
    with two.tee:
        buffer = two.tee.alloc(4096)
        for at in (0, 64):
            order(two, buffer.iova + at)
            for transport in two.transports:
                transport.sleep(0)
        buffer.view[0:10] = bytes(8) + b"rx"
        buffer.sync_for_device(0, 16)
        buffer.sync_for_cpu()
        assert bytes(buffer.view[:10]) == bytes(8) + b"rx" and bytes(buffer.view[64:66]) == b"\xed\xfe"


def test_what_is_taken_leaves_what_the_driver_has_not_handed_over() -> None:
    two = open_two(testdevice.DEVICE)
    with two.tee:
        buffer = two.tee.alloc(4096)
        order(two, buffer.iova)
        buffer.view[8:10] = b"tx"
        buffer.sync_for_cpu()
        assert bytes(buffer.view[:10]) == b"\xed\xfe\0\0\0\0\0\0tx"


def test_other_contents() -> None:
    two = open_two(testdevice.DEVICE)

    def write_other(path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        two.theirs["scratch"].value = 0xFEEE

    two.theirs.on_write("scratch", write_other)
    with pytest.raises(Difference, match="memory from 0x10000064 on: ours wrote ed fe, theirs has ee fe"), two.tee:
        buffer = two.tee.alloc(4096)
        order(two, buffer.iova + 100)
        buffer.sync_for_cpu()


@pytest.mark.parametrize("freed", [True, False])
def test_memory_that_only_one_writes(freed: bool) -> None:
    """The first never does: found when the buffer is taken back, at the end at the latest."""
    two = open_two(testdevice.DEVICE)
    with pytest.raises(Difference, match=r"memory from 0x10000020 on: ours wrote 00, theirs has 01"), two.tee:
        buffer = two.tee.alloc(4096)
        buffer.theirs.view[32] = 1
        buffer.sync_for_cpu()
        if freed:
            buffer.free()


def test_memory_that_comes_late() -> None:
    two = open_two(testdevice.DEVICE)
    with two.tee:
        buffer = two.tee.alloc(4096)
        buffer.ours.view[5] = 7
        loop = two.cards[1].loop
        loop.call_at(loop.now() + 50_000_000, lambda: memoryview(buffer.theirs.view).__setitem__(5, 7))
        buffer.sync_for_cpu()
        assert buffer.view[5] == 7


def test_interrupts() -> None:
    two = open_two(testdevice.DEVICE)
    with two.tee:
        two.tee.enable_irqs(3)
        two.tee.bar(0).write(MESSAGE, 4, 2)
        assert list(two.tee.wait_irq(1)) == [2]
        two.theirs.write(MESSAGE, 4, 1)
        assert list(two.tee.wait_irq(0.01)) == []
        two.ours.write(MESSAGE, 4, 1)
        assert list(two.tee.wait_irq(0.01)) == [1]
        two.theirs.write(MESSAGE, 4, 0)
        two.tee.wait_irq(0)
    assert two.tee.unmatched == [0]


def test_an_interrupt_that_the_second_does_not_send() -> None:
    two = open_two(testdevice.DEVICE)
    with pytest.raises(Difference, match=r"ours signalled vectors \[1\], theirs not \[1\]"), two.tee:
        two.tee.enable_irqs(3)
        two.ours.write(MESSAGE, 4, 1)
        two.tee.wait_irq(1)


def test_an_error_of_one() -> None:
    two = open_two(testdevice.DEVICE)

    def refuse(offset: int, size: int) -> int:
        raise UsageError("not today")

    two.transports[1].config_read = refuse  # type: ignore[method-assign]
    with pytest.raises(Difference, match=r"read vendor_id: ours no error, theirs UsageError \(not today\)"), two.tee:
        two.tee.config_read(0, 2)


def test_the_whole_session() -> None:
    """The one that is recorded elsewhere, on both."""
    two = open_two(testdevice.DEVICE)
    with two.tee:
        result, memory, fired, _ = dma_session(two.tee)  # type: ignore[misc]
    assert (result, fired) == (1, [2]) and isinstance(memory, bytes) and memory[:2] == b"\xed\xfe"


class Flipping:
    """A ``Function`` of which reads at one offset of BAR 0 come with some bits turned over."""

    def __init__(self, function: Any) -> None:
        self._function, self.offset, self.mask = function, -1, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def region_read(self, index: int, offset: int, size: int) -> int:
        value: int = self._function.region_read(index, offset, size)
        return value ^ self.mask if index == 0 and offset == self.offset else value


def test_every_bit_that_is_wrong_is_found() -> None:
    """Each bit of each register of the VF, one at a time; but for events, which are compared at the end, and what runs free."""
    pair = [open_functions(IGBVF, clock="manual") for _ in range(2)]
    flipping = Flipping(pair[1].function)
    ours, theirs = InProcess(pair[0].function, pair[0]), InProcess(flipping, pair[1])
    tee = Tee(ours, theirs, IGBVF, grace=0.002, accept=lambda finding: True)
    tee.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
    bar, free = tee.bar(0), IGBVF.conduct.free_running
    for name in ("v2pmailbox", "eicr"):  # what stands there from the start is no matter
        bar.read(IGBVF.bars[0].entries[name].offsets[0], 4)
    bits = 0
    for path, _, offset, entry in IGBVF.bars[0].placed():
        if not isinstance(entry, Register) or entry.status is not Status.IMPLEMENTED:
            continue
        name = path.partition("[")[0]
        for f in entry.fields:
            if f.access.onread is OnRead.CLEAR:
                continue
            for bit in range(f.lsb, f.msb + 1):
                flipping.offset, flipping.mask = offset, 1 << bit
                tee.accepted.clear()
                bar.read(offset, 4)
                tee.finish_poll()
                known = [] if {name, f"{name}.{f.name}"} & {*free} else [(path, 1 << bit)]
                assert [(found.where, found.mask) for found in tee.accepted] == known, f"{path}.{f.name}"
                bits += bool(known)
    assert bits > 1500
    for card in pair:
        card.close()


def test_from_the_command_line() -> None:
    from drivers.transports import tee

    with tee.open("inprocess,inprocess", IGBVF) as both:
        both.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        assert both.name == "tee of inprocess and inprocess" and both.bar(0).read(8, 4) & 2
    for wrong in ("", "inprocess", "inprocess,", ",inprocess"):
        with pytest.raises(UsageError, match="write it as tee:OURS,THEIRS"):
            tee.open(wrong, IGBVF)
    with pytest.raises(UsageError, match="no such transport"):
        tee.open("inprocess,carrier:pigeon", IGBVF)
