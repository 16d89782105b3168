"""What the function does when software writes to configuration space: decode, DMA, power, resets; and its saved state."""

from __future__ import annotations

import json
import mmap
from dataclasses import replace

import pytest
from construct import Array, Int32ul

from emulators.dma import BytesMemory, DmaMapError
from emulators.model import load_card
from emulators.pci.function import PciFunction
from emulators.pci.regions import regions_of
from emulators.pci.shared import SharedMemory
from regmodel.access import RW
from regmodel.bank import Bank
from regmodel.errors import DescriptionError, StateError, UsageError
from regmodel.function import Function, Irq, RegionKind, ResetCause
from regmodel.pci import BarSpec
from regmodel.registers import Bar, Window
from tests.emulators.pci import testdevice
from tests.emulators.pci.bench import ALL_ON, IO, MASTER, MEMORY, Bench, Vector, get16, get32, set16, set32
from tests.support.afterwards import closed_afterwards

ONES = 0xFFFFFFFF
PMCSR, DEVCTL, AF_CONTROL, SCRATCH = 0x44, 0xA8, 0x94, 4


def test_it_is_a_function(function: PciFunction) -> None:
    assert isinstance(function, Function)
    assert [r.index for r in function.regions()] == [0, 1, 2, 4, 6, 7]
    assert function.irqs() == {Irq.INTX: 1, Irq.MSI: 4, Irq.MSIX: 3, Irq.ERR: 1}


def test_vectors_that_do_not_exist_cannot_be_armed(function: PciFunction) -> None:
    with pytest.raises(UsageError, match="no MSIX vectors 2 to 3"):
        function.set_irqs(Irq.MSIX, 2, [Vector(), Vector()])
    with pytest.raises(UsageError, match="no REQ vectors"):
        function.set_irqs(Irq.REQ, 0, [Vector()])


# -- decode


def test_memory_and_io_are_decoded_apart(bench: Bench) -> None:
    function = bench.plug(command=0)
    here, there = 0x600DCAFE, 0x10101010
    for command, memory, io in ((0, ONES, ONES), (MEMORY, here, ONES), (IO, ONES, there), (MEMORY | IO, here, there)):
        set16(function, 0x04, command)
        assert (function.region_read(0, 0, 4), function.region_read(1, 4, 4)) == (memory, io)
    assert function.host.diagnostics["undecoded-read"] == 4


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_what_is_not_decoded_reads_ones_of_its_width(bench: Bench, size: int) -> None:
    assert bench.plug(command=0).region_read(0, 0, size) == (1 << 8 * size) - 1


def test_writes_that_are_not_decoded_are_dropped(bench: Bench) -> None:
    function = bench.plug(command=0)
    function.region_write(0, SCRATCH, 4, 5)
    function.region_write(4, 12, 4, 0)
    set16(function, 0x04, MEMORY)
    assert (function.region_read(0, SCRATCH, 4), function.region_read(4, 12, 4)) == (0x11111111, 1)


def test_each_bar_has_its_own_registers(function: PciFunction) -> None:
    for value, (index, offset) in enumerate(((0, SCRATCH), (1, 0), (2, 0), (4, 0x20)), 0x40):
        function.region_write(index, offset, 4, 4 * value)
    assert [function.region_read(i, o, 4) // 4 for i, o in ((0, SCRATCH), (1, 0), (2, 0), (4, 0x20))] == [*range(0x40, 0x44)]


def test_a_1_in_a_reserved_bit_is_remarked(function: PciFunction) -> None:
    function.region_write(0, 0x10, 4, 0x80000000)
    function.region_write(0, 0x10, 4, 0x80000000)
    assert function.host.diagnostics == {"reserved": 1}


# -- ROM and mapped pages


def test_the_rom_is_read_and_not_written(bench: Bench) -> None:
    image = testdevice.rom_image()
    function = bench.plug(rom=image)
    region = next(r for r in function.regions() if r.kind is RegionKind.ROM)
    assert (region.index, region.size, region.writable) == (6, 4096, False)
    read = b"".join(function.region_read(6, at, 4).to_bytes(4, "little") for at in range(0, 4096, 4))
    assert read == image + b"\xff" * 2048
    assert region.backing is not None and bytes(region.backing.read(0, 4096)) == read
    function.region_write(6, 0, 4, 0)
    assert function.region_read(6, 0, 2) == 0xAA55


def test_a_rom_larger_than_its_bar_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"5000 bytes.*4096"):
        bench.plug(rom=bytes(5000))


def test_a_mapped_window_is_the_registers_memory(function: PciFunction) -> None:
    region = next(r for r in function.regions() if r.index == 2)
    assert region.mappable == ((0x2000, 0x2000),)
    with mmap.mmap(region.fd, region.size) as pages:
        pages[0x2010:0x2014] = b"\x78\x56\x34\x12"
        assert function.region_read(2, 0x2010, 4) == 0x12345678
        function.region_write(2, 0x2014, 4, 0xCAFEF00D)
        assert pages[0x2014:0x2018] == b"\x0d\xf0\xfe\xca"
        image = function.save()
        pages[0x2010:0x2018] = bytes(8)
        function.load(image)
        assert pages[0x2010:0x2014] == b"\x78\x56\x34\x12"


def test_only_whole_pages_of_a_window_are_mapped() -> None:
    window = Bar("b", 0x8000, "w" / Window(0x800, Array(0x900, Int32ul), RW, mappable=True))
    spec, memory = BarSpec(2, 0x8000), SharedMemory(0x8000)
    space = testdevice.config(bars=(spec,))
    (bar, *_) = regions_of(testdevice.DEVICE, space, {2: Bank(window)}, {2: memory}, BytesMemory(0))
    assert bar.mappable == ((0x1000, 0x1000),)
    memory.close()


# -- DMA


def dma(function: PciFunction, bench: Bench, address: int = 0x1000) -> int:
    """Have the device write its scratch register to ``address``; its result register."""
    for offset, value in ((0x20, address & ONES), (0x24, address >> 32), (0x28, 1)):
        function.region_write(0, offset, 4, value)
    bench.loop.settle()
    return function.region_read(0, 0x2C, 4)


def test_dma_needs_bus_master(bench: Bench) -> None:
    function, memory = bench.plug(command=MEMORY), BytesMemory(4096)
    function.dma_map(0x1000, 4096, memory, read=True, write=True)
    assert (dma(function, bench), memory.content[:4]) == (2, bytes(4))
    set16(function, 0x04, MEMORY | MASTER)
    assert (dma(function, bench), memory.content[:4]) == (1, b"\x11\x11\x11\x11")
    set16(function, 0x04, MEMORY)
    assert dma(function, bench) == 2
    assert function.host.diagnostics["dma-fault"] == 2


def test_dma_ends_with_the_map(bench: Bench) -> None:
    function = bench.plug()
    function.dma_map(0x1000, 4096, BytesMemory(4096), read=True, write=False)
    assert dma(function, bench) == 2, "not writable"
    function.dma_unmap(0x1000, 4096)
    function.dma_map(0x1_0000_0000, 4096, BytesMemory(4096), read=True, write=True)
    assert (dma(function, bench), dma(function, bench, 0x1_0000_0000)) == (2, 1)
    with pytest.raises(DmaMapError):
        function.dma_unmap(0x1000, 4096)


# -- resets


@pytest.mark.parametrize("register", [DEVCTL, AF_CONTROL], ids=["pcie", "af"])
def test_function_level_reset(function: PciFunction, register: int) -> None:
    function.region_write(0, SCRATCH, 4, 5)
    function.host.line(True)
    set32(function, 0x10, 0xFE000000)
    set16(function, DEVCTL, 0x2810 | 1 << 5)
    function.config["aer_correctable_status"].value = 1
    set16(function, register, get16(function, register) | (0x8000 if register == DEVCTL else 1))
    assert function.model.resets == [ResetCause.FLR]
    assert (get16(function, 0x04), get16(function, 0x06), get32(function, 0x10)) == (0, 0x0010, 0)
    assert function.region_read(0, SCRATCH, 4) == ONES
    set16(function, 0x04, MEMORY)
    assert function.region_read(0, SCRATCH, 4) == 0x11111111
    assert get16(function, DEVCTL) == 0x2810 | 1 << 5, "Max_Payload_Size is exempt, the bit itself reads 0"
    assert get32(function, 0x110) == 1, "a sticky bit"


def test_writing_the_other_bits_of_device_control_resets_nothing(function: PciFunction) -> None:
    set16(function, DEVCTL, 0x7FFF)
    function.config_write(DEVCTL + 1, b"\x28")
    assert function.model.resets == []
    function.config_write(DEVCTL + 1, b"\x80")
    assert function.model.resets == [ResetCause.FLR]


def test_a_wide_write_resets_once(function: PciFunction) -> None:
    set32(function, DEVCTL, 0x8000)
    assert function.model.resets == [ResetCause.FLR]


@pytest.mark.parametrize("cause", [ResetCause.POWER_ON, ResetCause.BUS, ResetCause.FLR])
def test_configuration_space_is_reset_before_the_model(bench: Bench, cause: ResetCause) -> None:
    function = bench.plug()
    pristine = bench.plug(command=0).config_read(0, 4096)
    seen: list[tuple[int, bool, int]] = []
    function.model.on_reset = lambda: seen.append((get16(function, 4), function.dma.enabled, function.banks[4].peek(12, 4)))
    function.region_write(4, 12, 4, 0)
    function.reset(cause)
    assert seen == [(0, False, 1)]
    assert function.config_read(0, 4096) == pristine


def test_the_devices_own_reset_leaves_configuration_space_alone(function: PciFunction) -> None:
    set32(function, 0x10, 0xFE000000)
    function.region_write(4, 12, 4, 0)
    function.region_write(0, SCRATCH, 4, 5)
    function.region_write(0, 0x30, 4, 1)
    assert (get16(function, 0x04), get32(function, 0x10)) == (ALL_ON, 0xFE000000)
    assert (function.region_read(4, 12, 4), function.region_read(0, SCRATCH, 4)) == (0, 0x11111111)


# -- power


def power(function: PciFunction, state: int) -> int:
    set16(function, PMCSR, state)
    return get16(function, PMCSR) & 3


def test_in_d3hot_only_configuration_space_answers(bench: Bench) -> None:
    function = bench.plug(rom=testdevice.rom_image())
    function.dma_map(0x1000, 4096, BytesMemory(4096), read=True, write=True)
    line, message = Vector(), Vector()
    function.set_irqs(Irq.INTX, 0, [line])
    assert power(function, 3) == 3
    assert [function.region_read(i, 0, 4) for i in (0, 1, 2, 4, 6)] == [ONES] * 5
    assert get32(function, 0) == 0x7E571234
    assert not function.dma.enabled
    function.host.line(True)
    assert line.count == 0
    function.set_irqs(Irq.MSIX, 0, [message])
    function.host.irq(0)
    assert message.count == 0


def test_d3hot_to_d0_resets(function: PciFunction) -> None:
    function.region_write(0, SCRATCH, 4, 5)
    power(function, 3)
    assert function.model.resets == []
    assert power(function, 0) == 0
    assert function.model.resets == [ResetCause.FLR]
    assert get16(function, 0x04) == 0
    set16(function, 0x04, ALL_ON)
    assert function.region_read(0, SCRATCH, 4) == 0x11111111


def test_no_soft_reset_keeps_everything(bench: Bench) -> None:
    function = bench.plug(testdevice.config(no_soft_reset=True))
    function.region_write(0, SCRATCH, 4, 5)
    vector = Vector()
    function.set_irqs(Irq.MSIX, 0, [vector])
    power(function, 3)
    function.host.irq(0)
    assert vector.count == 0
    assert power(function, 0) == 0
    assert function.model.resets == []
    assert (function.region_read(0, SCRATCH, 4), get16(function, 0x04), vector.count) == (5, ALL_ON, 1)


def test_states_that_do_not_exist_are_not_entered(function: PciFunction) -> None:
    assert [power(function, s) for s in (1, 2, 3, 1, 2)] == [0, 0, 3, 3, 3]
    assert function.model.resets == []


def test_optional_states_are_entered_downwards_only(function: PciFunction) -> None:
    function.config["pm_capabilities"].set(d1_support=1, d2_support=1)
    assert [power(function, s) for s in (1, 2, 1, 3, 2)] == [1, 2, 2, 3, 3]
    power(function, 0)
    assert function.model.resets == [ResetCause.FLR]
    set16(function, 0x04, ALL_ON)
    function.config["pm_capabilities"].set(d1_support=1, d2_support=1)
    function.region_write(0, SCRATCH, 4, 6)
    assert power(function, 2) == 2
    assert function.region_read(0, SCRATCH, 4) == ONES
    power(function, 0)
    assert function.model.resets == [ResetCause.FLR], "leaving D2 resets nothing"
    assert function.region_read(0, SCRATCH, 4) == 6


def test_pme_enable_is_sticky(function: PciFunction) -> None:
    set16(function, PMCSR, 0x0100)
    function.reset(ResetCause.BUS)
    assert get16(function, PMCSR) == 0x0100
    function.reset(ResetCause.POWER_ON)
    assert get16(function, PMCSR) == 0


# -- saved state


def test_a_saved_function_goes_on_elsewhere(bench: Bench) -> None:
    function = bench.plug()
    function.region_write(0, SCRATCH, 4, 5)
    function.region_write(4, 0x1C, 4, 1)
    function.host.line(True)
    set32(function, 0x10, 0xFE000000)
    function.host.irq(1)
    image = json.loads(json.dumps(function.save()))
    other = bench.plug(command=0)
    other.load(image)
    assert other.save() == function.save()
    assert other.config_read(0, 4096) == function.config_read(0, 4096)
    assert (other.region_read(0, SCRATCH, 4), other.region_read(4, 0x800, 8), other.dma.enabled) == (5, 2, True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.update(version=2),
        lambda s: s.update(device="igbvf"),
        lambda s: s.pop("msix"),
        lambda s: s.update(intx={}),
        lambda s: s.update(msi={"pending": 16}),
        lambda s: s.update(msix={"table_written": 7}),
        lambda s: s.update(model={}),
        lambda s: s["config"].update(memory="00"),
        lambda s: s["bar4"].update(size=1),
    ],
    ids=["version", "device", "missing", "intx", "msi", "msix", "model", "config", "bar4"],
)
def test_a_damaged_state_changes_nothing(bench: Bench, spoil) -> None:
    function = bench.plug()
    function.region_write(0, SCRATCH, 4, 5)
    image = json.loads(json.dumps(bench.plug(command=0).save()))
    spoil(image)
    before = function.save()
    with pytest.raises(StateError):
        function.load(image)
    assert function.save() == before
    assert function.region_read(0, SCRATCH, 4) == 5


# -- descriptions that do not fit together


def broken(bench: Bench, **changes: object) -> None:
    device = replace(testdevice.DEVICE, **changes)  # type: ignore[arg-type]
    PciFunction(device, bench.loop, load_card(device, bench.loop).slots[0])


def test_registers_and_bar_of_different_sizes(bench: Bench) -> None:
    bars = (BarSpec(0, 0x2000), *testdevice.BARS[1:])
    with pytest.raises(DescriptionError, match=r"0x1000 bytes of registers in BAR 0 of 0x2000 \[bar-bank\]"):
        broken(bench, config=testdevice.config(bars=bars))


def test_registers_without_a_bar(bench: Bench) -> None:
    bars = tuple(spec for spec in testdevice.BARS if spec.index != 1)
    with pytest.raises(DescriptionError, match=r"configuration space has no BAR 1 \[bar-absent\]"):
        broken(bench, config=testdevice.config(bars=bars))


class Hidden:
    """A model that keeps its shared memory to itself."""

    def __init__(self, model: testdevice.TestModel) -> None:
        self.model, self.banks = model, model.banks
        for memory in model.shared.values():
            closed_afterwards(memory)


def test_a_mappable_window_that_is_not_shared(bench: Bench) -> None:
    slot = load_card(testdevice.DEVICE, bench.loop).slots[0]
    slot.build = lambda host: Hidden(testdevice.TestModel(testdevice.DEVICE, host))  # type: ignore[method-assign]
    with pytest.raises(DescriptionError, match=r"shares no memory \[window-memory\]"):
        PciFunction(testdevice.DEVICE, bench.loop, slot)


def test_the_msix_table_needs_no_description(bench: Bench) -> None:
    device = replace(testdevice.DEVICE, bars={i: bar for i, bar in testdevice.DEVICE.bars.items() if i != 4})
    function = PciFunction(device, bench.loop, load_card(device, bench.loop).slots[0])
    set16(function, 4, MEMORY)
    assert function.region_read(4, 0x2C, 4) == 1
    function.close()


def test_a_device_without_configuration_space(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no PCI configuration space"):
        broken(bench, config=testdevice.REGISTERS)
