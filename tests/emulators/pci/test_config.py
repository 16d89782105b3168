"""Configuration space as software finds it: sizing, access rules, capability lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.pci.function import PciFunction
from regmodel.access import OnWrite
from regmodel.function import RegionKind
from regmodel.registers import Register
from tests.emulators.pci import testdevice
from tests.emulators.pci.bench import Bench, get16, get32, set16, set32

WITH_EFFECTS = ("pm_control_status", "af_control", "pcie_device_control")
"""Registers whose writes do more than their bits say; they have tests of their own."""


class Oracle:
    """Configuration space bit by bit, straight from the description; shares no code with the bank."""

    def __init__(self) -> None:
        self.bits: dict[int, int] = {}
        self.rule: dict[int, OnWrite] = {}
        self.readable: dict[int, bool] = {}
        for _, _, offset, entry in testdevice.CONFIG.placed():
            assert isinstance(entry, Register)
            for field in entry.fields:
                for bit in range(field.lsb, field.lsb + field.width):
                    at = 8 * offset + bit
                    self.bits[at] = next(iter(entry.resets.values())) >> bit & 1
                    self.rule[at] = field.access.onwrite
                    self.readable[at] = field.access.readable

    def write(self, offset: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            for bit in range(8):
                at, one = 8 * (offset + i) + bit, byte >> bit & 1
                rule = self.rule.get(at, OnWrite.NOTHING)
                if rule is OnWrite.STORE:
                    self.bits[at] = one
                elif rule is OnWrite.ONE_CLEARS and one:
                    self.bits[at] = 0
                else:
                    assert rule in (OnWrite.NOTHING, OnWrite.PULSE, OnWrite.ONE_CLEARS), rule

    def read(self, offset: int, size: int) -> bytes:
        return bytes(
            sum((self.readable.get(8 * at + b, False) and self.bits[8 * at + b]) << b for b in range(8))
            for at in range(offset, offset + size)
        )


def touches(offset: int, size: int) -> bool:
    return any(
        offset < (r := testdevice.CONFIG.entries[name]).offsets[0] + r.size and r.offsets[0] < offset + size
        for name in WITH_EFFECTS
    )


EDGES = sorted({o + d for _, _, o, _ in testdevice.CONFIG.placed() for d in range(-3, 4) if 0 <= o + d < 4096})
OFFSETS = st.one_of(st.sampled_from(EDGES), st.integers(0, 4095))
WRITES = st.tuples(OFFSETS, st.binary(min_size=1, max_size=8)).filter(
    lambda w: w[0] + len(w[1]) <= 4096 and not touches(w[0], len(w[1]))
)
READS = st.tuples(OFFSETS, st.integers(1, 64)).filter(lambda r: r[0] + r[1] <= 4096)


@settings(max_examples=60)
@given(st.lists(st.one_of(WRITES, READS), max_size=12))
def test_accesses_of_all_sizes_and_offsets_do_what_each_bit_says(accesses: list[tuple[int, bytes | int]]) -> None:
    bench, oracle = Bench(), Oracle()
    try:
        function = bench.plug(command=0)
        w1c = {at for at, rule in oracle.rule.items() if rule is OnWrite.ONE_CLEARS}
        for at in w1c:  # errors that have happened, so that there is something to clear
            oracle.bits[at] = 1
            function.config.poke(at // 8, 1, function.config.peek(at // 8, 1) | 1 << at % 8)
        for offset, what in accesses:
            if isinstance(what, bytes):
                function.config_write(offset, what)
                oracle.write(offset, what)
            else:
                assert function.config_read(offset, what) == oracle.read(offset, what)
        assert function.config_read(0, 4096) == oracle.read(0, 4096)
    finally:
        bench.close()


@pytest.mark.parametrize("spec", testdevice.CONFIG.bar_specs, ids=lambda s: f"bar{s.index}")
def test_sizing(function: PciFunction, spec) -> None:
    """PCI Local Bus 3.0 §6.2.5.1: write all ones, read back, mask the type bits, invert, add one."""
    at, kept = 0x10 + 4 * spec.index, 0x3 if spec.kind is RegionKind.IO else 0xF
    before = get32(function, at)
    set32(function, at, 0xFFFFFFFF)
    answer = get32(function, at)
    if spec.bits64:
        set32(function, at + 4, 0xFFFFFFFF)
        answer |= get32(function, at + 4) << 32
    width = 64 if spec.bits64 else 32
    assert (~(answer & ~kept) + 1) & ((1 << width) - 1) == spec.size
    assert answer & kept == before & kept == (spec.kind is RegionKind.IO) | 4 * spec.bits64 | 8 * spec.prefetch
    region = next(r for r in function.regions() if r.index == spec.index)
    assert (region.size, region.kind) == (spec.size, spec.kind)


def test_rom_sizing_leaves_the_enable_bit_alone(function: PciFunction) -> None:
    set32(function, 0x30, 0xFFFFF800)
    assert get32(function, 0x30) == 0x1_0000_0000 - testdevice.ROM_SIZE
    set32(function, 0x30, 0x80000001)
    assert get32(function, 0x30) == 0x80000001


def test_absent_bars_read_0(function: PciFunction) -> None:
    set32(function, 0x24, 0xFFFFFFFF)
    assert get32(function, 0x24) == 0
    assert all(region.index != 5 for region in function.regions())


@pytest.mark.parametrize("bit", [8, 11, 12, 13, 14, 15])
def test_an_error_bit_of_status_is_cleared_by_1_alone(function: PciFunction, bit: int) -> None:
    status = function.config["status"]
    status.value |= 0xF900
    set16(function, 0x06, 1 << bit)
    assert get16(function, 0x06) == 0xF910 & ~(1 << bit)
    set16(function, 0x06, 0)
    assert get16(function, 0x06) == 0xF910 & ~(1 << bit)


def test_a_write_of_command_does_not_clear_status(function: PciFunction) -> None:
    function.config["status"].value |= 0xF900
    set16(function, 0x04, 0x0007)
    assert get16(function, 0x06) == 0xF910
    set32(function, 0x04, 0xFFFF0007)
    assert get16(function, 0x06) == 0x0010


def walk(function: PciFunction) -> list[tuple[int, int]]:
    """(offset, id) of each capability, as PCI Express Base 5.0 §7.5.1.1.11 and §7.6.3 have software find them."""
    found, at = [], function.config_read(0x34, 1)[0] & ~3
    while at:
        found.append((at, function.config_read(at, 1)[0]))
        at = function.config_read(at + 1, 1)[0] & ~3
        assert len(found) < 48, "the list is a loop"
    at = 0x100
    while at:
        header = get32(function, at)
        found.append((at, header & 0xFFFF))
        at = header >> 20
    return found


def test_the_capability_lists_are_those_described(function: PciFunction) -> None:
    assert walk(function) == [(c.at, c.id) for c in testdevice.CONFIG.capabilities]
    assert len(testdevice.CONFIG.capabilities) == 8


def test_bulk_reads_are_not_logged_as_misses(function: PciFunction) -> None:
    function.config_read(0, 4096)
    assert function.config.misses == 0


def test_long_accesses_are_logged_as_the_bus_would_carry_them(function: PciFunction) -> None:
    function.config.ring.clear()
    function.config_write(0x05, bytes(7))
    function.config_read(0x0D, 4)
    assert [record[3:5] for record in function.config.ring] == [(5, 1), (6, 2), (8, 4), (0x0D, 1), (0x0E, 2), (0x10, 1)]


def test_what_nobody_claims_reads_0_and_drops_writes(function: PciFunction) -> None:
    set32(function, 0xF00, 0x12345678)
    assert get32(function, 0xF00) == 0
    assert function.config_read(0xFFE, 4) == bytes(4)
