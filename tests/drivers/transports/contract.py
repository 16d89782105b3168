"""What every transport must do, as tests over any of them.

The device is the test function of ``tests.emulators.pci.testdevice``: a scratch register, a doorbell that sends a message, a
line, one DMA write on demand. A transport joins by subclassing ``Contract`` in a test module of its own and giving a fixture
``bench`` that returns a ``Bench``: the open transport, and what the other side has seen where that can be known::

    class TestMine(Contract):
        @pytest.fixture
        def bench(self) -> Iterator[Bench]:
            ...
            yield Bench(transport, accesses=lambda: list(bank.ring))

Time limits in here bound a failure, they are not what is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from drivers.transports import DmaBuffer, Transport
from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE
from drivers.transports.iova import START
from regmodel.errors import UsageError
from regmodel.function import Irq
from tests.emulators.pci import testdevice

IO_SPACE = 1
IDENTITY, SCRATCH, EVENTS, LINE, MESSAGE, DMA_LOW, DMA_HIGH, DMA_GO, DMA_RESULT = (
    0x00, 0x04, 0x08, 0x10, 0x14, 0x20, 0x24, 0x28, 0x2C)  # fmt: skip
DONE, FAULT = 1, 2
LONG = 10.0

Access = tuple[str, int, int, int]
"""("read" or "write", offset, size, value)."""


@dataclass
class Bench:
    """``accesses`` gives what the device saw on BAR 0 since the bench was made, where one can look; ``again`` opens the same
    function once more after ``close``, where that makes sense."""

    transport: Transport
    accesses: Callable[[], Sequence[Access]] | None = None
    again: Callable[[], Transport] | None = None


def ring_of(function: Any) -> Callable[[], list[Access]]:
    """``Bench.accesses`` over the access ring of BAR 0 of a ``PciFunction``."""
    bank = function.banks[0]
    return lambda: [(cause.value, offset, size, value) for _, cause, _, offset, size, value in bank.ring]


class Contract:
    """See the module."""

    @pytest.fixture
    def transport(self, bench: Bench) -> Transport:
        """Memory decoded, bus master on."""
        found = bench.transport
        found.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER | IO_SPACE)
        return found

    # -- configuration space

    def test_identity(self, transport: Transport) -> None:
        expected = testdevice.IDENTITY
        assert transport.config_read(0, 4) == expected.device << 16 | expected.vendor
        assert transport.config_read(0, 2) == expected.vendor
        assert transport.config_read(2, 2) == expected.device
        assert transport.config_read(1, 1) == expected.vendor >> 8

    def test_config_writes_stay(self, transport: Transport) -> None:
        transport.config_write(0x84, 1, 0xA5)
        assert transport.config_read(0x84, 1) == 0xA5

    @pytest.mark.parametrize(("offset", "size"), [(1, 2), (2, 4), (0, 3), (0, 8), (0, 0), (-4, 4), (4096, 1), (4096, 4)])
    def test_config_accesses_that_do_not_exist(self, transport: Transport, offset: int, size: int) -> None:
        with pytest.raises(UsageError):
            transport.config_read(offset, size)
        with pytest.raises(UsageError):
            transport.config_write(offset, size, 0)

    @pytest.mark.parametrize(("size", "value"), [(1, 256), (2, 1 << 16), (4, 1 << 32), (4, -1)])
    def test_config_values_that_do_not_fit(self, transport: Transport, size: int, value: int) -> None:
        with pytest.raises(UsageError):
            transport.config_write(0x84, size, value)

    # -- registers

    def test_bars(self, transport: Transport) -> None:
        bar = transport.bar(0)
        assert (bar.index, bar.size) == (0, 0x1000)
        assert [len(words) for words in (bar.u8, bar.u16, bar.u32, bar.u64)] == [0x1000, 0x800, 0x400, 0x200]
        assert transport.bar(0) is bar

    @pytest.mark.parametrize("index", [3, 5, 6, 9, -1])
    def test_bars_that_do_not_exist(self, transport: Transport, index: int) -> None:
        with pytest.raises(UsageError, match=f"BAR {index}"):
            transport.bar(index)

    def test_words(self, transport: Transport) -> None:
        bar = transport.bar(0)
        assert bar.u32[IDENTITY // 4] == 0x600DCAFE
        bar.u32[SCRATCH // 4] = 0x89ABCDEF
        assert [bar.u8[SCRATCH + i] for i in range(4)] == [0xEF, 0xCD, 0xAB, 0x89]
        assert [bar.u16[SCRATCH // 2 + i] for i in range(2)] == [0xCDEF, 0x89AB]
        assert bar.u64[0] == 0x89ABCDEF_600DCAFE

    @pytest.mark.parametrize("size", [1, 2, 4, 8])
    def test_read_and_write_of_each_width(self, transport: Transport, size: int) -> None:
        bar = transport.bar(0)
        value = 0x1122334455667788 & (1 << 8 * size) - 1
        bar.write(DMA_LOW, size, value)
        assert bar.read(DMA_LOW, size) == value
        bar.write(DMA_LOW, size, 0)
        assert bar.read(DMA_LOW, 8) == 0

    def test_each_access_is_one_access_of_its_width(self, bench: Bench, transport: Transport) -> None:
        if bench.accesses is None:
            pytest.skip("there is no access ring to look at on the other side of this transport")
        bar = transport.bar(0)
        before = len(bench.accesses())
        seen: list[Access] = []
        for width, words in ((1, bar.u8), (2, bar.u16), (4, bar.u32), (8, bar.u64)):
            ones = 0x0102030405060708 & (1 << 8 * width) - 1
            at = DMA_LOW // width
            words[at] = ones
            assert words[at] == ones
            bar.write(DMA_LOW, width, ones)
            assert bar.read(DMA_LOW, width) == ones
            seen += 2 * [("write", DMA_LOW, width, ones), ("read", DMA_LOW, width, ones)]
        assert list(bench.accesses())[before:] == seen

    @pytest.mark.parametrize("value", [-1, 1 << 32])
    def test_words_that_do_not_fit(self, transport: Transport, value: int) -> None:
        bar = transport.bar(0)
        before = bar.u32[SCRATCH // 4]
        with pytest.raises((ValueError, UsageError)):
            bar.u32[SCRATCH // 4] = value
        with pytest.raises(UsageError):
            bar.write(SCRATCH, 4, value)
        assert bar.u32[SCRATCH // 4] == before

    def test_words_beyond_the_end(self, transport: Transport) -> None:
        bar = transport.bar(0)
        with pytest.raises((IndexError, UsageError)):
            bar.u32[0x400]
        with pytest.raises((IndexError, UsageError)):
            bar.u32[0x400] = 0

    @pytest.mark.parametrize(("offset", "size"), [(1, 2), (2, 4), (4, 8), (0x1000, 1), (0xFFC, 8), (-4, 4), (0, 3), (0, 16)])
    def test_accesses_that_a_bar_cannot_take(self, bench: Bench, transport: Transport, offset: int, size: int) -> None:
        bar = transport.bar(0)
        before = bench.accesses and len(bench.accesses())
        with pytest.raises(UsageError):
            bar.read(offset, size)
        with pytest.raises(UsageError):
            bar.write(offset, size, 0)
        assert (bench.accesses and len(bench.accesses())) == before

    # -- memory

    def test_memory_is_zeroed_aligned_and_its_own(self, transport: Transport) -> None:
        one, other = transport.alloc(100), transport.alloc(5000)
        assert [(b.iova % 4096, b.size, len(b.view)) for b in (one, other)] == [(0, 4096, 4096), (0, 8192, 8192)]
        assert not any(one.view) and not any(other.view)
        one.view[:4] = b"abcd"
        assert bytes(one.view[:5]) == b"abcd\0" and not any(other.view)
        assert not one.view.readonly

    def test_the_same_calls_give_the_same_addresses(self, transport: Transport) -> None:
        first, second, third = (transport.alloc(size) for size in (1, 0x2000, 0x1000))
        assert (first.iova, second.iova, third.iova) == (START, START + 0x1000, START + 0x3000)
        second.free()
        assert transport.alloc(0x1000).iova == START + 0x1000
        assert transport.alloc(0x2000).iova == START + 0x4000

    def test_memory_that_was_used_is_zeroed_again(self, transport: Transport) -> None:
        buffer = transport.alloc(4096)
        buffer.view[:4] = b"abcd"
        buffer.free()
        assert not any(transport.alloc(4096).view)

    @pytest.mark.parametrize("size", [0, -1])
    def test_no_memory(self, transport: Transport, size: int) -> None:
        with pytest.raises(UsageError):
            transport.alloc(size)

    def test_memory_is_freed_once(self, transport: Transport) -> None:
        buffer = transport.alloc(1)
        buffer.free()
        with pytest.raises(UsageError, match="not allocated"):
            buffer.free()

    def test_the_device_writes_where_it_is_told(self, transport: Transport) -> None:
        buffer = transport.alloc(8192)
        buffer.sync_for_device()
        for at in (0, 4092, 8188):
            assert dma(transport, buffer.iova + at, 0xFEED0000 + at) == DONE
        buffer.sync_for_cpu()
        assert [buffer.view.cast("I")[at // 4] for at in (0, 4092, 8188)] == [0xFEED0000, 0xFEED0FFC, 0xFEED1FFC]

    def test_the_device_does_not_reach_what_was_freed(self, transport: Transport) -> None:
        buffer = transport.alloc(4096)
        iova = buffer.iova
        buffer.free()
        assert dma(transport, iova, 1) == FAULT

    def test_no_dma_without_bus_master(self, transport: Transport) -> None:
        buffer = transport.alloc(4096)
        transport.config_write(COMMAND, 2, MEMORY_SPACE)
        assert dma(transport, buffer.iova, 1) == FAULT
        assert not any(view_of(buffer))

    # -- interrupts

    def test_vectors(self, transport: Transport) -> None:
        assert transport.irq_vectors() == transport.irq_vectors(Irq.MSIX) == 3
        assert (transport.irq_vectors(Irq.MSI), transport.irq_vectors(Irq.INTX)) == (4, 1)

    @pytest.mark.parametrize(("count", "irq"), [(0, Irq.MSIX), (4, Irq.MSIX), (-1, Irq.MSI), (2, Irq.INTX)])
    def test_vectors_that_do_not_exist(self, transport: Transport, count: int, irq: Irq) -> None:
        with pytest.raises(UsageError):
            transport.enable_irqs(count, irq)

    @pytest.mark.parametrize("irq", [Irq.MSIX, Irq.MSI])
    def test_messages(self, transport: Transport, irq: Irq) -> None:
        transport.enable_irqs(3, irq)
        bell = transport.bar(0).u32
        bell[MESSAGE // 4] = 1
        assert list(transport.wait_irq(LONG)) == [1]
        for vector in (2, 0, 2):
            bell[MESSAGE // 4] = vector
        fired: set[int] = set()
        while fired != {0, 2}:  # on a live bus they need not arrive together
            got = list(transport.wait_irq(LONG))
            assert got and got == sorted(got)
            fired.update(got)

    def test_no_interrupt_until_time_is_up(self, transport: Transport) -> None:
        transport.enable_irqs(1)
        before = transport.now()
        assert list(transport.wait_irq(0.02)) == []
        assert 0.0199 <= transport.now() - before < LONG

    def test_a_look_without_waiting(self, transport: Transport) -> None:
        transport.enable_irqs(1)
        assert list(transport.wait_irq(0)) == []

    def test_vectors_are_told_once(self, transport: Transport) -> None:
        transport.enable_irqs(3)
        transport.bar(0).u32[MESSAGE // 4] = 2
        assert list(transport.wait_irq(LONG)) == [2]
        assert list(transport.wait_irq(0.01)) == []

    def test_disabled_vectors_are_not_told(self, transport: Transport) -> None:
        transport.enable_irqs(3)
        transport.bar(0).u32[MESSAGE // 4] = 0
        transport.bar(0).u32[SCRATCH // 4]  # a read: the write before it has arrived
        transport.disable_irqs()
        transport.disable_irqs()
        assert list(transport.wait_irq(0)) == []
        transport.enable_irqs(3)
        assert list(transport.wait_irq(0.01)) == []

    def test_enabling_replaces(self, transport: Transport) -> None:
        transport.enable_irqs(3, Irq.MSIX)
        transport.enable_irqs(2, Irq.MSI)
        transport.bar(0).u32[MESSAGE // 4] = 1
        assert list(transport.wait_irq(LONG)) == [1]

    def test_the_line(self, transport: Transport) -> None:
        """It is told again as long as it stays asserted."""
        transport.enable_irqs(1, Irq.INTX)
        line = transport.bar(0).u32
        line[LINE // 4] = 1
        assert list(transport.wait_irq(LONG)) == [0]
        assert list(transport.wait_irq(LONG)) == [0]
        line[LINE // 4] = 0
        line[LINE // 4]
        transport.wait_irq(0)  # what came before the line was let go
        assert list(transport.wait_irq(0.01)) == []

    # -- time, reset and the end

    def test_sleep_lets_time_pass(self, transport: Transport) -> None:
        before = transport.now()
        transport.sleep(0.02)
        assert 0.0199 <= transport.now() - before < LONG

    def test_reset(self, transport: Transport) -> None:
        transport.enable_irqs(2)
        transport.bar(0).u32[SCRATCH // 4] = 5
        transport.reset()
        assert not transport.config_read(COMMAND, 2) & BUS_MASTER
        transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        assert transport.bar(0).u32[SCRATCH // 4] == 0x11111111
        transport.bar(0).u32[MESSAGE // 4] = 1
        assert list(transport.wait_irq(0.01)) == []

    def test_memory_outlives_a_reset(self, transport: Transport) -> None:
        buffer = transport.alloc(4096)
        transport.reset()
        transport.config_write(COMMAND, 2, MEMORY_SPACE | BUS_MASTER)
        assert dma(transport, buffer.iova, 7) == DONE

    def test_close_is_harmless_the_second_time(self, transport: Transport) -> None:
        transport.alloc(4096)
        transport.enable_irqs(1)
        transport.close()
        transport.close()
        with pytest.raises(UsageError, match="closed"):
            transport.config_read(0, 4)
        with pytest.raises(UsageError, match="closed"):
            transport.alloc(4096)

    def test_it_is_a_context_manager(self, transport: Transport) -> None:
        with transport as same:
            assert same is transport
        with pytest.raises(UsageError, match="closed"):
            transport.bar(0)

    def test_it_can_be_opened_again(self, bench: Bench, transport: Transport) -> None:
        if bench.again is None:
            pytest.skip("this transport cannot open the same function again")
        transport.alloc(4096)
        transport.close()
        with bench.again() as second:
            assert not second.config_read(COMMAND, 2) & BUS_MASTER
            assert second.alloc(4096).iova == START


def dma(transport: Transport, iova: int, value: int) -> int:
    """Have the test function write ``value`` at ``iova``; what it says of it: ``DONE`` or ``FAULT``."""
    bar = transport.bar(0).u32
    bar[SCRATCH // 4] = value
    bar[DMA_LOW // 4], bar[DMA_HIGH // 4] = iova & 0xFFFFFFFF, iova >> 32
    bar[DMA_GO // 4] = 1
    deadline = transport.now() + LONG
    while not (result := bar[DMA_RESULT // 4]) and transport.now() < deadline:
        transport.sleep(0.001)
    return result


def view_of(buffer: DmaBuffer) -> memoryview:
    """What is in ``buffer`` now, as the driver sees it."""
    buffer.sync_for_cpu()
    return buffer.view
