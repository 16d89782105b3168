"""Configuration space as described: identity, the two capability chains, BAR sizing, what each reset leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from regmodel.bank import Bank
from regmodel.capabilities import aer, ari, dsn, msi, msix, msix_bar, msix_table, pcie, pm, vendor
from regmodel.catalogue import Device, Identity
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.errors import DescriptionError
from regmodel.function import RegionKind, ResetCause
from regmodel.pci import BarSpec, ConfigSpace
from regmodel.registers import Bar

ID = Identity(0x8086, 0x1234, 0x020001, revision=3, subsystem_vendor=0x1AF4, subsystem=0x1100)


def full() -> ConfigSpace:
    """A function with one of everything; the capabilities are not in order of offset."""
    return ConfigSpace(
        ID, aer(0x100), msix(0xB0, 5, table=(4, 0x1000), pba=(4, 0x1800)), pm(0x40, no_soft_reset=True, pme=0x19),
        msi(0x50, 4, maskable=True), pcie(0x70, flr=True, payload=1), vendor(0xC0, 16), dsn(0x140, 1 << 40), ari(0x150),
        bars=(BarSpec(0, 0x20000, prefetch=True), BarSpec(1, 32, RegionKind.IO), BarSpec(2, 0x4000, bits64=True),
              BarSpec(4, 1 << 33, bits64=True, prefetch=True)),
        rom=0x10000, pin=1,
    )  # fmt: skip


def chain(bank: Bank, at: int, extended: bool) -> list[tuple[int, int]]:
    """(identifier, offset) as enumeration software walks them."""
    found = []
    while at:
        word = bank.read(at, 4 if extended else 2)
        found.append((word & (0xFFFF if extended else 0xFF), at))
        at = word >> 20 if extended else word >> 8
    return found


def test_identity_is_where_enumeration_reads_it() -> None:
    bank = Bank(full())
    assert bank.read(0x00, 4) == 0x12348086
    assert bank.read(0x08, 4) == 0x02000103
    assert bank.read(0x2C, 4) == 0x11001AF4
    assert bank.read(0x0E, 1) == 0 and bank.read(0x3D, 1) == 1


def test_capabilities_are_chained_by_offset() -> None:
    bank = Bank(full())
    assert bank.read(0x06, 2) & 0x10
    assert chain(bank, bank.read(0x34, 1), False) == [(1, 0x40), (5, 0x50), (0x10, 0x70), (0x11, 0xB0), (9, 0xC0)]
    assert chain(bank, 0x100, True) == [(1, 0x100), (3, 0x140), (0xE, 0x150)]


def test_a_function_without_capabilities_says_so() -> None:
    bank = Bank(ConfigSpace(ID, size=256))
    assert bank.read(0x06, 2) & 0x10 == 0 and bank.read(0x34, 1) == 0


@pytest.mark.parametrize(
    ("at", "reads", "size"),
    [(0x10, 0xFFFE0008, 0x20000), (0x14, 0xFFFFFFE1, 32), (0x18, 0xFFFFC004, 0x4000), (0x30, 0xFFFF0001, 0x10000)],
)  # fmt: skip
def test_ones_written_to_a_bar_show_its_size(at: int, reads: int, size: int) -> None:
    bank = Bank(full())
    bank.write(at, 4, 0xFFFFFFFF)
    assert bank.read(at, 4) == reads
    assert (~(reads & ~0xF if size > 16 else reads) & 0xFFFFFFFF) + 1 == size


def test_a_bar_beyond_4_gib_is_sized_by_both_halves() -> None:
    bank = Bank(full())
    bank.write(0x20, 4, 0xFFFFFFFF)
    bank.write(0x24, 4, 0xFFFFFFFF)
    assert (bank.read(0x20, 4), bank.read(0x24, 4)) == (0xC, 0xFFFFFFFE)
    bank.write(0x20, 4, 0xC000000C)
    assert bank.read(0x20, 4) == 0xC


def test_the_upper_half_of_a_64_bit_bar_is_all_address() -> None:
    bank = Bank(full())
    bank.write(0x1C, 4, 0xFFFFFFFF)
    assert bank.read(0x1C, 4) == 0xFFFFFFFF


def test_command_has_what_means_something() -> None:
    for config, writable in ((full(), 0x0547), (IGBVF.config, 0x0146), (ConfigSpace(ID), 0x0144)):
        bank = Bank(config)
        bank.write(0x04, 2, 0xFFFF)
        assert bank.read(0x04, 2) == writable


def test_msix_place_is_read_off_the_registers() -> None:
    found = full().msix
    assert found is not None
    assert (found.at, found.vectors, found.table, found.pba) == (0xB0, 5, (4, 0x1000), (4, 0x1800))
    assert full().msi_vectors == 4 and ConfigSpace(ID).msix is None and ConfigSpace(ID).msi_vectors == 0


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.BUS, ResetCause.POWER_ON])
def test_resets_spare_what_is_sticky(cause: ResetCause) -> None:
    bank = Bank(full())
    bank.write(0x04, 2, 0x0007)
    bank.write(0x10, 4, 0xE0000000)
    bank.write(0x108, 4, 0x00100000)  # AER mask: unsupported request
    bank.write(0x78, 2, 0x2830)  # device control: payload 256 bytes
    bank.reset(cause)
    assert bank.read(0x04, 2) == 0 and bank.read(0x10, 4) == 8
    assert bank.read(0x108, 4) == (0 if cause is ResetCause.POWER_ON else 0x00100000)
    assert bank["pcie_device_control"].get("max_payload_size") == (1 if cause is ResetCause.FLR else 0)


def test_a_software_reset_does_not_reach_configuration_space() -> None:
    bank = Bank(IGBVF.config)
    bank.write(0x04, 2, 0x0006)
    bank.write(0x10, 4, 0xE0000000)
    bank.reset(ResetCause.SOFTWARE)
    assert bank.read(0x04, 2) == 6 and bank.read(0x10, 4) == 0xE000000C


def test_flr_is_a_pulse_where_it_is_offered() -> None:
    heard = []
    bank = Bank(IGBVF.config)
    bank.on_write("pcie_device_control", lambda path, old, new, size, cause: heard.append(new))
    bank.write(0xA8, 2, 0x8000)
    assert heard == [0x8000] and bank.read(0xA8, 2) == 0


@pytest.mark.parametrize("device", [IGBVF, IGBVF_I350], ids=lambda device: device.name)
def test_igbvf_shows_what_a_vf_shows(device: Device) -> None:
    bank = Bank(device.config)
    assert bank.read(0, 4) == (0x10CA8086 if device is IGBVF else 0x15208086)
    assert bank.read(0x08, 4) == 0x02000001 and bank.read(0x3C, 2) == 0
    assert chain(bank, bank.read(0x34, 1), False) == [(0x11, 0x70), (0x10, 0xA0)]
    assert chain(bank, 0x100, True) == [(1, 0x100), (0xE, 0x150)]
    assert bank.read(0x72, 2) == 2 and bank.read(0x74, 4) == 3 and bank.read(0x78, 4) == 0x2003
    for at in (0x10, 0x14, 0x1C, 0x20, 0x30):
        bank.write(at, 4, 0xFFFFFFFF)
    assert [bank.read(at, 4) for at in (0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x30)] == [
        0xFFFFC00C, 0xFFFFFFFF, 0, 0xFFFFC00C, 0xFFFFFFFF, 0, 0]  # fmt: skip
    assert bank.read(0xA4, 4) & 1 << 28, "no function level reset"


def test_msix_table_comes_up_masked() -> None:
    bank = Bank(IGBVF.bars[3])
    assert [bank.read(0x0C + 16 * i, 4) for i in range(3)] == [1, 1, 1]
    bank.write(0x0C, 4, 0)
    bank.reset(ResetCause.FLR)
    assert bank.read(0x0C, 4) == 1


def test_a_shared_bar_can_hold_the_msix_table() -> None:
    spec = full().msix
    assert spec is not None
    bar = Bar("bar4", 0x2000, *msix_table(spec))
    assert bar.entries["msix_vector_control"].offsets[4] == 0x104C


CONTRADICTIONS: dict[str, Callable[[], object]] = {
    "bar-size": lambda: BarSpec(0, 0x3000),
    "bar-index": lambda: BarSpec(5, 0x1000, bits64=True),
    "bar-kind": lambda: BarSpec(0, 32, RegionKind.IO, prefetch=True),
    "bar-taken": lambda: ConfigSpace(ID, bars=(BarSpec(0, 0x1000, bits64=True), BarSpec(1, 0x1000))),
    "bar-twice": lambda: ConfigSpace(ID, bars=(BarSpec(0, 0x1000), BarSpec(0, 0x2000))),
    "rom-size": lambda: ConfigSpace(ID, rom=1024),
    "capability-place": lambda: ConfigSpace(ID, msix(0x40, 1, (0, 0), (0, 64)), pm(0x48)),
    "capability-header": lambda: ConfigSpace(ID, pm(0x3C)),
    "capability-end": lambda: ConfigSpace(ID, aer(0x100), size=256),
    "msix-place": lambda: msix_bar("bar0", 0x1000, full(), 0),
}
CODES = {"bar-taken": "bar-index", "bar-twice": "bar-index", "capability-header": "capability-place",
         "capability-end": "capability-place"}  # fmt: skip


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_contradiction_is_named(what: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        CONTRADICTIONS[what]()
    assert caught.value.code == CODES.get(what, what)
    assert "test_pci.py:" in caught.value.where
